//! Mirrors that hang, refuse, reset, answer slowly or without end: the real request never notices.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::yaml::{http_route, policy, service, workload};
use crate::harness::{Afloat, App, Lone, Wire, eventually, get, post, refused_address};

const RULES: &str = "
- filters: [{type: RequestMirror, requestMirror: {backendRef: {name: mirror, port: 80}}}]
  backendRefs: [{name: echo, port: 80}]
";

/// `echo` before an app, mirrored to another, with more documents.
fn mirrored(app: &App, mirror: SocketAddr, documents: &str) -> Afloat {
    let yaml = service("echo")
        + &workload("echo", "echo", app.address)
        + &service("mirror")
        + &workload("mirror", "mirror", mirror)
        + &http_route("echo", RULES)
        + documents;
    Lone::with(&yaml).start()
}

/// What a mirror does with a connection, once a request began on it.
type Trouble = fn(Wire);

fn hangs(mut wire: Wire) {
    let _ = wire.head();
    let _ = wire.patience(Duration::from_secs(30)).is_over();
}

fn resets(mut wire: Wire) {
    let _ = wire.head();
    wire.reset();
}

fn answers_slowly(mut wire: Wire) {
    while wire.message(false).is_ok() {
        thread::sleep(Duration::from_secs(2));
        let _ = wire.try_send(App::answer("late"));
    }
}

fn floods(mut wire: Wire) {
    let _ = wire.head();
    let _ = wire.try_send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    let chunk = [b"10000\r\n".as_slice(), &vec![b'x'; 0x10000], b"\r\n"].concat();
    while wire.try_send(&chunk).is_ok() {}
}

fn talks_nonsense(mut wire: Wire) {
    let _ = wire.head();
    let _ = wire.try_send("\x00\x01\x02 this is no HTTP\r\n\r\n");
}

const TROUBLES: [(&str, Trouble); 5] = [
    ("hangs", hangs),
    ("resets", resets),
    ("answers slowly", answers_slowly),
    ("floods", floods),
    ("talks nonsense", talks_nonsense),
];

/// Requests with and without a body: all are answered, none waits.
#[track_caller]
fn unharmed(caller: &Afloat, mirror: &str) {
    let mut wire = caller.connect();
    let begun = Instant::now();
    for n in 0..50 {
        let answer = if n % 2 == 0 { wire.ask(get("/")) } else { wire.ask(post("/", &[1; 5000])) };
        assert_eq!(answer.text(), "ok", "the mirror {mirror}, request {n}");
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(6), "the mirror {mirror}: 50 requests took {took:?}");
}

#[test]
fn a_mirror_in_trouble_neither_delays_nor_fails_anything() {
    for (name, trouble) in TROUBLES {
        let (app, mirror) = (App::ok(), App::raw(trouble));
        let caller = mirrored(&app, mirror.address, "");
        unharmed(&caller, name);
        assert_eq!(app.requests().len(), 50);
        eventually("copies came", || mirror.connections() > 0);
        unharmed(&caller, name);
    }
}

#[test]
fn a_mirror_that_refuses_or_has_no_endpoint_harms_nothing() {
    let app = App::ok();
    unharmed(&mirrored(&app, refused_address(), ""), "refuses");
    let yaml =
        service("echo") + &workload("echo", "echo", app.address) + &http_route("echo", RULES);
    unharmed(&Lone::with(&(yaml.clone() + &service("mirror"))).start(), "has no endpoint");
    unharmed(&Lone::with(&yaml).start(), "does not exist");
    assert_eq!(app.requests().len(), 150);
}

#[test]
fn a_mirror_takes_none_of_the_real_services_places() {
    let (app, mirror) = (App::ok(), App::raw(hangs));
    let limits =
        policy("echo", "limits: {maxRequests: 1, maxConnections: 1, maxPendingRequests: 1}");
    unharmed(&mirrored(&app, mirror.address, &limits), "hangs");
}

#[test]
fn a_mirror_has_no_more_copies_under_way_than_its_limits_allow() {
    let (app, mirror) = (App::ok(), App::raw(hangs));
    let limits = policy("mirror", "limits: {maxRequests: 3}");
    let caller = mirrored(&app, mirror.address, &limits);
    unharmed(&caller, "hangs");
    eventually("three copies", || mirror.open_connections() == 3);
    thread::sleep(Duration::from_millis(100));
    assert_eq!(mirror.open_connections(), 3);
}

#[test]
fn a_large_body_is_not_held_for_a_mirror_that_does_not_read() {
    let app = App::http(|request| App::answer(request.body.len().to_string()));
    let mirror = App::raw(hangs);
    let caller = mirrored(&app, mirror.address, "");
    assert_eq!(caller.ask(get("/warm")).status(), 200);
    let before = caller.sidecar.rss_kib();
    let body = vec![b'z'; 48 * 1024 * 1024];
    let begun = Instant::now();
    assert_eq!(caller.ask(post("/", &body)).text(), body.len().to_string());
    let (took, grown) = (begun.elapsed(), caller.sidecar.rss_kib().saturating_sub(before));
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert!(grown < 24 * 1024, "{grown} KiB for a body of 48 MiB");
}

#[test]
fn what_a_mirror_answers_without_end_is_not_held_either() {
    let (app, mirror) = (App::ok(), App::raw(floods));
    let caller = mirrored(&app, mirror.address, "");
    let before = caller.sidecar.rss_kib();
    for _ in 0..5 {
        unharmed(&caller, "floods");
    }
    let grown = caller.sidecar.rss_kib().saturating_sub(before);
    assert!(grown < 32 * 1024, "{grown} KiB");
}

#[test]
fn a_copy_is_sent_once_however_often_the_request_is() {
    let tries = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&tries);
    let app = App::http(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n".to_vec(),
        _ => App::answer("ok"),
    });
    let mirror = App::http(|_| b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n".to_vec());
    let retry = policy("echo", "retry: {statusCodes: [503], backoff: {base: 5ms, max: 5ms}}")
        + &policy("mirror", "retry: {statusCodes: [503], backoff: {base: 5ms, max: 5ms}}");
    let caller = mirrored(&app, mirror.address, &retry);
    assert_eq!(caller.ask(get("/")).text(), "ok");
    assert_eq!(tries.load(Ordering::SeqCst), 2);
    mirror.await_requests(1);
    thread::sleep(Duration::from_millis(100));
    assert_eq!(mirror.requests().len(), 1);
}

#[test]
fn failures_of_a_mirror_are_not_counted_as_the_services() {
    let app = App::ok();
    let caller = mirrored(&app, refused_address(), "");
    unharmed(&caller, "refuses");
    let mut entries = Vec::new();
    eventually("all are logged", || {
        entries = caller.sidecar.access_log();
        entries.len() >= 50
    });
    assert!(entries.iter().all(|entry| entry["attempts"] == 1), "{entries:#?}");
    let labels = ["service=\"echo.default:80\"", "code=\"200\""];
    assert_eq!(caller.sidecar.metric("outrigger_requests_total", &labels), 50.0);
}
