//! What would be done with a request, and why: the cores that serve requests, asked without sending
//! one.
//!
//! Nothing here decides by itself: the rule is found by the same table, changed by the same filters,
//! and endpoints are drawn by the same balancer over the same health. Only draws that move something
//! (whose turn it is) are made on a copy. The order is that of `admit`; `tests/mesh/explain` holds
//! both against each other.

mod considered;
mod takers;

use std::net::SocketAddr;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, StatusCode};

pub use considered::{Considered, Lack, considered};
pub use takers::Took;

use super::admit;
use super::fault;
use super::prepare::strip_ours;
use super::snapshot::Snapshot;
use super::target::{Rule, Target};
use crate::http::headers::{self, Seen};
use crate::http::respond::{self, Failure};
use crate::http::{classify, deadline};
use crate::model::{Reason, Share};
use crate::retry::{self, Asked};
use crate::route::Head;
use crate::telemetry::trace_context;

/// What would become of a request.
pub struct Explained {
    pub is_grpc: bool,
    /// `None`: none matches.
    pub rule: Option<Chosen>,
    pub outcome: Outcome,
}

/// The rule that a request falls under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Among the target's.
    pub index: usize,
    /// Which of its matches the request has.
    pub nth: usize,
}

/// How it would go on.
pub enum Outcome {
    /// The sidecar would answer that it can't.
    Refused(Refused),
    /// A filter of the rule answers.
    Answered {
        status: StatusCode,
        headers: HeaderMap,
    },
    Sent(Box<Sent>),
}

/// An answer of the sidecar's own.
#[derive(Clone, Debug)]
pub struct Refused {
    pub reason: Reason,
    /// The HTTP status; gRPC callers get 200 and a code.
    pub status: u16,
    pub sentence: String,
    /// Nothing is answered: the connection, or the stream, is reset.
    pub reset: bool,
}

/// What would be sent, and where to.
pub struct Sent {
    /// The head before the rule's filters: without what concerns one connection only.
    pub before: Parts,
    /// The head after them; a backend may have filters of its own.
    pub parts: Parts,
    /// Whether it may be sent twice although the first may have had its effect.
    pub twice: bool,
    /// A hop before us repeated it already, so that it is not repeated here.
    pub is_repeat: bool,
    /// What its caller allows.
    pub deadline: Option<Duration>,
    /// The fault policy is about it.
    pub injected: bool,
    /// One for each backend of the rule, in its order.
    pub takers: Vec<Took>,
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        let status = failure.codes.map_or_else(|| respond::status(failure.reason), |codes| codes.0);
        let sentence = failure.sentence().to_owned();
        Self { reason: failure.reason, status, sentence, reset: failure.reset }
    }
}

/// What would be done with a request for `target` that came from `client`.
pub fn explain(
    snapshot: &Snapshot,
    target: &Target,
    parts: &Parts,
    client: SocketAddr,
    now_us: u64,
) -> Explained {
    let is_grpc = classify::is_grpc(&parts.headers);
    let Some((found, nth)) = target.table.find_match(&Head::of(parts, is_grpc)) else {
        let outcome = Outcome::Refused(admit::no_route(target, parts).into());
        return Explained { is_grpc, rule: None, outcome };
    };
    let rule = &target.rules[found.rule];
    let seen = Seen::scan(&parts.headers);
    let is_repeat = seen.has(Seen::ATTEMPT) || trace_context::attempt(&parts.headers).is_some();
    let mut before = headers::copy(parts);
    headers::strip_hop_by_hop(&mut before.headers, seen);
    strip_ours(&mut before, seen);
    let deadline = deadline::read(&before.headers, seen);
    let outcome = if deadline == Some(Duration::ZERO) {
        Outcome::Refused(Failure::plain(Reason::DeadlinePassed).into())
    } else if let Some(answer) = rule.filters.answer(&before, found.prefix, "http") {
        let (head, ()) = answer.into_parts();
        Outcome::Answered { status: head.status, headers: head.headers }
    } else {
        let asked = Asked { method: &before.method, path: before.uri.path(), is_grpc };
        let twice = retry::may_send_twice(&rule.policy.retry.methods, asked);
        let takers = takers::takers(snapshot, rule, &before, found.prefix, client, twice, now_us);
        let mut parts = headers::copy(&before);
        rule.filters.request(&mut parts, found.prefix);
        let injected = rule.faults.as_ref().is_some_and(|faults| faults.is_about(&before));
        let sent = Sent { before, parts, twice, is_repeat, deadline, injected, takers };
        outcome(rule, sent)
    };
    Explained { is_grpc, rule: Some(Chosen { index: found.rule, nth }), outcome }
}

/// Whether anything of it would be sent.
fn outcome(rule: &Rule, sent: Sent) -> Outcome {
    let taking = || sent.takers.iter().filter(|taker| taker.share > 0.0);
    if taking().next().is_none() {
        return Outcome::Refused(rule.no_backend().into());
    }
    let all = |refuses: fn(&Took) -> bool| {
        let is_alone = rule.fallback.is_none() && taking().all(refuses);
        taking().next().and_then(|taker| taker.refused.clone()).filter(|_| is_alone)
    };
    // A backend is chosen before a fault, and asked after it.
    if let Some(missing) = all(|taker| taker.backend.is_none()) {
        return Outcome::Refused(missing);
    }
    let abort = rule.policy.fault.as_ref().and_then(|fault| fault.abort);
    if let Some(abort) = abort.filter(|abort| sent.injected && abort.share == Share::ALL) {
        return Outcome::Refused(fault::failure(abort.with).into());
    }
    match all(|taker| taker.refused.is_some()) {
        Some(refused) => Outcome::Refused(refused),
        None => Outcome::Sent(Box::new(sent)),
    }
}
