//! Everything that is decided about a request before the first byte goes out.
//!
//! Route, what the rule's filters answer or change, faults, backend, limits, copies; none of it waits.

use std::rc::Rc;
use std::time::Duration;

use http::request::Parts;
use http::{Response, Version};
use http_body::Body as _;
use tokio::time::Instant;

use super::call::{Call, Limit, Plan, earlier};
use super::connection::{Conn, Destination};
use super::destination::to_origin_form;
use super::fault::Injected;
use super::mirror;
use super::prepare::{Prepared, prepare};
use super::source::Source;
use super::target::{Rule, Target};
use super::worker::{Outbound, Resolved};
use crate::balance::{self, Key};
use crate::http::headers::Seen;
use crate::http::respond::Failure;
use crate::http::{Body, classify, switch};
use crate::limit::RequestTicket;
use crate::model::{HashOn, Reason};
use crate::retry::{self, Asked};
use crate::route::{Found, Head};
use crate::runtime::clock;
use crate::serve::ledger::UnderWay;
use crate::telemetry::exchange::Exchange;
use crate::telemetry::traffic::Spoken;

/// A request that was let in.
pub enum Admitted {
    Call(Box<Call>),
    /// A filter of its rule answers it.
    Answer(Response<Body>),
}

/// Decides.
///
/// # Errors
/// Why it can't go out.
pub fn admit(
    worker: &Rc<Outbound>,
    conn: &Conn,
    exchange: &Rc<Exchange>,
    mut parts: Parts,
    body: Body,
    seen: Seen,
    resolved: Rc<Resolved>,
) -> Result<Admitted, Failure> {
    if matches!(conn.destination, Destination::ByHost) {
        to_origin_form(&mut parts);
    }
    let target = &resolved.target;
    target.touch();
    let is_grpc = exchange.spoken == Spoken::Grpc;
    // By the headers as they were sent; the log knows the request even if no rule does.
    let found = target.table.find(&Head::of(&parts, is_grpc));
    let Prepared { upgrade, deadline, is_repeat } = prepare(worker, exchange, &mut parts, seen);
    let found = found.ok_or_else(|| no_route(target, &parts))?;
    let rule = &target.rules[found.rule];
    exchange.set_meter(Rc::clone(&resolved.meters[found.rule]));
    let until = until(rule, deadline, exchange.started_us)?;
    if let Some(answer) = rule.filters.answer(&parts, found.prefix, "http") {
        exchange.status.set(answer.status().as_u16());
        return Ok(Admitted::Answer(answer.map(|()| Body::empty())));
    }
    // A repeated request earns nobody another: else each hop of a chain adds its share to the sum.
    if !is_repeat {
        rule.budget.deposit(exchange.started_us);
    }
    let Injected { delay, abort } = injected(worker, rule, &parts);
    let (taker, key) = choose_taker(worker, conn, &resolved, found.rule, &parts)?;
    let place = place(rule, taker, delay.is_some() || abort.is_some())?;
    let switch = switch::asked(&parts, upgrade);
    let is_stream = parts.version == Version::HTTP_2;
    if switch.is_some() && !is_stream && !body.is_end_stream() {
        let sentence = "a request that asks to leave HTTP may not have a body";
        return Err(Failure::new(Reason::BadRequest, sentence).closing());
    }
    let policy = &rule.policy.retry;
    let path = parts.uri.path();
    let safe = classify::is_idempotent(&parts.method);
    let asked = Asked { method: &parts.method, path, is_grpc };
    let plan = Plan {
        rule: found.rule,
        taker,
        safe,
        twice: retry::may_send_twice(&policy.methods, asked),
        max_retries: if is_repeat { 0 } else { policy.max_retries },
        hedges: safe && !is_repeat && rule.policy.hedge.is_some(),
        delay,
        abort,
        until,
        hash: key.hash,
        cookie: key.cookie,
        cors: rule.filters.cors(&parts),
    };
    let (switch, body) = match switch {
        Some(switch) => (Some((switch, body)), Body::empty()),
        None => (None, body),
    };
    let body = change(worker, rule, taker, found, &mut parts, body);
    let keeps = plan.max_retries > 0 || plan.hedges || rule.fallback.is_some();
    let limit_bytes = keeps.then_some(policy.body_limit_bytes);
    let body = Source::new(exchange, body, rule.policy.timeouts.idle, limit_bytes);
    let under_way = UnderWay::begin(&conn.tunnels.entry, exchange);
    let call = Call::new(resolved, plan, parts, seen, body, place, under_way, switch);
    Ok(Admitted::Call(Box::new(call)))
}

/// No rule of the target takes the request.
pub fn no_route(target: &Target, parts: &Parts) -> Failure {
    let (service, path) = (&target.backend.label, parts.uri.path());
    let path: String = path.chars().take(100).collect();
    let sentence = format!("no route of {service} matches {} {path}", parts.method);
    Failure::new(Reason::NoRoute, sentence)
}

/// When all of it must be through: as the caller says, or the rule, whichever is sooner.
fn until(rule: &Rule, deadline: Option<Duration>, started_us: u64) -> Result<Limit, Failure> {
    let request = rule.policy.timeouts.request;
    if (deadline, request) == (None, None) {
        return Ok(None);
    }
    if deadline == Some(Duration::ZERO) {
        return Err(Failure::plain(Reason::DeadlinePassed));
    }
    // From when it came, also if it had to be held.
    let begun = Instant::from_std(clock::instant_at(started_us));
    let at = |limit: Option<Duration>, reason| limit.map(|limit| (begun + limit, reason));
    Ok(earlier(at(deadline, Reason::DeadlinePassed), at(request, Reason::RequestTimeout)))
}

fn injected(worker: &Outbound, rule: &Rule, parts: &Parts) -> Injected {
    let faults = rule.faults.as_ref();
    faults.map_or_else(Injected::default, |faults| faults.draw(parts, &mut worker.rng.borrow_mut()))
}

/// The backend that takes the request, and the key that it is balanced by.
fn choose_taker(
    worker: &Outbound,
    conn: &Conn,
    resolved: &Resolved,
    index: usize,
    parts: &Parts,
) -> Result<(Option<usize>, Key), Failure> {
    let rule = &resolved.target.rules[index];
    let key = |on: Option<&HashOn>| match on {
        Some(on) => balance::key(on, parts, conn.client, &mut worker.rng.borrow_mut()),
        None => Key { hash: None, cookie: None },
    };
    let shared = rule.hash_on();
    let shared_key = key(shared);
    let taker = match shared_key.hash {
        Some(hash) => rule.share_of(hash),
        None => rule.weights.next(&mut resolved.turns[index].borrow_mut()),
    };
    let Some(taker) = taker else {
        // Something stands in for it, if anything does.
        return rule.fallback.as_ref().map(|_| (None, key(None))).ok_or_else(|| rule.no_backend());
    };
    let to = &rule.takers[taker];
    let Some(backend) = &to.backend else {
        if rule.fallback.is_some() {
            return Ok((Some(taker), key(None)));
        }
        return Err(rule.no_service(to));
    };
    let own = backend.balancer.hash_on();
    let own = if own == shared && own.is_some() { shared_key } else { key(own) };
    Ok((Some(taker), own))
}

/// A place at the backend. Where something comes before it, or would stand in for it, it is taken
/// later.
fn place(
    rule: &Rule,
    taker: Option<usize>,
    is_later: bool,
) -> Result<Option<RequestTicket>, Failure> {
    match taker.and_then(|taker| rule.takers[taker].backend.as_ref()) {
        Some(backend) if !is_later && rule.fallback.is_none() => backend.admit().map(Some),
        _ => Ok(None),
    }
}

/// Applies the filters of the rule and of its backend, and sends the copies.
fn change(
    worker: &Rc<Outbound>,
    rule: &Rule,
    taker: Option<usize>,
    found: Found,
    parts: &mut Parts,
    body: Body,
) -> Body {
    let mut copies = Vec::new();
    rule.filters.request(parts, found.prefix);
    mirror::draw(worker, &rule.mirrors, parts, &mut copies);
    if let Some(taker) = taker.map(|taker| &rule.takers[taker]) {
        taker.filters.request(parts, found.prefix);
        mirror::draw(worker, &taker.mirrors, parts, &mut copies);
    }
    if copies.is_empty() { body } else { mirror::send(worker, copies, body) }
}
