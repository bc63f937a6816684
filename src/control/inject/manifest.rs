//! Where manifests keep their pods: a Pod is one, a Deployment has a template of one, a List has
//! others inside. What has none passes unchanged, whatever it is.

use serde_json::{Map, Value};

use super::json::{at, below, text};
use super::table::PREFIX;
use super::{Asked, Injected, Outcome, Path, Refusal, Remark, Settings, Skipped, inject};

/// What holds pods, and where: group, kind, steps.
const HOLDERS: [(&str, &str, &[&str]); 9] = [
    ("", "Pod", &[]),
    ("", "ReplicationController", &["spec", "template"]),
    ("", "PodTemplate", &["template"]),
    ("apps", "Deployment", &["spec", "template"]),
    ("apps", "StatefulSet", &["spec", "template"]),
    ("apps", "DaemonSet", &["spec", "template"]),
    ("apps", "ReplicaSet", &["spec", "template"]),
    ("batch", "Job", &["spec", "template"]),
    ("batch", "CronJob", &["spec", "jobTemplate", "spec", "template"]),
];

/// What was found in a document, each with the path to it.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Where, `Deployment web.shop`, and why it is left alone.
    pub skipped: Vec<(Path, String, Skipped)>,
    /// `Deployment web.shop`, and what is remarkable about it.
    pub remarks: Vec<(String, Remark)>,
    pub refusals: Vec<Refusal>,
}

/// Injects every pod of a document in its place.
pub(super) fn inject_all(document: &mut Value, settings: &Settings, findings: &mut Findings) {
    visit(document, &[], settings, findings);
}

fn visit(document: &mut Value, place: &[String], settings: &Settings, findings: &mut Findings) {
    let version = text(document, ["apiVersion"]).unwrap_or_default();
    let group = version.split_once('/').map_or("", |(group, _)| group);
    let kind = &*text(document, ["kind"]).unwrap_or_default().to_owned();
    if group.is_empty() && kind == "List" {
        let items = document.get_mut("items").and_then(Value::as_array_mut);
        for (index, item) in items.into_iter().flatten().enumerate() {
            let mut place = place.to_vec();
            place.extend(["items".to_owned(), index.to_string()]);
            visit(item, &place, settings, findings);
        }
        return;
    }
    let holder = HOLDERS.iter().find(|(of, name, _)| *of == group && *name == kind);
    let Some((.., steps)) = holder else { return };
    let metadata = &document["metadata"];
    let namespace = text(metadata, ["namespace"]).map(str::to_owned);
    let name = shown(kind, metadata, namespace.as_deref());
    if !steps.is_empty() {
        findings.remarks.extend(misplaced(metadata, place, steps).map(|it| (name.clone(), it)));
    }
    let mut place: Path = place.to_vec();
    place.extend(steps.iter().map(|step| (*step).to_owned()));
    let pod = steps.iter().try_fold(document, |value, step| value.get_mut(*step));
    let Some(pod) = pod else {
        let message = format!("is missing: it is what a {kind} makes pods of");
        return findings.refusals.push(Refusal { path: place, message });
    };
    match inject(pod, namespace.as_deref(), Asked::ByHand, settings) {
        Ok(Outcome::Skipped(reason)) => findings.skipped.push((place, name, reason)),
        Ok(Outcome::Injected(Injected { pod: injected, remarks })) => {
            *pod = injected;
            let remarks = remarks.into_iter().map(|Remark { path, message }| {
                (name.clone(), Remark { path: [place.clone(), path].concat(), message })
            });
            findings.remarks.extend(remarks);
        }
        Err(refusals) => {
            let refusals = refusals.into_iter().map(|Refusal { path, message }| {
                let message = format!("{message} ({name})");
                Refusal { path: [place.clone(), path].concat(), message }
            });
            findings.refusals.extend(refusals);
        }
    }
}

/// What is said of a Deployment is not said of its pods.
fn misplaced<'v>(
    metadata: &'v Value,
    place: &'v [String],
    steps: &'v [&str],
) -> impl Iterator<Item = Remark> + 'v {
    ["labels", "annotations"].into_iter().flat_map(move |kind| {
        let keys = at(metadata, kind).and_then(Value::as_object).into_iter().flat_map(Map::keys);
        keys.filter(|key| key.starts_with(PREFIX)).map(move |key| Remark {
            path: below(place, ["metadata", kind, key]),
            message: format!(
                "has no effect here, but at the pods: under {}.metadata.{kind}",
                steps.join(".")
            ),
        })
    })
}

/// `Deployment web.shop`
fn shown(kind: &str, metadata: &Value, namespace: Option<&str>) -> String {
    let generated = || at(metadata, "generateName").and_then(Value::as_str);
    let name = text(metadata, ["name"]).or_else(generated).unwrap_or("without a name");
    match namespace {
        Some(namespace) => format!("{kind} {name}.{namespace}"),
        None => format!("{kind} {name}"),
    }
}
