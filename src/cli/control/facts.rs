//! What a line of a table says of a resource: the columns of its kind.

use serde_json::Value;

use super::convert::Held;

type Facts = Vec<(&'static str, Value)>;

/// The columns of one kind; where kinds are mixed, those that any of them fills.
pub(super) fn facts(held: &Held, mixed: bool) -> Facts {
    let spec = &held.manifest["spec"];
    let status = Value::from(held.status.as_str());
    let of = || named(spec.get("parentRefs").or(spec.get("targetRefs")), held);
    match held.key.kind.as_str() {
        _ if mixed => {
            vec![
                ("ports", ports(spec)),
                ("address", address(spec)),
                ("of", of()),
                ("status", status),
            ]
        }
        "HTTPRoute" | "GRPCRoute" => vec![
            ("parents", of()),
            ("hosts", spec["hostnames"].clone()),
            ("rules", items(&spec["rules"]).count().into()),
            ("status", status),
        ],
        "TrafficPolicy" => {
            vec![("targets", targets(held, of())), ("sets", parts(spec)), ("status", status)]
        }
        "AccessPolicy" => vec![
            ("workloads", workloads(held, &spec["selector"]["matchLabels"])),
            ("ports", ports(spec)),
            ("mtls", spec["mtls"].clone()),
            ("mode", spec["mode"].clone()),
            ("rules", items(&spec["rules"]).count().into()),
            ("status", status),
        ],
        "RateLimitPolicy" => vec![
            ("workloads", workloads(held, &spec["selector"]["matchLabels"])),
            ("ports", ports(spec)),
            ("limits", items(&spec["limits"]).count().into()),
            ("concurrency", spec["concurrency"]["limit"].clone()),
            ("status", status),
        ],
        _ => vec![("ports", ports(spec)), ("address", address(spec))],
    }
}

fn ports(spec: &Value) -> Value {
    let number = |port: &Value| if port.is_number() { port.clone() } else { port["port"].clone() };
    items(&spec["ports"]).map(number).collect()
}

fn address(spec: &Value) -> Value {
    spec.get("clusterIP").or(spec.get("address")).cloned().unwrap_or_default()
}

/// What references mean: `web`, `web.shop:80`, `HTTPRoute/web#canary`.
fn named(references: Option<&Value>, held: &Held) -> Value {
    let one = |reference: &Value| {
        let word = |field: &str| reference[field].as_str();
        let mut text = word("name").unwrap_or_default().to_owned();
        if let Some(kind) = word("kind").filter(|kind| *kind != "Service") {
            text = format!("{kind}/{text}");
        }
        if let Some(other) = word("namespace").filter(|other| *other != held.key.namespace) {
            text.push_str(&format!(".{other}"));
        }
        if let Some(port) = reference["port"].as_u64() {
            text.push_str(&format!(":{port}"));
        }
        if let Some(section) = word("sectionName") {
            text.push_str(&format!("#{section}"));
        }
        Value::from(text)
    };
    references.into_iter().flat_map(items).map(one).collect()
}

/// A policy without targets is about everything around it.
fn targets(held: &Held, targets: Value) -> Value {
    match held.key.namespace.as_str() {
        _ if targets.as_array().is_some_and(|targets| !targets.is_empty()) => targets,
        crate::model::CONTROL_PLANE_NAMESPACE => "the mesh".into(),
        _ => "its namespace".into(),
    }
}

/// Those that labels select; without any, all around the policy.
fn workloads(held: &Held, labels: &Value) -> Value {
    let pair = |(key, value): (&String, &Value)| {
        Value::from(format!("{key}={}", value.as_str().unwrap_or_default()))
    };
    targets(held, labels.as_object().into_iter().flatten().map(pair).collect())
}

/// Which parts of the traffic a policy sets.
fn parts(spec: &Value) -> Value {
    let fields = spec.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    fields.filter(|name| *name != "targetRefs").map(Value::from).collect()
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}
