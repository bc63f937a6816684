//! What becomes of a task that panics, where more hangs on it than itself.
//!
//! The runtime ends the task that panicked and no other, which is right for a connection or a call:
//! its caller sees a reset, and its tickets, places and counts are given back as it is unwound. What
//! is to run until the process ends needs more. [`kept`] begins such a task again, over the state
//! that it keeps outside of itself: right for whatever looks, ticks or accepts. [`vital`] ends the
//! process in order: right for what nobody can pick up where it was left (a thread with connections
//! of its own, a writer, a lease), so that whoever started us starts another, instead of something
//! half dead. Every panic is counted and logged by the hook of `telemetry::panics`.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::OnceLock;
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tracing::error;

/// Before a task is begun again; twice as long each time. Arbitrary: what waits in a backlog hardly
/// notices the first, and a task that always panics fills no log with the last.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(30)];
/// Who ran for so long is well.
const WELL: Duration = Duration::from_secs(60);

/// It panicked; the hook has said where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it panicked: the log says where")]
pub struct Panicked;

/// A future's end, or its panic. What it left half done in state that outlives it is the caller's
/// to judge: nobody else sees that state before the caller does.
///
/// # Errors
/// It panicked.
pub async fn caught<T>(future: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut future = pin!(future);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(_) => Poll::Ready(Err(Panicked)),
    })
    .await
}

/// Runs a task to its end, and begins it again after each panic: soon, then less and less often.
pub async fn kept(what: &'static str, mut run: impl AsyncFnMut()) {
    let mut pause = PAUSES[0];
    loop {
        let begun = Instant::now();
        if caught(run()).await.is_ok() {
            return;
        }
        pause = rest(what, begun, pause).await;
    }
}

/// The same for a task that may move between threads: each begin has its own handles of the state.
pub async fn kept_anew<Run>(what: &'static str, mut begin: impl FnMut() -> Run)
where
    Run: Future<Output = ()>,
{
    let mut pause = PAUSES[0];
    loop {
        let begun = Instant::now();
        if caught(begin()).await.is_ok() {
            return;
        }
        pause = rest(what, begun, pause).await;
    }
}

/// After a panic; gives the pause after the next.
async fn rest(what: &str, begun: Instant, pause: Duration) -> Duration {
    let pause = if begun.elapsed() >= WELL { PAUSES[0] } else { pause };
    error!(again_in = ?pause, "{what} panicked and begins again");
    sleep(pause).await;
    (pause * 2).min(PAUSES[1])
}

/// Runs a task without which the process is no use; its panic ends the process, see [`fallen`].
pub async fn vital(what: &'static str, future: impl Future<Output = ()>) {
    if caught(future).await.is_err() {
        fall(what);
    }
}

/// The same for a thread.
pub fn vital_thread(what: &'static str, run: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(run)).is_err() {
        fall(what);
    }
}

static FALLEN: OnceLock<&'static str> = OnceLock::new();
static HAS_FALLEN: Notify = Notify::const_new();

fn fall(what: &'static str) {
    error!("{what} panicked, and nothing can take its place: the process leaves");
    // The first counts.
    let _ = FALLEN.set(what);
    HAS_FALLEN.notify_waiters();
}

/// Waits until something vital has panicked, and says what. For whoever runs the process.
pub async fn fallen() -> &'static str {
    loop {
        let told = HAS_FALLEN.notified();
        if let Some(what) = FALLEN.get() {
            return what;
        }
        told.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_kept_task_goes_on_over_its_state_and_rarely_if_it_always_panics() {
        let (mut runs, mut at) = (0u32, Vec::new());
        let begun = Instant::now();
        kept("a test's task", async || {
            at.push(begun.elapsed());
            runs += 1;
            tokio::task::yield_now().await;
            assert!(runs > 12, "not yet");
        })
        .await;
        assert_eq!(runs, 13);
        let pauses: Vec<Duration> = at.windows(2).map(|two| two[1] - two[0]).collect();
        assert_eq!(pauses[..3], [20, 40, 80].map(Duration::from_millis));
        assert_eq!(pauses[11], Duration::from_secs(30));
    }

    #[tokio::test(start_paused = true)]
    async fn who_ran_well_for_long_is_begun_again_at_once() {
        let mut at = Vec::new();
        kept("a test's task", async || {
            at.push(Instant::now());
            sleep(Duration::from_secs(90)).await;
            assert!(at.len() > 5, "not yet");
        })
        .await;
        let most = Duration::from_secs(90) + PAUSES[0] * 2;
        assert!(at.windows(2).all(|two| two[1] - two[0] < most), "{at:?}");
    }

    #[tokio::test]
    async fn something_vital_that_panics_is_told_to_whoever_waits_and_whoever_comes_late() {
        let told = tokio::spawn(fallen());
        tokio::task::yield_now().await;
        vital("a test's writer", async { panic!("rehearsed") }).await;
        assert_eq!(told.await.expect("it waits"), "a test's writer");
        assert_eq!(fallen().await, "a test's writer");
    }
}
