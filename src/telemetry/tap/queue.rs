//! What waits to be told to whoever taps: bounded in number and bytes, and in how much comes a second.
//!
//! Whoever offers takes a lock for a moment and never waits; what is beyond the rate, and what the
//! reader has no time for, is counted and told with the next. One reader waits and drains. The control
//! plane has the same between its sidecars and the person who taps.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::bucket::Bucket;

/// What may wait: a second at the highest rate, and some 500 bytes of each.
const ITEMS: usize = 1_000;
const BYTES: usize = 512 << 10;
/// A full queue that nobody reads for so long, in microseconds, is nobody's any more. Arbitrary.
const FORGOTTEN_US: u64 = 60_000_000;

/// What was not told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// It was beyond the rate.
    pub over_rate: u64,
    /// The reader was too slow for it.
    pub unread: u64,
}

impl LeftOut {
    pub fn total(self) -> u64 {
        self.over_rate.saturating_add(self.unread)
    }

    /// The same and these.
    pub fn add(&mut self, more: LeftOut) {
        self.over_rate = self.over_rate.saturating_add(more.over_rate);
        self.unread = self.unread.saturating_add(more.unread);
    }
}

/// What there was to read.
#[derive(Debug)]
pub struct Drained<T> {
    /// The oldest first.
    pub items: Vec<T>,
    /// Since it was last asked.
    pub left_out: LeftOut,
    /// Nothing will come any more.
    pub is_over: bool,
}

/// Between those who see requests end and the one who is told.
pub struct Queue<T> {
    held: Mutex<Held<T>>,
    news: Notify,
}

struct Held<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
    bucket: Bucket,
    left_out: LeftOut,
    read_us: u64,
    is_over: bool,
}

impl<T> Queue<T> {
    /// Takes `rate` a second.
    pub fn new(rate: u32, now_us: u64) -> Self {
        let held = Held {
            items: VecDeque::new(),
            bytes: 0,
            bucket: Bucket::new(rate),
            left_out: LeftOut::default(),
            read_us: now_us,
            is_over: false,
        };
        Self { held: Mutex::new(held), news: Notify::new() }
    }

    /// Queues one, which is only made if it may pass; `make` also says how many bytes it takes.
    pub fn offer(&self, now_us: u64, make: impl FnOnce() -> (T, usize)) {
        let mut held = self.lock();
        let is_news = held.is_quiet();
        let is_taken = if !held.bucket.admits(now_us) {
            held.left_out.over_rate += 1;
            false
        } else if held.items.len() >= ITEMS || held.bytes >= BYTES {
            held.left_out.unread += 1;
            false
        } else {
            true
        };
        if is_taken {
            // A text or two are copied meanwhile, of at most a thousand requests a second.
            let (item, size) = make();
            held.bytes += size;
            held.items.push_back((item, size));
        }
        drop(held);
        if is_news {
            self.news.notify_one();
        }
    }

    /// Counts what was left out before it came here.
    pub fn leave_out(&self, more: LeftOut) {
        if more == LeftOut::default() {
            return;
        }
        let mut held = self.lock();
        let is_news = held.is_quiet();
        held.left_out.add(more);
        drop(held);
        if is_news {
            self.news.notify_one();
        }
    }

    /// The oldest, at most so many and about so many bytes.
    pub fn drain(&self, most: usize, bytes: usize, now_us: u64) -> Drained<T> {
        let mut held = self.lock();
        held.read_us = now_us;
        let (mut items, mut room) = (Vec::new(), bytes);
        while items.len() < most
            && let Some(&(_, size)) = held.items.front()
            && (size <= room || items.is_empty())
        {
            room = room.saturating_sub(size);
            held.bytes -= size;
            items.extend(held.items.pop_front().map(|(item, _)| item));
        }
        if held.items.is_empty() {
            held.items.shrink_to_fit();
        }
        let left_out = std::mem::take(&mut held.left_out);
        let is_over = held.is_over && held.items.is_empty();
        drop(held);
        Drained { items, left_out, is_over }
    }

    /// Waits until there is something to drain, or nothing will be.
    pub async fn some(&self) {
        while !self.has_news() {
            self.news.notified().await;
        }
    }

    fn has_news(&self) -> bool {
        let held = self.lock();
        !held.is_quiet() || held.is_over
    }

    /// Nothing comes any more.
    pub fn close(&self) {
        self.lock().is_over = true;
        self.news.notify_one();
    }

    /// Whether it overflows and its reader has long not come.
    pub fn is_forgotten(&self, now_us: u64) -> bool {
        let held = self.lock();
        held.left_out.unread > 0 && now_us.saturating_sub(held.read_us) > FORGOTTEN_US
    }

    /// A panic under the lock is impossible short of running out of memory.
    fn lock(&self) -> MutexGuard<'_, Held<T>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Held<T> {
    /// Whether there is nothing to tell.
    fn is_quiet(&self) -> bool {
        self.items.is_empty() && self.left_out == LeftOut::default()
    }
}
