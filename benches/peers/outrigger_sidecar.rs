//! Outrigger from files: an explicit listener for one service, or for the app; plain, or with a
//! mesh's work on top, and an access log on top of that.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::certificates::Certificates;
use super::processes::free_address;
use super::product::{Kind, Part, Place, Speaks};

const OWN: &str = "outrigger.dev/v1alpha1";
/// Rules beside the one that holds.
const OTHERS: usize = 20;

pub fn files(
    command: &mut Command,
    folder: &Path,
    part: &Part,
    certificates: &Certificates,
    kind: Kind,
) {
    let called = part.place == Place::Called;
    let is_mesh = kind != Kind::Outrigger && part.speaks != Speaks::Tcp;
    let log = if kind == Kind::Logged { "json" } else { "off" };
    let who = if called { "server" } else { "client" };
    let file = |end: &str| certificates.file(&format!("{who}.{end}"));
    let mut config = json!({
        "workload": {"namespace": "default", "name": format!("{who}-1"), "serviceAccount": who,
            "labels": {"app": if called { "app" } else { "client" }}},
        "identity": {"certificate": file("pem"), "key": file("key"),
            "trustBundle": certificates.file("ca.pem")},
        "workers": 1, "drain": {"minimum": "1ms"}, "admin": {"listen": free_address()},
        "log": {"level": "warn"},
        "telemetry": {"accessLog": {"format": log}}});
    if is_mesh {
        // Nobody is there: what is sampled is made, and dropped where it can't be sent.
        config["telemetry"]["traces"] = json!({"otlpEndpoint": "http://127.0.0.1:4",
            "sampleRatio": 0.01, "propagation": ["w3c", "b3"]});
    }
    let mut resources = Vec::new();
    if called {
        let protocol = if part.speaks == Speaks::Tcp { "tcp" } else { "auto" };
        config["inbound"] = json!({"ports": [
            {"name": "app", "listen": part.listen, "app": part.to, "protocol": protocol}]});
        if is_mesh {
            resources.extend([access(), rate_limit()]);
        }
    } else {
        config["outbound"] =
            json!({"upstreams": [{"listen": part.listen, "service": "app.default:80"}]});
        resources.extend(service(part));
        if is_mesh {
            resources.extend([routes(), traffic()]);
        }
    }
    if !resources.is_empty() {
        let text = resources.iter().map(Value::to_string).collect::<Vec<_>>().join("\n---\n");
        let file = folder.join("mesh.yaml");
        fs::write(&file, text).expect("the folder is ours");
        config["resources"] = json!([file]);
    }
    let file = folder.join("sidecar.yaml");
    fs::write(&file, config.to_string()).expect("the folder is ours");
    command.env_clear().arg("--config").arg(file);
}

fn resource(version: &str, kind: &str, name: &str, spec: Value) -> Value {
    let mut resource = json!({"apiVersion": version, "kind": kind,
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "app"}}});
    resource["spec"] = spec;
    resource
}

fn service(part: &Part) -> [Value; 2] {
    let mut port = json!({"name": "app", "port": 80, "targetPort": "app"});
    if part.speaks == Speaks::Tcp {
        port["appProtocol"] = "tcp".into();
    }
    let mut workload = json!({"address": part.to.ip(),
        "ports": [{"name": "app", "port": part.to.port()}]});
    if part.place == Place::Caller {
        workload["serviceAccount"] = "server".into();
    }
    let service = json!({"selector": {"app": "app"}, "ports": [port]});
    [resource("v1", "Service", "app", service), resource(OWN, "Workload", "app-1", workload)]
}

fn access() -> Value {
    let id = |account: &str| format!("spiffe://cluster.local/ns/default/sa/{account}");
    let other = |nth| {
        json!({"action": "allow", "from": [{"identities": [id(&format!("other-{nth}"))]}],
            "to": [{"methods": ["GET"], "paths": [format!("/x{nth}/*")]}]})
    };
    let own = json!({"action": "allow", "from": [{"identities": [id("client")]}]});
    let rules: Vec<Value> = (0..OTHERS).map(other).chain([own]).collect();
    let spec = json!({"selector": {"matchLabels": {"app": "app"}}, "default": "deny",
        "rules": rules});
    resource(OWN, "AccessPolicy", "app", spec)
}

/// One that nobody reaches.
fn rate_limit() -> Value {
    let limit = json!({"key": "identity", "requests": 10_000_000, "per": "1s"});
    let spec = json!({"selector": {"matchLabels": {"app": "app"}}, "limits": [limit]});
    resource(OWN, "RateLimitPolicy", "app", spec)
}

fn routes() -> Value {
    let to = json!([{"name": "app", "port": 80}]);
    let other = |nth: usize| {
        json!({"matches": [{"path": {"type": "PathPrefix", "value": format!("/v{nth}")},
            "headers": [{"name": "x-version", "value": nth.to_string()}]}], "backendRefs": to})
    };
    let rules: Vec<Value> = (0..OTHERS).map(other).chain([json!({"backendRefs": to})]).collect();
    let parent = json!({"group": "", "kind": "Service", "name": "app", "port": 80});
    let spec = json!({"parentRefs": [parent], "rules": rules});
    resource("gateway.networking.k8s.io/v1", "HTTPRoute", "app", spec)
}

fn traffic() -> Value {
    let spec = json!({"targetRefs": [{"kind": "Service", "name": "app"}],
        "limits": {"maxConnections": 1000, "maxRequests": 1000, "maxPendingRequests": 100},
        "circuitBreaker": {"consecutiveFailures": 5,
            "failureRate": {"threshold": 50, "window": "10s", "minimumRequests": 20},
            "slowCalls": {"threshold": 80, "slowerThan": "2s"}},
        "retry": {"maxRetries": 2, "statusCodes": [503], "grpcCodes": ["unavailable"],
            "perTryTimeout": "2s"},
        "timeouts": {"request": "15s"}});
    resource(OWN, "TrafficPolicy", "app", spec)
}
