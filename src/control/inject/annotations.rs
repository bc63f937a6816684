//! What a pod asks of its sidecar: the annotations under `outrigger.dev/`, and what they mean.
//!
//! One table for the code, the manual and its test. A wrong value, and a name that is not in the
//! table, are refused: a pod that starts without what its author wrote is worse than one that does
//! not start. What is read here is only looked at on its own; `conflicts` judges it with the pod.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::json::{at, path, wrong};
use super::table::{PREFIX, names};
use super::values::{self, Amount};
use super::{INJECT, Path, Refusal, Settings, Traces};
use crate::model::APP_LABELS;
use crate::resources::suggestion;

/// Marks an injected pod, with the version.
pub const INJECTED: &str = "outrigger.dev/injected";

/// What a pod asks for, defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wishes {
    pub native: bool,
    pub image: String,
    /// `requests` and `limits`.
    pub resources: Value,
    pub skip_init: bool,
    pub transparent: bool,
    /// Flags of `outrigger-init`, each with its value.
    pub lists: Vec<(&'static str, String)>,
    pub rewrite_probes: bool,
    pub drain_minimum: String,
    pub drain_deadline: String,
    /// Fields of the sidecar's configuration, as environment variables.
    pub environment: Vec<(&'static str, String)>,
}

/// What a pod says of injection itself: by label, by annotation, or not at all.
///
/// # Errors
/// When a value is neither, or the two disagree.
pub(super) fn choice(metadata: &Value) -> Result<Option<bool>, Refusal> {
    let said = |kind| {
        let path = path(["metadata", kind, INJECT]);
        let value = at(metadata, kind).and_then(|named| at(named, INJECT));
        value.map(|value| enabled(value, path)).transpose()
    };
    match (said("labels")?, said("annotations")?) {
        (Some(label), Some(annotation)) if label != annotation => Err(Refusal {
            path: path(["metadata", "annotations", INJECT]),
            message: "contradicts the label of the same name; remove the one or the other".into(),
        }),
        (label, annotation) => Ok(label.or(annotation)),
    }
}

/// `enabled` or `disabled`.
pub(super) fn enabled(value: &Value, path: Path) -> Result<bool, Refusal> {
    match value.as_str() {
        Some("enabled") => Ok(true),
        Some("disabled") => Ok(false),
        _ => Err(wrong(path, "`enabled` or `disabled`", value)),
    }
}

/// All annotations of ours, read; what is wrong joins `refusals`.
pub(super) fn read(
    metadata: &Value,
    grace: Duration,
    settings: &Settings,
    refusals: &mut Vec<Refusal>,
) -> Wishes {
    let none = Map::new();
    let annotations = at(metadata, "annotations").and_then(Value::as_object).unwrap_or(&none);
    unknown(annotations, refusals);
    let mut reader = Reader { annotations, refusals };
    let (drain_minimum, drain_deadline) = drain(&mut reader, grace);
    Wishes {
        native: reader.truth("native-sidecar").unwrap_or(settings.native_sidecars),
        image: reader
            .read("proxy-image", "an image such as outrigger-proxy:1.0.0", values::image)
            .unwrap_or_else(|| settings.proxy_image.clone()),
        resources: resources(&mut reader),
        skip_init: reader.truth("skip-init").unwrap_or(false),
        transparent: reader.word("interception-mode", &["redirect", "tproxy"]) == Some("tproxy"),
        lists: lists(&mut reader),
        rewrite_probes: reader.truth("rewrite-probes").unwrap_or(true),
        drain_minimum,
        drain_deadline,
        environment: environment(&mut reader, metadata, settings),
    }
}

fn unknown(annotations: &Map<String, Value>, refusals: &mut Vec<Refusal>) {
    for key in annotations.keys() {
        let Some(name) = key.strip_prefix(PREFIX) else { continue };
        if names().any(|known| known == name) {
            continue;
        }
        let cure = suggestion(name, names(), || "; remove it".into()).replace('`', "");
        let cure = cure.replace("did you mean ", &format!("did you mean {PREFIX}"));
        let path = path(["metadata", "annotations", key]);
        refusals.push(Refusal { path, message: format!("there is no such annotation{cure}") });
    }
}

fn environment(
    reader: &mut Reader<'_>,
    metadata: &Value,
    settings: &Settings,
) -> Vec<(&'static str, String)> {
    let Traces { otlp_endpoint, sample_ratio } = &settings.traces;
    let levels = &["error", "warn", "info", "debug", "trace"];
    let level = reader.word("log-level", levels).map(str::to_owned);
    let format = reader.word("access-log", &["json", "text", "off"]).map(str::to_owned);
    let workers = reader.read("workers", "a number from 1 to 256, in quotes", |text| {
        text.parse::<u16>().ok().filter(|count| (1..=256).contains(count))
    });
    let workers = workers.map(|count| count.to_string());
    let collector = reader.read("otlp-endpoint", values::URL, values::url);
    let collector = collector.or_else(|| otlp_endpoint.clone());
    let ratio = reader.read("sample-ratio", "a number from 0.0 to 1.0, in quotes", values::ratio);
    let ratio = ratio.or_else(|| sample_ratio.clone());
    let service = collector.as_ref().and_then(|_| service(metadata));
    let all = [
        ("OUTRIGGER_LOG__LEVEL", level),
        ("OUTRIGGER_TELEMETRY__ACCESS_LOG__FORMAT", format),
        ("OUTRIGGER_TELEMETRY__TRACES__OTLP_ENDPOINT", collector),
        ("OUTRIGGER_TELEMETRY__TRACES__SERVICE_NAME", service),
        ("OUTRIGGER_TELEMETRY__TRACES__SAMPLE_RATIO", ratio),
        ("OUTRIGGER_WORKERS", workers),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// What the instances of a pod's app have in common.
fn service(metadata: &Value) -> Option<String> {
    let labels = at(metadata, "labels")?;
    let said = APP_LABELS.map(|name| at(labels, name)?.as_str());
    said.into_iter().flatten().find(|text| !text.is_empty()).map(str::to_owned)
}

fn lists(reader: &mut Reader<'_>) -> Vec<(&'static str, String)> {
    const PORTS: &str = "ports such as 8080,9000-9010";
    const CIDRS: &str = "CIDRs such as 10.0.0.0/8,fd00::/8";
    const NAMES: &str = "names of interfaces such as docker0,net1";
    type Parse = fn(&str) -> Option<String>;
    let rows: [(&str, &str, &str, Parse); 7] = [
        ("include-inbound-ports", "--include-inbound-ports", PORTS, values::ports),
        ("exclude-inbound-ports", "--exclude-inbound-ports", PORTS, values::ports),
        ("include-outbound-ports", "--include-outbound-ports", PORTS, values::ports),
        ("exclude-outbound-ports", "--exclude-outbound-ports", PORTS, values::ports),
        ("include-outbound-cidrs", "--include-outbound-cidrs", CIDRS, values::cidrs),
        ("exclude-outbound-cidrs", "--exclude-outbound-cidrs", CIDRS, values::cidrs),
        ("exclude-interfaces", "--exclude-interfaces", NAMES, values::interfaces),
    ];
    let mut read = |(name, flag, what, parse)| Some((flag, reader.read(name, what, parse)?));
    rows.into_iter().filter_map(|row| read(row)).collect()
}

/// Small: a sidecar of a quiet app needs less than 10 MiB. No limit on CPU, which would only add
/// latency. Arbitrary, but for that.
fn resources(reader: &mut Reader<'_>) -> Value {
    let cpu = amounts(reader, ["cpu-request", "cpu-limit"], ["10m", ""]);
    let memory = amounts(reader, ["memory-request", "memory-limit"], ["16Mi", "128Mi"]);
    let mut limits = Map::new();
    if !cpu[1].is_empty() {
        limits.insert("cpu".into(), json!(cpu[1]));
    }
    limits.insert("memory".into(), json!(memory[1]));
    json!({"requests": {"cpu": cpu[0], "memory": memory[0]}, "limits": limits})
}

/// A request and its limit. A default gives way to what is asked for.
fn amounts(reader: &mut Reader<'_>, names: [&str; 2], defaults: [&str; 2]) -> [String; 2] {
    const WHAT: &str = "a quantity above zero, such as 100m or 64Mi";
    let [request, limit] = names.map(|name| reader.read(name, WHAT, Amount::parse));
    if let (Some(request), Some(limit)) = (&request, &limit)
        && request.value > limit.value
    {
        let message = format!("{} is above {PREFIX}{}: {}", request.text, names[1], limit.text);
        reader.refuse(names[0], message);
    }
    let [low, high] = defaults.map(Amount::parse);
    let (asked_low, asked_high) = (request.clone(), limit.clone());
    let low = request.or(match (low, asked_high) {
        (Some(low), Some(limit)) if low.value > limit.value => Some(limit),
        (low, _) => low,
    });
    let high = limit.or(match (high, asked_low) {
        (Some(high), Some(request)) if request.value > high.value => Some(request),
        (high, _) => high,
    });
    [low, high].map(|amount| amount.map(|amount| amount.text).unwrap_or_default())
}

/// The sidecar has to be gone before the kubelet's patience is: 5 s earlier, where it isn't said.
fn drain(reader: &mut Reader<'_>, grace: Duration) -> (String, String) {
    const WHAT: &str = "a duration such as 500ms, 5s or 1m";
    let second = Duration::from_secs(1);
    let deadline = reader.read("drain-deadline", WHAT, values::duration);
    if let Some((text, length)) = &deadline
        && *length >= grace
    {
        let message = format!(
            "{text} is not shorter than spec.terminationGracePeriodSeconds ({} s), when the \
             kubelet kills: shorten it, or raise that",
            grace.as_secs()
        );
        reader.refuse("drain-deadline", message);
    }
    let (deadline, length) = deadline.unwrap_or_else(|| {
        let left = grace.saturating_sub(5 * second).clamp(second, 25 * second);
        (format!("{}s", left.as_secs()), left)
    });
    let minimum = reader.read("drain-minimum", WHAT, values::duration);
    if let Some((text, minimum)) = &minimum
        && *minimum > length
    {
        let message =
            format!("{text} is longer than the drain's deadline of {deadline}: shorten it");
        reader.refuse("drain-minimum", message);
    }
    let minimum = minimum.map(|(text, _)| text);
    let usual = if length < 5 * second { deadline.clone() } else { "5s".into() };
    (minimum.unwrap_or(usual), deadline)
}

/// The annotations of one pod, and what is wrong with them.
struct Reader<'a> {
    annotations: &'a Map<String, Value>,
    refusals: &'a mut Vec<Refusal>,
}

impl<'a> Reader<'a> {
    fn read<T>(
        &mut self,
        name: &str,
        what: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let key = format!("{PREFIX}{name}");
        let value = self.annotations.get(&key)?;
        let read = value.as_str().map(str::trim).and_then(parse);
        if read.is_none() {
            self.refusals.push(wrong(path(["metadata", "annotations", &key]), what, value));
        }
        read
    }

    fn word(&mut self, name: &str, words: &[&'static str]) -> Option<&'static str> {
        let what = format!("one of {}", words.join(", "));
        self.read(name, &what, |text| words.iter().find(|word| **word == text).copied())
    }

    fn truth(&mut self, name: &str) -> Option<bool> {
        self.word(name, &["true", "false"]).map(|word| word == "true")
    }

    fn refuse(&mut self, name: &str, message: String) {
        let path = path(["metadata", "annotations", &format!("{PREFIX}{name}")]);
        self.refusals.push(Refusal { path, message });
    }
}

/// Whether the mark of an injected pod is there.
pub(super) fn is_marked(metadata: &Value) -> bool {
    at(metadata, "annotations").is_some_and(|named| at(named, INJECTED).is_some())
}
