//! A request that may go out, and what its attempts share.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderValue, Request};
use tokio::time::Instant;

use super::backend::Backend;
use super::source::Source;
use super::target::{Rule, Taker};
use super::worker::Resolved;
use crate::http::headers::{self, ATTEMPT, Seen};
use crate::http::switch::Switch;
use crate::http::{Body, deadline};
use crate::limit::RequestTicket;
use crate::model::{AbortWith, Policy, Reason};
use crate::route::CorsGrant;
use crate::serve::ledger::UnderWay;
use crate::telemetry::trace_context;

/// Endpoints that a request remembers; above any policy's retries, so that no heap is needed.
const TRIED: usize = 16;

/// A request that may go out. Boxed, so that the futures that pass it on stay small.
pub struct Call {
    pub resolved: Rc<Resolved>,
    pub rule: usize,
    pub taker: usize,
    /// For the first attempt, with what hyper attached to it.
    pub head: Cell<Option<Parts>>,
    /// For further attempts, where there may be any.
    pub spare: Option<Parts>,
    pub seen: Seen,
    pub body: Source,
    pub place: Option<RequestTicket>,
    pub under_way: UnderWay,
    /// Its method is idempotent.
    pub safe: bool,
    /// Its rule allows it to be sent again although the first may have had its effect.
    pub twice: bool,
    pub max_retries: u32,
    pub switch: Option<Switch>,
    /// It waits for so long before anything is sent, on purpose.
    pub delay: Option<Duration>,
    /// It is not sent at all, on purpose.
    pub abort: Option<AbortWith>,
    pub until: Limit,
    pub hash: Option<u64>,
    /// What its answer says besides.
    pub cookie: Option<HeaderValue>,
    pub cors: Option<CorsGrant>,
    pub sent: Cell<u32>,
    tried: Cell<Tried>,
}

/// Slots of endpoints that a request was sent to.
#[derive(Clone, Copy, Default)]
pub struct Tried {
    slots: [u32; TRIED],
    count: usize,
}

impl Tried {
    pub fn slots(&self) -> &[u32] {
        &self.slots[..self.count]
    }

    fn add(&mut self, slot: u32) {
        self.slots[self.count.min(TRIED - 1)] = slot;
        self.count = (self.count + 1).min(TRIED);
    }
}

/// What is decided about a call before anything of it is sent.
pub struct Plan {
    pub rule: usize,
    pub taker: usize,
    pub safe: bool,
    pub twice: bool,
    pub max_retries: u32,
    pub delay: Option<Duration>,
    /// It is not sent at all, on purpose.
    pub abort: Option<AbortWith>,
    pub until: Limit,
    pub hash: Option<u64>,
    pub cookie: Option<HeaderValue>,
    pub cors: Option<CorsGrant>,
}

impl Call {
    pub fn new(
        resolved: Rc<Resolved>,
        plan: Plan,
        parts: Parts,
        seen: Seen,
        body: Source,
        place: Option<RequestTicket>,
        under_way: UnderWay,
        switch: Option<Switch>,
    ) -> Self {
        let Plan { rule, taker, safe, twice, max_retries, delay, abort, until, hash, cookie, cors } =
            plan;
        let has_fallback = resolved.target.rules[rule].fallback.is_some();
        let repeatable = switch.is_none() && (max_retries > 0 || safe || has_fallback);
        Self {
            spare: repeatable.then(|| headers::copy(&parts)),
            head: Cell::new(Some(parts)),
            resolved,
            rule,
            taker,
            seen,
            body,
            place,
            under_way,
            safe,
            twice,
            max_retries,
            switch,
            delay,
            abort,
            until,
            hash,
            cookie,
            cors,
            sent: Cell::new(0),
            tried: Cell::default(),
        }
    }

    pub fn rule(&self) -> &Rule {
        &self.resolved.target.rules[self.rule]
    }

    pub fn policy(&self) -> &Policy {
        &self.rule().policy
    }

    pub fn taker(&self) -> &Taker {
        &self.rule().takers[self.taker]
    }

    /// Where it goes; absent: the mesh has no such service.
    pub fn backend(&self) -> Option<&Arc<Backend>> {
        self.taker().backend.as_ref()
    }

    pub fn tried(&self) -> Tried {
        self.tried.get()
    }

    /// An endpoint is being tried.
    pub fn try_on(&self, slot: u32) -> u32 {
        let mut tried = self.tried.get();
        tried.add(slot);
        self.tried.set(tried);
        self.sent.set(self.sent.get() + 1);
        self.sent.get()
    }

    /// Another service is asked instead.
    pub fn forget_tried(&self) {
        self.tried.set(Tried::default());
    }

    /// The request as one attempt sends it; `None` when it can't be sent again.
    pub fn request(&self, attempt: u32) -> Option<Request<Body>> {
        let mut head = self.head.take().or_else(|| self.spare.as_ref().map(headers::copy))?;
        self.write_attempt(&mut head, attempt);
        Some(Request::from_parts(head, self.body.attempt()))
    }

    /// The same once more, where its body is empty.
    pub fn again(&self, attempt: u32) -> Option<Request<Body>> {
        let spare = self.spare.as_ref().filter(|_| matches!(self.body, Source::Empty))?;
        let mut head = headers::copy(spare);
        self.write_attempt(&mut head, attempt);
        Some(Request::from_parts(head, Body::empty()))
    }

    /// What only this attempt says.
    fn write_attempt(&self, head: &mut Parts, attempt: u32) {
        if attempt > 1 {
            head.headers.insert(ATTEMPT, HeaderValue::from(attempt));
            if head.headers.contains_key("traceparent") {
                trace_context::set_attempt(&mut head.headers, attempt);
            }
        }
        if let Some((until, _)) = self.until {
            let left = until.saturating_duration_since(Instant::now());
            deadline::write(&mut head.headers, self.seen, left);
        }
    }

    /// The moments at which an attempt that begins now has taken too long: to its answer's head,
    /// and to the answer's end.
    pub fn limits(&self, may_follow: bool) -> (Limit, Limit) {
        let policy = self.policy();
        let timeouts = &policy.timeouts;
        let per_try = policy.retry.per_try_timeout.filter(|_| may_follow && self.twice);
        let of_attempt = (timeouts.backend_request, timeouts.response_headers, per_try);
        if of_attempt == (None, None, None) {
            return (self.until, self.until);
        }
        let now = Instant::now();
        let at = |limit: Option<Duration>, reason| limit.map(|limit| (now + limit, reason));
        let whole = earlier(self.until, at(timeouts.backend_request, Reason::PerTryTimeout));
        let head = earlier(whole, at(timeouts.response_headers, Reason::ResponseTimeout));
        (earlier(head, at(per_try, Reason::PerTryTimeout)), whole)
    }
}

/// A moment, and what is said when it has come.
pub type Limit = Option<(Instant, Reason)>;

/// Of two limits the one that comes first.
pub fn earlier(a: Limit, b: Limit) -> Limit {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b.0 < a.0 { b } else { a }),
        (a, b) => a.or(b),
    }
}
