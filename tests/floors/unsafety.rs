//! Where the sources may say `unsafe`, and what for. Each block has its `SAFETY` (clippy sees to
//! that); here it has a reason to be there at all: a system call that the standard library does not
//! have, or a buffer or allocator that only `unsafe` reaches. Whoever adds one says which.

use super::{is_test, sources};
use crate::tokens::{tokens, without_tests};

const CALL: &str = "a system call that no safe crate here has";

const MAY: &[(&str, &str)] = &[
    ("cli/control/seeing/top.rs", CALL),
    ("demo/process.rs", CALL),
    ("demo/table.rs", CALL),
    ("intercept/check.rs", CALL),
    ("intercept/netlink.rs", CALL),
    ("intercept/network.rs", CALL),
    ("runtime/allocator.rs", "mimalloc; measured: 5 % of the instructions of a hop"),
    ("runtime/descriptors.rs", CALL),
    ("runtime/exempt.rs", CALL),
    ("runtime/hyper_io.rs", "reads straight into hyper's buffer, whose type has no safe way in"),
    ("runtime/profiler/sampler.rs", "timers and a handler of signals, which copies a stack"),
    ("runtime/program.rs", CALL),
    ("tcp/splice.rs", CALL),
];

#[test]
fn unsafe_is_where_it_is_said_to_be() {
    let sources = sources();
    let is_unsafe = |text: &str| {
        let found = tokens(text);
        without_tests(&found).iter().any(|token| token.text == "unsafe")
    };
    let found: Vec<&str> = sources
        .iter()
        .filter(|(path, text)| !is_test(path) && is_unsafe(text))
        .map(|(path, _)| path.as_str())
        .collect();
    let may: Vec<&str> = MAY.iter().map(|(path, _)| *path).collect();
    assert_eq!(found, may, "the files with `unsafe`, and those that may have it");
}
