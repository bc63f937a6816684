//! Panics of the control plane, and of a sidecar's session with it, while requests go on.

use std::time::Duration;

use super::{arm, told_once};
use crate::harness::{App, ControlPlane, Load, Wire, eventually, service, within};

const WEB: &str = "web.default:80";

/// The next one at this place of the control plane panics.
#[track_caller]
fn arm_plane(plane: &ControlPlane, at: &str) {
    let mut wire = Wire::of(std::net::TcpStream::connect(plane.admin).expect("it listens"));
    let host = plane.admin;
    wire.send(format!(
        "POST /panic?at={at} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    ));
    assert_eq!(wire.message(false).expect("an answer").status(), 202);
}

fn panics(plane: &ControlPlane) -> f64 {
    plane.metric("outrigger_task_panics_total", &[])
}

#[test]
fn a_session_that_panics_is_begun_again_and_hears_what_it_missed() {
    let plane = ControlPlane::start(&[]);
    plane.apply(&service("web"));
    let apps = [App::ok(), App::ok()];
    let _first = plane.instance("web-1", apps[0].address);
    let caller = plane.caller("client-1", &[WEB]);
    eventually("the instance is known", || caller.endpoints(WEB) == Some(1));
    let load = Load::steady(caller.upstreams[0], 100);
    load.goes_on(10);
    arm(&caller.sidecar, "session");
    // What tells of this one is what panics.
    let _second = plane.instance("web-2", apps[1].address);
    told_once(&caller.sidecar, "src/agent/session/talk.rs");
    within(Duration::from_secs(25), "the caller hears of both", || {
        caller.is_connected() && caller.endpoints(WEB) == Some(2)
    });
    load.goes_on(50);
    load.lost_nothing();
}

#[test]
fn a_call_that_panics_costs_no_session_and_no_other_call() {
    let plane = ControlPlane::start(&[]);
    plane.apply(&service("web"));
    let app = App::ok();
    let instance = plane.instance("web-1", app.address);
    eventually("it is registered", || plane.registrations().len() == 1);
    let opened = plane.metric("outrigger_control_sessions_opened_total", &[]);
    arm_plane(&plane, "call");
    let lost = plane.run(&["get", "services"]);
    assert!(lost.code != Some(0), "{lost:?}");
    assert!(plane.done(&["get", "services"]).contains("web"));
    assert_eq!(panics(&plane), 1.0);
    assert!(plane.log().contains("src/control/api/router.rs"), "{}", plane.log());
    assert!(instance.is_connected());
    assert_eq!(plane.metric("outrigger_control_sessions_opened_total", &[]), opened);
}

#[test]
fn housekeeping_that_panics_goes_on() {
    let plane = ControlPlane::start(&[]);
    for times in 1..4 {
        arm_plane(&plane, "housekeeping");
        eventually("it goes round", || panics(&plane) == f64::from(times));
    }
    plane.await_log("the control plane's housekeeping panicked and begins again");
}

#[test]
fn a_store_whose_writer_panics_is_opened_by_another_process() {
    let mut plane = ControlPlane::start(&[]);
    plane.apply(&service("web"));
    arm_plane(&plane, "store");
    let unwritten = plane.try_apply(&service("lost"));
    assert!(unwritten.code != Some(0), "{unwritten:?}");
    plane.await_log("the store's writer panicked, and nothing can take its place");
    eventually("it leaves", || plane.page("/live").is_none());
    plane.restart();
    assert!(plane.done(&["get", "services"]).contains("web"));
    plane.apply(&service("later"));
}
