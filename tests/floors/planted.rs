//! The check checked: in a small house, each fault that is planted is found, and nothing else.

use super::{LINES, check};

const PLAN: &str = "//! A house.
//!
//! | floor | rooms | what for |
//! |---|---|---|
//! | 5 | [`front`] [`control`] | `not` a room |
//! | 4 | `wide` | doors |
//! | 3 | [`high`] [`beside`] | thoughts |
//! | 0 | [`low`] | nouns |
";

/// File, its code below the first line (`⏎` for a line's end), what is said about it.
const FAULTS: &str = r####"
high/mod.rs ┃ use crate::front::X;                          ┃ `high` on floor 3 may not use `front` on floor 5
high/a.rs   ┃ use crate::beside::X;                         ┃ may not use `beside` on floor 3
high/a.rs   ┃ use crate::{low::{A, B}, high, wide::C};      ┃ may not use `wide`
high/a.rs   ┃ use {std::fmt, crate::wide};                  ┃ may not use `wide`
high/a.rs   ┃ fn f() -> Option<crate::wide::X> { None }     ┃ may not use `wide`
high/a.rs   ┃ macro_rules! m { () => { $crate::wide::f() } }┃ may not use `wide`
high/a.rs   ┃ use crate::⏎{⏎low,⏎wide,⏎};                   ┃ high/a.rs:5: `high` on floor 3 may not use `wide`
high/mod.rs ┃ use super::wide::X;                           ┃ may not use `wide`
high/a.rs   ┃ use super::super::wide::X;                    ┃ may not use `wide`
high/a.rs   ┃ use self::super::super::{low, wide};          ┃ may not use `wide`
high/a.rs   ┃ use super::{super::wide::X};                  ┃ may not use `wide`
high/a.rs   ┃ mod m { use super::super::super::wide::X; }   ┃ may not use `wide`
high/a.rs   ┃ mod m { } use super::super::wide::X;          ┃ may not use `wide`
high/a/b.rs ┃ use super::super::super::wide::X;             ┃ may not use `wide`
control/a.rs┃ use crate::wide::X;                           ┃ `control` on floor 5 may not use `wide` on floor 4
high/a.rs   ┃ use crate::*;                                 ┃ `*` is no room
high/a.rs   ┃ use crate::nowhere;                           ┃ `nowhere` is no room
high/a.rs   ┃ use crate as house;                           ┃ `crate` is no room
high/a.rs   ┃ use crate::{self as house};                   ┃ `self` is no room
high/a.rs   ┃ #[cfg(test)]⏎use crate::wide;⏎use crate::front;             ┃ a.rs:4: `high`
high/a.rs   ┃ #[cfg(test)]⏎mod tests { fn f() {} }⏎use crate::front;      ┃ a.rs:4: `high`
high/a.rs   ┃ struct S { #[cfg(test)] a: u8, b: crate::wide::X }          ┃ may not use `wide`
high/a.rs   ┃ #[cfg(not(test))] use crate::wide;            ┃ may not use `wide`
high/a.rs   ┃ const C: char = '"'; use crate::wide; // "    ┃ may not use `wide`
high/a.rs   ┃ const S: &str = "\\"; use crate::wide; // "   ┃ may not use `wide`
high/a.rs   ┃ fn f(x: &'static str) { crate::wide::f('\'') }┃ may not use `wide`
high/a.rs   ┃ const R: &str = r#""quoted"#; use crate::wide;┃ may not use `wide`
low/a.rs    ┃ fn f() { g()⏎  .unwrap(); }                   ┃ src/low/a.rs:3: unwraps: .unwrap(); }
bin/a.rs    ┃ fn main() { g().unwrap(); }                   ┃ src/bin/a.rs:2: unwraps
attic/mod.rs┃                                               ┃ src/attic: stands on no floor
attic.rs    ┃ use crate::front;                             ┃ src/attic: stands on no floor
"####;

/// File and code with which nothing is wrong.
const SOUND: &str = r####"
high/a.rs    ┃ use crate::{high::b, low::X}; pub(crate) use super::b; pub(super) fn f() {}
high/a/b.rs  ┃ use super::super::c; pub(in super::super) fn f() {}
high/a.rs    ┃ mod m { use super::super::b; }
control/a.rs ┃ use crate::{high, low};
wide/a.rs    ┃ use crate::{beside::A, high::B, low::C};
high/a.rs    ┃ // crate::wide⏎/* a /* nested */ crate::wide */ fn f() {}
high/a.rs    ┃ const S: [&str; 3] = ["\"crate::wide", r"\", r##""# crate::wide"##];
high/a.rs    ┃ const S: &[u8] = b"crate::wide"; const C: u8 = b'"'; const D: &str = "crate::wide";
high/a.rs    ┃ #[cfg(test)]⏎#[path = "x"]⏎mod tests { use crate::front; fn f() { g().unwrap() } }
high/a.rs    ┃ #[cfg(all(test, unix))]⏎use crate::front;
high/a.rs    ┃ #[cfg(test)]⏎fn f() -> [u8; 2] { crate::wide::f() }
high/tests.rs┃ use crate::front; fn f() { g().unwrap() }
high/a/tests/b.rs ┃ use crate::front;
bin/a.rs     ┃ use outrigger::front;
high/a.rs    ┃ fn f() { g().unwrap_or_default() }
"####;

/// The faults of a small house in which `path` holds `text`.
fn faults_of(path: &str, text: &str) -> Vec<String> {
    let rooms = ["front", "control", "wide", "high", "beside", "low"];
    let mut house = vec![("lib.rs".to_owned(), PLAN.to_owned())];
    house.extend(rooms.map(|room| (format!("{room}/mod.rs"), "//! A room.\n".to_owned())));
    house.retain(|(known, _)| known != path);
    house.push((path.to_owned(), text.to_owned()));
    check(&house)
}

/// The cells of each row; the second one as a file's text.
fn rows(table: &str) -> impl Iterator<Item = (&str, String, Option<&str>)> {
    table.lines().filter(|row| !row.is_empty()).map(|row| {
        let mut cells = row.split('┃').map(str::trim);
        let (path, code) = (cells.next().expect("a path"), cells.next().expect("code"));
        (path, format!("//! For a test.\n{}\n", code.replace('⏎', "\n")), cells.next())
    })
}

#[test]
fn what_is_planted_is_found() {
    for (path, text, expected) in rows(FAULTS) {
        let faults = faults_of(path, &text);
        assert_eq!(faults.len(), 1, "{path}: {text}{faults:?}");
        assert!(faults[0].contains(expected.expect("three cells")), "{path}: {text}{faults:?}");
    }
}

#[test]
fn what_is_sound_passes() {
    for (path, text, _) in rows(SOUND) {
        let faults = faults_of(path, &text);
        assert!(faults.is_empty(), "{path}: {text}{faults:?}");
    }
}

#[test]
fn marks_are_missed() {
    let long = format!("//! Long.\n{}", "fn f() {}\n".repeat(LINES));
    let rows = [
        ("low/a.rs", "fn f() {}\n", Some("low/a.rs:1: does not open with")),
        ("low/tests.rs", "fn f() {}\n", Some("low/tests.rs:1: does not open with")),
        ("low/a.rs", &long, Some("401 lines are two files")),
        ("low/tests.rs", &long, None),
        ("lib.rs", "//! | 0 | `low` `low` |", Some("names `low` twice")),
        ("lib.rs", "//! | 0 | `cellar` |", Some("names `cellar`, which is not there")),
    ];
    for (path, text, expected) in rows {
        let faults = faults_of(path, text);
        let found = |expected: &str| faults.iter().any(|fault| fault.contains(expected));
        assert!(expected.map_or(faults.is_empty(), found), "{path}: {faults:?}");
    }
}
