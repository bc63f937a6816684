//! How often a workload may be called: limits of `RateLimitPolicy`, over real sockets.

mod at_once;
mod plane;

use std::net::SocketAddr;

use serde_json::Value;

use crate::harness::grpc::{H2Client, drain, grpc_request};
use crate::harness::h2_app::H2App;
use crate::harness::yaml::{access, limits};
use crate::harness::{App, Mesh, Message, Pair, Wire, eventually, get, get_with, post, tls};

/// One instance that lets everybody in, under limits of its namespace, and a caller's sidecar.
fn under(pair: Pair, spec: &str) -> Mesh {
    pair.inbound_resources(&resources(spec)).start()
}

fn resources(spec: &str) -> String {
    access("name: open", "mtls: permissive") + &limits("name: api", spec)
}

/// What `outrigger proxy policies` knows of them.
fn rates(mesh: &Mesh) -> Value {
    mesh.inbound().json("/policies")["limits"]["rates"].clone()
}

/// A policy takes the place of the one before; `shown` is what its first limit is said to say.
#[track_caller]
fn turn(mesh: &Mesh, spec: &str, shown: &str) {
    mesh.govern(&resources(spec));
    eventually(&format!("{shown} holds"), || rates(mesh)[0]["says"] == shown);
}

/// A caller of that name who comes by mutual TLS, and whom no sidecar corrects.
fn meshed(mesh: &Mesh, name: &str) -> Wire<impl std::io::Read + std::io::Write> {
    let config = tls::client(Some(&mesh.certs.issue(name)), &["outrigger-h1"]);
    tls::connect(mesh.mesh_ports[0], config).expect("mutual TLS")
}

fn plain(mesh: &Mesh) -> Wire {
    Wire::connect(mesh.mesh_ports[0])
}

fn pair(app: SocketAddr) -> Pair {
    Pair::at(app).inbound_declared("http")
}

#[test]
fn each_key_has_its_own_limit_and_those_without_share_one() {
    let app = App::ok();
    let mesh = under(pair(app.address), "limits: [{key: identity, requests: 2, per: 1h}]");
    let statuses = |name: Option<&str>, lines: &str| -> Vec<u16> {
        (0..3)
            .map(|_| match name {
                Some(name) => meshed(&mesh, name).ask(get_with("/", lines)).status(),
                None => plain(&mesh).ask(get_with("/", lines)).status(),
            })
            .collect()
    };
    let twice = [200, 200, 429];
    assert_eq!(statuses(Some("web"), ""), twice);
    assert_eq!(statuses(Some("job"), ""), twice, "another identity has its own");
    assert_eq!(statuses(None, ""), twice, "those without one have one together");
    assert_eq!(statuses(None, "x-outrigger-peer: spiffe://cluster.local/ns/a/sa/b\r\n"), [429; 3]);
    turn(&mesh, "limits: [{key: ip, requests: 3, per: 1h}]", "3 requests in 3600s for each ip");
    assert_eq!(statuses(None, ""), [200; 3]);
    assert_eq!(
        statuses(Some("web"), "x-forwarded-for: 192.0.2.1\r\n"),
        [429; 3],
        "the same source"
    );
    let by_header = "limits: [{key: 'header:x-user', requests: 2, per: 1h}]";
    turn(&mesh, by_header, "2 requests in 3600s for each header:x-user");
    for user in ["x-user: ann\r\n", "X-USER: bob\r\n", "", "x-user: ann\r\nx-user: bob\r\n"] {
        assert_eq!(statuses(Some("web"), user), twice, "{user}");
    }
    turn(&mesh, "limits: [{key: total, requests: 2, per: 30m}]", "2 requests in 1800s in all");
    assert_eq!(statuses(Some("web"), "x-user: eve\r\n"), twice);
    assert_eq!(statuses(None, ""), [429; 3]);
    assert_eq!(app.requests().len(), 2 * 3 + 3 + 2 * 4 + 2, "no other reached it");
}

fn field<'m>(answer: &'m Message, name: &str) -> &'m str {
    answer.header(name).unwrap_or_else(|| panic!("{name} of {answer:?}"))
}

#[test]
fn every_answer_says_how_it_stands_and_a_refusal_until_when() {
    let app = App::http(|request| match request.target() {
        "/own" => b"HTTP/1.1 200 OK\r\nRateLimit-Limit: 7\r\nContent-Length: 0\r\n\r\n".to_vec(),
        _ => App::answer("hello"),
    });
    let spec = "limits: [{key: ip, requests: 3, per: 1h}, {key: total, requests: 900, per: 1s}]";
    let mesh = under(pair(app.address), spec);
    let mut wire = meshed(&mesh, "web");
    let first = wire.ask(get("/"));
    let of = |answer: &Message, name: &str| field(answer, name).to_owned();
    assert_eq!(
        (of(&first, "ratelimit-limit"), of(&first, "ratelimit-remaining")),
        ("3".into(), "2".into())
    );
    assert_eq!(of(&first, "ratelimit-reset"), "1200");
    assert_eq!(of(&first, "ratelimit-policy"), "\"ip\";q=3;w=3600");
    assert_eq!(of(&first, "ratelimit"), "\"ip\";r=2;t=1200");
    assert_eq!(first.header("retry-after"), None);
    assert_eq!(wire.ask(get("/own")).all("ratelimit-limit"), ["7"], "the app's own stay");
    assert_eq!(wire.ask(post("/", b"abc")).status(), 200);
    let refused = wire.ask(get("/late"));
    assert_eq!((refused.status(), refused.reason()), (429, Some("rate-limited")));
    let wait: u64 = field(&refused, "retry-after").parse().expect("seconds");
    assert!((1190..=1200).contains(&wait), "{wait}");
    assert_eq!(field(&refused, "ratelimit-remaining"), "0");
    let said = refused.text();
    let expected =
        "limits[0] of RateLimitPolicy default/api allows 3 requests in 3600s for each ip";
    assert!(said.contains(expected), "{said}");
    let strange = plain(&mesh).ask(get("/strange")).text();
    assert!(strange.contains("too many requests") && !strange.contains("default/api"), "{strange}");
    let entry = mesh.inbound().await_entry("/late");
    assert_eq!((&entry["reason"], &entry["status"]), (&"rate-limited".into(), &429.into()));
    let count = mesh.inbound().metric("outrigger_rate_limited_total", &["policy=\"default/api\""]);
    assert_eq!(count, 2.0);
    assert!(rates(&mesh)[0]["refused"] == 2, "{}", rates(&mesh));
    let port = app.address.port();
    let page = mesh.inbound().json(&format!("/explain?port={port}&path=/&source=127.0.0.1"));
    assert_eq!(page["limits"][0]["reason"], "rate-limited", "{page}");
    assert_eq!(page["limits"][1]["reason"], Value::Null, "{page}");
    assert_eq!(page["limits"][1]["left"], 900, "who asks takes nothing, who is refused neither");
}

#[test]
fn what_was_used_up_stays_so_when_other_limits_change() {
    let app = App::ok();
    let one = "{key: total, requests: 2, per: 1h, match: {methods: [POST], paths: ['/buy/*']}}";
    let mesh = under(pair(app.address), &format!("limits: [{one}]"));
    let buy = |path: &str| plain(&mesh).ask(post(path, b"x")).status();
    assert_eq!([buy("/buy/a"), buy("/buy//b"), buy("/x/../%62uy/c")], [200, 200, 429]);
    assert_eq!(plain(&mesh).ask(get("/buy/a")).status(), 200);
    let more = format!("limits: [{{key: ip, requests: 5, per: 1h}}, {one}]");
    turn(&mesh, &more, "5 requests in 3600s for each ip");
    assert_eq!((buy("/buy/d"), buy("/sell/d")), (429, 200));
    turn(&mesh, "limits: [{key: total, requests: 9, per: 1h}]", "9 requests in 3600s in all");
    assert_eq!(buy("/buy/d"), 200);
    mesh.govern(&resources("limits: [{key: everybody, requests: 9, per: 1h}]"));
    mesh.inbound().await_log("expected one of total, identity, ip");
    assert_eq!(rates(&mesh)[0]["says"], "9 requests in 3600s in all", "the last good one stays");
}

#[test]
fn where_a_limit_asks_for_http_nothing_else_gets_round_it() {
    let app = App::raw(|mut wire| {
        let _ = wire.try_take(4);
        let _ = wire.try_send("pong");
    });
    let mesh = under(Pair::at(app.address), "limits: [{key: total, requests: 1, per: 1h}]");
    assert_eq!(plain(&mesh).send("ping").take(4), b"pong", "it says nothing of opaque bytes");
    turn(
        &mesh,
        "limits: [{key: 'header:a', requests: 1, per: 1h}]",
        "1 requests in 3600s for each header:a",
    );
    let mut wire = plain(&mesh);
    wire.send("ping");
    assert!(wire.try_take(4).is_err(), "it would not be counted");
}

#[tokio::test]
async fn grpc_callers_are_told_in_their_own_way() {
    let app = H2App::start(|request, mut respond| async move {
        let _ = drain(&mut request.into_body()).await;
        let answer = http::Response::builder()
            .header("content-type", "application/grpc")
            .header("grpc-status", "0");
        let _ = respond.send_response(answer.body(()).expect("a response"), true);
    });
    let limit = "limits: [{key: total, requests: 1, per: 1h, match: {paths: ['/t.T/Unary']}}]";
    let mesh = Pair::at(app.address).declared("grpc").inbound_resources(&resources(limit)).start();
    let client = H2Client::connect(mesh.service).await;
    let ask = || grpc_request("/t.T/Unary").body(()).expect("a request");
    let first = client.call(ask(), &[b"1"]).await;
    assert_eq!((first.status, first.grpc_status()), (200, Some("0")));
    assert_eq!(first.header("ratelimit-remaining"), Some("0"));
    let refused = client.call(ask(), &[b"1"]).await;
    assert_eq!((refused.status, refused.grpc_status()), (200, Some("8")));
    let said = refused.grpc_message().expect("a sentence");
    assert!(said.contains("RateLimitPolicy default/api"), "{said}");
    let wait: u64 = refused.header("retry-after").expect("it says when").parse().expect("seconds");
    let pushback = refused.header("grpc-retry-pushback-ms").expect("it says when");
    assert!(wait > 3_500 && pushback.parse::<u64>().expect("milliseconds") > 3_500_000);
}

/// As many values of a header as anybody has time for. A short run sends too few to fill the table.
#[test]
fn a_flood_of_keys_costs_little_and_flushes_nobody() {
    let is_long = std::env::var_os("OUTRIGGER_LONG").is_some();
    let count: usize = if is_long { 150_000 } else { 5_000 };
    let app = App::ok();
    let spec = "limits: [{key: 'header:x-user', requests: 1, per: 1h}]";
    let mesh = under(pair(app.address), spec);
    let known = || plain(&mesh).ask(get_with("/", "x-user: known\r\n")).status();
    assert_eq!((known(), known()), (200, 429));
    let before = mesh.inbound().rss_kib();
    std::thread::scope(|scope| {
        for part in 0..4 {
            let mesh = &mesh;
            scope.spawn(move || {
                let mut wire = plain(mesh);
                for n in (part..count).step_by(4) {
                    let status = wire.ask(get_with("/", &format!("x-user: u{n}\r\n"))).status();
                    assert!(status == 200 || is_long && status == 429, "{status}");
                }
            });
        }
    });
    let grown = mesh.inbound().rss_kib().saturating_sub(before);
    let keys = mesh.inbound().json("/policies")["limits"]["keys"].clone();
    println!("{count} values: {grown} KiB more, keys {keys}");
    assert!(grown < 24 * 1024, "{grown} KiB");
    assert!(keys["held"].as_u64() <= keys["most"].as_u64(), "{keys}");
    assert_eq!(known(), 429, "what it has used up is known still");
}
