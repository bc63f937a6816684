//! What a pod may not be if it is to have a sidecar.
//!
//! Most of these would start and then go wrong in silence: traffic that passes the sidecar by, a
//! port that two want, a sidecar that never sees the app leave. Each is refused with its cure.

use serde_json::{Map, Value};

use super::annotations::Wishes;
use super::json::{at, below, items, path};
use super::{Path, Refusal, rules, sidecar};

/// The user whose connections are not intercepted, because they are the sidecar's.
pub(super) const UID: i64 = 2102;

/// Outbound, inbound, admin and probes.
const PORTS: [i64; 4] = [15_000, 15_001, 15_006, 15_020];

/// Everything that speaks against it joins `refusals`.
pub(super) fn find(pod: &Value, wishes: &Wishes, refusals: &mut Vec<Refusal>) {
    let spec = &pod["spec"];
    let root = path(["spec"]);
    runs_as_sidecar(&spec["securityContext"], below(&root, ["securityContext"]), refusals);
    for kind in ["initContainers", "containers"] {
        for (path, container) in items(spec, kind, &root, refusals) {
            taken(container, &path, rules::NAME, "the injector adds one of this name", refusals);
            if let Some(context) = container.get("securityContext") {
                runs_as_sidecar(context, below(&path, ["securityContext"]), refusals);
            }
            ports(container, &path, refusals);
        }
    }
    for (path, volume) in items(spec, "volumes", &root, refusals) {
        for name in sidecar::VOLUMES {
            taken(volume, &path, name, "the injector adds one of this name", refusals);
        }
    }
    if !wishes.native {
        classic(spec, refusals, sidecar::ends_with_app(spec, wishes));
    }
}

fn taken(
    named: &Map<String, Value>,
    path: &[String],
    name: &str,
    why: &str,
    refusals: &mut Vec<Refusal>,
) {
    if named.get("name").and_then(Value::as_str) == Some(name) {
        let message = format!("{name} is taken: {why}; choose another");
        refusals.push(Refusal { path: below(path, ["name"]), message });
    }
}

fn runs_as_sidecar(context: &Value, path: Path, refusals: &mut Vec<Refusal>) {
    if at(context, "runAsUser").and_then(Value::as_i64) == Some(UID) {
        let message = format!(
            "{UID} is the sidecar's user, whose connections are not intercepted: the app would go \
             round the mesh; choose another"
        );
        refusals.push(Refusal { path: below(&path, ["runAsUser"]), message });
    }
}

fn ports(container: &Map<String, Value>, path: &[String], refusals: &mut Vec<Refusal>) {
    let ports = container.get("ports").and_then(Value::as_array).into_iter().flatten();
    for (index, port) in ports.enumerate() {
        let is_tcp = at(port, "protocol").is_none_or(|protocol| protocol == "TCP");
        let number = at(port, "containerPort").and_then(Value::as_i64);
        if let Some(number) = number.filter(|number| is_tcp && PORTS.contains(number)) {
            let message = format!(
                "{number} is one of the sidecar's own ports (15000, 15001, 15006, 15020): have the \
                 app listen on another"
            );
            let path = below(path, ["ports", &index.to_string(), "containerPort"]);
            refusals.push(Refusal { path, message });
        }
    }
}

/// It leaves when the processes of the other containers have: it has to see these, and only these.
fn classic(spec: &Value, refusals: &mut Vec<Refusal>, ends_with_app: bool) {
    const CURE: &str = "remove outrigger.dev/native-sidecar: \"false\", or this";
    let mut refuse = |field: &str, why: &str| {
        let message = format!("{why}; {CURE}");
        refusals.push(Refusal { path: path(["spec", field]), message });
    };
    if spec["restartPolicy"] == "OnFailure" {
        refuse(
            "restartPolicy",
            "a sidecar that is no native one can't tell an app that is restarted from one that is \
             done: with OnFailure the pod would never finish, or lose its network; say Never",
        );
    }
    if ends_with_app && spec["shareProcessNamespace"] == false {
        refuse(
            "shareProcessNamespace",
            "a sidecar that is no native one has to see the others end",
        );
    }
    if ends_with_app && spec["hostPID"] == true {
        refuse("hostPID", "among the node's processes a sidecar can't see its pod's end");
    }
}
