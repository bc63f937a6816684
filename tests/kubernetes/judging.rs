//! What becomes of mistakes in resources: refused as they are written, where the control plane is asked;
//! and where nobody answers, told in the status, and nobody is let in by them.
//!
//! The API server calls the webhook as it does in a cluster: at its Service's address, by the name in
//! its certificate, trusting what the leader wrote into the registration.

use serde_json::{Value, json};

use super::harness::{App, Cluster, Plane, crd, eventually, pod, service, slice};
use super::install::{collection, installed, level, printed};
use super::serving::joined;

const OWN: &str = "outrigger-system";
const NONE: Value = Value::Null;

/// Where the Service says that the webhook is.
fn webhook(cluster: &Cluster) -> String {
    let path = format!("/api/v1/namespaces/{OWN}/services/outrigger-control-plane");
    let found = cluster.done("GET", &path, &NONE);
    format!("{}:15017", found["spec"]["clusterIP"].as_str().expect("an address"))
}

/// A control plane with the rights that it is given, which serves what arguments say.
fn plane(cluster: &Cluster, arguments: &[&str]) -> Plane {
    let account = cluster.kubeconfig_of(OWN, "outrigger-control-plane");
    let mut plane = Plane::with(account, arguments);
    plane.wait_ready();
    let registration = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    eventually("the API server is told whom to trust", || {
        let found = cluster.done("GET", &format!("{registration}/outrigger-validator"), &NONE);
        let all = found["webhooks"].as_array().cloned().unwrap_or_default();
        all.len() == 2 && all.iter().all(|one| one["clientConfig"]["caBundle"].is_string())
    });
    plane
}

/// Until the API server asks: it follows registrations at its own pace.
#[track_caller]
fn wait_asked(cluster: &Cluster) {
    let bad = object("Workload", "tried", &json!({"address": "10.0.0.1", "adress": "x"}));
    let path = format!("{}?dryRun=All", collection(&bad));
    eventually("the webhook is asked", || cluster.call("POST", &path, &bad).is_err());
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "outrigger.dev/v1alpha1", "kind": kind,
        "metadata": {"name": name, "namespace": "default"}, "spec": spec,
    })
}

/// The sentence of a refusal, and its code.
#[track_caller]
fn refusal(answer: Result<Value, kube::Error>) -> (u16, String) {
    match answer.expect_err("it has a mistake") {
        kube::Error::Api(status) => (status.code, status.message.clone()),
        other => panic!("the API server did not answer: {other}"),
    }
}

#[test]
fn a_mistake_is_refused_as_it_is_written() {
    let Some(cluster) = installed() else { return };
    let _plane = plane(&cluster, &["--webhook-listen", &webhook(&cluster), "--replica", "one"]);
    wait_asked(&cluster);
    let identity = "spiffe://cluster.local/ns/default/sa/web";
    let allow =
        |from: &str| json!({"rules": [{"action": "allow", from: [{"identities": [identity]}]}]});
    let rows = [
        ("AccessPolicy", allow("from"), ""),
        (
            "AccessPolicy",
            allow("fromm"),
            "AccessPolicy row: spec.rules[0]: unknown field `fromm`; did you mean `from`?",
        ),
        (
            "AccessPolicy",
            json!({"selector": {"matchLabels": {"app": "a"}, "matchLabel": {}}}),
            "spec.selector: unknown field `matchLabel`",
        ),
        ("AccessPolicy", json!({"mtls": "strict", "rule": []}), "spec: unknown field `rule`"),
        ("RateLimitPolicy", json!({"limits": [{"key": "ip", "requests": 1, "per": "1s"}]}), ""),
        (
            "RateLimitPolicy",
            json!({"limits": [{"key": "ip", "requests": 1, "per": "1s", "brust": 2}]}),
            "spec.limits[0]: unknown field `brust`; did you mean `burst`?",
        ),
        ("TrafficPolicy", json!({"tls": {"originate": {"sni": "a.example"}}}), ""),
        ("TrafficPolicy", json!({"retry": {"budget": {"ration": 5}}}), "unknown field `ration`"),
        // What no schema says.
        (
            "TrafficPolicy",
            json!({"tls": {"originate": {"snii": "a.example"}}}),
            "spec.tls.originate",
        ),
        ("Workload", json!({"address": "10.0.0.1"}), ""),
    ];
    for (kind, spec, expected) in rows {
        let row = object(kind, "row", &spec);
        // Whatever a client asks the server to look for itself: `kubectl` asks for Strict.
        for validation in ["Strict", "Ignore"] {
            let path = format!("{}?dryRun=All&fieldValidation={validation}", collection(&row));
            let answer = cluster.call("POST", &path, &row);
            if expected.is_empty() {
                answer.unwrap_or_else(|error| panic!("{kind} {spec}: {error}"));
                continue;
            }
            let (code, message) = refusal(answer);
            assert_eq!(code, 422, "{message}");
            assert!(
                message.contains("denied the request") && message.contains(expected),
                "{message}"
            );
        }
    }
    let mut beside = object("AccessPolicy", "row", &json!({"mtls": "permissive"}));
    beside["rules"] = json!([{"action": "deny"}]);
    let (_, message) = refusal(cluster.call("POST", &collection(&beside), &beside));
    assert!(message.contains("unknown field `rules`"), "{message}");

    // An apply on the server's side is judged too, and still knows whose each field is.
    let applied = |spec: &Value, by: &str| {
        let policy = object("AccessPolicy", "applied", spec);
        let path = format!("{}/applied?fieldManager={by}", collection(&policy));
        cluster.call("APPLY", &path, &policy)
    };
    let (code, _) = refusal(applied(&allow("fromm"), "one"));
    assert_eq!(code, 422);
    applied(&json!({"mtls": "strict", "ports": [80]}), "one").expect("sound");
    applied(&json!({"audit": "all"}), "two").expect("another field is another's");
    let (code, message) = refusal(applied(&json!({"audit": "all", "mtls": "permissive"}), "two"));
    assert!(code == 409 && message.contains(".spec.mtls"), "{code} {message}");

    // What `kubectl explain` shows.
    let api = cluster.done("GET", "/openapi/v3/apis/outrigger.dev/v1alpha1", &NONE);
    let kind = &api["components"]["schemas"]["dev.outrigger.v1alpha1.AccessPolicy"];
    let rules = &kind["properties"]["spec"]["properties"]["rules"];
    let from = &rules["items"]["properties"]["from"];
    assert!(from["description"].is_string(), "{rules}");

    let found = printed(&cluster, &["check", "-o", "json"]);
    assert_eq!(level(&found, "validation"), "\"fine\"");
}

#[test]
fn the_writer_of_a_route_that_the_mesh_can_not_act_on_is_warned() {
    let Some(cluster) = installed() else { return };
    let kind = crd("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes");
    cluster.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &kind);
    let path = "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes";
    eventually("routes are served", || cluster.call("GET", path, &NONE).is_ok());
    let _plane = plane(&cluster, &["--webhook-listen", &webhook(&cluster), "--replica", "one"]);
    wait_asked(&cluster);
    let route = |name: &str, parent: &str| {
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": name},
            "spec": {
                "parentRefs": [{"group": "", "kind": parent, "name": "api"}],
                "rules": [{"matches": [{"path": {"type": "RegularExpression", "value": "("}}]}],
            },
        })
    };
    assert_eq!(cluster.warnings(path, &route("a", "Gateway")), [""; 0]);
    let warnings = cluster.warnings(path, &route("b", "Service")).join("\n");
    assert!(warnings.contains("HTTPRoute b: spec.rules[0].matches[0].path.value"), "{warnings}");
}

#[test]
fn what_came_while_nobody_answered_says_so_and_lets_nobody_in() {
    let Some(cluster) = installed() else { return };
    cluster.namespace("away", &["web", "caller"]);
    cluster.create("/api/v1/namespaces/away/services", &service("web"));
    let web = cluster.run_pod("away", &pod("web-1", "web"), &["10.244.7.1"]);
    let caller = cluster.run_pod("away", &pod("caller-1", "caller"), &["10.244.7.9"]);
    let slices = "/apis/discovery.k8s.io/v1/namespaces/away/endpointslices";
    cluster.create(slices, &slice("web-a", "web", &[&web]));
    // Nobody is where the webhook should be.
    let first = plane(&cluster, &["--replica", "one"]);
    let app = App::named("web");
    let _web = joined(&cluster, &first, &web, Some(&app));
    let caller = joined(&cluster, &first, &caller, None);
    let status = || caller.ask("web.away").map(|answer| answer.status);
    eventually("everybody of the mesh may call", || status() == Some(200));

    let policies = "/apis/outrigger.dev/v1alpha1/namespaces/away/accesspolicies";
    let mut policy = object(
        "AccessPolicy",
        "web",
        &json!({"rules": [{"action": "allow", "fromm": [{"namespaces": ["nowhere"]}]}]}),
    );
    policy["metadata"] = json!({"name": "web", "namespace": "away"});
    // Without its mistyped field it would let everybody in.
    let stored = cluster.create(&format!("{policies}?fieldValidation=Strict"), &policy);
    assert_eq!(stored["spec"], policy["spec"], "nothing is dropped");
    eventually("nobody may", || status() == Some(403));
    let path = format!("{policies}/web");
    let said = || {
        let found = cluster.done("GET", &path, &NONE);
        let conditions = found["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let refused = conditions.iter().find(|one| one["type"] == "Accepted");
        refused.filter(|one| one["status"] == "False").map(|one| one["message"].to_string())
    };
    eventually("its status says so", || said().is_some());
    let message = said().expect("it was there");
    let words = ["lets nobody in", "spec.rules[0]: unknown field `fromm`; did you mean `from`?"];
    assert!(words.iter().all(|word| message.contains(word)), "{message}");

    // Somebody answers now. What only the cluster changes passes, and so does a removal.
    let _second = plane(&cluster, &["--webhook-listen", &webhook(&cluster), "--replica", "two"]);
    wait_asked(&cluster);
    let change = json!({"spec": {"audit": "all"}});
    let (_, message) = refusal(cluster.call("PATCH", &path, &change));
    assert!(message.contains("unknown field `fromm`"), "{message}");
    let held = json!({"metadata": {"finalizers": ["example.dev/hold"], "labels": {"a": "b"}}});
    cluster.done("PATCH", &path, &held);
    cluster.done("DELETE", &path, &json!({}));
    let gone =
        || matches!(cluster.call("GET", &path, &NONE), Err(kube::Error::Api(e)) if e.code == 404);
    assert!(!gone(), "a finalizer holds it");
    cluster.done("PATCH", &path, &json!({"metadata": {"finalizers": null}}));
    eventually("it is gone", gone);
    eventually("everybody may again", || status() == Some(200));
}
