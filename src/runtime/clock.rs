//! The one clock of the data path: microseconds since the process first asked.
//!
//! Cores take such a moment as an argument, so that tests give it; only async glue calls `now_us`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Wall-clock microseconds since 1970 at moment 0; 0 before the first look.
static WALL_OFFSET_US: AtomicU64 = AtomicU64::new(0);

fn epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}

/// Microseconds since the process first looked at the clock; never goes back.
pub fn now_us() -> u64 {
    as_us(epoch().elapsed())
}

/// A moment of [`now_us`] as timers take it.
pub fn instant_at(moment_us: u64) -> Instant {
    epoch() + Duration::from_micros(moment_us)
}

/// The wall-clock time of a moment of [`now_us`], for ids and log lines: as exact as the last
/// [`refresh_wall`], without asking the system.
pub fn wall_at(moment_us: u64) -> SystemTime {
    if WALL_OFFSET_US.load(Ordering::Relaxed) == 0 {
        refresh_wall();
    }
    let wall_us = WALL_OFFSET_US.load(Ordering::Relaxed) + moment_us;
    SystemTime::UNIX_EPOCH + Duration::from_micros(wall_us)
}

/// Takes in that somebody may have set the clock; each worker's tick calls it.
pub fn refresh_wall() {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let wall_us = since.map_or(0, as_us);
    WALL_OFFSET_US.store(wall_us.saturating_sub(now_us()), Ordering::Relaxed);
}

/// A duration in whole microseconds.
pub fn as_us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A small, fast source of randomness for balancing, jitter and sampling; never for secrets.
///
/// xorshift64* (Vigna 2016): one multiplication a number, and every worker seeds its own.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The same seed gives the same numbers.
    pub fn seeded(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A seed that differs between processes and threads.
    pub fn from_system() -> Self {
        use std::hash::{BuildHasher, RandomState};
        Self::seeded(RandomState::new().hash_one(std::thread::current().id()))
    }

    pub fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `bound`, which must not be 0 (Lemire's multiply-shift).
    pub fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.next_u64()) * bound as u128;
        (wide >> 64) as usize
    }

    /// A number from 0 up to, not including, 1.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}
