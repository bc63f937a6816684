//! The tables of `matrix.txt`: policies, who asks, and what becomes of each.
//!
//! A block begins with its policies, one a line: `namespace/name {spec}`. Then comes a line of
//! callers, and for each request a line with what becomes of each of them: `A` allowed, `D` denied,
//! `O` would be denied but is only observed, `M` mutual TLS is asked for, `H` HTTP is asked for.
//! The oracle is asked too.

use super::oracle::{self, Http, Question, Told};
use super::random::{asker, read};
use super::{Decision, compiled};
use crate::access::Why;
use crate::resources::{Origin, Value as Read, yaml};
use crate::telemetry::metrics::Registry;

const TABLES: &str = include_str!("matrix.txt");

/// `web`, `far/web` or `plain`, each with `@address`.
fn caller(word: &str) -> (Option<(String, String)>, std::net::IpAddr) {
    let (name, source) = word.split_once('@').unwrap_or((word, "10.0.0.1"));
    let id = (name != "plain").then(|| {
        let (namespace, account) = name.split_once('/').unwrap_or(("shop", name));
        (namespace.to_owned(), account.to_owned())
    });
    (id, source.parse().expect(word))
}

/// `GET /path`, `tcp`, `heard`, each with `port=`, `host=` or `name:value`.
fn question(words: &[&str], who: &str) -> Question {
    let (caller, source) = caller(who);
    let mut question =
        Question { port: 80, source, caller, http: None, is_declared: words[0] == "tcp" };
    let mut more = &words[1..];
    if !matches!(words[0], "tcp" | "heard") {
        let (method, path) = (words[0].to_owned(), words[1].to_owned());
        let host = Some("api.shop".to_owned());
        question.http = Some(Http { method, path, host, headers: Vec::new() });
        more = &words[2..];
    }
    for word in more {
        if let Some(port) = word.strip_prefix("port=") {
            question.port = port.parse().expect(word);
            continue;
        }
        let http = question.http.as_mut().expect("only HTTP has more");
        match word.strip_prefix("host=") {
            Some(host) => http.host = (!host.is_empty()).then(|| host.to_owned()),
            None => {
                let (name, value) = word.split_once(':').expect("name:value");
                http.headers.push((name.to_owned(), value.replace('+', " ")));
            }
        }
    }
    question
}

fn letter(decision: &Decision<'_>) -> &'static str {
    match (decision.word(), decision.why) {
        ("allow", _) => "A",
        ("would-deny", _) => "O",
        (_, Why::Plaintext) => "M",
        (_, Why::NotHttp) => "H",
        _ => "D",
    }
}

fn told(line: &str) -> Told {
    let (title, spec) = line.split_once(' ').expect("a title and a spec");
    let (namespace, name) = title.split_once('/').expect("namespace/name");
    let nodes = yaml::parse(spec, &Origin::file("matrix.txt")).expect(spec);
    (namespace.to_owned(), name.to_owned(), json(&nodes[0].value))
}

fn json(value: &Read) -> serde_json::Value {
    match value {
        Read::Null => serde_json::Value::Null,
        Read::Bool(value) => (*value).into(),
        Read::Int(value) => (*value).into(),
        Read::Float(value) => (*value).into(),
        Read::String(value) => value.as_str().into(),
        Read::List(items) => items.iter().map(|item| json(&item.value)).collect(),
        Read::Map(entries) => {
            let entry = |(key, node): &(crate::resources::Key, crate::resources::Node)| {
                (key.name.clone(), json(&node.value))
            };
            entries.iter().map(entry).collect::<serde_json::Map<_, _>>().into()
        }
    }
}

#[test]
fn every_cell_of_the_tables_holds() {
    let (mut cells, mut wrong) = (0, Vec::new());
    for block in TABLES.split("\n\n") {
        let lines: Vec<&str> =
            block.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
        let is_policy = |line: &&&str| line.contains('{') && line.contains('/');
        let policies: Vec<Told> =
            lines.iter().take_while(is_policy).map(|line| told(line)).collect();
        let Some((callers, rows)) = lines[policies.len()..].split_first() else { continue };
        let callers: Vec<&str> = callers.split_whitespace().collect();
        let policy = compiled(&read(&policies), &Registry::default());
        for row in rows {
            let words: Vec<&str> = row.split_whitespace().collect();
            let (words, expected) = words.split_at(words.len() - callers.len());
            for (who, expected) in callers.iter().zip(expected) {
                let question = question(words, who);
                let found = asker(&question).ask(&policy, |decision, _| letter(&decision));
                let oracle = oracle::verdict(&policies, &question);
                let of_oracle = match *expected {
                    "A" => "allow",
                    "O" => "would-deny",
                    _ => "deny",
                };
                if found != *expected || oracle != of_oracle {
                    wrong.push(format!("{who}: {row}: {found}, the oracle {oracle}"));
                }
                cells += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cells >= 400, "{cells} cells were read");
}
