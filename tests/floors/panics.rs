//! A panic may cost a connection and not the process, so no profile may abort at one.

use std::fs;
use std::path::Path;

/// What the settings of a build have panics do, where they say something else than to unwind.
fn aborting(settings: &str) -> Vec<String> {
    let lines = settings.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    let says = |line: &&str| line.split('=').next().is_some_and(|key| key.trim() == "panic");
    let unwinds = |line: &&str| line.ends_with("\"unwind\"");
    let short = |line: &&str| line.contains("panic=abort") || line.contains("panic = \"abort\"");
    lines.filter(|line| says(line) && !unwinds(line) || short(line)).map(str::to_owned).collect()
}

#[test]
fn every_build_unwinds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["Cargo.toml", ".cargo/config.toml", "Dockerfile", ".ci/run"] {
        let text = fs::read_to_string(root.join(name)).expect("a file of the project");
        assert_eq!(aborting(&text), Vec::<String>::new(), "{name}");
    }
    let manifest = fs::read_to_string(root.join("Cargo.toml")).expect("the manifest");
    let release = manifest.split("[profile.release]").nth(1).expect("a profile of releases");
    let release = release.split("\n[").next().unwrap_or_default();
    assert!(release.contains("panic = \"unwind\""), "the release says what it relies on");
}

#[test]
fn what_aborts_is_found() {
    let found = |text| aborting(text).len();
    assert_eq!(found("panic = \"abort\""), 1);
    assert_eq!(found("panic=\"abort\" # smaller"), 1);
    assert_eq!(found("rustflags = [\"-C\", \"panic=abort\"]"), 1);
    assert_eq!(found("release = { panic = \"abort\", lto = true }"), 1);
    assert_eq!(found("panic = \"unwind\"\n# panic = \"abort\""), 0);
}
