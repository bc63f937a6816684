//! Manifests in and out, as they are kept in `golden`: the whole of what users see. To make them anew
//! after a change that is meant: `outrigger inject X.in.yaml --proxy-image outrigger-proxy:test`,
//! with `{VERSION}` for the version.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::super::{Printed, VERSION, documents, table};
use super::settings;
use crate::resources::Origin;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/control/inject/tests/golden")
}

fn read(name: &str) -> String {
    let text = fs::read_to_string(folder().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    text.replace("{VERSION}", VERSION)
}

fn injected(name: &str) -> Printed {
    let source = Origin::file(name.to_owned());
    let printed = documents(&read(name), &source, &settings());
    printed.unwrap_or_else(|faults| panic!("{name}: {faults:#?}"))
}

/// Every order counts: of documents, of containers, of fields.
fn text(documents: &[Value]) -> String {
    documents.iter().map(|document| format!("{document:#}\n")).collect()
}

#[track_caller]
fn same(name: &str, printed: &[Value], kept: &[Value]) {
    let (printed, kept) = (text(printed), text(kept));
    let differing = printed.lines().zip(kept.lines()).enumerate().find(|(_, (a, b))| a != b);
    assert!(differing.is_none(), "{name}: line, printed and kept: {differing:?}");
    assert_eq!(printed.len(), kept.len(), "{name}");
}

#[test]
fn manifests_come_out_as_kept() {
    let mut seen = 0;
    for entry in fs::read_dir(folder()).expect("there are some") {
        let name = entry.expect("an entry").file_name().into_string().expect("a plain name");
        let Some(stem) = name.strip_suffix(".in.yaml") else { continue };
        let out = format!("{stem}.out.yaml");
        let source = Origin::file(out.clone());
        let kept = super::super::documents::read(&read(&out), &source).expect("legal YAML");
        let kept: Vec<Value> = kept.into_iter().map(|(_, document)| document).collect();
        same(&name, &injected(&name).documents, &kept);
        // And what came out stays as it is.
        same(&out, &injected(&out).documents, &kept);
        seen += 1;
    }
    assert!(seen >= 12, "only {seen} were found");
}

#[test]
fn what_is_left_alone_is_said_with_its_line() {
    let remarks = injected("pod.in.yaml").remarks;
    let rows = [
        ("pod.in.yaml:8: Pod host.shop: skipped, hostNetwork", 0),
        ("pod.in.yaml:15: Pod again: skipped, already injected", 1),
        ("pod.in.yaml:23: Pod by-hand: skipped, already injected", 2),
        ("pod.in.yaml:29: Pod never: skipped, it says outrigger.dev/inject: disabled", 3),
        ("pod.in.yaml:37: Pod control-plane.outrigger-system: skipped, namespace", 4),
    ];
    assert_eq!(remarks.len(), rows.len(), "{remarks:#?}");
    for (expected, index) in rows {
        assert!(remarks[index].starts_with(expected), "{expected}: {remarks:#?}");
    }
    let in_list = injected("daemonset.in.yaml").remarks;
    assert!(
        in_list[0].starts_with("daemonset.in.yaml:10: DaemonSet node-agent.ops: "),
        "{in_list:?}"
    );
    let hook = injected("statefulset.in.yaml").remarks;
    let expected = "statefulset.in.yaml:19: StatefulSet db: \
                    spec.template.spec.containers[0].lifecycle.preStop.httpGet: ";
    assert!(hook.len() == 1 && hook[0].starts_with(expected), "{hook:?}");
}

#[test]
fn what_would_be_without_effect_is_said() {
    let text = "
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  annotations: {outrigger.dev/inject: disabled, other: x}
spec:
  template:
    spec: {dnsPolicy: None, containers: [{name: a, image: a}]}
";
    let printed = documents(text, &Origin::file("web.yaml"), &settings()).expect("sound");
    let [misplaced, names] = &printed.remarks[..] else { panic!("{:?}", printed.remarks) };
    let expected = "web.yaml:6: Deployment web: metadata.annotations[\"outrigger.dev/inject\"]: has no \
                    effect here, but at the pods: under spec.template.metadata.annotations";
    assert_eq!(misplaced, expected);
    assert!(
        names.starts_with("web.yaml:9: Deployment web: spec.template.spec.dnsPolicy: "),
        "{names}"
    );
}

#[test]
fn the_manual_lists_every_annotation() {
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes/injection.md");
    let manual = fs::read_to_string(manual).expect("it is there");
    assert!(manual.contains(&table()), "the table should read:\n{}", table());
}

/// The sidecar is told by its environment; it has to understand all of it. Sections that are not
/// there yet in this wing are named.
#[cfg(feature = "proxy")]
#[test]
fn the_sidecar_understands_its_environment() {
    const ELSEWHERE: [&str; 2] = ["OUTRIGGER_PROBES__", "OUTRIGGER_INBOUND__MODE"];
    for name in
        ["deployment.in.yaml", "annotations.in.yaml", "daemonset.in.yaml", "no-init.in.yaml"]
    {
        let documents = injected(name).documents;
        let text = text(&documents);
        let mut found = Vec::new();
        documents.iter().for_each(|document| variables(document, &mut found));
        assert!(found.len() > 12, "{name}: {text}");
        let known = found
            .into_iter()
            .filter(|(name, _)| !ELSEWHERE.iter().any(|prefix| name.starts_with(prefix)));
        let loaded = crate::config::load(None, known, &[]);
        let loaded = loaded.unwrap_or_else(|faults| panic!("{name}: {faults:#?}"));
        assert_eq!(loaded.config.outbound.listen.len(), 2, "{name}");
        let plane = loaded.config.control_plane.expect("named");
        assert_eq!(plane.newest_anchors, Some("/var/run/outrigger/state/newest.pem".into()));
    }
}

#[cfg(feature = "proxy")]
fn variables(value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| variables(item, found)),
        Value::Object(map) => {
            if let Some(name) = map.get("name").and_then(Value::as_str)
                && name.starts_with("OUTRIGGER_")
            {
                // What the kubelet fills in is a name.
                let value = map.get("value").and_then(Value::as_str).unwrap_or("web");
                found.push((name.to_owned(), value.replace("$$", "$")));
            }
            map.values().for_each(|value| variables(value, found));
        }
        _ => {}
    }
}
