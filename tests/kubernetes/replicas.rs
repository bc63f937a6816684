//! Questions that only all replicas together can answer.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::harness::{Cluster, Plane, eventually};

const HOME: &str = "outrigger-system";

/// A replica as its Deployment would make it.
fn replica(cluster: &Cluster, name: &str, ip: &str) {
    let pod = json!({
        "metadata": {"name": name, "labels": {"app.kubernetes.io/name": "outrigger",
            "app.kubernetes.io/component": "control-plane"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "control-plane", "image": "i"}]},
    });
    cluster.run_pod(HOME, &pod, &[ip]);
}

/// What `check --strict-ready` says, and whether it is good.
fn strict_ready(plane: &Plane, more: &[&str]) -> (Value, bool) {
    let output = plane.run(&[&["check", "--strict-ready", "-o", "json"], more].concat());
    let told = String::from_utf8_lossy(&output.stdout);
    let told = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (told, output.status.success())
}

#[test]
fn who_comes_in_plaintext_is_asked_of_every_replica() {
    let Some(cluster) = Cluster::own() else { return };
    cluster.namespace(HOME, &["default"]);
    replica(&cluster, "one", "127.0.0.1");
    let one = {
        let mut plane = Plane::with(cluster.kubeconfig(), &["--replica", "one"]);
        plane.wait_ready();
        plane
    };
    // It alone is known, and answers for all.
    eventually("all were asked", || {
        let (told, is_ready) = strict_ready(&one, &[]);
        is_ready && told["replicas"] == json!(1)
    });
    let beside: SocketAddr = format!("127.0.0.9:{}", one.address.port()).parse().expect("one");
    let mut two = Plane::at(cluster.kubeconfig(), beside, &["--replica", "two"]);
    two.wait_ready();
    // Nothing answers where its pod is.
    replica(&cluster, "two", "127.0.0.10");
    eventually("one could not be asked", || {
        let (told, is_ready) = strict_ready(&one, &[]);
        !is_ready && told["notAsked"][0]["replica"] == "two"
    });
    let (told, is_ready) = strict_ready(&one, &["--replica", &beside.to_string()]);
    assert!(is_ready && told["replicas"] == json!(2), "{told}");
    // Another than the one that is looked for answers.
    let path = format!("/api/v1/namespaces/{HOME}/pods/two/status");
    let at = |ip: &str| json!({"status": {"podIP": ip, "podIPs": [{"ip": ip}]}});
    cluster.done("PATCH", &path, &at("127.0.0.1"));
    eventually("the wrong one answered", || {
        let (told, is_ready) = strict_ready(&one, &[]);
        let why = told["notAsked"][0]["why"].as_str().unwrap_or_default();
        !is_ready && why.contains("\"one\" answers there")
    });
    cluster.done("PATCH", &path, &at("127.0.0.9"));
    eventually("both were asked", || {
        let (told, is_ready) = strict_ready(&one, &[]);
        is_ready && told["replicas"] == json!(2)
    });
}
