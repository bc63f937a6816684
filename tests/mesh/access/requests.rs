//! Requests are judged one by one, by the newest policy; what is refused says why.

use http::Request;
use serde_json::json;

use super::{CLIENT, await_audit, govern, meshed, under};
use crate::harness::grpc::{H2Client, drain, grpc_request};
use crate::harness::h2_app::H2App;
use crate::harness::yaml::access;
use crate::harness::{App, Pair, Wire, eventually, get, get_with, post, spiffe};

#[test]
fn a_new_policy_holds_for_the_next_request_of_a_connection() {
    let app = App::ok();
    let mesh = under(app.address, "rules: [{action: deny, to: [{methods: [DELETE]}]}]");
    let mut wire = mesh.connect();
    assert_eq!(wire.ask(get("/a")).status(), 200);
    govern(
        &mesh,
        &format!("rules: [{{action: allow, from: [{{identities: [\"{}\"]}}]}}]", spiffe("other")),
    );
    eventually("it is denied", || wire.ask(get("/b")).status() == 403);
    let answer = wire.ask(get("/c"));
    assert_eq!(answer.reason(), Some("denied"));
    let said = answer.text();
    assert!(said.contains(CLIENT) && said.contains("default/all"), "{said}");
    govern(&mesh, &format!("rules: [{{action: allow, from: [{{identities: [\"{CLIENT}\"]}}]}}]"));
    eventually("it is allowed", || wire.ask(get("/d")).status() == 200);
    let seen: Vec<String> = app.requests().iter().map(|of| of.target().to_owned()).collect();
    assert!(!seen.contains(&"/c".to_owned()), "{seen:?}");
    let decided = |decision: &str| {
        let labels = ["policy=\"default/all\"", &format!("decision=\"{decision}\"")];
        mesh.inbound().metric("outrigger_access_decisions_total", &labels)
    };
    assert!(decided("deny") >= 2.0 && decided("allow") >= 1.0);
}

#[test]
fn a_header_that_the_app_does_not_get_lets_nobody_in() {
    let app = App::ok();
    let mesh = under(app.address, "rules: [{action: allow, to: [{headers: {x-env: prod}}]}]");
    let ask =
        |more: &str| mesh.connect().ask(get_with("/", &format!("x-env: prod\r\n{more}"))).status();
    assert_eq!(ask(""), 200);
    assert_eq!(ask("connection: keep-alive\r\n"), 200);
    for named in ["x-env", "keep-alive, X-Env", "close, x-env"] {
        assert_eq!(ask(&format!("connection: {named}\r\n")), 403, "{named}");
    }
    assert_eq!(app.requests().len(), 2);
}

#[test]
fn each_field_of_a_rule_is_asked() {
    let app = App::ok();
    let mesh = under(app.address, "");
    let to = |name: &str, request: String| meshed(&mesh, name).ask(request).status();
    let rows: [(&str, &str, String, String); 7] = [
        (
            "methods",
            "to: [{methods: [GET]}]",
            get("/"),
            "POST / HTTP/1.1\r\nhost: app.default\r\ncontent-length: 0\r\n\r\n".into(),
        ),
        ("paths", "to: [{paths: [\"/api/*\"]}]", get("/api/x"), get("/other")),
        ("hosts", "to: [{hosts: [app.default]}]", get("/"), get("/").replace("app.default", "b")),
        ("headers", "to: [{headers: {x-env: prod}}]", get_with("/", "x-env: prod\r\n"), get("/")),
        ("ipBlocks", "from: [{ipBlocks: [127.0.0.0/8]}]", get("/"), String::new()),
        ("ipBlocks", "from: [{ipBlocks: [10.0.0.0/8]}]", String::new(), get("/")),
        ("namespaces", "from: [{namespaces: [default]}]", get("/"), String::new()),
    ];
    for (field, part, good, bad) in rows {
        govern(&mesh, &format!("rules: [{{action: allow, {part}}}]"));
        if !good.is_empty() {
            eventually(&format!("{field}: {part} allows"), || to("web", good.clone()) == 200);
        }
        if !bad.is_empty() {
            eventually(&format!("{field}: {part} keeps out"), || to("web", bad.clone()) == 403);
        }
    }
    let id = spiffe("web");
    govern(&mesh, &format!("rules: [{{action: deny, from: [{{identities: [\"{id}\"]}}]}}]"));
    eventually("the named one is kept out", || to("web", get("/")) == 403);
    assert_eq!(to("other", get("/")), 200);
    govern(&mesh, "default: deny");
    eventually("nobody comes in", || to("other", get("/")) == 403);
    let port = app.address.port();
    govern(&mesh, &format!("ports: [{port}], rules: [{{action: deny}}]"));
    eventually("the port is closed", || {
        meshed(&mesh, "other").ask(get("/")).text().contains("rules[0]")
    });
    govern(&mesh, "ports: [1], rules: [{action: deny}]");
    eventually("another port is meant", || to("other", get("/")) == 200);
}

#[test]
fn what_callers_write_of_themselves_proves_nothing() {
    let app = App::ok();
    let web = spiffe("web");
    let rules = format!(
        "mtls: permissive, rules: [{{action: allow, from: [{{identities: [\"{web}\"]}}]}}, \
         {{action: allow, from: [{{ipBlocks: [192.0.2.0/24]}}]}}]"
    );
    let mesh = under(app.address, &rules);
    let lies = [
        format!("x-outrigger-peer: {web}\r\n"),
        format!("X-Outrigger-Peer: {web}\r\nconnection: x-outrigger-peer\r\n"),
        format!("x-forwarded-client-cert: URI={web}\r\n"),
        "x-forwarded-for: 192.0.2.1\r\n".to_owned(),
        "x-real-ip: 192.0.2.1\r\nforwarded: for=192.0.2.1\r\n".to_owned(),
    ];
    for lie in lies {
        let answer = Wire::connect(mesh.mesh_ports[0]).ask(get_with("/", &lie));
        assert_eq!((answer.status(), answer.reason()), (403, Some("denied")), "{lie}");
        assert!(!answer.text().contains("default/all"), "policies are not named to strangers");
        assert_eq!(meshed(&mesh, "db").ask(get_with("/", &lie)).status(), 403, "{lie}");
    }
    assert_eq!(app.requests().len(), 0);
    let lie = format!("x-outrigger-peer: {}\r\n", spiffe("admin"));
    assert_eq!(meshed(&mesh, "web").ask(get_with("/", &lie)).status(), 200);
    assert_eq!(app.requests()[0].all("x-outrigger-peer"), [web.as_str()]);
}

#[test]
fn games_with_the_host_get_past_no_rule() {
    let app = App::ok();
    let mesh = under(app.address, "rules: [{action: allow, to: [{hosts: [public.example]}]}]");
    let ask = |head: &str| {
        let mut wire = meshed(&mesh, "web");
        wire.ask(format!("{head}\r\n\r\n")).status()
    };
    let rows = [
        ("GET / HTTP/1.1\r\nhost: public.example", 200),
        ("GET / HTTP/1.1\r\nHOST: PUBLIC.example:8080", 200),
        ("GET / HTTP/1.1\r\nhost: private.example", 403),
        ("GET / HTTP/1.1\r\nhost: private.example\r\nx-forwarded-host: public.example", 403),
        ("GET / HTTP/1.1\r\nhost: private.example\r\nhost: public.example", 400),
        ("GET http://public.example/ HTTP/1.1\r\nhost: private.example", 400),
        ("GET http://private.example/ HTTP/1.1\r\nhost: private.example", 403),
        ("GET / HTTP/1.1\r\nhost: public.example@private.example", 400),
        ("GET / HTTP/1.1\r\nhost: public.example, private.example", 400),
        ("GET / HTTP/1.1", 400),
        ("GET / HTTP/1.0", 403),
    ];
    for (head, status) in rows {
        assert_eq!(ask(head), status, "{head}");
    }
}

#[test]
fn what_is_only_observed_is_decided_recorded_and_let_through() {
    let app = App::ok();
    let spec = "mode: observe, audit: denied, rules: [{action: deny, to: [{paths: [/admin]}]}]";
    let mesh = under(app.address, spec);
    assert_eq!(mesh.ask(get("/admin?token=secret")).status(), 200);
    assert_eq!(mesh.ask(get("/other")).status(), 200);
    let observed = ["policy=\"default/all\"", "decision=\"would-deny\""];
    assert_eq!(mesh.inbound().metric("outrigger_access_decisions_total", &observed), 1.0);
    let entry = await_audit(mesh.inbound(), "GET", "would-deny");
    let label = format!("server.default:{}", app.address.port());
    let expected = json!({
        "kind": "audit", "time": entry["time"], "principal": CLIENT, "action": "GET",
        "resource": format!("{label}/admin"), "decision": "would-deny",
        "policy": "default/all", "rule": "0",
    });
    assert_eq!(entry, expected);
    let entry = mesh.inbound().await_entry("/admin?token=secret");
    assert_eq!(entry["access"], "would-deny default/all 0", "{entry}");
    assert!(mesh.inbound().await_entry("/other").get("access").is_none());
    let asked = std::process::Command::new(env!("CARGO_BIN_EXE_outrigger"))
        .args(["explain", "--admin", &mesh.inbound().admin.to_string(), "--path", "/x/..//admin"])
        .args(["--port", &app.address.port().to_string(), "--peer", CLIENT])
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&asked.stdout).into_owned();
    for words in ["only observed", "policy default/all, rule 0", "the app gets it so: /admin"] {
        assert!(said.contains(words), "no {words} in {said}");
    }
    // Who must prove an identity must so all the same.
    let answer = Wire::connect(mesh.mesh_ports[0]).ask(get("/other"));
    assert_eq!(answer.reason(), Some("mtls-required"));
    mesh.govern(&access("name: all", &spec.replace("mode: observe, ", "")));
    eventually("it is enforced", || mesh.ask(get("/admin")).status() == 403);
}

#[test]
fn decisions_are_written_down_as_policies_ask() {
    let app = App::ok();
    let rules = "rules: [{action: deny, to: [{methods: [POST]}]}]";
    let mesh = under(app.address, &format!("audit: all, {rules}"));
    let audits = || {
        let entries = mesh.inbound().access_log();
        entries.iter().filter(|entry| entry["kind"] == "audit").count()
    };
    let secret = "authorization: Bearer hunter2\r\nx-api-key: hunter2\r\ncookie: token=hunter2\r\n";
    assert_eq!(mesh.ask(get_with("/a;b//c?access_token=hunter2", secret)).status(), 200);
    let entry = await_audit(mesh.inbound(), "GET", "allow");
    assert_eq!((&entry["rule"], entry.get("policy")), (&json!("default"), None), "{entry}");
    assert!(!entry.to_string().contains("hunter2"), "{entry}");
    assert_eq!(mesh.ask(post("/b", b"x")).status(), 403);
    assert_eq!(await_audit(mesh.inbound(), "POST", "deny")["rule"], "0");
    assert_eq!(audits(), 2);
    mesh.govern(&access("name: all", &format!("audit: denied, {rules}")));
    eventually("less is asked for", || {
        mesh.inbound().json("/policies")["inbound"][0]["audit"]["says"] == "denied"
    });
    assert_eq!(mesh.ask(get("/c")).status(), 200);
    assert_eq!(Wire::connect(mesh.mesh_ports[0]).ask(get("/")).status(), 403);
    assert_eq!(await_audit(mesh.inbound(), "GET", "deny")["principal"], "127.0.0.1");
    // One worker writes them in their order.
    assert_eq!(audits(), 3);
}

#[tokio::test]
async fn http_2_and_grpc_callers_are_told_in_their_own_words() {
    let app = H2App::start(|request, mut respond| async move {
        let _ = drain(&mut request.into_body()).await;
        respond.send_response(http::Response::new(()), true).expect("sent");
    });
    let spec = "rules: [{action: deny, to: [{paths: [\"/shop.Orders/Delete\", /admin]}]}]";
    let mesh = Pair::at(app.address).inbound_resources(&access("name: all", spec)).start();
    let client = H2Client::connect(mesh.service).await;
    let ask = |path: &str| Request::get(format!("http://app.default{path}")).body(()).expect("one");
    assert_eq!(client.ask(ask("/open"), b"").await.status, 200);
    let denied = client.ask(ask("/x/%2E%2e/admin"), b"").await;
    assert_eq!((denied.status, denied.header("x-outrigger-reason")), (403, Some("denied")));
    let call = |path: &str| grpc_request(path).body(()).expect("a call");
    let denied = client.call(call("/shop.Orders/Delete"), &[b"1"]).await;
    assert_eq!((denied.status, denied.grpc_status()), (200, Some("7")));
    let said = denied.grpc_message().unwrap_or_default().to_owned();
    assert!(said.contains("may not do this"), "{said}");
    assert_ne!(client.call(call("/shop.Orders/Get"), &[b"1"]).await.grpc_status(), Some("7"));
}
