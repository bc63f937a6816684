//! How long an exchange may go without a byte in either direction.
//!
//! One timer an exchange, made when it first has to wait, and re-armed when it fires rather than at
//! each byte: what moves often never pays for it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use super::BodyError;
use crate::runtime::clock;

/// The wait of one body.
#[derive(Debug)]
pub struct Patience {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    pub fn new(limit: Duration) -> Self {
        Self { limit, timer: None }
    }

    /// The error that ends a body which has waited too long since `touched_us`.
    pub fn wait(&mut self, cx: &mut Context<'_>, touched_us: u64) -> Option<BodyError> {
        let over = self.poll(cx, touched_us).is_ready();
        over.then(|| BodyError::Idle(self.limit))
    }

    /// Ready when nothing moved since `touched_us` for as long as is allowed.
    fn poll(&mut self, cx: &mut Context<'_>, touched_us: u64) -> Poll<()> {
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        while timer.as_mut().poll(cx).is_ready() {
            let still = Duration::from_micros(clock::now_us().saturating_sub(touched_us));
            if still >= limit {
                return Poll::Ready(());
            }
            timer.as_mut().reset(Instant::now() + (limit - still));
        }
        Poll::Pending
    }
}
