//! Endpoints that come and go while requests are under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::yaml::{policy, service, workload};
use crate::harness::{App, Load, Lone, eventually, get};

/// `echo` before these apps.
fn yaml(apps: &[(&str, &App)], fields: &str) -> String {
    let instance = |(name, app): &(&str, &App)| workload(name, "echo", app.address);
    let instances: String = apps.iter().map(instance).collect();
    service("echo") + &instances + &policy("echo", &format!("loadBalancing: {{{fields}}}"))
}

const POLICIES: [&str; 6] = [
    "policy: peakEwma",
    "policy: leastRequest",
    "policy: roundRobin",
    "policy: random",
    "policy: ringHash, hashOn: {path: true}",
    "policy: maglev, hashOn: {path: true}",
];

/// Replaces one of two endpoints and then the other under load; all policies at the same time.
#[test]
fn with_every_policy_endpoints_come_and_go_without_an_error() {
    thread::scope(|scope| {
        for fields in POLICIES {
            scope.spawn(move || replaced_under_load(fields));
        }
    });
}

fn replaced_under_load(fields: &str) {
    let [a, b, c] = [App::ok(), App::ok(), App::ok()];
    let caller = Lone::with(&yaml(&[("a", &a), ("b", &b)], fields)).start();
    let load = Load::steady(caller.echo(), 200);
    load.goes_on(50);
    caller.rewrite(&yaml(&[("c", &c)], fields));
    eventually("the new one is used", || c.requests().len() > 20);
    let left = [a.requests().len(), b.requests().len()];
    load.goes_on(50);
    assert_eq!([a.requests().len(), b.requests().len()], left, "{fields}: who left gets nothing");
    eventually("connections to them close", || a.open_connections() + b.open_connections() == 0);
    caller.rewrite(&yaml(&[("a", &a), ("b", &b), ("c", &c)], fields));
    let before = left[0] + left[1];
    eventually("who came back is used", || {
        // A hash of the path alone may leave one endpoint with everything.
        fields.contains("hashOn") || a.requests().len() + b.requests().len() > before + 20
    });
    load.goes_on(50);
    load.lost_nothing();
}

#[test]
fn a_request_under_way_to_an_endpoint_that_leaves_is_answered() {
    let go_on = Arc::new(AtomicBool::new(false));
    let may = Arc::clone(&go_on);
    let held = App::http(move |request| {
        while request.target() == "/held" && !may.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(5));
        }
        App::answer("held")
    });
    let other = App::http(|_| App::answer("other"));
    let caller = Lone::with(&yaml(&[("held", &held)], "policy: roundRobin")).start();
    let mut wire = caller.connect();
    wire.send(get("/held"));
    eventually("it is under way", || held.begun() == 1);
    caller.rewrite(&yaml(&[("other", &other)], "policy: roundRobin"));
    eventually("the other one answers", || caller.ask(get("/")).text() == "other");
    go_on.store(true, Ordering::SeqCst);
    assert_eq!(wire.response().text(), "held");
    assert_eq!(wire.ask(get("/")).text(), "other", "the same connection goes to the new one");
}

#[test]
fn when_all_endpoints_leave_callers_are_told_and_served_again_when_one_comes() {
    let app = App::ok();
    let caller = Lone::with(&yaml(&[("a", &app)], "policy: maglev, hashOn: {path: true}")).start();
    assert_eq!(caller.ask(get("/")).status(), 200);
    caller.rewrite(&yaml(&[], "policy: maglev, hashOn: {path: true}"));
    eventually("none is left", || caller.ask(get("/")).reason() == Some("no-endpoints"));
    caller.rewrite(&yaml(&[("a", &app)], "policy: maglev, hashOn: {path: true}"));
    eventually("it is served", || caller.ask(get("/")).status() == 200);
}

/// How many of 200 requests an endpoint gets that has just come, beside two old ones; and how many
/// after a pause.
fn share_of_a_newcomer(fields: &str, pause: Duration) -> [usize; 2] {
    let [a, b, c] = [App::ok(), App::ok(), App::ok()];
    let caller = Lone::with(&yaml(&[("a", &a), ("b", &b)], fields)).start();
    let mut wire = caller.connect();
    for _ in 0..50 {
        assert_eq!(wire.ask(get("/")).status(), 200);
    }
    let old = [a.requests().len(), b.requests().len()];
    assert!(old.iter().all(|&count| count > 10), "those of the beginning are equal: {old:?}");
    caller.rewrite(&yaml(&[("a", &a), ("b", &b), ("c", &c)], fields));
    eventually("it is known", || {
        let page = caller.sidecar.get("/endpoints").text();
        page.contains(&c.address.to_string())
    });
    let mut share = || {
        let before = c.requests().len();
        for _ in 0..200 {
            assert_eq!(wire.ask(get("/")).status(), 200);
        }
        c.requests().len() - before
    };
    let first = share();
    thread::sleep(pause);
    [first, share()]
}

#[test]
fn without_a_warm_up_a_newcomer_has_its_full_share_at_once() {
    let [share, _] = share_of_a_newcomer("policy: roundRobin", Duration::ZERO);
    assert!((64..=69).contains(&share), "{share} of 200");
}

#[test]
fn while_it_warms_up_a_newcomer_has_a_small_share() {
    thread::scope(|scope| {
        for name in ["roundRobin", "random", "leastRequest"] {
            scope.spawn(move || {
                let fields = format!("policy: {name}, warmup: 60s");
                let [share, _] = share_of_a_newcomer(&fields, Duration::ZERO);
                assert!(share <= 30, "{name}: {share} of 200");
            });
        }
    });
}

#[test]
fn a_warm_up_ends() {
    let [_, share] =
        share_of_a_newcomer("policy: roundRobin, warmup: 2s", Duration::from_millis(2200));
    assert!((62..=70).contains(&share), "{share} of 200");
}
