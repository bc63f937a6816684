//! Our own zone first, and when it isn't.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::*;

const ZONES: [&str; 6] = ["b", "a", "a", "b", "a", "b"];

fn in_a(policy: &BalancingPolicy, all: &[Arc<Endpoint>]) -> Balancer {
    Balancer::compile(&by(policy), all, Some("a"), None)
}

fn part_of_a(counts: &[usize], all: &[Arc<Endpoint>]) -> f64 {
    let is_local = |(_, endpoint): &(&usize, &Arc<Endpoint>)| endpoint.zone.as_deref() == Some("a");
    let local: usize = counts.iter().zip(all).filter(is_local).map(|(count, _)| count).sum();
    local as f64 / counts.iter().sum::<usize>() as f64
}

#[test]
fn a_zone_that_is_well_keeps_everything() {
    let all = zoned(&ZONES);
    for policy in KEYLESS {
        let balancer = in_a(&policy, &all);
        let locals: Vec<bool> = (0..7).map(|i| balancer.is_local(i)).collect();
        assert_eq!(locals, [false, true, true, false, true, false, false]);
        let counts = counts(&balancer, &all, well, 30_000, &mut Rng::seeded(5));
        assert!(are_near(&[counts[1], counts[2], counts[4]], &[1; 3], 5.0));
        assert_eq!(part_of_a(&counts, &all), 1.0, "{policy:?}: {counts:?}");
    }
}

#[test]
fn without_preference_or_zone_all_are_alike() {
    let all = zoned(&ZONES);
    for policy in KEYLESS {
        let indifferent = Balancing { prefers_zone: false, ..by(&policy) };
        for (policy, zone) in
            [(indifferent, Some("a")), (by(&policy), None), (by(&policy), Some("c"))]
        {
            let balancer = Balancer::compile(&policy, &all, zone, None);
            let counts = counts(&balancer, &all, well, 60_000, &mut Rng::seeded(5));
            assert!(are_near(&counts, &[1; 6], 5.0), "{policy:?} {zone:?}: {counts:?}");
        }
    }
}

#[test]
fn a_zone_sends_away_what_it_cannot_carry() {
    let all = zoned(&["a", "a", "a", "a", "a", "a", "a", "b", "b"]);
    // Of seven endpoints so many are up, and the zone keeps that part.
    for (up, part) in [(7, 1.0), (5, 1.0), (4, 0.8), (3, 0.6), (1, 0.2), (0, 0.0)] {
        let ready = |e: &Endpoint| index(e) < up || index(e) >= 7;
        for policy in KEYLESS {
            let balancer = in_a(&policy, &all);
            let counts = counts(&balancer, &all, ready, 30_000, &mut Rng::seeded(6));
            let kept = part_of_a(&counts, &all);
            assert!((kept - part).abs() < 0.02, "{policy:?}, {up} up: {kept} of {part}");
        }
    }
}

#[test]
fn a_zone_that_fails_is_left_and_found_again() {
    let all = zoned(&["a", "b", "b"]);
    for policy in KEYLESS {
        let balancer = in_a(&policy, &all);
        let mut rng = Rng::seeded(6);
        let failed = counts(&balancer, &all, |e| index(e) != 0, 10_000, &mut rng);
        assert!(are_near(&failed[1..], &[1, 1], 5.0), "{policy:?}: {failed:?}");
        assert_eq!(failed[0], 0);
        assert_eq!(counts(&balancer, &all, well, 100, &mut rng), [100, 0, 0]);
        let elsewhere_out = counts(&balancer, &all, |e| index(e) == 0, 100, &mut rng);
        assert_eq!(elsewhere_out, [100, 0, 0]);
    }
}

#[test]
fn a_retry_goes_elsewhere_when_the_zone_was_tried() {
    let all = zoned(&["a", "b"]);
    for policy in KEYLESS {
        let again = Ask { tried: &[all[0].slot], hash: None, now_us: 0 };
        let chosen = in_a(&policy, &all).pick(&all, again, well, &mut Rng::seeded(1));
        assert_eq!(chosen.map(|e| index(e)), Some(1), "{policy:?}");
    }
}

/// The part that the only endpoint of our zone takes of three, with so many requests under way.
fn kept_under(policy: &BalancingPolicy, under_way: usize) -> f64 {
    let all = zoned(&["a", "b", "b"]);
    let balancer = in_a(policy, &all);
    let (mut rng, mut open, mut counts) = (Rng::seeded(3), VecDeque::new(), vec![0; 3]);
    for _ in 0..5_000 {
        if open.len() == under_way {
            let ended: &Arc<Endpoint> = open.pop_front().expect("it is full");
            ended.health.in_flight.fetch_sub(1, Relaxed);
        }
        let chosen = balancer.pick(&all, ask(None), well, &mut rng).expect("one is ready");
        observe(&chosen.health, if index(chosen) == 0 { 1000 } else { 1500 }, 0);
        chosen.health.in_flight.fetch_add(1, Relaxed);
        counts[index(chosen)] += 1;
        open.push_back(chosen);
    }
    part_of_a(&counts, &all)
}

#[test]
fn rising_load_spills() {
    for policy in [BalancingPolicy::PeakEwma, BalancingPolicy::LeastRequest] {
        let kept = [1, 3, 6, 12, 48].map(|under_way| kept_under(&policy, under_way));
        assert_eq!(kept[..2], [1.0, 1.0], "little to do stays here: {kept:?}");
        assert!(kept.is_sorted_by(|a, b| a >= b) && kept[4] < 0.65, "{policy:?}: {kept:?}");
        assert!(kept[4] > 0.4, "what is near still carries most: {kept:?}");
    }
}

#[test]
fn an_idle_endpoint_is_not_left_for_a_faster_one() {
    let all = zoned(&["a", "b"]);
    observe(&all[0].health, 50_000, 0);
    observe(&all[1].health, 1_000, 0);
    let balancer = in_a(&BalancingPolicy::PeakEwma, &all);
    let mut rng = Rng::seeded(1);
    assert_eq!(counts(&balancer, &all, well, 100, &mut rng), [100, 0]);
    all[0].health.in_flight.store(3, Relaxed);
    assert_eq!(counts(&balancer, &all, well, 100, &mut rng), [0, 100]);
}

#[test]
fn a_zone_that_is_new_warms_up() {
    let mut near = endpoint(0, Some("a"), 1);
    near.since_us = 1;
    let all = vec![Arc::new(near), Arc::new(endpoint(1, Some("b"), 1))];
    for policy in KEYLESS {
        let slow = Balancing { warmup: Some(Duration::from_secs(10)), ..by(&policy) };
        let balancer = Balancer::compile(&slow, &all, Some("a"), None);
        let mut rng = Rng::seeded(2);
        let mut part = |now_us| {
            let asked = Ask { tried: &[], hash: None, now_us };
            let mut pick = || index(balancer.pick(&all, asked, well, &mut rng).expect("one"));
            (0..10_000).filter(|_| pick() == 0).count() as f64 / 10_000.0
        };
        assert!((0.12..0.16).contains(&part(1)), "{policy:?}");
        assert!((0.67..0.73).contains(&part(5_000_000)), "{policy:?}");
        assert_eq!(part(8_000_000), 1.0, "{policy:?}");
    }
}
