//! Which backend takes the next request of a rule.
//!
//! By turn, no backend is ever a whole request ahead of or behind its share: this is the problem of
//! the chairman of a union of states, and Tijdeman's answer to it (1980). Each turn every backend
//! earns its weight, and the one that is chosen pays the sum of all. Among those that have earned
//! enough to be chosen without running ahead, the one whose deadline is nearest takes the turn.
//! Plain "most earned first" (smooth weighted round robin) strays further the more backends there
//! are. With weights that sum to 100, every 100 turns in a row are therefore exact.

use std::hash::{DefaultHasher, Hash, Hasher};

/// The weights of a rule's backends.
#[derive(Debug)]
pub struct Weights {
    weights: Box<[u32]>,
    total: u64,
    /// How many are more than 0.
    positive: u64,
    /// The only one that is more than 0.
    only: Option<usize>,
    /// Tells turns taken under other weights.
    mark: u64,
}

/// How far a worker is with a rule.
#[derive(Clone, Debug, Default)]
pub struct Turn {
    /// What each backend has earned and not paid.
    earned: Vec<i64>,
    mark: u64,
}

impl Weights {
    /// Of the backends in their order; those with 0 take none.
    pub fn new(weights: &[u32]) -> Self {
        let mut positive = (0..).zip(weights).filter(|(_, weight)| **weight > 0);
        let first = positive.next().map(|(index, _)| index);
        let more = positive.count() as u64;
        let mut hasher = DefaultHasher::new();
        weights.hash(&mut hasher);
        Self {
            weights: weights.into(),
            total: weights.iter().map(|weight| u64::from(*weight)).sum(),
            positive: more + u64::from(first.is_some()),
            only: first.filter(|_| more == 0),
            mark: hasher.finish(),
        }
    }

    pub fn len(&self) -> usize {
        self.weights.len()
    }

    pub fn is_empty(&self) -> bool {
        self.weights.is_empty()
    }

    pub fn total(&self) -> u64 {
        self.total
    }

    /// The next by turn; none when all weights are 0. Takes memory at the first turn only.
    pub fn next(&self, turn: &mut Turn) -> Option<usize> {
        if self.positive < 2 {
            return self.only;
        }
        if turn.mark != self.mark || turn.earned.len() != self.len() {
            *turn = Turn { earned: vec![0; self.len()], mark: self.mark };
        }
        for (earned, weight) in turn.earned.iter_mut().zip(&self.weights) {
            *earned += i64::from(*weight);
        }
        let chosen = self.nearest_deadline(&turn.earned)?;
        turn.earned[chosen] -= self.total as i64;
        Some(chosen)
    }

    /// Tijdeman's choice, in whole numbers: with `n` backends, of those that have earned at least
    /// `1 / (2n - 2)` of a turn, the one that soonest would have earned one whole turn less that.
    fn nearest_deadline(&self, earned: &[i64]) -> Option<usize> {
        let (total, parts) = (i128::from(self.total), i128::from(2 * self.positive - 2));
        let mut nearest: Option<(usize, i128, i128)> = None;
        for (index, (earned, weight)) in earned.iter().zip(&self.weights).enumerate() {
            let (earned, weight) = (i128::from(*earned) * parts, i128::from(*weight));
            if weight == 0 || earned < total {
                continue;
            }
            let missing = total * (parts - 1) - earned;
            let sooner = |(_, m, w): (usize, i128, i128)| missing * w < m * weight;
            if nearest.is_none_or(sooner) {
                nearest = Some((index, missing, weight));
            }
        }
        nearest.map(|(index, ..)| index)
    }

    /// The one that `hash` falls to; none when all weights are 0.
    ///
    /// The hash is stirred first: its plain bits will pick the endpoint too, and a backend that
    /// only had hashes of one range would use a part of its endpoints.
    pub fn by_hash(&self, hash: u64) -> Option<usize> {
        let point = (u128::from(stirred(hash)) * u128::from(self.total)) >> 64;
        let mut passed = 0;
        self.weights.iter().position(|weight| {
            passed += u128::from(*weight);
            point < passed
        })
    }
}

/// The last steps of splitmix64 (Steele, Lea, Flood 2014).
fn stirred(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    hash ^ (hash >> 31)
}
