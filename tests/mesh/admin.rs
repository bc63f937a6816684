//! What a sidecar tells of itself: admin port, metrics, access log.

use crate::harness::{App, Pair, eventually, get_with, spiffe, within};

#[test]
fn every_path_answers() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    assert_eq!(mesh.ask(get_with("/hello", "")).status(), 200);
    for sidecar in [&mesh.outbound, mesh.inbound()] {
        for path in ["/live", "/ready", "/"] {
            assert_eq!(sidecar.get(path).status(), 200, "{path}");
        }
        for path in
            ["/config", "/services", "/endpoints", "/routes", "/policies", "/certs", "/connections"]
        {
            sidecar.json(path);
        }
        assert_eq!(sidecar.get("/log").status(), 200);
        assert_eq!(sidecar.get("/nothing").status(), 404);
    }
    assert!(mesh.outbound.get("/").text().contains("<html"), "a page for people");
    let certs = mesh.outbound.json("/certs").to_string();
    assert!(certs.contains(&spiffe("client")), "{certs}");
    let config = mesh.outbound.json("/config").to_string();
    assert!(config.contains("app.default:80") && !config.contains("PRIVATE KEY"), "{config}");
    let services = mesh.outbound.json("/services").to_string();
    assert!(services.contains("app.default"), "{services}");
    let endpoints = mesh.outbound.json("/endpoints").to_string();
    for word in [mesh.mesh_ports[0].to_string(), spiffe("server"), "ready".to_owned()] {
        assert!(endpoints.contains(&word), "no {word} in {endpoints}");
    }
}

#[test]
fn open_connections_are_listed() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    let mut wire = mesh.connect();
    wire.ask(get_with("/", ""));
    let listed = mesh.inbound().json("/connections").to_string();
    assert!(listed.contains(&spiffe("client")), "{listed}");
    assert!(mesh.outbound.json("/connections").to_string().contains("outbound"));
}

#[test]
fn foreign_hosts_and_origins_are_refused() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    let ask = |method: &str, path: &str, lines: &str| {
        mesh.outbound.try_admin(method, path, lines).map(|answer| answer.status())
    };
    assert_eq!(ask("GET", "/config", "Host: evil.example\r\n"), Some(403));
    assert_eq!(ask("GET", "/config", "Host: localhost:15000\r\n"), Some(200));
    assert_eq!(ask("GET", "/config", "Host: 127.0.0.1\r\n"), Some(200));
    let origin = "Origin: http://evil.example\r\nContent-Length: 0\r\n";
    assert_eq!(ask("POST", "/log?level=debug", origin), Some(403));
    assert_eq!(
        ask("GET", "/ready", "Host: 10.1.2.3:15000\r\n"),
        Some(200),
        "probes come by any name"
    );
    let changed = ask("GET", "/drain", "");
    assert!(matches!(changed, Some(404 | 405)), "a GET changes nothing: {changed:?}");
    assert!(mesh.outbound.get("/ready").status() == 200);
}

#[test]
fn the_log_level_can_be_changed() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    assert!(mesh.outbound.get("/log").text().contains("debug"));
    assert_eq!(mesh.outbound.post("/log?level=warn").status(), 200);
    assert!(mesh.outbound.get("/log").text().contains("warn"));
    assert_eq!(mesh.outbound.post("/log?level=loudest").status(), 400);
}

#[test]
fn drain_and_shutdown_can_be_asked_for() {
    let app = App::ok();
    let mut mesh = Pair::of(&app).start();
    assert!((200..300).contains(&mesh.outbound.post("/drain").status()));
    eventually("it is not ready", || {
        mesh.outbound.try_admin("GET", "/ready", "").is_none_or(|answer| answer.status() == 503)
    });
    let inbound = mesh.inbound_mut(0);
    assert!((200..300).contains(&inbound.post("/shutdown").status()));
    inbound.exit(std::time::Duration::from_secs(5));
}

#[test]
fn metrics_have_every_family_that_traffic_touches() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    for _ in 0..5 {
        mesh.ask(get_with("/", ""));
    }
    let families = [
        "outrigger_requests_total",
        "outrigger_request_duration_seconds",
        "outrigger_connections_total",
        "outrigger_connections_active",
        "outrigger_bytes_total",
        "outrigger_retries_total",
        "outrigger_endpoints",
        "outrigger_certificate_expiry_timestamp_seconds",
        "outrigger_certificate_rotations_total",
        "outrigger_build_info",
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_open_fds",
    ];
    let text = mesh.outbound.get("/metrics").text();
    let missing: Vec<_> = families
        .iter()
        .filter(|family| {
            !text.contains(&format!("# TYPE {} ", family))
                && !text.contains(&format!("# TYPE {} ", family.trim_end_matches("_total")))
        })
        .collect();
    assert!(missing.is_empty(), "{missing:?} of\n{text}");
    eventually("requests are counted", || {
        mesh.outbound
            .metric("outrigger_requests_total", &["direction=\"outbound\"", "code=\"200\""])
            == 5.0
    });
    eventually("on both sides", || {
        mesh.inbound()
            .metric("outrigger_requests_total", &["direction=\"inbound\"", "code=\"200\""])
            == 5.0
    });
    let count = mesh
        .outbound
        .metric("outrigger_request_duration_seconds_count", &["direction=\"outbound\""]);
    assert_eq!(count as u32, 5);
    assert!(mesh.outbound.metric("outrigger_certificate_expiry_timestamp_seconds", &[]) > 1e9);
}

#[test]
fn labels_never_come_from_requests() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    for n in 0..20 {
        mesh.ask(format!(
            "M{n} /path-{n} HTTP/1.1\r\nHost: h{n}.example\r\nUser-Agent: ua{n}\r\n\r\n"
        ));
    }
    for sidecar in [&mesh.outbound, mesh.inbound()] {
        let text = sidecar.get("/metrics").text();
        assert!(!text.contains("path-7") && !text.contains("h7.example") && !text.contains("M7"));
    }
}

#[test]
fn both_sides_log_a_request_with_all_its_fields() {
    let app = App::http(|_| App::answer("12345"));
    let mesh = Pair::of(&app).start();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    mesh.ask(format!(
        "POST /logged?x=1 HTTP/1.1\r\nHost: app.default\r\nUser-Agent: tester/1 \"q\"\r\nX-Request-Id: id-1\r\n\
         Traceparent: 00-{trace}-00f067aa0ba902b7-01\r\nContent-Length: 3\r\n\r\nabc"
    ));
    for (sidecar, direction) in [(&mesh.outbound, "outbound"), (mesh.inbound(), "inbound")] {
        let entry = sidecar.await_entry("/logged?x=1");
        let expected = [
            ("direction", direction.into()),
            ("request_id", "id-1".into()),
            ("trace_id", trace.into()),
            ("method", "POST".into()),
            ("authority", "app.default".into()),
            ("status", 200.into()),
            ("attempts", 1.into()),
            ("bytes_in", 3.into()),
            ("bytes_out", 5.into()),
            ("user_agent", "tester/1 \"q\"".into()),
        ];
        for (name, value) in expected {
            let value: serde_json::Value = value;
            assert_eq!(entry[name], value, "{direction} {name} in {entry}");
        }
        let peer = if direction == "inbound" { spiffe("client") } else { spiffe("server") };
        assert_eq!(entry["peer"], peer, "{entry}");
        for name in ["time", "protocol", "duration_ms", "upstream_ms", "endpoint", "tls"] {
            assert!(!entry[name].is_null(), "{direction} has no {name}: {entry}");
        }
        assert!(entry["reason"].is_null(), "{entry}");
    }
    assert!(
        mesh.outbound.await_entry("/logged?x=1")["service"]
            .as_str()
            .is_some_and(|s| s.contains("app.default"))
    );
}

#[test]
fn a_caller_that_left_is_logged_as_such() {
    let app = App::http(|_| {
        std::thread::sleep(std::time::Duration::from_secs(2));
        App::answer("late")
    });
    let mesh = Pair::of(&app).start();
    let mut wire = mesh.connect();
    wire.send(get_with("/left", ""));
    app.await_requests(1);
    drop(wire);
    within(std::time::Duration::from_secs(5), "an entry", || {
        mesh.outbound
            .access_log()
            .iter()
            .any(|e| e["path"] == "/left" && e["reason"] == "client-closed")
    });
}
