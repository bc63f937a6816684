//! What holds for every pod: nothing is lost, nothing is done twice, and both doors give the same.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::super::{Asked, Outcome, Skipped, inject, patch};
use super::{by_hand, patched, settings};
use crate::resources::Labels;

fn probe() -> impl Strategy<Value = Value> {
    let handler = prop_oneof![
        Just(json!({"httpGet": {"path": "/ok", "port": "web"}})),
        (1..=65535u16).prop_map(|port| json!({"tcpSocket": {"port": port}})),
        (1..=65535u16).prop_map(|port| json!({"grpc": {"port": port}, "periodSeconds": 3})),
        Just(json!({"exec": {"command": ["true"]}, "timeoutSeconds": 2})),
    ];
    prop_oneof![Just(Value::Null), handler]
}

fn container(name: String) -> impl Strategy<Value = Value> {
    (probe(), probe(), any::<bool>()).prop_map(move |(liveness, readiness, extra)| {
        let ports = json!([{"name": "web", "containerPort": 8080}]);
        let mut container = json!({"name": name, "image": "app:1", "ports": ports});
        for (field, probe) in [("livenessProbe", liveness), ("readinessProbe", readiness)] {
            if !probe.is_null() {
                container[field] = probe;
            }
        }
        if extra {
            container["unheardOf"] = json!({"deep": [{"er": null}]});
        }
        container
    })
}

fn pod() -> impl Strategy<Value = Value> {
    let containers = (container("a".into()), container("b".into()), 1..=2usize)
        .prop_map(|(a, b, count)| Value::from(vec![a, b][..count].to_vec()));
    let inits = prop_oneof![
        Just(Value::Null),
        Just(json!([])),
        Just(json!([{"name": "prepare", "image": "p:1"}])),
        container("other-sidecar".into()).prop_map(|mut container| {
            container["restartPolicy"] = json!("Always");
            json!([container])
        }),
    ];
    let volumes = prop_oneof![Just(Value::Null), Just(json!([{"name": "data", "emptyDir": {}}]))];
    let grace = prop_oneof![Just(Value::Null), (0..200u32).prop_map(Value::from)];
    let rest = (inits, volumes, grace, any::<bool>(), any::<bool>(), any::<bool>());
    (containers, rest).prop_map(|(containers, (inits, volumes, grace, classic, no_init, odd))| {
        let mut annotations = Map::new();
        if classic {
            annotations.insert("outrigger.dev/native-sidecar".into(), "false".into());
        }
        if no_init {
            annotations.insert("outrigger.dev/skip-init".into(), "true".into());
        }
        let mut pod = json!({"metadata": {"name": "a"}, "spec": {"containers": containers}});
        if !annotations.is_empty() {
            pod["metadata"]["annotations"] = annotations.into();
        }
        let fields = [
            ("initContainers", inits),
            ("volumes", volumes),
            ("terminationGracePeriodSeconds", grace),
        ];
        for (field, value) in fields {
            if !value.is_null() || odd {
                pod["spec"][field] = value;
            }
        }
        if odd {
            pod["notYetInvented"] = json!({"x": [1, 2.5, "3"]});
        }
        pod
    })
}

/// Everything of `before` is in `after`; lists may have grown, probes ask somebody else.
fn kept(path: &str, before: &Value, after: &Value) -> Result<(), String> {
    match (before, after) {
        (Value::Null, _) => Ok(()),
        (Value::Object(before), Value::Object(after)) if path.ends_with("Probe") => {
            let timing = |probe: &Map<String, Value>| {
                let handlers = ["httpGet", "tcpSocket", "grpc"];
                let rest = probe.iter().filter(|(key, _)| !handlers.contains(&key.as_str()));
                rest.map(|(key, value)| (key.clone(), value.clone())).collect::<Map<_, _>>()
            };
            let same = timing(before) == timing(after);
            same.then_some(()).ok_or_else(|| format!("{path}: {before:?} {after:?}"))
        }
        (Value::Object(before), Value::Object(after)) => {
            before.iter().try_for_each(|(key, value)| match after.get(key) {
                Some(after) => kept(&format!("{path}.{key}"), value, after),
                None => Err(format!("{path}.{key} is gone")),
            })
        }
        (Value::Array(before), Value::Array(after)) => {
            let name = |value: &Value| value["name"].clone();
            let mut rest = after.iter();
            before.iter().try_for_each(|item| {
                let same = |other: &&Value| name(item) == name(other);
                let found = rest.find(same).ok_or(format!("{path}: {item} is gone"))?;
                kept(path, item, found)
            })
        }
        _ if before == after => Ok(()),
        _ => Err(format!("{path}: {before} became {after}")),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn nothing_is_lost(pod in pod()) {
        let injected = by_hand(&pod).pod;
        prop_assert_eq!(kept("", &pod, &injected), Ok(()));
        // And the fields that stay are where they were.
        let keys = |value: &Value| -> Vec<String> {
            value["spec"].as_object().expect("a spec").keys().cloned().collect()
        };
        prop_assert_eq!(&keys(&pod)[..], &keys(&injected)[..keys(&pod).len()]);
    }

    #[test]
    fn twice_is_once(pod in pod()) {
        let injected = by_hand(&pod).pod;
        let again = inject(&injected, None, Asked::ByHand, &settings());
        prop_assert_eq!(again, Ok(Outcome::Skipped(Skipped::Already)));
    }

    #[test]
    fn the_webhook_and_the_command_agree(pod in pod()) {
        let labels = Labels::from([("outrigger.dev/inject".into(), "enabled".into())]);
        let asked = Asked::OnCreation(Some(&labels));
        let Ok(Outcome::Injected(created)) = inject(&pod, Some("shop"), asked, &settings()) else {
            return Err(TestCaseError::fail("not injected"));
        };
        let by_hand = by_hand(&pod).pod;
        let operations = patch::diff(&pod, &created.pod);
        prop_assert_eq!(patched(&pod, &operations), by_hand);
        // Said in few words: no list is replaced as a whole, unless there was none.
        for operation in operations {
            prop_assert!(operation["op"] != "replace" || pod["spec"]["initContainers"].is_null()
                || pod["spec"]["volumes"].is_null()
                || operation["path"].as_str().is_some_and(|path| path.contains("Probe")), "{}", operation);
        }
    }
}
