//! How long to wait before the next attempt.

use std::time::Duration;

use super::hint::Hint;
use crate::model::{Backoff, BackoffStrategy};
use crate::runtime::clock::Rng;

/// A caller that waits longer is better told at once.
const LONGEST: Duration = Duration::from_secs(5);

/// The policy's own pause before a retry; `retry` counts from 1.
///
/// Exponential doubles the base up to the limit; fixed is the base alone. Full jitter makes that
/// anywhere between nothing and the pause, which spreads a herd best (AWS architecture blog, 2015).
pub fn pause(retry: u32, backoff: Backoff, rng: &mut Rng) -> Duration {
    let doubled = 1 << retry.saturating_sub(1).min(31);
    let pause = match backoff.strategy {
        BackoffStrategy::Exponential => backoff.base.saturating_mul(doubled).min(backoff.max),
        BackoffStrategy::Fixed => backoff.base,
    };
    if backoff.full_jitter { pause.mul_f64(rng.unit()) } else { pause }
}

/// The longer one of what policy and server ask for; `None` when that is beyond 5 s, or leaves
/// nothing of the time that is `left` for the request: then there is no retry.
pub fn wait(pause: Duration, hint: Hint, left: Option<Duration>) -> Option<Duration> {
    let wait = match hint {
        Hint::None => pause,
        Hint::After(asked) => pause.max(asked),
        Hint::Never => return None,
    };
    (wait <= LONGEST && left.is_none_or(|left| wait < left)).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn pauses_grow_to_their_limit() {
        use BackoffStrategy::{Exponential, Fixed};
        for (strategy, retry, expected) in [
            (Exponential, 0, 25),
            (Exponential, 1, 25),
            (Exponential, 2, 50),
            (Exponential, 3, 100),
            (Exponential, 4, 200),
            (Exponential, 5, 250),
            (Exponential, 40, 250),
            (Exponential, u32::MAX, 250),
            (Fixed, 1, 25),
            (Fixed, 5, 25),
        ] {
            let backoff = Backoff { strategy, full_jitter: false, ..Backoff::default() };
            let pause = pause(retry, backoff, &mut Rng::seeded(1));
            assert_eq!(pause, ms(expected), "{strategy:?} {retry}");
        }
        let long =
            Backoff { strategy: Fixed, base: ms(400), full_jitter: false, ..Backoff::default() };
        assert_eq!(pause(1, long, &mut Rng::seeded(1)), ms(400), "the limit is of what grows");
    }

    #[test]
    fn full_jitter_is_anywhere_between_nothing_and_the_pause() {
        for (strategy, longest) in
            [(BackoffStrategy::Exponential, 50), (BackoffStrategy::Fixed, 25)]
        {
            let backoff = Backoff { strategy, ..Backoff::default() };
            let mut rng = Rng::seeded(1);
            let pauses: Vec<Duration> = (0..2000).map(|_| pause(2, backoff, &mut rng)).collect();
            let within = |from: u64, to: u64| {
                let (from, to) = (ms(longest * from / 4), ms(longest * to / 4));
                pauses.iter().filter(|pause| (from..to).contains(*pause)).count()
            };
            for quarter in 0..4 {
                let share = within(quarter, quarter + 1);
                assert!((400..600).contains(&share), "{share} of 2000 in quarter {quarter}");
            }
        }
    }

    #[test]
    fn the_longer_wait_counts_if_there_is_time_for_it() {
        use Hint::{After, Never, None as Nothing};
        for (pause, hint, left, expected) in [
            (25, Nothing, None, Some(25)),
            (25, After(ms(100)), None, Some(100)),
            (25, After(ms(10)), None, Some(25)),
            (25, After(ms(5000)), None, Some(5000)),
            (25, After(ms(5001)), None, None),
            (25, After(ms(100)), Some(101), Some(100)),
            (25, After(ms(100)), Some(100), None),
            (25, Nothing, Some(20), None),
            (25, Nothing, Some(9000), Some(25)),
            (25, After(ms(6000)), Some(9000), None),
            (25, Never, None, None),
            (0, Nothing, Some(0), None),
        ] {
            let found = wait(ms(pause), hint, left.map(ms));
            assert_eq!(found, expected.map(ms), "{pause} {hint:?} {left:?}");
        }
    }
}
