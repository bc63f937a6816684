//! Opaque bytes through the sidecars: every one of them, and every way of ending.

use std::io::{Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{App, Broken, Mesh, Pair, Wire, eventually, pattern, refused_address};

fn tcp_each_way(app: impl Fn() -> App, scenario: impl Fn(&Mesh, &App)) {
    for pair in [Pair::bare as fn(_) -> Pair, Pair::at] {
        let app = app();
        scenario(&pair(app.address).declared("tcp").start(), &app);
    }
}

/// How much goes through in bulk: a MiB count.
fn bulk_mib() -> usize {
    if std::env::var_os("OUTRIGGER_LONG").is_some() { 1024 } else { 64 }
}

/// A block that differs from its neighbours by its number.
fn block(base: &[u8], number: usize) -> Vec<u8> {
    let mut block = base.to_vec();
    block[..8].copy_from_slice(&(number as u64).to_be_bytes());
    block
}

fn send_bulk(wire: &mut Wire, blocks: usize) {
    let base = pattern(1024 * 1024);
    for number in 0..blocks {
        wire.stream.write_all(&block(&base, number)).expect("the bulk is taken");
    }
}

fn receive_bulk(wire: &mut Wire, blocks: usize) {
    let base = pattern(1024 * 1024);
    let mut got = vec![0; base.len()];
    for number in 0..blocks {
        wire.stream.read_exact(&mut got).expect("the bulk comes whole");
        assert!(got == block(&base, number), "MiB {number} differs");
    }
}

#[test]
fn bulk_passes_both_ways_at_once_unchanged() {
    let blocks = bulk_mib();
    let app = move || {
        App::raw(move |mut wire| {
            let mut back = Wire::of(wire.twin());
            let sender = thread::spawn(move || {
                send_bulk(&mut back, blocks);
                back.finish();
            });
            receive_bulk(&mut wire, blocks);
            assert_eq!(wire.stream.read(&mut [0]).expect("a clean end"), 0);
            sender.join().expect("sent");
        })
    };
    tcp_each_way(app, |mesh, app| {
        let mut wire = mesh.connect();
        let mut back = Wire::of(wire.twin());
        let sender = thread::spawn(move || {
            send_bulk(&mut back, blocks);
            back.finish();
        });
        receive_bulk(&mut wire, blocks);
        assert_eq!(wire.stream.read(&mut [0]).expect("a clean end"), 0);
        sender.join().expect("sent");
        eventually("the app got everything", || app.open_connections() == 0);
        assert!(mesh.outbound.rss_kib() < 64 * 1024, "{} KiB", mesh.outbound.rss_kib());
    });
}

#[test]
fn single_bytes_pass_without_waiting_for_more() {
    let app = || {
        App::raw(|mut wire| {
            for _ in 0..100 {
                let byte = wire.take(1);
                wire.send(byte);
            }
        })
    };
    tcp_each_way(app, |mesh, _| {
        let mut wire = mesh.connect();
        for n in 0..100_u8 {
            assert_eq!(wire.send([n]).take(1), [n]);
        }
    });
}

#[test]
fn the_callers_half_close_leaves_the_way_back_open() {
    let app = || {
        App::raw(|mut wire| {
            let mut all = Vec::new();
            wire.read_to_end(&mut all).expect("a clean end");
            wire.send([b"got ", &all[..]].concat());
        })
    };
    tcp_each_way(app, |mesh, _| {
        let mut wire = mesh.connect();
        wire.send("all of it").finish();
        let mut answer = Vec::new();
        wire.read_to_end(&mut answer).expect("a clean end");
        assert_eq!(String::from_utf8_lossy(&answer), "got all of it");
    });
}

#[test]
fn the_apps_half_close_leaves_the_way_forth_open() {
    let app = || {
        App::raw(|mut wire| {
            wire.send("bye").finish();
            let mut late = Vec::new();
            wire.read_to_end(&mut late).expect("a clean end");
            assert_eq!(late, b"still here");
        })
    };
    tcp_each_way(app, |mesh, app| {
        let mut wire = mesh.connect();
        let mut all = Vec::new();
        wire.read_to_end(&mut all).expect("a clean end");
        assert_eq!(all, b"bye");
        assert_eq!(app.open_connections(), 1);
        wire.send("still here").finish();
        eventually("the app got the rest", || app.open_connections() == 0);
    });
}

#[test]
fn a_reset_of_the_caller_reaches_the_app_as_a_reset() {
    let app = || {
        App::raw(|mut wire| {
            wire.take(2);
            let mut rest = Vec::new();
            if wire.read_to_end(&mut rest) == Err(Broken::Reset) {
                // Seen from outside as the only script that ends.
                return;
            }
            thread::sleep(Duration::from_secs(3600));
        })
    };
    tcp_each_way(app, |mesh, app| {
        let mut wire = mesh.connect();
        wire.send("hi");
        eventually("the app has it", || app.open_connections() == 1);
        thread::sleep(Duration::from_millis(100));
        wire.reset();
        eventually("the app sees a reset", || app.open_connections() == 0);
    });
}

#[test]
fn a_reset_of_the_app_reaches_the_caller_as_a_reset() {
    let app = || {
        App::raw(|mut wire| {
            wire.take(2);
            wire.reset();
        })
    };
    tcp_each_way(app, |mesh, _| {
        let mut wire = mesh.connect();
        assert!(wire.send("hi").ended_by_reset());
    });
}

#[test]
fn a_refused_app_shows_the_caller_a_reset() {
    for pair in [Pair::bare as fn(_) -> Pair, Pair::at] {
        let mesh = pair(refused_address()).declared("tcp").start();
        let mut wire = mesh.connect();
        assert!(wire.ended_by_reset());
    }
}

#[test]
fn a_service_without_endpoints_shows_the_caller_a_reset() {
    let mesh = Pair::empty().declared("tcp").start();
    assert!(mesh.connect().ended_by_reset());
}

#[test]
fn a_reader_that_stops_holds_its_sender_back_and_no_one_else() {
    let app = || {
        App::raw(|mut wire| match wire.take(1)[0] {
            // Never reads again.
            b's' => thread::sleep(Duration::from_secs(3600)),
            _ => {
                wire.send("fine");
            }
        })
    };
    tcp_each_way(app, |mesh, _| {
        let mut stalled = mesh.connect();
        stalled.stream.set_write_timeout(Some(Duration::from_secs(1))).expect("a time");
        stalled.send("s");
        let piece = vec![0; 1024 * 1024];
        let mut taken = 0;
        while stalled.stream.write(&piece).is_ok_and(|n| n > 0) {
            taken += 1;
            assert!(taken < 512, "the sender is never held back");
        }
        let mut other = mesh.connect();
        assert_eq!(other.send("x").take(4), b"fine");
        assert!(mesh.outbound.rss_kib() < 64 * 1024, "{} KiB", mesh.outbound.rss_kib());
    });
}

#[test]
fn an_instance_that_refuses_is_passed_over() {
    let app = App::raw(|mut wire| {
        wire.send("here");
    });
    let mesh = Pair::at(refused_address()).and(app.address).declared("tcp").start();
    let served = (0..20)
        .filter(|_| {
            let mut bytes = Vec::new();
            mesh.connect().read_to_end(&mut bytes).is_ok() && bytes == b"here"
        })
        .count();
    // The far sidecar refuses with a reset after the near one has connected. Five of those open its
    // circuit; an endpoint that fails fast must not look like the fastest one.
    assert!(served >= 10, "{served} of 20");
}

#[test]
fn many_connections_one_after_the_other_leave_nothing_behind() {
    let app = || {
        App::raw(|mut wire| {
            wire.send("x");
        })
    };
    tcp_each_way(app, |mesh, _| {
        let once = || {
            let mut bytes = Vec::new();
            mesh.connect().read_to_end(&mut bytes).expect("a clean end");
            assert_eq!(bytes, b"x");
        };
        (0..10).for_each(|_| once());
        let before = mesh.outbound.open_files();
        let begun = Instant::now();
        (0..300).for_each(|_| once());
        eprintln!("300 connections in {:?}", begun.elapsed());
        eventually("descriptors are given back", || mesh.outbound.open_files() <= before + 2);
    });
}

#[test]
fn a_tcp_connection_is_logged_when_it_ends() {
    let app = App::raw(|mut wire| {
        wire.take(5);
        wire.send("abc");
    });
    let mesh = Pair::of(&app).declared("tcp").start();
    let mut wire = mesh.connect();
    wire.send("12345");
    assert_eq!(wire.take(3), b"abc");
    drop(wire);
    eventually("an entry", || !mesh.inbound().access_log().is_empty());
    let entry = &mesh.inbound().access_log()[0];
    assert_eq!(entry["direction"], "inbound");
    assert_eq!(entry["protocol"], "tcp");
    assert_eq!(entry["peer"], crate::harness::spiffe("client"));
    assert_eq!((&entry["bytes_in"], &entry["bytes_out"]), (&5.into(), &3.into()));
}

#[test]
fn each_dial_of_a_tcp_connection_is_an_attempt() {
    let app = App::raw(|mut wire| {
        wire.send("here");
    });
    let nobody = refused_address();
    let policy = "apiVersion: outrigger.dev/v1alpha1\nkind: TrafficPolicy\n\
        metadata: {name: app}\nspec: {targetRefs: [{kind: Service, name: app}], \
        loadBalancing: {policy: roundRobin}}\n---\n";
    let mesh = Pair::bare(nobody).and_bare(app.address).declared("tcp").resources(policy).start();
    for _ in 0..4 {
        let mut bytes = Vec::new();
        mesh.connect().read_to_end(&mut bytes).expect("a clean end");
        assert_eq!(bytes, b"here", "one of two refuses, and the other is asked");
    }
    eventually("all are logged", || mesh.outbound.access_log().len() == 4);
    let log = mesh.outbound.access_log();
    for entry in &log {
        assert_eq!(entry["endpoint"], app.address.to_string(), "{entry}");
        assert!(matches!(entry["attempts"].as_u64(), Some(1 | 2)), "{entry}");
    }
    assert!(log.iter().any(|entry| entry["attempts"] == 2), "{log:?}");
    mesh.replace_endpoints(&[nobody]);
    eventually("nobody is left who answers", || {
        let _ = mesh.connect().read_to_end(&mut Vec::new());
        let log = mesh.outbound.access_log();
        let last = log.last().expect("there are some");
        last["endpoint"] == nobody.to_string()
            && last["reason"] == "connect-failure"
            && last["attempts"].as_u64() >= Some(1)
    });
}
