//! What two parsers could read in two ways goes no further, on either side of the pair.

use std::time::Duration;

use crate::harness::{App, Broken, Mesh, Pair, eventually, get, tls};

/// (what, request, status)
const REFUSED: &[(&str, &str, u16)] = &[
    (
        "two lengths",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        400,
    ),
    (
        "a length twice",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        400,
    ),
    ("a list of lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\na", 400),
    ("a length with a sign", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na", 400),
    (
        "length and coding",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "coding and length",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "chunked not last",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "an unknown coding",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    ("an empty coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", 400),
    (
        "1.0 with a coding",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    ("no host", "GET / HTTP/1.1\r\nX: y\r\n\r\n", 400),
    ("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ("a host twice", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    ("a host that contradicts", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a host with userinfo", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
    ("a folded line", "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", 400),
    ("bare LF after the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
    ("bare LF after a field", "GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400),
    ("bare CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: y\rz\r\n\r\n", 400),
    ("NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: y\0z\r\n\r\n", 400),
    ("NUL in the target", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a space after a name", "GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", 400),
    ("a space in a name", "GET / HTTP/1.1\r\nHost: a\r\nX Y: z\r\n\r\n", 400),
    ("a name outside the grammar", "GET / HTTP/1.1\r\nHost: a\r\nX(Y): z\r\n\r\n", 400),
    ("no name", "GET / HTTP/1.1\r\nHost: a\r\n: z\r\n\r\n", 400),
    ("no colon", "GET / HTTP/1.1\r\nHost: a\r\nXYZ\r\n\r\n", 400),
    ("two spaces in the request line", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a tab in the request line", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a space before the version's end", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
    ("version 1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 400),
    ("version 2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400),
    (
        "a chunk size that is none",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n",
        400,
    ),
    (
        "a chunk size with 0x",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
        400,
    ),
    (
        "a chunk size too large",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\na",
        400,
    ),
    (
        "a chunk longer than its size",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        400,
    ),
    (
        "a chunk line ended by LF",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\na\r\n0\r\n\r\n",
        400,
    ),
    (
        "bare LF in a chunk extension",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;a\nb\r\na\r\n0\r\n\r\n",
        400,
    ),
];

/// A request whose fault lies in its body may have begun at the app; whole it never is.
fn judge(mesh: &Mesh, app: &App, what: &str, request: &str, status: u16) -> Option<String> {
    let mut wire = mesh.connect();
    wire.send(request);
    // Something behind it that must not be read as a request.
    let _ = wire.try_send(get("/behind"));
    let fault = match wire.message(false) {
        Ok(answer) if answer.status() != status => {
            Some(format!("{} {}", answer.start, answer.text()))
        }
        Ok(answer) if answer.reason().is_none() => Some("no reason".to_owned()),
        Ok(_) if !wire.is_over() => Some("the connection stays".to_owned()),
        Ok(_) => None,
        Err(broken) => Some(format!("no answer: {broken:?}")),
    };
    let seen = app.requests();
    let fault = fault.or((!seen.is_empty()).then(|| format!("the app saw {seen:?}")));
    fault.map(|fault| format!("{what}: {fault}"))
}

#[test]
fn ambiguous_requests_are_refused_and_the_connection_closed() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    let faults: Vec<String> = REFUSED
        .iter()
        .filter_map(|(what, request, status)| judge(&mesh, &app, what, request, *status))
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
    assert_eq!(mesh.ask(get("/fine")).status(), 200);
}

#[test]
fn the_inbound_side_is_as_strict_with_a_meshed_caller() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    let issued = mesh.certs.issue("client");
    let mut faults = Vec::new();
    for (what, request, status) in REFUSED {
        let config = tls::client(Some(&issued), &["outrigger-h1"]);
        let mut wire = tls::connect(mesh.mesh_ports[0], config).expect("a handshake");
        wire.send(request);
        match wire.message(false) {
            Ok(answer) if answer.status() == *status && answer.reason() == Some("bad-request") => {}
            other => faults.push(format!("{what}: {other:?}")),
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(app.requests().is_empty(), "the app saw {:?}", app.requests());
}

#[test]
fn a_refused_request_says_why_and_is_counted_and_logged() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    let answer = mesh.ask("GET /bad HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    assert_eq!(answer.reason(), Some("bad-request"));
    assert!(answer.closes());
    assert!(answer.text().trim().len() > 10, "a sentence: {:?}", answer.text());
    eventually("it is counted", || {
        mesh.outbound.metric("outrigger_requests_total", &["reason=\"bad-request\""]) >= 1.0
    });
    eventually("it is logged", || {
        mesh.outbound.access_log().iter().any(|entry| {
            // What stands in for it on the way to the answer is nobody's request.
            entry["reason"] == "bad-request"
                && ["method", "authority", "path"].iter().all(|field| entry[*field].is_null())
        })
    });
}

#[test]
fn headers_have_a_number_and_a_size() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    let many = |n: usize| (0..n).map(|i| format!("x-{i}: v\r\n")).collect::<String>();
    let long = |n: usize| format!("x-long: {}\r\n", "v".repeat(n));
    let request = |lines: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    for (what, lines, status) in [
        ("100 headers", many(99), 200),
        ("101 headers", many(100), 431),
        ("60 KiB", long(60 * 1024), 200),
        ("70 KiB", long(70 * 1024), 431),
    ] {
        let mut wire = mesh.connect();
        let _ = wire.try_send(request(&lines));
        let answer = wire.response();
        assert_eq!(answer.status(), status, "{what}: {}", answer.text());
        if status == 431 {
            assert_eq!(answer.reason(), Some("headers-too-large"), "{what}");
            assert!(wire.is_over(), "{what}");
        }
    }
    let mut wire = mesh.connect();
    let _ = wire.try_send(format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "p".repeat(70 * 1024)));
    assert_eq!(wire.response().status(), 431);
    assert_eq!(app.requests().len(), 2);
}

#[test]
fn a_kept_connection_may_be_idle_longer_than_the_header_timeout_allows_a_head() {
    // The 10 s run from the first byte of a head, not from the end of the last answer. Asked with
    // the clock it would cost as much: here only that idling is no error.
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    let mut wire = mesh.connect();
    wire.ask(get("/1"));
    wire.patience(Duration::from_millis(1500));
    assert_eq!(wire.message(false), Err(Broken::TimedOut));
    assert_eq!(wire.ask(get("/2")).status(), 200);
}
