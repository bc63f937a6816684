//! Places for connections, whose number may change while they are taken.
//!
//! A fair semaphore: whoever waits longest is next. Fewer places than are taken make a debt, which
//! connections pay as they close; while there is a debt no permit leads to a connection.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

/// The connections of one service.
#[derive(Debug)]
pub(super) struct Places {
    permits: Semaphore,
    /// Permits that are out and will not come back.
    debt: AtomicU32,
    taken: AtomicU32,
    waiting: AtomicU32,
    limit: Mutex<u32>,
}

/// A connection's place; dropped when it closes.
#[derive(Debug)]
pub struct ConnectionTicket(Arc<Places>);

impl Places {
    pub fn new(limit: u32) -> Arc<Self> {
        Arc::new(Self {
            permits: Semaphore::new(limit as usize),
            debt: AtomicU32::new(0),
            taken: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            limit: Mutex::new(limit),
        })
    }

    pub fn taken(&self) -> u32 {
        self.taken.load(Relaxed)
    }

    /// A place, if there is one.
    pub fn try_take(self: &Arc<Self>) -> Option<ConnectionTicket> {
        loop {
            self.permits.try_acquire().ok()?.forget();
            if let Some(ticket) = self.use_permit() {
                return Some(ticket);
            }
        }
    }

    /// A place, as soon as there is one.
    pub async fn take(self: &Arc<Self>) -> ConnectionTicket {
        let _waiting = Waiting::begin(&self.waiting);
        loop {
            let permit = self.permits.acquire().await.expect("the semaphore is never closed");
            permit.forget();
            if let Some(ticket) = self.use_permit() {
                return ticket;
            }
        }
    }

    /// A ticket for a permit, unless the permit is owed.
    fn use_permit(self: &Arc<Self>) -> Option<ConnectionTicket> {
        if self.pay() {
            return None;
        }
        self.taken.fetch_add(1, Relaxed);
        Some(ConnectionTicket(Arc::clone(self)))
    }

    /// Pays one permit of the debt; false when there is none.
    fn pay(&self) -> bool {
        // Read first: there hardly ever is one.
        self.debt.load(Acquire) != 0
            && self.debt.fetch_update(AcqRel, Acquire, |debt| debt.checked_sub(1)).is_ok()
    }

    /// From now on there are so many places.
    pub fn retune(&self, limit: u32) {
        let mut held = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *held, limit);
        if limit >= before {
            self.grow(limit - before);
        } else {
            self.shrink(before - limit);
        }
    }

    fn grow(&self, more: u32) {
        let forgive = |debt: u32| Some(debt.saturating_sub(more));
        // The closure never declines, so this can't fail.
        let debt = self.debt.fetch_update(AcqRel, Acquire, forgive).unwrap_or_default();
        self.permits.add_permits(more.saturating_sub(debt) as usize);
    }

    /// Owes first and then pays with what is free: in the other order a connection that closes
    /// between the two would make room for one too many.
    fn shrink(&self, fewer: u32) {
        self.debt.fetch_add(fewer, AcqRel);
        while self.debt.load(Acquire) != 0 {
            let Ok(permit) = self.permits.try_acquire() else { return };
            if self.pay() {
                permit.forget();
            }
        }
    }
}

struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, AcqRel);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, AcqRel);
    }
}

impl ConnectionTicket {
    /// Whether somebody waits for a place like this one: a connection that does nothing should
    /// make room.
    pub fn is_wanted(&self) -> bool {
        self.0.waiting.load(Acquire) != 0
    }

    pub(super) fn is_of(&self, places: &Arc<Places>) -> bool {
        Arc::ptr_eq(&self.0, places)
    }
}

impl Drop for ConnectionTicket {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Relaxed);
        if !self.0.pay() {
            self.0.permits.add_permits(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As between the two steps of a worker that takes places away: owed, and not yet paid.
    #[tokio::test(start_paused = true)]
    async fn a_free_permit_that_is_owed_is_no_place() {
        let places = Places::new(2);
        places.debt.store(1, Relaxed);
        let ticket = places.try_take();
        assert!(ticket.is_some(), "one of the two is owed");
        assert!(places.try_take().is_none());
        assert_eq!((places.debt.load(Relaxed), places.taken()), (0, 1));
        places.permits.add_permits(1);
        places.debt.store(1, Relaxed);
        let waits = tokio::time::timeout(std::time::Duration::from_secs(1), places.take());
        assert!(waits.await.is_err(), "it is paid, and no other is there");
        assert_eq!((places.debt.load(Relaxed), places.taken()), (0, 1));
    }
}
