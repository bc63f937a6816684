//! A pod that calls itself: by its own address and by its service's it is called like any other
//! pod, once; by a loopback address the mesh sees nothing of it.

use std::net::SocketAddr;

use crate::harness::pod::{Pod, RULES};
use crate::harness::{App, Family, Pods, eventually, get, spiffe};

const PORT: u16 = 8080;

/// With the capability and without: the leg to the app shows itself in two ways.
fn each_leg(scenario: impl Fn(&Pods, &Pod, &App)) {
    for family in Family::BOTH {
        for may_mark in [true, false] {
            let Some(pods) = Pods::new(family) else { return };
            let plan = pods.pod("web-1");
            let pod = if may_mark { plan.may_mark() } else { plan }.start();
            let app = pod.app(PORT, |at| App::http_at(at, |_| App::answer("me")));
            scenario(&pods, &pod, &app);
        }
    }
}

#[test]
fn a_pod_that_calls_itself_is_called_once_and_known() {
    each_leg(|pods, pod, app| {
        let service = pods.service("web", 10, "{port: 8080}");
        for ip in [pod.ip, service] {
            let before = pod.taken();
            let answer = pod.ask((ip, PORT).into(), &get("/"));
            assert_eq!((answer.status(), answer.text().as_str()), (200, "me"), "{answer:?}");
            let came = app.requests().pop().expect("it came");
            assert_eq!(came.header("x-outrigger-peer"), Some(spiffe("web").as_str()));
            // Out, in again, and there is the app. HTTP/2 between the two may be there already.
            assert!(pod.taken() - before <= 2.0, "{} connections", pod.taken() - before);
        }
        assert_eq!(app.requests().len(), 2);
        assert!(app.connections() <= 2, "{} connections", app.connections());
    });
}

#[test]
fn loopback_addresses_are_left_alone() {
    each_leg(|pods, pod, app| {
        let before = pod.taken();
        let to: SocketAddr = (pods.family.loopback(), PORT).into();
        let answer = pod.ask(to, &get("/"));
        assert_eq!(answer.text(), "me");
        assert_eq!(app.only_request().header("x-outrigger-peer"), None);
        assert_eq!(pod.taken(), before);
    });
}

#[test]
fn an_app_is_called_where_it_was_called() {
    each_leg(|pods, pod, _| {
        let client = pods.pod("client-1").start();
        let at = SocketAddr::new(pods.family.loopback(), 8081);
        let _hidden = pod.on(|| App::http_at(at, |_| App::answer("hidden")));
        // It listens on a loopback address alone, which is not what others call.
        let answer = client.ask(pod.at(8081), &get("/"));
        assert_eq!((answer.status(), answer.reason()), (503, Some("connect-failure")));
    });
}

#[test]
fn rules_that_take_the_apps_leg_too_make_no_loop() {
    let unaware: String = RULES
        .lines()
        .filter(|line| !["0x6f72", "127.0.0.6", "::6"].iter().any(|way| line.contains(way)))
        .map(|line| format!("{line}\n"))
        .collect();
    for may_mark in [true, false] {
        let Some(pods) = Pods::new(Family::V4) else { return };
        let plan = pods.pod("web-1").rules(&unaware);
        let pod = if may_mark { plan.may_mark() } else { plan }.start();
        let app = pod.app(PORT, |at| App::http_at(at, |_| App::answer("me")));
        let client = pods.pod("client-1").start();
        let answer = client.ask(pod.at(PORT), &get("/"));
        assert!(matches!(answer.status(), 403 | 502 | 503), "{answer:?}");
        eventually("it is noted", || {
            let log = pod.sidecar().log();
            log.contains("loop-detected") || log.contains("mtls-required")
        });
        assert_eq!(app.connections(), 0);
        assert!(pod.taken() < 20.0, "{} connections", pod.taken());
    }
}
