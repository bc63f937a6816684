//! Keeps the house a tree: a room imports only from floors below its own.
//!
//! The plan is read from the table in `src/lib.rs`, so the picture and the check can't disagree.
//! The sources are read as text, tests left out: a path counts wherever it stands, under whatever
//! feature, used or not. Kept here too are the marks of every file: how it opens, how long it is,
//! and that nothing in it unwraps.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use tokens::{Token, group, texts, tokens, without_tests};

mod panics;
mod planted;
mod threats;
mod tokens;
mod unsafety;

/// Rooms that see fewer floors than the ones below theirs, and the highest that they may see.
const CAPPED: &[(&str, u8)] = &[("control", 3)];

/// No longer file is one room.
const LINES: usize = 400;

/// The ones that are, and why.
const LONGER: &[(&str, &str)] = &[];

#[test]
fn every_room_imports_from_below() {
    let sources = sources();
    let (files, faults) = (sources.len(), check(&sources));
    assert!(files > 100, "only {files} files were found");
    let (many, list) = (faults.len(), faults.join("\n"));
    assert!(faults.is_empty(), "{many} faults:\n{list}");
}

/// A file under `src`, by its path from there.
type Source = (String, String);

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder that was just listed") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).expect("below src");
                let text = fs::read_to_string(&path).expect("UTF-8");
                found.push((name.display().to_string(), text));
            }
        }
    }
    found.sort();
    found
}

/// Everything that is wrong, one line each.
fn check(sources: &[Source]) -> Vec<String> {
    let lib = sources.iter().find(|(path, _)| path == "lib.rs");
    let (plan, mut faults) = plan(lib.map_or("", |(_, text)| text));
    let rooms: BTreeSet<&str> = sources.iter().filter_map(|(path, _)| room(path)).collect();
    for room in &rooms {
        if !plan.contains_key(room) {
            faults.push(format!("src/{room}: stands on no floor of src/lib.rs"));
        }
    }
    for room in plan.keys().filter(|room| !rooms.contains(*room)) {
        faults.push(format!("src/lib.rs: names `{room}`, which is not there"));
    }
    for (path, text) in sources {
        faults.extend(marks(path, text));
        if !is_test(path) {
            faults.extend(code(path, text, &plan));
        }
    }
    faults
}

/// The floor of each room, from the first two columns of the table in `lib.rs`.
fn plan(lib: &str) -> (BTreeMap<&str, u8>, Vec<String>) {
    let (mut plan, mut faults) = (BTreeMap::new(), Vec::new());
    for row in lib.lines().filter_map(|line| line.strip_prefix("//! |")) {
        let mut cells = row.split('|').map(str::trim);
        let (Some(Ok(floor)), Some(rooms)) = (cells.next().map(str::parse::<u8>), cells.next())
        else {
            continue;
        };
        for room in rooms.split('`').skip(1).step_by(2) {
            if plan.insert(room, floor).is_some() {
                faults.push(format!("src/lib.rs: names `{room}` twice"));
            }
        }
    }
    (plan, faults)
}

/// The room that a file belongs to; none for `lib.rs` and the binaries, which see everything.
fn room(path: &str) -> Option<&str> {
    let room = path.split('/').next()?.trim_end_matches(".rs");
    (room != "lib" && room != "bin").then_some(room)
}

fn is_test(path: &str) -> bool {
    path.split('/').any(|part| part == "tests" || part == "tests.rs")
}

/// How a file opens, and how long it is.
fn marks(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if !text.starts_with("//!") {
        faults.push(format!("src/{path}:1: does not open with `//!`: what is it for?"));
    }
    let (lines, excused) = (text.lines().count(), LONGER.iter().any(|(name, _)| *name == path));
    if lines > LINES && !excused && !is_test(path) {
        faults.push(format!("src/{path}:{LINES}: {lines} lines are two files"));
    }
    if lines <= LINES && excused {
        faults.push(format!("src/{path}: is short again; take it out of LONGER"));
    }
    faults
}

/// What the code of a file reaches, and unwraps.
fn code(path: &str, text: &str, plan: &BTreeMap<&str, u8>) -> Vec<String> {
    let tokens = without_tests(&tokens(text));
    let fault = |line: usize, why: String| {
        let code = text.lines().nth(line - 1).unwrap_or_default().trim();
        format!("src/{path}:{line}: {why}: {code}")
    };
    let mut faults: Vec<String> = tokens
        .windows(4)
        .filter(|four| texts(four) == [".", "unwrap", "(", ")"])
        .map(|four| fault(four[1].line, "unwraps".into()))
        .collect();
    if let Some(own) = room(path) {
        let reached: BTreeSet<(usize, &str)> = reached(&tokens, depth(path)).into_iter().collect();
        let refused = |(line, used): (usize, &str)| Some(fault(line, refusal(own, used, plan)?));
        faults.extend(reached.into_iter().filter_map(refused));
    }
    faults
}

/// Why `own` may not use `used`.
fn refusal(own: &str, used: &str, plan: &BTreeMap<&str, u8>) -> Option<String> {
    // A room without a floor has been complained about.
    let floor = *plan.get(own)?;
    let Some(&below) = plan.get(used) else {
        return Some(format!("`{used}` is no room, and nothing else is taken from the root"));
    };
    let cap = CAPPED.iter().find(|(room, _)| *room == own).map(|(_, cap)| *cap);
    let may = own == used || (below < floor && cap.is_none_or(|cap| below <= cap));
    (!may).then(|| format!("`{own}` on floor {floor} may not use `{used}` on floor {below}"))
}

/// How many modules below the root a file's code is.
fn depth(path: &str) -> usize {
    let parts = path.split('/').count();
    if path.ends_with("/mod.rs") { parts - 1 } else { parts }
}

/// Each name that is taken from the root, by `crate::` or by climbing, with its line. `depth` is
/// the file's; modules written inside it come on top.
fn reached<'t>(tokens: &[Token<'t>], depth: usize) -> Vec<(usize, &'t str)> {
    let (mut found, mut braces, mut inner) = (Vec::new(), 0usize, Vec::new());
    for at in 0..tokens.len() {
        let after = |word: &str| at > 0 && tokens[at - 1].text == word;
        match tokens[at].text {
            "{" => {
                braces += 1;
                if at > 1 && tokens[at - 2].text == "mod" {
                    inner.push(braces);
                }
            }
            "}" => {
                if inner.last() == Some(&braces) {
                    inner.pop();
                }
                braces = braces.saturating_sub(1);
            }
            // `self::super` is the only way to have one after another segment.
            "crate" | "super" if !after("::") || (at > 1 && tokens[at - 2].text == "self") => {
                walk(&tokens[at..], depth + inner.len(), &mut found);
            }
            _ => {}
        }
    }
    found
}

/// Follows a path, or a tree of them in a `use`, that begins `depth` modules below the root.
fn walk<'t>(tokens: &[Token<'t>], depth: usize, found: &mut Vec<(usize, &'t str)>) {
    let Some(first) = tokens.first() else { return };
    let depth = match first.text {
        "crate" => 0,
        "super" => depth.saturating_sub(1),
        "self" => depth,
        // After a last comma.
        "}" => return,
        "{" => return branches(tokens).for_each(|branch| walk(branch, depth, found)),
        name => {
            if depth == 0 {
                found.push((first.line, name));
            }
            return;
        }
    };
    match tokens.get(1).map(|token| token.text) {
        Some("::") => walk(&tokens[2..], depth, found),
        // Under another name the root could be used unseen.
        Some("as") if depth == 0 => found.push((first.line, first.text)),
        _ => {}
    }
}

/// What follows each opening and comma of the group that `tokens` begins with.
fn branches<'a, 't>(tokens: &'a [Token<'t>]) -> impl Iterator<Item = &'a [Token<'t>]> {
    let mut nested = 0usize;
    tokens[..group(tokens)].iter().enumerate().filter_map(move |(at, token)| {
        match token.text {
            "{" => nested += 1,
            "}" => nested -= 1,
            _ => {}
        }
        let begins = nested == 1 && matches!(token.text, "{" | ",");
        begins.then(|| &tokens[at + 1..])
    })
}
