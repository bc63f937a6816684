//! Bulkheads: what one service may take of the caller's sidecar.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::harness::{Backend, Callers, Message, Script, Services, Wire, eventually};

const GET: &str = "GET / HTTP/1.1\r\n\r\n";

/// A service with these limits, and one without.
fn limited(limits: &str, script: &str) -> (Callers, Arc<Script>, [Backend; 2]) {
    limited_as(Services::bare(), limits, script)
}

fn limited_as(
    services: Services,
    limits: &str,
    script: &str,
) -> (Callers, Arc<Script>, [Backend; 2]) {
    let script = Script::new(script);
    let backends = [script.serve(), Script::new("ok").serve()];
    let callers = services
        .service("small", &[backends[0].address])
        .policy("small", &format!("limits: {{{limits}}}"))
        .service("free", &[backends[1].address])
        .start();
    (callers, script, backends)
}

/// Sends so many at once; the answers in the order in which they were sent.
fn at_once(callers: &Callers, count: usize) -> Vec<(Message, Duration)> {
    let begun = Instant::now();
    let wires: Vec<Wire> = (0..count).map(|_| callers.begin("small", GET)).collect();
    std::thread::scope(|scope| {
        let ask = |mut wire: Wire| scope.spawn(move || (wire.response(), begun.elapsed()));
        let asking: Vec<_> = wires.into_iter().map(ask).collect();
        asking.into_iter().map(|thread| thread.join().expect("an answer")).collect()
    })
}

fn count(answers: &[(Message, Duration)], status: u16, reason: Option<&str>) -> usize {
    answers
        .iter()
        .filter(|(answer, _)| (answer.status(), answer.reason()) == (status, reason))
        .count()
}

#[test]
fn no_more_requests_than_its_limit_are_under_way() {
    for services in [Services::bare(), Services::paired()] {
        let (callers, script, _backends) =
            limited_as(services, "maxRequests: 2", "ok~3000 ok~3000 ok");
        let answers = at_once(&callers, 6);
        assert_eq!(count(&answers, 200, None), 2, "{answers:#?}");
        assert_eq!(count(&answers, 503, Some("overflow-requests")), 4, "{answers:#?}");
        for (answer, took) in &answers {
            let refused = answer.status() == 503;
            assert!(!refused || *took < Duration::from_millis(2500), "refused after {took:?}");
        }
        assert_eq!(script.count(), 2);
        assert_eq!(callers.get("small").status(), 200, "places are given back");
    }
}

#[test]
fn workers_share_a_limit() {
    let (callers, script, _backends) =
        limited_as(Services::bare().workers(3), "maxRequests: 3", "ok~3000");
    let answers = at_once(&callers, 12);
    assert_eq!(count(&answers, 200, None), 3, "{answers:#?}");
    assert_eq!(script.count(), 3);
}

#[test]
fn a_caller_that_leaves_gives_its_place_back() {
    let (callers, script, _backends) = limited("maxRequests: 1", "hang ok");
    let wire = callers.begin("small", GET);
    eventually("it is under way", || script.count() == 1);
    assert_eq!(callers.get("small").reason(), Some("overflow-requests"));
    drop(wire);
    eventually("its place is free", || callers.get("small").status() == 200);
}

#[test]
fn a_body_under_way_keeps_its_place() {
    let (callers, _script, _backends) = limited("maxRequests: 1", "drip ok");
    let mut wire = callers.begin("small", GET);
    let mut answer = wire.head().expect("the answer begins");
    assert_eq!(callers.get("small").reason(), Some("overflow-requests"));
    wire.body(&mut answer, false).expect("the whole body");
    eventually("its place is free", || callers.get("small").status() == 200);
}

#[test]
fn what_has_no_connection_waits_for_one() {
    let limits = "maxConnections: 1, maxPendingRequests: 10, queueTimeout: 5s";
    let (callers, script, backends) = limited(limits, "ok~150");
    let answers = at_once(&callers, 5);
    assert_eq!(count(&answers, 200, None), 5, "{answers:#?}");
    assert_eq!(script.count(), 5);
    let connections = backends[0].connections();
    assert!(connections <= 5, "{connections}");
    let last = answers.iter().map(|(_, took)| *took).max();
    assert!(last > Some(Duration::from_millis(740)), "one after the other: {last:?}");
}

#[test]
fn the_queue_is_bounded_in_length() {
    let limits = "maxConnections: 1, maxPendingRequests: 2, queueTimeout: 10s";
    let (callers, script, _backends) = limited(limits, "ok~1500");
    let answers = at_once(&callers, 6);
    assert_eq!(count(&answers, 200, None), 3, "{answers:#?}");
    assert_eq!(count(&answers, 503, Some("overflow-pending")), 3, "{answers:#?}");
    assert_eq!(script.count(), 3);
}

#[test]
fn the_queue_is_bounded_in_time() {
    let limits = "maxConnections: 1, maxPendingRequests: 10, queueTimeout: 200ms";
    let (callers, script, _backends) = limited(limits, "ok~2500");
    let answers = at_once(&callers, 3);
    assert_eq!(count(&answers, 200, None), 1, "{answers:#?}");
    assert_eq!(count(&answers, 503, Some("queue-timeout")), 2, "{answers:#?}");
    for (answer, took) in &answers {
        let in_time = (190..2400).contains(&took.as_millis());
        assert!(answer.status() == 200 || in_time, "refused after {took:?}");
    }
    assert_eq!(script.count(), 1);
}

#[test]
fn a_second_is_waited_unless_said() {
    let (callers, _script, _backends) = limited("maxConnections: 1", "ok~3500");
    let answers = at_once(&callers, 2);
    let refused = answers.iter().find(|(answer, _)| answer.status() == 503);
    let (answer, took) = refused.expect("one waited in vain");
    assert_eq!(answer.reason(), Some("queue-timeout"));
    assert!((950..3400).contains(&took.as_millis()), "{took:?}");
}

#[test]
fn a_connection_serves_so_many_requests() {
    for (limits, connections) in [("maxRequestsPerConnection: 3", 3), ("maxRequests: 9", 1)] {
        let (callers, script, backends) = limited(limits, "ok");
        let mut wire = Wire::connect(callers.by_host);
        for _ in 0..9 {
            let answer = wire.ask("GET / HTTP/1.1\r\nHost: small.default\r\n\r\n");
            assert_eq!(answer.status(), 200);
        }
        assert_eq!((script.count(), backends[0].connections()), (9, connections), "{limits}");
    }
}

#[test]
fn a_service_at_its_limits_takes_nothing_from_another() {
    let limits = "maxConnections: 1, maxRequests: 40, maxPendingRequests: 30, queueTimeout: 3s";
    let (callers, script, _backends) = limited(limits, "hang");
    let wires: Vec<Wire> = (0..60).map(|_| callers.begin("small", GET)).collect();
    eventually("it is full", || script.count() == 1);
    let begun = Instant::now();
    for n in 0..50 {
        let answer = callers.get("free");
        assert_eq!((answer.status(), answer.reason()), (200, None), "request {n}");
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    drop(wires);
}

#[test]
fn a_changed_limit_holds_at_once() {
    let script = Script::new("hang");
    let backend = script.serve();
    let services = Services::bare()
        .service("small", &[backend.address])
        .policy("small", "limits: {maxRequests: 1}");
    let documents = services.documents().to_owned();
    let callers = services.start();
    let first = callers.begin("small", GET);
    eventually("it is under way", || script.count() == 1);
    assert_eq!(callers.get("small").reason(), Some("overflow-requests"));
    callers.rewrite(&documents.replace("maxRequests: 1", "maxRequests: 2"));
    let mut second = None;
    eventually("there is room for a second one", || {
        second = Some(callers.begin("small", GET));
        std::thread::sleep(Duration::from_millis(50));
        script.count() == 2
    });
    assert_eq!(callers.get("small").reason(), Some("overflow-requests"), "the first one counts");
    drop((first, second));
}

#[test]
fn tcp_counts_under_connections() {
    let script = Script::new("ok");
    let backend = script.serve();
    let callers = Services::bare()
        .speaks("tcp", "small", &[backend.address])
        .policy("small", "limits: {maxConnections: 1, maxRequests: 1, maxPendingRequests: 1, queueTimeout: 100ms}")
        .upstream("small")
        .start();
    let ask = || {
        let mut wire = Wire::connect(callers.upstreams[0]);
        let answered = wire.try_send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").is_ok()
            && wire.message(false).is_ok_and(|answer| answer.status() == 200);
        (wire, answered)
    };
    let (first, answered) = ask();
    assert!(answered);
    let (_second, answered) = ask();
    assert!(!answered, "a second connection");
    eventually("the log says why", || {
        let log = callers.outbound.access_log();
        log.iter().any(|entry| {
            matches!(entry["reason"].as_str(), Some("overflow-connections" | "queue-timeout"))
        })
    });
    drop(first);
    eventually("its place is free", || ask().1);
}

#[test]
fn refusals_of_our_own_open_no_circuit() {
    let backends = [Script::new("ok~3000").serve(), Script::new("ok~3000").serve()];
    let callers = Services::bare()
        .service("small", &backends.each_ref().map(|backend| backend.address))
        .policy(
            "small",
            "limits: {maxRequests: 1}\n\
             circuitBreaker: {on: [5xx, gateway-error, connect-failure, reset], consecutiveFailures: 1}",
        )
        .start();
    let answers = at_once(&callers, 10);
    assert_eq!(count(&answers, 503, Some("overflow-requests")), 9, "{answers:#?}");
    for backend in &backends {
        assert_eq!(callers.state(backend.address), "ready");
    }
}
