//! When to try again.
//!
//! A control plane that restarts loses all sessions at once; they must not come back at once. So the
//! first pause is already spread over a second, and each failure doubles the range up to 15 s; a
//! control plane that says when to come back is obeyed. A session that lasted makes the next start
//! small again. Full jitter (Brooker 2015): what matters is that two sidecars differ.

use std::time::Duration;

use super::talk::Ended;
use crate::runtime::clock::Rng;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(15);

/// Counts failures in a row.
#[derive(Debug)]
pub struct Pace {
    rng: Rng,
    failures: u32,
}

impl Pace {
    pub fn new(rng: Rng) -> Self {
        Self { rng, failures: 0 }
    }

    pub fn from_system() -> Self {
        Self::new(Rng::from_system())
    }

    /// A session began: what follows is a first failure again.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// How long to wait before the next try.
    pub fn pause(&mut self, ended: &Ended) -> Duration {
        let range = FIRST.saturating_mul(1 << self.failures.min(8)).min(LONGEST);
        self.failures += 1;
        let jitter = self.rng.unit();
        match ended {
            // Its hint is spread already; a little more keeps equal hints apart.
            Ended::ComeBack(later) => later.mul_f64(1.0 + jitter / 4.0),
            // Whatever is wrong takes a person: no need to hurry.
            Ended::Unfit(_) => range.mul_f64(0.5 + jitter / 2.0).max(FIRST),
            _ => range.mul_f64(jitter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_that_lost_it_together_come_back_apart() {
        let mut slots = [0u32; 10];
        for seed in 0..1000 {
            let mut pace = Pace::new(Rng::seeded(seed));
            let pause = pace.pause(&Ended::Closed);
            assert!(pause < FIRST);
            slots[(pause.as_millis() / 100) as usize] += 1;
        }
        assert!(slots.iter().all(|&count| (50..200).contains(&count)), "{slots:?}");
    }

    #[test]
    fn failures_lengthen_the_range_and_a_session_shortens_it() {
        let mut pace = Pace::new(Rng::seeded(7));
        let longest =
            |pace: &mut Pace| (0..20).map(|_| pace.pause(&Ended::Closed)).max().unwrap_or_default();
        assert!((LONGEST / 2..LONGEST).contains(&longest(&mut pace)));
        pace.succeeded();
        assert!(pace.pause(&Ended::Closed) < FIRST);
        let hint = Duration::from_secs(7);
        let told = pace.pause(&Ended::ComeBack(hint));
        assert!((hint..hint * 5 / 4).contains(&told), "{told:?}");
    }
}
