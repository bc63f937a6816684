//! All rules of a service, compiled for finding the one that a request falls under.
//!
//! Precedence is the Gateway API's: the nearest host name, then the path (exact, pattern, longest
//! prefix), then a method, then the number of headers, then of query parameters, then the older
//! route, then the earlier match. The last five don't depend on the request, so all matches are
//! numbered in their order once, and every list below host and path has ascending numbers.

use std::cmp::Reverse;
use std::sync::{Arc, LazyLock};

use super::conditions::{self, Conditions};
use super::head::Head;
use super::hosts::{Entry, Hosts};
use crate::model::{Match, RouteKind, Rule};

/// The rule of a service that no route resource names.
static DEFAULT: LazyLock<Arc<Rule>> = LazyLock::new(|| {
    Arc::new(Rule {
        kind: RouteKind::Http,
        name: "default".into(),
        hostnames: Vec::new(),
        matches: Vec::new(),
        filters: Vec::new(),
        backends: Vec::new(),
        policy: Arc::default(),
    })
});

/// All rules of a service.
#[derive(Debug)]
pub struct Table {
    rules: Vec<Arc<Rule>>,
    /// None where everything falls under the default.
    compiled: Option<Box<Compiled>>,
}

/// The rule that a request falls under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its index among [`Table::rules`].
    pub rule: usize,
    /// How many bytes of the path are the prefix that matched; 0 if it matched in another way, or
    /// by the prefix that every path has.
    pub prefix: usize,
}

#[derive(Debug)]
struct Compiled {
    candidates: Vec<Candidate>,
    grpc: Hosts,
    http: Hosts,
}

/// A match of a rule.
#[derive(Debug)]
struct Candidate {
    rule: usize,
    /// Its index among the rule's matches.
    nth: usize,
    conditions: Conditions,
}

impl Table {
    /// Of the rules of a service, the oldest route first. Without any, everything falls under one
    /// called `default`.
    pub fn compile(rules: &[Arc<Rule>]) -> Self {
        if rules.is_empty() {
            return Self { rules: vec![Arc::clone(&DEFAULT)], compiled: None };
        }
        Self { rules: rules.to_vec(), compiled: Some(Box::new(Compiled::new(rules))) }
    }

    /// Whether everything falls under the one rule that no resource wrote.
    pub fn is_default(&self) -> bool {
        self.compiled.is_none()
    }

    /// Whether compiling `rules` would give this table, so that it can be kept.
    pub fn is_of(&self, rules: &[Arc<Rule>]) -> bool {
        let same =
            |(ours, theirs): (&Arc<Rule>, &Arc<Rule>)| Arc::ptr_eq(ours, theirs) || ours == theirs;
        match self.compiled {
            None => rules.is_empty(),
            Some(_) => rules.len() == self.rules.len() && self.rules.iter().zip(rules).all(same),
        }
    }

    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// The rule that a request falls under; none if it falls under none.
    pub fn find(&self, head: &Head<'_>) -> Option<Found> {
        self.find_match(head).map(|(found, _)| found)
    }

    /// The same, and which of the rule's matches it has: its index among them.
    pub fn find_match(&self, head: &Head<'_>) -> Option<(Found, usize)> {
        let Some(compiled) = &self.compiled else {
            return Some((Found { rule: 0, prefix: 0 }, 0));
        };
        let of_grpc = || compiled.find(&compiled.grpc, head);
        head.is_grpc.then(of_grpc).flatten().or_else(|| compiled.find(&compiled.http, head))
    }
}

impl Compiled {
    fn new(rules: &[Arc<Rule>]) -> Self {
        let every = [Match::default()];
        let of_rule = |(index, rule)| {
            let numbered = matches(rule, &every).iter().enumerate();
            numbered.map(move |(nth, of)| ((index, nth), rule, of))
        };
        let mut list: Vec<((usize, usize), &Rule, &Match)> =
            rules.iter().map(|rule| &**rule).enumerate().flat_map(of_rule).collect();
        // Stable: the older route and the earlier match stay in front.
        list.sort_by_key(|(_, _, of)| Reverse(conditions::rank(of)));
        let of_kind = |kind| {
            let numbered = (0..).zip(&list).filter(move |(_, (_, rule, _))| rule.kind == kind);
            Hosts::new(numbered.map(|(candidate, (_, rule, of))| Entry {
                hostnames: &rule.hostnames,
                path: of.path.as_ref(),
                candidate,
            }))
        };
        let (grpc, http) = (of_kind(RouteKind::Grpc), of_kind(RouteKind::Http));
        let candidate = |&((rule, nth), _, of): &((usize, usize), &Rule, &Match)| Candidate {
            rule,
            nth,
            conditions: Conditions::new(of),
        };
        Self { candidates: list.iter().map(candidate).collect(), grpc, http }
    }

    fn find(&self, hosts: &Hosts, head: &Head<'_>) -> Option<(Found, usize)> {
        let takes = |candidate| self.candidate(candidate).conditions.hold(head);
        let (candidate, prefix) = hosts.find(head.host, |paths| paths.find(head.path, takes))?;
        let Candidate { rule, nth, conditions: _ } = self.candidate(candidate);
        Some((Found { rule: *rule, prefix }, *nth))
    }

    fn candidate(&self, number: u32) -> &Candidate {
        &self.candidates[number as usize]
    }
}

/// A rule without matches takes what one empty match would.
fn matches<'r>(rule: &'r Rule, every: &'r [Match]) -> &'r [Match] {
    if rule.matches.is_empty() { every } else { &rule.matches }
}
