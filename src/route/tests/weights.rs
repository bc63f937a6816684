//! Shares are exact, by turn and by hash.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::route::{Turn, Weights};

fn turns(weights: &[u32], many: usize) -> Vec<usize> {
    let (weights, mut turn) = (Weights::new(weights), Turn::default());
    (0..many).map(|_| weights.next(&mut turn).expect("one")).collect()
}

fn count(taken: &[usize], of: usize) -> f64 {
    taken.iter().filter(|&&index| index == of).count() as f64
}

/// Weights that sum to 100.
fn percents() -> impl Strategy<Value = Vec<u32>> {
    vec(0..=100u32, 1..16).prop_map(|mut cuts| {
        cuts.extend([0, 100]);
        cuts.sort_unstable();
        cuts.windows(2).map(|two| two[1] - two[0]).collect()
    })
}

fn any_weights() -> impl Strategy<Value = Vec<u32>> {
    let weight = prop_oneof![Just(0), 1..10u32, 1..1_000_000u32, Just(u32::MAX)];
    vec(weight, 1..17).prop_filter("one that is more than 0", |all| all.iter().any(|&w| w > 0))
}

#[test]
fn nobody_takes_anything_with_all_weights_0() {
    for none in [&[][..], &[0], &[0, 0, 0]] {
        let weights = Weights::new(none);
        assert_eq!((weights.next(&mut Turn::default()), weights.by_hash(7)), (None, None));
        assert_eq!((weights.len(), weights.is_empty()), (none.len(), none.is_empty()));
        assert_eq!(weights.total(), 0);
    }
}

#[test]
fn the_only_one_takes_everything() {
    assert_eq!(turns(&[0, 3, 0], 5), [1; 5]);
    assert_eq!(Weights::new(&[0, 3, 0]).by_hash(u64::MAX), Some(1));
}

#[test]
fn turns_are_spread_and_not_bunched() {
    assert_eq!(turns(&[1, 1], 6), [0, 1, 0, 1, 0, 1]);
    let taken = turns(&[90, 10], 100);
    let canary: Vec<usize> = (0..100).filter(|&at| taken[at] == 1).collect();
    assert!(canary.windows(2).all(|two| two[1] - two[0] == 10), "{canary:?}");
}

#[test]
fn other_weights_begin_anew() {
    let (before, after) = (Weights::new(&[99, 1]), Weights::new(&[1, 99]));
    let mut turn = Turn::default();
    for _ in 0..40 {
        before.next(&mut turn);
    }
    let taken: Vec<usize> = (0..100).map(|_| after.next(&mut turn).expect("one")).collect();
    assert_eq!(count(&taken, 0), 1.0);
    assert_eq!(Weights::new(&[1, 1, 1]).next(&mut turn), Some(0));
}

#[test]
fn hashes_of_one_range_reach_every_backend() {
    let weights = Weights::new(&[50, 50]);
    let upper: Vec<usize> =
        (0..1000).filter_map(|nth| weights.by_hash(u64::MAX - (nth << 8))).collect();
    assert!((400.0..600.0).contains(&count(&upper, 0)), "{}", count(&upper, 0));
}

proptest! {
    #[test]
    fn whole_percents_are_exact_in_any_hundred(weights in percents(), more in 0..250usize) {
        let taken = turns(&weights, 100 + more);
        for (index, weight) in weights.iter().enumerate() {
            for hundred in taken.windows(100) {
                prop_assert_eq!(count(hundred, index), f64::from(*weight));
            }
        }
    }

    #[test]
    fn nobody_is_ever_a_whole_request_off(weights in any_weights(), many in 1..400usize) {
        let taken = turns(&weights, many);
        let positive = weights.iter().filter(|weight| **weight > 0).count();
        // Tijdeman's bound; the rest is for the rounding of this test.
        let bound = 1.0 - 1.0 / (2.0 * positive.max(2) as f64 - 2.0) + 1e-6;
        let total: f64 = weights.iter().copied().map(f64::from).sum();
        for (index, weight) in weights.iter().enumerate() {
            let share = f64::from(*weight) / total;
            for so_far in 1..=many {
                let off = count(&taken[..so_far], index) - share * so_far as f64;
                prop_assert!(off.abs() <= bound, "{index} is off by {off} after {so_far}");
            }
        }
    }

    #[test]
    fn any_hundred_are_off_by_less_than_two(weights in any_weights()) {
        let taken = turns(&weights, 400);
        let total: f64 = weights.iter().copied().map(f64::from).sum();
        for (index, weight) in weights.iter().enumerate() {
            for hundred in taken.windows(100) {
                let off = count(hundred, index) - 100.0 * f64::from(*weight) / total;
                prop_assert!(off.abs() < 2.0, "{index} is off by {off}");
            }
        }
    }

    #[test]
    fn hashes_are_shared_out_by_weight(weights in any_weights(), seed: u64) {
        let compiled = Weights::new(&weights);
        let mut rng = crate::runtime::clock::Rng::seeded(seed);
        let mut taken = Vec::new();
        for _ in 0..2000 {
            let hash = rng.next_u64();
            let index = compiled.by_hash(hash).expect("one");
            prop_assert_eq!(compiled.by_hash(hash), Some(index));
            prop_assert!(weights[index] > 0);
            taken.push(index);
        }
        for (index, weight) in weights.iter().enumerate() {
            let share = f64::from(*weight) / compiled.total() as f64;
            // Six standard deviations, and six requests for shares next to nothing.
            let leeway = 6.0 * (2000.0 * share * (1.0 - share)).sqrt() + 6.0;
            prop_assert!((count(&taken, index) - 2000.0 * share).abs() <= leeway);
        }
    }
}
