//! What is refused, and whether the sentence names the field, what is wrong with it and what to do.

use serde_json::{Value, json};

use super::super::{Asked, Outcome, Skipped, inject};
use super::{annotated, by_hand, plain_pod, settings};
use crate::resources::Labels;

fn refused(pod: &Value) -> String {
    match inject(pod, None, Asked::ByHand, &settings()) {
        Err(refusals) => {
            let all: Vec<String> = refusals.iter().map(ToString::to_string).collect();
            all.join("\n")
        }
        Ok(outcome) => panic!("not refused: {outcome:?}"),
    }
}

#[test]
fn wrong_annotations_are_named_with_a_cure() {
    let rows: &[(&str, &str, &[&str])] = &[
        ("inject", "yes", &["expected `enabled` or `disabled`, found \"yes\""]),
        ("native-sidecar", "no", &["expected one of true, false, found \"no\""]),
        ("proxy-image", "", &["expected an image such as"]),
        ("log-level", "loud", &["expected one of error, warn, info, debug, trace"]),
        ("access-log", "xml", &["expected one of json, text, off"]),
        ("workers", "0", &["expected a number from 1 to 256"]),
        ("cpu-request", "lots", &["expected a quantity above zero, such as 100m or 64Mi"]),
        (
            "exclude-inbound-ports",
            "http",
            &["expected ports such as 8080,9000-9010, found \"http\""],
        ),
        ("include-outbound-cidrs", "10.0.0.1", &["expected CIDRs such as 10.0.0.0/8,fd00::/8"]),
        ("exclude-interfaces", "$(X)", &["expected names of interfaces"]),
        ("interception-mode", "magic", &["expected one of redirect, tproxy"]),
        ("drain-deadline", "30", &["expected a duration such as 500ms, 5s or 1m"]),
        (
            "drain-deadline",
            "30s",
            &["is not shorter than spec.terminationGracePeriodSeconds (30 s)"],
        ),
        ("drain-minimum", "26s", &["is longer than the drain's deadline of 25s: shorten it"]),
        (
            "drain-dedline",
            "20s",
            &["there is no such annotation; did you mean outrigger.dev/drain-deadline?"],
        ),
        ("colour", "blue", &["there is no such annotation; remove it"]),
    ];
    for (name, value, expected) in rows {
        let key = format!("outrigger.dev/{name}");
        let said = refused(&annotated(json!({&key: value})));
        let place = format!("metadata.annotations[\"{key}\"]: ");
        assert!(said.starts_with(&place), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(expected.iter().all(|part| said.contains(part)), "{name}: {said}");
    }
    let said = refused(&annotated(json!({"outrigger.dev/workers": 2})));
    assert!(said.ends_with("expected a number from 1 to 256, in quotes, found 2"), "{said}");
    let above = json!({"outrigger.dev/cpu-request": "2", "outrigger.dev/cpu-limit": "500m"});
    let said = refused(&annotated(above));
    assert!(said.contains("cpu-request\"]: 2 is above outrigger.dev/cpu-limit: 500m"), "{said}");
}

#[test]
fn everything_is_said_at_once() {
    let annotations = json!({"outrigger.dev/workers": "many", "outrigger.dev/wrkers": "2"});
    let mut pod = annotated(annotations);
    pod["spec"]["containers"][0]["readinessProbe"] = json!({"httpGet": {"port": "web"}});
    pod["spec"]["containers"][0]["ports"] = json!([{"containerPort": 15006}]);
    assert_eq!(refused(&pod).lines().count(), 4, "{}", refused(&pod));
}

#[test]
fn pods_that_would_go_wrong_in_silence_are_refused() {
    let rows = [
        (
            json!({"securityContext": {"runAsUser": 2102}}),
            "spec.securityContext.runAsUser: 2102 is the",
        ),
        (
            json!({"containers": [{"name": "a", "securityContext": {"runAsUser": 2102}}]}),
            "spec.containers[0].securityContext.runAsUser: 2102 is the sidecar's user",
        ),
        (
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 15020}]}]}),
            "spec.containers[0].ports[0].containerPort: 15020 is one of the sidecar's own ports",
        ),
        (
            json!({"volumes": [{"name": "outrigger-token"}]}),
            "spec.volumes[0].name: outrigger-token is",
        ),
        (
            json!({"initContainers": [{"name": "outrigger-init"}]}),
            "spec.initContainers[0].name: outrigger-init is taken",
        ),
        (
            json!({"containers": [{"name": "a", "livenessProbe": {"tcpSocket": {"port": "sql"}}}]}),
            "spec.containers[0].livenessProbe.tcpSocket.port: no port of this container is called sql",
        ),
        (
            json!({"containers": [{"name": "a", "livenessProbe": {"tcpSocket": {"port": 0}}}]}),
            "spec.containers[0].livenessProbe.tcpSocket.port: expected a port from 1 to 65535",
        ),
        (json!({"containers": []}), "spec.containers: names no container"),
        (json!({"containers": {"a": 1}}), "spec.containers: expected a list, found a map"),
        (json!({"containers": ["a"]}), "spec.containers[0]: expected a map, found \"a\""),
        (json!({"volumes": 1}), "spec.volumes: expected a list, found 1"),
        (
            json!({"terminationGracePeriodSeconds": "1m"}),
            "spec.terminationGracePeriodSeconds: expected",
        ),
    ];
    for (spec, expected) in rows {
        let mut pod = plain_pod();
        for (key, value) in spec.as_object().expect("fields") {
            pod["spec"][key] = value.clone();
        }
        let said = refused(&pod);
        assert!(said.starts_with(expected), "{said}");
    }
    for (pod, expected) in [
        (json!(null), "spec: expected a map, found nothing"),
        (json!({"metadata": 1, "spec": {"containers": [{}]}}), "metadata: expected a map, found 1"),
        (
            json!({"metadata": {"annotations": []}, "spec": {}}),
            "metadata.annotations: expected a map",
        ),
    ] {
        assert!(refused(&pod).starts_with(expected), "{}", refused(&pod));
    }
}

#[test]
fn the_classic_form_has_to_see_the_others_end() {
    for (field, value) in [
        ("shareProcessNamespace", json!(false)),
        ("hostPID", json!(true)),
        ("restartPolicy", json!("OnFailure")),
    ] {
        let mut pod = annotated(json!({"outrigger.dev/native-sidecar": "false"}));
        pod["spec"]["restartPolicy"] = json!("Never");
        pod["spec"][field] = value;
        let said = refused(&pod);
        assert!(said.starts_with(&format!("spec.{field}: ")) && said.contains("remove"), "{said}");
        pod["metadata"]["annotations"] = json!({});
        by_hand(&pod);
    }
}

#[test]
fn who_wants_it_is_decided_by_the_nearest() {
    let labels = |value: &str| Labels::from([("outrigger.dev/inject".into(), value.into())]);
    let (on, off, silent) = (labels("enabled"), labels("disabled"), Labels::new());
    let outcome = |label: Option<&str>, annotation: Option<&str>, asked| {
        let mut pod = plain_pod();
        for (kind, value) in [("labels", label), ("annotations", annotation)] {
            if let Some(value) = value {
                pod["metadata"][kind] = json!({"outrigger.dev/inject": value});
            }
        }
        match inject(&pod, None, asked, &settings()) {
            Ok(Outcome::Injected(_)) => "injected".to_owned(),
            Ok(Outcome::Skipped(reason)) => format!("{reason:?}"),
            Err(refusals) => refusals[0].to_string(),
        }
    };
    let created = |labels| Asked::OnCreation(Some(labels));
    assert_eq!(outcome(None, None, Asked::ByHand), "injected");
    assert_eq!(outcome(None, None, created(&on)), "injected");
    assert_eq!(outcome(None, None, created(&off)), "OptedOut");
    assert_eq!(outcome(None, None, created(&silent)), "NotAsked");
    for asked in [Asked::ByHand, created(&on), Asked::OnCreation(None)] {
        assert_eq!(outcome(Some("disabled"), None, asked), "OptedOut");
        assert_eq!(outcome(None, Some("disabled"), asked), "OptedOut");
    }
    for asked in [created(&off), created(&silent), Asked::OnCreation(None)] {
        assert_eq!(outcome(Some("enabled"), None, asked), "injected");
        assert_eq!(outcome(None, Some("enabled"), asked), "injected");
    }
    let said = outcome(Some("enabled"), Some("disabled"), created(&on));
    assert!(said.contains("contradicts the label"), "{said}");
    let typed = labels("true");
    let said = outcome(None, None, created(&typed));
    assert!(said.starts_with("the namespace's label outrigger.dev/inject: expected"), "{said}");
    let said = outcome(None, None, Asked::OnCreation(None));
    assert!(said.contains("nothing is known of its namespace"), "{said}");
}

#[test]
fn what_is_none_of_ours_is_left_alone() {
    let rows = [
        (json!({"annotations": {"kubernetes.io/config.mirror": "x"}}), json!({}), Skipped::Static),
        (json!({}), json!({"os": {"name": "windows"}}), Skipped::Windows),
        (json!({}), json!({"hostNetwork": true}), Skipped::HostNetwork),
        (json!({"namespace": "kube-system"}), json!({}), Skipped::Exempt("kube-system".into())),
    ];
    for (metadata, spec, expected) in rows {
        let mut pod = plain_pod();
        for (part, fields) in [("metadata", metadata), ("spec", spec)] {
            for (key, value) in fields.as_object().expect("fields") {
                pod[part][key] = value.clone();
            }
        }
        let outcome = inject(&pod, None, Asked::ByHand, &settings());
        assert_eq!(outcome, Ok(Outcome::Skipped(expected)));
    }
}
