//! Who gets how much when all are well.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;

use proptest::prelude::*;

use super::*;
use crate::runtime::clock::Rng;

#[test]
fn equal_endpoints_get_equal_shares() {
    for policy in KEYLESS {
        for count in [2, 3, 5, 16] {
            let all = endpoints(&vec![7; count]);
            let balancer = compiled(&policy, &all);
            let counts = counts(&balancer, &all, well, 12_000 * count, &mut Rng::seeded(42));
            assert!(are_near(&counts, &vec![1; count], 5.0), "{policy:?}: {counts:?}");
        }
    }
}

#[test]
fn weights_are_shares_while_nobody_is_busy() {
    for policy in KEYLESS {
        for weights in [&[1, 3][..], &[5, 1, 1], &[1, 2, 3, 4, 10], &[1000, 999, 1]] {
            let all = endpoints(weights);
            let balancer = compiled(&policy, &all);
            let mut rng = Rng::seeded(7);
            let counts = counts(&balancer, &all, well, 400_000, &mut rng);
            let heavy = counts.len() - usize::from(weights.contains(&999));
            assert!(are_near(&counts[..heavy], &weights[..heavy], 4.0), "{policy:?}: {counts:?}");
            assert!(counts.iter().all(|&count| count > 50), "{policy:?}: {counts:?}");
        }
    }
}

/// Always `under_way` requests at once, the oldest of which ends before the next one begins.
fn busy_counts(policy: &BalancingPolicy, all: &[Arc<Endpoint>], under_way: usize) -> Vec<usize> {
    let balancer = compiled(policy, all);
    let (mut rng, mut open, mut counts) = (Rng::seeded(3), VecDeque::new(), vec![0; all.len()]);
    for _ in 0..40_000 {
        if open.len() == under_way {
            let ended: &Arc<Endpoint> = open.pop_front().expect("it is full");
            ended.health.in_flight.fetch_sub(1, Relaxed);
        }
        let chosen = balancer.pick(all, ask(None), well, &mut rng).expect("one is ready");
        observe(&chosen.health, 1000 + rng.below(50) as u64, 0);
        chosen.health.in_flight.fetch_add(1, Relaxed);
        counts[index(chosen)] += 1;
        open.push_back(chosen);
    }
    counts
}

#[test]
fn weights_are_shares_while_all_are_busy() {
    for policy in [BalancingPolicy::PeakEwma, BalancingPolicy::LeastRequest] {
        for (under_way, percent) in [(2, 30.0), (8, 20.0), (64, 10.0)] {
            let counts = busy_counts(&policy, &endpoints(&[1, 3, 2]), under_way);
            assert!(are_near(&counts, &[1, 3, 2], percent), "{policy:?} {under_way}: {counts:?}");
        }
    }
}

#[test]
fn the_slower_and_the_busier_get_less() {
    let all = endpoints(&[1, 1]);
    observe(&all[0].health, 10_000, 0);
    observe(&all[1].health, 1_000, 0);
    let mut rng = Rng::seeded(1);
    let [fast, fair] = [BalancingPolicy::PeakEwma, BalancingPolicy::LeastRequest];
    let [fast, fair] = [compiled(&fast, &all), compiled(&fair, &all)];
    assert_eq!(counts(&fast, &all, well, 100, &mut rng), [0, 100]);
    let counted = counts(&fair, &all, well, 1000, &mut rng);
    assert!(counted.iter().all(|&count| count > 400), "latency is not looked at: {counted:?}");
    all[1].health.in_flight.store(50, Relaxed);
    assert_eq!(counts(&fast, &all, well, 100, &mut rng), [100, 0]);
    assert_eq!(counts(&fair, &all, well, 100, &mut rng), [100, 0]);
}

#[test]
fn the_heavier_bears_more() {
    let all = endpoints(&[1, 3]);
    all[0].health.in_flight.store(4, Relaxed);
    all[1].health.in_flight.store(9, Relaxed);
    let balancer = compiled(&BalancingPolicy::LeastRequest, &all);
    assert_eq!(counts(&balancer, &all, well, 100, &mut Rng::seeded(1)), [0, 100]);
}

#[test]
fn peaks_count_at_once_and_fade() {
    let all = endpoints(&[1]);
    let health = &all[0].health;
    assert_eq!(estimate_us(health, 0), None);
    observe(health, 1_000, 0);
    observe(health, 50_000, 1_000);
    assert_eq!(estimate_us(health, 1_000), Some(50_000.0));
    let faded = estimate_us(health, 30_000_000).expect("was observed");
    assert!(faded < 3_000.0, "{faded}");
}

#[test]
fn a_turn_that_is_skipped_is_nobodys_gain() {
    let all = endpoints(&[1; 5]);
    let balancer = compiled(&BalancingPolicy::RoundRobin, &all);
    let ready = |e: &Endpoint| index(e) != 2;
    let counts = counts(&balancer, &all, ready, 4000, &mut Rng::seeded(1));
    assert_eq!(counts, [1000, 1000, 0, 1000, 1000]);
}

#[test]
fn turns_go_on_in_the_next_snapshot() {
    let all = endpoints(&[1; 6]);
    let first = compiled(&BalancingPolicy::RoundRobin, &all);
    let mut rng = Rng::seeded(1);
    let mut counted = counts(&first, &all, well, 4, &mut rng);
    let policy = by(&BalancingPolicy::RoundRobin);
    let second = Balancer::compile(&policy, &all, None, Some(&first));
    for (sum, count) in counted.iter_mut().zip(counts(&second, &all, well, 2, &mut rng)) {
        *sum += count;
    }
    assert_eq!(counted, [1; 6]);
}

#[test]
fn turns_of_the_heavy_are_spread() {
    let all = endpoints(&[5, 1, 1]);
    let balancer = compiled(&BalancingPolicy::RoundRobin, &all);
    let mut rng = Rng::seeded(1);
    let mut next = || index(balancer.pick(&all, ask(None), well, &mut rng).expect("one"));
    let turns: Vec<usize> = (0..70).map(|_| next()).collect();
    assert!(turns.windows(5).all(|five| five.iter().any(|&turn| turn != 0)), "{turns:?}");
}

proptest! {
    #[test]
    fn a_round_is_exact(weights in prop::collection::vec(1u32..60, 1..12), begun in 0usize..100) {
        let all = endpoints(&weights);
        let balancer = compiled(&BalancingPolicy::RoundRobin, &all);
        let mut rng = Rng::seeded(1);
        let round = weights.iter().sum::<u32>() as usize;
        if all.len() > 1 {
            counts(&balancer, &all, well, begun, &mut rng);
        }
        let counted = counts(&balancer, &all, well, round, &mut rng);
        let due: Vec<usize> = weights.iter().map(|&weight| weight as usize).collect();
        prop_assert_eq!(counted, due);
    }
}
