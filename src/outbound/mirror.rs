//! Copies of requests for other services, whose answers nobody sees.
//!
//! A copy has a task, a body and a place of its own: nothing of the real request waits for it, and a
//! mirror that is slow, full or broken loses copies, no more.

use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::time::Duration;

use http::Request;
use http::request::Parts;
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::attempt::{self, Sending};
use super::backend::Backend;
use super::target::Mirror;
use super::worker::Outbound;
use crate::balance::Ask;
use crate::circuit::Verdict;
use crate::dial::Via;
use crate::http::headers;
use crate::http::tail::Carrier;
use crate::http::tee::tee;
use crate::http::{Body, BodyError, Tail, classify};
use crate::runtime::clock;

/// A copy is given up after this long, where its service sets no limit. Arbitrary.
const PATIENCE: Duration = Duration::from_secs(15);
/// What is read of a copy's answer, so that its connection can be used again; of a longer one nothing
/// more. Arbitrary.
const READ: usize = 64 * 1024;
/// Copies under way at a time, for one worker; more are dropped. Arbitrary.
const MOST: u32 = 1024;

/// A copy to be sent.
pub struct Copy {
    backend: Arc<Backend>,
    head: Parts,
}

/// Copies of a request as it is now.
pub fn draw(worker: &Outbound, mirrors: &[Mirror], parts: &Parts, into: &mut Vec<Copy>) {
    for Mirror { backend, share } in mirrors {
        if share.has(worker.rng.borrow_mut().unit()) {
            into.push(Copy { backend: Arc::clone(backend), head: headers::copy(parts) });
        }
    }
}

/// Of a copy under way; given back however it ends.
struct Place(Rc<Outbound>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.mirroring.set(self.0.mirroring.get() - 1);
    }
}

/// Sends the copies on their way; what is returned is the body of the real request.
pub fn send(worker: &Rc<Outbound>, copies: Vec<Copy>, mut body: Body) -> Body {
    for copy in copies {
        let (original, copied) = tee(body);
        body = original;
        let under_way = worker.mirroring.get();
        if under_way >= MOST {
            count(worker, &copy.backend, "dropped");
            continue;
        }
        worker.mirroring.set(under_way + 1);
        let place = Place(Rc::clone(worker));
        tokio::task::spawn_local(async move {
            let worker = &place.0;
            let patience = copy.backend.policy().timeouts.request.unwrap_or(PATIENCE);
            let backend = Arc::clone(&copy.backend);
            let carried = timeout(patience, carry(worker, copy, copied)).await;
            let outcome = if matches!(carried, Ok(Some(()))) { "answered" } else { "dropped" };
            count(worker, &backend, outcome);
        });
    }
    body
}

/// Sends one copy and reads its answer, or the beginning of a long one.
async fn carry(worker: &Outbound, copy: Copy, body: Body) -> Option<()> {
    let Copy { backend, head } = copy;
    let _place = backend.bulkhead.try_admit().ok()?;
    let begun_us = clock::now_us();
    let safe = classify::is_idempotent(&head.method);
    let ask = Ask { tried: &[], hash: None, now_us: begun_us };
    let trial = attempt::choose(worker, &backend, ask, safe, false).ok()?;
    let request = Request::from_parts(head, body);
    let again = || None;
    let connect_timeout = backend.policy().timeouts.connect;
    let sending = Sending {
        request,
        safe,
        connect_timeout,
        begun_us,
        head_by: None,
        until: None,
        again: &again,
    };
    let mut answered = attempt::send(worker, trial, sending).await.ok()?;
    if answered.unsettled {
        let took_us = Some(answered.took_us);
        answered.trial.settle(worker, Verdict::Success, took_us, clock::now_us());
    }
    let via = Carried(answered.via);
    let mut body = answered.response.into_body().with_tail(Box::new(via));
    let mut room = READ;
    while room > 0
        && let Some(Ok(frame)) = body.frame().await
    {
        room = room.saturating_sub(frame.data_ref().map_or(0, bytes::Bytes::len));
    }
    Some(())
}

/// What a copy's answer comes over.
struct Carried(Via);

impl Tail for Carried {
    fn drive(&mut self, cx: &mut Context<'_>) {
        self.0.drive(cx);
    }

    fn end(&mut self, error: Option<&BodyError>) {
        if error.is_none() {
            self.0.finish(clock::now_us());
        }
    }
}

fn count(worker: &Outbound, backend: &Backend, outcome: &str) {
    worker.shared.metrics.mirrored.with(&[&backend.label, outcome]).inc();
}
