//! Turns at what costs a processor something: so many at once, and so many of one place.
//!
//! Who waits, waits in the order of arrival behind those of the same place first, so that a place with
//! thousands has no more of the common queue than one with a few.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places are looked through for those that nobody uses when there are so many. Arbitrary.
const SWEPT: usize = 1_024;

/// All turns.
pub struct Turns {
    all: Arc<Semaphore>,
    each: usize,
    places: Mutex<HashMap<IpAddr, Weak<Semaphore>>>,
}

/// A turn, until it is dropped.
pub struct Turn {
    _here: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Turns {
    /// `all` of them, and `each` of one place.
    pub fn new(all: usize, each: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(all)), each, places: Mutex::default() }
    }

    /// Waits for one.
    pub async fn take(&self, place: IpAddr) -> Turn {
        let never_closed = "these semaphores are never closed";
        let here = self.of(place).acquire_owned().await.expect(never_closed);
        let all = Arc::clone(&self.all).acquire_owned().await.expect(never_closed);
        Turn { _here: here, _all: all }
    }

    /// Lives as long as somebody of that place waits or has a turn.
    fn of(&self, place: IpAddr) -> Arc<Semaphore> {
        // A panic under the lock is impossible short of running out of memory.
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = places.get(&place).and_then(Weak::upgrade) {
            return known;
        }
        if places.len() >= SWEPT {
            places.retain(|_, known| known.strong_count() > 0);
        }
        let new = Arc::new(Semaphore::new(self.each));
        places.insert(place, Arc::downgrade(&new));
        new
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Duration, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_place_has_all_of_them() {
        let turns = Turns::new(4, 2);
        let take = |last: u8| timeout(Duration::from_secs(1), turns.take([10, 0, 0, last].into()));
        let first = [take(1).await.expect("a turn"), take(1).await.expect("a turn")];
        assert!(take(1).await.is_err(), "two are for one place");
        let others = [take(2).await.expect("a turn"), take(3).await.expect("a turn")];
        assert!(take(4).await.is_err(), "four are for all");
        drop(first);
        let again = take(1).await.expect("a turn");
        drop((others, again));
        assert_eq!(turns.all.available_permits(), 4);
        assert!(
            turns.places.lock().expect("nobody panicked").values().all(|of| of.strong_count() == 0)
        );
    }
}
