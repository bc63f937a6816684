//! Rules and requests in few words, for the tests of this room.

mod cors;
mod filters;
mod matching;
mod oracle;
mod redirects;
mod weights;

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, Request};

use super::{Found, Head, Table};
use crate::model::{
    HeaderMatch, Hostname, Match, PathMatch, QueryMatch, RouteKind, Rule, ValueMatch,
};

/// A rule named by its place among the others, for every host.
fn rule(matches: impl IntoIterator<Item = Match>) -> Rule {
    Rule {
        kind: RouteKind::Http,
        name: "rule".into(),
        hostnames: Vec::new(),
        matches: matches.into_iter().collect(),
        filters: Vec::new(),
        backends: Vec::new(),
        policy: Arc::default(),
    }
}

/// A name, or `*.` and a domain.
fn hostname(written: &str) -> Hostname {
    match written.strip_prefix('*') {
        Some(domain) => Hostname::Below(domain.into()),
        None => Hostname::Exact(written.into()),
    }
}

fn on_hosts(names: &[&str], rule: Rule) -> Rule {
    Rule { hostnames: names.iter().map(|name| hostname(name)).collect(), ..rule }
}

fn grpc(rule: Rule) -> Rule {
    Rule { kind: RouteKind::Grpc, ..rule }
}

fn path(path: PathMatch) -> Match {
    Match { path: Some(path), ..Match::default() }
}

fn exact(of: &str) -> Match {
    path(PathMatch::Exact(of.into()))
}

fn prefix(of: &str) -> Match {
    path(PathMatch::Prefix(of.into()))
}

fn pattern(of: &str) -> Match {
    path(PathMatch::Regex(of.into()))
}

fn value(written: &str) -> ValueMatch {
    match written.strip_prefix('~') {
        Some(pattern) => ValueMatch::Regex(pattern.into()),
        None => ValueMatch::Exact(written.into()),
    }
}

impl Match {
    fn method(self, method: Method) -> Self {
        Match { method: Some(method), ..self }
    }

    /// A value that begins with `~` is a pattern.
    fn header(mut self, name: &str, of: &str) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        self.headers.push(HeaderMatch { name, value: value(of) });
        self
    }

    /// A value that begins with `~` is a pattern.
    fn query(mut self, name: &str, of: &str) -> Self {
        self.query.push(QueryMatch { name: name.into(), value: value(of) });
        self
    }
}

fn table(rules: impl IntoIterator<Item = Rule>) -> Table {
    Table::compile(&rules.into_iter().map(Arc::new).collect::<Vec<_>>())
}

/// The head of `GET target`, with headers as `name: value`.
fn get(target: &str, headers: &[&str]) -> Parts {
    request("GET", target, headers)
}

fn request(method: &str, target: &str, headers: &[&str]) -> Parts {
    let mut request = Request::builder().method(method).uri(target);
    for header in headers {
        let (name, value) = header.split_once(": ").expect("a name and a value");
        request = request.header(name, value);
    }
    request.body(()).expect("a request").into_parts().0
}

fn find(table: &Table, parts: &Parts) -> Option<usize> {
    table.find(&Head::of(parts, false)).map(|Found { rule, .. }| rule)
}

/// All lines, as `name: value`, in alphabetical order.
fn lines(headers: &HeaderMap) -> Vec<String> {
    let line = |(name, value): (&HeaderName, &http::HeaderValue)| {
        format!("{name}: {}", value.to_str().expect("text"))
    };
    let mut lines: Vec<String> = headers.iter().map(line).collect();
    lines.sort();
    lines
}
