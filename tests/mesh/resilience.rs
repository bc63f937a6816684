//! Failures that the caller does not see, and those that it sees once, with a reason.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::harness::{App, Mesh, Pair, each_way, eventually, get, get_with, post, refused_address};

#[test]
fn no_endpoints_and_none_that_answers_have_their_reasons() {
    let answer = Pair::empty().start().ask(get("/"));
    assert_eq!((answer.status(), answer.reason()), (503, Some("no-endpoints")));
    for pair in [Pair::bare as fn(_) -> Pair, Pair::at] {
        let answer = pair(refused_address()).start().ask(get("/"));
        assert_eq!((answer.status(), answer.reason()), (503, Some("connect-failure")));
        assert!(answer.text().trim().len() > 10, "a sentence: {:?}", answer.text());
    }
}

#[test]
fn an_endpoint_that_refuses_is_passed_over_for_every_method() {
    let app = App::ok();
    let mesh = Pair::impostor(refused_address()).and(app.address).start();
    let trace = "Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";
    for n in 0..12 {
        let answer = if n % 2 == 0 {
            mesh.ask(format!(
                "POST /pay HTTP/1.1\r\nHost: app.default\r\n{trace}Content-Length: 1\r\n\r\n1"
            ))
        } else {
            mesh.ask(get_with("/", trace))
        };
        assert_eq!(answer.status(), 200, "request {n}: {}", answer.text());
    }
    assert_eq!(app.requests().len(), 12);
    let seen = app.requests();
    let retried = seen.iter().find(|seen| seen.header("x-outrigger-attempt").is_some());
    let retried = retried.expect("at least one came by way of the endpoint that refuses");
    assert_eq!(retried.header("x-outrigger-attempt"), Some("2"));
    let state = retried.header("tracestate").unwrap_or_default();
    assert!(state.contains("or=a:2"), "{state:?}");
}

#[test]
fn what_the_far_sidecar_never_sent_is_retried_for_every_method() {
    let app = App::ok();
    // The first instance's sidecar is up, its app is not.
    let mesh = Pair::at(refused_address()).and(app.address).start();
    for n in 0..12 {
        let answer = mesh.ask(post("/pay", b"1"));
        assert_eq!(answer.status(), 200, "request {n}: {}", answer.text());
    }
    assert_eq!(app.requests().len(), 12);
    assert!(app.requests().iter().any(|seen| seen.header("x-outrigger-attempt").is_some()));
}

#[test]
fn a_request_that_is_a_retry_already_is_not_retried_again() {
    // All endpoints refuse: attempts show in the access log.
    let mesh = Pair::bare(refused_address()).start();
    mesh.ask(get("/fresh"));
    assert!(mesh.outbound.await_entry("/fresh")["attempts"].as_u64() > Some(1));
    for (path, line) in
        [("/marked", "X-Outrigger-Attempt: 2\r\n"), ("/traced", "Tracestate: or=a:2\r\n")]
    {
        let trace = "Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";
        let answer = mesh.ask(get_with(path, &format!("{trace}{line}")));
        assert_eq!(answer.reason(), Some("connect-failure"));
        assert_eq!(mesh.outbound.await_entry(path)["attempts"], 1, "{path}");
    }
}

/// Answers the first request of each connection; ends the connection when a second one begins.
fn ends_on_reuse(order: Arc<AtomicUsize>) -> App {
    App::raw(move |mut wire| {
        if wire.message(false).is_err() {
            return;
        }
        order.fetch_add(1, Ordering::SeqCst);
        wire.send(App::answer("ok"));
        // The race: the request is on its way when the connection ends.
        let _ = wire.head();
    })
}

#[test]
fn a_get_survives_a_kept_connection_that_ends_as_it_is_reused() {
    let served = Arc::new(AtomicUsize::new(0));
    each_way(
        || ends_on_reuse(Arc::clone(&served)),
        |mesh, _| {
            let mut wire = mesh.connect();
            for n in 0..6 {
                let answer = wire.ask(get("/"));
                assert_eq!(answer.status(), 200, "request {n}: {}", answer.text());
            }
        },
    );
}

#[test]
fn an_app_that_ends_every_connection_unannounced_loses_no_get() {
    let once = || {
        App::raw(|mut wire| {
            if wire.message(false).is_ok() {
                wire.send(App::answer("ok"));
            }
        })
    };
    each_way(once, |mesh, _| {
        let mut wire = mesh.connect();
        for n in 0..50 {
            let answer = wire.ask(get("/"));
            assert_eq!(answer.status(), 200, "request {n}: {}", answer.text());
        }
    });
}

#[test]
fn a_post_is_not_sent_twice_when_its_kept_connection_ends() {
    let served = Arc::new(AtomicUsize::new(0));
    let app = ends_on_reuse(Arc::clone(&served));
    let mesh = Pair::of(&app).start();
    let mut wire = mesh.connect();
    assert_eq!(wire.ask(get("/")).status(), 200);
    let before = served.load(Ordering::SeqCst);
    let answer = wire.ask(post("/pay", b"1"));
    // The app read the head of it and hung up: nobody may send it again.
    assert_eq!((answer.status(), answer.reason()), (502, Some("upstream-reset")));
    assert_eq!(served.load(Ordering::SeqCst), before);
}

#[test]
fn a_reset_before_the_answer_is_retried_for_get_and_not_for_post() {
    let tries = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&tries);
    let app = App::raw(move |mut wire| {
        let Ok(request) = wire.message(false) else {
            return;
        };
        let n = count.fetch_add(1, Ordering::SeqCst);
        if n == 0 || request.method() == "POST" {
            return wire.reset();
        }
        wire.send(App::answer("second"));
    });
    let mesh = Pair::bare(app.address).start();
    assert_eq!(mesh.ask(get("/")).text(), "second");
    assert_eq!(tries.load(Ordering::SeqCst), 2);
    assert_eq!(mesh.ask(post("/", b"1")).reason(), Some("upstream-reset"));
    assert_eq!(tries.load(Ordering::SeqCst), 3);
}

#[test]
fn an_error_of_the_app_is_passed_on_untouched() {
    each_way(
        || App::http(|_| b"HTTP/1.1 500 Oops\r\ncontent-length: 4\r\n\r\noops".to_vec()),
        |mesh, app| {
            let answer = mesh.ask(get("/"));
            assert_eq!((answer.status(), answer.text().as_str()), (500, "oops"));
            assert_eq!(answer.reason(), None);
            assert_eq!(app.requests().len(), 1);
        },
    );
}

fn state_of(mesh: &Mesh, at: std::net::SocketAddr) -> String {
    let text = mesh.outbound.get("/endpoints").text();
    let entry = text.split(&at.to_string()).nth(1).unwrap_or_default();
    let state = entry.split("\"state\"").nth(1).unwrap_or_default();
    state.split('"').nth(1).unwrap_or_default().to_owned()
}

#[test]
fn the_circuit_opens_after_five_failures_and_closes_after_a_probe() {
    let good = App::ok();
    let failing = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let fails = Arc::clone(&failing);
    let bad = App::http(move |_| {
        if fails.load(Ordering::SeqCst) {
            return b"HTTP/1.1 503 Down\r\ncontent-length: 0\r\n\r\n".to_vec();
        }
        App::answer("healed")
    });
    let mesh = Pair::of(&good).and(bad.address).start();
    let at = mesh.mesh_ports[1];
    let mut failures = 0;
    for _ in 0..200 {
        failures += usize::from(mesh.ask(post("/", b"1")).status() == 503);
    }
    assert_eq!(failures, 5, "five reach the endpoint, then it is ejected");
    assert_eq!(state_of(&mesh, at), "ejected");
    failing.store(false, Ordering::SeqCst);
    // It stays open for 5 s, jittered; then one probe.
    crate::harness::within(Duration::from_secs(12), "it is readmitted", || {
        mesh.ask(get("/"));
        std::thread::sleep(Duration::from_millis(50));
        state_of(&mesh, at) == "ready"
    });
    assert!(mesh.outbound.metric("outrigger_circuit_transitions_total", &["to=\"open\""]) >= 1.0);
}

#[test]
fn the_last_endpoint_is_never_ejected() {
    let bad = App::http(|_| b"HTTP/1.1 503 Down\r\ncontent-length: 0\r\n\r\n".to_vec());
    let mesh = Pair::of(&bad).start();
    for _ in 0..20 {
        let answer = mesh.ask(post("/", b"1"));
        assert_eq!((answer.status(), answer.reason()), (503, None));
    }
    assert_eq!(bad.requests().len(), 20);
}

#[test]
fn load_is_spread_over_the_instances() {
    let apps = [App::ok(), App::ok(), App::ok()];
    let mesh = Pair::of(&apps[0]).and(apps[1].address).and(apps[2].address).start();
    let mut wire = mesh.connect();
    for _ in 0..90 {
        wire.ask(get("/"));
    }
    for app in &apps {
        assert!(
            !app.requests().is_empty(),
            "{:?}",
            apps.each_ref().map(|app| app.requests().len())
        );
    }
}

#[test]
fn an_instance_whose_process_died_is_passed_over() {
    let apps = [App::ok(), App::ok()];
    let mut mesh = Pair::of(&apps[0]).and(apps[1].address).start();
    let mut wire = mesh.connect();
    for _ in 0..20 {
        assert_eq!(wire.ask(get("/")).status(), 200);
    }
    mesh.inbound_mut(0).signal(libc::SIGKILL);
    mesh.inbound_mut(0).exit(Duration::from_secs(2));
    for n in 0..40 {
        let answer = wire.ask(get("/"));
        assert_eq!(answer.status(), 200, "request {n}: {}", answer.text());
    }
}

#[test]
fn an_app_that_restarts_is_served_again() {
    let address = crate::harness::free_address();
    let mesh = Pair::at(address).start();
    assert_eq!(mesh.ask(get("/")).reason(), Some("connect-failure"));
    let listener = std::net::TcpListener::bind(address).expect("it is free");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut wire = crate::harness::Wire::of(stream);
            while wire.message(false).is_ok() {
                wire.send(App::answer("up"));
            }
        }
    });
    eventually("it is served", || mesh.ask(get("/")).status() == 200);
}
