//! Who is never chosen, and when that is lifted.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::runtime::clock::Rng;

fn all_policies() -> impl Iterator<Item = BalancingPolicy> {
    KEYLESS.into_iter().chain(KEYED)
}

#[test]
fn another_endpoint_is_tried_when_there_is_one() {
    let all = endpoints(&[1, 5, 1]);
    let mut rng = Rng::seeded(5);
    for policy in all_policies() {
        let balancer = compiled(&policy, &all);
        let tried = [all[0].slot, all[1].slot, all[2].slot];
        for hash in [None, Some(17), Some(u64::MAX)] {
            let again = Ask { tried: &tried[..2], hash, now_us: 0 };
            let chosen = balancer.pick(&all, again, well, &mut rng);
            assert_eq!(chosen.map(|e| index(e)), Some(2), "{policy:?}");
            let again = Ask { tried: &tried, ..again };
            let ready = |e: &Endpoint| index(e) != 2;
            let chosen = balancer.pick(&all, again, ready, &mut rng);
            let chosen = index(chosen.expect("the same again is better than none"));
            assert_ne!(chosen, 2, "{policy:?}");
        }
    }
}

#[test]
fn of_no_endpoint_none_is_chosen() {
    for policy in all_policies() {
        let balancer = compiled(&policy, &[]);
        assert!(balancer.pick(&[], ask(Some(1)), well, &mut Rng::seeded(1)).is_none());
        assert!(!balancer.is_panicking(&[], well));
    }
}

#[test]
fn circuits_are_ignored_while_few_are_ready() {
    let all = endpoints(&[1; 4]);
    for policy in all_policies() {
        let cautious = Balancing { panic_threshold: Some(50), ..by(&policy) };
        let balancer = Balancer::compile(&cautious, &all, None, None);
        let (half, fewer) = (|e: &Endpoint| index(e) < 2, |e: &Endpoint| index(e) < 1);
        let mut rng = Rng::seeded(9);
        assert!(!balancer.is_panicking(&all, half));
        let counted = counts(&balancer, &all, half, 400, &mut rng);
        assert_eq!(counted[2..], [0, 0], "{policy:?}");
        assert!(balancer.is_panicking(&all, fewer));
        let counted = counts(&balancer, &all, fewer, 400, &mut rng);
        assert!(counted.iter().all(|&count| count > 40), "{policy:?}: {counted:?}");
        assert!(!compiled(&policy, &all).is_panicking(&all, fewer), "none is set");
    }
}

#[test]
fn a_single_endpoint_is_asked_for_its_circuit_too() {
    let all = endpoints(&[1]);
    for policy in all_policies() {
        let balancer = compiled(&policy, &all);
        let tried = Ask { tried: &[all[0].slot], hash: None, now_us: 0 };
        assert!(balancer.pick(&all, tried, well, &mut Rng::seeded(1)).is_some());
        assert!(balancer.pick(&all, tried, |_| false, &mut Rng::seeded(1)).is_none());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn an_ejected_endpoint_is_never_picked(
        weights in prop::collection::vec(1u32..9, 2..12),
        ejected in prop::collection::vec(any::<bool>(), 12),
        local in prop::collection::vec(any::<bool>(), 12),
        tried in prop::collection::vec(0usize..12, 0..3),
        threshold in prop::option::of(1u8..=100),
        warmup: bool,
        seed: u64,
    ) {
        let all: Vec<Arc<Endpoint>> = (0..).zip(&weights).map(|(i, &weight)| {
            let mut made = endpoint(i, Some(if local[i] { "near" } else { "far" }), weight);
            made.since_us = if warmup { i as u64 * 100 } else { 0 };
            Arc::new(made)
        }).collect();
        let ready = |e: &Endpoint| !ejected[index(e)];
        let tried: Vec<u32> = tried.iter().filter_map(|&i| Some(all.get(i)?.slot)).collect();
        let mut rng = Rng::seeded(seed);
        for policy in all_policies() {
            let policy = Balancing {
                warmup: warmup.then_some(std::time::Duration::from_millis(2)),
                panic_threshold: threshold,
                ..by(&policy)
            };
            let balancer = Balancer::compile(&policy, &all, Some("near"), None);
            let panics = balancer.is_panicking(&all, ready);
            let well: HashSet<usize> = (0..all.len()).filter(|&i| panics || !ejected[i]).collect();
            let untried = well.iter().any(|&i| !tried.contains(&all[i].slot));
            for round in 0..12 {
                let hash = (round % 3 != 0).then(|| rng.next_u64());
                let asked = Ask { tried: &tried, hash, now_us: 1000 };
                match balancer.pick(&all, asked, ready, &mut rng) {
                    Some(chosen) => {
                        prop_assert!(well.contains(&index(chosen)));
                        prop_assert!(!untried || !tried.contains(&chosen.slot));
                    }
                    None => prop_assert!(well.is_empty()),
                }
            }
        }
    }
}
