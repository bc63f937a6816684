//! What a worker keeps of each endpoint: idle HTTP/1 connections and shared HTTP/2 ones.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::DialError;
use super::connect::{Far, Secured, Stream, connect};
use super::h1::H1;
use super::h2::{H2, StreamLease};
use crate::limit::{Bulkhead, ConnectionTicket};
use crate::runtime::clock::{self, Rng};
use crate::tls::{Alpn, Credentials};

/// An idle HTTP/1 connection stays this long: most servers wait at least five seconds, so it leaves
/// before they cut it.
const H1_IDLE_US: u64 = 2_000_000;
/// Requests that must not be sent twice take only a connection that was used this recently.
const H1_UNSAFE_IDLE_US: u64 = 1_000_000;
/// Idle connections kept for one endpoint.
const H1_IDLE_MAX: usize = 512;
/// An HTTP/2 connection without streams stays this long.
const H2_IDLE_US: u64 = 300_000_000;

/// Tries of others that a request waits for before it gives up.
const WAITED_DIALS: u32 = 3;

/// A worker's connections.
pub struct Dialer {
    credentials: Arc<ArcSwapOption<Credentials>>,
    /// By the endpoint's slot; slots grow for as long as the process lives, what is used at a time
    /// is little.
    pools: RefCell<BTreeMap<u32, Rc<Pool>>>,
    rng: RefCell<Rng>,
    generation: Generation,
}

/// Counts changes of credentials: what was begun under older ones is not kept.
type Generation = Rc<Cell<u32>>;

/// The connections to one endpoint.
pub struct Pool {
    generation: Generation,
    /// Boxed, because each moves between pool and exchange at every request.
    #[allow(clippy::vec_box, reason = "a connection is a kilobyte and its box moves as a pointer")]
    h1: RefCell<Vec<Box<H1>>>,
    h2: RefCell<Vec<Rc<H2>>>,
    /// Requests that would take a connection which comes back, and word that one did.
    waiting: Cell<u32>,
    returned: Notify,
    /// One HTTP/2 connection is being made: others wait for it instead of making more.
    dialing: Cell<bool>,
    dialed: Notify,
}

impl Dialer {
    /// What peers are judged by.
    pub fn credentials(&self) -> &Arc<ArcSwapOption<Credentials>> {
        &self.credentials
    }

    pub fn new(credentials: Arc<ArcSwapOption<Credentials>>) -> Self {
        Self {
            credentials,
            pools: RefCell::default(),
            rng: RefCell::new(Rng::from_system()),
            generation: Generation::default(),
        }
    }

    /// The pool of an endpoint's slot.
    pub fn pool(&self, slot: u32) -> Rc<Pool> {
        let new = || Rc::new(Pool::new(&self.generation));
        Rc::clone(self.pools.borrow_mut().entry(slot).or_insert_with(new))
    }

    /// A connection for opaque bytes; never pooled.
    ///
    /// # Errors
    /// See [`DialError`].
    pub async fn tcp(&self, far: Far<'_>) -> Result<Stream, DialError> {
        connect(far, self.credentials.load_full().as_deref(), Alpn::Tcp).await
    }

    /// An idle HTTP/1 connection, if there is one that may be used.
    pub(super) fn idle_h1(
        &self,
        pool: &Pool,
        far: Far<'_>,
        safe: bool,
        now_us: u64,
        bulkhead: Option<&Bulkhead>,
    ) -> Option<Box<H1>> {
        let max = bulkhead.map_or(u32::MAX, Bulkhead::max_requests_per_connection);
        pool.take_h1(far, safe, max, now_us)
    }

    /// A new HTTP/1 connection.
    ///
    /// # Errors
    /// See [`DialError`].
    pub(super) async fn fresh_h1(
        &self,
        far: Far<'_>,
        bulkhead: Option<&Bulkhead>,
    ) -> Result<Box<H1>, DialError> {
        let ticket = self.place(bulkhead).await?;
        self.connect_h1(far, ticket).await
    }

    /// A new HTTP/1 connection, or one that came back while there was no place for another.
    ///
    /// # Errors
    /// See [`DialError`].
    pub(super) async fn next_h1(
        &self,
        pool: &Pool,
        far: Far<'_>,
        safe: bool,
        bulkhead: Option<&Bulkhead>,
    ) -> Result<Box<H1>, DialError> {
        let ticket = match bulkhead.map(Bulkhead::try_connect) {
            Some(Err(_)) => tokio::select! {
                biased;
                h1 = pool.returned(far, safe, bulkhead) => return Ok(h1),
                ticket = self.place(bulkhead) => ticket?,
            },
            place => place.and_then(Result::ok),
        };
        self.connect_h1(far, ticket).await
    }

    async fn connect_h1(
        &self,
        far: Far<'_>,
        ticket: Option<ConnectionTicket>,
    ) -> Result<Box<H1>, DialError> {
        loop {
            let generation = self.generation.get();
            let stream = connect(far, self.credentials.load_full().as_deref(), Alpn::H1).await?;
            if generation == self.generation.get() {
                return Ok(H1::start(stream, ticket, far, generation));
            } // else dialled with credentials that were replaced meanwhile
        }
    }

    /// A place for a connection; where all are taken, one that does nothing makes room.
    async fn place(
        &self,
        bulkhead: Option<&Bulkhead>,
    ) -> Result<Option<ConnectionTicket>, DialError> {
        let Some(bulkhead) = bulkhead else { return Ok(None) };
        if let Ok(ticket) = bulkhead.try_connect() {
            return Ok(Some(ticket));
        }
        self.make_room(bulkhead);
        bulkhead.connect().await.map(Some).map_err(DialError::Limit)
    }

    /// Closes a connection of the service that has nothing to do. Other workers look through theirs
    /// at their next sweep.
    fn make_room(&self, bulkhead: &Bulkhead) {
        for pool in self.pools.borrow().values() {
            if pool.drop_idle(bulkhead) {
                return;
            }
        }
    }

    /// A stream on an HTTP/2 connection, which is made where none has room.
    ///
    /// # Errors
    /// See [`DialError`].
    pub(super) async fn h2(
        &self,
        pool: &Rc<Pool>,
        far: Far<'_>,
        now_us: u64,
        bulkhead: Option<&Bulkhead>,
    ) -> Result<StreamLease, DialError> {
        let max = bulkhead.map_or(u32::MAX, Bulkhead::max_requests_per_connection);
        let mut patience = None;
        loop {
            if let Some(stream) = pool.take_h2(far.secured(), max, now_us) {
                return Ok(stream);
            }
            if pool.dialing.get() {
                // Many wait for one dial, and all would be repeated at once if they gave up with it,
                // so they see a few tries through; but not without end.
                let until = *patience
                    .get_or_insert_with(|| Instant::now() + WAITED_DIALS * far.connect_timeout);
                if timeout_at(until, pool.dialed.notified()).await.is_err() {
                    return Err(DialError::Timeout(WAITED_DIALS * far.connect_timeout));
                }
                continue;
            }
            let dialing = Dialing::begin(pool);
            let generation = self.generation.get();
            // Rare and large: boxed, so that every request's future stays small.
            let h2 = Box::pin(self.fresh_h2(far, bulkhead)).await?;
            if generation != self.generation.get() {
                continue; // dialled with credentials that were replaced meanwhile
            }
            let stream = h2.take_stream();
            pool.h2.borrow_mut().push(h2);
            drop(dialing);
            return Ok(stream);
        }
    }

    async fn fresh_h2(
        &self,
        far: Far<'_>,
        bulkhead: Option<&Bulkhead>,
    ) -> Result<Rc<H2>, DialError> {
        let ticket = self.place(bulkhead).await?;
        let stream = connect(far, self.credentials.load_full().as_deref(), Alpn::H2).await?;
        let mut rng = self.rng.borrow().clone();
        self.rng.borrow_mut().next_u64();
        Ok(H2::start(stream, ticket, far.secured(), &mut rng))
    }

    /// Lets go of what has been idle for too long, of all that belongs to endpoints that are gone,
    /// and of the place of those that nobody uses; called by the worker's tick and at each snapshot.
    pub fn sweep(&self, is_live: impl Fn(u32) -> bool) {
        let now_us = clock::now_us();
        self.pools.borrow_mut().retain(|slot, pool| {
            pool.sweep(now_us);
            is_live(*slot) && !(pool.is_empty() && Rc::strong_count(pool) == 1)
        });
    }

    /// Lets go of every shared connection, so that the next request makes one with the newest
    /// credentials; requests under way finish where they are.
    pub fn renew(&self) {
        self.generation.set(self.generation.get() + 1);
        for pool in self.pools.borrow().values() {
            pool.h2.borrow_mut().clear();
            pool.h1.borrow_mut().clear();
        }
    }
}

impl Pool {
    fn new(generation: &Generation) -> Self {
        Self {
            generation: Rc::clone(generation),
            h1: RefCell::default(),
            h2: RefCell::default(),
            waiting: Cell::default(),
            returned: Notify::new(),
            dialing: Cell::default(),
            dialed: Notify::new(),
        }
    }

    /// The connection that was used last of those that fit.
    fn take_h1(&self, far: Far<'_>, safe: bool, max: u32, now_us: u64) -> Option<Box<H1>> {
        let longest = if safe { H1_IDLE_US } else { H1_UNSAFE_IDLE_US };
        let fits = |h1: &H1| h1.secured == far.secured() && (h1.keeps_case || !far.keeps_case);
        let mut idle = self.h1.borrow_mut();
        while let Some(at) = idle.iter().rposition(|h1| fits(h1)) {
            // The others have been idle for even longer; a safe method may still take them.
            if now_us.saturating_sub(idle[at].idle_since_us) > longest {
                return None;
            }
            let h1 = idle.remove(at);
            if h1.served < max && h1.is_ready() && self.is_current(&h1) {
                return Some(h1);
            }
        }
        None
    }

    pub(super) fn give_back(&self, h1: Box<H1>) {
        if !self.is_current(&h1) {
            return;
        }
        let mut idle = self.h1.borrow_mut();
        if h1.is_wanted() && self.waiting.get() == 0 {
            return; // somebody needs its place for another endpoint
        }
        if idle.len() < H1_IDLE_MAX {
            idle.push(h1);
            if self.waiting.get() > 0 {
                self.returned.notify_one();
            }
        }
    }

    /// Whether it was made with the newest credentials.
    fn is_current(&self, h1: &H1) -> bool {
        h1.generation == self.generation.get()
    }

    /// A connection that comes back; never ready where none does.
    async fn returned(&self, far: Far<'_>, safe: bool, bulkhead: Option<&Bulkhead>) -> Box<H1> {
        let _waiting = Waiting::begin(&self.waiting);
        let max = bulkhead.map_or(u32::MAX, Bulkhead::max_requests_per_connection);
        loop {
            if let Some(h1) = self.take_h1(far, safe, max, clock::now_us()) {
                return h1;
            }
            self.returned.notified().await;
        }
    }

    /// Closes a connection that has its place in this bulkhead and nothing to do.
    fn drop_idle(&self, bulkhead: &Bulkhead) -> bool {
        let mut h1 = self.h1.borrow_mut();
        if let Some(at) = h1.iter().position(|h1| h1.has_place(bulkhead)) {
            h1.swap_remove(at);
            return true;
        }
        let mut h2 = self.h2.borrow_mut();
        let at = h2.iter().position(|h2| h2.is_idle() && h2.has_place(bulkhead));
        at.inspect(|&at| drop(h2.swap_remove(at))).is_some()
    }

    fn take_h2(&self, secured: Secured, max: u32, now_us: u64) -> Option<StreamLease> {
        let mut connections = self.h2.borrow_mut();
        // Requests under way on one that is used up keep it.
        connections.retain(|h2| !h2.should_leave(max));
        connections.iter().find(|h2| h2.has_room(secured, max, now_us)).map(H2::take_stream)
    }

    fn is_empty(&self) -> bool {
        self.h1.borrow().is_empty() && self.h2.borrow().is_empty()
    }

    fn sweep(&self, now_us: u64) {
        let fresh =
            |h1: &H1| now_us.saturating_sub(h1.idle_since_us) <= H1_IDLE_US && !h1.is_wanted();
        self.h1.borrow_mut().retain(|h1| fresh(h1));
        self.h2.borrow_mut().retain(|h2| {
            h2.may_stay(u32::MAX, now_us)
                && !h2.is_idle_since(now_us, H2_IDLE_US)
                && !h2.should_leave(u32::MAX)
        });
    }
}

struct Waiting<'a>(&'a Cell<u32>);

impl<'a> Waiting<'a> {
    fn begin(count: &'a Cell<u32>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

struct Dialing<'a>(&'a Pool);

impl<'a> Dialing<'a> {
    fn begin(pool: &'a Pool) -> Self {
        pool.dialing.set(true);
        Self(pool)
    }
}

impl Drop for Dialing<'_> {
    fn drop(&mut self) {
        self.0.dialing.set(false);
        self.0.dialed.notify_waiters();
    }
}
