//! What choosing an endpoint costs: nanoseconds a choice, measured, never judged.
//!
//! Every policy with 5 and with 500 endpoints, on one thread: all alike and well; weights from 1 to
//! 10; a third of them in our zone; a tenth of the circuits open. Keys are hashed beforehand. Then
//! what compiling costs, with and without a balancer to go on from. `cargo bench --bench balance`.

use std::hint::black_box;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use outrigger::balance::{self, Ask, Balancer};
use outrigger::model::{Balancing, BalancingPolicy, Endpoint, HashOn};
use outrigger::runtime::clock::Rng;

const CHOICES: u32 = 1_000_000;

/// What sets endpoints apart.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Case {
    Alike,
    Weights,
    Zones,
    Ejected,
}

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    let cases = [Case::Alike, Case::Weights, Case::Zones, Case::Ejected];
    writeln!(out, "ns a choice       alike weights   zones ejected   compile, again (us)")?;
    for policy in policies() {
        for count in [5, 500] {
            write!(out, "{:<12} {count:>4}", policy.as_str())?;
            for case in cases {
                write!(out, "{:>8.1}", choosing(&policy, count, case))?;
            }
            let (new, again) = compiling(&policy, count);
            writeln!(out, "{new:>12.1} {again:>7.1}")?;
        }
    }
    Ok(())
}

fn policies() -> [BalancingPolicy; 6] {
    [
        BalancingPolicy::PeakEwma,
        BalancingPolicy::LeastRequest,
        BalancingPolicy::RoundRobin,
        BalancingPolicy::Random,
        BalancingPolicy::RingHash(HashOn::Path),
        BalancingPolicy::Maglev(HashOn::Path),
    ]
}

fn endpoints(count: u16, case: Case) -> Vec<Arc<Endpoint>> {
    let make = |i: u16| {
        let zone = if i.is_multiple_of(3) { "a" } else { "b" };
        let weight = if case == Case::Weights { 1 + u32::from(i % 10) } else { 1 };
        let address = ([10, 0, (i >> 8) as u8, i as u8], 8080).into();
        let workload = format!("web-{i}.default").into();
        let endpoint = Endpoint::new(address, None, workload, Some(zone.into()), weight);
        balance::observe(&endpoint.health, 1000 + u64::from(i), 1000);
        // Any word but 0 stands for an open circuit here.
        let ejected = case == Case::Ejected && i % 10 == 1;
        endpoint.health.circuit.store(u64::from(ejected), Relaxed);
        Arc::new(endpoint)
    };
    (0..count).map(make).collect()
}

fn zone(case: Case) -> Option<&'static str> {
    (case == Case::Zones).then_some("a")
}

fn choosing(policy: &BalancingPolicy, count: u16, case: Case) -> f64 {
    let all = endpoints(count, case);
    let policy = Balancing { policy: policy.clone(), ..Balancing::default() };
    let balancer = Balancer::compile(&policy, &all, zone(case), None);
    let ready = |endpoint: &Endpoint| endpoint.health.circuit.load(Relaxed) == 0;
    let mut rng = Rng::seeded(1);
    let begun = Instant::now();
    for _ in 0..CHOICES {
        let ask = Ask { tried: &[], hash: Some(rng.next_u64()), now_us: 2000 };
        black_box(balancer.pick(black_box(&all), ask, ready, &mut rng));
    }
    begun.elapsed().as_nanos() as f64 / f64::from(CHOICES)
}

/// Microseconds for a new balancer, and for one that goes on from it.
fn compiling(policy: &BalancingPolicy, count: u16) -> (f64, f64) {
    const TIMES: u32 = 20;
    let all = endpoints(count, Case::Weights);
    let policy = Balancing { policy: policy.clone(), ..Balancing::default() };
    let before = Balancer::compile(&policy, &all, None, None);
    let time = |before: Option<&Balancer>| {
        let begun = Instant::now();
        for _ in 0..TIMES {
            black_box(Balancer::compile(&policy, black_box(&all), None, before));
        }
        begun.elapsed().as_secs_f64() * 1e6 / f64::from(TIMES)
    };
    (time(None), time(Some(&before)))
}
