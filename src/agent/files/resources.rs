//! The picture of the mesh, from resource files.

use std::path::PathBuf;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{error, info};

use super::POLL;
use crate::agent::hosts::{Hosts, PATIENCE, Resolved};
use crate::agent::mapper::{Mapper, Picture};
use crate::model::{Mesh, TrustDomain};
use crate::resources::{self, Fault, Resource};
use crate::runtime::clock::now_us;

/// Publishes the picture whenever the files, or the addresses behind host names, change; runs until
/// the process ends. `first` was read already, after `seen` was taken of the files.
///
/// `govern` is told every resource, before the picture that they draw. A picture without host names is published before this returns: requests may come as soon as the
/// listeners stand.
pub fn watch_resources(
    paths: watch::Receiver<Vec<PathBuf>>,
    namespace: String,
    trust_domain: TrustDomain,
    first: Vec<Resource>,
    seen: u64,
    publish: impl Fn(Mesh),
    govern: impl Fn(&[Resource]),
) -> impl Future<Output = ()> {
    govern(&first);
    let mut mapper = Mapper::new(&namespace);
    let picture = Picture::of(&first, &trust_domain);
    if picture.hosts().is_empty() {
        publish(mapper.map(&picture, &Resolved::new(), now_us()));
    }
    watch_from(paths, namespace, trust_domain, mapper, picture, seen, publish, govern)
}

async fn watch_from(
    paths: watch::Receiver<Vec<PathBuf>>,
    namespace: String,
    trust_domain: TrustDomain,
    mut mapper: Mapper,
    mut picture: Picture,
    mut seen: u64,
    publish: impl Fn(Mesh),
    govern: impl Fn(&[Resource]),
) {
    let mut hosts = Hosts::default();
    hosts.want(picture.hosts());
    if !picture.hosts().is_empty() {
        settle(&mut hosts).await;
        publish(mapper.map(&picture, hosts.known(), now_us()));
    }
    let mut look_at = Instant::now() + POLL;
    loop {
        tokio::select! {
            () = hosts.changed() => {}
            () = sleep_until(look_at) => {
                look_at = Instant::now() + POLL;
                let now = resources::fingerprint(&paths.borrow());
                if now == seen {
                    continue;
                }
                seen = now;
                let read = resources::read(&paths.borrow(), &namespace);
                match read {
                    Ok(read) => {
                        info!(resources = read.len(), "resources reloaded");
                        govern(&read);
                        picture = Picture::of(&read, &trust_domain);
                        hosts.want(picture.hosts());
                        settle(&mut hosts).await;
                    }
                    Err(faults) => {
                        report(&faults);
                        continue;
                    }
                }
            }
        }
        publish(mapper.map(&picture, hosts.known(), now_us()));
    }
}

/// Whoever comes next is to find endpoints; a name without an answer holds nobody up for long.
async fn settle(hosts: &mut Hosts) {
    let settled = async {
        while !hosts.is_settled() {
            hosts.changed().await;
        }
    };
    // Those that came late are published when they come.
    let _ = timeout(PATIENCE, settled).await;
}

fn report(faults: &[Fault]) {
    for fault in faults {
        error!("{fault}");
    }
    error!(
        faults = faults.len(),
        "the resources changed and can't be used; the last good ones stay"
    );
}
