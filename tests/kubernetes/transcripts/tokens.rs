//! The API server says whose a token is, and why one is nobody's.
//!
//! The transcript's tokens have no signatures: that they were good is what the server said of them.

use outrigger::control::kube::{Review, ReviewError, Reviewer};
use serde_json::{Value, json};

use super::stage::{Scenario, Stage, play};
use crate::harness::pod;

pub const SCENARIO: Scenario = Scenario { name: "tokens", of_the_day: &[] };

pub async fn act(stage: &Stage) {
    let people = &stage.people;
    people.namespace("shop", &json!({})).await;
    let account = json!({"metadata": {"name": "web"}});
    people.create("/api/v1/namespaces/shop/serviceaccounts", &account).await;
    let gone = people.run_pod("shop", &pod("web-0", "web"), "10.244.1.0").await;
    let pod = people.run_pod("shop", &pod("web-1", "web"), "10.244.1.1").await;
    let token = async |audience: &str, pod: Option<&Value>| {
        let bound = pod.map(|pod| {
            let (name, uid) = (&pod["metadata"]["name"], &pod["metadata"]["uid"]);
            json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid})
        });
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"audiences": [audience], "expirationSeconds": 3600, "boundObjectRef": bound},
        });
        let path = "/api/v1/namespaces/shop/serviceaccounts/web/token";
        let made = people.create(path, &request).await;
        made["status"]["token"].as_str().expect("a token").to_owned()
    };
    let of_gone = token("outrigger", Some(&gone)).await;
    people.delete("/api/v1/namespaces/shop/pods/web-0").await;
    let reviewer = Reviewer(stage.mesh.clone());
    let good = token("outrigger", Some(&pod)).await;
    let bearer = reviewer.review(&good).await.expect("it is good");
    assert_eq!(
        (&*bearer.namespace, &*bearer.service_account, &*bearer.pod, &*bearer.uid),
        ("shop", "web", "web-1", pod["metadata"]["uid"].as_str().expect("a uid"))
    );
    let rows = [
        ("of a pod that is gone", of_gone, "has been invalidated"),
        ("forged", format!("{good}AAAA"), "invalid bearer token"),
        ("for another audience", token("vault", Some(&pod)).await, "invalid bearer token"),
        ("bound to no pod", token("outrigger", None).await, "it is not bound to a pod"),
    ];
    for (what, token, words) in rows {
        let refused = reviewer.review(&token).await.expect_err(what);
        let is_it = matches!(&refused, ReviewError::Refused(why) if why.contains(words));
        assert!(is_it, "{what}: {refused}");
    }
}

#[test]
fn only_a_pods_own_token_for_us_is_somebodys() {
    play(SCENARIO, act);
}
