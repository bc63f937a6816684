//! Copies the program's rooms, with loom's atomics in the place of the standard library's where a
//! protocol is modelled.

use std::fs;
use std::path::{Path, PathBuf};

/// What is modelled, below `src`.
const MODELLED: &[&str] =
    &["circuit", "limit", "model/endpoint.rs", "retry", "telemetry/metrics/exemplar.rs"];

fn main() {
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("of cargo"));
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("of cargo"));
    let src = here.join("../../src");
    println!("cargo::rerun-if-changed={}", src.display());
    let rooms = here.join("../miri/rooms.rs");
    println!("cargo::rerun-if-changed={}", rooms.display());
    copy(&src, &src, &out.join("src"));
    let rooms = fs::read_to_string(rooms).expect("the rooms");
    fs::write(out.join("rooms.rs"), rooms.replace("../../src", "src")).expect("room to write");
}

fn copy(src: &Path, from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let from = entry.expect("an entry").path();
        let to = to.join(from.file_name().expect("a name"));
        if from.is_dir() {
            copy(src, &from, &to);
            continue;
        }
        let mut text = fs::read_to_string(&from).expect("a source");
        let path = from.strip_prefix(src).expect("below it");
        if MODELLED.iter().any(|modelled| path.starts_with(modelled)) {
            text = text.replace("use std::sync::atomic::", "use loom::sync::atomic::");
        }
        fs::write(&to, text).expect("room to write");
    }
}
