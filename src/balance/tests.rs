//! Cases of balancing: shares, preferences, and what is never picked.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use proptest::prelude::*;

use super::*;
use crate::model::Endpoint;
use crate::runtime::clock::Rng;

fn endpoints(weights: &[u32]) -> Vec<Arc<Endpoint>> {
    let make = |(i, &weight): (usize, &u32)| {
        let address = ([127, 0, 0, 1], 1000 + i as u16).into();
        Arc::new(Endpoint::new(address, None, "w".into(), None, weight))
    };
    weights.iter().enumerate().map(make).collect()
}

fn well(_: &Endpoint) -> bool {
    true
}

fn index(endpoint: &Endpoint) -> usize {
    usize::from(endpoint.address.port() - 1000)
}

fn candidates(all: &[Arc<Endpoint>]) -> Candidates<'_> {
    Candidates { endpoints: all, local: &[], tried: &[] }
}

#[test]
fn equal_endpoints_get_equal_shares() {
    let all = endpoints(&[1; 5]);
    let mut rng = Rng::seeded(42);
    let mut counts = [0u32; 5];
    for _ in 0..50_000 {
        let chosen = pick(candidates(&all), well, 0, &mut rng).expect("one is ready");
        counts[index(chosen)] += 1;
    }
    assert!(counts.iter().all(|&n| (9_500..=10_500).contains(&n)), "{counts:?}");
}

#[test]
fn the_slower_and_the_busier_get_less() {
    let all = endpoints(&[1, 1]);
    observe(&all[0].health, 10_000, 0);
    observe(&all[1].health, 1_000, 0);
    let mut rng = Rng::seeded(1);
    assert_eq!(pick(candidates(&all), well, 0, &mut rng).map(|e| e.slot), Some(all[1].slot));
    all[1].health.in_flight.store(50, Relaxed);
    assert_eq!(pick(candidates(&all), well, 0, &mut rng).map(|e| e.slot), Some(all[0].slot));
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
fn the_own_zone_is_preferred_while_it_is_well() {
    let all = endpoints(&[1; 4]);
    let mut rng = Rng::seeded(5);
    let near = Candidates { local: &[2], ..candidates(&all) };
    for _ in 0..50 {
        assert_eq!(pick(near, well, 0, &mut rng).map(|e| e.slot), Some(all[2].slot));
    }
    let ill = |e: &Endpoint| index(e) != 2;
    assert_ne!(pick(near, ill, 0, &mut rng).map(|e| index(e)), Some(2));
}

#[test]
fn another_endpoint_is_tried_when_there_is_one() {
    let all = endpoints(&[1; 3]);
    let mut rng = Rng::seeded(5);
    let tried = [all[0].slot, all[2].slot];
    let again = Candidates { tried: &tried, ..candidates(&all) };
    assert_eq!(pick(again, well, 0, &mut rng).map(|e| e.slot), Some(all[1].slot));
    let every = [all[0].slot, all[1].slot, all[2].slot];
    let again = Candidates { tried: &every, ..candidates(&all) };
    assert!(pick(again, well, 0, &mut rng).is_some(), "the same again is better than none");
}

proptest! {
    #[test]
    fn an_ejected_endpoint_is_never_picked(count in 2usize..9, ejected in prop::collection::vec(any::<bool>(), 9), seed: u64) {
        let all = endpoints(&vec![1; count]);
        let ready = |e: &Endpoint| !ejected[index(e)];
        let mut rng = Rng::seeded(seed);
        for _ in 0..20 {
            match pick(candidates(&all), ready, 0, &mut rng) {
                Some(chosen) => prop_assert!(!ejected[index(chosen)]),
                None => prop_assert!(ejected[..count].iter().all(|&e| e)),
            }
        }
    }
}
