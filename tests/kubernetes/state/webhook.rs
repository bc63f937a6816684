//! The API server calls a webhook that serves what the authority certified, and trusts it because
//! its root was written into the registration.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use outrigger::control::kube::webhook::{INJECTOR, register, serving};
use outrigger::runtime::hyper_io::HyperIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::cluster::{cluster, eventually};
use super::trust::authority;

/// Lets everything pass, and counts.
async fn webhook(
    listener: TcpListener,
    tls: Arc<ArcSwap<rustls::ServerConfig>>,
    calls: Arc<AtomicUsize>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, calls) = (TlsAcceptor::from(tls.load_full()), Arc::clone(&calls));
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let answer = service_fn(move |request: Request<Incoming>| {
                let calls = Arc::clone(&calls);
                async move {
                    let body = request.into_body().collect().await.expect("a body").to_bytes();
                    let review: Value = serde_json::from_slice(&body).expect("a review");
                    calls.fetch_add(1, Ordering::Relaxed);
                    let answer = json!({
                        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
                        "response": {"uid": review["request"]["uid"], "allowed": true},
                    });
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(answer.to_string()))))
                }
            });
            let io = HyperIo(stream);
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, answer).await;
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_server_trusts_what_it_was_told_to() {
    let Some(cluster) = cluster().await else { return };
    let authority = authority(&cluster);
    let tls = serving(Arc::clone(&authority), vec!["localhost".into()]).expect("a certificate");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://localhost:{}/", listener.local_addr().expect("bound").port());
    let calls = Arc::new(AtomicUsize::new(0));
    tokio::spawn(webhook(listener, tls, Arc::clone(&calls)));

    let manifest = |name: &str, config: Value| {
        json!({
            "name": name, "clientConfig": config, "sideEffects": "None",
            "admissionReviewVersions": ["v1"], "failurePolicy": "Fail", "timeoutSeconds": 5,
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": cluster.namespace}},
            "rules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
                "resources": ["configmaps"],
            }],
        })
    };
    let mut other = manifest("other.example.com", json!({"url": "https://localhost:1/"}));
    other["rules"] = json!([]);
    let ours = manifest("maps.outrigger.dev", json!({"url": url}));
    let manifest = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": INJECTOR}, "webhooks": [ours, other],
    });
    let api: Api<MutatingWebhookConfiguration> = Api::all(cluster.client.clone());
    let manifest: MutatingWebhookConfiguration =
        serde_json::from_value(manifest).expect("a registration");
    api.create(&PostParams::default(), &manifest).await.expect("made");

    let (_lead, is_leader) = watch::channel(true);
    let client = cluster.client.clone();
    let namespace = cluster.namespace.clone();
    let registering = tokio::spawn(register::<MutatingWebhookConfiguration>(
        client, namespace, authority, is_leader,
    ));
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let mut map = ConfigMap::default();
    map.metadata.generate_name = Some("x-".into());
    let calls = &calls;
    let is_called = |what: &'static str| {
        let (maps, map) = (&maps, &map);
        async move {
            let before = calls.load(Ordering::Relaxed);
            eventually(what, || async {
                let made = maps.create(&PostParams::default(), map).await;
                made.is_ok() && calls.load(Ordering::Relaxed) > before
            })
            .await;
        }
    };
    is_called("the webhook is called").await;
    let now = api.get(INJECTOR).await.expect("there");
    let bundles: Vec<_> = now
        .webhooks
        .iter()
        .flatten()
        .map(|webhook| (webhook.name.as_str(), webhook.client_config.ca_bundle.is_some()))
        .collect();
    assert_eq!(bundles, [("maps.outrigger.dev", true), ("other.example.com", false)]);

    // Somebody applies the manifest anew.
    let without = Patch::Merge(json!({"webhooks": manifest.webhooks}));
    api.patch(INJECTOR, &PatchParams::default(), &without).await.expect("applied");
    eventually("it is put right", || async {
        let now = api.get(INJECTOR).await.expect("there");
        now.webhooks.iter().flatten().any(|webhook| webhook.client_config.ca_bundle.is_some())
    })
    .await;
    is_called("it is called again").await;
    registering.abort();
    api.delete(INJECTOR, &DeleteParams::default()).await.expect("removed");
}
