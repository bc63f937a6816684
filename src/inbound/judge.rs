//! Who is let in: looks at what a request shows, asks for the decision, counts it, and writes it down
//! where a policy wants that.
//!
//! Where a rule of the port asks for paths, the app gets the path that was judged. A path that can't
//! be normalised is let through by nobody's rule, and not passed on.

use std::sync::Arc;
use std::time::SystemTime;

use http::request::Parts;
use http::uri::{self, PathAndQuery, Uri};

use super::caller::Caller;
use super::port::AppPort;
use super::worker::Inbound;
use crate::access::tokens::{Cleared, Wait};
use crate::access::{
    Ask, Credentials, Decision, Held, Known, Lack, Permit, Policy, Presented, Request, What, Why,
};
use crate::http::respond::{Challenge, Failure};
use crate::model::{Mode, Reason};
use crate::telemetry::access_log::Audit;
use crate::telemetry::exchange::Exchange;

/// Bytes of a path in an audit entry: strangers write it.
const PATH: usize = 2048;

/// Leave for a request, and what it has shown to get it.
pub struct Admitted {
    pub permit: Permit,
    pub credentials: Credentials,
    /// Headers that the app is told of callers by.
    pub cleared: Option<Arc<Cleared>>,
}

/// Why a request may not go to the app, at least not yet.
pub enum Kept {
    Out(Failure),
    /// What it shows can't be judged before that.
    Waiting(Wait),
}

impl From<Failure> for Kept {
    fn from(failure: Failure) -> Self {
        Kept::Out(failure)
    }
}

/// Whether a request may go to the app; and changes its path to the one that was judged, and takes
/// out what the app is not to get. `now` is the time of day.
///
/// # Errors
/// Why it may not.
pub fn request(
    worker: &Inbound,
    caller: &Caller,
    exchange: &Exchange,
    parts: &mut Parts,
    now: SystemTime,
    may_wait: bool,
) -> Result<Admitted, Kept> {
    let newest = worker.shared.access.newest();
    let at = newest.at(caller.port.number());
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let intake = newest.intake(caller.port.number(), caller.id());
    let known = match intake.map(|intake| intake.present(parts, seconds, may_wait)) {
        Some(Presented::Waits(wait)) => return Err(Kept::Waiting(wait)),
        Some(Presented::Known(known)) => known,
        None => Known::default(),
    };
    let request = Request::of(parts, at.has_paths()).showing(&known);
    let ask = caller.ask(caller.request(&request));
    let decision = newest.decide(&ask);
    record(worker, &caller.port, &newest, &ask, &decision);
    if let Some(note) = decision.note() {
        exchange.keep_out(note);
    }
    let permit = decision.permit().map_err(|reason| refused(reason, &ask, &decision))?;
    if matches!(ask.what, What::Stream { .. }) {
        return Ok(Admitted { permit, credentials: Credentials::default(), cleared: None });
    }
    if let Some(bad) = request.bad_escape.filter(|_| at.mode.says == Mode::Enforce) {
        return Err(Failure::new(Reason::BadRequest, bad.to_string()).into());
    }
    if let Some(path) = request.changed_path() {
        let sentence = "the path can't be normalised";
        let uri = with_path(&parts.uri, path);
        parts.uri = uri.ok_or_else(|| Failure::new(Reason::BadRequest, sentence))?;
    }
    // What is only observed changes nothing, but what a caller says of itself is never passed on.
    if let Some(intake) = at.intake().filter(|_| at.mode.says == Mode::Enforce) {
        intake.strip(&known, parts);
    }
    let cleared = at.intake().map(|intake| Arc::clone(intake.cleared()));
    Ok(Admitted { permit, credentials: known.credentials, cleared })
}

/// Whether opaque bytes may go to the app, and what is noted of that.
///
/// # Errors
/// Why they may not.
pub fn stream(worker: &Inbound, caller: &Caller) -> Result<(Permit, Option<String>), Failure> {
    let newest = worker.shared.access.newest();
    let ask = caller.ask(caller.stream());
    let decision = newest.decide(&ask);
    record(worker, &caller.port, &newest, &ask, &decision);
    let permit = decision.permit().map_err(|reason| refused(reason, &ask, &decision))?;
    if worker.expects_http(caller) {
        return Err(refused(Reason::BadRequest, &ask, &decision));
    }
    Ok((permit, decision.note()))
}

/// Waits until whoever came in may stay no longer, and says in the log of access why.
pub async fn withdrawn(
    worker: &Inbound,
    port: &AppPort,
    held: &Held,
    exchange: &Exchange,
) -> Reason {
    let access = &worker.shared.access;
    loop {
        access.withdrawn(held).await;
        let newest = access.newest();
        let is_over = newest.review(held, |ask, decision| {
            let is_over = decision.refusal().is_some();
            if is_over {
                record(worker, port, &newest, ask, decision);
                decision.note().into_iter().for_each(|note| exchange.keep_out(note));
            }
            is_over
        });
        // There may be a newer policy meanwhile, which lets it stay.
        if is_over {
            return Reason::PermissionWithdrawn;
        }
    }
}

/// Counts a decision, and writes it down where that is wanted.
fn record(
    worker: &Inbound,
    port: &AppPort,
    policy: &Policy,
    ask: &Ask<'_>,
    decision: &Decision<'_>,
) {
    policy.count(decision);
    if decision.is_audited() {
        write(worker, &port.label, ask, decision);
    }
}

fn refused(reason: Reason, ask: &Ask<'_>, decision: &Decision<'_>) -> Failure {
    match reason {
        Reason::Denied => Failure::new(reason, decision.sentence(ask.id)),
        Reason::TokenInvalid | Reason::TokenMissing => {
            let is_of_key = match decision.why {
                Why::Token(trouble) => trouble.is_of_key(),
                _ => decision.lacks == Some(Lack::Key),
            };
            let challenge = if is_of_key { Challenge::ApiKey } else { Challenge::Bearer };
            Failure::new(reason, decision.sentence(ask.id)).challenging(challenge)
        }
        Reason::BadRequest => {
            Failure::new(reason, "it does not speak HTTP, which a policy of its port asks for")
        }
        _ => Failure::plain(reason),
    }
}

fn with_path(before: &Uri, path: String) -> Option<Uri> {
    let mut parts = uri::Parts::from(before.clone());
    let written = match before.query() {
        Some(query) => path + "?" + query,
        None => path,
    };
    parts.path_and_query = Some(PathAndQuery::try_from(written).ok()?);
    Uri::from_parts(parts).ok()
}

/// Neither a query nor a header is written: there may be secrets in them.
fn write(worker: &Inbound, service: &str, ask: &Ask<'_>, decision: &Decision<'_>) {
    let source;
    let principal = match ask.id {
        Some(id) => id.as_str(),
        None => {
            source = ask.source.to_string();
            &source
        }
    };
    let (action, resource) = match ask.what {
        What::Request(request) => {
            let path = request.shown_path();
            let path = &path[..path.floor_char_boundary(PATH)];
            (request.method.as_str(), format!("{service}{path}"))
        }
        What::Stream { .. } => ("connect", service.to_owned()),
    };
    let rule = decision.rule().to_string();
    worker.sinks.log.audit(&Audit {
        time: SystemTime::now(),
        principal: Some(principal),
        action,
        resource: &resource,
        decision: decision.word(),
        policy: decision.policy.map(|policy| &*policy.title),
        rule: Some(&rule),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_changed_and_nothing_else() {
        let rows = [
            ("/a//b?c=//d", "/a/b?c=//d"),
            ("http://api.shop:80/a//b", "http://api.shop:80/a/b"),
            ("/a//b?", "/a/b?"),
        ];
        for (before, after) in rows {
            let before: Uri = before.parse().expect("a URI");
            let changed = with_path(&before, "/a/b".to_owned()).expect("still one");
            assert_eq!(changed.to_string(), after);
        }
    }
}
