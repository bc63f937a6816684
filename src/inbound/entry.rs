//! How a request comes in: checked, judged, and where what it shows can't be judged yet, kept waiting.
//!
//! Only a token whose issuer has to be asked, or whose key may be newer than those that are known,
//! waits, and not for long. Everything else is decided at once.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use http::Request;
use http::request::Parts;
use tokio::time::{Instant, timeout_at};

use super::connection::Conn;
use super::judge::{self, Kept};
use super::serve::{Call, admit, check};
use super::worker::Inbound;
use crate::access::tokens::Wait;
use crate::http::headers::{self, DEADLINE, Seen};
use crate::http::respond::Failure;
use crate::http::{Body, deadline};
use crate::limit::rate::Quota;
use crate::model::Reason;
use crate::runtime::{Phase, clock};
use crate::telemetry::exchange::Exchange;

/// What is made of a request at once.
pub(super) enum Entered {
    Judged(Result<Box<Call>, Failure>),
    /// It shows something that can't be judged yet.
    Waits(Box<(Come, Wait)>),
}

/// A request that has come, and is sound.
pub(super) struct Come {
    pub parts: Parts,
    pub body: Body,
    pub seen: Seen,
    /// What its caller has left, from its beginning on.
    pub deadline: Option<Duration>,
}

/// How long a request waits for the keys, or the answer, of an issuer. Arbitrary: longer than either
/// takes that is well.
const PATIENCE: Duration = Duration::from_secs(3);

/// Everything that is decided before the app hears of it; next to nothing of it waits.
pub(super) fn enter(
    worker: &Inbound,
    conn: &Conn,
    exchange: &Rc<Exchange>,
    request: Request<Body>,
    seen: Seen,
    quota: &mut Option<Quota>,
) -> Entered {
    let (mut parts, body) = request.into_parts();
    if let Err(failure) = check(conn, &mut parts, seen) {
        return Entered::Judged(Err(failure));
    }
    if worker.doorway.phase() >= Phase::Refusing {
        return Entered::Judged(Err(Failure::plain(Reason::Draining)));
    }
    let deadline = deadline::read(&parts.headers, seen);
    if deadline == Some(Duration::ZERO) {
        return Entered::Judged(Err(Failure::plain(Reason::DeadlinePassed)));
    }
    if deadline.is_none() && seen.has(Seen::DEADLINE) {
        // No limit to us, and who knows what to the app.
        parts.headers.remove(DEADLINE);
    }
    // What the app does not get lets nobody in.
    headers::strip_listed(&mut parts.headers, seen);
    let began = clock::wall_at(exchange.started_us);
    let come = Come { parts, body, seen, deadline };
    judge(worker, conn, exchange, come, (began, true), quota)
}

/// Waits until what a request shows can be judged, but not for long.
pub(super) async fn patiently(
    worker: &Inbound,
    conn: &Conn,
    exchange: &Rc<Exchange>,
    waiting: Box<(Come, Wait)>,
    quota: &mut Option<Quota>,
) -> Result<Box<Call>, Failure> {
    let (mut come, mut wait) = *waiting;
    let until = Instant::now() + PATIENCE;
    loop {
        let is_told = timeout_at(until, wait.is_over()).await.is_ok();
        match judge(worker, conn, exchange, come, (SystemTime::now(), is_told), quota) {
            Entered::Judged(admitted) => return admitted,
            Entered::Waits(waiting) => (come, wait) = *waiting,
        }
    }
}

/// Asks for leave at this time; whether there is time to wait for it.
fn judge(
    worker: &Inbound,
    conn: &Conn,
    exchange: &Rc<Exchange>,
    mut come: Come,
    (now, may_wait): (SystemTime, bool),
    quota: &mut Option<Quota>,
) -> Entered {
    match judge::request(worker, &conn.caller, exchange, &mut come.parts, now, may_wait) {
        Ok(admitted) => Entered::Judged(admit(worker, conn, exchange, come, admitted, quota)),
        Err(Kept::Out(failure)) => Entered::Judged(Err(failure)),
        Err(Kept::Waiting(wait)) => Entered::Waits(Box::new((come, wait))),
    }
}
