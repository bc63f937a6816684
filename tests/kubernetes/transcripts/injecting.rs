//! The API server calls the injector as `install` registers it, trusts it because the leader wrote
//! our root there, and stores the pod that the injector's patch makes.
//!
//! Without an API server its calls are made again from the transcript, and what our webhook answers
//! must be what it answered when the server stored that pod.

use std::sync::{Arc, PoisonError};

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use outrigger::control::inject::{self, Injector};
use outrigger::control::install;
use outrigger::control::kube::webhook::{INJECTOR, register, serving};
use outrigger::control::webhook::serve;
use outrigger::model::TrustDomain;
use outrigger::resources::Labels;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::applying::authority;
use super::call::{BUNDLE, URL};
use super::stage::{Scenario, Stage, play};
use crate::harness::eventually;

pub const SCENARIO: Scenario = Scenario { name: "injecting", of_the_day: &[URL, BUNDLE] };

fn pod(name: &str, labels: Value) -> Value {
    json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {"serviceAccountName": "default", "containers": [{
            "name": "app", "image": "app",
            "ports": [{"name": "http", "containerPort": 8080}],
            "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}},
        }]},
    })
}

fn sidecar(pod: &Value) -> Option<&Value> {
    let all = pod["spec"]["initContainers"].as_array()?;
    all.iter().find(|container| container["name"] == inject::SIDECAR)
}

/// With this image of the sidecar.
pub async fn act_with(stage: &Stage, image: &str) {
    let people = &stage.people;
    let asks = json!({inject::INJECT: "enabled"});
    let namespace = people.namespace("shop", &asks).await;
    let labels: Labels =
        serde_json::from_value(namespace["metadata"]["labels"].clone()).expect("labels");

    let authority = authority();
    let roots = authority.roots().to_pem();
    let tls = serving(Arc::clone(&authority), vec!["localhost".into()]).expect("a certificate");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let door = stage.door(&tls, listener.local_addr().expect("bound"), &roots).await;
    let settings = inject::Settings {
        proxy_image: image.to_owned(),
        ..inject::Settings::new(TrustDomain::default())
    };
    let namespace_labels = Box::new(move |name: &str| (name == "shop").then(|| labels.clone()));
    let injector = Arc::new(Injector::new(settings, namespace_labels));
    tokio::spawn(serve(listener, tls, vec![("/inject", injector)]));

    let objects = install::objects(&install::Settings::default());
    let is_it = |object: &Value| object["kind"] == "MutatingWebhookConfiguration";
    let mut registration = objects.into_iter().find(is_it).expect("it is installed");
    for webhook in registration["webhooks"].as_array_mut().expect("a list") {
        let url = format!("https://localhost:{}/inject", door.port());
        webhook["clientConfig"] = json!({"url": url});
    }
    let all = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
    people.create(all, &registration).await;
    let (lead, is_leader) = watch::channel(true);
    let registering = register::<MutatingWebhookConfiguration>(
        stage.mesh.clone(),
        "outrigger-system".to_owned(),
        authority,
        is_leader,
    );
    // It leads as long as the stage stands.
    tokio::spawn(async move { (registering.await, lead) });
    let trusts = async || {
        let found = people.read(&format!("{all}/{INJECTOR}")).await;
        let webhooks = found["webhooks"].as_array().cloned().unwrap_or_default();
        webhooks.iter().all(|webhook| webhook["clientConfig"]["caBundle"].is_string())
    };
    stage.eventually("the API server is told whom to trust", &trusts).await;
    let pods = "/api/v1/namespaces/shop/pods";
    let knows = |pod: Value| pod["metadata"]["annotations"][inject::INJECTED].is_string();
    stage
        .aside(async |cluster| {
            let cluster = cluster.lock().unwrap_or_else(PoisonError::into_inner);
            let (path, tried) = (format!("{pods}?dryRun=All"), pod("tried", json!({})));
            let is_called = || cluster.call("POST", &path, &tried).is_ok_and(knows);
            tokio::task::block_in_place(|| eventually("the webhook is called", is_called));
        })
        .await;

    let made = people.create(pods, &pod("web-1", json!({}))).await;
    let sidecar_of = sidecar(&made).unwrap_or_else(|| panic!("no sidecar: {made}"));
    assert_eq!(
        (&sidecar_of["image"], &sidecar_of["restartPolicy"]),
        (&json!(image), &json!("Always"))
    );
    let probe = &made["spec"]["containers"][0]["readinessProbe"]["httpGet"];
    assert_eq!(probe["path"], "/probe/app/readiness", "the sidecar asks in kubelet's place");
    let out = people.create(pods, &pod("web-2", json!({inject::INJECT: "disabled"}))).await;
    assert_eq!(sidecar(&out), None, "it opted out");
    let unclear = pod("web-3", json!({inject::INJECT: "perhaps"}));
    let refused = people.call(("POST", "application/json"), pods, &unclear).await;
    let kube::Error::Api(status) = refused.expect_err("it is not clear what it wants") else {
        panic!("the API server did not answer")
    };
    assert!(status.message.contains("no sidecar can be injected"), "{}", status.message);

    // Somebody applies the manifest anew.
    let anew = json!({"webhooks": registration["webhooks"]});
    people.merge(&format!("{all}/{INJECTOR}"), &anew).await;
    stage.eventually("it is told again", &trusts).await;
}

pub async fn act(stage: &Stage) {
    act_with(stage, "outrigger-proxy:test").await;
}

#[test]
fn a_pod_is_stored_as_the_injector_answers() {
    play(SCENARIO, act);
}
