//! What a policy is about: a service, one of its ports, a route, one of its rules, a namespace, the
//! mesh; and which one counts of several.

use std::thread;
use std::time::Duration;

use crate::harness::grpc::{H2Client, grpc_request};
use crate::harness::h2_app::H2App;
use crate::harness::yaml::{grpc_route, http_route, policy, service, service_of, workload};
use crate::harness::{Afloat, App, Lone, Wire, get};

/// Answers after 300 ms.
fn slow() -> App {
    App::http(|_| {
        thread::sleep(Duration::from_millis(300));
        App::answer("ok")
    })
}

const QUICK: &str = "timeouts: {request: 100ms}";
const PATIENT: &str = "timeouts: {request: 3s}";

/// A policy with this `metadata` and `targetRefs`; no targets without.
fn about(metadata: &str, targets: &str, fields: &str) -> String {
    let targets = match targets {
        "" => String::new(),
        targets => format!("targetRefs: [{targets}]\n"),
    };
    policy("echo", fields)
        .replace("metadata: {name: echo, namespace: default}", &format!("metadata: {{{metadata}}}"))
        .replace("targetRefs: [{kind: Service, name: echo}]\n", &targets)
}

fn started(app: &App, documents: &str) -> Afloat {
    Lone::with(&(service("echo") + &workload("echo", "echo", app.address) + documents)).start()
}

/// Whether a request may take 300 ms.
#[track_caller]
fn has_time(caller: &Afloat, path: &str) -> bool {
    let answer = caller.ask(get(path));
    match answer.status() {
        200 => true,
        status => {
            assert_eq!((status, answer.reason()), (504, Some("request-timeout")));
            false
        }
    }
}

const OF_SERVICE: &str = "{kind: Service, name: echo}";
const DEFAULT: &str = "name: all, namespace: default";
const OTHER: &str = "name: all, namespace: other";
const MESH: &str = "name: all, namespace: outrigger-system";
const OWN: &str = "name: own, namespace: default";

#[test]
fn the_nearer_policy_counts_and_others_namespaces_do_not() {
    let app = slow();
    let cases = [
        (about(OWN, OF_SERVICE, QUICK), false),
        (about(DEFAULT, "", QUICK), false),
        (about(MESH, "", QUICK), false),
        (about(OTHER, "", QUICK), true),
        (about(MESH, "", QUICK) + &about(DEFAULT, "", PATIENT), true),
        (about(MESH, "", PATIENT) + &about(DEFAULT, "", QUICK), false),
        (about(DEFAULT, "", QUICK) + &about(OWN, OF_SERVICE, PATIENT), true),
        (about(MESH, "", QUICK) + &about(OWN, OF_SERVICE, PATIENT), true),
        (about(OWN, "{kind: Service, name: other}", QUICK), true),
    ];
    for (documents, expected) in cases {
        assert_eq!(has_time(&started(&app, &documents), "/"), expected, "{documents}");
    }
}

#[test]
fn each_part_is_taken_whole_from_the_nearest_that_has_it() {
    let app = slow();
    let retry = about(OWN, OF_SERVICE, "retry: {maxRetries: 1}");
    let other_times = about(OWN, OF_SERVICE, "timeouts: {idle: 60s}");
    let all = about(DEFAULT, "", QUICK);
    assert!(
        !has_time(&started(&app, &(all.clone() + &retry)), "/"),
        "another part changes nothing"
    );
    assert!(has_time(&started(&app, &(all + &other_times)), "/"), "a part is not mixed");
}

#[test]
fn of_two_for_the_same_target_the_older_counts_and_the_other_is_marked() {
    let app = slow();
    let aged = |name: &str, year: u16, fields: &str| {
        let age = format!("creationTimestamp: \"{year}-01-01T00:00:00Z\"");
        about(&format!("name: {name}, namespace: default, {age}"), OF_SERVICE, fields)
    };
    let documents = aged("a", 2026, QUICK) + &aged("b", 2024, PATIENT);
    let caller = started(&app, &documents);
    assert!(has_time(&caller, "/"));
    let page = caller.sidecar.get("/policies").text();
    assert!(page.contains("Conflicted"), "{page}");
    // Without an age the name decides.
    let named = |name: &str, fields| {
        about(&format!("name: {name}, namespace: default"), OF_SERVICE, fields)
    };
    assert!(!has_time(&started(&app, &(named("b", PATIENT) + &named("a", QUICK))), "/"));
}

#[test]
fn a_policy_may_be_about_one_port_of_a_service() {
    let app = slow();
    let two = service("echo").replace(
        "[{port: 80, targetPort: app, appProtocol: http}]",
        "[{name: one, port: 80, targetPort: app, appProtocol: http}, \
          {name: two, port: 81, targetPort: app, appProtocol: http}]",
    );
    let of_port = about(OWN, "{kind: Service, name: echo, sectionName: one}", QUICK);
    let yaml = two + &workload("echo", "echo", app.address) + &of_port;
    let caller = Lone::with(&yaml).upstream("echo.default:81").start();
    assert!(!has_time(&caller, "/"));
    assert_eq!(Wire::connect(caller.services[1]).ask(get("/")).status(), 200);
}

#[test]
fn a_policy_may_be_about_a_route_or_one_of_its_rules() {
    let app = slow();
    let rules = "
- name: first
  matches: [{path: {value: /first}}]
  backendRefs: [{name: echo, port: 80}]
- name: second
  backendRefs: [{name: echo, port: 80}]
";
    let route = http_route("shop", rules);
    let of_route =
        |fields| about("name: r, namespace: default", "{kind: HTTPRoute, name: shop}", fields);
    let of_rule = |fields| {
        let target = "{kind: HTTPRoute, name: shop, sectionName: first}";
        about("name: s, namespace: default", target, fields)
    };
    let of_service = |fields| about(OWN, OF_SERVICE, fields);
    // (documents, whether /first and /second have time)
    let cases = [
        (of_route(QUICK), [false, false]),
        (of_rule(QUICK), [false, true]),
        (of_service(QUICK) + &of_route(PATIENT), [true, true]),
        (of_service(PATIENT) + &of_rule(QUICK), [false, true]),
        (of_route(QUICK) + &of_rule(PATIENT), [true, false]),
    ];
    for (documents, expected) in cases {
        let caller = started(&app, &(route.clone() + &documents));
        let found = ["/first", "/second"].map(|path| has_time(&caller, path));
        assert_eq!(found, expected, "{documents}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_may_be_about_a_grpc_route() {
    let silent = H2App::start(|request, mut respond| async move {
        let _body = request.into_body();
        std::future::poll_fn(|cx| respond.poll_reset(cx)).await.ok();
    });
    let rules = "
- name: first
  matches: [{method: {method: First}}]
  backendRefs: [{name: echo, port: 80}]
";
    let yaml = service_of("echo", "grpc")
        + &workload("echo", "echo", silent.address)
        + &grpc_route("calls", rules)
        + &about(OWN, "{kind: GRPCRoute, name: calls, sectionName: first}", QUICK);
    let caller = Lone::with(&yaml).start();
    let client = H2Client::connect(caller.echo()).await;
    let request = grpc_request("/t.T/First").body(()).expect("a request");
    let reply = client.call(request, &[b""]).await;
    assert_eq!((reply.status, reply.grpc_status()), (200, Some("4")), "{reply:?}");
    assert_eq!(reply.header("x-outrigger-reason"), Some("request-timeout"));
}

#[test]
fn requests_to_a_backend_are_balanced_as_its_own_policy_says() {
    let [a, b] = [slow(), App::ok()];
    let yaml = service("echo")
        + &service("v1")
        + &workload("a", "v1", a.address)
        + &workload("b", "v1", b.address)
        + &http_route("echo", "- backendRefs: [{name: v1, port: 80}]")
        + &policy("v1", "loadBalancing: {policy: roundRobin}")
        + &policy("echo", "loadBalancing: {policy: random}");
    let caller = Lone::with(&yaml).start();
    let mut wire = caller.connect();
    for _ in 0..8 {
        assert_eq!(wire.ask(get("/")).text(), "ok");
    }
    assert_eq!([&a, &b].map(|app| app.requests().len()), [4, 4]);
}
