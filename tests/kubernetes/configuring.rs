//! What people see of a cluster through the control plane, and what they can't change there.

use crate::harness::{Cluster, Plane, pod, service};

#[test]
fn resources_are_shown_and_changed_in_the_cluster_alone() {
    let Some(cluster) = Cluster::shared() else { return };
    cluster.namespace("config", &["web"]);
    cluster.create("/api/v1/namespaces/config/services", &service("web"));
    cluster.run_pod("config", &pod("web-1", "web"), &["10.244.5.1"]);
    let plane = Plane::start(&cluster);
    for (kind, name) in [("services", "web"), ("workloads", "web-1")] {
        let shown = plane.run(&["get", kind, "-n", "config"]);
        let text = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(shown.status.success() && text.contains(name), "{shown:?}");
    }
    let refused = plane.run(&["delete", "service", "web", "-n", "config"]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && text.contains("use `kubectl delete`"), "{text}");
}
