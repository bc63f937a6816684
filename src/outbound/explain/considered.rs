//! What keeps a request from a rule: each condition, asked alone of the table that routes.

use std::sync::Arc;

use http::Method;
use http::request::Parts;

use super::Target;
use crate::http::classify;
use crate::model::{HeaderMatch, Hostname, Match, PathMatch, QueryMatch, RouteKind, Rule};
use crate::route::{Head, Table};

/// Matches that are looked at; what is beyond says no more to a person. Arbitrary.
const MOST: usize = 256;

/// The match of a rule that a request comes nearest to.
pub struct Considered<'a> {
    /// Index of the rule.
    pub rule: usize,
    /// Absent: the rule takes every request of its hosts.
    pub of: Option<&'a Match>,
    /// What the request doesn't have; empty: the rule matches.
    pub lacks: Vec<Lack<'a>>,
}

/// A condition that doesn't hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Lack<'a> {
    /// It is about gRPC requests only.
    Grpc,
    Host(&'a [Hostname]),
    Method(&'a Method),
    Path(&'a PathMatch),
    Header(&'a HeaderMatch),
    Query(&'a QueryMatch),
}

/// Every rule of a target, with how near a request comes to it.
pub fn considered<'a>(target: &'a Target, parts: &Parts) -> Vec<Considered<'a>> {
    if target.table.is_default() {
        return Vec::new();
    }
    let head = Head::of(parts, classify::is_grpc(&parts.headers));
    let mut looks = MOST;
    let nearest = |(rule, of): (usize, &'a Arc<Rule>)| {
        let all: Vec<Option<&Match>> = match of.matches[..] {
            [] => vec![None],
            _ => of.matches.iter().map(Some).collect(),
        };
        let all = all.into_iter().take(looks);
        looks = looks.saturating_sub(of.matches.len().max(1));
        let all = all.map(|m| Considered { rule, of: m, lacks: lacks(of, m, &head) });
        all.min_by_key(|considered| considered.lacks.len())
    };
    target.table.rules().iter().enumerate().filter_map(nearest).collect()
}

/// What of a match a request doesn't have.
fn lacks<'a>(rule: &'a Rule, of: Option<&'a Match>, head: &Head<'_>) -> Vec<Lack<'a>> {
    let mut lacks = Vec::new();
    let mut ask = |holds: bool, lack: Lack<'a>| {
        if !holds {
            lacks.push(lack);
        }
    };
    ask(rule.kind == RouteKind::Http || head.is_grpc, Lack::Grpc);
    ask(holds(&rule.hostnames, Match::default(), head), Lack::Host(&rule.hostnames));
    let Some(Match { path, headers, query, method }) = of else { return lacks };
    let alone = |of: Match| holds(&[], of, head);
    if let Some(path) = path {
        ask(alone(Match { path: Some(path.clone()), ..Match::default() }), Lack::Path(path));
    }
    if let Some(method) = method {
        ask(
            alone(Match { method: Some(method.clone()), ..Match::default() }),
            Lack::Method(method),
        );
    }
    for header in headers {
        ask(
            alone(Match { headers: vec![header.clone()], ..Match::default() }),
            Lack::Header(header),
        );
    }
    for parameter in query {
        let of = Match { query: vec![parameter.clone()], ..Match::default() };
        ask(alone(of), Lack::Query(parameter));
    }
    lacks
}

fn holds(hostnames: &[Hostname], of: Match, head: &Head<'_>) -> bool {
    let rule = Rule {
        kind: RouteKind::Http,
        name: "alone".into(),
        hostnames: hostnames.to_vec(),
        matches: vec![of],
        filters: Vec::new(),
        backends: Vec::new(),
        policy: Arc::default(),
    };
    Table::compile(&[Arc::new(rule)]).find(head).is_some()
}
