//! When the next certificate is due, and the key and request for it.
//!
//! A new key for every certificate, in memory only. Due at two thirds of what was left when the
//! certificate came, spread by a tenth, so that sidecars that started together don't renew together.
//!
//! Certificates end by the wall clock, which may be set, and goes on while the machine sleeps; timers
//! run by a clock that does neither. The next one is due by whichever says so first.

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DistinguishedName, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::time::Instant;

use crate::identity::{Error, Svid};
use crate::model::SpiffeId;
use crate::runtime::clock::Rng;

/// A key that waits for its certificate.
pub struct Pending {
    key: KeyPair,
    /// PKCS#10, in DER.
    pub signing_request: Vec<u8>,
}

impl Pending {
    /// # Errors
    /// Only when the machine can't make a key.
    pub fn new(identity: &SpiffeId) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(identity.as_str().try_into()?)];
        let signing_request = params.serialize_request(&key)?.der().to_vec();
        Ok(Self { key, signing_request })
    }

    /// # Errors
    /// When the chain is no certificate for this key.
    pub fn certified(&self, chain: Vec<Vec<u8>>) -> Result<Svid, Error> {
        let chain = chain.into_iter().map(CertificateDer::from).collect();
        let key = PrivatePkcs8KeyDer::from(self.key.serialize_der());
        Svid::new(chain, key.into())
    }
}

/// Both clocks at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    pub wall: SystemTime,
    pub timer: Instant,
}

impl Clocks {
    pub fn now() -> Self {
        Self { wall: SystemTime::now(), timer: Instant::now() }
    }
}

/// Between two looks at the wall clock, at most.
pub const LOOK: Duration = Duration::from_secs(30);

/// When the certificate in use is to be replaced.
#[derive(Debug)]
pub struct Schedule {
    pub due: SystemTime,
    latest: Instant,
    earliest: Instant,
}

impl Schedule {
    /// Of a certificate that came at `came` and lasts until `not_after`.
    pub fn of(not_after: SystemTime, came: SystemTime, rng: &mut Rng, now: Clocks) -> Self {
        let due = came + due(not_after, came, rng);
        let wait = due.duration_since(now.wall).unwrap_or_default();
        // Our clock has a certificate end that just came: another one would, too.
        let earliest = if not_after <= came { now.timer + LOOK } else { now.timer };
        Self { due, latest: now.timer + wait, earliest }
    }

    /// Not before that has passed, whatever is due.
    pub fn not_within(&mut self, pause: Duration, now: Clocks) {
        self.earliest = now.timer + pause;
    }

    pub fn is_due(&self, now: Clocks) -> bool {
        now.timer >= self.earliest && (now.wall >= self.due || now.timer >= self.latest)
    }

    /// Until it should be looked at again.
    pub fn wait(&self, now: Clocks) -> Duration {
        let by_wall = self.due.duration_since(now.wall).unwrap_or_default();
        let by_timer = self.latest.saturating_duration_since(now.timer);
        let blocked = self.earliest.saturating_duration_since(now.timer);
        by_wall.min(by_timer).max(blocked).min(LOOK)
    }
}

/// How long after `now`, when the certificate came, the next one is due.
pub fn due(not_after: SystemTime, now: SystemTime, rng: &mut Rng) -> Duration {
    let left = not_after.duration_since(now).unwrap_or_default();
    left.mul_f64(2.0 / 3.0 * (0.9 + 0.1 * rng.unit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_is_due_a_little_before_two_thirds() {
        let now = SystemTime::UNIX_EPOCH;
        let mut rng = Rng::seeded(3);
        let dues: Vec<Duration> =
            (0..100).map(|_| due(now + Duration::from_secs(900), now, &mut rng)).collect();
        assert!(dues.iter().all(|due| (540..=600).contains(&due.as_secs())), "{dues:?}");
        assert!(dues.iter().max() > dues.iter().min());
        assert_eq!(due(now, now + Duration::from_secs(1), &mut rng), Duration::ZERO);
    }

    const HOUR: Duration = Duration::from_secs(3600);

    /// A certificate of some hours that came at `now`, as of then.
    fn schedule(hours: u32, now: Clocks) -> Schedule {
        Schedule::of(now.wall + hours * HOUR, now.wall, &mut Rng::seeded(7), now)
    }

    /// When it is looked at and found due, after it was slept as long as it says; `jump` is what the
    /// wall clock is set by after ten minutes.
    fn found_due(schedule: &Schedule, begun: Clocks, jump: i64) -> Duration {
        let mut passed = Duration::ZERO;
        loop {
            let by = if passed < Duration::from_secs(600) { 0 } else { jump };
            let shift = Duration::from_secs(by.unsigned_abs());
            let wall = begun.wall + passed;
            let wall = if by < 0 { wall - shift } else { wall + shift };
            let now = Clocks { wall, timer: begun.timer + passed };
            if schedule.is_due(now) {
                return passed;
            }
            let wait = schedule.wait(now);
            assert!(!wait.is_zero() && wait <= LOOK, "{wait:?} after {passed:?}");
            passed += wait;
        }
    }

    #[test]
    fn a_clock_that_is_set_puts_no_renewal_off() {
        let now = Clocks::now();
        let plain = found_due(&schedule(3, now), now, 0);
        assert!((HOUR * 9 / 5..=HOUR * 2).contains(&plain), "{plain:?}");
        // Set back, it is due when it would have been, and not an hour later.
        assert_eq!(found_due(&schedule(3, now), now, -3600), plain);
        // Set forward, or the machine slept: it ends an hour sooner, and is due so.
        let sooner = found_due(&schedule(3, now), now, 3600);
        assert!((plain - HOUR..=plain - HOUR + LOOK).contains(&sooner), "{sooner:?}");
        // It has ended by now: at the next look.
        let at_once = found_due(&schedule(1, now), now, 3600);
        assert!(at_once <= Duration::from_secs(600) + LOOK, "{at_once:?}");
    }

    #[test]
    fn a_clock_that_is_ahead_does_not_ask_without_a_pause() {
        let now = Clocks::now();
        let ended = Schedule::of(now.wall - HOUR, now.wall, &mut Rng::seeded(7), now);
        assert!(!ended.is_due(now));
        assert_eq!(found_due(&ended, now, 0), LOOK);
    }

    #[test]
    fn a_try_that_failed_waits_for_the_next() {
        let now = Clocks::now();
        let mut schedule = schedule(0, now);
        let second = Duration::from_secs(1);
        schedule.not_within(second, now);
        assert_eq!(found_due(&schedule, now, 0), second);
    }
}
