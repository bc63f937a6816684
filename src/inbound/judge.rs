//! Who is let in: asks for the decision, counts it, and writes it down where a policy wants that.
//!
//! Where a rule of the port asks for paths, the app gets the path that was judged. A path that can't
//! be normalised is let through by nobody's rule, and not passed on.

use std::time::SystemTime;

use http::request::Parts;
use http::uri::{self, PathAndQuery, Uri};

use super::caller::Caller;
use super::worker::Inbound;
use crate::access::{Ask, Decision, Permit, Request, What};
use crate::http::respond::Failure;
use crate::model::{Mode, Reason};
use crate::telemetry::access_log::Audit;
use crate::telemetry::exchange::Exchange;

/// Bytes of a path in an audit entry: strangers write it.
const PATH: usize = 2048;

/// Whether a request may go to the app; and changes its path to the one that was judged.
///
/// # Errors
/// Why it may not.
pub fn request(
    worker: &Inbound,
    caller: &Caller,
    exchange: &Exchange,
    parts: &mut Parts,
) -> Result<Permit, Failure> {
    let newest = worker.shared.access.newest();
    let at = newest.at(caller.port.number());
    let request = Request::of(parts, at.has_paths());
    let ask = caller.ask(caller.request(&request));
    let decision = newest.decide(&ask);
    newest.count(&decision);
    if decision.is_audited() {
        write(worker, caller, &ask, &decision);
    }
    if let Some(note) = decision.note() {
        exchange.keep_out(note);
    }
    let permit = decision.permit().map_err(|reason| refused(reason, &ask, &decision))?;
    if matches!(ask.what, What::Stream { .. }) {
        return Ok(permit);
    }
    if let Some(bad) = request.bad_escape.filter(|_| at.mode.says == Mode::Enforce) {
        return Err(Failure::new(Reason::BadRequest, bad.to_string()));
    }
    if let Some(path) = request.changed_path() {
        let sentence = "the path can't be normalised";
        let uri = with_path(&parts.uri, path);
        parts.uri = uri.ok_or_else(|| Failure::new(Reason::BadRequest, sentence))?;
    }
    Ok(permit)
}

/// Whether opaque bytes may go to the app, and what is noted of that.
///
/// # Errors
/// Why they may not.
pub fn stream(worker: &Inbound, caller: &Caller) -> Result<(Permit, Option<String>), Failure> {
    let newest = worker.shared.access.newest();
    let ask = caller.ask(caller.stream());
    let decision = newest.decide(&ask);
    newest.count(&decision);
    if decision.is_audited() {
        write(worker, caller, &ask, &decision);
    }
    let permit = decision.permit().map_err(|reason| refused(reason, &ask, &decision))?;
    Ok((permit, decision.note()))
}

fn refused(reason: Reason, ask: &Ask<'_>, decision: &Decision<'_>) -> Failure {
    match reason {
        Reason::Denied => Failure::new(reason, decision.sentence(ask.id)),
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
fn write(worker: &Inbound, caller: &Caller, ask: &Ask<'_>, decision: &Decision<'_>) {
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
            (request.method.as_str(), format!("{}{path}", caller.port.label))
        }
        What::Stream { .. } => ("connect", caller.port.label.to_string()),
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
