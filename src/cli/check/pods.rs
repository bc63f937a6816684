//! Which pods should have a sidecar and have none, and which have an old one.
//!
//! A webhook that is away, or that came later than the pod, leaves no trace but the pod's date. The
//! reason is found by comparing it with the date on which its namespace opted in and the one on
//! which the webhook was registered.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::cluster::Cluster;
use super::finding::Finding;
use super::place::{annotation, created, items, label, name, text};
use crate::control::inject::{EXEMPT, INJECT, INJECTED, has_sidecar};
use crate::control::kube::webhook::INJECTOR;

const UNMESHED: &str = "pods";
const SIDECARS: &str = "sidecars";

/// Pods that are named one by one; arbitrary.
const SHOWN: usize = 50;

pub(super) async fn check(cluster: &Cluster) -> Vec<Finding> {
    match look(cluster).await {
        Ok(found) => found,
        Err(why) => vec![Finding::remark(UNMESHED, why, "ask for the right to list pods")],
    }
}

async fn look(cluster: &Cluster) -> Result<Vec<Finding>, String> {
    let path =
        format!("/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{INJECTOR}");
    let registered = cluster.object(&path).await?.as_ref().and_then(created);
    let namespaces = cluster.list("/api/v1/namespaces").await?;
    let pods = cluster.list("/api/v1/pods").await?;
    let mut all = unmeshed(&namespaces, &pods, registered);
    all.extend(sidecars(&pods));
    Ok(all)
}

/// The pods that were to have a sidecar.
pub(super) fn unmeshed(
    namespaces: &[Value],
    pods: &[Value],
    registered: Option<Timestamp>,
) -> Vec<Finding> {
    let by_name: BTreeMap<&str, &Value> = namespaces.iter().map(|of| (name(of), of)).collect();
    let (mut all, mut meshed, mut out) = (Vec::new(), 0_usize, 0_usize);
    for pod in pods.iter().filter(|pod| !is_over(pod)) {
        if has_sidecar(&pod["spec"]) {
            meshed += 1;
            continue;
        }
        let namespace = by_name.get(text(&pod["metadata"]["namespace"])).copied();
        match why(namespace.unwrap_or(&Value::Null), pod, registered) {
            Some(Lack::OptedOut) => out += 1,
            Some(Lack::Mend(says, cure)) => all.push(Finding::remark(UNMESHED, says, cure)),
            None => {}
        }
    }
    let more = all.len().saturating_sub(SHOWN);
    all.truncate(SHOWN);
    if more > 0 {
        let cure = "mend those above, and look again";
        all.push(Finding::remark(UNMESHED, format!("and {more} more without a sidecar"), cure));
    }
    if all.is_empty() {
        let opted_out = if out > 0 { format!(", {out} opted out") } else { String::new() };
        let says = format!("{meshed} meshed{opted_out}, none lacks a sidecar");
        all.push(Finding::fine(UNMESHED, says));
    }
    all
}

fn is_over(pod: &Value) -> bool {
    ["Succeeded", "Failed"].contains(&text(&pod["status"]["phase"]))
}

enum Lack {
    /// It says so itself.
    OptedOut,
    /// What is the matter, and the cure.
    Mend(String, String),
}

/// Why a pod has no sidecar; `None` when nobody wanted one.
fn why(namespace: &Value, pod: &Value, registered: Option<Timestamp>) -> Option<Lack> {
    let own = [label(pod, INJECT), annotation(pod, INJECT)];
    let asked = own.contains(&"enabled") || label(namespace, INJECT) == "enabled";
    if EXEMPT.contains(&name(namespace)) || !asked {
        return None;
    }
    if own.contains(&"disabled") {
        return Some(Lack::OptedOut);
    }
    let at = format!("{}/{}", name(namespace), name(pod));
    if pod["spec"]["hostNetwork"] == true {
        let cure = format!("it can't be meshed; say so with the label {INJECT}: disabled");
        return Some(Lack::Mend(format!("{at} is in its node's network (hostNetwork)"), cure));
    }
    let born = created(pod);
    let before = |event: Option<Timestamp>| matches!((born, event), (Some(b), Some(e)) if b < e);
    let reason = if before(opted_in(namespace)) {
        "was there before its namespace opted in"
    } else if registered.is_none() || before(registered) {
        "was there before the injector"
    } else {
        "has no sidecar: the injector was away when it was created"
    };
    Some(Lack::Mend(format!("{at} {reason}"), replace(namespace, pod)))
}

/// When the label was last written, as the API server has noted it.
fn opted_in(namespace: &Value) -> Option<Timestamp> {
    let key = format!("f:{INJECT}");
    let wrote = |of: &&Value| !of["fieldsV1"]["f:metadata"]["f:labels"][key.as_str()].is_null();
    let written = items(&namespace["metadata"]["managedFields"]).iter().filter(wrote);
    written.filter_map(|of| text(&of["time"]).parse().ok()).max()
}

/// How a pod is replaced by a new one.
fn replace(namespace: &Value, pod: &Value) -> String {
    let namespace = name(namespace);
    let Some(owner) = items(&pod["metadata"]["ownerReferences"]).first() else {
        return format!(
            "nothing replaces it: delete and create it again (kubectl delete pod {} -n {namespace})",
            name(pod)
        );
    };
    let (kind, of) = (text(&owner["kind"]), text(&owner["name"]));
    match kind {
        "ReplicaSet" => {
            let deployment = of.rsplit_once('-').map_or(of, |(deployment, _)| deployment);
            format!("kubectl rollout restart deployment/{deployment} -n {namespace}")
        }
        "StatefulSet" | "DaemonSet" => {
            let kind = kind.to_ascii_lowercase();
            format!("kubectl rollout restart {kind}/{of} -n {namespace}")
        }
        "Job" => format!("the next run of the job {of} has one"),
        _ => format!("kubectl delete pod {} -n {namespace}", name(pod)),
    }
}

/// Sidecars by release: the control plane's own and the one before work with it.
pub(super) fn sidecars(pods: &[Value]) -> Vec<Finding> {
    let mut by_release: BTreeMap<&str, usize> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| has_sidecar(&pod["spec"]) && !is_over(pod)) {
        *by_release.entry(annotation(pod, INJECTED)).or_default() += 1;
    }
    let cure = "kubectl rollout restart what has them";
    let judge = |(release, count): (&str, usize)| {
        let says = format!(
            "{count} of {}",
            if release.is_empty() { "an unknown release" } else { release }
        );
        match behind(release) {
            Some(0) => Finding::fine(SIDECARS, says),
            Some(1) => Finding::fine(SIDECARS, format!("{says}, the release before")),
            Some(..0) => Finding::remark(
                SIDECARS,
                format!("{says}, which is newer than this program"),
                "upgrade the control plane first, then sidecars",
            ),
            Some(_) => Finding::remark(SIDECARS, format!("{says}, which is too old"), cure),
            None => Finding::remark(SIDECARS, says, cure),
        }
    };
    by_release.into_iter().map(judge).collect()
}

/// How many releases before ours; a patch is no release.
pub(super) fn behind(release: &str) -> Option<i64> {
    let parts = |text: &str| -> Option<(i64, i64)> {
        let mut numbers = text.split('.').map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    let (ours, theirs) = (parts(env!("CARGO_PKG_VERSION"))?, parts(release)?);
    if ours.0 == theirs.0 { Some(ours.1 - theirs.1) } else { Some((ours.0 - theirs.0) * 2) }
}
