//! Sentences about rules: what a match asks for, what a request lacks, who goes before whom.

use http::request::Parts;

use crate::model::{
    HeaderMatch, Hostname, Match, PathMatch, QueryMatch, RouteKind, Rule, ValueMatch,
};
use crate::outbound::explain::Lack;

/// What a request has that falls under a match.
pub fn has(rule: &Rule, of: Option<&Match>) -> String {
    let mut all: Vec<String> = Vec::new();
    if rule.kind == RouteKind::Grpc {
        all.push("it is a gRPC request".into());
    }
    if !rule.hostnames.is_empty() {
        all.push(format!("its host is {}", hosts(&rule.hostnames)));
    }
    if let Some(Match { path, headers, query, method }) = of {
        all.extend(path.iter().map(|path| format!("its path {}", self::path(path))));
        all.extend(method.iter().map(|method| format!("its method is {method}")));
        all.extend(headers.iter().map(|header| format!("it has a {}", self::header(header))));
        all.extend(
            query.iter().map(|parameter| format!("it has a {}", self::parameter(parameter))),
        );
    }
    if all.is_empty() { "it takes every request".into() } else { all.join(", ") }
}

/// What a request would need.
pub fn lacks(lacks: &[Lack<'_>]) -> String {
    let one = |lack: &Lack<'_>| match lack {
        Lack::Grpc => "it is no gRPC request (content-type: application/grpc)".to_owned(),
        Lack::Host(names) => format!("its host is not {}", hosts(names)),
        Lack::Method(method) => format!("its method is not {method}"),
        Lack::Path(PathMatch::Exact(path)) => format!("its path is not {path}"),
        Lack::Path(PathMatch::Prefix(path)) => format!("its path does not begin with {path}"),
        Lack::Path(PathMatch::Regex(of)) => format!("its path does not match the pattern {of}"),
        Lack::Header(header) => format!("it has no {}", self::header(header)),
        Lack::Query(parameter) => format!("it has no {}", self::parameter(parameter)),
    };
    lacks.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn hosts(names: &[Hostname]) -> String {
    let one = |name: &Hostname| match name {
        Hostname::Exact(name) => name.to_string(),
        Hostname::Below(domain) => format!("*{domain}"),
    };
    names.iter().map(one).collect::<Vec<_>>().join(" or ")
}

fn path(path: &PathMatch) -> String {
    match path {
        PathMatch::Exact(path) => format!("is {path}"),
        PathMatch::Prefix(path) => format!("begins with {path}"),
        PathMatch::Regex(pattern) => format!("matches the pattern {pattern}"),
    }
}

fn header(HeaderMatch { name, value }: &HeaderMatch) -> String {
    format!("header {name} that {}", self::value(value))
}

fn parameter(QueryMatch { name, value }: &QueryMatch) -> String {
    format!("query parameter {name} that {}", self::value(value))
}

fn value(value: &ValueMatch) -> String {
    match value {
        ValueMatch::Exact(text) => format!("is {text:?}"),
        ValueMatch::Regex(pattern) => format!("matches the pattern {pattern}"),
    }
}

/// Why one match goes before another that a request has too.
pub fn before(
    (rule, of): (&Rule, Option<&Match>),
    (other, not): (&Rule, Option<&Match>),
    parts: &Parts,
) -> &'static str {
    let plain = Match::default();
    let (of, not) = (of.unwrap_or(&plain), not.unwrap_or(&plain));
    let host = nearness(rule, parts).cmp(&nearness(other, parts));
    let steps = [
        ((rule.kind == RouteKind::Grpc).cmp(&(other.kind == RouteKind::Grpc)), "it is about gRPC"),
        (host, "its host is nearer"),
        (kind(of.path.as_ref()).cmp(&kind(not.path.as_ref())), "its path is more exact"),
        (length(of.path.as_ref()).cmp(&length(not.path.as_ref())), "its path is longer"),
        (of.method.is_some().cmp(&not.method.is_some()), "it names the method"),
        (of.headers.len().cmp(&not.headers.len()), "it asks for more headers"),
        (of.query.len().cmp(&not.query.len()), "it asks for more query parameters"),
    ];
    let decides = steps.into_iter().find(|(order, _)| order.is_ne());
    decides.map_or("it is the older route, or the earlier rule", |(_, why)| why)
}

/// How near the nearest of a rule's names is to the request's host.
fn nearness(rule: &Rule, parts: &Parts) -> (bool, usize) {
    let host = super::host(parts).to_ascii_lowercase();
    let name = host.rsplit_once(':').map_or(&*host, |(name, _)| name);
    let near = |of: &Hostname| match of {
        Hostname::Exact(exact) => (**exact == *name).then_some((true, exact.len())),
        Hostname::Below(domain) => name.ends_with(&**domain).then_some((false, domain.len())),
    };
    rule.hostnames.iter().filter_map(near).max().unwrap_or_default()
}

fn kind(path: Option<&PathMatch>) -> u8 {
    match path {
        Some(PathMatch::Exact(_)) => 3,
        Some(PathMatch::Regex(_)) => 2,
        Some(PathMatch::Prefix(_)) | None => 1,
    }
}

fn length(path: Option<&PathMatch>) -> usize {
    match path {
        Some(PathMatch::Exact(_)) | None => 0,
        Some(PathMatch::Regex(text)) => text.chars().count(),
        Some(PathMatch::Prefix(text)) => text.strip_suffix('/').unwrap_or(text).len(),
    }
}
