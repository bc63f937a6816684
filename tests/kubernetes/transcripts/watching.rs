//! The whole cluster is listed and followed; a server that has forgotten where we were says so
//! (410), and what went meanwhile is found missing.

use std::sync::{Arc, PoisonError};

use outrigger::control::catalog::Catalog;
use outrigger::control::kube::Cluster;
use outrigger::model::TrustDomain;
use serde_json::{Value, json};

use super::stage::{Scenario, Stage, play};
use crate::harness::{pod, service, slice};

pub const SCENARIO: Scenario = Scenario { name: "watching", of_the_day: &[] };

fn endpoints(catalog: &Catalog) -> Vec<String> {
    let services = catalog.services();
    let of = services.iter().find(|(served, _)| served.bound.name.to_string() == "web.shop:80");
    let all = of.map(|(served, _)| served.bound.endpoints.as_slice()).unwrap_or_default();
    all.iter().map(|endpoint| endpoint.workload.to_string()).collect()
}

/// How a kind is watched.
fn watched(cluster: &Cluster, kind: &str) -> Value {
    let all = cluster.health.shown();
    let found = all.as_array().into_iter().flatten().find(|one| one["kind"] == kind);
    found.cloned().unwrap_or_default()
}

pub async fn act(stage: &Stage) {
    let people = &stage.people;
    people.namespace("shop", &json!({})).await;
    people.create("/api/v1/namespaces/shop/services", &service("web")).await;
    let first = people.run_pod("shop", &pod("web-1", "web"), "10.244.1.1").await;
    let slices = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices";
    people.create(slices, &slice("web-a", "web", &[&first])).await;

    let catalog = Arc::new(Catalog::new(TrustDomain::default(), 0, &[]));
    let cluster = Cluster::follow(&stage.mesh, &catalog, None);
    stage.eventually("everything was seen", async || cluster.health.missing().is_empty()).await;
    assert_eq!(endpoints(&catalog), ["web-1.shop"]);
    assert_eq!(watched(&cluster, "trafficpolicies")["inCluster"], json!(false));

    let second = people.run_pod("shop", &pod("web-2", "web"), "10.244.1.2").await;
    let both = slice("web-a", "web", &[&first, &second]);
    people.replace(&format!("{slices}/web-a"), &both).await;
    stage.eventually("the change arrives", async || endpoints(&catalog).len() == 2).await;

    stage.way.cut();
    let is_lost = async || watched(&cluster, "pods")["connected"] == json!(false);
    stage.eventually("it is cut off", is_lost).await;
    people.delete("/api/v1/namespaces/shop/pods/web-1").await;
    people.replace(&format!("{slices}/web-a"), &slice("web-a", "web", &[&second])).await;
    assert_eq!(endpoints(&catalog).len(), 2, "what is known stays");
    stage
        .aside(async |cluster| {
            let mut cluster = cluster.lock().unwrap_or_else(PoisonError::into_inner);
            tokio::task::block_in_place(|| {
                cluster.compact();
                cluster.start_api();
            });
        })
        .await;
    stage.mark("the server has forgotten");
    stage.way.mend();
    let is_newest = async || endpoints(&catalog) == ["web-2.shop"];
    stage.eventually("what went is found missing", is_newest).await;
    let is_again = |kind: &str| {
        let watched = watched(&cluster, kind);
        (&watched["lists"], &watched["connected"]) == (&json!(2), &json!(true))
    };
    let kinds = ["services", "endpointslices", "pods", "nodes", "namespaces"];
    let again = async || kinds.into_iter().all(is_again);
    stage.eventually("all was listed again", again).await;
}

#[test]
fn a_cluster_is_followed_and_listed_again_when_it_has_forgotten() {
    play(SCENARIO, act);
}
