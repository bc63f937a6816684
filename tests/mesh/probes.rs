//! The app's probes, asked through its sidecar while the app's own port takes mutual TLS only.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};

use crate::harness::grpc::{drain, frame, send_all};
use crate::harness::h2_app::H2App;
use crate::harness::public_ca::PublicCa;
use crate::harness::tls::TlsServer;
use crate::harness::{App, Mesh, Message, Pair, Wire, eventually, free_address, get};

/// An app's sidecar that answers probes.
struct Probed {
    mesh: Mesh,
    probes: SocketAddr,
}

impl Probed {
    /// The targets are lines of a YAML list, in braces.
    fn start(app: SocketAddr, targets: &[String]) -> Self {
        let probes = free_address();
        let mesh = Pair::at(app).inbound_config(&config(probes, targets)).start();
        Self { mesh, probes }
    }

    #[track_caller]
    fn ask(&self, path: &str) -> Message {
        ask(self.probes, path)
    }
}

fn config(probes: SocketAddr, targets: &[String]) -> String {
    let port = probes.port();
    format!("probes: {{listen: \"[::]:{port}\", targets: [{}]}}", targets.join(", "))
}

#[track_caller]
fn ask(probes: SocketAddr, path: &str) -> Message {
    Wire::connect(probes).ask(format!(
        "GET /probe/{path} HTTP/1.1\r\nHost: pod\r\nUser-Agent: kube-probe/1.33\r\n\r\n"
    ))
}

/// A target that is asked over HTTP, with further fields.
fn http(name: &str, port: u16, more: &str) -> String {
    format!("{{container: {name}, probe: readiness, timeout: 5s, http: {{port: {port}{more}}}}}")
}

#[test]
fn the_app_is_asked_as_kubelet_would_while_its_port_stays_strict() {
    let app = App::ok();
    let port = app.address.port();
    let headers = ", path: \"/healthz?full=1\", headers: [{name: X-Probe, value: a}, \
                   {name: x-probe, value: b}, {name: Content-Length, value: \"9\"}, \
                   {name: Connection, value: keep-alive}, {name: Accept, value: \"\"}]";
    let named = ", host: web.example";
    let hosted = ", host: web.example, headers: [{name: Host, value: other.example}]";
    let targets =
        [http("web", port, headers), http("named", port, named), http("hosted", port, hosted)];
    let probed = Probed::start(app.address, &targets);
    let answer = probed.ask("web/readiness");
    assert_eq!((answer.status(), &*answer.text()), (200, "the app answered 200 OK\n"));
    assert!(answer.closes(), "a connection a probe");
    let seen = app.only_request();
    assert_eq!(seen.start, "GET /healthz?full=1 HTTP/1.1");
    assert_eq!(seen.header("host"), Some(&*format!("127.0.0.1:{port}")));
    assert_eq!(seen.header("user-agent"), Some("kube-probe/1.33"));
    assert_eq!(seen.all("x-probe"), ["a", "b"]);
    assert_eq!((seen.header("accept"), seen.header("content-length")), (None, None));
    assert_eq!(seen.all("connection"), ["close"]);
    for (name, host) in
        [("named", format!("web.example:{port}")), ("hosted", "other.example".into())]
    {
        assert_eq!(probed.ask(&format!("{name}/readiness")).status(), 200);
        let last = app.requests().pop().expect("it was asked");
        assert_eq!(last.header("host"), Some(&*host), "{name}");
        assert_eq!(last.header("accept"), Some("*/*"));
    }
    let plain = Wire::connect(probed.mesh.mesh_ports[0]).ask(get("/healthz"));
    assert_eq!((plain.status(), plain.reason()), (403, Some("mtls-required")));
    assert_eq!(probed.mesh.ask(get("/")).status(), 200);
}

#[test]
fn answers_are_judged_as_kubelet_judges_them() {
    let app = App::raw(|mut wire| {
        let Ok(request) = wire.message(false) else { return };
        let path = request.target().trim_start_matches('/').to_owned();
        let answer = match path.parse::<u16>() {
            Ok(status) => format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n"),
            Err(_) => match &*path {
                "large" => format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(1 << 20)),
                "cut" => "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx".into(),
                "garbage" => "WRONG\r\n\r\n".into(),
                "elsewhere" => redirect("http://web.example/500"),
                "here" => redirect("/500"),
                "relative" => redirect("204"),
                "round" => redirect("/round"),
                "admin" => redirect("http://127.0.0.1:15020/"),
                _ => return,
            },
        };
        let _ = wire.stream.write_all(answer.as_bytes());
    });
    let port = app.address.port();
    let rows = [
        ("200", 200, "answered 200 OK"),
        ("204", 200, "answered 204"),
        ("304", 200, "answered 304"),
        ("399", 200, "answered 399"),
        ("400", 503, "answered 400 Bad Request"),
        ("404", 503, "answered 404"),
        ("500", 503, "answered 500 Internal Server Error"),
        ("503", 503, "answered 503"),
        ("large", 200, "answered 200"),
        ("cut", 503, "no whole answer"),
        ("garbage", 503, "no whole answer"),
        ("nothing", 503, "no whole answer"),
        ("elsewhere", 200, "answered 302"),
        ("here", 503, "answered 500"),
        ("relative", 200, "answered 204"),
        ("round", 503, "more than 10 times"),
        ("admin", 503, "the sidecar's own"),
    ];
    let targets: Vec<_> = rows
        .iter()
        .map(|(path, ..)| http(&format!("c{path}"), port, &format!(", path: /{path}")))
        .collect();
    let probed = Probed::start(app.address, &targets);
    for (path, status, said) in rows {
        let answer = probed.ask(&format!("c{path}/readiness"));
        assert_eq!(answer.status(), status, "{path}: {}", answer.text());
        assert!(answer.text().contains(said), "{path}: {}", answer.text());
        assert!(answer.body.len() < 200, "the app's own words stay with it");
    }
    probed.mesh.inbound().await_log("the probe fails");
}

fn redirect(to: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
}

#[test]
fn an_app_with_tls_of_its_own_is_asked_without_verifying_it() {
    let certificate = PublicCa::new().issue("somebody.example");
    let app = TlsServer::start(&certificate, &["http/1.1"], |mut wire| {
        if let Ok(request) = wire.message(false) {
            let code = if request.target() == "/well" { 200 } else { 500 };
            let answer = format!("HTTP/1.1 {code} X\r\ncontent-length: 0\r\n\r\n");
            let _ = wire.try_send(answer);
        }
    });
    let plain = App::raw(|mut wire| drop(wire.try_send("HTTP/1.1 400 Bad Request\r\n\r\n")));
    let port = app.address.port();
    let targets = [
        http("well", port, ", scheme: https, path: /well"),
        http("ill", port, ", scheme: https, host: web.example"),
        http("plain", plain.address.port(), ", scheme: https"),
    ];
    let probed = Probed::start(app.address, &targets);
    for (name, status, said) in
        [("well", 200, "200"), ("ill", 503, "500"), ("plain", 503, "TLS handshake")]
    {
        let answer = probed.ask(&format!("{name}/readiness"));
        assert_eq!(answer.status(), status, "{name}: {}", answer.text());
        assert!(answer.text().contains(said), "{name}: {}", answer.text());
    }
    assert_eq!(app.handshakes(), 2);
}

/// A server of `grpc.health.v1.Health`: a service's name is the status that it has, or the code that
/// the call ends with.
fn health() -> H2App {
    H2App::start(|request, mut respond| async move {
        let (head, mut body) = request.into_parts();
        let (message, _) = drain(&mut body).await;
        // Field 1 of the request, a text.
        let service = String::from_utf8_lossy(message.get(7..).unwrap_or_default()).into_owned();
        let is_check = head.uri.path() == "/grpc.health.v1.Health/Check";
        let (status, code) = match &*service {
            "" | "serving" => (1, "0"),
            "not-serving" => (2, "0"),
            "unknown" => (0, "5"),
            _ => (0, "12"),
        };
        let answer = Response::builder().header("content-type", "application/grpc");
        if !is_check || code != "0" {
            let answer = answer.header("grpc-status", code).header("grpc-message", "no");
            let _ = respond.send_response(answer.body(()).expect("a response"), true);
            return;
        }
        let answer = answer.body(()).expect("a response");
        let Ok(mut send) = respond.send_response(answer, false) else { return };
        send_all(&mut send, &frame(&[0x08, status]), false).await;
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let _ = send.send_trailers(trailers);
    })
}

#[test]
fn a_grpc_server_says_how_it_is() {
    let app = health();
    let stubborn = H2App::start(|_, mut respond| async move {
        let answer = Response::builder().status(404).body(()).expect("a response");
        let _ = respond.send_response(answer, true).map(|mut send| {
            let _ = send.send_data(Bytes::new(), true);
        });
    });
    let rows = [
        ("all", "", 200, "SERVING"),
        ("one", "serving", 200, "SERVING"),
        ("ill", "not-serving", 503, "NOT_SERVING"),
        ("unknown", "unknown", 503, "gRPC status 5: no"),
        ("none", "other", 503, "no grpc.health.v1.Health"),
    ];
    let target = |name: &str, port: u16, service: &str| {
        format!(
            "{{container: {name}, probe: liveness, timeout: 5s, \
             grpc: {{port: {port}, service: \"{service}\"}}}}"
        )
    };
    let port = app.address.port();
    let mut targets: Vec<_> =
        rows.iter().map(|(name, service, ..)| target(name, port, service)).collect();
    targets.push(target("stubborn", stubborn.address.port(), ""));
    let probed = Probed::start(app.address, &targets);
    for (name, _, status, said) in rows {
        let answer = probed.ask(&format!("{name}/liveness"));
        assert_eq!(answer.status(), status, "{name}: {}", answer.text());
        assert!(answer.text().contains(said), "{name}: {}", answer.text());
    }
    assert_eq!(app.requests()[0].headers["user-agent"], "kube-probe/1.33");
    let answer = probed.ask("stubborn/liveness");
    assert_eq!(answer.status(), 503);
    assert!(answer.text().contains("404"), "{}", answer.text());
}

#[test]
fn a_tcp_probe_asks_for_a_connection() {
    let there = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let address = there.local_addr().expect("it listens");
    let target = format!(
        "{{container: db, probe: startup, timeout: 5s, tcp: {{port: {}}}}}",
        address.port()
    );
    let probed = Probed::start(address, &[target]);
    assert_eq!(probed.ask("db/startup").status(), 200);
    drop(there);
    let answer = probed.ask("db/startup");
    assert_eq!(answer.status(), 503);
    assert!(answer.text().contains("refused"), "{}", answer.text());
}

#[test]
fn only_what_is_configured_can_be_asked() {
    let app = App::ok();
    let probed = Probed::start(app.address, &[http("web", app.address.port(), "")]);
    for path in ["web/liveness", "db/readiness", "web/readiness/", "web/readiness/../x", ""] {
        let answer = probed.ask(path);
        assert_eq!(answer.status(), 404, "{path}");
        assert!(answer.text().contains("/probe/web/readiness"), "{path}: {}", answer.text());
    }
    let posted = Wire::connect(probed.probes)
        .ask("POST /probe/web/readiness HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(posted.status(), 405);
    assert!(app.requests().is_empty());
    assert_eq!(probed.ask("web/readiness").status(), 200);
}

/// Where one connection to `at` came from.
fn caller_of(at: SocketAddr) -> mpsc::Receiver<IpAddr> {
    let listener = TcpListener::bind(at).expect("the port is free");
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        if let Ok((stream, caller)) = listener.accept() {
            let mut wire = Wire::of(stream);
            let _ = wire.message(false);
            let _ = wire.try_send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            let _ = tell.send(caller.ip());
        }
    });
    told
}

#[test]
fn an_app_is_found_on_whichever_address_it_listens() {
    let elsewhere = Ipv4Addr::new(127, 0, 0, 2);
    let rows: [(IpAddr, IpAddr, IpAddr); 2] = [
        // What the app listens on, where the probe comes in, whom the app sees.
        (Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()),
        (elsewhere.into(), elsewhere.into(), Ipv4Addr::new(127, 0, 0, 6).into()),
    ];
    for (listens, asked, expected) in rows {
        let port = free_address().port();
        let caller = caller_of((listens, port).into());
        let probed = Probed::start(free_address(), &[http("web", port, "")]);
        let answer = ask((asked, probed.probes.port()).into(), "web/readiness");
        assert_eq!(answer.status(), 200, "{listens}: {}", answer.text());
        assert_eq!(caller.recv().expect("it was called"), expected, "{listens}");
    }
}

#[test]
fn a_target_is_asked_once_at_a_time_and_keeps_nobody_else_waiting() {
    let slow = App::raw(|mut wire| {
        let _ = wire.message(false);
        let _ = wire.is_over();
    });
    let well = App::ok();
    let slow_target = format!(
        "{{container: slow, probe: liveness, timeout: 3s, http: {{port: {}}}}}",
        slow.address.port()
    );
    let targets = [slow_target, http("web", well.address.port(), "")];
    let probed = Probed::start(well.address, &targets);
    let begun = Instant::now();
    let crowd: Vec<_> = (0..40)
        .map(|_| {
            let probes = probed.probes;
            thread::spawn(move || ask(probes, "slow/liveness"))
        })
        .collect();
    eventually("the slow app is asked", || slow.connections() > 0);
    let other = probed.ask("web/readiness");
    assert_eq!(other.status(), 200);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    for one in crowd {
        let answer = one.join().expect("no panic");
        assert_eq!(answer.status(), 503);
        assert!(answer.text().contains("within 3s"), "{}", answer.text());
    }
    // Whoever came after the answer began another.
    assert!(slow.connections() <= 2, "{} connections", slow.connections());
    eventually("it is let go", || slow.open_connections() == 0);
}

#[test]
fn who_says_nothing_is_let_go() {
    let app = App::ok();
    let probed = Probed::start(app.address, &[http("web", app.address.port(), "")]);
    let mut silent = Wire::of(TcpStream::connect(probed.probes).expect("it listens"));
    silent.send("GET /probe/web");
    assert_eq!(probed.ask("web/readiness").status(), 200);
    let _ = silent.message(false);
    assert!(silent.is_over());
}

#[test]
fn probes_are_answered_until_the_sidecar_has_left() {
    let app = App::http(|request| {
        if request.target() == "/slow" {
            thread::sleep(Duration::from_secs(2));
        }
        App::answer("done")
    });
    let mut probed = Probed::start(app.address, &[http("web", app.address.port(), "")]);
    let mut slow = probed.mesh.connect();
    slow.send(get("/slow"));
    app.await_requests(1);
    probed.mesh.inbound().sigterm();
    probed.mesh.inbound().await_log("draining");
    assert_eq!(probed.ask("web/readiness").status(), 200, "kubelet must not kill the app");
    assert_eq!(slow.response().text(), "done");
    assert_eq!(probed.mesh.inbound_mut(0).exit(Duration::from_secs(10)).code(), Some(0));
}

#[test]
fn who_waits_for_a_slow_container_keeps_nobody_from_another() {
    let slow = App::http(|_| {
        thread::sleep(Duration::from_secs(8));
        App::answer("late")
    });
    let well = App::ok();
    let target = |name: &str, app: &App| {
        let port = app.address.port();
        format!("{{container: {name}, probe: liveness, timeout: 8s, http: {{port: {port}}}}}")
    };
    let probed = Probed::start(well.address, &[target("slow", &slow), target("well", &well)]);
    let waiting: Vec<_> = (0..400)
        .map(|_| {
            let mut wire = Wire::connect(probed.probes);
            wire.send("GET /probe/slow/liveness HTTP/1.1\r\nHost: pod\r\n\r\n");
            wire
        })
        .collect();
    let begun = Instant::now();
    assert_eq!(probed.ask("well/liveness").status(), 200);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    eventually("the slow one is asked", || slow.begun() >= 1);
    assert_eq!(slow.begun(), 1, "and the slow one is asked once");
    drop(waiting);
}
