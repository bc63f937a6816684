//! What runs as long as a sidecar does, and panics: begun again, or followed by another process.

use std::time::Duration;

use super::{arm, panics, told_once};
use crate::harness::{App, Pair, eventually, get};

#[test]
fn an_accept_loop_loses_the_connection_in_its_hand_and_goes_on() {
    let app = App::ok();
    let mesh = Pair::of(&app).declared("http").start();
    let mut neighbour = mesh.connect();
    assert_eq!(neighbour.ask(get("/before")).status(), 200);
    arm(&mesh.outbound, "accept");
    let mut lost = mesh.connect();
    // It may be gone before this is written.
    let _ = lost.try_send(get("/lost"));
    assert!(lost.message(false).is_err(), "there is an answer");
    for _ in 0..10 {
        assert_eq!(mesh.ask(get("/after")).status(), 200);
    }
    assert_eq!(neighbour.ask(get("/neighbour")).status(), 200);
    told_once(&mesh.outbound, "src/serve/accept.rs");
    mesh.outbound.await_log("an accept loop panicked and begins again");
}

#[test]
fn a_tick_that_panics_is_followed_by_the_next() {
    let app = App::ok();
    let mesh = Pair::of(&app).declared("http").start();
    for times in 1..4 {
        arm(&mesh.outbound, "tick");
        eventually("it ticks", || panics(&mesh.outbound) == f64::from(times));
    }
    assert_eq!(mesh.ask(get("/written")).status(), 200);
    mesh.outbound.await_entry("/written");
}

#[test]
fn resources_that_could_not_be_taken_for_a_panic_are_read_again() {
    let [first, second] = [App::ok(), App::ok()];
    let mesh = Pair::bare(first.address).declared("http").start();
    assert_eq!(mesh.ask(get("/first")).status(), 200);
    arm(&mesh.outbound, "resources");
    mesh.replace_endpoints(&[second.address]);
    told_once(&mesh.outbound, "src/agent/files/resources.rs");
    let asked = |path| mesh.ask(get(path)).status() == 200 && second.begun() > 0;
    eventually("the new endpoint is used", || asked("/second"));
}

#[test]
fn a_worker_that_is_gone_takes_the_process_along_in_order() {
    let app = App::ok();
    let mut mesh = Pair::of(&app).declared("http").workers(2).start();
    assert_eq!(mesh.ask(get("/before")).status(), 200);
    let inbound = mesh.inbound_mut(0);
    arm(inbound, "worker");
    // Reading the configuration again is a job for every worker.
    inbound.signal(libc::SIGHUP);
    inbound.await_log("a worker panicked, and nothing can take its place");
    let left = inbound.exit(Duration::from_secs(20));
    assert_eq!(left.code(), Some(1), "{}", inbound.log());
    assert!(inbound.log().contains("bye"), "{}", inbound.log());
}
