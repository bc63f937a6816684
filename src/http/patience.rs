//! How long an exchange may go without a byte in either direction, and how long it may last.
//!
//! One timer an exchange, made when it first has to wait, and re-armed when it fires rather than at
//! each byte: what moves often never pays for it.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::BodyError;
use crate::model::Reason;

/// The limit is looked at in so many steps: what moves pays no clock, and an idle body is noticed
/// at most a fourth of its limit late.
const STEPS: u32 = 4;

/// The wait of one body.
#[derive(Debug)]
pub struct Patience {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    idle_steps: u32,
    /// When it must be through, and what is said if it isn't.
    until: Option<(Instant, Reason)>,
}

impl Patience {
    pub fn new(limit: Duration) -> Self {
        Self { limit, timer: None, idle_steps: 0, until: None }
    }

    /// Whatever moves, it is over at that moment.
    #[must_use]
    pub fn until(mut self, until: Option<(Instant, Reason)>) -> Self {
        self.until = until;
        self
    }

    /// The error that ends a body which has waited too long. `moved` says whether anything went by
    /// since it was last asked.
    pub fn wait(&mut self, cx: &mut Context<'_>, moved: impl Fn() -> bool) -> Option<BodyError> {
        let step = self.limit / STEPS;
        let until = self.until;
        let next = |now: Instant| until.map_or(now + step, |(until, _)| until.min(now + step));
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(next(Instant::now()))));
        while timer.as_mut().poll(cx).is_ready() {
            if let Some((until, reason)) = until
                && Instant::now() >= until
            {
                return Some(BodyError::Late(reason));
            }
            self.idle_steps = if moved() { 0 } else { self.idle_steps + 1 };
            if self.idle_steps >= STEPS {
                return Some(BodyError::Idle(self.limit));
            }
            timer.as_mut().reset(next(Instant::now()));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::task::Poll;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_moves_is_over_at_its_moment() {
        let begun = Instant::now();
        let until = begun + Duration::from_millis(2500);
        let mut patience =
            Patience::new(Duration::from_secs(4)).until(Some((until, Reason::RequestTimeout)));
        let error =
            poll_fn(|cx| patience.wait(cx, || true).map_or(Poll::Pending, Poll::Ready)).await;
        assert!(matches!(error, BodyError::Late(Reason::RequestTimeout)));
        assert_eq!(begun.elapsed().as_millis(), 2500);
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_body_that_does_not_move_is_given_up() {
        let mut patience = Patience::new(Duration::from_secs(4));
        let moves = Cell::new(3);
        let moved = || moves.replace(moves.get() - 1) > 0;
        let begun = Instant::now();
        let error = poll_fn(|cx| patience.wait(cx, moved).map_or(Poll::Pending, Poll::Ready)).await;
        assert!(matches!(error, BodyError::Idle(_)));
        assert_eq!(begun.elapsed().as_secs(), 3 + 4);
    }
}
