//! The picture of the mesh, from resource files.

use std::path::PathBuf;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{error, info};

use super::POLL;
use crate::agent::hosts::{RESOLVE, Resolved, resolve};
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
    let mut hosts = resolve(picture.hosts(), &Resolved::new()).await;
    let mut resolved_at = Instant::now();
    if !picture.hosts().is_empty() {
        publish(mapper.map(&picture, &hosts, now_us()));
    }
    loop {
        sleep(POLL).await;
        let now = resources::fingerprint(&paths.borrow());
        let mut changed = false;
        if now != seen {
            seen = now;
            let read = resources::read(&paths.borrow(), &namespace);
            match read {
                Ok(read) => {
                    info!(resources = read.len(), "resources reloaded");
                    govern(&read);
                    picture = Picture::of(&read, &trust_domain);
                    changed = true;
                }
                Err(faults) => report(&faults),
            }
        }
        if changed || resolved_at.elapsed() >= RESOLVE {
            let before = std::mem::take(&mut hosts);
            hosts = resolve(picture.hosts(), &before).await;
            resolved_at = Instant::now();
            changed |= hosts != before;
        }
        if changed {
            publish(mapper.map(&picture, &hosts, now_us()));
        }
    }
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
