//! Objects as scenarios need them.

use serde_json::{Value, json};

/// A pod with a sidecar, labelled `app: account`.
pub fn pod(name: &str, account: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"app": account}},
        "spec": {
            "nodeName": "n1", "serviceAccountName": account,
            "initContainers": [{"name": "outrigger-proxy", "image": "i", "restartPolicy": "Always"}],
            "containers": [{"name": "app", "image": "i",
                "ports": [{"name": "http", "containerPort": 8080}]}],
        },
    })
}

/// What kubelet says of one that runs at these addresses.
pub fn running(ips: &[&str]) -> Value {
    let ips: Vec<Value> = ips.iter().map(|ip| json!({"ip": ip})).collect();
    let started = json!({"name": "outrigger-proxy", "image": "i", "imageID": "i",
        "ready": true, "started": true, "restartCount": 0});
    json!({"status": {"phase": "Running", "podIP": ips[0]["ip"], "podIPs": ips,
        "initContainerStatuses": [started]}})
}

/// A service at port 80, whose members somebody lists.
pub fn service(name: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": "http"}]},
    })
}

/// A slice of a service, with running pods as its members at port 8080.
pub fn slice(name: &str, service: &str, pods: &[&Value]) -> Value {
    let member = |pod: &&Value| {
        let meta = &pod["metadata"];
        json!({
            "addresses": [pod["status"]["podIP"]],
            "conditions": {"ready": true, "serving": true, "terminating": false},
            "targetRef": {"kind": "Pod", "namespace": meta["namespace"], "name": meta["name"],
                "uid": meta["uid"]},
        })
    };
    json!({
        "addressType": "IPv4",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": service}},
        "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
        "endpoints": pods.iter().map(member).collect::<Vec<_>>(),
    })
}

/// A kind of object whose content the server doesn't judge.
pub fn crd(group: &str, version: &str, kind: &str, plural: &str) -> Value {
    // Those of the Gateway API need somebody's approval.
    let annotations = json!({"api-approved.kubernetes.io": "https://example.com/tests"});
    json!({
        "metadata": {"name": format!("{plural}.{group}"), "annotations": annotations},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase(),
                "listKind": format!("{kind}List")},
            "versions": [{"name": version, "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object",
                    "x-kubernetes-preserve-unknown-fields": true}}}],
        },
    })
}
