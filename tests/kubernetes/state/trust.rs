//! The trust bundle in every namespace, whatever anybody does to it.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use outrigger::control::ca::{Authority, Lifetimes};
use outrigger::control::kube::trust::{CONFIG_MAP, FIELD, spread};
use outrigger::model::TrustDomain;
use serde_json::json;
use tokio::sync::watch;

use super::cluster::{Cluster, cluster, eventually};

pub fn authority(cluster: &Cluster) -> Arc<Authority> {
    let folder = std::env::temp_dir().join(format!(
        "outrigger-trust-{}-{}",
        std::process::id(),
        cluster.namespace
    ));
    let now = std::time::SystemTime::now();
    let authority = Authority::open(&folder, &TrustDomain::default(), Lifetimes::default(), now);
    let authority = authority.expect("an authority");
    std::fs::remove_dir_all(folder).expect("removed");
    Arc::new(authority)
}

/// All of it is one scenario: the ConfigMap is in every namespace of the cluster.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_namespace_has_the_roots() {
    let Some(cluster) = cluster().await else { return };
    let authority = authority(&cluster);
    let pem = authority.roots().to_pem();
    let (lead, is_leader) = watch::channel(false);
    let spreading = tokio::spawn(spread(cluster.client.clone(), authority, is_leader));
    let maps = |namespace: &str| Api::<ConfigMap>::namespaced(cluster.client.clone(), namespace);
    let has = |namespace: String, what: &'static str| {
        let (api, pem) = (maps(&namespace), &pem);
        async move {
            eventually(what, || async {
                let map = api.get_opt(CONFIG_MAP).await.expect("asked").unwrap_or_default();
                let labels = map.metadata.labels.unwrap_or_default();
                map.data.unwrap_or_default().get(FIELD) == Some(pem)
                    && labels
                        .get("outrigger.dev/managed-by")
                        .is_some_and(|by| by == "control-plane")
            })
            .await;
        }
    };
    let own = cluster.namespace.clone();
    assert!(maps(&own).get_opt(CONFIG_MAP).await.expect("asked").is_none(), "nobody leads");
    lead.send_replace(true);
    has(own.clone(), "one that was there").await;
    has("kube-system".into(), "one of the system").await;

    let late = format!("{own}-late");
    cluster.make_namespace(&late).await;
    has(late.clone(), "one that was made").await;

    let edit = json!({"data": {FIELD: "nobody", "theirs": "stays"}, "metadata": {"labels": null}});
    let by = PatchParams::default();
    maps(&own).patch(CONFIG_MAP, &by, &Patch::Merge(edit)).await.expect("edited");
    has(own.clone(), "one that was edited").await;
    let data = maps(&own).get(CONFIG_MAP).await.expect("there").data.unwrap_or_default();
    assert_eq!(data.get("theirs").map(String::as_str), Some("stays"));

    maps(&own).delete(CONFIG_MAP, &DeleteParams::default()).await.expect("removed");
    has(own.clone(), "one that was removed").await;

    // Without a controller manager a namespace never gets further than going away.
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    namespaces.delete(&late, &DeleteParams::default()).await.expect("going");
    maps(&late).delete(CONFIG_MAP, &DeleteParams::default()).await.expect("removed");
    maps(&own).delete(CONFIG_MAP, &DeleteParams::default()).await.expect("removed");
    has(own, "the others are served").await;
    assert!(maps(&late).get_opt(CONFIG_MAP).await.expect("asked").is_none(), "left alone");
    spreading.abort();
}
