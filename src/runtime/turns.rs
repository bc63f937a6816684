//! Turns: what moves many bytes lets the thread's other connections go on between them.
//!
//! Who is only woken again may be polled again 61 times before the thread looks at its sockets, and
//! what has come for others waits all the while. So whoever's turn is over is woken after that look;
//! and what is polled sooner, as an exchange is whose two connections wake each other, or polled on
//! although it was told to wait, moves nothing until then.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};

use tokio::task::yield_now;

/// How much one direction may move in a turn. Arbitrary: some 50 µs of copying.
pub const TURN_BYTES: usize = 256 * 1024;

/// Ends the turn of the task that is polled, which is to be pending now and is polled again after the
/// thread has looked at its sockets.
pub fn end(cx: &mut Context<'_>) {
    // The first poll hands the waker on, and that is all of it.
    let _ = pin!(yield_now()).poll(cx);
}

/// The turns of something that may be polled without need.
#[derive(Debug, Default)]
pub struct Turns {
    moved: usize,
    look: Option<Arc<Look>>,
}

/// The next time that the thread looks at its sockets.
#[derive(Debug)]
struct Look {
    is_over: AtomicBool,
    task: Mutex<Waker>,
}

impl Turns {
    /// So many bytes went by.
    pub fn moved(&mut self, bytes: usize) {
        self.moved += bytes;
    }

    /// Whether a turn is over; then nothing more is to be moved, and the task is woken when the next
    /// begins.
    pub fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        self.moved >= TURN_BYTES && !self.begins(cx)
    }

    fn begins(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(look) = &self.look else {
            let task = Mutex::new(cx.waker().clone());
            let look = Arc::new(Look { is_over: AtomicBool::new(false), task });
            end(&mut Context::from_waker(&Waker::from(Arc::clone(&look))));
            self.look = Some(look);
            return false;
        };
        if look.is_over.load(Ordering::Acquire) {
            *self = Self::default();
            return true;
        }
        look.task.lock().unwrap_or_else(PoisonError::into_inner).clone_from(cx.waker());
        false
    }
}

impl Wake for Look {
    fn wake(self: Arc<Self>) {
        self.is_over.store(true, Ordering::Release);
        self.task.lock().unwrap_or_else(PoisonError::into_inner).wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::rc::Rc;
    use std::task::Poll;

    use super::*;
    use crate::runtime::workers::local_runtime;

    const CHUNK: usize = 64 * 1024;

    #[test]
    fn what_moves_bytes_without_an_end_moves_a_turn_between_two_looks_at_the_sockets() {
        local_runtime().expect("a runtime").block_on(async {
            let (moved, mut turns) = (Rc::new(Cell::new(0)), Turns::default());
            let count = Rc::clone(&moved);
            tokio::task::spawn_local(poll_fn(move |cx| -> Poll<()> {
                // Whatever it is told, it polls on, and wakes itself.
                for _ in 0..16 {
                    while !turns.is_over(cx) {
                        turns.moved(CHUNK);
                        count.set(count.get() + CHUNK);
                    }
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            }));
            let mut busy = 0;
            for _ in 0..100 {
                let before = moved.get();
                // It goes on after such a look.
                yield_now().await;
                let between = moved.get() - before;
                assert!(between <= TURN_BYTES, "{between} bytes");
                busy += usize::from(between > 0);
            }
            assert!(busy >= 50, "it goes on: {busy}");
        });
    }
}
