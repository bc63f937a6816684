//! One sidecar's `/tap`: which requests it shows, how many, in which words, and to whom.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::{Tap, app};
use crate::harness::{App, Mesh, Pair, Wire, eventually, get};

/// What everybody asks for, in this order.
const ASKED: [&str; 5] = ["GET /a", "POST /a/b", "GET /fail", "GET /none", "DELETE /c"];

fn ask(mesh: &Mesh) {
    let mut wire = mesh.connect();
    for asked in ASKED {
        wire.ask(format!("{asked} HTTP/1.1\r\nHost: app.default\r\nContent-Length: 0\r\n\r\n"));
    }
}

#[test]
fn each_filter_shows_what_it_names() {
    let app = app();
    let mesh = Pair::of(&app).start();
    let rows: [(&str, &[&str]); 11] = [
        ("", &["/a", "/a/b", "/fail", "/none", "/c"]),
        ("method=post,DELETE", &["/a/b", "/c"]),
        ("path=/a", &["/a"]),
        ("path=/a*", &["/a", "/a/b"]),
        ("status=500", &["/fail"]),
        ("status=4xx,500", &["/fail", "/none"]),
        ("failed=true", &["/fail"]),
        ("direction=outbound&status=404", &["/none"]),
        ("service=app&method=DELETE", &["/c"]),
        ("service=app.default:80&path=/fail", &["/fail"]),
        ("method=GET&path=/a*", &["/a"]),
    ];
    for (query, paths) in rows {
        let mut tap = Tap::begin(&mesh.outbound, query);
        // Twice, so that anything in between would be seen.
        ask(&mesh);
        ask(&mesh);
        assert_eq!(tap.paths(2 * paths.len()), [paths, paths].concat(), "{query}");
    }
    let mut none = Tap::begin(&mesh.outbound, "direction=inbound");
    let mut inbound = Tap::begin(mesh.inbound(), "direction=inbound&status=404");
    ask(&mesh);
    assert_eq!(inbound.paths(1), ["/none"]);
    assert_eq!(mesh.outbound.post("/shutdown").status(), 202);
    assert_eq!(none.text(), None, "nothing was taken by the caller's sidecar");
}

#[test]
fn slow_and_refused_requests_are_found() {
    let app = App::http(|request| {
        if request.target() == "/slow" {
            std::thread::sleep(Duration::from_millis(300));
        }
        App::answer("ok")
    });
    let mesh = Pair::of(&app).start();
    let mut slow = Tap::begin(&mesh.outbound, "slower=250ms");
    let mut refused = Tap::begin(&mesh.outbound, "reason=connect-failure,no-endpoints");
    let mut wire = mesh.connect();
    for path in ["/quick", "/slow"] {
        wire.ask(get(path));
    }
    let shown = slow.line();
    assert_eq!(shown["path"], "/slow");
    assert!(shown["duration_ms"].as_f64().is_some_and(|ms| ms >= 250.0), "{shown}");
    mesh.replace_endpoints(&[crate::harness::refused_address()]);
    eventually("it is refused", || wire.ask(get("/gone")).status() == 503);
    let shown = refused.line();
    assert_eq!((&shown["path"], &shown["status"]), (&"/gone".into(), &503.into()), "{shown}");
    assert!(shown["attempts"].as_u64() > Some(0), "{shown}");
}

#[test]
fn a_line_is_the_access_logs_less_what_may_be_secret() {
    let app = app();
    let mesh = Pair::of(&app).start();
    let mut taps = [Tap::begin(&mesh.outbound, ""), Tap::begin(mesh.inbound(), "")];
    mesh.ask(
        "GET /whole HTTP/1.1\r\nHost: app.default\r\nUser-Agent: tester/1\r\nX-Request-Id: id-1\r\n\
         Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n",
    );
    for (sidecar, tap) in [&mesh.outbound, mesh.inbound()].into_iter().zip(&mut taps) {
        assert_eq!(tap.line(), sidecar.await_entry("/whole"));
    }
    let token = "s3cret";
    mesh.ask(format!(
        "GET /path?access_token={token} HTTP/1.1\r\nHost: app.default\r\n\
         Authorization: Bearer {token}\r\nCookie: token={token}\r\nContent-Length: 6\r\n\r\n{token}"
    ));
    for tap in &mut taps {
        let line = tap.text().expect("a line");
        assert!(line.contains("\"path\":\"/path\"") && !line.contains(token), "{line}");
    }
}

#[test]
fn connections_are_shown_too() {
    let app = App::raw(|mut wire| {
        while let Ok(bytes) = wire.try_take(4) {
            wire.send(bytes);
        }
    });
    let mesh = Pair::of(&app).declared("tcp").inbound_declared("tcp").start();
    let mut tap = Tap::begin(&mesh.outbound, "service=app.default");
    let mut wire = mesh.connect();
    assert_eq!(wire.send("ping").take(4), b"ping");
    drop(wire);
    let shown = tap.line();
    assert_eq!((&shown["protocol"], &shown["bytes_in"]), (&"tcp".into(), &4.into()), "{shown}");
    assert!(shown["method"].is_null() && shown["status"].is_null(), "{shown}");
}

#[test]
fn what_is_beyond_the_rate_is_told() {
    let app = app();
    let mesh = Pair::of(&app).start();
    let mut tap = Tap::begin(&mesh.outbound, "rate=5");
    let mut wire = mesh.connect();
    (0..50).for_each(|_| drop(wire.ask(get("/many"))));
    let (mut shown, mut left_out) = (0, 0);
    while shown + left_out < 50 {
        let line = tap.line();
        match line["kind"] == "left_out" {
            true => left_out += line["over_rate"].as_u64().expect("a number"),
            false => shown += 1,
        }
    }
    assert!((5..25).contains(&shown) && shown + left_out == 50, "{shown} shown, {left_out} not");
}

#[test]
fn a_reader_who_does_not_read_hurts_nobody() {
    let app = app();
    let mesh = Pair::of(&app).workers(2).start();
    let mut unread: Vec<Tap> = (0..7).map(|_| Tap::begin(&mesh.outbound, "rate=1000")).collect();
    let mut read = Tap::begin(&mesh.outbound, "rate=1000");
    let (status, _) = Tap::try_begin(&mesh.outbound, "");
    assert!(status.contains(" 429 "), "there are eight already: {status}");
    let before = mesh.outbound.rss_kib();
    let path = format!("/{}", "x".repeat(400));
    let mut wire = mesh.connect();
    for _ in 0..1_500 {
        assert_eq!(wire.ask(get(&path)).status(), 200);
    }
    let grown = mesh.outbound.rss_kib().saturating_sub(before);
    assert!(grown < 24 << 10, "{grown} KiB more for eight taps");
    let mut told = 0;
    while told < 1_500 {
        let line = read.line();
        let left_out = |field: &str| line[field].as_u64().unwrap_or_default();
        told += match line["kind"] == "left_out" {
            true => left_out("over_rate") + left_out("unread"),
            false => 1,
        };
    }
    assert_eq!(told, 1_500, "each is shown, or counted");
    unread.truncate(3);
    eventually("places are free again", || {
        Tap::try_begin(&mesh.outbound, "count=1").0.contains(" 200 ")
    });
}

#[test]
fn it_ends_when_enough_is_told_and_with_the_sidecar() {
    let app = app();
    let mut mesh = Pair::of(&app).start();
    let mut two = Tap::begin(&mesh.outbound, "count=2");
    ask(&mesh);
    assert_eq!(two.paths(2), ["/a", "/a/b"]);
    assert_eq!(two.text(), None);
    // In chunks, so that an end is told from a cut.
    let mut wire = Wire::connect(mesh.inbound().admin);
    wire.send(format!("GET /tap HTTP/1.1\r\nHost: {}\r\n\r\n", mesh.inbound().admin));
    let mut answer = wire.head().expect("it comes before the first request");
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(mesh.inbound().post("/shutdown").status(), 202);
    wire.body(&mut answer, false).expect("a clean end");
    mesh.inbound_mut(0).exit(Duration::from_secs(5));
}

/// `outrigger proxy tap`, started.
fn tapping(mesh: &Mesh, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    command.env_clear().args(["proxy", "tap", "--admin", &mesh.outbound.admin.to_string()]);
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the program starts")
}

#[test]
fn people_watch_one_sidecar_with_a_command() {
    let app = app();
    let mesh = Pair::of(&app).start();
    let asked = ["--status", "4xx", "--count", "1"];
    let both = [asked.to_vec(), [&asked[..], &["-o", "json"]].concat()];
    let mut both = both.map(|arguments| tapping(&mesh, &arguments));
    eventually("each has seen one", || {
        ask(&mesh);
        both.iter_mut().all(|child| child.try_wait().expect("it is our child").is_some())
    });
    let [text, json] = both.map(|child| child.wait_with_output().expect("it is our child"));
    for output in [&text, &json] {
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "1 request shown\n");
    }
    let shown = String::from_utf8_lossy(&text.stdout);
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].starts_with("TIME ") && lines[1].contains("GET /none"), "{shown}");
    assert_eq!(lines.len(), 2, "{shown}");
    let shown: Value = serde_json::from_slice(&json.stdout).expect("one object");
    assert_eq!((&shown["path"], &shown["status"]), (&"/none".into(), &404.into()));
    let odd = tapping(&mesh, &["--status", "5x"]).wait_with_output().expect("it is our child");
    let said = String::from_utf8_lossy(&odd.stderr);
    assert_eq!(odd.status.code(), Some(2), "{said}");
    assert!(said.contains("status: \"5x\" is no status"), "{said}");
}

#[test]
fn what_can_not_be_asked_is_refused_by_name() {
    let app = app();
    let mesh = Pair::of(&app).start();
    let answer = mesh.outbound.get("/tap?status=5x&path=orders&rate=0&colour=red");
    assert_eq!(answer.status(), 400);
    let text = answer.text();
    for part in ["status: \"5x\"", "path: \"orders\"", "rate: \"0\"", "colour: is not asked for"] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let answer = mesh.outbound.try_admin("GET", "/tap", "Host: evil.example\r\n");
    assert_eq!(answer.map(|answer| answer.status()), Some(403));
    let answer = mesh.outbound.post("/tap");
    assert!(matches!(answer.status(), 404 | 405), "{}", answer.status());
    assert!(mesh.outbound.get("/pages").text().contains("/tap"));
}
