//! The control plane itself: its pods, the service they are reached by, and what keeps enough of
//! them running.
//!
//! Two replicas on different nodes, if there are as many; one stays while a node is drained and
//! while a release is rolled out. Losing both stops nothing that runs: sidecars go on with what
//! they know.

use serde_json::{Value, json};

use super::{MTLS, NAME, Settings, Traces, labels, metadata, selector, webhook};

/// Sidecars and operators, over TLS.
const MESH: u16 = 15010;
/// Probes, metrics, the dashboard.
const ADMIN: u16 = 15014;

/// Its uid and gid in the image.
const USER: u32 = 2103;

pub(super) fn objects(settings: &Settings) -> Vec<Value> {
    vec![service(), deployment(settings), budget(), network()]
}

fn service() -> Value {
    let port = |name: &str, port: u16| json!({"name": name, "port": port, "targetPort": name, "protocol": "TCP"});
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(NAME),
        "spec": {
            "selector": selector(),
            "ports": [port("mesh", MESH), port("admin", ADMIN), port("webhook", webhook::PORT)],
        },
    })
}

fn deployment(settings: &Settings) -> Value {
    let mut about = metadata(NAME);
    about["annotations"] = json!({MTLS: settings.mtls.as_str()});
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": about,
        "spec": {
            "replicas": settings.replicas,
            "selector": {"matchLabels": selector()},
            // A new replica serves before an old one leaves.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {"metadata": {"labels": labels()}, "spec": pod(settings)},
        },
    })
}

/// Where an issuer that is made elsewhere is mounted.
const ISSUER: &str = "/etc/outrigger/issuer";

/// Its volume.
const VOLUME: &str = "issuer";

/// The arguments that name its files, each with the key of the Secret that it is: those of a Secret of
/// type `kubernetes.io/tls`, as cert-manager and others write it.
const FILES: [(&str, &str); 3] =
    [("issuer-certificate", "tls.crt"), ("issuer-key", "tls.key"), ("issuer-root", "ca.crt")];

fn pod(settings: &Settings) -> Value {
    let together = json!({"matchLabels": selector()});
    let mut pod = json!({
        "serviceAccountName": NAME,
        // It has until then to hand its sessions over; longer than its own drain.
        "terminationGracePeriodSeconds": 30,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
            "weight": 100,
            "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname", "labelSelector": together},
        }]}},
        "topologySpreadConstraints": [{
            "maxSkew": 1,
            "topologyKey": "topology.kubernetes.io/zone",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": together,
        }],
        "containers": [container(settings)],
    });
    if let Some(secret) = &settings.issuer_secret {
        // The files are root's, and the group's to read.
        pod["securityContext"]["fsGroup"] = json!(USER);
        pod["volumes"] = json!([{"name": VOLUME, "secret": issuer(secret)}]);
    }
    pod
}

/// What is mounted: the three files and nothing else that the Secret may hold. `optional`, because a
/// mesh that there is goes on with the issuer that it has: a pod that waited for a Secret which
/// somebody removed would be one control plane less. A new mesh waits for it all the same, and says so.
fn issuer(secret: &str) -> Value {
    let items: Value = FILES.iter().map(|(_, key)| json!({"key": key, "path": key})).collect();
    json!({"secretName": secret, "optional": true, "defaultMode": 0o440, "items": items})
}

fn container(settings: &Settings) -> Value {
    let port =
        |name: &str, port: u16| json!({"name": name, "containerPort": port, "protocol": "TCP"});
    let asked = |path: &str| json!({"path": path, "port": "admin", "scheme": "HTTP"});
    let mut container = json!({
        "name": "control-plane",
        "image": settings.control_plane_image,
        "imagePullPolicy": "IfNotPresent",
        "args": arguments(settings),
        "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "ports": [port("mesh", MESH), port("admin", ADMIN), port("webhook", webhook::PORT)],
        // The first lists of a large cluster take their time; a minute and a half of it.
        "startupProbe": {"httpGet": asked("/live"), "periodSeconds": 1, "failureThreshold": 90},
        "livenessProbe": {"httpGet": asked("/live"), "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3},
        "readinessProbe": {"httpGet": asked("/ready"), "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 2},
        // No limit of CPU: held back, it would answer late when most sidecars ask at once.
        "resources": {
            "requests": {"cpu": settings.cpu_request, "memory": settings.memory_request},
            "limits": {"memory": settings.memory_limit},
        },
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
    });
    if settings.issuer_secret.is_some() {
        container["volumeMounts"] =
            json!([{"name": VOLUME, "mountPath": ISSUER, "readOnly": true}]);
    }
    container
}

fn arguments(settings: &Settings) -> Vec<String> {
    let Traces { otlp_endpoint, sample_ratio } = &settings.traces;
    let said = |flag: &str, value: &Option<String>| {
        value.as_ref().map(|value| format!("--{flag}={value}"))
    };
    let traces = [said("otlp-endpoint", otlp_endpoint), said("trace-sample-ratio", sample_ratio)];
    let mut all = vec![
        "control-plane".into(),
        "--kubernetes".into(),
        format!("--listen=[::]:{MESH}"),
        format!("--admin-listen=[::]:{ADMIN}"),
        format!("--webhook-listen=[::]:{}", webhook::PORT),
        format!("--proxy-image={}", settings.proxy_image),
        format!("--trust-domain={}", settings.trust_domain),
        format!("--cert-lifetime={}", written(settings)),
        format!("--log-level={}", settings.log_level),
        "--log-format=json".into(),
    ];
    all.extend(traces.into_iter().flatten());
    if settings.issuer_secret.is_some() {
        all.extend(FILES.iter().map(|(flag, key)| format!("--{flag}={ISSUER}/{key}")));
    }
    all
}

/// In the largest unit that says it exactly, down to seconds.
fn written(settings: &Settings) -> String {
    match settings.cert_lifetime.as_secs() {
        seconds if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        seconds if seconds % 60 == 0 => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}

/// A node that is drained waits until another replica serves. Said as what may be missing, so that
/// a single replica holds up no drain for ever.
fn budget() -> Value {
    json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(NAME),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector()}},
    })
}

/// Only its three ports are open, and what sidecars use only to pods. The other two can't be
/// narrowed: the API server calls from outside the pods' network, and whoever collects metrics is
/// not known here. The way out is left open, because the addresses of the API server and of DNS
/// are not known here either.
fn network() -> Value {
    let port = |port: &str| json!({"port": port, "protocol": "TCP"});
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(NAME),
        "spec": {
            "podSelector": {"matchLabels": selector()},
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": [{"namespaceSelector": {}}], "ports": [port("mesh")]},
                {"ports": [port("webhook"), port("admin")]},
            ],
        },
    })
}
