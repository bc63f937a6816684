//! Leaving without cutting anyone off.
//!
//! One [`Drain`] for the process; every connection holds an [`Open`] while it lives. The phases
//! only ever move forward: serving, draining (both directions still work, HTTP/2 peers are told to
//! go elsewhere, HTTP/1 answers say `Connection: close`), refusing (new requests from elsewhere are
//! answered `draining`, so that nothing is under way at the deadline), closing (what is left is cut).

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::supervise::kept;
use super::{DrainSettings, allocator, clock};

/// How far the process is in leaving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Serving,
    Draining,
    /// The deadline is near: what comes in now is told to go elsewhere.
    Refusing,
    Closing,
}

/// The process's way out; cheap to clone.
#[derive(Clone, Debug)]
pub struct Drain {
    phase: watch::Sender<Phase>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    open: AtomicUsize,
    last_opened_us: AtomicU64,
}

/// A worker's open connections, so that each can be told to leave without watching for it.
#[derive(Debug)]
pub struct Doorway {
    drain: Drain,
    phase: Cell<Phase>,
    inside: RefCell<Vec<Weak<Leaving>>>,
}

/// Held by a connection for as long as it is open.
#[derive(Debug)]
pub struct Open {
    shared: Arc<Shared>,
    leaving: Rc<Leaving>,
}

/// What a connection is told; a connection that is polled looks at a cell, and is woken when the
/// cell changes.
#[derive(Debug)]
struct Leaving {
    phase: Cell<Phase>,
    /// How often what peers were proven by has changed: roots, and what was revoked.
    renewals: Cell<u32>,
    waker: RefCell<Option<Waker>>,
}

impl Default for Drain {
    fn default() -> Self {
        Self { phase: watch::Sender::new(Phase::Serving), shared: Arc::default() }
    }
}

impl Drain {
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Connections open now.
    pub fn open_connections(&self) -> usize {
        self.shared.open.load(Ordering::Acquire)
    }

    /// Moves forward to `phase`; an earlier phase changes nothing.
    pub fn advance(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let forward = phase > *now;
            *now = (*now).max(phase);
            forward
        });
    }

    /// Waits until the process is at least in `phase`.
    pub async fn reached(&self, phase: Phase) {
        let mut receiver = self.phase.subscribe();
        // The sender lives in `self`, so the channel can't close.
        let _ = receiver.wait_for(|now| *now >= phase).await;
    }

    /// Runs the whole way out: returns when nothing is open any more, or at the deadline, with the
    /// number of connections that had to be cut.
    pub async fn run(&self, settings: DrainSettings) -> usize {
        self.advance(Phase::Draining);
        let begun = Instant::now();
        let until = |at: Duration| timeout_at(begun + at, self.empty(begun + settings.minimum));
        if until(settings.refuse_after()).await.is_err() {
            self.advance(Phase::Refusing);
            let _ = until(settings.deadline).await;
        }
        let cut = self.open_connections();
        self.advance(Phase::Closing);
        cut
    }

    /// Ends what is open, and waits until it has been told so: what a process leaves open when it
    /// exits would look as if it had ended well.
    pub async fn cut(&self, within: Duration) {
        self.advance(Phase::Closing);
        let until = Instant::now() + within;
        while self.open_connections() > 0 && Instant::now() < until {
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Waits until nothing is open, but at least until `earliest`.
    async fn empty(&self, earliest: Instant) {
        sleep_until(earliest).await;
        while !self.is_quiet() {
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Nothing open, and no new connection for a second.
    fn is_quiet(&self) -> bool {
        let since =
            clock::now_us().saturating_sub(self.shared.last_opened_us.load(Ordering::Relaxed));
        self.open_connections() == 0 && since >= 1_000_000
    }
}

impl Doorway {
    /// A worker's doorway; it tells its connections what the process does from now on.
    pub fn new(drain: Drain) -> Rc<Self> {
        let doorway = Rc::new(Self {
            drain: drain.clone(),
            phase: Cell::new(drain.phase()),
            inside: RefCell::default(),
        });
        let told = Rc::clone(&doorway);
        // Telling once more what was told changes nothing.
        tokio::task::spawn_local(kept("whoever tells of the drain", async move || {
            for phase in [Phase::Draining, Phase::Refusing, Phase::Closing] {
                drain.reached(phase).await;
                told.tell(phase);
            }
        }));
        doorway
    }

    /// Counts a connection in.
    pub fn enter(&self) -> Open {
        let shared = Arc::clone(&self.drain.shared);
        shared.open.fetch_add(1, Ordering::AcqRel);
        shared.last_opened_us.store(clock::now_us(), Ordering::Relaxed);
        let phase = self.phase.clone();
        let leaving = Rc::new(Leaving { phase, renewals: Cell::new(0), waker: RefCell::default() });
        let mut inside = self.inside.borrow_mut();
        if inside.len() == inside.capacity() {
            inside.retain(|leaving| leaving.strong_count() > 0);
        }
        inside.push(Rc::downgrade(&leaving));
        Open { shared, leaving }
    }

    /// What connections were told last.
    pub fn phase(&self) -> Phase {
        self.phase.get()
    }

    fn tell(&self, phase: Phase) {
        self.phase.set(phase);
        self.wake_each(|leaving| leaving.phase.set(phase));
    }

    /// Tells the connections that what their peers were proven by has changed.
    pub fn renew(&self) {
        self.wake_each(|leaving| leaving.renewals.set(leaving.renewals.get().wrapping_add(1)));
    }

    fn wake_each(&self, tell: impl Fn(&Leaving)) {
        for leaving in self.inside.borrow().iter().filter_map(Weak::upgrade) {
            tell(&leaving);
            if let Some(waker) = leaving.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }
}

impl Open {
    pub fn phase(&self) -> Phase {
        self.leaving.phase.get()
    }

    /// Waits until the process is at least in `phase`. One task at a time.
    pub async fn reached(&self, phase: Phase) {
        std::future::poll_fn(|cx| self.poll_reached(cx, phase)).await;
    }

    /// Whether what the peer was proven by has changed since this was last asked with `seen`, which
    /// is 0 at first.
    pub fn is_renewed(&self, seen: &Cell<u32>) -> bool {
        let now = self.leaving.renewals.get();
        seen.replace(now) != now
    }

    /// Waits for that.
    pub async fn renewed(&self, seen: &Cell<u32>) {
        std::future::poll_fn(|cx| {
            self.wake_by(cx);
            if self.is_renewed(seen) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Ready when the process is at least in `phase`.
    pub fn poll_reached(&self, cx: &Context<'_>, phase: Phase) -> Poll<()> {
        if self.leaving.phase.get() >= phase {
            return Poll::Ready(());
        }
        self.wake_by(cx);
        Poll::Pending
    }

    fn wake_by(&self, cx: &Context<'_>) {
        let mut waker = self.leaving.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.open.fetch_sub(1, Ordering::AcqRel);
        allocator::freed_connection();
    }
}
