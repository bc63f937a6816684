//! Mirrors: who gets copies, how many, and what is in them.

use crate::harness::yaml::http_route;
use crate::harness::{Afloat, Echoes, Lone, Message, chunked, eventually, get, pattern, post};

/// A rule to `v1` with these mirrors.
fn mirrored(mirrors: &[&str]) -> String {
    let one = |mirror: &&str| format!("{{type: RequestMirror, requestMirror: {{{mirror}}}}}");
    let all: Vec<String> = mirrors.iter().map(one).collect();
    let rules = format!("- filters: [{}]\n  backendRefs: [{{name: v1, port: 80}}]", all.join(", "));
    http_route("echo", &rules)
}

fn start(echoes: &Echoes, mirrors: &[&str]) -> Afloat {
    Lone::with(&echoes.with(&mirrored(mirrors))).start()
}

const TO_V2: &str = "backendRef: {name: v2, port: 80}";
const TO_V3: &str = "backendRef: {name: v3, port: 80}";

/// The copy of a request, when it has come.
#[track_caller]
fn copy(echoes: &Echoes, name: &str, path: &str) -> Message {
    let mut found = None;
    eventually(&format!("{path} comes to {name}"), || {
        let requests = echoes.app(name).requests();
        found = requests.into_iter().find(|seen| seen.target() == path);
        found.is_some()
    });
    found.expect("it was waited for")
}

#[test]
fn a_copy_has_the_method_path_headers_and_body_of_the_request() {
    let echoes = Echoes::four();
    let caller = start(&echoes, &[TO_V2]);
    let body = pattern(40_000);
    let head = "POST /copied?a=b HTTP/1.1\r\nHost: echo.default\r\nX-Mine: 1\r\nContent-Length: 40000\r\n\r\n";
    let answer = caller.ask([head.as_bytes(), &body].concat());
    assert_eq!(answer.text(), "v1", "nobody sees the mirror's answer");
    let copy = copy(&echoes, "v2", "/copied?a=b");
    assert_eq!((copy.method(), copy.header("x-mine")), ("POST", Some("1")));
    assert!(copy.body == body, "{} bytes were copied", copy.body.len());
    assert!(echoes.app("v1").only_request().body == body);
}

#[test]
fn bodies_of_any_shape_are_copied() {
    let echoes = Echoes::four();
    let caller = start(&echoes, &[TO_V2]);
    let mut wire = caller.connect();
    for len in [0, 1, 64 * 1024, 300_000] {
        let body = pattern(len);
        let path = format!("/chunked-{len}");
        wire.send(format!(
            "PUT {path} HTTP/1.1\r\nHost: echo.default\r\nTransfer-Encoding: chunked\r\n\r\n"
        ));
        assert_eq!(wire.send(chunked(&body, &[10_000, 1])).response().text(), "v1");
        let copy = copy(&echoes, "v2", &path);
        assert!(copy.body == body, "{len} bytes came as {}", copy.body.len());
    }
    assert_eq!(wire.ask(get("/get")).text(), "v1");
    assert_eq!(copy(&echoes, "v2", "/get").body, b"");
}

#[test]
fn several_mirrors_get_a_copy_each() {
    let echoes = Echoes::four();
    let caller = start(&echoes, &[TO_V2, TO_V3]);
    let mut wire = caller.connect();
    for n in 0..10 {
        assert_eq!(wire.ask(post(&format!("/{n}"), b"body")).text(), "v1");
    }
    for name in ["v2", "v3"] {
        echoes.app(name).await_requests(10);
        assert!(echoes.app(name).requests().iter().all(|seen| seen.body == b"body"), "{name}");
    }
    assert_eq!(echoes.app("v1").requests().len(), 10);
}

#[test]
fn only_the_share_that_was_asked_for_is_mirrored() {
    let echoes = Echoes::four();
    let shares = [
        format!("{TO_V2}, percent: 20"),
        format!("{TO_V3}, fraction: {{numerator: 1, denominator: 2}}"),
    ];
    let caller = start(&echoes, &[&shares[0], &shares[1]]);
    let mut wire = caller.connect();
    for n in 0..1000 {
        assert_eq!(wire.ask(get(&format!("/{n}"))).text(), "v1");
    }
    wire.ask(get("/last"));
    std::thread::sleep(std::time::Duration::from_millis(200));
    // Five standard deviations: 12.6 and 15.8.
    let (fifth, half) = (echoes.app("v2").requests().len(), echoes.app("v3").requests().len());
    assert!((137..=263).contains(&fifth), "{fifth} of 1000 in place of 200");
    assert!((421..=579).contains(&half), "{half} of 1000 in place of 500");
}

#[test]
fn none_and_all_are_exact() {
    let echoes = Echoes::four();
    let shares = [format!("{TO_V2}, percent: 0"), format!("{TO_V3}, percent: 100")];
    let caller = start(&echoes, &[&shares[0], &shares[1]]);
    let mut wire = caller.connect();
    for n in 0..50 {
        wire.ask(get(&format!("/{n}")));
    }
    echoes.app("v3").await_requests(50);
    assert!(echoes.app("v2").requests().is_empty());
}

#[test]
fn a_copy_is_made_of_the_rewritten_request() {
    let echoes = Echoes::four();
    let rules = format!(
        "
- filters:
  - {{type: RequestHeaderModifier, requestHeaderModifier: {{set: [{{name: x-set, value: set}}]}}}}
  - {{type: URLRewrite, urlRewrite: {{path: {{type: ReplaceFullPath, replaceFullPath: /inner}}}}}}
  - {{type: RequestMirror, requestMirror: {{{TO_V2}}}}}
  backendRefs: [{{name: v1, port: 80}}]
"
    );
    let caller = Lone::with(&echoes.with(&http_route("echo", &rules))).start();
    assert_eq!(caller.ask(get("/outer")).text(), "v1");
    assert_eq!(copy(&echoes, "v2", "/inner").header("x-set"), Some("set"));
}

#[test]
fn a_backends_own_mirror_copies_its_share_alone() {
    let echoes = Echoes::four();
    let rules = format!(
        "
- backendRefs:
  - {{name: v1, port: 80}}
  - {{name: echo, port: 80, filters: [{{type: RequestMirror, requestMirror: {{{TO_V2}}}}}]}}
"
    );
    let caller = Lone::with(&echoes.with(&http_route("echo", &rules))).start();
    let names = caller.names("/", 20);
    let own = names.iter().filter(|name| *name == "echo").count();
    echoes.app("v2").await_requests(own);
    assert_eq!(echoes.app("v2").requests().len(), own, "{names:?}");
}

#[test]
fn a_redirect_and_a_refusal_are_not_mirrored() {
    let echoes = Echoes::four();
    let rules = format!(
        "
- matches: [{{path: {{value: /moved}}}}]
  filters:
  - {{type: RequestMirror, requestMirror: {{{TO_V2}}}}}
  - {{type: RequestRedirect, requestRedirect: {{hostname: example.org}}}}
- matches: [{{path: {{value: /open}}}}]
  filters: [{{type: RequestMirror, requestMirror: {{{TO_V2}}}}}]
  backendRefs: [{{name: v1, port: 80}}]
"
    );
    let caller = Lone::with(&echoes.with(&http_route("echo", &rules))).start();
    assert_eq!(caller.ask(get("/moved")).status(), 302);
    assert_eq!(caller.ask(get("/lost")).reason(), Some("no-route"));
    assert_eq!(caller.ask(get("/open")).text(), "v1");
    copy(&echoes, "v2", "/open");
    assert_eq!(echoes.app("v2").requests().len(), 1);
}
