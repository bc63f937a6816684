//! The threat model promises tests by name: each of them exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("../../deploy/security/README.md");

#[test]
fn the_threat_model_names_tests_that_exist() {
    let there = functions();
    let named = PAGE.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let named: BTreeSet<&str> = named.filter(|name| is_test(name)).collect();
    assert!(named.len() > 40, "the page names only {} tests", named.len());
    let gone: Vec<&str> = named.into_iter().filter(|name| !there.contains(*name)).collect();
    assert!(gone.is_empty(), "deploy/security/README.md names what is no test: {gone:?}");
}

/// Names of tests are sentences.
fn is_test(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.chars().all(legal) && name.matches('_').count() >= 2
}

/// What is called `fn` in the sources and the tests.
fn functions() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<PathBuf> = vec![root.join("src"), root.join("tests")];
    let mut found = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder that was just listed") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(path).expect("UTF-8");
                let names = text.split("fn ").skip(1).filter_map(|rest| rest.split('(').next());
                found.extend(names.map(str::to_owned));
            }
        }
    }
    found
}
