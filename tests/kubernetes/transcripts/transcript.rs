//! What an API server was asked and what it said, in the order in which it passed.
//!
//! A file of lines of JSON. A request has a number, and what was said to it bears the same. An answer
//! is one part, a watch one for each event. The order of all lines tells what may follow from what.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Who {
    /// Our own code.
    Mesh,
    /// The scenario, in place of people, kubelets and controllers.
    People,
}

impl Who {
    /// The bearer token by which a door knows them.
    pub fn token(self) -> &'static str {
        match self {
            Who::Mesh => "mesh",
            Who::People => "people",
        }
    }
}

/// A request, as far as it says what is wanted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    pub by: Who,
    pub method: String,
    /// With its query.
    pub path: String,
    /// Of the body: JSON, or the kind of patch.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub body: Value,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Line {
    /// The first: what was recorded.
    #[serde(rename_all = "camelCase")]
    About { api_server: String, outrigger: String },
    Request {
        id: usize,
        #[serde(flatten)]
        asked: Asked,
    },
    /// An answer begins.
    Head { to: usize, status: u16 },
    /// A part of it: the whole, or an event of a watch. Text that is no JSON is a string.
    Part { to: usize, body: Value },
    /// It ended as it should.
    End { to: usize },
    /// The server called our webhook before it answered.
    Call { to: usize, review: Value, answer: Value },
    /// The scenario came to a point that the server could notice otherwise than by a request.
    Mark(String),
}

impl Line {
    /// The request that it belongs to.
    pub fn request(&self) -> Option<usize> {
        match self {
            Line::Request { id, .. } => Some(*id),
            Line::Head { to, .. }
            | Line::Part { to, .. }
            | Line::End { to }
            | Line::Call { to, .. } => Some(*to),
            Line::About { .. } | Line::Mark(_) => None,
        }
    }
}

/// Query parts that differ from run to run, or say nothing of what is wanted.
const UNSTEADY: [&str; 2] = ["timeoutSeconds", "limit"];

impl Asked {
    /// What tells requests apart, but for their bodies.
    pub fn key(&self) -> String {
        let (path, query) = self.path.split_once('?').unwrap_or((&self.path, ""));
        let is_steady = |pair: &&str| {
            let name = pair.split('=').next().unwrap_or_default();
            !pair.ends_with('=') && !pair.is_empty() && !UNSTEADY.contains(&name)
        };
        let mut query: Vec<&str> = query.split('&').filter(is_steady).collect();
        // That it goes on from a version is steady, and from which is not; 0 means any.
        for pair in query.iter_mut().filter(|pair| pair.starts_with("resourceVersion=")) {
            if *pair != "resourceVersion=0" {
                *pair = "resourceVersion=*";
            }
        }
        query.sort_unstable();
        let mark = if query.is_empty() { "" } else { "?" };
        let kind = if self.kind.is_empty() { "" } else { " as " };
        let Asked { by, method, kind: name, .. } = self;
        format!("{} {method} {path}{mark}{}{kind}{name}", by.token(), query.join("&"))
    }

    pub fn is_watch(&self) -> bool {
        self.path.contains("watch=true") || self.path.contains("watch=1")
    }

    /// Whether something may follow from it.
    pub fn is_write(&self) -> bool {
        self.method != "GET"
    }

    /// The version from which it goes on, if it names one.
    pub fn version(&self) -> Option<&str> {
        let query = self.path.split_once('?')?.1;
        let version = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion="))?;
        (!version.is_empty() && version != "0").then_some(version)
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key())
    }
}

/// Where the transcript of a scenario is.
pub fn file(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kubernetes/transcripts");
    folder.join(name).with_extension("jsonl")
}

/// Reads one.
pub fn load(name: &str) -> Vec<Line> {
    let file = file(name);
    let text = std::fs::read_to_string(&file);
    let text = text.unwrap_or_else(|error| panic!("{}: {error}; record it", file.display()));
    let line = |(number, text)| {
        let line = serde_json::from_str(text);
        line.unwrap_or_else(|error| panic!("{}:{}: {error}", file.display(), number + 1))
    };
    text.lines().enumerate().map(line).collect()
}

/// Writes one, without what only that run knows.
pub fn store(name: &str, lines: Vec<Line>) {
    let lines = without_repeats(lines);
    let mut text = String::new();
    for line in &lines {
        text.push_str(&serde_json::to_string(line).expect("lines can be written"));
        text.push('\n');
    }
    for (number, signature) in signatures(&lines).iter().enumerate() {
        text = text.replace(signature, &format!("signature-{number}"));
    }
    // At once, for whoever reads it meanwhile.
    let new = file(name).with_extension("new");
    std::fs::write(&new, text).expect("the folder of transcripts is writable");
    std::fs::rename(new, file(name)).expect("a name beside it");
}

/// Those of all tokens that were given.
fn signatures(lines: &[Line]) -> BTreeSet<String> {
    let token = |line: &Line| match line {
        Line::Part { body, .. } if body["kind"] == "TokenRequest" => {
            let token = body["status"]["token"].as_str()?;
            token.rsplit_once('.').map(|(_, signature)| signature.to_owned())
        }
        _ => None,
    };
    lines.iter().filter_map(token).collect()
}

/// Without requests that nobody answered, and without what people were told again while they waited
/// for something.
fn without_repeats(lines: Vec<Line>) -> Vec<Line> {
    let (mut dropped, mut told) = (BTreeSet::new(), std::collections::HashMap::new());
    for line in &lines {
        let Line::Request { id, asked } = line else { continue };
        let answer: Vec<Value> = lines
            .iter()
            .filter_map(|line| match line {
                Line::Head { to, status } if to == id => Some((*status).into()),
                Line::Part { to, body } if to == id => Some(body.clone()),
                _ => None,
            })
            .collect();
        let waits = asked.by == Who::People && !asked.is_write() && !asked.is_watch();
        if answer.is_empty() || (waits && told.get(&asked.key()) == Some(&answer)) {
            dropped.insert(*id);
        } else if waits {
            told.insert(asked.key(), answer);
        }
    }
    lines
        .into_iter()
        .filter(|line| line.request().is_none_or(|id| !dropped.contains(&id)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(by: Who, method: &str, path: &str) -> Asked {
        Asked {
            by,
            method: method.into(),
            path: path.into(),
            kind: String::new(),
            body: Value::Null,
        }
    }

    #[test]
    fn what_differs_from_run_to_run_does_not_tell_requests_apart() {
        let key = |path| asked(Who::Mesh, "GET", path).key();
        let one = key("/api/v1/pods?watch=true&resourceVersion=7&timeoutSeconds=290");
        assert_eq!(one, key("/api/v1/pods?&resourceVersion=91&watch=true"));
        for other in ["/api/v1/pods", "/api/v1/pods?watch=true&resourceVersion="] {
            assert_ne!(one, key(other));
        }
        assert_ne!(one, key("/api/v1/pods?watch=true&resourceVersion=0"));
        assert_ne!(one, asked(Who::People, "GET", "/api/v1/pods?watch=true").key());
        assert_eq!(asked(Who::Mesh, "GET", "/a?x=1&resourceVersion=7").version(), Some("7"));
        assert_eq!(asked(Who::Mesh, "GET", "/a?resourceVersion=0").version(), None);
    }

    #[test]
    fn what_people_are_told_again_is_left_out_and_what_is_told_anew_is_not() {
        let ask = |id, by, said: &str| {
            let asked = asked(by, "GET", "/api/v1/pods");
            let (head, body) = (Line::Head { to: id, status: 200 }, Value::from(said));
            [Line::Request { id, asked }, head, Line::Part { to: id, body }, Line::End { to: id }]
        };
        let rows = [
            (Who::People, "a"),
            (Who::People, "a"),
            (Who::Mesh, "a"),
            (Who::Mesh, "a"),
            (Who::People, "b"),
            (Who::People, "a"),
        ];
        let all = rows.iter().enumerate().flat_map(|(id, (by, said))| ask(id, *by, said));
        let left = without_repeats(
            all.chain([Line::Request {
                id: 9,
                asked: asked(Who::Mesh, "GET", "/nobody/answered"),
            }])
            .collect(),
        );
        let ids: BTreeSet<usize> = left.iter().filter_map(Line::request).collect();
        assert_eq!(ids.into_iter().collect::<Vec<_>>(), [0, 2, 3, 4, 5]);
    }

    #[test]
    fn all_of_them_are_small_and_hold_no_keys() {
        let folder = file("any");
        let entries = std::fs::read_dir(folder.parent().expect("a folder")).expect("it is there");
        let (mut bytes, mut tokens) = (0, 0);
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.extension().is_none_or(|extension| extension != "jsonl") {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("text");
            bytes += text.len();
            assert!(!text.contains("PRIVATE KEY"), "{}", path.display());
            assert!(text.starts_with(r#"{"about":{"apiServer":"v1."#), "{}", path.display());
            let is_token = |text: &&str| text.starts_with("eyJ") && text.contains('.');
            for token in text.split('"').filter(is_token) {
                tokens += 1;
                let signature = token.rsplit('.').next().unwrap_or_default();
                assert!(signature.starts_with("signature-"), "{}: {token}", path.display());
            }
        }
        assert!(tokens > 0);
        assert!((1..300 << 10).contains(&bytes), "{bytes} bytes");
    }
}
