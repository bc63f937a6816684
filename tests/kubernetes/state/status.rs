//! Statuses in the cluster: ours beside those of others, once and no more, and right after a race.

use std::sync::Arc;

use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::DynamicObject;
use outrigger::control::kube::status::{
    CONTROLLER, Instead, Kind, Picture, Reading, Subject, Verdicts, write,
};
use outrigger::resources::{Origin, parse_documents};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::cluster::{Cluster, cluster, eventually};

const GROUP: &str = "gateway.networking.k8s.io";

async fn with_routes() -> Option<Cluster> {
    let cluster = cluster().await?;
    cluster.define(GROUP, "v1", "HTTPRoute", "httproutes").await;
    cluster.define("outrigger.dev", "v1alpha1", "TrafficPolicy", "trafficpolicies").await;
    Some(cluster)
}

fn objects(cluster: &Cluster, kind: Kind) -> Api<DynamicObject> {
    Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &kind.resource())
}

fn service() -> String {
    "apiVersion: v1\nkind: Service\nmetadata: {name: api}\nspec: {ports: [{port: 80}]}\n".into()
}

/// What the reading side would make of what there is, beside the Service.
pub async fn picture(cluster: &Cluster, kinds: &[Kind]) -> Picture {
    let (mut text, mut subjects) = (service(), Vec::new());
    for &kind in kinds {
        for object in objects(cluster, kind).list(&Default::default()).await.expect("listed") {
            let mut manifest = serde_json::to_value(&object).expect("JSON");
            let (status, metadata) = (manifest.as_object_mut().expect("a map"), &object.metadata);
            status.remove("status");
            status.insert("apiVersion".into(), kind.resource().api_version.into());
            status.insert("kind".into(), kind.as_str().into());
            let created = metadata.creation_timestamp.as_ref().map(|at| at.0.to_string());
            manifest["metadata"] = json!({"name": metadata.name, "creationTimestamp": created});
            let alone = parse_documents(&manifest.to_string(), &Origin::file("it"), "default");
            let reading = match alone {
                Ok(_) => {
                    text.push_str(&format!("---\n{manifest}\n"));
                    Reading::Sound
                }
                Err(faults) => Reading::Faulty {
                    faults: faults.iter().map(ToString::to_string).collect(),
                    instead: Instead::Nothing,
                },
            };
            subjects.push(Arc::new(Subject::of(kind, &object, reading).expect("whole")));
        }
    }
    let resources = parse_documents(&text, &Origin::file("all"), &cluster.namespace);
    let verdicts = Arc::new(Verdicts::of(&resources.expect("sound")));
    Picture { subjects, verdicts }
}

pub async fn make(cluster: &Cluster, kind: Kind, name: &str, spec: Value) {
    let mut object = DynamicObject::new(name, &kind.resource());
    object.data = json!({"spec": spec});
    objects(cluster, kind).create(&PostParams::default(), &object).await.expect("made");
}

pub async fn status(cluster: &Cluster, kind: Kind, name: &str) -> (String, Value) {
    let object = objects(cluster, kind).get(name).await.expect("there");
    let version = object.metadata.resource_version.expect("a version");
    (version, object.data["status"].clone())
}

pub fn route(port: u16, backend: &str) -> Value {
    json!({
        "parentRefs": [{"group": "", "kind": "Service", "name": "api", "port": port}],
        "rules": [{"backendRefs": [{"name": backend, "port": 80}]}],
    })
}

/// `type=status/reason` of each condition.
pub fn words(conditions: &Value) -> Vec<String> {
    let word = |c: &Value, of: &str| c[of].as_str().unwrap_or_default().to_owned();
    let line =
        |c: &Value| format!("{}={}/{}", word(c, "type"), word(c, "status"), word(c, "reason"));
    conditions.as_array().into_iter().flatten().map(line).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_is_told_how_it_fares_beside_what_others_tell_it() {
    let Some(cluster) = with_routes().await else { return };
    let kind = Kind::HttpRoute;
    make(&cluster, kind, "sound", route(80, "api")).await;
    make(&cluster, kind, "elsewhere", route(81, "api")).await;
    make(&cluster, kind, "nowhere", route(80, "gone")).await;
    make(
        &cluster,
        kind,
        "faulty",
        json!({
            "parentRefs": [{"group": "", "kind": "Service", "name": "api"}],
            "rules": [{"matches": [{"path": {"type": "RegularExpression", "value": "("}}]}],
        }),
    )
    .await;
    // Somebody else's entry, and one of ours that is stale.
    let condition = json!({
        "type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
        "lastTransitionTime": "2020-01-01T00:00:00Z",
    });
    let entry = |controller: &str, name: &str| {
        json!({
            "controllerName": controller, "conditions": [condition],
            "parentRef": {"group": "", "kind": "Service", "name": name, "port": 80},
        })
    };
    let parents =
        [entry("example.com/other", "api"), entry(CONTROLLER, "old"), entry(CONTROLLER, "api")];
    let patch = Patch::Merge(json!({"status": {"parents": parents}}));
    let api = objects(&cluster, kind);
    api.patch_status("sound", &PatchParams::default(), &patch).await.expect("written");

    let first = picture(&cluster, &[kind]).await;
    let (tell, pictures) = watch::channel(Arc::new(first.clone()));
    let (lead, is_leader) = watch::channel(false);
    let writing = tokio::spawn(write(cluster.client.clone(), pictures, is_leader));
    lead.send_replace(true);
    let expected = [
        ("sound", vec!["Accepted=True/Accepted", "ResolvedRefs=True/ResolvedRefs"]),
        ("elsewhere", vec!["Accepted=False/NoMatchingParent", "ResolvedRefs=True/ResolvedRefs"]),
        ("nowhere", vec!["Accepted=True/Accepted", "ResolvedRefs=False/BackendNotFound"]),
        ("faulty", vec!["Accepted=False/UnsupportedValue"]),
    ];
    for (name, said) in &expected {
        let (cluster, said) = (&cluster, &said);
        eventually(name, || async move {
            let (_, status) = status(cluster, kind, name).await;
            let parents = status["parents"].as_array().cloned().unwrap_or_default();
            parents.last().is_some_and(|entry| words(&entry["conditions"]) == ***said)
        })
        .await;
    }
    let (_, sound) = status(&cluster, kind, "sound").await;
    assert_eq!(sound["parents"].as_array().map(Vec::len), Some(2), "{sound}");
    assert_eq!(sound["parents"][0], parents[0]);
    let ours = &sound["parents"][1]["conditions"][0];
    assert_eq!(ours["lastTransitionTime"], "2020-01-01T00:00:00Z", "it was true before");
    assert_eq!(ours["observedGeneration"], 1);
    let (_, faulty) = status(&cluster, kind, "faulty").await;
    let message = faulty["parents"][0]["conditions"][0]["message"].as_str().unwrap_or_default();
    assert!(message.contains("spec.rules[0].matches[0].path.value"), "{message}");

    // Neither one's own events nor a picture of before cause another write.
    let mut versions = Vec::new();
    for (name, _) in &expected {
        versions.push(status(&cluster, kind, name).await.0);
    }
    tell.send_replace(Arc::new(first));
    let newer = picture(&cluster, &[kind]).await;
    tell.send_replace(Arc::new(newer.clone()));
    make(&cluster, kind, "last", route(80, "api")).await;
    tell.send_replace(Arc::new(picture(&cluster, &[kind]).await));
    let whole = &cluster;
    eventually("the last one is written", || async move {
        status(whole, kind, "last").await.1["parents"].is_array()
    })
    .await;
    for ((name, _), version) in expected.iter().zip(versions) {
        assert_eq!(status(&cluster, kind, name).await.0, version, "{name}");
    }
    writing.abort();
}

/// The picture is from before somebody else wrote: their entry stays, and ours comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_lost_a_race_is_made_again_from_what_is_there() {
    let Some(cluster) = with_routes().await else { return };
    let kind = Kind::HttpRoute;
    make(&cluster, kind, "route", route(80, "api")).await;
    let before = picture(&cluster, &[kind]).await;
    let other = json!({
        "controllerName": "example.com/other", "conditions": [],
        "parentRef": {"group": "", "kind": "Service", "name": "api", "port": 80},
    });
    let patch = Patch::Merge(json!({"status": {"parents": [other]}}));
    let api = objects(&cluster, kind);
    api.patch_status("route", &PatchParams::default(), &patch).await.expect("written");
    let (_tell, pictures) = watch::channel(Arc::new(before));
    let (_lead, is_leader) = watch::channel(true);
    let writing = tokio::spawn(write(cluster.client.clone(), pictures, is_leader));
    let whole = &cluster;
    eventually("both are there", || async move {
        let (_, status) = status(whole, kind, "route").await;
        let names: Vec<_> = status["parents"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|entry| entry["controllerName"].as_str().unwrap_or_default().to_owned())
            .collect();
        names == ["example.com/other", CONTROLLER]
    })
    .await;
    writing.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_younger_of_two_policies_is_told_of_the_older() {
    let Some(cluster) = with_routes().await else { return };
    let kind = Kind::TrafficPolicy;
    let policy = |name: &str| json!({"targetRefs": [{"kind": "Service", "name": name}]});
    make(&cluster, kind, "a", policy("api")).await;
    make(&cluster, kind, "b", policy("api")).await;
    make(&cluster, kind, "c", policy("gone")).await;
    make(&cluster, kind, "d", json!({"retry": {"maxRetries": "many"}})).await;
    let picture = picture(&cluster, &[kind]).await;
    let (_tell, pictures) = watch::channel(Arc::new(picture));
    let (_lead, is_leader) = watch::channel(true);
    let writing = tokio::spawn(write(cluster.client.clone(), pictures, is_leader));
    let resolved = "ResolvedRefs=True/ResolvedRefs";
    for (name, said) in [
        ("a", vec!["Accepted=True/Accepted", resolved]),
        ("b", vec!["Accepted=False/Conflicted", resolved, "Conflicted=True/Conflicted"]),
        ("c", vec!["Accepted=False/TargetNotFound", resolved]),
        ("d", vec!["Accepted=False/Invalid"]),
    ] {
        let (cluster, said) = (&cluster, &said);
        eventually(name, || async move {
            words(&status(cluster, kind, name).await.1["conditions"]) == **said
        })
        .await;
    }
    writing.abort();
}
