//! Cases of balancing: a few endpoints, one request after another, given time and chance.

mod affinity;
mod refused;
mod shares;
mod warmup;
mod zones;

use std::sync::Arc;

use super::*;
use crate::model::{Balancing, BalancingPolicy, Endpoint, HashOn};
use crate::runtime::clock::Rng;

fn endpoints(weights: &[u32]) -> Vec<Arc<Endpoint>> {
    weights.iter().enumerate().map(|(i, &weight)| Arc::new(endpoint(i, None, weight))).collect()
}

fn zoned(zones: &[&str]) -> Vec<Arc<Endpoint>> {
    zones.iter().enumerate().map(|(i, &zone)| Arc::new(endpoint(i, Some(zone), 1))).collect()
}

fn endpoint(i: usize, zone: Option<&str>, weight: u32) -> Endpoint {
    let address = ([127, 0, 0, 1], 1000 + i as u16).into();
    Endpoint::new(address, None, format!("w-{i}.default").into(), zone.map(Arc::from), weight)
}

fn index(endpoint: &Endpoint) -> usize {
    usize::from(endpoint.address.port() - 1000)
}

fn well(_: &Endpoint) -> bool {
    true
}

/// Policies that look at no key, then those that do.
const KEYLESS: [BalancingPolicy; 4] = [
    BalancingPolicy::PeakEwma,
    BalancingPolicy::LeastRequest,
    BalancingPolicy::RoundRobin,
    BalancingPolicy::Random,
];
const KEYED: [BalancingPolicy; 2] =
    [BalancingPolicy::RingHash(HashOn::Path), BalancingPolicy::Maglev(HashOn::Path)];

fn by(policy: &BalancingPolicy) -> Balancing {
    Balancing { policy: policy.clone(), ..Balancing::default() }
}

fn compiled(policy: &BalancingPolicy, all: &[Arc<Endpoint>]) -> Balancer {
    Balancer::compile(&by(policy), all, None, None)
}

fn ask(hash: Option<u64>) -> Ask<'static> {
    Ask { tried: &[], hash, now_us: 0 }
}

/// How many of so many requests each endpoint gets while nothing is under way.
fn counts(
    balancer: &Balancer,
    all: &[Arc<Endpoint>],
    ready: impl Fn(&Endpoint) -> bool,
    requests: usize,
    rng: &mut Rng,
) -> Vec<usize> {
    let mut counts = vec![0; all.len()];
    for _ in 0..requests {
        let asked = ask(Some(rng.next_u64()));
        let chosen = balancer.pick(all, asked, &ready, rng).expect("one is ready");
        counts[index(chosen)] += 1;
    }
    counts
}

/// True when each count is within `percent` of its part of the sum.
fn are_near(counts: &[usize], weights: &[u32], percent: f64) -> bool {
    let sum: u32 = weights.iter().sum();
    let requests: usize = counts.iter().sum();
    counts.iter().zip(weights).all(|(&count, &weight)| {
        let due = requests as f64 * f64::from(weight) / f64::from(sum);
        (count as f64 - due).abs() <= due * percent / 100.0
    })
}
