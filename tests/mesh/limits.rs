//! Memory and descriptors: bounded, and given back.

use std::time::{Duration, Instant};

use crate::harness::{App, Pair, Wire, eventually, get};

/// What one idle connection may cost, unoptimised: 28 measured.
const IDLE_KIB: u64 = 40;
/// What one may cost that has a request of 4 KiB under way: 61 measured.
const BUSY_KIB: u64 = 80;

#[test]
fn two_thousand_idle_connections_cost_little() {
    let app = App::ok();
    let mesh = Pair::of(&app).declared("http").start();
    assert_eq!(mesh.ask(get("/warm")).status(), 200);
    let before = mesh.outbound.rss_kib();
    let mut wires: Vec<Wire> = (0..2000).map(|_| mesh.connect()).collect();
    for wire in &mut wires {
        assert_eq!(wire.ask(get("/")).status(), 200);
    }
    let grown = mesh.outbound.rss_kib().saturating_sub(before);
    assert!(grown < 2000 * IDLE_KIB, "{grown} KiB for 2000 idle connections");
    drop(wires);
    eventually("descriptors are given back", || mesh.outbound.open_files() < 100);
    assert_eq!(mesh.ask(get("/after")).status(), 200);
}

#[test]
fn five_hundred_busy_connections_cost_little() {
    let app = App::http(|request| {
        let body = request.body.len();
        std::thread::sleep(Duration::from_millis(500));
        App::answer(vec![b'x'; body])
    });
    let mesh = Pair::of(&app).declared("http").start();
    assert_eq!(mesh.ask(get("/warm")).status(), 200);
    let before = [mesh.outbound.rss_kib(), mesh.inbound().rss_kib()];
    let mut wires: Vec<Wire> = (0..500).map(|_| mesh.connect()).collect();
    let body = vec![b'y'; 4096];
    for wire in &mut wires {
        wire.send(crate::harness::post("/", &body));
    }
    for wire in &mut wires {
        let answer = wire.response();
        assert_eq!((answer.status(), answer.body.len()), (200, 4096), "{:?}", answer.reason());
    }
    for (sidecar, before) in [&mesh.outbound, mesh.inbound()].into_iter().zip(before) {
        let grown = sidecar.rss_kib().saturating_sub(before);
        assert!(grown < 500 * BUSY_KIB, "{grown} KiB for 500 busy connections");
    }
}

#[test]
fn running_out_of_descriptors_neither_spins_nor_stays() {
    let app = App::ok();
    let mesh = Pair::of(&app).declared("http").outbound_files(64).start();
    assert_eq!(mesh.ask(get("/before")).status(), 200);
    let wires: Vec<Wire> = (0..100).map(|_| mesh.connect()).collect();
    let full = "further connections wait";
    eventually("callers have their part", || mesh.outbound.log().contains(full));
    let (cpu, begun) = (mesh.outbound.cpu(), Instant::now());
    std::thread::sleep(Duration::from_secs(1));
    let used = (mesh.outbound.cpu() - cpu).as_secs_f32() / begun.elapsed().as_secs_f32();
    assert!(used < 0.2, "{:.0} % of a CPU while nothing can be accepted", used * 100.0);
    drop(wires);
    eventually("it serves again", || {
        let mut wire = mesh.connect();
        wire.patience(Duration::from_secs(1)).send(get("/after"));
        wire.message(false).is_ok_and(|answer| answer.status() == 200)
    });
}

#[test]
fn an_idle_pair_uses_no_cpu() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    assert_eq!(mesh.ask(get("/")).status(), 200);
    let before = mesh.outbound.cpu();
    std::thread::sleep(Duration::from_secs(2));
    let used = mesh.outbound.cpu() - before;
    assert!(used <= Duration::from_millis(60), "{used:?} in 2 s");
}

#[test]
fn a_large_body_is_not_held_in_memory() {
    let app = App::http(|request| App::answer(request.body.len().to_string()));
    let mesh = Pair::of(&app).start();
    assert_eq!(mesh.ask(get("/warm")).status(), 200);
    let before = [mesh.outbound.rss_kib(), mesh.inbound().rss_kib()];
    let body = vec![b'z'; 64 * 1024 * 1024];
    assert_eq!(mesh.ask(crate::harness::post("/", &body)).text(), body.len().to_string());
    for (sidecar, before) in [&mesh.outbound, mesh.inbound()].into_iter().zip(before) {
        let grown = sidecar.rss_kib().saturating_sub(before);
        assert!(grown < 24 * 1024, "{grown} KiB for a body of 64 MiB");
    }
}

#[test]
fn the_limit_of_descriptors_is_raised_to_the_hard_one() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    let (soft, hard) = mesh.outbound.open_files_limit();
    assert_eq!(soft, hard);
}
