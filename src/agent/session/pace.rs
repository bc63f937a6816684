//! When to try again.
//!
//! A control plane that restarts loses all sessions at once; they must not come back at once. So the
//! first pause is already spread over a second, and each failure doubles the range up to 15 s; a
//! control plane that says when to come back is obeyed. A session that lasted makes the next start
//! small again. A certificate that is about to end makes it hurry, because its next one comes only
//! from there. Full jitter (Brooker 2015): what matters is that two sidecars differ.

use std::time::Duration;

use super::ended::Ended;
use crate::runtime::clock::Rng;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(15);
/// No hint is obeyed beyond this. Arbitrary.
const FURTHEST: Duration = Duration::from_secs(300);
/// Tries that a certificate has left, at least, while it lasts. Arbitrary.
const TRIES: u32 = 10;
/// Nobody tries in a shorter range than this.
const SHORTEST: Duration = Duration::from_millis(500);

/// Counts failures in a row.
#[derive(Debug)]
pub struct Pace {
    rng: Rng,
    failures: u32,
    longest: Duration,
}

impl Pace {
    pub fn new(rng: Rng) -> Self {
        Self { rng, failures: 0, longest: LONGEST }
    }

    pub fn from_system() -> Self {
        Self::new(Rng::from_system())
    }

    /// A session began: what follows is a first failure again. A registration outlives its session
    /// by `lease`, so whoever has one tries twice within it.
    pub fn succeeded(&mut self, lease: Duration) {
        self.failures = 0;
        self.longest = (lease / 2).clamp(SHORTEST, LONGEST);
    }

    /// How long to wait before the next try. `left`: how long the certificate still lasts; zero when
    /// there is none.
    pub fn pause(&mut self, ended: &Ended, left: Duration) -> Duration {
        let mut range = FIRST.saturating_mul(1 << self.failures.min(8)).min(self.longest);
        if !left.is_zero() {
            range = range.min((left / TRIES).max(SHORTEST));
        }
        self.failures += 1;
        let jitter = self.rng.unit();
        match ended {
            // Its hint is spread already; a little more keeps equal hints apart.
            Ended::ComeBack(later) => (*later).min(FURTHEST).mul_f64(1.0 + jitter / 4.0),
            // Whatever is wrong takes a person: no need to hurry.
            Ended::Unfit(_) => range.mul_f64(0.5 + jitter / 2.0).max(FIRST),
            _ => range.mul_f64(jitter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    #[test]
    fn a_certificate_that_is_about_to_end_makes_it_hurry() {
        let longest = |left| {
            let mut pace = Pace::new(Rng::seeded(7));
            (0..50).map(|_| pace.pause(&Ended::Closed, left)).max().unwrap_or_default()
        };
        let seconds = Duration::from_secs;
        assert!((seconds(4)..seconds(5)).contains(&longest(seconds(50))));
        assert!((SHORTEST / 2..SHORTEST).contains(&longest(seconds(1))));
        // It has ended: there is nothing left to hurry for.
        assert!(longest(Duration::ZERO) > seconds(10));
    }

    #[test]
    fn a_thousand_that_lost_it_together_come_back_apart() {
        let mut slots = [0u32; 10];
        for seed in 0..1000 {
            let mut pace = Pace::new(Rng::seeded(seed));
            let pause = pace.pause(&Ended::Closed, DAY);
            assert!(pause < FIRST);
            slots[(pause.as_millis() / 100) as usize] += 1;
        }
        assert!(slots.iter().all(|&count| (50..200).contains(&count)), "{slots:?}");
    }

    #[test]
    fn failures_lengthen_the_range_and_a_session_shortens_it() {
        let mut pace = Pace::new(Rng::seeded(7));
        let longest = |pace: &mut Pace| {
            (0..20).map(|_| pace.pause(&Ended::Closed, DAY)).max().unwrap_or_default()
        };
        assert!((LONGEST / 2..LONGEST).contains(&longest(&mut pace)));
        pace.succeeded(2 * LONGEST);
        assert!(pace.pause(&Ended::Closed, DAY) < FIRST);
        let hint = Duration::from_secs(7);
        let told = pace.pause(&Ended::ComeBack(hint), DAY);
        assert!((hint..hint * 5 / 4).contains(&told), "{told:?}");
    }
}
