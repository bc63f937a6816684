//! What the pages and examples say is taken as it stands.
//!
//! Blocks of the README and files under `deploy` that hold resources are read like a user's files.
//! In the examples everything that a route or policy names must be there too.

use std::fs;
use std::path::{Path, PathBuf};

use crate::resources::attach::conditions;
use crate::resources::{Origin, Resource, parse_documents};

const README: &str = include_str!("../../../README.md");

/// Texts with resources are told from the sidecars' configurations by this line.
fn has_resources(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("apiVersion:"))
}

#[track_caller]
fn read(text: &str, what: &str) -> Vec<Resource> {
    let found = parse_documents(text, &Origin::file(what), "default");
    found.unwrap_or_else(|faults| {
        let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
        panic!("{}\nin\n{text}", faults.join("\n"))
    })
}

/// The YAML blocks of a page.
fn blocks(page: &str) -> impl Iterator<Item = &str> {
    page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next())
}

#[test]
fn what_the_readme_shows_would_be_taken() {
    let resources: Vec<Resource> = blocks(README)
        .filter(|text| has_resources(text))
        .flat_map(|text| read(text, "README.md"))
        .collect();
    for kind in ["Service", "Workload", "HTTPRoute", "GRPCRoute", "TrafficPolicy"] {
        assert!(resources.iter().any(|of| of.kind() == kind), "no block shows a {kind}");
    }
}

/// What is made for a cluster, of its own kinds; `install` has tests for it.
const OF_CLUSTERS: [&str; 2] = ["helm", "kustomize"];

/// Every file below a folder that holds resources.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("an entry").path();
        if OF_CLUSTERS.iter().any(|name| path.ends_with(name)) {
            continue;
        }
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "yaml")
            && has_resources(&fs::read_to_string(&path).expect("text"))
        {
            found.push(path);
        }
    }
}

#[test]
fn what_deploy_holds_would_be_taken() {
    let mut found = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy"), &mut found);
    assert!(found.len() >= 7, "{found:?}");
    for path in found {
        read(&fs::read_to_string(&path).expect("text"), &path.display().to_string());
    }
}

/// The pages about Kubernetes mix its kinds with ours.
#[test]
fn what_the_pages_about_kubernetes_show_would_be_taken() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes");
    let is_ours = |text: &&str| {
        ["apiVersion: outrigger.dev/", "apiVersion: gateway.networking.k8s.io/"]
            .iter()
            .any(|version| text.contains(version))
    };
    let mut resources = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("an entry").path();
        let page = fs::read_to_string(&path).expect("text");
        for text in blocks(&page).flat_map(|block| block.split("---\n")).filter(is_ours) {
            resources.extend(read(text, &path.display().to_string()));
        }
    }
    for kind in ["AccessPolicy", "TrafficPolicy"] {
        assert!(resources.iter().any(|of| of.kind() == kind), "no page shows a {kind}");
    }
}

#[test]
fn the_example_of_resilience_names_nothing_that_is_not_there() {
    let mut found = Vec::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/examples/resilience");
    files(&folder, &mut found);
    let text = |path: &PathBuf| fs::read_to_string(path).expect("text");
    let resources: Vec<Resource> =
        found.iter().flat_map(|path| read(&text(path), &path.display().to_string())).collect();
    let standing = conditions(&resources);
    assert!(standing.len() >= 6, "{standing:?}");
    for of in standing {
        assert!(of.is_sound(), "{of:?}");
    }
}
