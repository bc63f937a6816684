//! Who comes in without proving who it is: `mtls` of an `AccessPolicy`, from files and from the
//! control plane, for whatever is spoken, and for connections that are there already.

use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use http::Request;
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::harness::grpc::{H2Client, drain};
use crate::harness::h2_app::H2App;
use crate::harness::tls::{self, TlsServer};
use crate::harness::yaml::access;
use crate::harness::{
    App, Certs, ControlPlane, Member, Mesh, Pair, Wire, eventually, get, get_with, service, spiffe,
    within,
};

const STRICT: &str = "mtls: strict";
const PERMISSIVE: &str = "mtls: permissive";

/// One instance under a policy of its namespace, and a caller's sidecar.
fn under(app: SocketAddr, spec: &str) -> Mesh {
    Pair::at(app).inbound_resources(&access("name: all", spec)).start()
}

/// A connection to the instance that no sidecar has made.
fn plain(mesh: &Mesh) -> Wire {
    Wire::connect(mesh.mesh_ports[0])
}

/// Answers each 4 bytes with the same.
fn fours() -> App {
    App::raw(|mut wire| {
        while let Ok(bytes) = wire.try_take(4) {
            wire.send(bytes);
        }
    })
}

/// What holds for the callers of the workload, as `port mode from`.
#[track_caller]
fn shown(sidecar: &crate::harness::Sidecar) -> Vec<String> {
    let page = sidecar.json("/policies");
    let text = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
    let row = |row: &Value| {
        format!("{} {} {}", text(&row["port"]), text(&row["mtls"]), text(&row["from"]))
    };
    page["inbound"].as_array().expect("a list").iter().map(row).collect()
}

/// Waits until a request in plaintext has this status.
#[track_caller]
fn await_status(to: SocketAddr, status: u16) {
    eventually(&format!("{status} in plaintext"), || {
        Wire::connect(to).ask(get("/")).status() == status
    });
}

#[test]
fn plaintext_http_comes_in_where_it_may_and_proves_nothing() {
    let app = App::ok();
    let mesh = under(app.address, PERMISSIVE);
    let mut wire = plain(&mesh);
    let lie = format!("x-outrigger-peer: {}\r\n", spiffe("admin"));
    for _ in 0..2 {
        assert_eq!(wire.ask(get_with("/plain", &lie)).status(), 200);
    }
    assert!(app.requests().iter().all(|request| request.header("x-outrigger-peer").is_none()));
    let page = mesh.inbound().json("/connections");
    let found = page["connections"].as_array().expect("a list");
    assert_eq!((&found[0]["tls"], &found[0]["peer"]), (&json!("none"), &Value::Null), "{page}");
    let entry = mesh.inbound().await_entry("/plain");
    assert_eq!((&entry["tls"], &entry["peer"]), (&json!("none"), &Value::Null), "{entry}");
    let decided = |policy, decision| {
        mesh.inbound().metric("outrigger_access_decisions_total", &[policy, decision])
    };
    assert_eq!(decided("policy=\"default/all\"", "allow"), 2.0);
    // A caller with a sidecar still comes by mutual TLS, and by nothing else.
    assert_eq!(mesh.ask(get("/meshed")).status(), 200);
    let seen = app.requests();
    let meshed = seen.last().expect("it came");
    assert_eq!(meshed.header("x-outrigger-peer"), Some(spiffe("client").as_str()));
    assert_eq!(decided("policy=\"mesh-default\"", "allow"), 1.0);
    let plaintext = mesh.inbound().json("/plaintext");
    let callers = plaintext["callers"].as_array().expect("a list");
    assert_eq!((callers.len(), &callers[0]["connections"]), (1, &json!(1)), "{plaintext}");
    assert_eq!(callers[0]["port"], json!(app.address.port()));
}

#[test]
fn plaintext_is_refused_where_mutual_tls_is_asked_for() {
    let app = App::ok();
    for mesh in [under(app.address, STRICT), under(app.address, ""), Pair::of(&app).start()] {
        let answer = plain(&mesh).ask(get("/"));
        assert_eq!((answer.status(), answer.reason()), (403, Some("mtls-required")));
        let mut wire = plain(&mesh);
        wire.send(b"\x00\x01\x02\x03");
        assert!(wire.ended_by_reset());
        let mut wire = plain(&mesh);
        wire.send(tls::tls12_hello().split_at(1).0).send(&tls::tls12_hello()[1..]);
        assert!(wire.message(false).is_err());
        // For one who waits, the app is not even asked.
        assert!(plain(&mesh).patience(Duration::from_millis(300)).try_take(1).is_err());
        assert_eq!(mesh.inbound().json("/plaintext")["callers"], json!([]));
    }
    assert_eq!(app.connections(), 0);
    let config = || tls::client(None, &["http/1.1"]);
    let mesh = under(app.address, STRICT);
    assert!(tls::connect(mesh.mesh_ports[0], config()).is_err(), "the app's own TLS is plaintext");
    assert_eq!(app.connections(), 0);
    assert_eq!(mesh.ask(get("/")).status(), 200);
}

#[tokio::test]
async fn http_2_with_prior_knowledge_is_heard_in_plaintext() {
    let app = H2App::start(|request, mut respond| async move {
        let _ = drain(&mut request.into_body()).await;
        respond.send_response(http::Response::new(()), true).expect("sent");
    });
    let request = || Request::get("http://app.default/two").body(()).expect("a request");
    for (spec, status) in [(PERMISSIVE, 200), (STRICT, 403)] {
        let mesh = under(app.address, spec);
        let client = H2Client::connect(mesh.mesh_ports[0]).await;
        let answer = client.ask(request(), b"").await;
        assert_eq!(answer.status, status, "{spec}: {:?}", answer.headers);
    }
}

#[test]
fn a_server_that_speaks_first_is_not_kept_waiting() {
    let app = App::raw(|mut wire| {
        wire.send("220 ready\r\n");
        let line = wire.take(6);
        wire.send(line);
    });
    for protocol in ["auto", "tcp"] {
        let pair = Pair::of(&app).inbound_declared(protocol);
        let mesh = pair.inbound_resources(&access("name: all", PERMISSIVE)).start();
        let times: Vec<Duration> = (0..20)
            .map(|_| {
                let begun = Instant::now();
                let mut wire = plain(&mesh);
                assert_eq!(wire.take(11), b"220 ready\r\n");
                let time = begun.elapsed();
                assert_eq!(wire.send("QUIT\r\n").take(6), b"QUIT\r\n");
                time
            })
            .collect();
        // The quickest: what holds up others is the machine.
        let quickest = times.iter().min();
        assert!(quickest < Some(&Duration::from_millis(150)), "{protocol}: {times:?}");
        let mut meshed = mesh.connect();
        assert_eq!(meshed.take(11), b"220 ready\r\n");
        assert_eq!(meshed.send("QUIT\r\n").take(6), b"QUIT\r\n");
    }
}

#[test]
fn opaque_bytes_and_the_apps_own_tls_pass_untouched() {
    let app = fours();
    for protocol in ["auto", "tcp"] {
        let pair = Pair::of(&app).inbound_declared(protocol);
        let mesh = pair.inbound_resources(&access("name: all", PERMISSIVE)).start();
        for mut wire in [plain(&mesh), mesh.connect()] {
            assert_eq!(wire.send(b"\x00\x01\x02\x03").take(4), b"\x00\x01\x02\x03");
        }
    }
    let issued = Certs::new().issue("whoever");
    let server = TlsServer::start(&issued, &["http/1.1"], |mut wire| {
        let request = wire.message(false).expect("a request");
        assert_eq!(request.header("x-request-id"), None, "someone looked inside");
        wire.send(App::answer("end to end"));
    });
    let mesh = under(server.address, PERMISSIVE);
    for to in [mesh.mesh_ports[0], mesh.service] {
        let config = tls::client(None, &["http/1.1"]);
        let mut wire = tls::connect(to, config).expect("the app's handshake");
        assert_eq!(wire.ask(get("/")).text(), "end to end");
    }
    // A connection a caller, one of them with a sidecar.
    let plaintext = mesh.inbound().json("/plaintext");
    assert_eq!(plaintext["callers"][0]["connections"], json!(1), "{plaintext}");
}

#[test]
fn a_sidecars_hello_may_be_late_where_plaintext_may_come_too() {
    for protocol in ["auto", "tcp", "http"] {
        let app = App::ok();
        let pair = Pair::of(&app).inbound_declared(protocol);
        let mesh = pair.inbound_resources(&access("name: all", PERMISSIVE)).start();
        let stream = TcpStream::connect(mesh.mesh_ports[0]).expect("it listens");
        // Past the time in which somebody who speaks first has spoken.
        thread::sleep(Duration::from_millis(300));
        let alpn = if protocol == "tcp" { "outrigger-tcp" } else { "outrigger-h1" };
        let config = tls::client(Some(&mesh.certs.issue("late")), &[alpn]);
        let mut wire = tls::shake_hands(stream, config).expect("mutual TLS");
        assert_eq!(wire.ask(get("/late")).status(), 200, "{protocol}");
        let peer = app.requests()[0].header("x-outrigger-peer").map(str::to_owned);
        let expected = (protocol != "tcp").then(|| spiffe("late"));
        assert_eq!(peer, expected, "{protocol}");
        assert_eq!(mesh.inbound().json("/plaintext")["callers"], json!([]), "{protocol}");
    }
}

#[test]
fn the_nearest_policy_counts_and_of_equals_the_stricter() {
    let app = App::ok();
    let port = app.address.port();
    let mesh = under(app.address, STRICT);
    let to = mesh.mesh_ports[0];
    let system = "name: mesh, namespace: outrigger-system";
    let own = "selector: {matchLabels: {app: app}}";
    let other = "selector: {matchLabels: {app: other}}";
    let rows = [
        (vec![access(system, PERMISSIVE)], 200, "* permissive AccessPolicy outrigger-system/mesh"),
        (
            vec![access(system, PERMISSIVE), access("name: all", STRICT)],
            403,
            "* strict AccessPolicy default/all",
        ),
        (
            vec![
                access("name: all", STRICT),
                access("name: own", &format!("{own}, {PERMISSIVE}")),
                access("name: another", &format!("{other}, {STRICT}")),
                access("name: elsewhere, namespace: far", STRICT),
            ],
            200,
            "* permissive AccessPolicy default/own",
        ),
        (
            vec![
                access("name: own", &format!("{own}, {PERMISSIVE}")),
                access("name: port", &format!("ports: [{port}], {STRICT}")),
            ],
            403,
            &format!("{port} strict AccessPolicy default/port"),
        ),
        (
            vec![
                access("name: all", STRICT),
                access("name: port", &format!("ports: [{port}], {PERMISSIVE}")),
            ],
            200,
            &format!("{port} permissive AccessPolicy default/port"),
        ),
        (
            vec![access("name: a", PERMISSIVE), access("name: b", STRICT)],
            403,
            "* strict AccessPolicy default/b",
        ),
        (vec![], 403, "* strict default"),
    ];
    for (policies, status, first) in rows {
        mesh.govern(&policies.concat());
        eventually(first, || shown(mesh.inbound())[0] == first);
        assert_eq!(plain(&mesh).ask(get("/")).status(), status, "{policies:?}");
    }
    let table = std::process::Command::new(env!("CARGO_BIN_EXE_outrigger"))
        .args(["proxy", "policies", "--admin", &mesh.inbound().admin.to_string()])
        .output()
        .expect("it starts");
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.contains("callers of port *") && table.contains("strict"), "{table}");
    // What can't be read changes nothing.
    mesh.govern(&access("name: all", PERMISSIVE));
    await_status(to, 200);
    mesh.govern(&access("name: all", "mtls: strict, jvt: []"));
    mesh.inbound().await_log("unknown field `jvt`");
    assert_eq!(plain(&mesh).ask(get("/")).status(), 200);
}

#[test]
fn a_policy_is_in_force_for_connections_that_are_there() {
    let app = App::raw(|mut wire| {
        // HTTP is answered, anything else comes back.
        while let Ok(bytes) = wire.try_take(4) {
            if bytes != b"GET " {
                wire.send(bytes);
                continue;
            }
            let Ok(_) = wire.head() else { return };
            wire.send(App::answer("ok"));
        }
    });
    let mesh = under(app.address, PERMISSIVE);
    let (mut http, mut tcp, mut silent) = (plain(&mesh), plain(&mesh), plain(&mesh));
    let mut meshed = mesh.connect();
    assert_eq!(http.ask(get("/before")).status(), 200);
    for wire in [&mut tcp, &mut meshed] {
        assert_eq!(wire.send(b"\x00\x01\x02\x03").take(4), b"\x00\x01\x02\x03");
    }
    mesh.govern(&access("name: all", STRICT));
    assert!(tcp.ended_by_reset(), "whoever may no longer come in must not take it for an end");
    assert!(silent.ended_by_reset(), "one that waits, too");
    let answer = http.ask(get("/after"));
    assert_eq!((answer.status(), answer.reason()), (403, Some("mtls-required")));
    assert_eq!(meshed.send(b"\x04\x05\x06\x07").take(4), b"\x04\x05\x06\x07");
    eventually("the access log says why", || {
        let entries = mesh.inbound().access_log();
        entries.iter().any(|entry| entry["reason"] == "permission-withdrawn")
    });
    mesh.govern(&access("name: all", PERMISSIVE));
    await_status(mesh.mesh_ports[0], 200);
    assert_eq!(http.ask(get("/again")).status(), 200, "the connection was no part of it");
}

#[test]
fn a_tunnel_ends_with_its_permission() {
    let app = App::raw(|mut wire| {
        if wire.head().is_err() {
            return;
        }
        wire.send(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n",
        );
        while let Ok(bytes) = wire.try_take(4) {
            wire.send(bytes);
        }
    });
    let mesh = under(app.address, PERMISSIVE);
    let mut wire = plain(&mesh);
    let answer = wire.send(get_with("/", "connection: upgrade\r\nupgrade: echo\r\n")).head();
    assert_eq!(answer.expect("an answer").status(), 101);
    assert_eq!(wire.send("ping").take(4), b"ping");
    mesh.govern(&access("name: all", STRICT));
    eventually("the tunnel is closed", || match wire.try_send("ping") {
        Ok(_) => wire.try_take(4).is_err(),
        Err(_) => true,
    });
    let entry = mesh.inbound().await_entry("/");
    assert_eq!(entry["reason"], "permission-withdrawn", "{entry}");
}

/// What an instance of a mesh says in plaintext.
fn status_of(member: &Member) -> u16 {
    Wire::connect(member.mesh_port).ask(get("/")).status()
}

#[test]
fn the_control_plane_tells_each_workload_what_is_about_it() {
    let mut plane = ControlPlane::start(&[]);
    let (app, other) = (App::ok(), App::ok());
    plane.apply(&access("name: web", "selector: {matchLabels: {app: web}}, mtls: permissive"));
    let web = plane.instance("web-1", app.address);
    let db = plane.instance("db-1", other.address);
    // Whoever is ready has been told.
    assert_eq!((status_of(&web), status_of(&db)), (200, 403));
    assert_eq!(shown(&web.sidecar), ["* permissive AccessPolicy default/web"]);
    assert_eq!(shown(&db.sidecar), ["* strict default"]);
    plane.apply(&access("name: mesh, namespace: outrigger-system", PERMISSIVE));
    await_status(db.mesh_port, 200);
    let port = app.address.port();
    plane.apply(&access("name: port", &format!("ports: [{port}], mtls: strict")));
    await_status(web.mesh_port, 403);
    let table = plane.done(&["get", "accesspolicies", "-A"]);
    for words in ["app=web", "the mesh", "permissive", &port.to_string()] {
        assert!(table.contains(words), "no {words} in {table}");
    }
    plane.done(&["delete", "accesspolicy", "port"]);
    await_status(web.mesh_port, 200);
    // What was said stays while nobody says more, and is the same afterwards.
    plane.kill();
    assert_eq!((status_of(&web), status_of(&db)), (200, 200));
    plane.restart();
    eventually("both are back", || web.is_connected() && db.is_connected());
    assert_eq!((status_of(&web), status_of(&db)), (200, 200));
    plane.done(&["delete", "accesspolicy", "web"]);
    plane.done(&["delete", "accesspolicy", "mesh", "-n", "outrigger-system"]);
    await_status(web.mesh_port, 403);
    await_status(db.mesh_port, 403);
    assert_eq!(plane.json("/sessions")["sessions"][0]["policiesRefused"], json!([]));
    let said = plane.try_apply(&access("name: later", "jwt: [{issuer: a}]"));
    assert!(said.code == Some(2) && said.err.contains("spec.jwt[0]"), "{said:?}");
}

#[test]
fn a_draining_workload_stays_under_the_policies_of_its_labels() {
    let plane = ControlPlane::start(&[]);
    let app = App::raw(|mut wire| {
        while let Ok(bytes) = wire.try_take(4) {
            wire.send(bytes);
        }
    });
    plane.apply(&access("name: web", "selector: {matchLabels: {app: web}}, mtls: permissive"));
    let web = plane.instance("web-1", app.address);
    let mut wire = Wire::connect(web.mesh_port);
    assert_eq!(wire.send(b"\x00\x01\x02\x03").take(4), b"\x00\x01\x02\x03");
    web.sidecar.sigterm();
    eventually("it is withdrawn", || plane.registrations().is_empty());
    // Another policy makes the control plane say anew what holds.
    plane.apply(&access("name: mesh, namespace: outrigger-system", STRICT));
    web.sidecar.await_log("access policies taken policies=2");
    assert_eq!(wire.send(b"\x04\x05\x06\x07").take(4), b"\x04\x05\x06\x07");
}

/// A connection from an address of this machine.
fn from(address: &str, to: SocketAddr) -> Wire {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let own: SocketAddr = format!("{address}:0").parse().expect("an address");
    socket.bind(&own.into()).expect("it is this machine's");
    socket.connect(&to.into()).expect("it listens");
    Wire::of(socket.into())
}

#[test]
fn whoever_still_comes_in_plaintext_is_named() {
    let mut plane = ControlPlane::start(&[]);
    let app = App::ok();
    plane.apply(&service("web"));
    plane.apply(&access("name: all", PERMISSIVE));
    let job = "apiVersion: outrigger.dev/v1alpha1\nkind: Workload\n\
               metadata: {name: job-1, namespace: batch}\nspec: {address: 127.0.0.9}\n";
    plane.apply(job);
    let web = plane.instance("web-1", app.address);
    let caller = plane.caller("client-1", &["web.default:80"]);
    let ready = plane.run(&["check", "--strict-ready"]);
    assert_eq!((ready.code, ready.out.as_str()), (Some(0), "nobody came in plaintext\n"));
    assert!(ready.err.contains("2 connected sidecars, of the "), "{ready:?}");
    eventually("the endpoint is known", || caller.endpoints("web.default:80") == Some(1));
    assert_eq!(Wire::connect(caller.upstreams[0]).ask(get("/")).status(), 200);
    let mut wire = from("127.0.0.9", web.mesh_port);
    (0..3).for_each(|_| assert_eq!(wire.ask(get("/")).status(), 200));
    assert_eq!(from("127.0.0.10", web.mesh_port).ask(get("/")).status(), 200);
    let check = |plane: &ControlPlane| plane.run(&["check", "--strict-ready", "-o", "json"]);
    let mut told = Value::Null;
    within(Duration::from_secs(20), "both are named", || {
        let said = check(&plane);
        told = serde_json::from_str(&said.out).expect("JSON");
        told["paths"].as_array().is_some_and(|paths| paths.len() == 2) && said.code == Some(1)
    });
    let row = |n: usize| {
        let path = &told["paths"][n];
        let of = [&path["workload"], &path["from"], &path["caller"], &path["port"]];
        (of.map(Value::clone), path["connections"].clone())
    };
    let web_1 = |address: &str, caller: Value| {
        [json!("web-1.default"), json!(address), caller, json!(app.address.port())]
    };
    // Connections are counted, not requests; the sidecar's are none of them.
    assert_eq!(row(0), (web_1("127.0.0.9", json!("job-1.batch")), json!(1)));
    assert_eq!(row(1), (web_1("127.0.0.10", Value::Null), json!(1)));
    let table = plane.run(&["check", "--strict-ready"]);
    assert!(table.code == Some(1) && table.out.contains("job-1.batch"), "{table:?}");
    assert_eq!(plane.run(&["check", "--strict-ready", "-n", "other"]).code, Some(0));
    let page = plane.json("/plaintext");
    assert_eq!(page["paths"][0]["caller"], "job-1.batch", "{page}");
    // A control plane that forgot is told again.
    plane.restart();
    within(Duration::from_secs(20), "it is told again", || check(&plane).code == Some(1));
    let denied = plane.nobody().showing(&plane.joined("asker"));
    let refused = denied.call(async |channel| {
        use outrigger::wire::v1::{PlaintextRequest, observe_client::ObserveClient};
        ObserveClient::new(channel).plaintext(PlaintextRequest::default()).await
    });
    assert_eq!(refused.expect_err("no operator").code(), tonic::Code::PermissionDenied);
}
