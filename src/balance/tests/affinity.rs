//! Same key, same endpoint: across sidecars, and as far as can be across changes.

use super::super::affinity::{Affinity, Method};
use super::*;

const KEYS: u64 = 20_000;

/// Where each key goes.
fn homes(policy: &BalancingPolicy, all: &[Arc<Endpoint>]) -> Vec<usize> {
    let balancer = compiled(policy, all);
    homes_while(&balancer, all, well)
}

fn homes_while(
    balancer: &Balancer,
    all: &[Arc<Endpoint>],
    ready: impl Fn(&Endpoint) -> bool,
) -> Vec<usize> {
    let mut keys = Rng::seeded(11);
    let mut rng = Rng::from_system();
    let mut home = |_| {
        let asked = ask(Some(keys.next_u64()));
        index(balancer.pick(all, asked, &ready, &mut rng).expect("one is ready"))
    };
    (0..KEYS).map(&mut home).collect()
}

/// The part of the keys that are elsewhere.
fn moved(before: &[usize], after: &[usize]) -> f64 {
    let moved = before.iter().zip(after).filter(|(b, a)| b != a).count();
    moved as f64 / before.len() as f64
}

#[test]
fn every_sidecar_sends_a_key_to_the_same_endpoint() {
    let all = endpoints(&[1, 2, 1, 5, 1, 1, 3]);
    let mut turned = endpoints(&[1, 2, 1, 5, 1, 1, 3]);
    turned.reverse();
    turned.swap(1, 4);
    let ready = |e: &Endpoint| ![0, 3, 5].contains(&index(e));
    for policy in KEYED {
        assert_eq!(homes(&policy, &all), homes(&policy, &turned), "{policy:?}");
        // The second choice is agreed upon too.
        let (here, there) = (compiled(&policy, &all), compiled(&policy, &turned));
        let (here, there) = (homes_while(&here, &all, ready), homes_while(&there, &turned, ready));
        assert_eq!(here, there, "{policy:?}");
    }
}

/// A version that chose otherwise would break affinity while a mesh is half updated.
#[test]
fn choices_stay_as_they_are_from_version_to_version() {
    let all = endpoints(&[1, 1, 2, 1, 1]);
    let keys = (0..16).map(|i| super::super::hash::xxh64(format!("user-{i}").as_bytes(), 0));
    let keys: Vec<u64> = keys.collect();
    let chosen = KEYED.map(|policy| {
        let balancer = compiled(&policy, &all);
        let rng = &mut Rng::seeded(1);
        let home = |&hash| index(balancer.pick(&all, ask(Some(hash)), well, rng).expect("one"));
        keys.iter().map(home).collect::<Vec<_>>()
    });
    assert_eq!(chosen[0], [2, 3, 3, 4, 3, 0, 2, 4, 2, 2, 2, 4, 4, 3, 0, 2]);
    assert_eq!(chosen[1], [3, 1, 3, 3, 0, 0, 2, 0, 2, 0, 0, 1, 1, 0, 2, 1]);
}

#[test]
fn one_that_leaves_or_joins_moves_its_own_keys() {
    const COUNT: usize = 10;
    for (policy, most) in KEYED.into_iter().zip([1.5, 1.8]) {
        let most = most / COUNT as f64;
        let all = endpoints(&[1; COUNT]);
        let full = homes(&policy, &all);
        for gone in 0..COUNT {
            let mut fewer = all.clone();
            fewer.remove(gone);
            let left = homes(&policy, &fewer);
            let part = moved(&full, &left);
            assert!(part > 0.5 / COUNT as f64 && part <= most, "{policy:?}: {part}");
            let needless = |&(&b, &a): &(&usize, &usize)| b != gone && a != b;
            let needless = full.iter().zip(&left).filter(needless).count();
            let most = if policy == KEYED[0] { 0 } else { KEYS as usize / 20 };
            assert!(needless <= most, "{policy:?}: {needless} keys had no reason to move");
        }
    }
}

#[test]
fn an_endpoint_that_is_out_moves_only_its_own_keys() {
    let all = endpoints(&[1; 6]);
    for policy in KEYED {
        let balancer = compiled(&policy, &all);
        let full = homes_while(&balancer, &all, well);
        let without = homes_while(&balancer, &all, |e| index(e) != 4);
        assert!(full.iter().zip(&without).all(|(&b, &a)| if b == 4 { a != 4 } else { a == b }));
        let mut counts = vec![0; 6];
        full.iter().zip(&without).filter(|(b, _)| **b == 4).for_each(|(_, &a)| counts[a] += 1);
        counts.remove(4);
        assert!(are_near(&counts, &[1; 5], 30.0), "not all to one neighbour: {counts:?}");
    }
}

#[test]
fn keys_are_shared_out_by_weight() {
    for (policy, percent) in KEYED.into_iter().zip([15.0, 3.0]) {
        for weights in [&[1; 5][..], &[1; 10], &[1, 2, 4], &[10, 10, 20]] {
            let all = endpoints(weights);
            let balancer = compiled(&policy, &all);
            let counts = counts(&balancer, &all, well, 120_000, &mut Rng::seeded(2));
            assert!(are_near(&counts, weights, percent), "{policy:?} {weights:?}: {counts:?}");
        }
    }
}

#[test]
fn who_weighs_next_to_nothing_has_keys_too() {
    let mut weights = vec![1000; 40];
    weights[7] = 1;
    let all = endpoints(&weights);
    for policy in KEYED {
        let balancer = compiled(&policy, &all);
        let mut rng = Rng::seeded(2);
        let counts = counts(&balancer, &all, well, 200_000, &mut rng);
        assert!((1..100).contains(&counts[7]), "{policy:?}: {counts:?}");
    }
}

#[test]
fn neither_zone_nor_age_moves_a_key() {
    let plain = endpoints(&[1; 4]);
    let other: Vec<Arc<Endpoint>> = (0..4)
        .map(|i| {
            let mut made = endpoint(i, Some(if i == 0 { "a" } else { "b" }), 1);
            made.since_us = 1;
            Arc::new(made)
        })
        .collect();
    for policy in KEYED {
        let slow = Balancing { warmup: Some(std::time::Duration::from_secs(9)), ..by(&policy) };
        let balancer = Balancer::compile(&slow, &other, Some("a"), None);
        assert_eq!(homes(&policy, &plain), homes_while(&balancer, &other, well));
        assert!(balancer.is_local(0) && !balancer.is_local(1), "the pages still show it");
    }
}

#[test]
fn without_a_key_any_endpoint_will_do() {
    let all = endpoints(&[1, 3]);
    for policy in KEYED {
        let balancer = compiled(&policy, &all);
        let (mut rng, mut counts) = (Rng::seeded(3), vec![0; 2]);
        for _ in 0..10_000 {
            let chosen = balancer.pick(&all, ask(None), well, &mut rng).expect("one is ready");
            counts[index(chosen)] += 1;
        }
        assert!(are_near(&counts, &[1, 3], 5.0), "{policy:?}: {counts:?}");
    }
}

#[test]
fn tables_of_the_same_endpoints_are_shared() {
    let all = endpoints(&[1, 2]);
    let first = Affinity::compile(Method::Ring, &all, None);
    let is_kept = |method, all: &[Arc<Endpoint>]| {
        Arc::ptr_eq(&first, &Affinity::compile(method, all, Some(&first)))
    };
    assert!(is_kept(Method::Ring, &endpoints(&[1, 2])), "alike, if not the very same");
    assert!(!is_kept(Method::Maglev, &all));
    assert!(!is_kept(Method::Ring, &endpoints(&[2, 1])));
    assert!(!is_kept(Method::Ring, &endpoints(&[1, 2, 1])));
    assert!(!is_kept(Method::Ring, &[Arc::clone(&all[1]), Arc::clone(&all[0])]));
}

#[test]
fn a_balancer_says_what_it_hashes() {
    let all = endpoints(&[1]);
    assert_eq!(compiled(&KEYED[0], &all).hash_on(), Some(&HashOn::Path));
    assert_eq!(compiled(&KEYLESS[0], &all).hash_on(), None);
}
