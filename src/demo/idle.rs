//! Connections that wait to be used again.
//!
//! Each is kept for a moment only, counted from when it was made: a sidecar that leaves can then
//! wait for all of them to end, whether they are used or not. Called by everything here that calls
//! others. Clones share.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::time::Duration;

use tokio::task::spawn_local;
use tokio::time::{Instant, interval};

/// How old a connection may be when it is used once more. Well below the drain of a sidecar.
const AGE: Duration = Duration::from_millis(1000);
/// Between two looks at those that nobody uses.
const SWEEP: Duration = Duration::from_millis(250);

type Kept<T> = RefCell<Vec<(T, Instant)>>;

/// Kept connections, with when each was made.
pub(super) struct Idle<T>(Rc<Kept<T>>);

impl<T> Clone for Idle<T> {
    fn clone(&self) -> Self {
        Idle(Rc::clone(&self.0))
    }
}

impl<T: 'static> Idle<T> {
    /// To be called on the runtime that the connections are used on.
    pub(super) fn new() -> Idle<T> {
        let kept = Rc::default();
        spawn_local(sweep(Rc::downgrade(&kept)));
        Idle(kept)
    }

    /// Keeps a connection, unless it is too old.
    pub(super) fn put(&self, connection: T, born: Instant) {
        if is_young(born) {
            self.0.borrow_mut().push((connection, born));
        }
    }

    /// The one that was used last.
    pub(super) fn take(&self) -> Option<(T, Instant)> {
        let mut kept = self.0.borrow_mut();
        kept.retain(|(_, born)| is_young(*born));
        kept.pop()
    }
}

fn is_young(born: Instant) -> bool {
    born.elapsed() < AGE
}

async fn sweep<T>(kept: Weak<Kept<T>>) {
    let mut looks = interval(SWEEP);
    loop {
        looks.tick().await;
        let Some(kept) = kept.upgrade() else { return };
        kept.borrow_mut().retain(|(_, born)| is_young(*born));
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::LocalSet;
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn none_is_kept_for_long() {
        let used = async {
            let idle = Idle::new();
            let alive = Rc::new(());
            let born = Instant::now();
            idle.put(Rc::clone(&alive), born);
            advance(AGE / 2).await;
            let (connection, since) = idle.take().expect("it is young");
            assert_eq!(since, born);
            idle.put(connection, since);
            assert_eq!(Rc::strong_count(&alive), 2);
            tokio::time::sleep(AGE / 2 + SWEEP).await;
            assert_eq!(Rc::strong_count(&alive), 1, "swept, though nobody asked");
            idle.put(Rc::clone(&alive), born);
            assert!(idle.take().is_none());
        };
        LocalSet::new().run_until(used).await;
    }
}
