//! Probes that ask the app through the network, turned into questions to the sidecar.
//!
//! The kubelet is no member of the mesh: what it sends to an app's port arrives in plaintext, and
//! strict mTLS refuses it. So it asks the sidecar on 15020, which asks the app on loopback; what to
//! ask goes along in the sidecar's configuration. Commands run inside the container and stay. What
//! goes elsewhere (`host` is set) stays too, and so do lifecycle hooks, with a remark.

use serde_json::{Map, Value, json};

use super::json::{at, below, items, path, wrong};
use super::{Path, Refusal, Remark};

/// A field of a container, and its name in the path that the sidecar serves.
const KINDS: [(&str, &str); 3] =
    [("startupProbe", "startup"), ("livenessProbe", "liveness"), ("readinessProbe", "readiness")];

/// A pod whose probes ask the sidecar.
pub(super) struct Rewritten {
    pub pod: Value,
    /// `probes.targets` of the sidecar's configuration.
    pub targets: Vec<Value>,
    pub remarks: Vec<Remark>,
}

/// Rewrites what can be; without `wanted` only the remarks are made.
pub(super) fn rewrite(pod: &Value, wanted: bool, refusals: &mut Vec<Refusal>) -> Rewritten {
    let mut rewritten = Rewritten { pod: pod.clone(), targets: Vec::new(), remarks: Vec::new() };
    for list in ["initContainers", "containers"] {
        for (index, (path, container)) in
            items(&pod["spec"], list, &path(["spec"]), refusals).into_iter().enumerate()
        {
            let restarts = container.get("restartPolicy").is_some_and(|policy| policy == "Always");
            // Other init containers have neither probes nor hooks.
            if list == "initContainers" && !restarts {
                continue;
            }
            hooks(container, &path, &mut rewritten.remarks);
            for (field, kind) in KINDS.into_iter().filter(|_| wanted) {
                let Some(probe) = container.get(field).and_then(Value::as_object) else { continue };
                let place = Place { container, path: below(&path, [field]) };
                match place.target(probe, kind, &mut rewritten.remarks) {
                    Ok(None) => {}
                    Ok(Some(target)) => {
                        let name = target["container"].as_str().unwrap_or_default();
                        let asks = asking_the_sidecar(probe, name, kind);
                        rewritten.pod["spec"][list][index][field] = asks;
                        rewritten.targets.push(target);
                    }
                    Err(refusal) => refusals.push(refusal),
                }
            }
        }
    }
    rewritten
}

/// The probe with its timing, in its order, but for whom it asks.
fn asking_the_sidecar(probe: &Map<String, Value>, container: &str, kind: &str) -> Value {
    let ask = json!({
        "path": format!("/probe/{container}/{kind}"),
        "port": 15020,
        "scheme": "HTTP",
    });
    let is_handler = |key: &str| matches!(key, "httpGet" | "grpc" | "tcpSocket");
    let handlers = probe.iter().map(|(key, value)| match is_handler(key) && !value.is_null() {
        true => ("httpGet".to_owned(), ask.clone()),
        false => (key.clone(), value.clone()),
    });
    Value::Object(handlers.collect())
}

/// A probe's container, and where it stands.
struct Place<'a> {
    container: &'a Map<String, Value>,
    path: Path,
}

impl Place<'_> {
    /// What the sidecar has to ask; none where the probe stays as it is.
    fn target(
        &self,
        probe: &Map<String, Value>,
        kind: &str,
        remarks: &mut Vec<Remark>,
    ) -> Result<Option<Value>, Refusal> {
        let handlers = ["httpGet", "grpc", "tcpSocket", "exec"].into_iter();
        let mut given = handlers.filter_map(|key| {
            probe.get(key).filter(|handler| !handler.is_null()).map(|handler| (key, handler))
        });
        let Some((key, handler)) = given.next().filter(|(key, _)| *key != "exec") else {
            return Ok(None);
        };
        if given.next().is_some() {
            let message = "names more than one way to ask: keep one of httpGet, grpc, tcpSocket, \
                           exec";
            return Err(Refusal { path: self.path.clone(), message: message.into() });
        }
        let path = below(&self.path, [key]);
        if let Some(host) = at(handler, "host").filter(|host| **host != "") {
            let message = format!("asks {host}, not this pod; it is left as it is");
            remarks.push(Remark { path: below(&path, ["host"]), message });
            return Ok(None);
        }
        let port = self.port(handler, below(&path, ["port"]))?;
        let asked = match key {
            "httpGet" => ("http", http(handler, port, &path)?),
            "grpc" => ("grpc", json!({"port": port, "service": word(handler, "service", "")})),
            _ => ("tcp", json!({"port": port})),
        };
        let name = self.container.get("name").and_then(Value::as_str).ok_or_else(|| {
            let path = self.path[..self.path.len() - 1].to_vec();
            Refusal { path, message: "has no name".into() }
        })?;
        let seconds = probe.get("timeoutSeconds").and_then(Value::as_u64).unwrap_or(1).max(1);
        let timeout = format!("{seconds}s");
        let mut target = json!({"container": name, "probe": kind, "timeout": timeout});
        target[asked.0] = asked.1;
        Ok(Some(target))
    }

    /// By number, or by a name among the container's own ports, as the kubelet looks it up.
    fn port(&self, handler: &Value, path: Path) -> Result<u16, Refusal> {
        let Some(port) = at(handler, "port") else {
            return Err(Refusal { path, message: "is missing".into() });
        };
        let in_range = |number: u64| u16::try_from(number).ok().filter(|port| *port > 0);
        let Some(name) = port.as_str() else {
            let number = port.as_u64().and_then(in_range);
            return number.ok_or_else(|| wrong(path, "a port from 1 to 65535, or its name", port));
        };
        let ports = self.container.get("ports").and_then(Value::as_array).into_iter().flatten();
        let named = ports
            .filter(|port| port["name"] == name)
            .find_map(|port| port["containerPort"].as_u64().and_then(in_range));
        named.or_else(|| name.parse().ok().and_then(in_range)).ok_or_else(|| Refusal {
            path,
            message: format!(
                "no port of this container is called {name}: name it under ports, or give its number"
            ),
        })
    }
}

fn word<'v>(handler: &'v Value, key: &str, otherwise: &'v str) -> &'v str {
    at(handler, key).and_then(Value::as_str).unwrap_or(otherwise)
}

fn http(handler: &Value, port: u16, path: &[String]) -> Result<Value, Refusal> {
    let scheme = word(handler, "scheme", "HTTP").to_ascii_lowercase();
    if !["http", "https"].contains(&scheme.as_str()) {
        return Err(wrong(below(path, ["scheme"]), "HTTP or HTTPS", &handler["scheme"]));
    }
    let mut file = word(handler, "path", "/").to_owned();
    if !file.starts_with('/') {
        file.insert(0, '/');
    }
    let mut http = json!({"port": port, "path": file, "scheme": scheme});
    if let Some(headers) = at(handler, "httpHeaders").filter(|headers| **headers != json!([])) {
        http["headers"] = headers.clone();
    }
    Ok(http)
}

/// A hook over the network comes from the kubelet too, but can't be asked of the sidecar: it is to
/// have its effect once, and at a moment when the sidecar may not be there.
fn hooks(container: &Map<String, Value>, path: &[String], remarks: &mut Vec<Remark>) {
    let Some(lifecycle) = container.get("lifecycle") else { return };
    for hook in ["postStart", "preStop"] {
        for key in ["httpGet", "tcpSocket"] {
            if at(lifecycle, hook).and_then(|hook| at(hook, key)).is_some() {
                remarks.push(Remark {
                    path: below(path, ["lifecycle", hook, key]),
                    message: "comes from the kubelet in plaintext, which strict mTLS refuses: use \
                              exec, or let its port in (outrigger.dev/exclude-inbound-ports, or \
                              an AccessPolicy that is permissive for it)"
                        .into(),
                });
            }
        }
    }
}
