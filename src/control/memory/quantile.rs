//! Quantiles of a histogram, found within a bucket as if its requests were spread evenly over it.
//! What is longer than the last bound is taken to be as long as it: nobody knows more.

use super::report::Buckets;
use crate::telemetry::metrics::BOUNDS;

/// In milliseconds; `None` when nothing was measured. `q` lies between 0 and 1.
pub fn quantile_ms(buckets: &Buckets, q: f64) -> Option<f64> {
    let total: u64 = buckets.iter().fold(0, |sum, count| sum.saturating_add(*count));
    if total == 0 {
        return None;
    }
    let rank = q * total as f64;
    let mut below = 0.0;
    for (at, count) in buckets.iter().enumerate().filter(|(_, count)| **count > 0) {
        let count = *count as f64;
        if below + count >= rank {
            let Some(upper) = BOUNDS.get(at) else { break };
            let lower = at.checked_sub(1).map_or(0, |at| BOUNDS[at]) as f64;
            let share = ((rank - below) / count).clamp(0.0, 1.0);
            return Some((lower + (*upper as f64 - lower) * share) / 1e6);
        }
        below += count;
    }
    BOUNDS.last().map(|last| *last as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn they_lie_within_their_bucket() {
        let mut buckets = Buckets::default();
        assert_eq!(quantile_ms(&buckets, 0.5), None);
        // 1 to 2.5 ms.
        buckets[2] = 100;
        assert_eq!(quantile_ms(&buckets, 0.5), Some(1.75));
        assert_eq!(quantile_ms(&buckets, 1.0), Some(2.5));
        buckets[16] = 100;
        assert_eq!(quantile_ms(&buckets, 0.99), Some(60_000.0));
        assert_eq!(quantile_ms(&buckets, 0.25), Some(1.75));
    }

    proptest! {
        #[test]
        fn they_grow_with_their_rank(
            buckets in prop::array::uniform17(0u64..1000),
            (a, b) in (0.0f64..=1.0, 0.0f64..=1.0),
        ) {
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(quantile_ms(&buckets, low) <= quantile_ms(&buckets, high));
        }
    }
}
