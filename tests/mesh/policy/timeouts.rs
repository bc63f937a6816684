//! Every limit in time, and what it covers.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::table::{AT_ONCE_AGAIN, Outcome, play_each_way, row};
use crate::harness::{App, Broken, Script, Services, Wire, eventually};

#[test]
fn a_request_has_its_time() {
    let in_time = |outcome: &Outcome| outcome.took_between(980, 8000);
    play_each_way(vec![
        row("until the answer begins")
            .policy("timeouts: {request: 1s}")
            .script("hang")
            .is(504)
            .because("request-timeout")
            .check(in_time),
        row("a POST as well")
            .policy("timeouts: {request: 1s}")
            .script("hang")
            .method("POST")
            .body(10)
            .is(504)
            .because("request-timeout")
            .check(in_time),
        row("until the answer's last byte")
            .policy("timeouts: {request: 1s}")
            .script("drip:400")
            .breaks()
            .check(|outcome| {
                outcome.took_between(980, 3900);
                assert!(!matches!(outcome.answer, Err(Broken::TimedOut)), "{:?}", outcome.answer);
            }),
        row("until the end of a body that stalls")
            .policy("timeouts: {request: 1s}")
            .script("stall")
            .breaks()
            .check(in_time),
        row("every attempt")
            .policy(format!(
                "timeouts: {{request: 2500ms}}\n\
                 retry: {{on: [reset], maxRetries: 5, perTryTimeout: 1s, {AT_ONCE_AGAIN}}}"
            ))
            .script("hang")
            .is(504)
            .because("request-timeout")
            .calls(3)
            .check(|outcome| outcome.took_between(2480, 9000)),
        row("not the next request").policy("timeouts: {request: 1s}").script("ok~100"),
        row("none unless said").script("ok~1200"),
    ]);
}

#[test]
fn pauses_take_of_a_requests_time() {
    let script = Script::new("503");
    let backend = script.serve();
    let callers = Services::bare()
        .service("down", &[backend.address])
        .policy(
            "down",
            "timeouts: {request: 2500ms}\n\
             retry: {on: [5xx], maxRetries: 9, backoff: {strategy: fixed, base: 1s, jitter: none}}",
        )
        .start();
    let begun = Instant::now();
    let answer = callers.get("down");
    let took = begun.elapsed();
    // Either it was waited for, or the pause that would be too long was not begun.
    assert!(matches!(
        (answer.status(), answer.reason()),
        (504, Some("request-timeout")) | (503, None)
    ));
    assert!(took < Duration::from_secs(6), "{took:?}");
    assert!((2..=3).contains(&script.count()), "{} calls", script.count());
}

#[test]
fn an_answer_has_its_time_to_begin() {
    let timeouts = "timeouts: {responseHeaders: 1500ms}";
    play_each_way(vec![
        row("no head in time")
            .policy(timeouts)
            .script("hang")
            .is(504)
            .because("response-timeout")
            .check(|outcome| outcome.took_between(1480, 9000)),
        row("a head in time keeps its body").policy(timeouts).script("drip:250"),
        row("a head too late")
            .policy(timeouts)
            .script("ok~5000")
            .is(504)
            .because("response-timeout"),
        row("each attempt anew")
            .policy(format!("{timeouts}\nretry: {{on: [reset], {AT_ONCE_AGAIN}}}"))
            .script("hang ok~100")
            .calls(2),
        row("not retried unless asked for")
            .policy(timeouts)
            .script("hang ok")
            .is(504)
            .because("response-timeout"),
        row("the last attempt too")
            .policy(format!("{timeouts}\nretry: {{on: [reset], maxRetries: 1, {AT_ONCE_AGAIN}}}"))
            .script("hang hang ok")
            .is(504)
            .because("response-timeout")
            .calls(2),
    ]);
}

/// A listener whose queue is full, so that nobody's connection is ever made.
struct Full {
    address: SocketAddr,
    _listener: Socket,
    _waiting: Vec<Socket>,
}

impl Full {
    fn start() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        listener.bind(&any.into()).expect("a port is free");
        listener.listen(0).expect("it listens");
        let address = listener.local_addr().ok().and_then(|at| at.as_socket());
        let address = address.expect("an address");
        let mut waiting = Vec::new();
        for _ in 0..4 {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            let _ = socket.connect_timeout(&address.into(), Duration::from_millis(100));
            waiting.push(socket);
        }
        Self { address, _listener: listener, _waiting: waiting }
    }
}

#[test]
fn a_connection_has_its_time() {
    let full = Full::start();
    let once = "retry: {on: [reset]}";
    let callers = Services::bare()
        .service("short", &[full.address])
        .policy("short", &format!("timeouts: {{connect: 250ms}}\n{once}"))
        .service("usual", &[full.address])
        .policy("usual", once)
        .start();
    for (service, least, most) in [("short", 240, 5000), ("usual", 950, 8000)] {
        let begun = Instant::now();
        let answer = callers.get(service);
        let took = begun.elapsed().as_millis();
        assert_eq!((answer.status(), answer.reason()), (503, Some("connect-failure")), "{service}");
        assert!((least..most).contains(&took), "{service}: {took} ms");
    }
}

#[test]
fn a_connection_that_is_not_made_is_made_elsewhere() {
    let full = Full::start();
    let backend = Script::new("ok").serve();
    let callers = Services::bare()
        .service("other", &[full.address, backend.address])
        .policy("other", "timeouts: {connect: 100ms}")
        .start();
    for n in 0..6 {
        assert_eq!(callers.post("other").status(), 200, "request {n}");
    }
}

#[test]
fn a_body_that_stalls_is_idle() {
    play_each_way(vec![
        row("it is ended").policy("timeouts: {idle: 300ms}").script("stall").breaks().check(
            |outcome| {
                outcome.took_between(280, 8000);
                assert!(!matches!(outcome.answer, Err(Broken::TimedOut)), "{:?}", outcome.answer);
            },
        ),
        row("one that drips isn't").policy("timeouts: {idle: 2s}").script("drip:300"),
    ]);
}

#[test]
fn an_idle_tcp_connection_is_closed() {
    let echo = App::raw(|wire| {
        let (mut read, mut write) = (wire.twin(), wire.twin());
        let mut bytes = [0; 64];
        while let Ok(n @ 1..) = read.read(&mut bytes) {
            if write.write_all(&bytes[..n]).is_err() {
                return;
            }
        }
    });
    let callers = Services::bare()
        .speaks("tcp", "short", &[echo.address])
        .policy("short", "timeouts: {idle: 2s}")
        .speaks("tcp", "usual", &[echo.address])
        .upstream("short")
        .upstream("usual")
        .start();
    let mut usual = Wire::connect(callers.upstreams[1]);
    let mut short = Wire::connect(callers.upstreams[0]);
    for _ in 0..4 {
        short.send("alive");
        assert_eq!(short.take(5), b"alive");
        std::thread::sleep(Duration::from_millis(700));
    }
    let begun = Instant::now();
    assert!(short.is_over(), "it is closed");
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}");
    usual.send("still");
    assert_eq!(usual.take(5), b"still");
    eventually("the log says why", || {
        let log = callers.outbound.access_log();
        log.iter().any(|entry| entry["reason"] == "idle-timeout")
    });
    drop::<TcpStream>(short.stream);
}
