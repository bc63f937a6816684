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
use crate::runtime::rehearsal::{self, At};
use crate::runtime::supervise::kept;

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
    let hosts = Hosts::default();
    let mut watcher = Watcher { paths, namespace, trust_domain, mapper, picture, hosts, seen };
    async move {
        kept("whoever watches the resources", async || watcher.watch(&publish, &govern).await)
            .await;
    }
}

struct Watcher {
    paths: watch::Receiver<Vec<PathBuf>>,
    namespace: String,
    trust_domain: TrustDomain,
    mapper: Mapper,
    picture: Picture,
    hosts: Hosts,
    /// What the files of the picture in use were like.
    seen: u64,
}

impl Watcher {
    async fn watch(&mut self, publish: &impl Fn(Mesh), govern: &impl Fn(&[Resource])) {
        self.hosts.want(self.picture.hosts());
        if !self.picture.hosts().is_empty() {
            settle(&mut self.hosts).await;
            self.publish(publish);
        }
        let mut look_at = Instant::now() + POLL;
        loop {
            tokio::select! {
                () = self.hosts.changed() => self.publish(publish),
                () = sleep_until(look_at) => {
                    look_at = Instant::now() + POLL;
                    let now = resources::fingerprint(&self.paths.borrow());
                    if now == self.seen {
                        continue;
                    }
                    self.read(publish, govern).await;
                    // Last: what broke on the way is read once more.
                    self.seen = now;
                }
            }
        }
    }

    async fn read(&mut self, publish: &impl Fn(Mesh), govern: &impl Fn(&[Resource])) {
        let read = resources::read(&self.paths.borrow(), &self.namespace);
        rehearsal::pass(At::Resources);
        match read {
            Ok(read) => {
                info!(resources = read.len(), "resources reloaded");
                govern(&read);
                self.picture = Picture::of(&read, &self.trust_domain);
                self.hosts.want(self.picture.hosts());
                settle(&mut self.hosts).await;
                self.publish(publish);
            }
            Err(faults) => report(&faults),
        }
    }

    fn publish(&mut self, publish: &impl Fn(Mesh)) {
        publish(self.mapper.map(&self.picture, self.hosts.known(), now_us()));
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
