//! The buckets of all keys, sharded, in memory that has a bound.
//!
//! What is kept of a key is a keyed hash of 128 bits: of a fixed size whatever callers send, without
//! anything secret of theirs, and not to be steered by who doesn't know the keys of this process, so
//! that nobody finds two values that share a bucket. A shard that has no room forgets buckets that
//! are full, for they say nothing; if none is, a newcomer gets the bucket that all newcomers share,
//! because making room for it would forget what somebody else has used up.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::gcra::Pace;

/// Keys of the whole sidecar: three megabytes of them, and more callers than one workload has.
pub const MOST_KEYS: usize = 100_000;
/// A power of two. A few workers seldom meet in one of them, and chance fills them alike to 2 %.
const SHARDS: usize = 16;
/// Between two looks for buckets that are full, in one shard: a look takes some 20 µs, and whoever
/// sends one new key after another can cause no more of them. Arbitrary.
const APART_NS: u64 = 10_000_000;

/// All buckets that have a key.
pub struct Table {
    shards: [Mutex<Shard>; SHARDS],
    most_in_shard: usize,
    seeds: [RandomState; 2],
}

/// What stands for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token([u64; 2]);

/// A request that was taken from a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// What the bucket came to.
    pub until_ns: u64,
    /// It was the bucket of all newcomers.
    is_shared: bool,
}

impl Taken {
    /// From a bucket without a key.
    pub fn keyless(until_ns: u64) -> Self {
        Self { until_ns, is_shared: false }
    }
}

#[derive(Default)]
struct Shard {
    buckets: HashMap<Token, u64, BuildHasherDefault<AsIs>>,
    /// No bucket is full before.
    earliest_ns: u64,
    looked_ns: u64,
}

/// A token is a hash already.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, part: u64) {
        self.0 = part;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Hash for Token {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0[0]);
    }
}

impl Table {
    pub fn new(most: usize) -> Self {
        Self {
            shards: Default::default(),
            most_in_shard: most / SHARDS,
            seeds: [RandomState::new(), RandomState::new()],
        }
    }

    /// What stands for a key of a limit, told as parts.
    pub fn token<'k>(&self, limit: u64, parts: impl Iterator<Item = &'k [u8]>) -> Token {
        let mut hashers = self.seeds.each_ref().map(BuildHasher::build_hasher);
        hashers.iter_mut().for_each(|hasher| hasher.write_u64(limit));
        for part in parts {
            for hasher in &mut hashers {
                // Its length goes before, so that parts can't be cut in two ways.
                hasher.write_usize(part.len());
                hasher.write(part);
            }
        }
        Token(hashers.map(|hasher| hasher.finish()))
    }

    /// What the bucket of a key is at; `shared` is that of newcomers.
    pub fn look(&self, token: Token, shared: &AtomicU64, now_ns: u64) -> u64 {
        let shard = self.shard(token);
        match shard.buckets.get(&token) {
            Some(until) => *until,
            None if shard.buckets.len() < self.most_in_shard => 0,
            None if shard.may_make_room(now_ns) => 0,
            None => shared.load(Acquire),
        }
    }

    /// Takes a request from the bucket of a key.
    ///
    /// # Errors
    /// How long it takes until there is room for one, in nanoseconds.
    pub fn take(
        &self,
        token: Token,
        pace: Pace,
        shared: &AtomicU64,
        now_ns: u64,
    ) -> Result<Taken, u64> {
        let mut shard = self.shard(token);
        if let Some(until) = shard.buckets.get_mut(&token) {
            *until = pace.take(*until, now_ns)?;
            return Ok(Taken { until_ns: *until, is_shared: false });
        }
        if shard.buckets.len() >= self.most_in_shard && shard.may_make_room(now_ns) {
            shard.forget_full(now_ns);
        }
        if shard.buckets.len() >= self.most_in_shard {
            drop(shard);
            let until_ns = take_from(shared, pace, now_ns)?;
            return Ok(Taken { until_ns, is_shared: true });
        }
        let until_ns = pace.take(0, now_ns)?;
        shard.earliest_ns = shard.earliest_ns.min(until_ns);
        shard.buckets.insert(token, until_ns);
        Ok(Taken { until_ns, is_shared: false })
    }

    /// Takes back what was taken at the same moment.
    pub fn give_back(&self, token: Token, pace: Pace, shared: &AtomicU64, taken: Taken) {
        if taken.is_shared {
            return give_back_to(shared, pace);
        }
        let mut shard = self.shard(token);
        let before = shard.buckets.get_mut(&token).map(|until| {
            *until = pace.give_back(*until);
            *until
        });
        shard.earliest_ns = shard.earliest_ns.min(before.unwrap_or(u64::MAX));
    }

    /// Forgets buckets that are full, and gives their memory back. A shard that somebody is at waits
    /// for the next time.
    pub fn sweep(&self, now_ns: u64) {
        for shard in &self.shards {
            let Ok(mut shard) = shard.try_lock() else { continue };
            if shard.may_make_room(now_ns) {
                shard.forget_full(now_ns);
            }
            let (held, room) = (shard.buckets.len(), shard.buckets.capacity());
            if room > 64 && room > 4 * held {
                shard.buckets.shrink_to(2 * held);
            }
        }
    }

    /// Keys that are held now.
    pub fn held(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).buckets.len()).sum()
    }

    /// How many there is memory for.
    pub fn room(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).buckets.capacity()).sum()
    }

    fn shard(&self, Token([_, low]): Token) -> MutexGuard<'_, Shard> {
        // The map goes by the other half.
        lock(&self.shards[low as usize % SHARDS])
    }
}

impl Shard {
    fn may_make_room(&self, now_ns: u64) -> bool {
        self.earliest_ns <= now_ns && now_ns.saturating_sub(self.looked_ns) >= APART_NS
    }

    fn forget_full(&mut self, now_ns: u64) {
        self.looked_ns = now_ns;
        let mut earliest = u64::MAX;
        self.buckets.retain(|_, until| {
            let stays = *until > now_ns;
            if stays {
                earliest = earliest.min(*until);
            }
            stays
        });
        self.earliest_ns = earliest;
    }
}

/// Takes a request from a bucket that has no key.
///
/// # Errors
/// How long it takes until there is room for one, in nanoseconds.
pub fn take_from(bucket: &AtomicU64, pace: Pace, now_ns: u64) -> Result<u64, u64> {
    let mut until = bucket.load(Acquire);
    loop {
        let next = pace.take(until, now_ns)?;
        match bucket.compare_exchange_weak(until, next, AcqRel, Acquire) {
            Ok(_) => return Ok(next),
            Err(other) => until = other,
        }
    }
}

/// Takes it back.
pub fn give_back_to(bucket: &AtomicU64, pace: Pace) {
    // The closure never declines.
    let _ = bucket.fetch_update(AcqRel, Relaxed, |until| Some(pace.give_back(until)));
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // A panic leaves a bucket as it was or as it should be.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
