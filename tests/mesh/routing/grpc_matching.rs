//! gRPC calls: which rule takes one, what refused ones are told, shares and filters.

use bytes::Bytes;
use http::{HeaderMap, Request, Response};

use crate::harness::grpc::{H2Client, Reply, drain, frame, grpc_request, send_all};
use crate::harness::h2_app::H2App;
use crate::harness::yaml::{grpc_route, http_route, service_of, workload};
use crate::harness::{Afloat, Lone};

/// Answers each call with its name, in a message and in the header `x-app`.
fn server(name: &'static str) -> H2App {
    H2App::start(move |request, mut respond| async move {
        let _ = drain(&mut request.into_body()).await;
        let head = Response::builder().header("content-type", "application/grpc");
        let head = head.header("x-app", name).body(()).expect("a response");
        let mut send = respond.send_response(head, false).expect("sent");
        send_all(&mut send, &frame(name.as_bytes()), false).await;
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().expect("a value"));
        let _ = send.send_trailers(trailers);
    })
}

struct Scene {
    caller: Afloat,
    apps: Vec<(&'static str, H2App)>,
}

/// Path, metadata, and which app answers or which code the sidecar ends it with.
type Call<'a> = (&'a str, &'a [(&'a str, &'a str)], Result<&'a str, &'a str>);

impl Scene {
    /// `echo` and two more, with these documents.
    fn with(documents: &str) -> Self {
        let apps: Vec<_> = ["echo", "v1", "v2"].map(|name| (name, server(name))).into();
        let one = |(name, app): &(&'static str, H2App)| {
            service_of(name, "grpc") + &workload(name, name, app.address)
        };
        let yaml: String = apps.iter().map(one).collect();
        Self { caller: Lone::with(&(yaml + documents)).start(), apps }
    }

    fn ruled(rules: &str) -> Self {
        Self::with(&grpc_route("echo", rules))
    }

    async fn client(&self) -> H2Client {
        H2Client::connect(self.caller.echo()).await
    }

    fn seen(&self, name: &str) -> Vec<http::request::Parts> {
        let app = self.apps.iter().find(|(of, _)| *of == name).map(|(_, app)| app);
        app.map(H2App::requests).unwrap_or_default()
    }

    /// Makes calls, each of which should become what it says.
    async fn judge(&self, calls: &[Call<'_>]) {
        let client = self.client().await;
        let mut wrong = Vec::new();
        for (path, headers, expected) in calls {
            let reply = client.call(call(path, headers), &[b"hi"]).await;
            let became = outcome(&reply);
            if became.as_deref().map_err(String::as_str) != *expected {
                wrong.push(format!("{path} {headers:?}: {became:?} in place of {expected:?}"));
            }
        }
        assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), calls.len(), wrong.join("\n"));
    }
}

fn call(path: &str, headers: &[(&str, &str)]) -> Request<()> {
    let request = grpc_request(path);
    let request =
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(()).expect("a request")
}

/// Which app answered, or with which code the sidecar did: trailers-only, with a sentence.
fn outcome(reply: &Reply) -> Result<String, String> {
    if let Some(app) = reply.header("x-app") {
        return Ok(app.to_owned());
    }
    let code = reply.headers.get("grpc-status").and_then(|code| code.to_str().ok());
    let code = code.unwrap_or("none in the headers").to_owned();
    let sentence = reply.grpc_message().unwrap_or_default();
    match (reply.status, reply.header("content-type"), sentence.len() > 10) {
        (200, Some("application/grpc"), true) => Err(code),
        other => Err(format!("{code} with {other:?} {sentence:?}")),
    }
}

const UNIMPLEMENTED: Result<&str, &str> = Err("12");
const UNAVAILABLE: Result<&str, &str> = Err("14");

#[tokio::test]
async fn methods_match_exactly_by_service_method_or_both() {
    let rules = "
- matches: [{method: {service: t.Echo, method: Echo}}]
  backendRefs: [{name: v1, port: 80}]
- matches: [{method: {type: Exact, service: t.Echo, method: EchoTwo}}, {method: {service: t.Whole}}]
  backendRefs: [{name: v2, port: 80}]
- matches: [{method: {method: Anywhere}}]
  backendRefs: [{name: v1, port: 80}]
";
    Scene::ruled(rules)
        .judge(&[
            ("/t.Echo/Echo", &[], Ok("v1")),
            ("/t.Echo/EchoTwo", &[], Ok("v2")),
            ("/t.Whole/Any", &[], Ok("v2")),
            ("/some.Other/Anywhere", &[], Ok("v1")),
            ("/t.Echo/EchoThree", &[], UNIMPLEMENTED),
            ("/t.echo/echo", &[], UNIMPLEMENTED),
            ("/t.EchoX/Echo", &[], UNIMPLEMENTED),
            ("/t.Echo/Echo/More", &[], UNIMPLEMENTED),
        ])
        .await;
}

#[tokio::test]
async fn methods_match_by_regular_expressions() {
    let rules = "
- matches: [{method: {type: RegularExpression, service: 't[.][A-Z][a-z]+', method: 'Get.*'}}]
  backendRefs: [{name: v1, port: 80}]
- matches: [{method: {type: RegularExpression, method: '(Put|Delete)'}}]
  backendRefs: [{name: v2, port: 80}]
";
    Scene::ruled(rules)
        .judge(&[
            ("/t.Users/GetAll", &[], Ok("v1")),
            ("/any.Thing/Put", &[], Ok("v2")),
            ("/t.Users/Forget", &[], UNIMPLEMENTED),
            ("/tXUsers/Get", &[], UNIMPLEMENTED),
            ("/any.Thing/PutAll", &[], UNIMPLEMENTED),
        ])
        .await;
}

#[tokio::test]
async fn metadata_match_and_more_of_it_goes_first() {
    let rules = "
- matches: [{headers: [{name: version, value: one}]}]
  backendRefs: [{name: v1, port: 80}]
- matches: [{headers: [{name: Version, value: two}]}]
  backendRefs: [{name: v2, port: 80}]
- matches: [{headers: [{name: version, value: two}, {name: color, value: orange}]}]
  backendRefs: [{name: v1, port: 80}]
- matches:
  - {headers: [{type: RegularExpression, name: color, value: 'gr(e|a)y'}]}
  - {headers: [{name: color, value: blue}]}
  backendRefs: [{name: v2, port: 80}]
";
    Scene::ruled(rules)
        .judge(&[
            ("/t.T/M", &[("version", "one")], Ok("v1")),
            ("/t.T/M", &[("version", "two")], Ok("v2")),
            ("/t.T/M", &[("version", "two"), ("color", "orange")], Ok("v1")),
            ("/t.T/M", &[("version", "two"), ("color", "pink")], Ok("v2")),
            ("/t.T/M", &[("color", "gray")], Ok("v2")),
            ("/t.T/M", &[("color", "blue")], Ok("v2")),
            ("/t.T/M", &[("color", "orange")], UNIMPLEMENTED),
            ("/t.T/M", &[], UNIMPLEMENTED),
        ])
        .await;
}

#[tokio::test]
async fn the_more_specific_method_goes_before_the_more_specific_metadata() {
    let rules = "
- backendRefs: [{name: echo, port: 80}]
- matches: [{headers: [{name: a, value: '1'}, {name: b, value: '1'}]}]
  backendRefs: [{name: v1, port: 80}]
- matches: [{method: {service: t.T, method: M}}]
  backendRefs: [{name: v2, port: 80}]
- matches: [{method: {service: t.T}}]
  backendRefs: [{name: v1, port: 80}]
";
    let both: &[(&str, &str)] = &[("a", "1"), ("b", "1")];
    Scene::ruled(rules)
        .judge(&[
            ("/t.T/M", both, Ok("v2")),
            ("/t.T/Other", &[], Ok("v1")),
            ("/t.Else/M", both, Ok("v1")),
            ("/t.Else/M", &[], Ok("echo")),
        ])
        .await;
}

#[tokio::test]
async fn calls_that_go_nowhere_end_with_a_code_and_a_sentence() {
    let rules = "
- matches: [{method: {method: Unknown}}]
  backendRefs: [{name: nobody, port: 80}]
- matches: [{method: {method: Empty}}]
- matches: [{method: {method: Zero}}]
  backendRefs: [{name: v1, port: 80, weight: 0}]
- matches: [{method: {method: Idle}}]
  backendRefs: [{name: idle, port: 80}]
";
    let scene = Scene::with(&(service_of("idle", "grpc") + &grpc_route("echo", rules)));
    scene
        .judge(&[
            ("/t.T/Unknown", &[], UNAVAILABLE),
            ("/t.T/Empty", &[], UNAVAILABLE),
            ("/t.T/Zero", &[], UNAVAILABLE),
            ("/t.T/Idle", &[], UNAVAILABLE),
            ("/t.T/Nowhere", &[], UNIMPLEMENTED),
        ])
        .await;
    let reply = scene.client().await.call(call("/t.T/Idle", &[]), &[b""]).await;
    assert_eq!(reply.header("x-outrigger-reason"), Some("no-endpoints"));
}

#[tokio::test]
async fn weights_are_exact_for_calls() {
    let rules =
        "- backendRefs: [{name: v1, port: 80, weight: 70}, {name: v2, port: 80, weight: 30}]";
    let scene = Scene::ruled(rules);
    let client = scene.client().await;
    for _ in 0..100 {
        assert_eq!(client.call(call("/t.T/M", &[]), &[b""]).await.grpc_status(), Some("0"));
    }
    let (v1, v2) = (scene.seen("v1").len(), scene.seen("v2").len());
    assert!((69..=71).contains(&v1) && v1 + v2 == 100, "{v1} and {v2}");
}

#[tokio::test]
async fn a_named_rule_is_known_by_its_name() {
    let rules = "
- name: special
  matches: [{method: {service: t.T, method: M}}]
  backendRefs: [{name: v1, port: 80}]
- backendRefs: [{name: v2, port: 80}]
";
    let scene = Scene::ruled(rules);
    scene.judge(&[("/t.T/M", &[], Ok("v1")), ("/t.T/N", &[], Ok("v2"))]).await;
    assert_eq!(scene.caller.sidecar.await_entry("/t.T/M")["route"], "echo.default/special");
}

#[tokio::test]
async fn metadata_are_edited_and_calls_mirrored() {
    let rules = "
- filters:
  - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Set, value: set}], remove: [x-gone]}}
  - {type: ResponseHeaderModifier, responseHeaderModifier: {add: [{name: x-told, value: 'yes'}]}}
  - {type: RequestMirror, requestMirror: {backendRef: {name: v2, port: 80}}}
  backendRefs: [{name: v1, port: 80}]
";
    let scene = Scene::ruled(rules);
    let request = call("/t.T/M", &[("x-set", "old"), ("x-gone", "here")]);
    let reply = scene.client().await.call(request, &[b"hi"]).await;
    assert_eq!((outcome(&reply), reply.header("x-told")), (Ok("v1".into()), Some("yes")));
    crate::harness::grpc::soon("the copy comes", || scene.seen("v2").len() == 1).await;
    for seen in [scene.seen("v1"), scene.seen("v2")] {
        assert_eq!(seen[0].headers["x-set"], "set");
        assert!(!seen[0].headers.contains_key("x-gone"));
        assert_eq!(seen[0].headers["content-type"], "application/grpc");
    }
}

#[tokio::test]
async fn an_http_route_takes_calls_by_their_path() {
    let rules = "
- matches: [{path: {type: Exact, value: /t.T/M}}]
  backendRefs: [{name: v1, port: 80}]
";
    Scene::with(&http_route("echo", rules))
        .judge(&[("/t.T/M", &[], Ok("v1")), ("/t.T/N", &[], UNIMPLEMENTED)])
        .await;
}

#[tokio::test]
async fn a_grpc_route_takes_no_other_requests() {
    let scene = Scene::ruled("- backendRefs: [{name: v1, port: 80}]");
    let request = Request::get("http://echo.default/t.T/M").body(()).expect("a request");
    let client = scene.client().await;
    let (answer, _): (_, h2::SendStream<Bytes>) = client.open(request, true).await;
    let reply = crate::harness::grpc::reply(answer).await;
    assert_eq!((reply.status, reply.header("x-outrigger-reason")), (404, Some("no-route")));
    assert!(scene.seen("v1").is_empty());
}
