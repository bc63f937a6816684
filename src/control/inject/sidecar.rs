//! The container `outrigger-proxy`: what it runs, what it is told by its environment, what it may do,
//! and the volumes that it reads.
//!
//! It satisfies the Pod Security Standard `restricted`: another user than the app's, no capability,
//! nothing to write but one small folder in memory. The app sees none of its volumes.

use serde_json::{Map, Value, json};

use super::annotations::Wishes;
use super::conflicts::UID;
use super::{SIDECAR, Settings};
use crate::control::kube::trust::CONFIG_MAP;

/// The names of what [`volumes`] adds.
pub(super) const VOLUMES: [&str; 3] = ["outrigger-token", "outrigger-trust", "outrigger-state"];

/// Whether a pod's spec has a sidecar already.
pub fn is_in(spec: &Value) -> bool {
    ["initContainers", "containers"].iter().any(|list| {
        let containers = spec[list].as_array().into_iter().flatten();
        containers.into_iter().any(|container| container["name"] == SIDECAR)
    })
}

/// Whether the sidecar of the classic form can tell the end of its pod by the end of the others:
/// where these are restarted, they are only gone for a while.
pub(super) fn ends_with_app(spec: &Value, wishes: &Wishes) -> bool {
    !wishes.native && spec["restartPolicy"] == "Never"
}

/// `ends_with`: so many other containers it has to see the end of.
pub(super) fn container(
    wishes: &Wishes,
    targets: &[Value],
    settings: &Settings,
    ends_with: Option<usize>,
) -> Value {
    let mut container = json!({"name": SIDECAR, "image": wishes.image});
    if wishes.native {
        container["restartPolicy"] = json!("Always");
        container["args"] = json!(["run"]);
    } else {
        container["args"] = match ends_with {
            Some(containers) => json!(["run", format!("--exit-with-app={containers}")]),
            None => json!(["run"]),
        };
        // Containers start one after the other, each when the hook before it has returned.
        let wait = json!(["outrigger-proxy", "wait", "--for", "120s"]);
        container["lifecycle"] = json!({"postStart": {"exec": {"command": wait}}});
    }
    container["env"] = environment(wishes, targets, settings);
    // Not `admin`: a Service that names an app's port `admin` must not find this one first.
    container["ports"] = json!([{"name": "outrigger-admin", "containerPort": 15000}]);
    let asks = |path: &str| json!({"path": path, "port": 15000});
    container["startupProbe"] =
        json!({"httpGet": asks("/ready"), "periodSeconds": 1, "failureThreshold": 120});
    container["livenessProbe"] =
        json!({"httpGet": asks("/live"), "periodSeconds": 10, "timeoutSeconds": 5});
    container["readinessProbe"] = json!({"httpGet": asks("/ready"), "periodSeconds": 2});
    container["resources"] = wishes.resources.clone();
    container["securityContext"] = security(wishes);
    container["volumeMounts"] = json!([
        {"name": VOLUMES[0], "mountPath": "/var/run/outrigger/token", "readOnly": true},
        {"name": VOLUMES[1], "mountPath": "/var/run/outrigger/trust", "readOnly": true},
        {"name": VOLUMES[2], "mountPath": "/var/run/outrigger/state"},
    ]);
    container
}

/// Transparent inbound needs NET_ADMIN. A user who is not root only has it through the file of the
/// program, which counts as an escalation.
fn security(wishes: &Wishes) -> Value {
    let capabilities = match wishes.transparent {
        true => json!({"add": ["NET_ADMIN"], "drop": ["ALL"]}),
        false => json!({"drop": ["ALL"]}),
    };
    json!({
        "runAsUser": UID,
        "runAsGroup": UID,
        "runAsNonRoot": true,
        "capabilities": capabilities,
        "allowPrivilegeEscalation": wishes.transparent,
        "privileged": false,
        "readOnlyRootFilesystem": true,
        "seccompProfile": {"type": "RuntimeDefault"},
    })
}

fn environment(wishes: &Wishes, targets: &[Value], settings: &Settings) -> Value {
    let mut variables = Vec::new();
    for (name, field) in [
        ("OUTRIGGER_WORKLOAD__NAMESPACE", "metadata.namespace"),
        ("OUTRIGGER_WORKLOAD__NAME", "metadata.name"),
        ("OUTRIGGER_WORKLOAD__SERVICE_ACCOUNT", "spec.serviceAccountName"),
    ] {
        variables.push(json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": field}}}));
    }
    let mut set = |name: &str, value: &str| {
        // The kubelet expands `$(NAME)`, and takes `$$` for a dollar.
        variables.push(json!({"name": name, "value": value.replace('$', "$$")}));
    };
    set("OUTRIGGER_TRUST_DOMAIN", settings.trust_domain.as_str());
    set("OUTRIGGER_CONTROL_PLANE__ADDRESS", &settings.control_plane);
    set("OUTRIGGER_CONTROL_PLANE__TRUST_ANCHORS", "/var/run/outrigger/trust/ca.pem");
    set("OUTRIGGER_CONTROL_PLANE__NEWEST_ANCHORS", "/var/run/outrigger/state/newest.pem");
    set("OUTRIGGER_CONTROL_PLANE__TOKEN_FILE", "/var/run/outrigger/token/token");
    set("OUTRIGGER_INBOUND__LISTEN", "[::]:15006");
    if wishes.transparent {
        set("OUTRIGGER_INBOUND__MODE", "tproxy");
    }
    set("OUTRIGGER_OUTBOUND__LISTEN", r#"["127.0.0.1:15001","[::1]:15001"]"#);
    set("OUTRIGGER_ADMIN__LISTEN", "[::]:15000");
    set("OUTRIGGER_PROBES__LISTEN", "[::]:15020");
    if !targets.is_empty() {
        set("OUTRIGGER_PROBES__TARGETS", &json!(targets).to_string());
    }
    set("OUTRIGGER_DRAIN__MINIMUM", &wishes.drain_minimum);
    set("OUTRIGGER_DRAIN__DEADLINE", &wishes.drain_deadline);
    for (name, value) in &wishes.environment {
        set(name, value);
    }
    variables.into()
}

/// The token's file is the node's root's. Kubernetes makes it readable for one user alone where all
/// containers have the same, which ours never have; where the pod has an `fsGroup` the file is that
/// group's, and every container is in it; else the mode holds that stands here. So the sidecar can
/// read it in each case, and nobody else in the pod has it mounted.
pub(super) fn volumes() -> Vec<Value> {
    let token = json!({"audience": "outrigger", "expirationSeconds": 3600, "path": "token"});
    let items = json!([{"key": "ca.pem", "path": "ca.pem"}]);
    let projected = json!({"defaultMode": 0o444, "sources": [{"serviceAccountToken": token}]});
    let bundle = json!({"name": CONFIG_MAP, "defaultMode": 0o444, "items": items});
    let memory = json!({"medium": "Memory", "sizeLimit": "1Mi"});
    let sources = [("projected", projected), ("configMap", bundle), ("emptyDir", memory)];
    let volume = |(name, (kind, source)): (&str, (&str, Value))| {
        let named = [("name".to_owned(), json!(name)), (kind.to_owned(), source)];
        Value::Object(Map::from_iter(named))
    };
    VOLUMES.into_iter().zip(sources).map(volume).collect()
}
