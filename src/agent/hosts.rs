//! The addresses behind host names.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use tracing::warn;

/// The addresses that host names stand for now.
pub type Resolved = HashMap<String, Vec<IpAddr>>;

/// Host names are asked for again after this long: the system's resolver tells no TTL.
pub const RESOLVE: Duration = Duration::from_secs(30);

/// Asks for every name; one that can't be answered keeps its last addresses.
pub async fn resolve(names: BTreeSet<String>, before: &Resolved) -> Resolved {
    let mut hosts = Resolved::new();
    for name in names {
        let found = match tokio::net::lookup_host((name.as_str(), 0)).await {
            Ok(found) => {
                let mut ips: Vec<IpAddr> = found.map(|address| address.ip()).collect();
                ips.sort_unstable();
                ips.dedup();
                ips
            }
            Err(error) => {
                warn!(host = name, %error, "a workload's host name can't be resolved; its last addresses stay");
                before.get(&name).cloned().unwrap_or_default()
            }
        };
        hosts.insert(name, found);
    }
    hosts
}
