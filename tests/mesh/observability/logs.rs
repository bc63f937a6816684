//! What stands in the logs: each field of an access log entry, what happens when nobody reads it,
//! and one line for many equal failures in the log for people.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::scene::TRACE;
use crate::harness::yaml::{service, service_of, workload};
use crate::harness::{
    App, Folder, Pair, Sidecar, Wire, eventually, free_address, refused_address, spiffe, within,
};

/// The fields, in their order.
const FIELDS: &str = "time direction request_id trace_id method authority path protocol status \
                      grpc_status reason service route endpoint peer attempts duration_ms \
                      upstream_ms bytes_in bytes_out user_agent tls";

/// A sidecar at the level that people have unless they say another, with a listener for
/// `gone.default:80`, one for the opaque `raw.default:80`, and one that goes by Host.
fn start() -> (Sidecar, [SocketAddr; 3]) {
    let (folder, admin) = (Folder::new("logs"), free_address());
    let [gone, raw, by_host] = [free_address(), free_address(), free_address()];
    std::fs::create_dir(folder.path("mesh")).expect("the folder is writable");
    let nobody = refused_address();
    let mesh = [
        service("gone"),
        workload("gone-1", "gone", nobody),
        service_of("raw", "tcp"),
        workload("raw-1", "raw", nobody),
    ];
    folder.write("mesh/mesh.yaml", &mesh.concat());
    folder.write(
        "config.yaml",
        &format!(
            "workload: {{namespace: default, name: caller-1, serviceAccount: caller}}\n\
             resources: [mesh/]\nadmin: {{listen: \"{admin}\"}}\noutbound:\n  listen: \"{by_host}\"\n  \
             upstreams:\n  - {{listen: \"{gone}\", service: \"gone.default:80\"}}\n  \
             - {{listen: \"{raw}\", service: \"raw.default:80\"}}\n"
        ),
    );
    let mut sidecar = Sidecar::start(folder, admin, None);
    sidecar.wait_ready();
    (sidecar, [gone, raw, by_host])
}

/// The names of an entry's fields; those that are always there, in their order.
#[track_caller]
fn names(entry: &Value) -> Vec<&str> {
    let names: Vec<&str> =
        entry.as_object().expect("an object").keys().map(String::as_str).collect();
    let order: Vec<&str> = FIELDS.split_whitespace().filter(|name| names.contains(name)).collect();
    assert_eq!(names, order, "{entry}");
    names
}

#[track_caller]
fn has_all_but(entry: &Value, left_out: &[&str]) {
    let expected: Vec<&str> =
        FIELDS.split_whitespace().filter(|name| !left_out.contains(name)).collect();
    assert_eq!(names(entry), expected, "{entry}");
}

#[test]
fn each_field_of_the_access_log_is_there_when_it_has_something_to_say() {
    let app = App::http(|_| App::answer("12345"));
    let mesh = Pair::of(&app).start();
    mesh.ask(format!(
        "POST /all HTTP/1.1\r\nHost: app.default\r\nUser-Agent: tester/1\r\nX-Request-Id: id-1\r\n\
         Traceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\nContent-Length: 3\r\n\r\nabc"
    ));
    for sidecar in [&mesh.outbound, mesh.inbound()] {
        let entry = sidecar.await_entry("/all");
        has_all_but(&entry, &["grpc_status", "reason"]);
        assert!(entry["duration_ms"].as_f64() >= entry["upstream_ms"].as_f64(), "{entry}");
    }
    let inbound = mesh.inbound().await_entry("/all");
    assert_eq!((&inbound["tls"], &inbound["peer"]), (&"mtls".into(), &spiffe("client").into()));

    let (sidecar, [gone, raw, by_host]) = start();
    let head = "POST /grpc HTTP/1.1\r\nHost: gone.default\r\nContent-Type: application/grpc\r\n";
    Wire::connect(gone).ask(format!("{head}Content-Length: 0\r\n\r\n"));
    let entry = sidecar.await_entry("/grpc");
    // No trace, no peer, no answer from above, no user agent.
    has_all_but(&entry, &["trace_id", "peer", "upstream_ms", "user_agent"]);
    for (name, value) in [
        ("protocol", "grpc".into()),
        ("status", 200.into()),
        ("grpc_status", 14.into()),
        ("reason", "connect-failure".into()),
        ("service", "gone.default:80".into()),
        ("attempts", 3.into()),
        ("tls", "none".into()),
    ] {
        let value: Value = value;
        assert_eq!(entry[name], value, "{name} of {entry}");
    }
    Wire::connect(by_host).ask("GET /nowhere HTTP/1.1\r\nHost: nobody.default\r\n\r\n");
    let entry = await_with(&sidecar, "reason", "no-route");
    assert_eq!(entry["status"], 404, "{entry}");
    names(&entry);
    assert!(Wire::connect(raw).is_reset_after("ping"));
    let opaque = await_with(&sidecar, "protocol", "tcp");
    assert_eq!(opaque["reason"], "connect-failure", "{opaque}");
    names(&opaque);
}

/// Waits for an entry whose field has this value.
#[track_caller]
fn await_with(sidecar: &Sidecar, field: &str, value: &str) -> Value {
    let mut found = None;
    eventually(&format!("an entry with {field} {value}"), || {
        found = sidecar.access_log().into_iter().find(|entry| entry[field] == value);
        found.is_some()
    });
    found.expect("it was waited for")
}

#[test]
fn many_equal_failures_are_one_line_with_the_reason_and_its_causes() {
    let (sidecar, [gone, raw, _]) = start();
    let ask = |count: usize| {
        let mut wire = Wire::connect(gone);
        for _ in 0..count {
            let answer = wire.ask("GET / HTTP/1.1\r\nHost: gone.default\r\n\r\n");
            assert_eq!((answer.status(), answer.reason()), (503, Some("connect-failure")));
        }
    };
    let lines = |what: &str| -> Vec<String> {
        let log = sidecar.log();
        log.lines().filter(|line| line.contains(what)).map(str::to_owned).collect()
    };
    ask(100);
    let told = lines("request refused");
    assert!((1..=2).contains(&told.len()), "{told:?}");
    for words in [
        "WARN",
        "reason=connect-failure",
        "gone.default:80",
        "could not be reached: Connection refused (os error 111)",
        "left_out=0",
    ] {
        assert!(told[0].contains(words), "no {words:?} in {}", told[0]);
    }
    within(Duration::from_secs(20), "nothing is left out but by its number", || {
        let lines = lines("gone.default:80");
        let left_out = |line: &String| -> Option<usize> {
            line.split("left_out=").nth(1).and_then(|rest| rest.trim().parse().ok())
        };
        let refused = lines.iter().filter(|line| line.contains("request refused")).count();
        refused + lines.iter().filter_map(left_out).sum::<usize>() == 100
    });
    for _ in 0..20 {
        assert!(Wire::connect(raw).is_reset_after("ping"));
    }
    let told = lines("connection refused");
    assert!((1..=2).contains(&told.len()), "{told:?}");
    assert!(told[0].contains("os error 111") && told[0].contains("raw.default:80"), "{}", told[0]);
    let refused = [("service", "gone"), ("service", "raw")]
        .map(|(label, name)| format!("{label}=\"{name}.default:80\""));
    for service in &refused {
        let labels = [service.as_str(), "reason=\"connect-failure\""];
        assert!(sidecar.metric("outrigger_requests_total", &labels) >= 20.0, "{service}");
    }
}

#[test]
fn an_access_log_that_nobody_reads_costs_entries_and_no_request() {
    let app = App::ok();
    let (folder, admin, listen) = (Folder::new("unread"), free_address(), free_address());
    folder.write("mesh.yaml", &(service("app") + &workload("app-1", "app", app.address)));
    folder.write(
        "config.yaml",
        &format!(
            "workload: {{namespace: default, name: caller-1, serviceAccount: caller}}\n\
             resources: [mesh.yaml]\nadmin: {{listen: \"{admin}\"}}\n\
             outbound: {{upstreams: [{{listen: \"{listen}\", service: \"app.default:80\"}}]}}\n"
        ),
    );
    let mut child = Command::new(env!("CARGO_BIN_EXE_outrigger-proxy"))
        .env_clear()
        .args(["run", "--config"])
        .arg(folder.path("config.yaml"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let dropped = || -> Option<f64> {
        let mut wire = Wire::of(std::net::TcpStream::connect(admin).ok()?);
        let head = format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
        wire.try_send(head).ok()?;
        let page = wire.message(false).ok()?.text();
        let line = page.lines().find_map(|l| l.strip_prefix("outrigger_access_log_dropped_total "));
        line?.parse().ok()
    };
    eventually("it runs", || dropped() == Some(0.0));
    eventually("its listener is open", || std::net::TcpStream::connect(listen).is_ok());
    let mut wire = Wire::connect(listen);
    // Its queue has room for 4 MiB, the pipe for 64 KiB; each entry has a path of 16 KiB.
    let path = "x".repeat(16 * 1024);
    for _ in 0..400 {
        let answer = wire.ask(format!("GET /{path} HTTP/1.1\r\nHost: app.default\r\n\r\n"));
        assert_eq!(answer.status(), 200);
    }
    eventually("what did not fit is counted", || dropped().is_some_and(|count| count > 0.0));
    let _ = child.kill();
    let _ = child.wait();
}
