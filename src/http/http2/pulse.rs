//! Whether the peer still lives.
//!
//! Looked at every 5 s: a connection on which nothing came since the last time is pinged, and given up
//! when nothing has come by the next. So a dead peer is noticed within 15 s, and one that talks is not
//! pinged at all.

use std::future::Future;
use std::pin::Pin;
use std::task::Context;
use std::time::Duration;

use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep};

const LOOK: Duration = Duration::from_secs(5);

pub struct Pulse {
    timer: Pin<Box<Sleep>>,
    /// It waits for the timer already.
    begun: bool,
    heard: bool,
    asked: bool,
}

/// What is to be done about it.
#[derive(Debug, PartialEq, Eq)]
pub enum Beat {
    None,
    Ask,
    Dead,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { timer: Box::pin(sleep(LOOK)), begun: false, heard: false, asked: false }
    }
}

impl Pulse {
    /// Something came.
    pub fn hear(&mut self) {
        self.heard = true;
    }

    /// To be asked whenever the connection's task is about to sleep.
    pub fn look(&mut self, cx: &mut Context<'_>) -> Beat {
        if self.begun && !self.timer.is_elapsed() {
            return Beat::None;
        }
        self.begun = true;
        let mut beat = Beat::None;
        // Has the task woken when it comes round, however much the connection did in this turn.
        while std::pin::pin!(unconstrained(self.timer.as_mut())).poll(cx).is_ready() {
            beat = match (std::mem::take(&mut self.heard), self.asked) {
                (true, _) => {
                    self.asked = false;
                    Beat::None
                }
                (false, false) => {
                    self.asked = true;
                    Beat::Ask
                }
                (false, true) => return Beat::Dead,
            };
            self.timer.as_mut().reset(Instant::now() + LOOK);
        }
        beat
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use super::*;

    async fn next(pulse: &mut Pulse) -> (Beat, u64) {
        let begun = Instant::now();
        let beat = poll_fn(|cx| match pulse.look(cx) {
            Beat::None => Poll::Pending,
            beat => Poll::Ready(beat),
        });
        (beat.await, begun.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_silent_is_asked_and_given_up() {
        let mut pulse = Pulse::default();
        assert_eq!(next(&mut pulse).await, (Beat::Ask, 5));
        assert_eq!(next(&mut pulse).await, (Beat::Dead, 5));
    }

    #[tokio::test(start_paused = true)]
    async fn who_talks_is_not_asked() {
        let mut pulse = Pulse::default();
        pulse.hear();
        assert_eq!(next(&mut pulse).await, (Beat::Ask, 10));
        pulse.hear();
        assert_eq!(next(&mut pulse).await, (Beat::Ask, 10));
        assert_eq!(next(&mut pulse).await, (Beat::Dead, 5));
    }
}
