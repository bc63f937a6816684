//! What happens to what is known while the API server is away, and after.

use serde_json::{Value, json};

use crate::harness::{Cluster, Plane, Sidecar, crd, eventually, pod, service, slice};

#[test]
fn what_is_known_stays_while_the_api_is_away_and_shows_its_age() {
    let Some(mut cluster) = Cluster::own() else { return };
    cluster.namespace("away", &["web"]);
    cluster.create("/api/v1/namespaces/away/services", &service("web"));
    let first = cluster.run_pod("away", &pod("web-1", "web"), &["10.244.4.1"]);
    let slices = "/apis/discovery.k8s.io/v1/namespaces/away/endpointslices";
    cluster.create(slices, &slice("web-a", "web", &[&first]));
    let mut plane = Plane::start(&cluster);
    let name = "web.away:80";
    assert_eq!(plane.endpoints(name), ["web-1.away"]);
    let connected = |plane: &Plane, kind: &str| {
        let line = format!("outrigger_control_watch_connected{{kind=\"{kind}\"}} ");
        let page = plane.page("/metrics").expect("the page answers").1;
        page.lines().find_map(|text| text.strip_prefix(&line).map(str::to_owned))
    };
    assert_eq!(connected(&plane, "pods").as_deref(), Some("1"));

    let token = cluster.token("away", "web", "outrigger", Some(&first));
    cluster.stop_api();
    eventually("the metric says so", || connected(&plane, "pods").as_deref() == Some("0"));
    assert_eq!(plane.endpoints(name), ["web-1.away"], "the last state stays");
    assert_eq!(plane.page("/ready").map(|(status, _)| status), Some(200));
    let page = plane.page("/pages").expect("the page for people").1;
    assert!(page.contains("not connected for"), "{page}");
    // One that starts now has no keys and has seen nothing: it waits, and serves nobody.
    let mut late = Plane::spawn(&cluster);
    let words = "what is kept in the cluster can't be read yet";
    eventually("the late one waits", || late.process.log().contains(words));
    assert_eq!(late.page("/ready"), None);

    // Who joins now is told to come back, not that it may not.
    let sidecar = Sidecar::spawn(&plane, &first, &token, None);
    sidecar.await_log("the token can't be checked now: the cluster can't be asked");

    cluster.start_api();
    sidecar.await_log("connected to the control plane");
    let second = cluster.run_pod("away", &pod("web-2", "web"), &["10.244.4.2"]);
    cluster.done("PUT", &format!("{slices}/web-a"), &slice("web-a", "web", &[&first, &second]));
    eventually("changes arrive again", || plane.endpoints(name).len() == 2);
    eventually("and all are connected", || connected(&plane, "nodes").as_deref() == Some("1"));
    late.wait_ready();
    assert_eq!(late.endpoints(name).len(), 2);

    // Where it was is forgotten: what went meanwhile is found missing.
    let lists = plane.watch("pods")["lists"].as_u64().expect("a number");
    plane.process.signal(libc::SIGSTOP);
    cluster.delete("/api/v1/namespaces/away/pods/web-1");
    cluster.done("PUT", &format!("{slices}/web-a"), &slice("web-a", "web", &[&second]));
    cluster.compact();
    cluster.start_api();
    plane.process.signal(libc::SIGCONT);
    eventually("the state is the newest", || plane.endpoints(name) == ["web-2.away"]);
    eventually("all pods were listed again", || {
        plane.watch("pods")["lists"].as_u64().is_some_and(|count| count > lists)
    });
    assert!(plane.process.log().contains("has forgotten where we were"));
    assert!(!plane.process.has_left());
}

#[test]
fn a_kind_that_comes_later_is_picked_up() {
    let Some(cluster) = Cluster::own() else { return };
    cluster.namespace("later", &[]);
    cluster.create("/api/v1/namespaces/later/services", &service("web"));
    let plane = Plane::start(&cluster);
    assert_eq!(plane.watch("trafficpolicies")["inCluster"], json!(false));
    let kinds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let group = "gateway.networking.k8s.io";
    cluster.create(kinds, &crd("outrigger.dev", "v1alpha1", "TrafficPolicy", "trafficpolicies"));
    cluster.create(kinds, &crd(group, "v1", "HTTPRoute", "httproutes"));
    let policies = "/apis/outrigger.dev/v1alpha1/namespaces/later/trafficpolicies";
    let policy = |timeout: &str| {
        json!({"apiVersion": "outrigger.dev/v1alpha1", "kind": "TrafficPolicy",
            "metadata": {"name": "web"}, "spec": {"timeouts": {"request": timeout},
            "targetRefs": [{"kind": "Service", "name": "web"}]}})
    };
    eventually("the server takes one", || cluster.call("POST", policies, &policy("1s")).is_ok());
    let attached = || plane.service("web.later:80").unwrap_or_default()["attachments"].clone();
    eventually("it holds", || attached() == json!(["TrafficPolicy web.later"]));
    // A bad one leaves the good one in force, and says why.
    let spec = json!({"spec": {"timeouts": {"request": "soon"}}});
    cluster.done("PATCH", &format!("{policies}/web"), &spec);
    let words = "its last good form stays in force";
    eventually("it is refused", || plane.process.log().contains(words));
    assert_eq!(attached(), json!(["TrafficPolicy web.later"]));
    cluster.delete(&format!("{policies}/web"));
    eventually("it is gone", || attached() == json!([]));
    // A route hangs on the mesh by those of its parents that are services.
    let route = |name: &str, parents: Value| {
        json!({"apiVersion": format!("{group}/v1"), "kind": "HTTPRoute",
            "metadata": {"name": name}, "spec": {"parentRefs": parents, "rules": [{}]}})
    };
    let gateway = json!({"group": group, "kind": "Gateway", "name": "edge"});
    let service = json!({"group": "", "kind": "Service", "name": "web"});
    let routes = format!("/apis/{group}/v1/namespaces/later/httproutes");
    cluster.create(&routes, &route("edge", json!([gateway])));
    cluster.create(&routes, &route("both", json!([gateway, service])));
    eventually("the route holds", || attached() == json!(["HTTPRoute both.later"]));
    assert!(!plane.process.log().contains("later/edge"), "what is a gateway's is no fault");
    // The kind itself goes, and all of it.
    cluster.delete(&format!("{kinds}/httproutes.{group}"));
    eventually("it is gone", || attached() == json!([]));
    let in_cluster = || plane.watch("httproutes")["inCluster"].clone();
    eventually("the kind is gone", || in_cluster() == json!(false));
}
