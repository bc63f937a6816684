//! Requests inside requests: none gets past a rule.
//!
//! A rule denies `/admin` and what is below it; everything else is allowed. Whatever form a request
//! takes, no parser finds `/admin` in the bytes that came to the app.

use std::thread;
use std::time::{Duration, Instant};

use super::doors::{Door, Scene};
use super::frames::{self, Raw, frame, headers, literal};
use super::readings::{MINDS, Record, lines};
use crate::harness::{Broken, get};

const RULE: &str =
    "mtls: permissive, rules: [{action: deny, to: [{paths: [/admin, \"/admin/*\"]}]}]";
const HIDDEN: &str = "GET /admin/x HTTP/1.1\r\nhost: app.default\r\n\r\n";

/// A POST with these lines that say how long it is, and the hidden request behind this.
fn post(what: &str, before: &str) -> String {
    format!("POST /open HTTP/1.1\r\nhost: app.default\r\n{what}\r\n\r\n{before}{HIDDEN}")
}

/// A body in chunks that is the hidden request.
fn chunk() -> String {
    format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len())
}

fn over_http_1() -> Vec<(&'static str, String)> {
    let len = HIDDEN.len();
    let with = |lines: &str, rest: &str| {
        format!("POST /open HTTP/1.1\r\nhost: app.default\r\n{lines}\r\n\r\n{rest}")
    };
    let both = format!("content-length: {}\r\ntransfer-encoding: chunked", len + 5);
    let mut rows = vec![
        ("CL.TE", post(&both, "0\r\n\r\n")),
        ("TE.CL", with("transfer-encoding: chunked\r\ncontent-length: 4", &chunk())),
        ("CL.CL", post(&format!("content-length: 0\r\ncontent-length: {len}"), "")),
        ("a list of lengths", post(&format!("content-length: 0, {len}"), "")),
        ("a length with a sign", post("content-length: +0", "")),
        ("a length in hex", post("content-length: 0x0", "")),
        ("a length that wraps", post("content-length: 18446744073709551616", "")),
        ("a negative length", post("content-length: -1", "")),
        ("a folded length", post(&format!("content-length: 0\r\n {len}"), "")),
        ("a length before a colon", post("content-length : 0", "")),
        ("a chunk size that wraps", post("transfer-encoding: chunked", "10000000000000000\r\n")),
        ("a chunk size in 0x", post("transfer-encoding: chunked", "0x0\r\n\r\n")),
        ("an extension with LF", post("transfer-encoding: chunked", "2;a\nb\r\nab\r\n0\r\n\r\n")),
        ("chunks ended by LF", post("transfer-encoding: chunked", "0\n\n")),
        ("a request for a trailer", with("transfer-encoding: chunked", &format!("0\r\n{HIDDEN}"))),
        ("a chunk too long", post("transfer-encoding: chunked", "1\r\nab\r\n0\r\n\r\n")),
        ("in a body with a length", with(&format!("content-length: {len}"), HIDDEN)),
        ("in a body in chunks", with("transfer-encoding: chunked", &chunk())),
        (
            "behind 100-continue",
            with(&format!("expect: 100-continue\r\ncontent-length: {len}"), HIDDEN),
        ),
        ("in a GET's body", with(&format!("content-length: {len}"), HIDDEN).replace("POST", "GET")),
        ("pipelined", format!("{}{HIDDEN}", get("/open"))),
        ("after a bare LF", format!("GET /open HTTP/1.1\nhost: app.default\n\n{HIDDEN}")),
        ("after a bare CR", format!("GET /open HTTP/1.1\rhost: app.default\r\r{HIDDEN}")),
        ("after HTTP/0.9", format!("GET /open\r\n{HIDDEN}")),
        (
            "in the target",
            format!("GET /open HTTP/1.1\r\nhost: a\r\n\r\n{HIDDEN}").replace(' ', "\t"),
        ),
        ("absolute", "GET http://app.default/admin/x HTTP/1.1\r\nhost: app.default\r\n\r\n".into()),
        (
            "a Host that contradicts",
            "GET http://a/admin/x HTTP/1.1\r\nhost: app.default\r\n\r\n".into(),
        ),
        (
            "absolute, no slash",
            "GET http://app.default?/admin/x HTTP/1.1\r\nhost: app.default\r\n\r\n".into(),
        ),
        ("behind an Upgrade", post_switch("connection: upgrade\r\nupgrade: websocket")),
        (
            "behind h2c",
            post_switch(
                "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk",
            ),
        ),
        (
            "behind CONNECT",
            format!("CONNECT app.default:80 HTTP/1.1\r\nhost: app.default:80\r\n\r\n{HIDDEN}"),
        ),
        ("1.0 with chunks", post(&both, "0\r\n\r\n").replace("HTTP/1.1", "HTTP/1.0")),
        ("1.0, kept", format!("GET /open HTTP/1.0\r\nconnection: keep-alive\r\n\r\n{HIDDEN}")),
    ];
    let hidden_codings = [
        "transfer-encoding: xchunked",
        "transfer-encoding : chunked",
        " transfer-encoding: chunked",
        "x: y\r\n transfer-encoding: chunked",
        "x: y\ntransfer-encoding: chunked",
        "x: y\rtransfer-encoding: chunked",
        "x: y\0transfer-encoding: chunked",
        "transfer-encoding:\x0bchunked",
        "transfer-encoding: \"chunked\"",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: identity\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: x",
        "transfer-encoding: chunked;q=1",
        "transfer-encoding:\r\n chunked",
        "transfer-encoding: ch\u{212a}unked",
        "transfer_encoding: chunked",
        "transfer-encoding\u{0}: chunked",
        "connection: transfer-encoding\r\ntransfer-encoding: chunked",
    ];
    for coding in hidden_codings {
        let length = format!("{coding}\r\ncontent-length: {}", len + 5);
        rows.push((coding, post(&length, "0\r\n\r\n")));
        rows.push((coding, post(coding, "0\r\n\r\n")));
    }
    rows
}

fn post_switch(lines: &str) -> String {
    format!("GET /open HTTP/1.1\r\nhost: app.default\r\n{lines}\r\n\r\n{HIDDEN}")
}

/// What it is, pseudo-headers and fields, and the data behind them.
type Row = (&'static str, Vec<(&'static str, String)>, &'static str);

fn over_http_2() -> Vec<Row> {
    let fine = |path: &str| {
        vec![
            (":method", "POST".to_owned()),
            (":scheme", "http".to_owned()),
            (":path", path.to_owned()),
            (":authority", "app.default".to_owned()),
        ]
    };
    let with =
        |name: &'static str, value: &str| [fine("/open"), vec![(name, value.into())]].concat();
    let put = |name: &'static str, value: &str| {
        let replace = |(of, was): (&'static str, String)| {
            (of, if of == name { value.to_owned() } else { was })
        };
        fine("/open").into_iter().map(replace).collect::<Vec<_>>()
    };
    let break_out = "x HTTP/1.1\r\nhost: a\r\n\r\nGET /admin/x HTTP/1.1\r\nx: y";
    let mut rows = vec![
        ("a length of nothing", with("content-length", "0"), HIDDEN),
        ("a length too short", with("content-length", "7"), HIDDEN),
        ("a length too long", with("content-length", "7000"), HIDDEN),
        ("a length with a sign", with("content-length", "+0"), HIDDEN),
        ("a list of lengths", with("content-length", "0, 0"), HIDDEN),
        ("no length at all", with("content-length", ""), HIDDEN),
        (
            "two lengths",
            [with("content-length", "49"), vec![("content-length", "0".into())]].concat(),
            HIDDEN,
        ),
        ("chunked", with("transfer-encoding", "chunked"), "0\r\n\r\nGET /admin/x HTTP/1.1\r\n\r\n"),
        ("TE: chunked", with("te", "chunked"), HIDDEN),
        ("a name with CR LF", with("x: y\r\ntransfer-encoding", "chunked"), HIDDEN),
        ("a name with a colon", with("transfer-encoding: chunked", ""), HIDDEN),
        ("a name in capitals", with("Transfer-Encoding", "chunked"), HIDDEN),
        ("a name with a space", with("transfer-encoding ", "chunked"), HIDDEN),
        ("a value with CR LF", with("x", "y\r\n\r\nGET /admin/x HTTP/1.1\r\nx: y"), ""),
        ("a value with LF", with("x", "y\n\nGET /admin/x HTTP/1.1\nx: y"), ""),
        ("a value with NUL", with("x", "y\0GET /admin/x"), ""),
        ("connection", with("connection", "transfer-encoding"), HIDDEN),
        ("another host", with("host", "admin"), ""),
        ("a method with a target", put(":method", "GET /admin/x HTTP/1.1\r\nx:"), ""),
        ("a method with a space", put(":method", "GET /admin/x?"), ""),
        ("a scheme with a path", put(":scheme", "http://app.default/admin/x?"), ""),
        ("an authority with a path", put(":authority", "app.default/admin/x?"), ""),
        ("an authority with CR LF", put(":authority", break_out), ""),
        ("a data frame", fine("/open"), HIDDEN),
    ];
    for path in
        ["/admin/x", "//admin/x", "/x/../admin/x", "/x/%2e%2e/admin/x", "/%61dmin/x", "/admin%2fx"]
    {
        rows.push((path, fine(path), ""));
    }
    for path in [
        "http://app.default/admin/x",
        "admin/x",
        "*/admin/x",
        "/open#/../admin/x",
        "\\admin\\x",
        "",
    ] {
        rows.push(("a path of another form", fine(path), ""));
    }
    rows.push(("a path with CR LF", fine("/open HTTP/1.1\r\n\r\nGET /admin/x"), ""));
    rows.push(("a path with a space", fine("/open /admin/x"), ""));
    rows
}

/// Says it, and what goes with it, and waits for the end or an answer to everything.
fn try_http_1(scene: &Scene, door: Door, bytes: &str) -> Result<u16, Broken> {
    let (mut wire, twin) = scene.http1(door);
    twin.set_read_timeout(Some(Duration::from_secs(2))).expect("a time above zero");
    let _ = wire.try_send(bytes);
    let _ = wire.try_send("GET /last HTTP/1.1\r\nhost: app.default\r\nconnection: close\r\n\r\n");
    let first = wire.message(false).map(|answer| answer.status());
    let until = Instant::now() + Duration::from_secs(2);
    while first.is_ok() && Instant::now() < until {
        match wire.message(false) {
            Ok(answer) if !answer.closes() => {}
            _ => break,
        }
    }
    first
}

fn try_http_2(scene: &Scene, door: Door, fields: &[(&str, String)], data: &str) -> Option<u16> {
    let mut raw = Raw::over(scene.http2(door), &[(1, 0)]);
    let block: Vec<u8> =
        fields.iter().flat_map(|(name, value)| literal(name, value.as_bytes())).collect();
    let flags = if data.is_empty() { frames::END_STREAM } else { 0 };
    raw.send(headers(1, &block, flags));
    if !data.is_empty() {
        raw.send(frame(frames::DATA, frames::END_STREAM, 1, data.as_bytes()));
    }
    raw.patience(Duration::from_secs(2));
    while let Ok(frame) = raw.next() {
        match frame.kind {
            frames::HEADERS => return Some(frames::status(&frame)),
            frames::RST_STREAM | frames::GOAWAY => return None,
            _ => {}
        }
    }
    None
}

#[test]
fn no_request_that_hides_in_another_gets_past_a_rule() {
    let record = Record::default();
    let scene = Scene::under(record.app(), RULE, "");
    let (mut refused, mut tried, mut passed) = (0, 0, Vec::new());
    for door in [Door::Plaintext, Door::Mesh, Door::Proxy] {
        // The rule holds, and the rest is open.
        assert_eq!(scene.http1(door).0.ask(HIDDEN).status(), 403, "{door:?}");
        assert_eq!(scene.http1(door).0.ask(get("/open")).status(), 200, "{door:?}");
        let rows = over_http_1();
        thread::scope(|scope| {
            let (scene, rows) = (&scene, &rows);
            let parts = rows.chunks(8).map(|rows| {
                scope.spawn(move || {
                    let refused = |row: &&(&str, String)| {
                        try_http_1(scene, door, &row.1).map_or(true, |status| status >= 400)
                    };
                    rows.iter().filter(refused).count()
                })
            });
            let parts: Vec<_> = parts.collect();
            refused +=
                parts.into_iter().map(|part| part.join().expect("none panics")).sum::<usize>();
            tried += rows.len();
        });
        for (what, fields, data) in over_http_2() {
            tried += 1;
            match try_http_2(&scene, door, &fields, data) {
                Some(200) if door == Door::Plaintext => passed.push(what),
                Some(200) => {}
                _ => refused += 1,
            }
        }
    }
    // What was let through was let through as it should be: bodies, and what is open.
    let record = record.all();
    let (mut requests, mut faults) = (0, Vec::new());
    for bytes in &record {
        let readings = MINDS.map(|mind| lines(bytes, mind));
        requests += readings[0].len();
        let path = |line: &String| line.split('?').next().unwrap_or_default().to_owned();
        let is_hidden = readings.iter().flatten().map(path).any(|path| path.contains("admin"));
        if is_hidden || readings.iter().any(|reading| *reading != readings[0]) {
            faults.push(format!("{readings:?} of {:?}", String::from_utf8_lossy(bytes)));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(refused > tried / 2 && requests > 20, "{refused} of {tried}, {requests} at the app");
    eprintln!(
        "smuggling: {tried} tries, {refused} refused; {requests} requests at the app, no /admin; \
         over HTTP/2 passed: {passed:?}"
    );
}
