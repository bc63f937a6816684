//! A new endpoint's share grows.

use std::time::Duration;

use super::*;

const SECOND: u64 = 1_000_000;

/// Four endpoints, the last of which joined at one second; its part of the requests at `now_us`.
fn part_of_the_new(policy: &Balancing, now_us: u64) -> f64 {
    let mut all = endpoints(&[2; 3]);
    let mut new = endpoint(3, None, 2);
    new.since_us = SECOND;
    all.push(Arc::new(new));
    let balancer = Balancer::compile(policy, &all, None, None);
    let mut rng = Rng::seeded(8);
    let asked = Ask { tried: &[], hash: None, now_us };
    let mut pick = || index(balancer.pick(&all, asked, well, &mut rng).expect("one is ready"));
    (0..40_000).filter(|_| pick() == 3).count() as f64 / 40_000.0
}

#[test]
fn the_share_grows_with_age() {
    // The better of two is the new one less often while it has to stand aside.
    for (policy, bound) in KEYLESS.into_iter().zip([0.25, 0.25, 0.08, 0.08]) {
        let policy = Balancing { warmup: Some(Duration::from_secs(10)), ..by(&policy) };
        for (age, share) in [(0, 0.1), (3, 0.3), (6, 0.6), (9, 0.9), (10, 1.0), (99, 1.0)] {
            let part = part_of_the_new(&policy, SECOND + age * SECOND);
            let due = share / (3.0 + share);
            let off = (part - due).abs() / due;
            assert!(off < bound, "{policy:?} after {age} s: {part} of {due}");
        }
    }
}

#[test]
fn without_a_window_all_are_alike() {
    for policy in KEYLESS {
        let part = part_of_the_new(&by(&policy), SECOND);
        assert!((0.24..0.26).contains(&part), "{policy:?}: {part}");
    }
}

#[test]
fn where_all_are_new_someone_must_do_it() {
    let all: Vec<Arc<Endpoint>> = (0..4)
        .map(|i| {
            let mut made = endpoint(i, None, 1);
            made.since_us = SECOND;
            Arc::new(made)
        })
        .collect();
    for policy in KEYLESS {
        let slow = Balancing { warmup: Some(Duration::from_secs(100)), ..by(&policy) };
        let balancer = Balancer::compile(&slow, &all, None, None);
        let mut rng = Rng::seeded(4);
        let asked = Ask { tried: &[], hash: None, now_us: SECOND };
        let mut counts = [0; 4];
        for _ in 0..20_000 {
            counts[index(balancer.pick(&all, asked, well, &mut rng).expect("one"))] += 1;
        }
        assert!(are_near(&counts, &[1; 4], 6.0), "{policy:?}: {counts:?}");
    }
}
