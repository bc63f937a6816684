//! Objects with places to fill in, for Helm.
//!
//! The objects are made with values that nothing else has; in the text each of them is then
//! replaced by what Helm is to put there. So the chart has no second description of anything.

use std::time::Duration;

use super::documents;
use crate::control::inject::Traces;
use crate::control::install::{self, FailurePolicy, Group, Settings};
use crate::model::{Mtls, TrustDomain};

/// A value that stands out, and what Helm is told instead: the value at `path`, which `pipe` may
/// change on its way.
struct Place {
    value: &'static str,
    pipe: &'static str,
    /// Where `values.yaml` has it.
    path: &'static str,
}

const fn place(value: &'static str, pipe: &'static str, path: &'static str) -> Place {
    Place { value, pipe, path }
}

/// In place of a pipe: the whole line is there only if the value is.
const LINE: &str = "line";

const REPLICAS: u32 = 70_001;
const LIFETIME: Duration = Duration::from_secs(70_003);

/// What goes with it stands in several places, and is there only if it is.
const ISSUER_SECRET: &str = "controlPlane.issuerSecret";

const PLACES: &[Place] = &[
    place("place.control-plane-image", "quote", "controlPlane.image"),
    place("place.proxy-image", "", "proxy.image"),
    place("place.otlp-endpoint", LINE, "proxy.traces.otlpEndpoint"),
    place("place.sample-ratio", LINE, "proxy.traces.sampleRatio"),
    place("70001", "", "controlPlane.replicas"),
    place("place.trust-domain", "", "trustDomain"),
    place("70003s", "", "certLifetime"),
    place("place.log-level", "", "controlPlane.logLevel"),
    place("place.cpu-request", "quote", "controlPlane.resources.cpuRequest"),
    place("place.memory-request", "quote", "controlPlane.resources.memoryRequest"),
    place("place.memory-limit", "quote", "controlPlane.resources.memoryLimit"),
    place("place.issuer-secret", "quote", ISSUER_SECRET),
    place("failurePolicy: Fail", "", "injector.failurePolicy"),
    place("dev/mtls: permissive", "", "mtls"),
];

/// Settings whose values stand out.
fn settings() -> Settings {
    Settings {
        control_plane_image: "place.control-plane-image".into(),
        proxy_image: "place.proxy-image".into(),
        traces: Traces {
            otlp_endpoint: Some("place.otlp-endpoint".into()),
            sample_ratio: Some("place.sample-ratio".into()),
        },
        replicas: REPLICAS,
        mtls: Mtls::Permissive,
        trust_domain: TrustDomain::parse("place.trust-domain").expect("of legal characters"),
        cert_lifetime: LIFETIME,
        issuer_secret: Some("place.issuer-secret".into()),
        failure_policy: FailurePolicy::Fail,
        log_level: "place.log-level".into(),
        cpu_request: "place.cpu-request".into(),
        memory_request: "place.memory-request".into(),
        memory_limit: "place.memory-limit".into(),
    }
}

/// The text of such objects as a template.
pub(super) fn of(group: Group) -> String {
    let settings = settings();
    let whole = documents(&install::group(group, &settings));
    let without = Settings { issuer_secret: None, ..settings };
    let text = where_set(ISSUER_SECRET, &whole, &documents(&install::group(group, &without)));
    filled(&text)
}

/// The whole, of which what is not in the lesser text stands under the condition that a value is set.
fn where_set(path: &str, whole: &str, lesser: &str) -> String {
    let (mut text, mut within, mut rest) = (String::new(), false, lesser.lines().peekable());
    for line in whole.lines() {
        let is_conditional = rest.next_if_eq(&line).is_none();
        match (within, is_conditional) {
            (false, true) => text.push_str(&format!("{{{{- if .Values.{path} }}}}\n")),
            (true, false) => text.push_str("{{- end }}\n"),
            _ => {}
        }
        within = is_conditional;
        text.push_str(line);
        text.push('\n');
    }
    if within {
        text.push_str("{{- end }}\n");
    }
    text
}

fn filled(text: &str) -> String {
    PLACES.iter().fold(text.to_owned(), |text, Place { value, pipe, path }| {
        if *pipe == LINE {
            let filled = |line: &str| match line.contains(value) {
                true => {
                    let line = line.replace(value, &format!("{{{{ .Values.{path} }}}}"));
                    format!("{{{{- if .Values.{path} }}}}\n{line}\n{{{{- end }}}}\n")
                }
                false => format!("{line}\n"),
            };
            return text.lines().map(filled).collect();
        }
        let pipe = if pipe.is_empty() { String::new() } else { format!(" | {pipe}") };
        let expression = format!("{{{{ .Values.{path}{pipe} }}}}");
        match value.split_once(": ") {
            Some((key, _)) => text.replace(value, &format!("{key}: {expression}")),
            None => text.replace(value, &expression),
        }
    })
}
