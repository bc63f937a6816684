//! How often the workload may be called and how much of it at once: what a request takes from its
//! limits, where it waits for a place, and what its caller is told.
//!
//! The first is decided before anything is prepared, the second when the request is about to go to the
//! app, so that whoever waits holds nothing of it.

use std::time::Duration;

use http::request::Parts;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::caller::Caller;
use super::worker::Inbound;
use crate::access::Credentials;
use crate::http::respond::Failure;
use crate::limit::load::{Entered, Gate, Ticket};
use crate::limit::rate::{Ask, Quota, seconds};
use crate::model::{Protocol, Reason};
use crate::resources::rate_limit_policy::Priority;
use crate::runtime::clock;

/// Takes a request from each limit that is about it, or from none. `quota` is how it stands after,
/// for the answer, whatever that is.
///
/// # Errors
/// One of them has no room.
pub fn rate(
    worker: &Inbound,
    caller: &Caller,
    credentials: &Credentials,
    parts: &Parts,
    quota: &mut Option<Quota>,
) -> Result<(), Failure> {
    if caller.port.protocol == Protocol::Tcp {
        return Ok(());
    }
    let ask = Ask {
        port: caller.port.number(),
        source: caller.source(),
        id: caller.id(),
        claims: credentials.claims.as_deref(),
        api_key: credentials.api_key.as_deref(),
        parts,
    };
    match worker.shared.rates.take(&ask, clock::now_us()) {
        Ok(left) => {
            *quota = left;
            Ok(())
        }
        Err(none_left) => {
            let failure = refused(caller, &none_left);
            *quota = Some(none_left);
            Err(failure)
        }
    }
}

/// Policies are named to those of the mesh alone.
fn refused(caller: &Caller, quota: &Quota) -> Failure {
    let Quota { rule, wait_ns, .. } = quota;
    let wait_ns = wait_ns.unwrap_or_default();
    let wait = seconds(wait_ns);
    let sentence = match caller.id() {
        Some(_) => format!(
            "limits[{}] of RateLimitPolicy {} allows {rule}; there is room again in {wait} s",
            rule.nth, rule.policy
        ),
        None => format!("too many requests: {rule} are allowed; there is room again in {wait} s"),
    };
    Failure::new(Reason::RateLimited, sentence).retry_after(Duration::from_nanos(wait_ns))
}

/// Who waited so long would rather know: callers have given up or try elsewhere. Arbitrary.
const PATIENCE: Duration = Duration::from_secs(1);
/// When to come again to who is overloaded: sooner than a person notices, later than the crowd that
/// is there now needs. Arbitrary.
const AGAIN: Duration = Duration::from_secs(1);

/// A place among the requests under way, if the port has so many only; waits for it in a short
/// queue.
///
/// # Errors
/// [`Reason::Overloaded`].
pub async fn place(
    worker: &Inbound,
    caller: &Caller,
    parts: &Parts,
) -> Result<Option<Ticket>, Failure> {
    let (gates, port) = (&worker.shared.gates, &caller.port);
    let found = gates.find(port.number(), &port.label, parts, caller.id().is_some());
    let Some((gate, priority)) = found else { return Ok(None) };
    match gate.enter(priority, clock::now_us()) {
        Ok(Entered::In(ticket)) => Ok(Some(ticket)),
        Ok(Entered::Waits(place)) => Box::pin(wait(&gate, priority, place)).await.map(Some),
        Err(reason) => Err(overloaded(reason, &gate)),
    }
}

async fn wait(
    gate: &Gate,
    priority: Priority,
    place: oneshot::Receiver<Ticket>,
) -> Result<Ticket, Failure> {
    match timeout(PATIENCE, place).await {
        Ok(Ok(mut ticket)) => {
            ticket.begin(clock::now_us());
            Ok(ticket)
        }
        // Somebody who goes first has its place in the queue, which is counted there.
        Ok(Err(_)) => Err(overloaded(Reason::Overloaded, gate)),
        Err(_) => {
            gate.note_shed(priority);
            Err(overloaded(Reason::Overloaded, gate))
        }
    }
}

fn overloaded(reason: Reason, gate: &Gate) -> Failure {
    let limit = gate.limit();
    let sentence = format!(
        "the app of {} has as many requests under way as it may have ({limit}), and others wait",
        gate.label
    );
    Failure::new(reason, sentence).retry_after(AGAIN)
}
