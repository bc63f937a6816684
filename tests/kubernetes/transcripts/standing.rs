//! A status is written back: beside what another controller says, and again from what is there when
//! that one was faster (409).

use std::sync::Arc;

use outrigger::control::kube::status::{CONTROLLER, Kind, write};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::stage::{Scenario, Stage, play};
use crate::state::cluster::Cluster;
use crate::state::status::{make, picture, route, status, words};

pub const SCENARIO: Scenario = Scenario {
    name: "standing",
    of_the_day: &["/status/parents/*/conditions/*/lastTransitionTime"],
};

pub async fn act(stage: &Stage) {
    let (people, kind) = (&stage.people, Kind::HttpRoute);
    people.namespace("shop", &json!({})).await;
    let cluster = Cluster { client: people.0.clone(), namespace: "shop".into() };
    cluster.define("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes").await;
    make(&cluster, kind, "route", route(80, "gone")).await;
    let before = picture(&cluster, &[kind]).await;
    let other = json!({
        "controllerName": "example.com/other", "conditions": [],
        "parentRef": {"group": "", "kind": "Service", "name": "api", "port": 80},
    });
    let path = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes/route/status";
    people.merge(path, &json!({"status": {"parents": [other]}})).await;

    let (tell, pictures) = watch::channel(Arc::new(before));
    let (lead, is_leader) = watch::channel(true);
    let writing = write(stage.mesh.clone(), pictures, is_leader);
    // It leads as long as the stage stands.
    tokio::spawn(async move { (writing.await, tell, lead) });
    let parents = async || -> Vec<Value> {
        let (_, status) = status(&cluster, kind, "route").await;
        status["parents"].as_array().cloned().unwrap_or_default()
    };
    stage.eventually("ours is beside theirs", async || parents().await.len() == 2).await;
    let parents = parents().await;
    assert_eq!(parents[0]["controllerName"], "example.com/other");
    assert_eq!(parents[1]["controllerName"], CONTROLLER);
    let said = ["Accepted=True/Accepted", "ResolvedRefs=False/BackendNotFound"];
    assert_eq!(words(&parents[1]["conditions"]), said);
}

#[test]
fn a_status_that_lost_a_race_is_written_from_what_is_there() {
    play(SCENARIO, act);
}
