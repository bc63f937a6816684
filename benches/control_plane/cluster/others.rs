//! What the others on this machine take: the simulated sidecars, the cluster's API server, and
//! whoever else uses its processors meanwhile.

use std::fs;
use std::time::Duration;

use super::super::plane::cpu_of;

/// CPU time so far of this process, in which all sidecars are.
pub fn sidecars() -> Duration {
    cpu_of(&fs::read_to_string("/proc/self/stat").expect("we run"))
}

/// CPU time so far of the API server and its etcd, which this process started.
pub fn api_server() -> Duration {
    let ours = std::process::id().to_string();
    let entries = fs::read_dir("/proc").expect("there is one").flatten();
    let stats = entries.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    stats.filter(|stat| is_of_cluster(stat, &ours)).map(|stat| cpu_of(&stat)).sum()
}

/// What all programs on this machine took of its processors so far, and what they could have taken.
pub fn machine() -> (Duration, Duration) {
    let text = fs::read_to_string("/proc/stat").expect("there is one");
    let line = text.lines().next().expect("the first is that of all processors");
    let ticks: Vec<u64> = line.split_whitespace().skip(1).take(8).flat_map(str::parse).collect();
    let (all, idle) = (ticks.iter().sum::<u64>(), ticks[3] + ticks[4]);
    (Duration::from_millis((all - idle) * 10), Duration::from_millis(all * 10))
}

fn is_of_cluster(stat: &str, parent: &str) -> bool {
    let Some((head, tail)) = stat.rsplit_once(')') else { return false };
    let name = head.split_once('(').map(|(_, name)| name);
    matches!(name, Some("kube-apiserver" | "etcd"))
        && tail.split_whitespace().nth(1) == Some(parent)
}
