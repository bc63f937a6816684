//! The chart, rendered: with its own values it is what `install` prints, and with others what
//! `install` prints with the flags for them.
//!
//! Rendered by the little of Helm's language that the chart uses; anything else in a template fails.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::*;
use super::{read, values};

/// The chart's files by their names in it.
fn chart() -> BTreeMap<String, String> {
    let named = |file: deploy::File| {
        let name = file.path.strip_prefix("helm/outrigger/").expect("in the chart").to_owned();
        (name, file.text)
    };
    chart::files().into_iter().map(named).collect()
}

fn defaults() -> Value {
    values(&chart()["values.yaml"]).remove(0)
}

fn at<'a>(values: &'a Value, path: &str) -> &'a Value {
    let found = path.split('.').fold(values, |value, step| &value[step]);
    assert!(!found.is_null(), "values.yaml has no {path}");
    found
}

/// `{{ .Values.a.b }}`, with `| quote` or without.
fn expression(text: &str, values: &Value) -> String {
    let (path, quoted) = match text.trim().split_once(" | ") {
        Some((path, "quote")) => (path, true),
        Some((_, other)) => panic!("{other} is not rendered here"),
        None => (text.trim(), false),
    };
    let path = path.strip_prefix(".Values.").unwrap_or_else(|| panic!("{path} is no value"));
    let value = match at(values, path) {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if quoted { format!("{value:?}") } else { value }
}

fn holds(condition: &str, values: &Value) -> bool {
    match condition.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["ne", ".Release.Namespace", namespace] => *namespace != "\"outrigger-system\"",
        [path] => {
            let path = path.strip_prefix(".Values.").expect("a value");
            at(values, path).as_str().is_some_and(|text| !text.is_empty())
        }
        ["eq", path, word] => {
            let path = path.strip_prefix(".Values.").expect("a value");
            format!("{}", at(values, path)) == **word
        }
        other => panic!("{other:?} is not rendered here"),
    }
}

fn render(template: &str, values: &Value) -> String {
    let (mut text, mut open) = (String::new(), Vec::new());
    for line in template.lines() {
        let control = line.strip_prefix("{{- ").and_then(|line| line.strip_suffix(" }}"));
        match control {
            Some("end") => assert!(open.pop().is_some(), "an end without a beginning"),
            Some(control) if control.starts_with("if ") => open.push(holds(&control[3..], values)),
            Some(control) => {
                let is_refused = control.starts_with("fail ") && open.contains(&false);
                assert!(is_refused, "{control} is not rendered here");
            }
            None if open.contains(&false) => {}
            None => {
                let mut rest = line;
                while let Some((before, after)) = rest.split_once("{{ ") {
                    let (inner, after) = after.split_once(" }}").expect("an end");
                    text.push_str(before);
                    text.push_str(&expression(inner, values));
                    rest = after;
                }
                text.push_str(rest);
                text.push('\n');
            }
        }
    }
    assert!(open.is_empty(), "a beginning without an end");
    text
}

/// In the order of `install`, and without the namespace, which Helm makes itself.
fn rendered(with: &Value) -> Vec<Value> {
    let chart = chart();
    let file = |group: Group| match group {
        Group::Crds => chart[&format!("crds/{}.yaml", group.file())].clone(),
        _ => render(&chart[&format!("templates/{}.yaml", group.file())], with),
    };
    let groups = Group::ALL.into_iter().filter(|of| *of != Group::Namespace);
    groups.flat_map(|group| values(&file(group))).collect()
}

#[test]
fn with_its_own_values_it_is_what_install_prints() {
    assert_eq!(rendered(&defaults()), install::objects(&Settings::default())[1..]);
}

#[test]
fn each_value_is_a_flag() {
    let mut with = defaults();
    with["mtls"] = "strict".into();
    with["trustDomain"] = "example.org".into();
    with["certLifetime"] = "6h".into();
    let control_plane = &mut with["controlPlane"];
    control_plane["image"] = "r.example/c:1".into();
    control_plane["replicas"] = 5.into();
    control_plane["logLevel"] = "warn".into();
    control_plane["issuerSecret"] = "mesh-issuer".into();
    control_plane["resources"] =
        json!({"cpuRequest": "2", "memoryRequest": "1Gi", "memoryLimit": "3Gi"});
    with["proxy"]["image"] = "r.example/p:1".into();
    with["proxy"]["traces"] = json!({"otlpEndpoint": "http://c.o:4317", "sampleRatio": "0.25"});
    with["injector"]["failurePolicy"] = "Ignore".into();
    let flags = "--mtls strict --trust-domain example.org --cert-lifetime 6h --replicas 5 \
                 --control-plane-image r.example/c:1 --proxy-image r.example/p:1 --log-level warn \
                 --cpu-request 2 --memory-request 1Gi --memory-limit 3Gi --failure-policy ignore \
                 --otlp-endpoint http://c.o:4317 --trace-sample-ratio 0.25 --issuer-secret mesh-issuer";
    assert_eq!(rendered(&with), install::objects(&read(flags).expect("legal"))[1..]);
}

/// Helm refuses a value that the schema doesn't know.
#[test]
fn the_schema_knows_every_value() {
    let schema: Value = serde_json::from_str(&chart()["values.schema.json"]).expect("JSON");
    fn walk(values: &Value, schema: &Value, path: &str) {
        let Some(fields) = values.as_object() else { return };
        for (name, value) in fields {
            let below = &schema["properties"][name];
            assert!(!below.is_null(), "the schema doesn't know {path}{name}");
            walk(value, below, &format!("{path}{name}."));
        }
    }
    walk(&defaults(), &schema, "");
}
