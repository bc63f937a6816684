//! What holds for every story of a service.

use std::sync::Barrier;
use std::thread;

use proptest::prelude::*;

use super::*;
use crate::runtime::clock::Rng;

/// Miri switches threads at any step, and takes seconds where others take none.
const FEWER: bool = cfg!(miri);

/// Several workers settle at once: the floor is where the ejections end.
#[test]
fn workers_together_never_eject_below_the_floor() {
    const WORKERS: u64 = 4;
    for round in 0..if FEWER { 4 } else { 300 } {
        let floor = round % 4;
        let policy =
            Circuit { min_ready_endpoints: floor, consecutive_failures: 2, ..Circuit::default() };
        let service = Service::new(6, policy);
        let (all, policy, start) = (&service.all, &service.policy, Barrier::new(WORKERS as usize));
        let work = |seed| {
            let mut rng = Rng::seeded(seed);
            start.wait();
            let mut opened = 0;
            for _ in 0..if FEWER { 20 } else { 200 } {
                let endpoint = &all[rng.below(all.len())];
                if let Some(pass) = admit(&endpoint.health, policy, SECOND) {
                    assert_eq!(pass, Pass::Normal, "an open one let something through");
                    let failed = Verdict::Failure;
                    let settled =
                        settle(endpoint, all, pass, failed, None, policy, SECOND, &mut rng);
                    opened += usize::from(settled == Some(Transition::Opened));
                }
                let well = all.iter().filter(|e| is_closed(&e.health)).count();
                assert!(well >= floor as usize, "{well} of at least {floor}");
            }
            opened
        };
        let opened: usize = thread::scope(|scope| {
            let seed = |worker| u64::from(round) * WORKERS + worker;
            let workers: Vec<_> =
                (0..WORKERS).map(|worker| scope.spawn(move || work(seed(worker)))).collect();
            workers.into_iter().map(|worker| worker.join().expect("a worker")).sum()
        });
        assert_eq!(opened, 6 - floor as usize, "each opened once");
    }
}

#[test]
fn workers_together_lose_no_request_of_the_window() {
    let mut policy = Circuit { consecutive_failures: u32::MAX, ..Circuit::default() };
    policy.failure_rate =
        Some(crate::model::FailureRate { threshold_percent: 101, ..Default::default() });
    let service = Service::new(1, policy);
    let each = if FEWER { 40 } else { 5000 };
    let work = || {
        let mut rng = Rng::seeded(1);
        for i in 0..u64::from(each) {
            let verdict = if i % 4 == 0 { Verdict::Failure } else { Verdict::Success };
            let (endpoint, now) = (&service.all[0], SECOND + i * 1000);
            settle(
                endpoint,
                &service.all,
                Pass::Normal,
                verdict,
                None,
                &service.policy,
                now,
                &mut rng,
            );
        }
    };
    thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(work))));
    let facts = state_facts(&service.all[0].health, &service.policy, 6 * SECOND);
    assert_eq!(facts.failures, Some(Rate { requests: 4 * each, bad: each }));
}

proptest! {
    #[test]
    fn whatever_happens(
        floor in 0u32..3,
        probes in 1u8..4,
        story in prop::collection::vec((0usize..3, 0u8..5, 0u64..2000), 1..400),
    ) {
        let policy = Circuit {
            consecutive_failures: 2,
            min_ready_endpoints: floor,
            half_open_requests: probes,
            ..Circuit::default()
        };
        let mut service = Service::new(3, policy);
        // The attempts under way, of each endpoint.
        let mut open: [Vec<Pass>; 3] = Default::default();
        for (index, step, wait_ms) in story {
            service.now_us += wait_ms * 1000;
            let before = service.state(index);
            if step < 2 {
                let pass = service.admit(index);
                match before {
                    CircuitState::Closed => prop_assert_eq!(pass, Some(Pass::Normal)),
                    CircuitState::Open { .. } => prop_assert_eq!(pass, None, "before its time"),
                    CircuitState::HalfOpen => prop_assert_ne!(pass, Some(Pass::Normal)),
                }
                open[index].extend(pass);
            } else if let Some(pass) = open[index].pop() {
                let verdict = [Verdict::Success, Verdict::Failure, Verdict::Neither][step as usize - 2];
                let well = |s: &Service| s.all.iter().filter(|e| is_closed(&e.health)).count();
                let were_well = well(&service);
                let settled = service.settle(index, pass, verdict);
                let are_well = well(&service);
                if are_well < were_well {
                    prop_assert_eq!(settled, Some(Transition::Opened));
                    prop_assert!(are_well >= floor as usize);
                }
                prop_assert_eq!(settled == Some(Transition::Closed), are_well > were_well);
            }
            let word = Word::from(service.all[index].health.circuit.load(Relaxed));
            prop_assert!(word.phase != Phase::HalfOpen || word.probes <= probes);
        }
    }
}
