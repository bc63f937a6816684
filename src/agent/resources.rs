//! The picture of the mesh, from resource files.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use super::POLL;
use super::convert::{Mapper, Resolved};
use crate::model::Mesh;
use crate::resources::{self, Address, Fault, Resource};

/// Host names are asked for again after this long: the system's resolver tells no TTL.
const RESOLVE: Duration = Duration::from_secs(30);

/// Publishes the picture whenever the files, or the addresses behind host names, change; runs until
/// the process ends. `first` was read already; other paths count from the next look on.
pub async fn watch_resources(
    paths: watch::Receiver<Vec<PathBuf>>,
    namespace: String,
    mut mapper: Mapper,
    first: Vec<Resource>,
    publish: impl Fn(Mesh),
) {
    let mut resources = first;
    let mut seen = resources::fingerprint(&paths.borrow());
    let mut hosts = resolve(&resources, Resolved::new()).await;
    let mut resolved_at = Instant::now();
    publish(mapper.map(&resources, &hosts));
    loop {
        sleep(POLL).await;
        let now = resources::fingerprint(&paths.borrow());
        let mut changed = false;
        if now != seen {
            seen = now;
            let read = resources::read(&paths.borrow(), &namespace);
            match read {
                Ok(read) => {
                    resources = read;
                    changed = true;
                }
                Err(faults) => report(&faults),
            }
        }
        if changed || resolved_at.elapsed() >= RESOLVE {
            let before = hosts.clone();
            hosts = resolve(&resources, hosts).await;
            resolved_at = Instant::now();
            changed |= hosts != before;
        }
        if changed {
            publish(mapper.map(&resources, &hosts));
            info!(resources = resources.len(), "resources reloaded");
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

/// Asks for every host name; one that can't be answered keeps its last addresses.
async fn resolve(resources: &[Resource], before: Resolved) -> Resolved {
    let names: BTreeSet<&str> = resources
        .iter()
        .filter_map(|resource| match resource {
            Resource::Workload(workload) => match &workload.address {
                Address::Host(host) => Some(host.as_str()),
                Address::Ip(_) => None,
            },
            Resource::Service(_) => None,
        })
        .collect();
    let mut hosts = Resolved::new();
    for name in names {
        let found = match tokio::net::lookup_host((name, 0)).await {
            Ok(found) => {
                let mut ips: Vec<IpAddr> = found.map(|address| address.ip()).collect();
                ips.sort_unstable();
                ips.dedup();
                ips
            }
            Err(error) => {
                warn!(host = name, %error, "a workload's host name can't be resolved; its last addresses stay");
                before.get(name).cloned().unwrap_or_default()
            }
        };
        hosts.insert(name.to_owned(), found);
    }
    hosts
}
