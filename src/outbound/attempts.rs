//! Attempts until one is answered, or none may follow.
//!
//! A round is one attempt, and where the policy hedges, others beside it while it takes long. When a
//! round failed in a way that the policy repeats, the budget has room and the wait is short, the next
//! one follows. The caller sees the last real answer, also where a later attempt had none.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::attempt::{self, Answered, Sending, Unanswered};
use super::backend::Backend;
use super::call::Call;
use super::worker::Outbound;
use crate::balance::Ask;
use crate::http::respond::Failure;
use crate::model::Reason;
use crate::retry::{self, Hint};
use crate::runtime::clock;
use crate::telemetry::exchange::Exchange;

type Sent = Result<Answered, Unanswered>;

/// Attempts on the endpoints of one backend.
///
/// # Errors
/// Why the last attempt had no answer, and none before it.
pub async fn attempts(
    worker: &Outbound,
    exchange: &Exchange,
    call: &Call,
    backend: &Arc<Backend>,
) -> Result<Answered, Failure> {
    let mut before: Option<Sent> = None;
    for retries in 0.. {
        let may_follow = retries < call.plan.max_retries && call.body.can_repeat();
        let sent = round(worker, exchange, call, backend, may_follow).await;
        let wait = match wish(call, &sent) {
            Some(hint) => permit(worker, exchange, call, hint, retries, may_follow),
            None => {
                if sent.is_err() {
                    exchange.meter().inspect(|meter| meter.not_allowed.inc());
                }
                None
            }
        };
        let Some(wait) = wait else { return last(exchange, call, sent, before) };
        // An answer is held until there is a newer one: it may be the last that comes.
        if is_real(&sent) || !before.as_ref().is_some_and(is_real) {
            before = Some(sent);
        }
        // Its connection may be the one that the next attempt would wait for.
        if backend.bulkhead.is_full() && matches!(before, Some(Ok(_))) {
            before = None;
        }
        sleep(wait).await;
        if !call.body.can_repeat() {
            let broken = Failure::plain(Reason::UpstreamReset);
            return last(exchange, call, Err(broken.into()), before);
        }
    }
    Err(Failure::plain(Reason::Internal))
}

/// Whether an app answered, not a sidecar in its place.
fn is_real(sent: &Sent) -> bool {
    sent.as_ref().is_ok_and(|answered| answered.failed.is_none())
}

/// What the caller gets.
fn last(
    exchange: &Exchange,
    call: &Call,
    sent: Sent,
    before: Option<Sent>,
) -> Result<Answered, Failure> {
    use Reason::{CircuitOpen, DeadlinePassed, NoEndpoints, RequestTimeout};
    let answered = match (sent, before) {
        (Ok(newest), Some(Ok(earlier))) if newest.failed.is_some() && earlier.failed.is_none() => {
            earlier
        }
        (Ok(answered), _) => answered,
        (Err(Unanswered { failure, .. }), _)
            if matches!(failure.reason, RequestTimeout | DeadlinePassed) =>
        {
            return Err(failure);
        }
        (Err(_), Some(Ok(answered))) => answered,
        // That there is nobody left to ask says less than why.
        (Err(newest), Some(Err(earlier)))
            if matches!(newest.failure.reason, CircuitOpen | NoEndpoints) =>
        {
            return Err(earlier.failure);
        }
        (Err(newest), _) => return Err(newest.failure),
    };
    if call.sent.get() > 1 {
        exchange.reach(&answered.trial.endpoint);
    }
    Ok(answered)
}

/// Whether the policy repeats what ended so, and what the answer says about when.
fn wish(call: &Call, sent: &Sent) -> Option<Hint> {
    let (policy, twice) = (&call.policy().retry, call.plan.twice);
    let repeats = |failed| retry::repeats_failure(failed, twice, policy);
    match sent {
        Err(unanswered) => repeats(unanswered.failed?).then_some(Hint::None),
        Ok(answered) => {
            let headers = answered.response.headers();
            let by_failure = answered.failed.is_some_and(repeats);
            let (status, grpc) = (answered.response.status(), answered.grpc());
            let wanted = by_failure || retry::repeats_answer(status, grpc, twice, policy);
            wanted.then(|| retry::hint(headers, clock::wall_at(clock::now_us())))
        }
    }
}

/// How long to wait before the next attempt; `None`: there is none, and a counter says why.
fn permit(
    worker: &Outbound,
    exchange: &Exchange,
    call: &Call,
    hint: Hint,
    retries: u32,
    may_follow: bool,
) -> Option<Duration> {
    let rule = call.rule();
    let meter = exchange.meter();
    if !may_follow || !call.body.can_repeat() {
        meter.inspect(|meter| meter.not_repeatable.inc());
        return None;
    }
    let pause = retry::pause(retries + 1, rule.policy.retry.backoff, &mut worker.rng.borrow_mut());
    let left = call.plan.until.map(|(until, _)| until.saturating_duration_since(Instant::now()));
    let Some(wait) = retry::wait(pause, hint, left) else {
        meter.inspect(|meter| meter.not_allowed.inc());
        return None;
    };
    if !rule.budget.try_withdraw(clock::now_us()) {
        meter.inspect(|meter| meter.over_budget.inc());
        return None;
    }
    meter.inspect(|meter| meter.retried.inc());
    Some(wait)
}

/// One attempt, and those beside it.
async fn round(
    worker: &Outbound,
    exchange: &Exchange,
    call: &Call,
    backend: &Arc<Backend>,
    may_follow: bool,
) -> Sent {
    if let Some(hedge) =
        call.policy().hedge.as_ref().filter(|_| call.plan.hedges && call.body.can_repeat())
        && let Some(after) = retry::hedge_after(hedge, &backend.latency, clock::now_us())
    {
        let hedged = hedged(worker, exchange, call, backend, may_follow, after, hedge.max_extra);
        return Box::pin(hedged).await;
    }
    one(worker, exchange, call, backend, may_follow).await
}

/// One attempt.
async fn one(
    worker: &Outbound,
    exchange: &Exchange,
    call: &Call,
    backend: &Arc<Backend>,
    may_follow: bool,
) -> Sent {
    let is_first = call.sent.get() == 0 && call.plan.delay.is_none();
    let begun_us = if is_first { exchange.started_us } else { clock::now_us() };
    let tried = call.tried();
    let ask = Ask { tried: tried.slots(), hash: call.plan.hash, now_us: begun_us };
    let twice = call.plan.safe || call.plan.twice;
    let trial = attempt::choose(worker, backend, ask, twice, call.has_only_lost())?;
    let number = call.try_on(trial.endpoint.slot);
    let Some(request) = call.request(number) else {
        return Err(Failure::plain(Reason::Internal).into());
    };
    exchange.attempt(&trial.endpoint, number, begun_us, trial.circuit());
    let (head_by, until) = call.limits(may_follow);
    let again = || call.again(number);
    let sending = Sending {
        request,
        safe: call.plan.safe,
        connect_timeout: call.policy().timeouts.connect,
        begun_us,
        head_by,
        until,
        again: &again,
    };
    let sent = attempt::send(worker, trial, sending).await;
    match &sent {
        Ok(answered) => {
            let (status, now_us) = (answered.response.status(), begun_us + answered.took_us);
            call.ended(answered.failed);
            exchange.attempted(number, now_us, status.as_u16(), answered.said);
            if call.policy().hedge.is_some() {
                backend.latency.observe(answered.took_us, now_us);
            }
        }
        Err(Unanswered { failed, failure }) => {
            call.ended(*failed);
            exchange.attempted(number, clock::now_us(), 0, Some(failure.reason));
        }
    }
    sent
}

/// An attempt, and up to `extra` others that begin each time that nothing was answered for `after`.
/// The first answer that need not be repeated counts; the others are given up.
async fn hedged(
    worker: &Outbound,
    exchange: &Exchange,
    call: &Call,
    backend: &Arc<Backend>,
    may_follow: bool,
    after: Duration,
    extra: u32,
) -> Sent {
    type Running<'a> = (u64, Pin<Box<dyn Future<Output = Sent> + 'a>>);
    let begin = || -> Running<'_> {
        (clock::now_us(), Box::pin(one(worker, exchange, call, backend, may_follow)))
    };
    let mut running = vec![begin()];
    let mut timer = Box::pin(sleep(after));
    let (mut left, mut worst): (u32, Option<Sent>) = (extra, None);
    let sent = poll_fn(|cx| {
        loop {
            let mut index = 0;
            while index < running.len() {
                let Poll::Ready(sent) = running[index].1.as_mut().poll(cx) else {
                    index += 1;
                    continue;
                };
                drop(running.swap_remove(index));
                if sent.is_ok() && wish(call, &sent).is_none() {
                    return Poll::Ready(sent);
                }
                // A real answer is worth more than none, and what may be repeated more than what not.
                if sent.is_ok()
                    || !matches!(worst, Some(Ok(_))) && wish(call, &sent).is_some()
                    || worst.is_none()
                {
                    worst = Some(sent);
                }
            }
            if running.is_empty() {
                let none = || Err(Failure::plain(Reason::Internal).into());
                return Poll::Ready(worst.take().unwrap_or_else(none));
            }
            if left == 0 || timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            // Two can't read a body that is still coming in.
            if !call.body.is_whole() {
                left = 0;
                return Poll::Pending;
            }
            if !call.rule().budget.try_withdraw(clock::now_us()) {
                left = 0;
                exchange.meter().inspect(|meter| meter.over_budget.inc());
                return Poll::Pending;
            }
            exchange.meter().inspect(|meter| meter.retried.inc());
            left -= 1;
            timer.as_mut().reset(Instant::now() + after);
            running.push(begin());
        }
    })
    .await;
    // Those that lost took at least so long; without them the estimate would only ever fall.
    let now_us = clock::now_us();
    for (begun_us, _) in &running {
        backend.latency.observe(now_us - begun_us, now_us);
    }
    exchange.give_up(now_us);
    sent
}
