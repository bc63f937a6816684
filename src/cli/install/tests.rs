//! The chart and the base are what `install` prints, and the files under `deploy` are they.

mod helm;

use std::fs;
use std::path::Path;

use clap::Parser;
use serde_json::Value;

use super::*;
use crate::control::inject;
use crate::resources::{Node, Origin, Value as Read, yaml};

#[derive(Parser)]
struct Alone {
    #[command(flatten)]
    install: Install,
}

fn read(line: &str) -> Result<Settings, clap::Error> {
    let line = std::iter::once("install").chain(line.split_whitespace());
    Alone::try_parse_from(line).map(|alone| alone.install.settings())
}

/// Documents of YAML as JSON.
pub(super) fn values(text: &str) -> Vec<Value> {
    let at = Origin::file("printed");
    let nodes = yaml::parse(text, &at).unwrap_or_else(|faults| panic!("{faults:?}\nin\n{text}"));
    nodes.iter().filter(|node| !node.is_null()).map(value).collect()
}

fn value(node: &Node) -> Value {
    match &node.value {
        Read::Null => Value::Null,
        Read::Bool(value) => json!(value),
        Read::Int(value) => json!(value),
        Read::Float(value) => json!(value),
        Read::String(value) => json!(value),
        Read::List(items) => items.iter().map(value).collect(),
        Read::Map(entries) => {
            let entry =
                |(key, node): &(crate::resources::Key, Node)| (key.name.clone(), value(node));
            Value::Object(entries.iter().map(entry).collect())
        }
    }
}

#[test]
fn what_is_printed_is_what_was_made() {
    let objects = install::objects(&Settings::default());
    assert_eq!(values(&print(&objects, Manifests::Yaml)), objects);
    let list: Value = serde_json::from_str(&print(&objects, Manifests::Json)).expect("JSON");
    assert_eq!(list["items"].as_array(), Some(&objects));
}

#[test]
fn flags_say_what_they_say() {
    assert_eq!(read("").expect("no flag is needed"), Settings::default());
    let line = "--mtls strict --registry r.example/mesh/ --replicas 3 --trust-domain m \
                --cert-lifetime 90s --failure-policy ignore --log-level debug --cpu-request 1 \
                --memory-request 1Gi --memory-limit 2Gi --proxy-image other:1 --otlp-endpoint https://c \
                --trace-sample-ratio 1 --issuer-secret mesh.issuer";
    let settings = read(line).expect("legal");
    let version = env!("CARGO_PKG_VERSION");
    let expected = Settings {
        control_plane_image: format!("r.example/mesh/outrigger-control-plane:{version}"),
        proxy_image: "other:1".into(),
        traces: inject::Traces {
            otlp_endpoint: Some("https://c".into()),
            sample_ratio: Some("1.0".into()),
        },
        replicas: 3,
        mtls: Mtls::Strict,
        trust_domain: TrustDomain::parse("m").expect("legal"),
        cert_lifetime: Duration::from_secs(90),
        issuer_secret: Some("mesh.issuer".into()),
        failure_policy: FailurePolicy::Ignore,
        log_level: "debug".into(),
        cpu_request: "1".into(),
        memory_request: "1Gi".into(),
        memory_limit: "2Gi".into(),
    };
    assert_eq!(settings, expected);
}

#[test]
fn what_can_not_be_is_refused() {
    for line in [
        "--mtls off",
        "--replicas 0",
        "--replicas 10",
        "--registry -x",
        "--proxy-image {{x}}",
        "--otlp-endpoint c.o:4317",
        "--otlp-endpoint http://user@c.o:4317",
        "--trace-sample-ratio 2",
        "--trace-sample-ratio some",
        "--cpu-request 0",
        "--cpu-request 1Ti",
        "--memory-limit lots",
        "--cert-lifetime 0s",
        "--trust-domain A",
        "--crds --skip-crds",
        "--crds --issuer-secret a",
        "--issuer-secret A",
        "--issuer-secret outrigger-control-plane",
        "--issuer-secret outrigger-state",
        "-o table",
    ] {
        let error = read(line).expect_err("illegal");
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

#[test]
fn the_base_is_what_is_printed() {
    let files = kustomize::files();
    let text = |name: &str| {
        let found = files.iter().find(|file| file.path == format!("kustomize/{name}"));
        found.unwrap_or_else(|| panic!("no {name}")).text.clone()
    };
    let list = values(&text("kustomization.yaml"));
    let named = list[0]["resources"].as_array().expect("a list").clone();
    let all: Vec<Value> =
        named.iter().flat_map(|name| values(&text(name.as_str().expect("a name")))).collect();
    assert_eq!(all, install::objects(&Settings::default()));
}

/// Run `outrigger install --write-deploy deploy` when this fails.
#[test]
fn what_deploy_holds_is_what_is_made() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let made = deploy::files();
    for deploy::File { path, text } in &made {
        let found = fs::read_to_string(root.join(path)).unwrap_or_default();
        assert!(
            found == *text,
            "deploy/{path} is not what `outrigger install --write-deploy deploy` writes"
        );
    }
    let mut folders = vec![root.join("helm"), root.join("kustomize")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder that was made") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(&root).expect("below deploy").display().to_string();
            assert!(made.iter().any(|file| file.path == name), "deploy/{name} is made by nothing");
        }
    }
}
