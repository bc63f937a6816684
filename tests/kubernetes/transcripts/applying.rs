//! The trust bundle is applied on the server's side: what somebody else holds there is taken over,
//! and whoever applies it again without force is told of the conflict (409).

use std::sync::Arc;
use std::time::SystemTime;

use outrigger::control::ca::{Authority, Lifetimes};
use outrigger::control::kube::trust::{CONFIG_MAP, FIELD, spread};
use outrigger::model::TrustDomain;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::stage::{Scenario, Stage, play};
use crate::harness::Folder;

/// The roots are made for each run.
pub const SCENARIO: Scenario = Scenario { name: "applying", of_the_day: &["/data/ca.pem"] };

/// An authority of this run.
pub fn authority() -> Arc<Authority> {
    let folder = Folder::new("authority");
    let (domain, lives) = (TrustDomain::default(), Lifetimes::default());
    let opened = Authority::open(&folder.path("ca"), &domain, lives, SystemTime::now());
    Arc::new(opened.expect("an authority"))
}

pub async fn act(stage: &Stage) {
    let people = &stage.people;
    people.namespace("shop", &json!({})).await;
    let path = format!("/api/v1/namespaces/shop/configmaps/{CONFIG_MAP}");
    let theirs = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG_MAP},
        "data": {FIELD: "nobody", "theirs": "stays"},
    });
    let apply = async |force: &str| {
        let path = format!("{path}?fieldManager=kubectl{force}");
        people.call(("PATCH", "application/apply-patch+yaml"), &path, &theirs).await
    };
    apply("").await.expect("nobody was there before");

    let authority = authority();
    let pem = authority.roots().to_pem();
    let (lead, is_leader) = watch::channel(true);
    let spreading = spread(stage.mesh.clone(), authority, is_leader);
    // It leads as long as the stage stands.
    tokio::spawn(async move { (spreading.await, lead) });
    let is_right = async |namespace: &str| {
        let path = format!("/api/v1/namespaces/{namespace}/configmaps/{CONFIG_MAP}");
        let found = people.call(("GET", ""), &path, &Value::Null).await.unwrap_or_default();
        found["data"][FIELD] == pem.as_str()
    };
    stage.eventually("the roots are there", async || is_right("shop").await).await;
    stage.eventually("in every namespace", async || is_right("default").await).await;

    let refused = apply("").await.expect_err("the field is another's");
    let kube::Error::Api(status) = refused else { panic!("{refused:?}") };
    assert_eq!(status.code, 409, "{status:?}");
    let words = ["outrigger-control-plane", ".data.ca.pem"];
    assert!(words.iter().all(|word| status.message.contains(word)), "{}", status.message);

    // With force it is theirs for a moment, and then ours again.
    apply("&force=true").await.expect("taken");
    stage.eventually("the roots are there again", async || is_right("shop").await).await;
    assert_eq!(people.read(&path).await["data"]["theirs"], "stays");
}

#[test]
fn the_roots_are_applied_over_what_others_hold() {
    play(SCENARIO, act);
}
