//! Every field of the sidecar's configuration by its dotted path: which there
//! are, how the text of an environment variable or flag becomes a value, which
//! are paths, and the order they are printed in. What a field means stands in
//! `decode`; a test keeps both in step.

use std::sync::LazyLock;

/// How a field is written outside YAML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Text, taken as it is: `[::]:15000` is an address, not a list.
    Text,
    /// Text, texts with commas between them, or a YAML list of texts.
    Texts,
    /// A path; in the file, relative to the file's folder.
    Path,
    /// A path, or a YAML list of paths.
    Paths,
    /// Anything else, read as YAML.
    Yaml,
}

/// In the order of printing.
pub(super) const FIELDS: &[(&str, Shape)] = &[
    ("workload.namespace", Shape::Text),
    ("workload.name", Shape::Text),
    ("workload.serviceAccount", Shape::Text),
    ("workload.labels", Shape::Yaml),
    ("workload.zone", Shape::Text),
    ("trustDomain", Shape::Text),
    ("controlPlane.address", Shape::Text),
    ("controlPlane.trustAnchors", Shape::Path),
    ("controlPlane.newestAnchors", Shape::Path),
    ("controlPlane.tokenFile", Shape::Path),
    ("identity.certificate", Shape::Path),
    ("identity.key", Shape::Path),
    ("identity.trustBundle", Shape::Path),
    ("resources", Shape::Paths),
    ("inbound.listen", Shape::Texts),
    ("inbound.mode", Shape::Text),
    ("inbound.ports", Shape::Yaml),
    ("outbound.listen", Shape::Texts),
    ("outbound.upstreams", Shape::Yaml),
    ("outbound.unknown", Shape::Text),
    ("admin.listen", Shape::Text),
    ("probes.listen", Shape::Text),
    ("probes.targets", Shape::Yaml),
    ("workers", Shape::Yaml),
    ("drain.minimum", Shape::Text),
    ("drain.deadline", Shape::Text),
    ("exitWithApp", Shape::Yaml),
    ("telemetry.accessLog.format", Shape::Text),
    ("telemetry.accessLog.sample", Shape::Yaml),
    ("telemetry.traces.otlpEndpoint", Shape::Text),
    ("telemetry.traces.protocol", Shape::Text),
    ("telemetry.traces.headers", Shape::Yaml),
    ("telemetry.traces.caFile", Shape::Path),
    ("telemetry.traces.zipkinEndpoint", Shape::Text),
    ("telemetry.traces.serviceName", Shape::Text),
    ("telemetry.traces.sampleRatio", Shape::Yaml),
    ("telemetry.traces.slowerThan", Shape::Text),
    ("telemetry.traces.propagation", Shape::Texts),
    ("log.level", Shape::Text),
    ("log.format", Shape::Text),
];

/// Fields and the sections above them, with their environment variables.
static SETTABLE: LazyLock<Vec<(String, String, Shape)>> = LazyLock::new(|| {
    let mut all: Vec<(String, String, Shape)> = Vec::new();
    for (path, shape) in FIELDS {
        let sections = path.match_indices('.').map(|(at, _)| (&path[..at], Shape::Yaml));
        for (path, shape) in sections.chain([(*path, *shape)]) {
            if all.iter().all(|(known, ..)| known != path) {
                all.push((path.to_owned(), variable(path), shape));
            }
        }
    }
    all
});

/// The shape of a field or section; `None` when there is none of this path.
pub(super) fn by_path(path: &str) -> Option<Shape> {
    SETTABLE.iter().find(|(known, ..)| known == path).map(|(.., shape)| *shape)
}

/// The path and shape that an environment variable sets.
pub(super) fn by_variable(name: &str) -> Option<(&'static str, Shape)> {
    let (path, _, shape) = SETTABLE.iter().find(|(_, variable, _)| variable == name)?;
    Some((path, *shape))
}

/// All settable paths, for suggestions.
pub(super) fn paths() -> impl Iterator<Item = &'static str> {
    SETTABLE.iter().map(|(path, ..)| path.as_str())
}

/// All environment variables, for suggestions.
pub(super) fn variables() -> impl Iterator<Item = &'static str> {
    let all = SETTABLE.iter().map(|(_, variable, _)| variable.as_str());
    all.filter(|name| !OF_PEOPLE.contains(name))
}

/// Where a field is printed among its neighbours; unlisted ones come last, in
/// the order they were written.
pub(super) fn rank(path: &str) -> usize {
    let below = |field: &str| {
        field.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    FIELDS.iter().position(|(field, _)| below(field)).unwrap_or(FIELDS.len())
}

/// `controlPlane.tokenFile` → `OUTRIGGER_CONTROL_PLANE__TOKEN_FILE`
fn variable(path: &str) -> String {
    let mut name = String::from(PREFIX);
    for c in path.chars() {
        match c {
            '.' => name.push_str("__"),
            _ if c.is_ascii_uppercase() => name.extend(['_', c]),
            _ => name.push(c.to_ascii_uppercase()),
        }
    }
    name
}

/// Variables of the `outrigger` command, which say where people find the control plane. A shell
/// that has them set may start a sidecar too (the demo does), and `OUTRIGGER_CONTROL_PLANE` holds an
/// address there, not the section `controlPlane`: sidecars leave all of them alone.
/// `OUTRIGGER_TRUST_DOMAIN` is not among them, because it means the same to both.
pub const OF_PEOPLE: [&str; 5] = [
    "OUTRIGGER_CONTROL_PLANE",
    "OUTRIGGER_TRUST_ANCHORS",
    "OUTRIGGER_TOKEN_FILE",
    "OUTRIGGER_CONTEXT",
    "OUTRIGGER_CONTEXT_FILE",
];

/// What every variable of ours begins with.
pub(super) const PREFIX: &str = "OUTRIGGER_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_follow_from_paths() {
        let rows = [
            ("admin.listen", "OUTRIGGER_ADMIN__LISTEN"),
            ("controlPlane.tokenFile", "OUTRIGGER_CONTROL_PLANE__TOKEN_FILE"),
            ("resources", "OUTRIGGER_RESOURCES"),
            ("probes.targets", "OUTRIGGER_PROBES__TARGETS"),
            ("exitWithApp", "OUTRIGGER_EXIT_WITH_APP"),
            ("telemetry.accessLog", "OUTRIGGER_TELEMETRY__ACCESS_LOG"),
        ];
        for (path, name) in rows {
            assert_eq!(by_variable(name).map(|(path, _)| path), Some(path));
            assert!(by_path(path).is_some());
        }
        assert_eq!(by_variable("OUTRIGGER_ADMIN_LISTEN"), None);
    }
}
