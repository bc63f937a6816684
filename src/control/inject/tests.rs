//! What the tests share: settings, a pod, and an independent reading of JSON Patch.

mod goldens;
mod patches;
mod properties;
mod refusals;
mod reviews;
mod served;
mod traces;

use serde_json::{Value, json};

use super::{Asked, Injected, Outcome, Settings, inject};
use crate::model::TrustDomain;

fn settings() -> Settings {
    let trust_domain = TrustDomain::parse("cluster.local").expect("a trust domain");
    Settings { proxy_image: "outrigger-proxy:test".into(), ..Settings::new(trust_domain) }
}

fn plain_pod() -> Value {
    json!({
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"containers": [{"name": "web", "image": "web:1"}]},
    })
}

fn annotated(annotations: Value) -> Value {
    let mut pod = plain_pod();
    pod["metadata"]["annotations"] = annotations;
    pod
}

fn by_hand(pod: &Value) -> Injected {
    match inject(pod, None, Asked::ByHand, &settings()).expect("sound") {
        Outcome::Injected(injected) => injected,
        Outcome::Skipped(reason) => panic!("skipped: {reason}"),
    }
}

/// RFC 6902, as far as `add`, `remove` and `replace` go.
fn patched(value: &Value, operations: &[Value]) -> Value {
    let mut value = value.clone();
    for operation in operations {
        let path = operation["path"].as_str().expect("a pointer");
        let new = operation.get("value").cloned();
        if path.is_empty() {
            value = new.expect("the whole is only replaced");
            continue;
        }
        let (parent, key) = path.rsplit_once('/').expect("a pointer begins with a slash");
        let key = key.replace("~1", "/").replace("~0", "~");
        let parent = value.pointer_mut(parent).unwrap_or_else(|| panic!("{path}: no parent"));
        match (operation["op"].as_str().expect("an operation"), parent) {
            ("add", Value::Object(map)) => {
                map.insert(key, new.expect("a value"));
            }
            ("replace", Value::Object(map)) => {
                assert!(map.insert(key, new.expect("a value")).is_some(), "{path} is not there");
            }
            ("remove", Value::Object(map)) => {
                assert!(map.shift_remove(&key).is_some(), "{path} is not there");
            }
            ("add", Value::Array(list)) => {
                list.insert(key.parse().expect("an index"), new.expect("a value"));
            }
            ("replace", Value::Array(list)) => {
                let index: usize = key.parse().expect("an index");
                list[index] = new.expect("a value");
            }
            (operation, _) => panic!("{operation} at {path}"),
        }
    }
    value
}
