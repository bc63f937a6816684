//! Whether what `install` prints is there, and runs.
//!
//! What is looked for is taken from the very source that is printed.

use serde_json::Value;

use super::cluster::Cluster;
use super::finding::Finding;
use super::place::{annotation, items, label, name, path, some_of, text};
use crate::control::install::{self, Group, MESH_DEFAULT, MTLS, NAME, Settings, VERSION};
use crate::model::CONTROL_PLANE_NAMESPACE;

const KINDS: &str = "kinds";
const OBJECTS: &str = "objects";
const CONTROL_PLANE: &str = "control plane";
const POLICY: &str = "mesh policy";

pub(super) async fn check(cluster: &Cluster) -> Vec<Finding> {
    match look(cluster).await {
        Ok(found) => found,
        Err(why) => vec![Finding::failed(CONTROL_PLANE, why, "ask for the right to look")],
    }
}

async fn look(cluster: &Cluster) -> Result<Vec<Finding>, String> {
    let settings = Settings::default();
    let mut all = Vec::new();
    let mut kinds = Vec::new();
    for expected in install::group(Group::Crds, &settings) {
        kinds.push((name(&expected).to_owned(), cluster.object(&path(&expected)).await?));
    }
    all.push(self::kinds(&kinds));
    let mut missing = Vec::new();
    for group in [Group::Namespace, Group::Rights, Group::ControlPlane] {
        for expected in install::group(group, &settings) {
            if cluster.object(&path(&expected)).await?.is_none() {
                missing.push(format!("{} {}", text(&expected["kind"]), name(&expected)));
            }
        }
    }
    all.push(objects(&missing));
    let deployment =
        format!("/apis/apps/v1/namespaces/{CONTROL_PLANE_NAMESPACE}/deployments/{NAME}");
    let Some(deployment) = cluster.object(&deployment).await? else { return Ok(all) };
    let selector = "labelSelector=app.kubernetes.io/component%3Dcontrol-plane";
    let pods = format!("/api/v1/namespaces/{CONTROL_PLANE_NAMESPACE}/pods?{selector}");
    all.push(running(&deployment));
    all.extend(releases(&deployment, &cluster.list(&pods).await?));
    let policy = format!(
        "/apis/outrigger.dev/v1alpha1/namespaces/{CONTROL_PLANE_NAMESPACE}/accesspolicies/{MESH_DEFAULT}"
    );
    all.push(policy_of(&deployment, cluster.object(&policy).await?.as_ref()));
    Ok(all)
}

pub(super) fn kinds(found: &[(String, Option<Value>)]) -> Finding {
    let cure = "outrigger install --crds | kubectl apply -f -";
    let names = |wanted: fn(&Option<Value>) -> bool| -> Vec<&str> {
        found.iter().filter(|(_, of)| wanted(of)).map(|(name, _)| name.as_str()).collect()
    };
    let missing = names(Option::is_none);
    if !missing.is_empty() {
        return Finding::failed(KINDS, format!("{} not there", some_of(&missing)), cure);
    }
    let others = names(|of| of.as_ref().is_some_and(|of| label(of, VERSION) != OURS));
    match others.is_empty() {
        true => Finding::fine(KINDS, format!("all {} are there", found.len())),
        false => Finding::remark(KINDS, format!("{} of another release", some_of(&others)), cure),
    }
}

/// The release of this program.
const OURS: &str = env!("CARGO_PKG_VERSION");

fn objects(missing: &[String]) -> Finding {
    let missing: Vec<&str> = missing.iter().map(String::as_str).collect();
    match missing.is_empty() {
        true => Finding::fine(OBJECTS, "all that install prints is there"),
        false => Finding::failed(
            OBJECTS,
            format!("missing: {}", some_of(&missing)),
            "outrigger install | kubectl apply -f -, with the flags of the installation",
        ),
    }
}

pub(super) fn running(deployment: &Value) -> Finding {
    let wanted = deployment["spec"]["replicas"].as_u64().unwrap_or(1);
    let there = deployment["status"]["availableReplicas"].as_u64().unwrap_or(0);
    let says = format!("{there} of {wanted} replicas are available");
    let conditions = items(&deployment["status"]["conditions"]).iter();
    let why = conditions.filter(|of| text(&of["status"]) != "True").map(|of| text(&of["message"]));
    let says = std::iter::once(says.as_str()).chain(why).collect::<Vec<_>>().join("; ");
    let cure =
        format!("kubectl describe pods -n {CONTROL_PLANE_NAMESPACE}, and their logs, say why");
    match there {
        0 => Finding::failed(CONTROL_PLANE, says, cure),
        _ if there < wanted => Finding::remark(CONTROL_PLANE, says, cure),
        _ => Finding::fine(CONTROL_PLANE, says),
    }
}

/// All replicas of one release, and it is ours.
pub(super) fn releases(deployment: &Value, pods: &[Value]) -> Option<Finding> {
    let mut found: Vec<&str> = pods.iter().map(|pod| label(pod, VERSION)).collect();
    found.sort_unstable();
    found.dedup();
    let wanted = label(deployment, VERSION);
    let about = "releases";
    Some(match found.as_slice() {
        [] => return None,
        [one] if *one == wanted && wanted == OURS => Finding::fine(about, format!("all of {one}")),
        [one] if *one == wanted => Finding::remark(
            about,
            format!("the control plane is of {one}, this program of {OURS}"),
            "use the program of the control plane's release",
        ),
        several => Finding::remark(
            about,
            format!("replicas of {}", several.join(" and ")),
            format!("kubectl rollout status deployment/{NAME} -n {CONTROL_PLANE_NAMESPACE}"),
        ),
    })
}

/// An API server takes it only when it serves its kind, so it may have been lost on the way.
pub(super) fn policy_of(deployment: &Value, policy: Option<&Value>) -> Finding {
    let mtls = |policy: &Value| text(&policy["spec"]["mtls"]).to_owned();
    match (annotation(deployment, MTLS), policy) {
        ("permissive", None) => Finding::failed(
            POLICY,
            format!("{MESH_DEFAULT} is missing, so that workloads refuse plaintext"),
            "outrigger install | kubectl apply -f -; or with --mtls strict, if that is meant",
        ),
        (_, Some(policy)) => Finding::fine(POLICY, format!("{MESH_DEFAULT} says {}", mtls(policy))),
        (_, None) => Finding::fine(POLICY, "strict, unless a policy says otherwise"),
    }
}
