//! From objects to requests: pods behind services, as a rollout changes them.

use serde_json::{Value, json};

use crate::harness::{App, Cluster, Plane, Sidecar, eventually, pod, service, slice};

const POD: &str = "outrigger";

/// A pod that runs, and its sidecar.
pub fn joined(cluster: &Cluster, plane: &Plane, pod: &Value, app: Option<&App>) -> Sidecar {
    let namespace = pod["metadata"]["namespace"].as_str().expect("it is there");
    let account = pod["spec"]["serviceAccountName"].as_str().expect("it has one");
    let token = cluster.token(namespace, account, POD, Some(pod));
    Sidecar::start(plane, pod, &token, app)
}

#[test]
fn requests_cross_from_pod_to_pod_and_follow_a_rollout() {
    let Some(cluster) = Cluster::shared() else { return };
    cluster.namespace("rollout", &["web", "caller"]);
    let zone = json!({"metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "z1"}}});
    cluster.create("/api/v1/nodes", &zone);
    cluster.create("/api/v1/namespaces/rollout/services", &service("web"));
    let first = cluster.run_pod("rollout", &pod("web-1", "web"), &["10.244.1.1"]);
    let caller = cluster.run_pod("rollout", &pod("caller-1", "caller"), &["10.244.1.9"]);
    let slices = "/apis/discovery.k8s.io/v1/namespaces/rollout/endpointslices";
    cluster.create(slices, &slice("web-a", "web", &[&first]));
    let plane = Plane::start(&cluster);
    let app = App::named("first");
    let before = joined(&cluster, &plane, &first, Some(&app));
    let caller = joined(&cluster, &plane, &caller, None);

    let asked = |name: &str| {
        let expected = format!("{name} spiffe://cluster.local/ns/rollout/sa/caller");
        caller.ask("web.rollout").is_some_and(|answer| answer.body == expected)
    };
    eventually("the first answers, and knows who asks", || asked("first"));
    caller.await_log("the control plane says where this is zone=\"z1\"");

    // A rollout: another comes, then the first is told to end.
    let second = cluster.run_pod("rollout", &pod("web-2", "web"), &["10.244.1.2"]);
    let app = App::named("second");
    let _second = joined(&cluster, &plane, &second, Some(&app));
    cluster.done("PUT", &format!("{slices}/web-a"), &slice("web-a", "web", &[&first, &second]));
    eventually("both serve", || plane.endpoints("web.rollout:80").len() == 2);
    eventually("the second answers", || asked("second"));
    // Its sidecar knows first that it is about to end.
    before.process.signal(libc::SIGTERM);
    eventually("the first is withdrawn", || plane.endpoints("web.rollout:80") == ["web-2.rollout"]);
    cluster.delete("/api/v1/namespaces/rollout/pods/web-1");
    drop(before);
    for _ in 0..20 {
        assert!(asked("second"), "nobody is sent to one that is gone");
    }
}

#[test]
fn a_pod_that_ends_leaves_its_services_before_its_slice_says_so() {
    let Some(cluster) = Cluster::shared() else { return };
    cluster.namespace("ending", &["web"]);
    cluster.create("/api/v1/namespaces/ending/services", &service("web"));
    let pods = ["web-1", "web-2"].map(|name| {
        let ip = format!("10.244.2.{}", &name[4..]);
        cluster.run_pod("ending", &pod(name, "web"), &[&ip])
    });
    let slices = "/apis/discovery.k8s.io/v1/namespaces/ending/endpointslices";
    cluster.create(slices, &slice("web-a", "web", &[&pods[0], &pods[1]]));
    let plane = Plane::start(&cluster);
    let name = "web.ending:80";
    eventually("both serve", || plane.endpoints(name).len() == 2);
    let path = "/api/v1/namespaces/ending/pods/web-1";
    cluster.done("DELETE", path, &json!({"gracePeriodSeconds": 60}));
    eventually("it is left out", || plane.endpoints(name) == ["web-2.ending"]);
    // One that failed is none, though its slice still names it.
    let failed = json!({"status": {"phase": "Failed"}});
    cluster.done("PATCH", "/api/v1/namespaces/ending/pods/web-2/status", &failed);
    eventually("nobody is left but who ends", || plane.endpoints(name) == ["web-1.ending"]);
}
