//! The core: one pod, injected, skipped or refused.
//!
//! Pure, and over JSON as it came, so that fields which this version doesn't know stay as and where
//! they are. Everything that is wrong is found before anything is changed. Callers: `manifest` with
//! pods and the templates of pods, `webhook` with pods that are being created.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::annotations::{self, INJECTED, Wishes};
use super::json::{at, items, list, map, path, text, wrong};
use super::{EXEMPT, INJECT, Injected, Outcome, Refusal, Remark, Settings, Skipped, VERSION};
use super::{conflicts, probes, rules, sidecar};
use crate::resources::Labels;

/// Who wants the pod injected.
#[derive(Clone, Copy, Debug)]
pub enum Asked<'a> {
    /// A person, for this very manifest: yes, unless the pod says no.
    ByHand,
    /// The API server, for every pod: only if the pod or its namespace, with these labels, says so.
    /// `None` where nothing is known of the namespace: a pod that says nothing is refused then.
    OnCreation(Option<&'a Labels>),
}

/// What kubectl shows and enters when nobody says which.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// What Kubernetes assumes.
const GRACE: Duration = Duration::from_secs(30);

/// Injects a pod, or a template of pods: anything with `metadata` and `spec`. `namespace` is the one
/// it will be created in, if that is known.
///
/// # Errors
/// Everything that is wrong with it, each with the path from the pod on.
pub fn inject(
    pod: &Value,
    namespace: Option<&str>,
    asked: Asked<'_>,
    settings: &Settings,
) -> Result<Outcome, Vec<Refusal>> {
    shape(pod)?;
    if let Some(reason) = skipped(pod, namespace, asked).map_err(|refusal| vec![refusal])? {
        return Ok(Outcome::Skipped(reason));
    }
    let mut refusals = Vec::new();
    let grace = grace(pod, &mut refusals);
    let wishes = annotations::read(&pod["metadata"], grace, settings, &mut refusals);
    conflicts::find(pod, &wishes, &mut refusals);
    let rewritten = probes::rewrite(pod, wishes.rewrite_probes, &mut refusals);
    if !refusals.is_empty() {
        return Err(refusals);
    }
    let mut remarks = rewritten.remarks;
    remarks.extend(other_names(pod, settings));
    let mut injected = rewritten.pod;
    let ends_with_app = sidecar::ends_with_app(&pod["spec"], &wishes);
    let containers = pod["spec"]["containers"].as_array().map_or(0, Vec::len);
    let ends_with = ends_with_app.then_some(containers);
    let proxy = sidecar::container(&wishes, &rewritten.targets, settings, ends_with);
    mark(&mut injected, &wishes);
    if let Some(spec) = injected.get_mut("spec").and_then(Value::as_object_mut) {
        add(spec, proxy, &wishes, ends_with_app);
    }
    Ok(Outcome::Injected(Injected { pod: injected, remarks }))
}

/// Metadata may be absent, a pod's name may not be known yet; a spec is what a pod is.
fn shape(pod: &Value) -> Result<(), Vec<Refusal>> {
    let mut refusals = Vec::new();
    let mut must_be_map = |value: Option<&Value>, at: &[&str]| {
        if let Some(value) = value.filter(|value| !value.is_object()) {
            let path = at.iter().map(|step| (*step).to_owned()).collect();
            refusals.push(wrong(path, "a map", value));
        }
    };
    must_be_map(at(pod, "metadata"), &["metadata"]);
    must_be_map(Some(&pod["spec"]), &["spec"]);
    for kind in ["labels", "annotations"] {
        must_be_map(at(&pod["metadata"], kind), &["metadata", kind]);
    }
    must_be_map(at(&pod["spec"], "securityContext"), &["spec", "securityContext"]);
    let spec = path(["spec"]);
    if items(&pod["spec"], "containers", &spec, &mut refusals).is_empty() && refusals.is_empty() {
        let message = "names no container: there is nothing to stand beside".into();
        refusals.push(Refusal { path: path(["spec", "containers"]), message });
    }
    items(&pod["spec"], "initContainers", &spec, &mut refusals);
    items(&pod["spec"], "volumes", &spec, &mut refusals);
    if refusals.is_empty() { Ok(()) } else { Err(refusals) }
}

fn skipped(
    pod: &Value,
    namespace: Option<&str>,
    asked: Asked<'_>,
) -> Result<Option<Skipped>, Refusal> {
    let (metadata, spec) = (&pod["metadata"], &pod["spec"]);
    let namespace = namespace.or_else(|| text(metadata, ["namespace"]));
    if let Some(exempt) = namespace.filter(|name| EXEMPT.contains(name)) {
        return Ok(Some(Skipped::Exempt(exempt.to_owned())));
    }
    if annotations::is_marked(metadata) || sidecar::is_in(spec) {
        return Ok(Some(Skipped::Already));
    }
    let wanted = match (annotations::choice(metadata)?, asked) {
        (Some(choice), _) => choice,
        (None, Asked::ByHand) => true,
        (None, Asked::OnCreation(labels)) => match of_namespace(labels)? {
            Some(choice) => choice,
            None => return Ok(Some(Skipped::NotAsked)),
        },
    };
    let reason = if !wanted {
        Some(Skipped::OptedOut)
    } else if spec["hostNetwork"] == true {
        Some(Skipped::HostNetwork)
    } else if text(metadata, ["annotations", "kubernetes.io/config.mirror"]).is_some() {
        Some(Skipped::Static)
    } else if text(spec, ["os", "name"]) == Some("windows") {
        Some(Skipped::Windows)
    } else {
        None
    };
    Ok(reason)
}

/// What the namespace says, if it does.
fn of_namespace(labels: Option<&Labels>) -> Result<Option<bool>, Refusal> {
    let Some(labels) = labels else {
        let message = "nothing is known of its namespace yet, and the pod itself doesn't say \
                       whether it wants a sidecar: try again, or label the pod";
        return Err(Refusal { path: Vec::new(), message: message.into() });
    };
    let said = labels.get(INJECT);
    let said = said.map(|value| annotations::enabled(&json!(value), Vec::new())).transpose();
    said.map_err(|Refusal { path, message }| {
        let message = format!(
            "the namespace's label outrigger.dev/inject: {message}; correct it, or label the pod"
        );
        Refusal { path, message }
    })
}

fn grace(pod: &Value, refusals: &mut Vec<Refusal>) -> Duration {
    match at(&pod["spec"], "terminationGracePeriodSeconds") {
        None => GRACE,
        Some(value) => value.as_u64().map(Duration::from_secs).unwrap_or_else(|| {
            let path = path(["spec", "terminationGracePeriodSeconds"]);
            refusals.push(wrong(path, "a number of seconds", value));
            GRACE
        }),
    }
}

/// A sidecar looks names up as its app does.
fn other_names(pod: &Value, settings: &Settings) -> Option<Remark> {
    let policy = text(&pod["spec"], ["dnsPolicy"]).filter(|it| ["Default", "None"].contains(it))?;
    let host = settings.control_plane.rsplit_once(':').map_or("", |(host, _)| host);
    let is_name = host.trim_matches(['[', ']']).parse::<IpAddr>().is_err();
    is_name.then(|| Remark {
        path: path(["spec", "dnsPolicy"]),
        message: format!("with {policy}, the sidecar may not find the control plane, {host}"),
    })
}

/// Says that it is injected, and with what.
fn mark(pod: &mut Value, wishes: &Wishes) {
    let first = pod["spec"]["containers"][0]["name"].as_str().map(str::to_owned);
    let Some(pod) = pod.as_object_mut() else { return };
    let annotations = map(map(pod, "metadata"), "annotations");
    annotations.insert(INJECTED.into(), VERSION.into());
    // The sidecar of the classic form is the first container, which kubectl would take.
    if let (false, Some(first)) = (wishes.native, first) {
        annotations.entry(DEFAULT_CONTAINER).or_insert_with(|| first.into());
    }
}

fn add(spec: &mut Map<String, Value>, proxy: Value, wishes: &Wishes, ends_with_app: bool) {
    let rules = (!wishes.skip_init).then(|| rules::container(wishes));
    if wishes.native {
        list(spec, "initContainers").splice(0..0, rules.into_iter().chain([proxy]));
    } else {
        if ends_with_app {
            // It leaves when it sees no process of the others any more.
            spec.insert("shareProcessNamespace".into(), true.into());
        }
        // Last: under the rules, and with no sidecar yet, the others would have no network.
        if let Some(rules) = rules {
            list(spec, "initContainers").push(rules);
        }
        list(spec, "containers").insert(0, proxy);
    }
    list(spec, "volumes").extend(sidecar::volumes());
}
