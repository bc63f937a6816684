//! What the API server asks, and what it is told: whole reviews, without the wire.

use std::process::Command;

use serde_json::{Value, json};

use super::super::Injector;
use super::{annotated, by_hand, patched, plain_pod, settings};
use crate::control::webhook::Judge;
use crate::resources::Labels;
use crate::telemetry::metrics::{Format, Registry};

pub(super) fn injector() -> Injector {
    let labels = |namespace: &str| match namespace {
        "shop" => Some(Labels::from([("outrigger.dev/inject".into(), "enabled".into())])),
        "quiet" => Some(Labels::new()),
        _ => None,
    };
    Injector::new(settings(), Box::new(labels))
}

pub(super) fn review(pod: &Value, namespace: &str) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": namespace,
            "operation": "CREATE",
            "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
            "object": pod,
            "oldObject": null,
            "dryRun": true,
        },
    })
}

fn answer(review: &Value) -> Value {
    let answer = injector().review(review.to_string().as_bytes()).expect("a review");
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(answer["kind"], "AdmissionReview");
    assert_eq!(answer["response"]["uid"], review["request"]["uid"]);
    answer["response"].clone()
}

/// Decoded by somebody else's base64.
pub(super) fn patch_of(response: &Value) -> Vec<Value> {
    assert_eq!(response["patchType"], "JSONPatch");
    let text = response["patch"].as_str().expect("text");
    let script = format!("printf %s {text} | base64 -d");
    let output = Command::new("sh").args(["-c", &script]).output().expect("a shell");
    let patch: Value = serde_json::from_slice(&output.stdout).expect("JSON in base64");
    patch.as_array().expect("operations").clone()
}

#[test]
fn a_patch_gives_the_pod_that_the_command_prints() {
    let mut pod = plain_pod();
    pod["spec"]["containers"][0]["lifecycle"] = json!({"preStop": {"httpGet": {"port": 80}}});
    let response = answer(&review(&pod, "shop"));
    assert_eq!(response["allowed"], true);
    let injected = by_hand(&pod);
    assert_eq!(patched(&pod, &patch_of(&response)), injected.pod);
    assert_eq!(response["warnings"][0], injected.remarks[0].to_string());
}

#[test]
fn a_pod_that_can_not_be_injected_is_refused_with_the_sentence() {
    let response = answer(&review(&annotated(json!({"outrigger.dev/workers": "x"})), "shop"));
    assert_eq!(response["allowed"], false);
    let message = response["status"]["message"].as_str().expect("a sentence");
    assert!(message.contains("metadata.annotations[\"outrigger.dev/workers\"]"), "{message}");
    let details = &response["status"]["details"];
    assert_eq!((&details["kind"], &details["name"]), (&json!("Pod"), &json!("web")));
    let cause = &details["causes"][0];
    assert_eq!(cause["field"], "metadata.annotations[\"outrigger.dev/workers\"]");
    assert!(message.ends_with(cause["message"].as_str().expect("a sentence")), "{message}");
    let response = answer(&review(&plain_pod(), "unheard-of"));
    assert_eq!(response["allowed"], false, "{response}");
}

#[test]
fn what_was_not_asked_for_stays_as_it_is() {
    let untouched = json!({"allowed": true, "uid": "705ab4f5-6393-11e8-b7cc-42010a800002"});
    assert_eq!(answer(&review(&plain_pod(), "quiet")), untouched);
    assert_eq!(answer(&review(&by_hand(&plain_pod()).pod, "shop")), untouched);
    assert_eq!(answer(&review(&plain_pod(), "kube-system")), untouched);
    for (path, value) in [
        ("/request/operation", json!("UPDATE")),
        ("/request/kind/kind", json!("Deployment")),
        ("/request/kind/group", json!("example.dev")),
    ] {
        let mut other = review(&plain_pod(), "shop");
        *other.pointer_mut(path).expect("there") = value;
        assert_eq!(answer(&other), untouched, "{path}");
    }
    let mut other = review(&plain_pod(), "shop");
    other["request"]["subResource"] = json!("ephemeralcontainers");
    assert_eq!(answer(&other), untouched);
}

#[test]
fn every_answer_is_counted() {
    let registry = Registry::default();
    let injector = injector().counted(&registry);
    let ask = |review: Value| injector.review(review.to_string().as_bytes());
    for (asked, result) in [
        (review(&plain_pod(), "shop"), "injected"),
        (review(&plain_pod(), "quiet"), "skipped"),
        (review(&plain_pod(), "unheard-of"), "refused"),
        (json!({}), "failed"),
    ] {
        let counted = format!("outrigger_control_injections_total{{result=\"{result}\"}} ");
        assert!(registry.render(Format::Prometheus).contains(&(counted.clone() + "0\n")));
        assert_eq!(ask(asked).is_err(), result == "failed");
        assert!(registry.render(Format::Prometheus).contains(&(counted + "1\n")), "{result}");
    }
}

#[test]
fn what_is_no_review_is_said_to_be_none() {
    let mut old = review(&plain_pod(), "shop");
    old["apiVersion"] = json!("admission.k8s.io/v1beta1");
    let without = |path: &str| {
        let mut review = review(&plain_pod(), "shop");
        *review.pointer_mut(path).expect("there") = Value::Null;
        review.to_string()
    };
    let rows = [
        ("pod".to_owned(), "the body is not JSON"),
        ("[".repeat(100_000), "the body is not JSON"),
        ("{}".to_owned(), "expected an AdmissionReview of admission.k8s.io/v1, found nothing"),
        (old.to_string(), "found AdmissionReview of admission.k8s.io/v1beta1"),
        (without("/request"), "lacks request"),
        (without("/request/uid"), "lacks request.uid"),
        (without("/request/object"), "lacks request.object"),
        (without("/request/namespace"), "lacks request.namespace"),
    ];
    for (body, expected) in rows {
        let error = injector().review(body.as_bytes()).expect_err("no review");
        assert!(error.to_string().contains(expected), "{error}");
    }
}
