//! What lines look like, what is sampled, and what a slow, broken or closed output does.

use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::UNIX_EPOCH;

use super::*;
use crate::telemetry::metrics::Registry;

const JSON: Settings = Settings { format: LogFormat::Json, sample: 1.0 };
const TEXT: Settings = Settings { format: LogFormat::Text, sample: 1.0 };
const OFF: Settings = Settings { format: LogFormat::Off, sample: 1.0 };
const LONG: Duration = Duration::from_secs(20);

/// Reports each write, and makes it wait for leave where `leave` is given.
struct Output {
    seen: Sender<Vec<u8>>,
    leave: Option<Receiver<io::Result<usize>>>,
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let leave = self.leave.as_ref().map(|leave| leave.recv().unwrap_or(Ok(usize::MAX)));
        let taken = leave.unwrap_or(Ok(usize::MAX))?.min(bytes.len());
        self.seen.send(bytes[..taken].to_vec()).expect("the test listens");
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn tcp() -> Entry<'static> {
    Entry {
        time: UNIX_EPOCH + Duration::from_millis(1_795_298_400_123),
        direction: Direction::Outbound,
        request_id: None,
        trace_id: None,
        method: None,
        authority: None,
        path: None,
        protocol: "tcp",
        status: None,
        grpc_status: None,
        reason: None,
        service: None,
        route: None,
        endpoint: None,
        peer: None,
        attempts: 1,
        duration: Duration::from_millis(1_500),
        upstream: None,
        bytes_in: 3,
        bytes_out: 4,
        user_agent: None,
        tls: "none",
        access: None,
    }
}

fn full() -> Entry<'static> {
    Entry {
        direction: Direction::Inbound,
        request_id: Some(b"r-1"),
        trace_id: Some(0xab),
        method: Some("GET"),
        authority: Some("web.default"),
        path: Some("/a?b=c"),
        protocol: "http/2",
        status: Some(503),
        grpc_status: Some(14),
        reason: Some(Reason::ConnectFailure),
        service: Some("web.default:80"),
        route: Some("default/web"),
        endpoint: Some(([10, 0, 0, 7], 8080).into()),
        peer: Some("spiffe://cluster.local/ns/default/sa/web"),
        upstream: Some(Duration::from_nanos(43_999)),
        user_agent: Some(b"curl/8 \"x\"\n\xff"),
        tls: "mutual",
        access: None,
        ..tcp()
    }
}

/// What `write` makes a log with these settings put out, and how much was dropped.
fn output(settings: &Settings, write: impl FnOnce(&AccessLog)) -> (String, u64) {
    let (seen, lines) = mpsc::channel();
    let registry = Registry::default();
    let writer = Writer::spawn(Output { seen, leave: None }, &registry).expect("a thread");
    write(&AccessLog::new(writer.feed(), settings, 7));
    assert!(writer.close(LONG));
    let text = String::from_utf8(lines.iter().flatten().collect()).expect("UTF-8");
    (text, dropped(&registry))
}

fn dropped(registry: &Registry) -> u64 {
    // Registered already: the help must be the same to find it.
    let help = "Access log entries lost: the queue was full or the output failed.";
    registry.counter("outrigger_access_log_dropped_total", help).value()
}

#[test]
fn lines_of_both_forms() {
    let table = [
        (
            JSON,
            tcp(),
            r#"{"time":"2026-11-21T22:00:00.123Z","direction":"outbound","protocol":"tcp","attempts":1,"duration_ms":1500,"bytes_in":3,"bytes_out":4,"tls":"none"}"#,
        ),
        (
            JSON,
            full(),
            r#"{"time":"2026-11-21T22:00:00.123Z","direction":"inbound","request_id":"r-1","trace_id":"000000000000000000000000000000ab","method":"GET","authority":"web.default","path":"/a?b=c","protocol":"http/2","status":503,"grpc_status":14,"reason":"connect-failure","service":"web.default:80","route":"default/web","endpoint":"10.0.0.7:8080","peer":"spiffe://cluster.local/ns/default/sa/web","attempts":1,"duration_ms":1500,"upstream_ms":0.043,"bytes_in":3,"bytes_out":4,"user_agent":"curl/8 \"x\"\n�","tls":"mutual"}"#,
        ),
        (
            TEXT,
            tcp(),
            "2026-11-21T22:00:00.123Z outbound tcp attempts=1 duration_ms=1500 bytes_in=3 bytes_out=4 tls=none",
        ),
        (
            TEXT,
            full(),
            r#"2026-11-21T22:00:00.123Z inbound request_id=r-1 trace_id=000000000000000000000000000000ab GET web.default /a?b=c http/2 503 grpc_status=14 reason=connect-failure service=web.default:80 route=default/web endpoint=10.0.0.7:8080 peer=spiffe://cluster.local/ns/default/sa/web attempts=1 duration_ms=1500 upstream_ms=0.043 bytes_in=3 bytes_out=4 user_agent="curl/8 \"x\"\n�" tls=mutual"#,
        ),
    ];
    for (settings, entry, line) in table {
        assert_eq!(output(&settings, |log| log.write(&entry)), (format!("{line}\n"), 0));
    }
}

#[test]
fn any_bytes_stay_one_valid_line() {
    let nasty = ["", "\0\x1b[31m\r\n", "\u{85}\u{2028}\u{202e}", "\\\"{}", "ünï cödé", "\u{7f}'"];
    for text in nasty {
        let entry = Entry { path: Some(text), user_agent: Some(text.as_bytes()), ..tcp() };
        let (json, _) = output(&JSON, |log| log.write(&entry));
        let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!((&value["path"], &value["user_agent"]), (&text.into(), &text.into()));
        assert_eq!(json.lines().count(), 1);
        let (line, _) = output(&TEXT, |log| log.write(&entry));
        let body = line.strip_suffix('\n').expect("a line");
        assert!(!body.contains(|c: char| c.is_control() || "\u{2028}\u{202e}".contains(c)));
    }
}

#[test]
fn text_words() {
    let table = [
        ("/a", "/a"),
        ("/a b", "\"/a b\""),
        ("", "\"\""),
        ("it's", "it's"),
        ("ü", "ü"),
        ("a\\b", "\"a\\\\b\""),
        ("a\u{a0}b", "\"a\\u{a0}b\""),
        ("a\tb\u{1b}", "\"a\\tb\\u{1b}\""),
    ];
    for (path, shown) in table {
        let (line, _) = output(&TEXT, |log| log.write(&Entry { path: Some(path), ..tcp() }));
        assert!(line.contains(&format!("outbound {shown} tcp")), "{line}");
    }
}

#[test]
fn endpoints_of_both_families() {
    for shown in ["0.0.0.0:0", "255.10.0.1:65535", "[::1]:80", "[fe80::1%3]:8080"] {
        let entry = Entry { endpoint: shown.parse().ok(), ..tcp() };
        let (line, _) = output(&JSON, |log| log.write(&entry));
        assert!(line.contains(&format!("\"endpoint\":\"{shown}\",")), "{line}");
    }
}

#[test]
fn durations_have_three_decimals_at_most() {
    let table = [
        (0, "0"),
        (999, "0"),
        (1_000, "0.001"),
        (12_500_000, "12.5"),
        (7_010_000, "7.01"),
        (1_000_000, "1"),
    ];
    for (nanos, shown) in table {
        let entry = Entry { duration: Duration::from_nanos(nanos), ..tcp() };
        let (line, _) = output(&JSON, |log| log.write(&entry));
        assert!(line.contains(&format!("\"duration_ms\":{shown},")), "{line}");
    }
}

#[test]
fn off_writes_audits_only() {
    let audit = Audit {
        time: tcp().time,
        principal: Some("spiffe://a/ns/b/sa/c"),
        action: "GET",
        resource: "/x",
        decision: "denied",
        policy: None,
        rule: Some("0"),
    };
    let (lines, _) = output(&OFF, |log| {
        assert!(!log.enabled());
        log.write(&full());
        log.audit(&audit);
    });
    let golden = r#"{"time":"2026-11-21T22:00:00.123Z","kind":"audit","principal":"spiffe://a/ns/b/sa/c","action":"GET","resource":"/x","decision":"denied","rule":"0"}"#;
    assert_eq!(lines, format!("{golden}\n"));
}

#[test]
fn settings_change_while_running() {
    let (lines, _) = output(&OFF, |log| {
        log.write(&tcp());
        log.configure(&TEXT);
        assert!(log.enabled());
        log.write(&tcp());
    });
    assert_eq!(lines.lines().count(), 1);
}

#[test]
fn samples_keep_their_share_and_every_failure() {
    const N: usize = 4_000;
    let ok = || Entry { status: Some(200), ..tcp() };
    let table = [
        (0.0, ok(), 0..=0),
        (1.0, ok(), N..=N),
        (0.25, ok(), 900..=1_100),
        (0.0, Entry { status: Some(499), ..tcp() }, 0..=0),
        (0.0, Entry { status: Some(500), ..tcp() }, N..=N),
        (0.0, Entry { reason: Some(Reason::Denied), ..ok() }, N..=N),
        (0.0, Entry { grpc_status: Some(14), ..ok() }, N..=N),
        (0.0, Entry { grpc_status: Some(5), ..ok() }, 0..=0),
    ];
    for (sample, entry, expected) in table {
        let settings = Settings { sample, ..JSON };
        let (lines, lost) = output(&settings, |log| (0..N).for_each(|_| log.write(&entry)));
        let kept = lines.lines().count();
        assert!(expected.contains(&kept), "{sample}: {kept}");
        assert_eq!(lost, 0);
    }
}

#[test]
fn batches_go_when_full_or_flushed() {
    let (seen, lines) = mpsc::channel();
    let registry = Registry::default();
    let writer = Writer::spawn(Output { seen, leave: None }, &registry).expect("a thread");
    let log = AccessLog::new(writer.feed(), &JSON, 1);
    log.write(&tcp());
    log.flush();
    let line = lines.recv_timeout(LONG).expect("the flushed line");
    (0..BATCH_BYTES.div_ceil(line.len())).for_each(|_| log.write(&tcp()));
    let batch = lines.recv_timeout(LONG).expect("a full batch");
    assert!(batch.len() >= BATCH_BYTES && batch.len() < BATCH_BYTES + line.len());
    log.flush();
    assert!(writer.close(LONG));
    assert_eq!(lines.try_iter().count(), 0);
}

#[test]
fn a_stuck_output_costs_entries_and_never_waits() {
    let (seen, lines) = mpsc::channel();
    let (allow, leave) = mpsc::channel();
    let registry = Registry::default();
    let output = Output { seen, leave: Some(leave) };
    let writer = Writer::spawn(output, &registry).expect("a thread");
    let log = AccessLog::new(writer.feed(), &JSON, 1);
    let path = "/".repeat(1024 * 1024);
    for _ in 0..6 {
        log.write(&Entry { path: Some(&path), ..tcp() });
    }
    // Three of 1 MiB and a little fit below 4 MiB.
    assert_eq!(dropped(&registry), 3);
    drop(allow);
    assert!(writer.close(LONG));
    assert_eq!(lines.iter().filter(|lines| lines.ends_with(b"\n")).count(), 3);
}

#[test]
fn closing_has_a_deadline() {
    let (seen, _lines) = mpsc::channel();
    let (allow, leave) = mpsc::channel();
    let registry = Registry::default();
    let output = Output { seen, leave: Some(leave) };
    let writer = Writer::spawn(output, &registry).expect("a thread");
    AccessLog::new(writer.feed(), &JSON, 1).write(&tcp());
    assert!(!writer.close(Duration::from_millis(1)));
    drop(allow);
}

#[test]
fn errors_are_survived_and_short_writes_finished() {
    let (seen, lines) = mpsc::channel();
    let (allow, leave) = mpsc::channel();
    let registry = Registry::default();
    let output = Output { seen, leave: Some(leave) };
    let writer = Writer::spawn(output, &registry).expect("a thread");
    let feed = writer.feed();
    feed.offer(Box::from(*b"lost\n"), 5);
    feed.offer(Box::from(*b"kept\n"), 1);
    let script = [
        Err(io::ErrorKind::BrokenPipe.into()),
        Err(io::ErrorKind::Interrupted.into()),
        Ok(2),
        Err(io::ErrorKind::WouldBlock.into()),
        Ok(usize::MAX),
    ];
    for step in script {
        allow.send(step).expect("the writer lives");
    }
    assert!(writer.close(LONG));
    assert_eq!(lines.iter().collect::<Vec<_>>(), [b"ke".to_vec(), b"pt\n".to_vec()]);
    assert_eq!(dropped(&registry), 5);
    feed.offer(Box::from(*b"late\n"), 1);
    assert_eq!(dropped(&registry), 6);
}
