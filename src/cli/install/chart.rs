//! The Helm chart.
//!
//! Its namespace is fixed, as everywhere: sidecars know the control plane by it. Helm needs it
//! before the chart and makes it itself (`--create-namespace`), so the chart is all but that. Kinds
//! of resources are in `crds`, which Helm applies before all else and never touches again.

use serde_json::json;

use super::deploy::{File, GENERATED};
use super::{documents, template};
use crate::cli::output::{self, Format};
use crate::control::install::{FailurePolicy, Group, Settings, group};
use crate::model::CONTROL_PLANE_NAMESPACE;

const FOLDER: &str = "helm/outrigger";

pub(super) fn files() -> Vec<File> {
    let file = |name: &str, text: String| File::new(format!("{FOLDER}/{name}"), text);
    let mut all = vec![
        file("Chart.yaml", about()),
        file("values.yaml", values(&Settings::default())),
        file("values.schema.json", schema()),
        file("templates/NOTES.txt", NOTES.to_owned()),
    ];
    for of in Group::ALL.into_iter().filter(|of| *of != Group::Namespace) {
        all.push(match of {
            Group::Crds => {
                let text = documents(&group(of, &Settings::default()));
                file(&format!("crds/{}.yaml", of.file()), format!("{GENERATED}{text}"))
            }
            _ => file(&format!("templates/{}.yaml", of.file()), when(of, &template::of(of))),
        });
    }
    all
}

/// A template, under its condition.
fn when(group: Group, text: &str) -> String {
    match group {
        Group::Rights => {
            let namespace = CONTROL_PLANE_NAMESPACE;
            format!(
                "{GENERATED}\
                 {{{{- if ne .Release.Namespace \"{namespace}\" }}}}\n\
                 {{{{- fail \"install it with --namespace {namespace}: sidecars know the control plane by it\" }}}}\n\
                 {{{{- end }}}}\n\
                 {text}"
            )
        }
        Group::Policy => {
            format!(
                "{GENERATED}{{{{- if eq .Values.mtls \"permissive\" }}}}\n{text}{{{{- end }}}}\n"
            )
        }
        _ => format!("{GENERATED}{text}"),
    }
}

fn about() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let about = json!({
        "apiVersion": "v2",
        "name": "outrigger",
        "description": "The control plane of Outrigger, a service mesh",
        "type": "application",
        "version": version,
        "appVersion": version,
        "kubeVersion": ">=1.28.0-0",
    });
    format!("{GENERATED}{}", output::render(&about, None, Format::Yaml))
}

/// What a person may set, with what holds without it.
fn values(usual: &Settings) -> String {
    let hours = usual.cert_lifetime.as_secs() / 3600;
    let mtls = usual.mtls.as_str();
    let failure = match usual.failure_policy {
        FailurePolicy::Fail => "Fail",
        FailurePolicy::Ignore => "Ignore",
    };
    format!(
        "{GENERATED}\
# What workloads take where no policy says so: permissive also takes plaintext; or strict.
mtls: {mtls}
# The trust domain whose identities it gives out; it can't be changed later.
trustDomain: {trust_domain}
# How long a certificate lasts.
certLifetime: {hours}h
controlPlane:
  image: {image}
  replicas: {replicas}
  # error, warn, info, debug or trace.
  logLevel: {log_level}
  # The Secret in outrigger-system that another program, such as cert-manager, writes the mesh's
  # issuer into: tls.crt, tls.key and ca.crt; empty: the control plane makes its own.
  issuerSecret: \"\"
  resources:
    cpuRequest: {cpu}
    memoryRequest: {memory}
    memoryLimit: {limit}
proxy:
  # What the injector writes into pods.
  image: {proxy_image}
  # Of all pods that say nothing themselves, by annotations; all as text.
  traces:
    # Where spans go, such as http://collector.observability:4317; empty: nowhere.
    otlpEndpoint: \"\"
    # The share of traces that are sampled, such as \"0.1\"; empty: the sidecar's own, 0.01.
    sampleRatio: \"\"
injector:
  # What becomes of pods that want a sidecar while no control plane can give them one:
  # Fail: they wait. Ignore: they start without one.
  failurePolicy: {failure}
",
        trust_domain = usual.trust_domain,
        image = usual.control_plane_image,
        replicas = usual.replicas,
        log_level = usual.log_level,
        cpu = usual.cpu_request,
        memory = usual.memory_request,
        limit = usual.memory_limit,
        proxy_image = usual.proxy_image,
    )
}

/// Helm holds values against it before it renders anything.
fn schema() -> String {
    let text = |pattern: &str| json!({"type": "string", "pattern": pattern});
    let of = |properties: serde_json::Value| json!({"type": "object", "additionalProperties": false, "properties": properties});
    let image = text("^[A-Za-z0-9][A-Za-z0-9./:@_-]*$");
    let quantity = text("^[0-9]+(\\.[0-9]+)?(m|k|M|G|Ki|Mi|Gi)?$");
    let resources = of(json!({
        "cpuRequest": quantity, "memoryRequest": quantity, "memoryLimit": quantity,
    }));
    let mut schema = of(json!({
        "global": {"type": "object"},
        "mtls": {"enum": ["permissive", "strict"]},
        "trustDomain": text("^[a-z0-9._-]+$"),
        "certLifetime": text("^([0-9]{1,5}(h|m|s)){1,4}$"),
        "controlPlane": of(json!({
            "image": image,
            "replicas": {"type": "integer", "minimum": 1, "maximum": 9},
            "logLevel": {"enum": ["error", "warn", "info", "debug", "trace"]},
            "issuerSecret": text("^([a-z0-9]([a-z0-9.-]*[a-z0-9])?)?$"),
            "resources": resources,
        })),
        "proxy": of(json!({"image": image, "traces": of(json!({
            "otlpEndpoint": text("^(https?://[^@\\s\"{}\\\\]+)?$"),
            "sampleRatio": text("^(0(\\.[0-9]+)?|1(\\.0+)?)?$"),
        }))})),
        "injector": of(json!({"failurePolicy": {"enum": ["Fail", "Ignore"]}})),
    }));
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    output::render(&schema, None, Format::Json)
}

const NOTES: &str = "\
Outrigger's control plane is installed. See that all is well:

  outrigger check

Have the cluster hold what runs beside the keys of the mesh to the strictest standard:

  kubectl label namespace outrigger-system pod-security.kubernetes.io/enforce=restricted

Then mesh a namespace:

  kubectl label namespace NAMESPACE outrigger.dev/inject=enabled
  kubectl rollout restart deployment -n NAMESPACE

Helm never changes kinds of resources that are there; before an upgrade, change them yourself:

  outrigger install --crds | kubectl apply -f -
";
