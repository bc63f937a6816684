//! What the API server asks of resources, and what it is told: whole reviews, without the wire.

use serde_json::{Value, json};

use super::*;
use crate::telemetry::metrics::Format;

const OURS: &str = "outrigger.dev/v1alpha1";
const GATEWAY: &str = "gateway.networking.k8s.io/v1";

fn object(api_version: &str, kind: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {
            "name": "api", "namespace": "shop", "uid": "u", "generation": 1,
            "creationTimestamp": "2026-01-31T12:00:00Z",
            "managedFields": [{"manager": "kubectl", "operation": "Apply"}],
        },
        "spec": spec,
    })
}

fn review(object: &Value, before: &Value) -> Value {
    let word = |name: &str| object[name].as_str().expect("text");
    let (group, version) = word("apiVersion").split_once('/').expect("a group");
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": group, "version": version, "kind": word("kind")},
            "namespace": "shop",
            "operation": if before.is_null() { "CREATE" } else { "UPDATE" },
            "object": object,
            "oldObject": before,
            "dryRun": false,
        },
    })
}

fn answer(review: &Value) -> Value {
    let answer = Validator::default().review(review.to_string().as_bytes()).expect("a review");
    assert_eq!(answer["response"]["uid"], review["request"]["uid"]);
    answer["response"].clone()
}

fn created(kind: &str, spec: &Value) -> Value {
    let group = if kind.ends_with("Route") { GATEWAY } else { OURS };
    answer(&review(&object(group, kind, spec), &Value::Null))
}

fn good() -> Value {
    json!({"allowed": true, "uid": "705ab4f5-6393-11e8-b7cc-42010a800002"})
}

#[test]
fn what_the_decoder_takes_is_let_in_and_what_it_refuses_is_refused_in_its_words() {
    let rows = [
        ("AccessPolicy", json!({"mtls": "strict"}), ""),
        (
            "AccessPolicy",
            json!({"rules": [{"action": "allow", "fromm": [{"namespaces": ["shop"]}]}]}),
            "AccessPolicy api: spec.rules[0]: unknown field `fromm`; did you mean `from`?",
        ),
        (
            "AccessPolicy",
            json!({"rules": [{"action": "allow", "from": [{"identity": "a"}]}]}),
            "spec.rules[0].from[0]: unknown field `identity`",
        ),
        ("AccessPolicy", json!({"mtsl": "strict"}), "spec: unknown field `mtsl`"),
        ("RateLimitPolicy", json!({"limits": [{"key": "total", "requests": 5, "per": "1s"}]}), ""),
        (
            "RateLimitPolicy",
            json!({"limits": [{"key": "all", "requests": 5, "per": "1s"}]}),
            "RateLimitPolicy api: spec.limits[0].key: ",
        ),
        ("TrafficPolicy", json!({"timeouts": {"request": "1s"}}), ""),
        ("TrafficPolicy", json!({"timeouts": {"request": "soon"}}), "spec.timeouts.request: "),
        ("Workload", json!({"address": "10.0.0.1"}), ""),
        ("Workload", json!({"adress": "10.0.0.1"}), "did you mean `address`?"),
    ];
    for (kind, spec, expected) in rows {
        let response = created(kind, &spec);
        assert_eq!(response["allowed"], expected.is_empty(), "{kind} {spec}: {response}");
        let message = response["status"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(expected), "{kind} {spec}: {message}");
    }
}

#[test]
fn every_fault_is_named_for_people_and_for_programs() {
    let spec = json!({"mtls": "on", "rules": [{"action": "permit"}]});
    let status = created("AccessPolicy", &spec)["status"].clone();
    assert_eq!((&status["code"], &status["reason"]), (&json!(422), &json!("Invalid")));
    let message = status["message"].as_str().expect("a sentence");
    let details = &status["details"];
    assert_eq!((&details["kind"], &details["name"]), (&json!("AccessPolicy"), &json!("api")));
    for (index, field) in ["spec.mtls", "spec.rules[0].action"].into_iter().enumerate() {
        let cause = &details["causes"][index];
        assert_eq!(cause["field"], field, "{details}");
        let said = cause["message"].as_str().expect("a sentence");
        assert!(message.contains(&format!("{field}: {said}")), "{message}");
    }
}

#[test]
fn what_stands_beside_the_spec_is_refused_too() {
    let mut policy = object(OURS, "AccessPolicy", &json!({"mtls": "permissive"}));
    policy["rules"] = json!([{"action": "deny"}]);
    let response = answer(&review(&policy, &Value::Null));
    let message = response["status"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("AccessPolicy api: unknown field `rules`"), "{response}");
}

/// Another program may act on a route that we can't: the Gateway API has a status for that.
#[test]
fn a_routes_writer_is_warned() {
    let route = |parent: &str, path: &str| {
        json!({
            "parentRefs": [{"group": "", "kind": parent, "name": "api"}],
            "rules": [{"matches": [{"path": {"type": "RegularExpression", "value": path}}]}],
        })
    };
    assert_eq!(created("HTTPRoute", &route("Service", "/a.*")), good());
    assert_eq!(created("HTTPRoute", &route("Gateway", "(")), good(), "it is a gateway's");
    let response = created("HTTPRoute", &route("Service", "("));
    assert_eq!(response["allowed"], true);
    let warning = response["warnings"][0].as_str().expect("a sentence");
    assert!(
        warning.starts_with("HTTPRoute api: spec.rules[0].matches[0].path.value: "),
        "{warning}"
    );
}

/// It was there before, or came while nobody answered; what holds it in the cluster must go.
#[test]
fn what_only_the_cluster_changes_is_let_through() {
    let bad = json!({"rules": [{"action": "allow", "fromm": []}]});
    let before = object(OURS, "AccessPolicy", &bad);
    let mut after = before.clone();
    after["metadata"]["finalizers"] = json!([]);
    after["metadata"]["deletionTimestamp"] = json!("2026-02-01T12:00:00Z");
    after["status"] = json!({"conditions": []});
    assert_eq!(answer(&review(&after, &before)), good());
    // Whoever changes what it says mends it, or is told again.
    after["spec"]["mtls"] = json!("strict");
    assert_eq!(answer(&review(&after, &before))["allowed"], false);
    assert_eq!(answer(&review(&before, &after))["allowed"], false, "a field less");
    after["spec"] = json!({"mtls": "strict"});
    assert_eq!(answer(&review(&after, &before)), good());
    let mut beside = object(OURS, "AccessPolicy", &json!({"mtls": "strict"}));
    let before = beside.clone();
    beside["rules"] = json!([]);
    assert_eq!(answer(&review(&beside, &before))["allowed"], false);
}

#[test]
fn what_is_not_asked_for_is_judged_by_nobody() {
    let bad = object(OURS, "AccessPolicy", &json!({"mtsl": "strict"}));
    for (path, value) in [
        ("/request/operation", json!("DELETE")),
        ("/request/operation", json!("CONNECT")),
        ("/request/kind/group", json!("example.dev")),
        ("/request/kind/version", json!("v9")),
        ("/request/kind/kind", json!("Other")),
    ] {
        let mut other = review(&bad, &Value::Null);
        *other.pointer_mut(path).expect("there") = value;
        assert_eq!(answer(&other), good(), "{path}");
    }
    let mut other = review(&bad, &Value::Null);
    other["request"]["subResource"] = json!("status");
    assert_eq!(answer(&other), good());
    let mut gone = review(&bad, &Value::Null);
    gone["request"]["operation"] = json!("DELETE");
    gone["request"]["object"] = Value::Null;
    assert_eq!(answer(&gone), good());
}

#[test]
fn a_name_and_a_namespace_that_are_still_to_come_are_no_fault() {
    let mut policy = object(OURS, "AccessPolicy", &json!({"mtls": "strict"}));
    policy["metadata"] = json!({"generateName": "api-"});
    assert_eq!(answer(&review(&policy, &Value::Null)), good());
}

#[test]
fn what_is_said_is_bounded() {
    let spec: Map<String, Value> =
        (0..500).map(|at| (format!("{at}{}", "x".repeat(900)), json!(1))).collect();
    let response = created("AccessPolicy", &Value::Object(spec));
    let message = response["status"]["message"].as_str().expect("a sentence");
    assert!(message.ends_with("; and 468 more"), "{message}");
    assert!(response.to_string().len() < 3 * FAULTS * LONGEST, "{}", message.len());
}

#[test]
fn what_is_no_question_is_said_to_be_none() {
    let policy = object(OURS, "AccessPolicy", &json!({"mtls": "strict"}));
    let with = |path: &str, value: Value| {
        let mut review = review(&policy, &Value::Null);
        *review.pointer_mut(path).expect("there") = value;
        review.to_string()
    };
    let rows = [
        ("policy".to_owned(), "the body is not JSON"),
        ("{}".to_owned(), "expected an AdmissionReview of admission.k8s.io/v1"),
        (with("/request/object", Value::Null), "lacks request.object"),
        (with("/request/object", json!("policy")), "no object of Kubernetes"),
        (with("/request/object/metadata", json!(1)), "no object of Kubernetes"),
    ];
    for (body, expected) in rows {
        let error = Validator::default().review(body.as_bytes()).expect_err("no question");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn every_answer_is_counted() {
    let registry = Registry::default();
    let validator = Validator::counted(&registry);
    let policy = |spec: Value| object(OURS, "AccessPolicy", &spec);
    let good = policy(json!({"mtls": "strict"}));
    let route = json!({"parentRefs": [{"kind": "Service", "name": "a"}], "rules": [{"bad": 1}]});
    for (asked, result) in [
        (review(&good, &Value::Null), "accepted"),
        (review(&good, &good), "unjudged"),
        (review(&policy(json!({"mtls": "on"})), &good), "refused"),
        (review(&object(GATEWAY, "HTTPRoute", &route), &Value::Null), "warned"),
        (json!({}), "failed"),
    ] {
        let counted = format!("outrigger_control_validations_total{{result=\"{result}\"}} ");
        assert!(registry.render(Format::Prometheus).contains(&(counted.clone() + "0\n")));
        let answer = validator.review(asked.to_string().as_bytes());
        assert_eq!(answer.is_err(), result == "failed");
        assert!(registry.render(Format::Prometheus).contains(&(counted + "1\n")), "{result}");
    }
}
