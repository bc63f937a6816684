//! What the mesh tells the usual tools: the documented metric families held against real scrapes,
//! a real Prometheus, the alert rules and the dashboard, the logs, and the reasons' advice.
//!
//! The tables in the README are the list of what there is: everything here is held against them.

mod dashboard;
mod families;
mod logs;
mod prometheus;
mod reasons;
mod scene;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::harness::host::NO_SKIP;

/// Names with their labels.
pub type Families = BTreeMap<String, BTreeSet<String>>;

/// The families that a table of the README lists: `sidecar` or `control plane`.
pub fn documented(of: &str) -> Families {
    let readme = read("README.md");
    let marker = format!("<!-- metrics: {of} -->");
    let (_, rest) = readme.split_once(&marker).expect("the README has the table");
    let (table, _) = rest.split_once("<!-- /metrics -->").expect("the table ends");
    let row = |line: &str| {
        let mut cells =
            line.split('|').skip(1).map(|cell| cell.trim().trim_matches('`').to_owned());
        let name = cells.next().filter(|name| name.starts_with("outrigger_"))?;
        let labels = cells.next()?;
        Some((name, labels.split_whitespace().map(str::to_owned).collect()))
    };
    let families: Families = table.lines().filter_map(row).collect();
    assert!(families.len() > 10, "{families:?}");
    families
}

/// A file of the project.
pub fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Whether a program of Debian's package `prometheus` is there. Without it the scenario is left out
/// with a line that says so, unless `TESTS_MUST_NOT_SKIP` is set.
pub fn has(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output();
    match found {
        Ok(output) if output.status.success() => true,
        found => {
            assert!(std::env::var_os(NO_SKIP).is_none(), "{program} is needed: {found:?}");
            eprintln!("skipped: this needs `{program}` (Debian's package prometheus): {found:?}");
            false
        }
    }
}

/// Runs `promtool`, in the folder of the rules.
pub fn promtool(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new("promtool")
        .args(arguments)
        .current_dir(root().join("deploy/observability"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it was there just now");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

/// What a program said, all of it.
pub fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}
