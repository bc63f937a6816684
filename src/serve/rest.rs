//! How long a connection has been at rest, at next to no cost for those that are not.
//!
//! One timer a connection, and no request touches it: it comes round four times a second, and a connection
//! that it finds at rest, with no request since the last time, has rested long enough. One that goes
//! on resting has no timer any more.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::Context;
use std::time::Duration;

use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep};

/// Between two looks. What is given back takes 3 µs to make anew: nothing, twice a second.
const LOOK: Duration = Duration::from_millis(250);

/// A connection's timer, from the first time that it waits.
#[derive(Debug, Default)]
pub struct Rest {
    timer: Option<Pin<Box<Sleep>>>,
    /// The requests until the last look.
    requests: u64,
}

impl Rest {
    /// To be asked whenever the connection waits; `requests` it has had so far.
    pub fn has_lasted(
        &mut self,
        cx: &mut Context<'_>,
        requests: u64,
        is_at_rest: impl FnOnce() -> bool,
    ) -> bool {
        let begun = self.timer.is_some();
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(LOOK)));
        if begun {
            if !timer.is_elapsed() {
                return false;
            }
            if requests == self.requests && is_at_rest() {
                return true;
            }
            timer.as_mut().reset(Instant::now() + LOOK);
        }
        self.requests = requests;
        // Has the task woken when it comes round, however much the connection did in this turn.
        pin!(unconstrained(timer.as_mut())).poll(cx).is_ready()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use super::*;

    /// Whether it rests within so many looks, with these requests until each.
    async fn rests(requests: &[u64], is_at_rest: bool) -> bool {
        let mut rest = Rest::default();
        let mut looks = requests.iter();
        poll_fn(|cx| match looks.next() {
            Some(requests) if rest.has_lasted(cx, *requests, || is_at_rest) => Poll::Ready(true),
            Some(_) => Poll::Pending,
            None => Poll::Ready(false),
        })
        .await
    }

    #[tokio::test(start_paused = true)]
    async fn it_lasts_once_no_request_came_between_two_looks() {
        assert!(rests(&[0, 0], true).await);
        assert!(!rests(&[0, 1, 2, 3], true).await);
        assert!(rests(&[0, 1, 2, 2], true).await);
        assert!(!rests(&[0, 0, 0, 0], false).await);
    }
}
