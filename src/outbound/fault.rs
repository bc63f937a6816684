//! Failures on purpose: who gets one, and what it looks like.

use std::time::Duration;

use http::request::Parts;

use crate::http::respond::Failure;
use crate::model::{Abort, AbortWith, Delay, Fault, Match, Reason};
use crate::route::{Conditions, Head};
use crate::runtime::clock::Rng;

/// A fault policy, compiled.
#[derive(Debug)]
pub struct Faults {
    delay: Option<Delay>,
    abort: Option<Abort>,
    conditions: Conditions,
}

/// What one request gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Injected {
    pub delay: Option<Duration>,
    pub abort: Option<AbortWith>,
}

impl Faults {
    /// `None` for a policy that injects nothing.
    pub fn compile(fault: &Fault) -> Option<Self> {
        let Fault { delay, abort, headers } = fault;
        let conditions = Match { headers: headers.clone(), ..Match::default() };
        (delay.is_some() || abort.is_some()).then(|| Self {
            delay: *delay,
            abort: *abort,
            conditions: Conditions::new(&conditions),
        })
    }

    /// Whether it is about a request.
    pub fn is_about(&self, parts: &Parts) -> bool {
        self.conditions.hold(&Head::of(parts, false))
    }

    /// Draws for a request.
    pub fn draw(&self, parts: &Parts, rng: &mut Rng) -> Injected {
        if !self.is_about(parts) {
            return Injected::default();
        }
        let delay = self.delay.filter(|delay| delay.share.has(rng.unit()));
        let abort = self.abort.filter(|abort| abort.share.has(rng.unit()));
        Injected { delay: delay.map(|delay| delay.duration), abort: abort.map(|abort| abort.with) }
    }
}

/// What the caller of an aborted request sees.
pub fn failure(abort: AbortWith) -> Failure {
    let mut failure = Failure::plain(Reason::FaultInjected);
    match abort {
        AbortWith::Status(status) => {
            failure.codes = Some((status.as_u16(), grpc_for(status.as_u16())));
        }
        AbortWith::Grpc(code) => failure.codes = Some((http_for(code), code)),
        AbortWith::Reset => failure.reset = true,
    }
    failure
}

/// What gRPC clients make of an HTTP status (gRPC's `http-grpc-status-mapping`).
fn grpc_for(status: u16) -> u8 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

/// The HTTP status that stands for a gRPC code (`google/rpc/code.proto`).
fn http_for(code: u8) -> u16 {
    match code {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}
