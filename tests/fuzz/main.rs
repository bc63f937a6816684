//! The properties of `properties`, over every input that was worth keeping and over inputs made of
//! those: an ordinary test, which needs no fuzzer.
//!
//! What the fuzzer found that failed is kept beside the rest, so that it never fails again. The
//! mutations are those of a fixed seed: a failure comes back at the next run.

mod mutation;
mod properties;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use mutation::Mutator;
use properties::{ALL, Property};

/// Inputs made of those of one property. Together some seconds.
const MADE: usize = 4_000;

#[test]
fn certificates() {
    over_the_corpus("certificates");
}

#[test]
fn detection() {
    over_the_corpus("detection");
}

#[test]
fn http1() {
    over_the_corpus("http1");
}

#[test]
fn http2() {
    over_the_corpus("http2");
}

#[test]
fn path() {
    over_the_corpus("path");
}

#[test]
fn resources() {
    over_the_corpus("resources");
}

#[test]
fn tokens() {
    over_the_corpus("tokens");
}

#[test]
fn every_property_has_a_target_and_a_corpus() {
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).expect("the fuzzer's manifest");
    for Property { name, .. } in &ALL {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "no target {name}");
        assert!(!corpus(name).is_empty(), "no corpus of {name}");
    }
}

#[allow(clippy::print_stdout, reason = "it says how many inputs it ran")]
fn over_the_corpus(name: &str) {
    let kept = corpus(name);
    let mut mutator = Mutator::new(&kept);
    let (mut ran, mut failed) = (0, Vec::new());
    for (number, input) in kept.iter().enumerate() {
        let made = (0..MADE.div_ceil(kept.len())).map(|_| mutator.from(input)).collect::<Vec<_>>();
        for input in std::iter::once(input).chain(&made) {
            ran += 1;
            if catch_unwind(AssertUnwindSafe(|| properties::run(name, input))).is_err() {
                failed.push(format!(
                    "of kept input {number}: {:?}",
                    input.escape_ascii().to_string()
                ));
            }
        }
    }
    println!("{name}: {ran} inputs, {} of them kept", kept.len());
    assert!(failed.is_empty(), "{} of {ran} fail:\n{}", failed.len(), failed.join("\n"));
}

/// The kept inputs, in the order of their names.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let files = fs::read_dir(folder().join("corpus").join(name)).expect("a corpus");
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("a file").path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).expect("a kept input")).collect()
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz"))
}
