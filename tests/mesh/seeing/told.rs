//! Counts, edges and endpoints as sidecars tell them: neither less than there was, nor more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use super::{TOLD, app, asked, await_counted, counted, one};
use crate::harness::{App, ControlPlane, Member, Wire, eventually, get, service, spiffe, within};

const WEB: &str = "web.default:80";

#[track_caller]
fn ask(client: &Member, path: &str, times: usize) {
    let mut wire = Wire::connect(client.upstreams[0]);
    for _ in 0..times {
        wire.ask(get(path));
    }
}

#[test]
fn what_was_asked_is_what_is_told() {
    let plane = ControlPlane::start(&[]);
    plane.apply(&service("web"));
    plane.apply(
        "apiVersion: outrigger.dev/v1alpha1\nkind: AccessPolicy\n\
         metadata: {name: web, namespace: default}\nspec: {mtls: permissive}\n",
    );
    let app = app();
    let web = plane.instance("web-1", app.address);
    let client = plane.caller("client-1", &[WEB]);
    eventually("it is served", || client.endpoints(WEB) == Some(1));
    ask(&client, "/", 20);
    ask(&client, "/fail", 5);
    await_counted(&plane, "web.default", (25, 5));
    // Somebody without a sidecar, straight to the instance.
    let mut wire = Wire::connect(web.mesh_port);
    eventually("plaintext is let in", || wire.ask(get("/")).status() == 200);
    within(TOLD, "the stranger is told of too", || counted(&plane, "web.default").0 > 25);
    let told = asked(&plane, &["edges", "web", "--window", "30m"]);
    let edge = one(&told["edges"], "from", "client.default").expect("the client's edge");
    assert_eq!((&edge["to"], &edge["tls"]), (&"web.default".into(), &"mtls".into()), "{told:#}");
    assert_eq!(edge["fromIdentity"], spiffe("client"));
    assert_eq!(edge["toIdentity"], spiffe("web"));
    assert_eq!((edge["requests"].as_u64(), edge["failures"].as_u64()), (Some(25), Some(5)));
    assert!(edge["p99Ms"].as_f64().is_some_and(|ms| ms > 0.0), "{edge:#}");
    let edge = one(&told["edges"], "from", "unmeshed").expect("the stranger's edge");
    assert_eq!((&edge["tls"], edge["fromIdentity"].as_str()), (&"none".into(), None));
    // Every report after the first says only what is new.
    ask(&client, "/", 3);
    within(TOLD, "more is told", || {
        let told = asked(&plane, &["edges", "web", "--window", "30m"]);
        one(&told["edges"], "from", "client.default").expect("still")["requests"] == 28
    });
    let top = asked(&plane, &["top", "web", "--window", "30m"]);
    let route = &top["routes"][0];
    assert_eq!((&route["from"], &route["requests"]), (&"client.default".into(), &28.into()));
    let page = plane.json("/api/service?name=web.default&window=1800");
    assert_eq!(page["callers"].as_array().map(Vec::len), Some(2), "{page:#}");
    let node = &page["node"];
    assert_eq!((&node["kind"], &node["sidecars"]), (&"service".into(), &1.into()), "{node:#}");
    assert_eq!(page["endpoints"][0]["workload"], "web-1.default");
    assert_eq!(page["endpoints"][0]["states"][0]["state"], "ready", "{page:#}");
    let missing = plane.page("/api/service?name=nobody.default").expect("an answer");
    assert_eq!(missing.status(), 404);
    let graph = plane.json("/api/graph?window=1800");
    assert!(one(&graph["nodes"], "name", "unmeshed").is_some(), "{graph:#}");
    for command in ["stat", "edges", "top"] {
        eprintln!("{}", plane.done(&[command]));
    }
}

#[test]
fn a_service_that_fails_is_seen_within_ten_seconds() {
    let plane = ControlPlane::start(&[]);
    plane.apply(&service("web"));
    let (fails, other) = (Arc::new(AtomicBool::new(false)), App::ok());
    let flag = Arc::clone(&fails);
    let app = App::http(move |_| match flag.load(Relaxed) {
        true => b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n".to_vec(),
        false => App::answer("ok"),
    });
    let _one = plane.instance("web-1", app.address);
    let two = plane.instance("web-2", other.address);
    let client = plane.caller("client-1", &[WEB]);
    eventually("both are there", || client.endpoints(WEB) == Some(2));
    two.sidecar.signal(libc::SIGKILL);
    within(TOLD, "one is seen to be out", || {
        ask(&client, "/", 5);
        let page = plane.json("/api/service?name=web.default");
        let states = page["endpoints"].as_array().into_iter().flatten();
        let mut states = states.flat_map(|endpoint| endpoint["states"].as_array()).flatten();
        states.any(|state| state["state"] == "ejected" && state["reportedBy"] == "client-1.default")
    });
    fails.store(true, Relaxed);
    // What is promised is ten seconds; a machine that is busy adds to it.
    within(Duration::from_secs(15), "the failure is seen", || {
        ask(&client, "/", 5);
        let told = asked(&plane, &["stat", "web", "--window", "10s"]);
        told["services"][0]["failures"].as_u64().is_some_and(|failures| failures > 0)
    });
}

/// Waits until the caller's own sidecar has told of so many requests to `web`.
#[track_caller]
fn await_told_by_caller(plane: &ControlPlane, requests: u64) {
    within(TOLD, &format!("{requests} are told by who asked"), || {
        asked(plane, &["top", "web", "--window", "30m"])["routes"][0]["requests"] == requests
    });
}

#[test]
fn whoever_is_started_again_counts_nothing_twice() {
    let mut plane = ControlPlane::start(&[]);
    plane.apply(&service("web"));
    let app = app();
    let _web = plane.instance("web-1", app.address);
    let token = plane.token("client", &["--label", "app=client", "--uses", "2"]);
    let plan = plane.plan("client-1").token(&token).calls(WEB);
    let mut first = plan.clone().start();
    eventually("it is served", || first.endpoints(WEB) == Some(1));
    ask(&first, "/", 30);
    await_told_by_caller(&plane, 30);
    await_counted(&plane, "web.default", (30, 0));
    ask(&first, "/", 2);
    // It says so before it goes.
    first.sidecar.sigterm();
    assert!(first.sidecar.exit(Duration::from_secs(12)).success());
    await_told_by_caller(&plane, 32);
    let second = plan.start();
    eventually("it is served again", || second.endpoints(WEB) == Some(1));
    ask(&second, "/", 7);
    await_told_by_caller(&plane, 39);
    await_counted(&plane, "web.default", (39, 0));
    // The memory goes with the control plane; what was told is not told again.
    plane.restart();
    eventually("the sidecar is back", || second.is_connected());
    ask(&second, "/fail", 4);
    await_told_by_caller(&plane, 4);
    await_counted(&plane, "web.default", (4, 4));
    ask(&second, "/", 1);
    await_told_by_caller(&plane, 5);
    await_counted(&plane, "web.default", (5, 4));
}
