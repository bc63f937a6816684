//! The API server calls the validator as `install` registers it: it stores what the decoder takes, and
//! tells whoever wrote a mistake of it in the decoder's words. The kinds have no schema here, which
//! would only be one more text to record; `judging` has them as they are installed.
//!
//! Without an API server its calls are made again from the transcript, and what our webhook answers
//! must be what it answered when the server said so.

use std::sync::{Arc, PoisonError};

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use outrigger::control::install;
use outrigger::control::kube::webhook::{VALIDATOR, register, serving};
use outrigger::control::validator::Validator;
use outrigger::control::webhook::{Judge, serve};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::applying::authority;
use super::call::{BUNDLE, URL};
use super::stage::{Scenario, Stage, play};
use crate::harness::{crd, eventually};

pub const SCENARIO: Scenario = Scenario { name: "validating", of_the_day: &[URL, BUNDLE] };

const OURS: &str = "/apis/outrigger.dev/v1alpha1/namespaces/shop";
const JSON: &str = "application/json";

fn object(kind: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "outrigger.dev/v1alpha1", "kind": kind,
        "metadata": {"name": "api"}, "spec": spec,
    })
}

/// Our kinds, served.
async fn define(stage: &Stage) {
    let all = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    for (kind, plural) in [
        ("AccessPolicy", "accesspolicies"),
        ("RateLimitPolicy", "ratelimitpolicies"),
        ("Workload", "workloads"),
    ] {
        let definition = crd("outrigger.dev", "v1alpha1", kind, plural);
        let made = stage.people.create(all, &definition).await;
        let path = format!("{all}/{}", made["metadata"]["name"].as_str().expect("a name"));
        stage
            .eventually("the kind is served", async || {
                let found = stage.people.read(&path).await;
                let conditions = found["status"]["conditions"].as_array().cloned();
                let is_so = |of: &Value| of["type"] == "Established" && of["status"] == "True";
                conditions.unwrap_or_default().iter().any(is_so)
            })
            .await;
    }
}

/// With this one as the validator.
pub async fn act_with(stage: &Stage, judge: Arc<dyn Judge>) {
    let people = &stage.people;
    people.namespace("shop", &json!({})).await;
    define(stage).await;

    let authority = authority();
    let roots = authority.roots().to_pem();
    let tls = serving(Arc::clone(&authority), vec!["localhost".into()]).expect("a certificate");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let door = stage.door(&tls, listener.local_addr().expect("bound"), &roots).await;
    tokio::spawn(serve(listener, tls, vec![("/validate", judge)]));

    let objects = install::objects(&install::Settings::default());
    let is_it = |object: &Value| object["kind"] == "ValidatingWebhookConfiguration";
    let mut registration = objects.into_iter().find(is_it).expect("it is installed");
    for webhook in registration["webhooks"].as_array_mut().expect("a list") {
        let url = format!("https://localhost:{}/validate", door.port());
        webhook["clientConfig"] = json!({"url": url});
    }
    let all = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    people.create(all, &registration).await;
    let (lead, is_leader) = watch::channel(true);
    let registering = register::<ValidatingWebhookConfiguration>(
        stage.mesh.clone(),
        "outrigger-system".to_owned(),
        authority,
        is_leader,
    );
    // It leads as long as the stage stands.
    tokio::spawn(async move { (registering.await, lead) });
    stage
        .eventually("the API server is told whom to trust", async || {
            let found = people.read(&format!("{all}/{VALIDATOR}")).await;
            let webhooks = found["webhooks"].as_array().cloned().unwrap_or_default();
            webhooks.iter().all(|webhook| webhook["clientConfig"]["caBundle"].is_string())
        })
        .await;
    stage
        .aside(async |cluster| {
            let cluster = cluster.lock().unwrap_or_else(PoisonError::into_inner);
            let tried = object("Workload", &json!({"address": "10.0.0.1", "adress": "10.0.0.1"}));
            let path = format!("{OURS}/workloads?dryRun=All");
            let is_called = || cluster.call("POST", &path, &tried).is_err();
            tokio::task::block_in_place(|| eventually("the webhook is called", is_called));
        })
        .await;

    let allow =
        |from: &str| json!({"rules": [{"action": "allow", from: [{"namespaces": ["shop"]}]}]});
    let limit =
        |field: &str| json!({"limits": [{"key": "total", "requests": 5, "per": "1s", field: 9}]});
    let rows = [
        ("AccessPolicy", "accesspolicies", allow("fromm"), "spec.rules[0]: unknown field `fromm`"),
        ("AccessPolicy", "accesspolicies", allow("from"), ""),
        (
            "RateLimitPolicy",
            "ratelimitpolicies",
            limit("brust"),
            "spec.limits[0]: unknown field `brust`",
        ),
        ("RateLimitPolicy", "ratelimitpolicies", limit("burst"), ""),
    ];
    for (kind, plural, spec, expected) in rows {
        let path = format!("{OURS}/{plural}?fieldValidation=Strict");
        let answer = people.call(("POST", JSON), &path, &object(kind, &spec)).await;
        if expected.is_empty() {
            let made = answer.unwrap_or_else(|error| panic!("{kind} {spec}: {error}"));
            assert_eq!(made["spec"], spec, "nothing is dropped");
            continue;
        }
        let kube::Error::Api(status) = answer.expect_err("it has a mistake") else {
            panic!("the API server did not answer")
        };
        let words = ["denied the request", &format!("{kind} api: "), expected];
        assert!(words.iter().all(|word| status.message.contains(word)), "{}", status.message);
    }
    // A good one that is made a bad one, and one of which only a label is changed.
    let path = format!("{OURS}/accesspolicies/api");
    let merge = async |change: Value| people.call(("PATCH", MERGE), &path, &change).await;
    merge(json!({"spec": {"mtsl": "strict"}})).await.expect_err("a mistake");
    merge(json!({"metadata": {"labels": {"a": "b"}}})).await.expect("it says what it said");
}

pub async fn act(stage: &Stage) {
    act_with(stage, Arc::new(Validator::default())).await;
}

const MERGE: &str = "application/merge-patch+json";

#[test]
fn a_mistake_is_told_of_as_it_is_written() {
    play(SCENARIO, act);
}
