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
use crate::retry::Failed;
use crate::route::CorsGrant;
use crate::serve::ledger::UnderWay;
use crate::telemetry::trace_context;

/// Endpoints that a request remembers; above any policy's retries, so that no heap is needed.
const TRIED: usize = 16;

/// A request that may go out. Boxed, so that the futures that pass it on stay small.
pub struct Call {
    pub resolved: Rc<Resolved>,
    pub plan: Plan,
    /// For the first attempt, with what its connection attached to it.
    pub head: Cell<Option<Parts>>,
    /// For further attempts, where there may be any.
    pub spare: Option<Parts>,
    pub seen: Seen,
    pub body: Source,
    pub place: Option<RequestTicket>,
    pub under_way: UnderWay,
    /// It asks to leave HTTP; on a stream of HTTP/2 its body is what the tunnel is told.
    pub switch: Option<(Switch, Body)>,
    pub sent: Cell<u32>,
    tried: Cell<Tried>,
    /// Attempts that ended without any answer.
    lost: Cell<usize>,
    /// An attempt may have reached an app.
    reached: Cell<bool>,
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
    /// Its rule and the rule's backend, by index; none where something stands in for it.
    pub rule: usize,
    pub taker: Option<usize>,
    /// Its method is idempotent.
    pub safe: bool,
    /// Its rule allows it to be sent again although the first may have had its effect.
    pub twice: bool,
    pub max_retries: u32,
    /// Others may begin beside an attempt that takes long.
    pub hedges: bool,
    /// It waits for so long before anything is sent, on purpose.
    pub delay: Option<Duration>,
    /// It is not sent at all, on purpose.
    pub abort: Option<AbortWith>,
    pub until: Limit,
    pub hash: Option<u64>,
    /// What its answer says besides.
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
        switch: Option<(Switch, Body)>,
    ) -> Self {
        let has_fallback = resolved.target.rules[plan.rule].fallback.is_some();
        let may_follow = plan.max_retries > 0 || plan.safe || plan.hedges || has_fallback;
        let repeatable = switch.is_none() && may_follow;
        Self {
            spare: repeatable.then(|| headers::copy(&parts)),
            head: Cell::new(Some(parts)),
            resolved,
            plan,
            seen,
            body,
            place,
            under_way,
            switch,
            sent: Cell::new(0),
            tried: Cell::default(),
            lost: Cell::new(0),
            reached: Cell::new(false),
        }
    }

    pub fn rule(&self) -> &Rule {
        &self.resolved.target.rules[self.plan.rule]
    }

    pub fn policy(&self) -> &Policy {
        &self.rule().policy
    }

    /// Absent: the rule has no backend.
    pub fn taker(&self) -> Option<&Taker> {
        self.rule().takers.get(self.plan.taker?)
    }

    /// Where it goes; absent: the mesh has no such service.
    pub fn backend(&self) -> Option<&Arc<Backend>> {
        self.taker()?.backend.as_ref()
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

    /// An attempt ended, answered or as `failed` says.
    pub fn ended(&self, failed: Option<Failed>) {
        let unsent = matches!(failed, Some(Failed::Connect | Failed::NeverSent | Failed::Refused));
        // Nobody answered: the endpoint is gone, not slow or unhappy.
        if unsent || failed == Some(Failed::Reset) {
            self.lost.set(self.lost.get() + 1);
        }
        if !unsent {
            self.reached.set(true);
        }
    }

    /// Whether surely no app has seen it.
    pub fn has_only_unsent(&self) -> bool {
        !self.reached.get()
    }

    /// Whether no attempt so far had an answer, and none is under way.
    pub fn has_only_lost(&self) -> bool {
        self.lost.get() == self.tried.get().count
    }

    /// Another service is asked instead.
    pub fn forget_tried(&self) {
        self.tried.set(Tried::default());
        self.lost.set(0);
    }

    /// The request as one attempt sends it; `None` when it can't be sent again.
    pub fn request(&self, attempt: u32) -> Option<Request<Body>> {
        let mut head = self.head.take().or_else(|| self.spare.as_ref().map(headers::copy))?;
        self.write_attempt(&mut head, attempt);
        Some(Request::from_parts(head, self.body.attempt()))
    }

    /// The same once more, where all of its body is still here.
    pub fn again(&self, attempt: u32) -> Option<Request<Body>> {
        let spare = self.spare.as_ref().filter(|_| self.body.can_repeat())?;
        let mut head = headers::copy(spare);
        self.write_attempt(&mut head, attempt);
        Some(Request::from_parts(head, self.body.attempt()))
    }

    /// What only this attempt says.
    pub fn write_attempt(&self, head: &mut Parts, attempt: u32) {
        if attempt > 1 {
            head.headers.insert(ATTEMPT, HeaderValue::from(attempt));
            trace_context::set_attempt(&mut head.headers, attempt);
        }
        if let Some((until, _)) = self.plan.until {
            let left = until.saturating_duration_since(Instant::now());
            deadline::write(&mut head.headers, self.seen, left);
        }
    }

    /// The moments at which an attempt that begins now has taken too long: to its answer's head,
    /// and to the answer's end.
    pub fn limits(&self, may_follow: bool) -> (Limit, Limit) {
        let policy = self.policy();
        let timeouts = &policy.timeouts;
        let per_try = policy.retry.per_try_timeout.filter(|_| may_follow && self.plan.twice);
        let of_attempt = (timeouts.backend_request, timeouts.response_headers, per_try);
        if of_attempt == (None, None, None) {
            return (self.plan.until, self.plan.until);
        }
        let now = Instant::now();
        let at = |limit: Option<Duration>, reason| limit.map(|limit| (now + limit, reason));
        let whole = earlier(self.plan.until, at(timeouts.backend_request, Reason::PerTryTimeout));
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
