//! Old sidecars meet new control planes, and the other way round: what was once released stays.
//!
//! `proto/outrigger/v1/released.txt` lists every RPC, message field and enum value of the releases
//! there were; each must still be there under its number. New ones are added to the list with the
//! release that brings them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Each RPC, field and value as one line, such as `mesh.proto Hello.version = 3 string`.
fn said(folder: &Path) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for file in ["authority", "configuration", "identity", "mesh", "observe", "replicas", "tap"] {
        let name = format!("{file}.proto");
        let text = fs::read_to_string(folder.join(&name)).expect("the protocol");
        let mut path: Vec<String> = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
            let words: Vec<&str> = line.trim_end_matches([';', '{', ' ']).split(' ').collect();
            match words[..] {
                ["message" | "enum" | "service", of] => path.push(of.to_owned()),
                // Its fields are numbered with those of the message.
                ["oneof", _] => path.push(String::new()),
                ["syntax", ..] => {}
                ["rpc", ..] => {
                    all.insert(format!("{name} {} {line}", path.join(".")));
                }
                [ref kind @ .., field, "=", number] => {
                    let of: Vec<&str> =
                        path.iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
                    let kind = kind.join(" ");
                    all.insert(format!("{name} {}.{field} = {number} {kind}", of.join(".")));
                }
                _ => {}
            }
            // Empty messages and rpcs open and close on one line.
            if line == "}" || (line.ends_with("{}") && line.starts_with("message")) {
                path.pop();
            }
        }
    }
    all
}

#[test]
fn what_was_released_stays() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/outrigger/v1");
    let now = said(&folder);
    assert!(now.len() > 100, "only {} lines were found", now.len());
    let released = fs::read_to_string(folder.join("released.txt")).expect("the list");
    let lost: Vec<&str> = released
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#') && !now.contains(*line))
        .collect();
    assert!(lost.is_empty(), "released, and gone or changed:\n{}", lost.join("\n"));
    let new: Vec<&String> =
        now.iter().filter(|line| !released.lines().any(|known| known == *line)).collect();
    assert!(new.is_empty(), "add to released.txt:\n{new:#?}");
}
