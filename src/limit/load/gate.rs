//! The gate of one port: places for requests under way, and a short queue where there are none.
//!
//! A place is taken and given back with two atomics while nobody waits; the queue has a lock, which
//! only overload takes. Whoever gives a place back looks for somebody who waits after it has, and
//! whoever begins to wait tries once more after it has, so that one of the two sees the other.

use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::gradient::Gradient;
use super::queue::{Queue, Room, Shed};
use super::samples::Samples;
use crate::model::Reason;
use crate::resources::rate_limit_policy::{Most, Priority};
use crate::telemetry::metrics::Counter;

/// Questions about health may exceed the limit by so many: an orchestrator that gets no answer
/// restarts what is only busy. Few, because anybody can look like one. Arbitrary.
const PROBES: u32 = 4;

/// At a small limit so many of high priority may wait: what comes at random comes in bunches.
const HIGH: u32 = 8;

/// For so many latencies after fewer are let in, answers are not looked at: at first those come that
/// waited in a queue that is no more, and of the others only the quick ones.
const SETTLES: f64 = 4.0;

/// How many requests a port answers at once.
#[derive(Debug)]
pub struct Gate {
    /// `service-account.namespace:port`.
    pub label: Arc<str>,
    limit: AtomicU32,
    under_way: AtomicU32,
    waiting: AtomicU32,
    queue: Mutex<Queue<oneshot::Sender<Ticket>>>,
    samples: Samples,
    /// `None`: the limit stays as it is.
    adaptive: Mutex<Option<Gradient>>,
    /// Answers that come before say nothing of the present limit.
    settled_us: AtomicU64,
    /// What one answer counts for at most.
    most_us: AtomicU64,
    /// By priority.
    shed: [Counter; Priority::ALL.len()],
}

/// A request's place; dropped when its answer is through.
#[derive(Debug)]
pub struct Ticket {
    gate: Arc<Gate>,
    begun_us: u64,
    /// Its place goes to whoever waits.
    hands_on: bool,
}

/// Whether there is a place.
#[derive(Debug)]
pub enum Entered {
    In(Ticket),
    /// It comes, or whoever would send it goes: then there is none.
    Waits(oneshot::Receiver<Ticket>),
}

/// How it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    pub limit: u32,
    pub is_adaptive: bool,
    pub under_way: u32,
    pub waiting: u32,
    /// The best latency of late.
    pub best_us: Option<u64>,
}

impl Gate {
    /// `shed` counts who got no place, by priority.
    pub fn new(label: Arc<str>, most: Most, shed: [Counter; Priority::ALL.len()]) -> Arc<Self> {
        let gate = Arc::new(Self {
            label,
            limit: AtomicU32::new(1),
            under_way: AtomicU32::new(0),
            waiting: AtomicU32::new(0),
            queue: Mutex::default(),
            samples: Samples::default(),
            adaptive: Mutex::new(None),
            settled_us: AtomicU64::new(0),
            most_us: AtomicU64::new(u64::MAX >> 16),
            shed,
        });
        gate.retune(most);
        gate
    }

    /// From now on another limit holds. What is under way stays.
    pub fn retune(self: &Arc<Self>, most: Most) {
        let mut adaptive = lock(&self.adaptive);
        let limit = match most {
            Most::Fixed(limit) => {
                *adaptive = None;
                limit
            }
            Most::Adaptive { min, max } => {
                let gradient = adaptive.get_or_insert_with(|| Gradient::new(min, max));
                gradient.rebound(min, max);
                gradient.limit()
            }
        };
        drop(adaptive);
        self.limit.store(limit, SeqCst);
        self.hand_on();
    }

    /// A place, at once or not at all.
    ///
    /// # Errors
    /// [`Reason::Overloaded`] when all are taken, or somebody waits already.
    pub fn try_admit(self: &Arc<Self>, priority: Priority, now_us: u64) -> Result<Ticket, Reason> {
        let is_free = self.waiting.load(SeqCst) == 0 || priority == Priority::Probe;
        if is_free && self.try_enter(priority) {
            return Ok(Ticket { gate: Arc::clone(self), begun_us: now_us, hands_on: true });
        }
        Err(Reason::Overloaded)
    }

    /// A place at once, or one in the queue.
    ///
    /// # Errors
    /// [`Reason::Overloaded`] when the queue is full of those who go first.
    pub fn enter(self: &Arc<Self>, priority: Priority, now_us: u64) -> Result<Entered, Reason> {
        if let Ok(ticket) = self.try_admit(priority, now_us) {
            return Ok(Entered::In(ticket));
        }
        let (sender, receiver) = oneshot::channel();
        let mut queue = lock(&self.queue);
        let room = self.room();
        if queue.len() >= room.all {
            queue.retain(|one| !one.is_closed());
        }
        let shed = queue.push(sender, priority, room);
        self.note_waiting(&queue);
        drop(queue);
        let of = match &shed {
            Shed::Nobody => None,
            Shed::Waiting(_, of) => Some(*of),
            Shed::Newcomer(_) => Some(priority),
        };
        of.into_iter().for_each(|of| self.note_shed(of));
        if matches!(shed, Shed::Newcomer(_)) {
            return Err(Reason::Overloaded);
        }
        self.hand_on();
        Ok(Entered::Waits(receiver))
    }

    /// Counts somebody of this priority who got no place.
    pub fn note_shed(&self, priority: Priority) {
        self.shed[priority as usize].inc();
    }

    /// How many may be under way.
    pub fn limit(&self) -> u32 {
        self.limit.load(Relaxed)
    }

    pub fn facts(&self) -> Facts {
        let adaptive = lock(&self.adaptive);
        Facts {
            limit: self.limit.load(Relaxed),
            is_adaptive: adaptive.is_some(),
            under_way: self.under_way.load(Relaxed),
            waiting: self.waiting.load(Relaxed),
            best_us: adaptive.as_ref().and_then(Gradient::best_us).map(|best| best as u64),
        }
    }

    /// A quarter of those under way: who waits last waits a quarter of a latency longer. Of high
    /// priority as many as are under way, which is a latency.
    fn room(&self) -> Room {
        let limit = self.limit.load(Relaxed);
        Room { all: limit.div_ceil(4).max(2) as usize, high: limit.max(HIGH) as usize }
    }

    fn note_waiting(&self, queue: &Queue<oneshot::Sender<Ticket>>) {
        self.waiting.store(u32::try_from(queue.len()).unwrap_or(u32::MAX), SeqCst);
    }

    fn try_enter(&self, priority: Priority) -> bool {
        let extra = if priority == Priority::Probe { PROBES } else { 0 };
        let limit = self.limit.load(SeqCst).saturating_add(extra);
        let enter = |taken| (taken < limit).then_some(taken + 1);
        let entered = self.under_way.fetch_update(SeqCst, SeqCst, enter);
        if let Ok(before) = entered {
            self.samples.note_peak(before + 1);
        }
        entered.is_ok()
    }

    /// Gives places that are free to those who wait.
    fn hand_on(self: &Arc<Self>) {
        while self.waiting.load(SeqCst) > 0 && self.try_enter(Priority::Normal) {
            let mut queue = lock(&self.queue);
            let next = queue.pop();
            self.note_waiting(&queue);
            drop(queue);
            let ticket = Ticket { gate: Arc::clone(self), begun_us: 0, hands_on: true };
            let unused = match next {
                Some(next) => next.send(ticket).err(),
                None => Some(ticket),
            };
            // This loop goes on in its place: one drop within another could go deep.
            if let Some(mut unused) = unused {
                unused.hands_on = false;
            }
        }
    }

    /// Learns from an answer.
    fn learn(self: &Arc<Self>, begun_us: u64, now_us: u64) {
        if now_us < self.settled_us.load(Relaxed) {
            return;
        }
        let latency_us = now_us.saturating_sub(begun_us);
        self.samples.note(latency_us.min(self.most_us.load(Relaxed)));
        if !self.samples.is_due(now_us) {
            return;
        }
        let Ok(mut adaptive) = self.adaptive.try_lock() else { return };
        let window = self.samples.take(now_us, self.under_way.load(Relaxed));
        let (Some(gradient), Some(window)) = (adaptive.as_mut(), window) else { return };
        if gradient.learn(window) {
            let settles_us = (window.latency_us * SETTLES) as u64;
            self.settled_us.store(now_us.saturating_add(settles_us), Relaxed);
        }
        self.limit.store(gradient.limit(), SeqCst);
        self.most_us.store(gradient.most_us(), Relaxed);
        drop(adaptive);
        self.hand_on();
    }
}

impl Ticket {
    /// The request goes to the app now.
    pub fn begin(&mut self, now_us: u64) {
        self.begun_us = now_us;
    }

    /// The app's answer begins. Not to be told of a failure: those that come fast would make sound
    /// answers look slow.
    pub fn answered(&self, now_us: u64) {
        self.gate.learn(self.begun_us, now_us);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.gate.under_way.fetch_sub(1, SeqCst);
        if self.hands_on && self.gate.waiting.load(SeqCst) > 0 {
            self.gate.hand_on();
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
