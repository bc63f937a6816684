//! What is said of traces for all pods holds for each that says nothing itself.

use serde_json::{Value, json};

use super::super::{Asked, Outcome, SIDECAR, Settings, Traces, inject};
use super::{annotated, settings};

/// What a pod's sidecar is told of traces, as `NAME=value`.
fn told(settings: &Settings, annotations: Value) -> Vec<String> {
    let mut pod = annotated(annotations);
    pod["metadata"]["labels"] = json!({"app": "web"});
    let injected = match inject(&pod, None, Asked::ByHand, settings).expect("sound") {
        Outcome::Injected(injected) => injected.pod,
        Outcome::Skipped(reason) => panic!("skipped: {reason}"),
    };
    let containers = injected["spec"]["initContainers"].as_array().expect("a list");
    let sidecar = containers.iter().find(|of| of["name"] == SIDECAR).expect("it is there");
    let variables = sidecar["env"].as_array().expect("a list").iter();
    let named = variables.filter_map(|of| {
        let name = of["name"].as_str()?.strip_prefix("OUTRIGGER_TELEMETRY__TRACES__")?;
        Some(format!("{name}={}", of["value"].as_str()?))
    });
    named.collect()
}

#[test]
fn what_is_said_for_all_holds_until_a_pod_says_otherwise() {
    let traces = Traces {
        otlp_endpoint: Some("http://all.observability:4317".into()),
        sample_ratio: Some("0.25".into()),
    };
    let (none, all) = (settings(), Settings { traces, ..settings() });
    assert_eq!(told(&none, json!({})), [""; 0]);
    let everywhere = ["OTLP_ENDPOINT=http://all.observability:4317", "SERVICE_NAME=web"];
    let quarter = "SAMPLE_RATIO=0.25";
    assert_eq!(told(&all, json!({})), [everywhere[0], everywhere[1], quarter]);
    let own = json!({"outrigger.dev/otlp-endpoint": "http://own.shop:4318"});
    let expected = ["OTLP_ENDPOINT=http://own.shop:4318", "SERVICE_NAME=web", quarter];
    assert_eq!(told(&all, own.clone()), expected);
    assert_eq!(told(&none, own), expected[..2]);
    let ratio = json!({"outrigger.dev/sample-ratio": "0"});
    assert_eq!(told(&all, ratio), [everywhere[0], everywhere[1], "SAMPLE_RATIO=0.0"]);
}
