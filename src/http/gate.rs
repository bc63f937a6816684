//! What the guard of a connection and its service say to each other; both are on one thread.

use std::cell::{Cell, RefCell};
use std::task::Waker;

use super::guard::Violation;
use super::guarded::Refusal;

/// Shared by the two.
#[derive(Debug, Default)]
pub struct Gate {
    /// The ordinal of the refused request, counted from 1, and why.
    pub(super) refused: Cell<Option<(u64, Refusal)>>,
    /// A violation inside the body of the newest request.
    pub(super) body: Cell<Option<Violation>>,
    served: Cell<u64>,
    pub(super) switch: Cell<Option<Switch>>,
    aborted: Cell<bool>,
    answered: Cell<u64>,
    /// So many requests have come, and not a byte of another.
    pub(super) awaited: Cell<Option<u64>>,
    /// The parser has written what is not flushed yet.
    pub(super) unsent: Cell<bool>,
    pub(super) waker: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Switch {
    Tunnel,
    Resume,
}

impl Gate {
    /// Called by the service at each request: is this the one to refuse?
    pub fn next_request(&self) -> Option<Refusal> {
        let ordinal = self.served.get() + 1;
        self.served.set(ordinal);
        self.refused.get().filter(|&(refused, _)| refused == ordinal).map(|(_, why)| why)
    }

    /// Whether the next request is one to refuse: what the parser then shows is none of the caller's.
    pub fn refuses_next(&self) -> bool {
        self.refused.get().is_some_and(|(refused, _)| refused == self.served.get() + 1)
    }

    /// Called by the service when the newest request has its answer.
    pub fn answer(&self) {
        self.answered.set(self.answered.get() + 1);
    }

    /// The requests that the service was asked for.
    pub fn served(&self) -> u64 {
        self.served.get()
    }

    /// Whether every request that came is answered, nothing is left to be sent, and not a byte of
    /// another request has come. What is left of an answer's body only its stream knows.
    pub fn is_at_rest(&self) -> bool {
        let served = self.served.get();
        self.awaited.get() == Some(served)
            && self.answered.get() == served
            && !self.unsent.get()
            && self.switch.get().is_none()
    }

    /// The violation that broke the body of the newest request, if one did.
    pub fn body_violation(&self) -> Option<Violation> {
        self.body.get()
    }

    /// The open Upgrade or CONNECT was granted: everything passes from now on.
    pub fn tunnel(&self) {
        self.decide(Switch::Tunnel);
    }

    /// It was not: what follows is HTTP again.
    pub fn resume(&self) {
        self.decide(Switch::Resume);
    }

    /// The connection ends without an answer, and its client shall see a reset.
    pub fn abort(&self) {
        self.aborted.set(true);
    }

    /// Whether it ends so.
    pub fn is_aborted(&self) -> bool {
        self.aborted.get()
    }

    fn decide(&self, switch: Switch) {
        self.switch.set(Some(switch));
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}
