//! Cases of circuits: opening, probing, growing, and the floor.

use super::*;

const SECOND: u64 = 1_000_000;

fn endpoints(n: u16) -> Vec<Arc<Endpoint>> {
    (0..n)
        .map(|i| {
            Arc::new(Endpoint::new(([127, 0, 0, 1], 1000 + i).into(), None, "w".into(), None, 1))
        })
        .collect()
}

fn fail(all: &[Arc<Endpoint>], index: usize, times: usize, now_us: u64) -> Option<Transition> {
    let policy = Circuit::default();
    let mut rng = Rng::seeded(7);
    let mut last = None;
    for _ in 0..times {
        let pass = admit(&all[index].health, &policy, now_us).expect("is let through");
        last = settle(&all[index], all, pass, Verdict::Failure, &policy, now_us, &mut rng);
    }
    last
}

#[test]
fn opens_after_five_failures_in_a_row_and_closes_after_a_good_probe() {
    let all = endpoints(2);
    let policy = Circuit::default();
    let health = &all[0].health;
    assert_eq!(fail(&all, 0, 4, 0), None);
    assert_eq!(fail(&all, 0, 1, 0), Some(Transition::Opened));
    assert_eq!(admit(health, &policy, SECOND), None, "open");
    assert!(matches!(state(health, SECOND), CircuitState::Open { .. }));
    let later = 6 * SECOND;
    assert_eq!(state(health, later), CircuitState::HalfOpen);
    assert_eq!(admit(health, &policy, later), Some(Pass::Probe));
    assert_eq!(admit(health, &policy, later), None, "one probe at a time");
    let closed =
        settle(&all[0], &all, Pass::Probe, Verdict::Success, &policy, later, &mut Rng::seeded(1));
    assert_eq!(closed, Some(Transition::Closed));
    assert_eq!(admit(health, &policy, later), Some(Pass::Normal));
}

#[test]
fn a_success_between_starts_the_count_anew() {
    let all = endpoints(2);
    fail(&all, 0, 4, 0);
    settle(
        &all[0],
        &all,
        Pass::Normal,
        Verdict::Success,
        &Circuit::default(),
        0,
        &mut Rng::seeded(1),
    );
    assert_eq!(fail(&all, 0, 4, 0), None);
}

#[test]
fn each_failed_probe_doubles_the_open_time_up_to_the_limit() {
    let all = endpoints(2);
    let policy = Circuit::default();
    let mut rng = Rng::seeded(3);
    fail(&all, 0, 5, 0);
    let mut now = 0;
    for expected in [5, 10, 20, 40, 60, 60] {
        let CircuitState::Open { until_us } = state(&all[0].health, now) else { panic!("is open") };
        let open_us = until_us - now;
        let longest = expected * SECOND;
        assert!((longest * 3 / 4 - 1000..=longest).contains(&open_us), "{open_us} of {longest}");
        now = until_us;
        let pass = admit(&all[0].health, &policy, now).expect("a probe");
        settle(&all[0], &all, pass, Verdict::Failure, &policy, now, &mut rng);
    }
}

#[test]
fn the_floor_holds_the_last_ready_endpoint_back() {
    let all = endpoints(2);
    assert_eq!(fail(&all, 0, 5, 0), Some(Transition::Opened));
    assert_eq!(fail(&all, 1, 9, 0), Some(Transition::HeldBack));
    assert_eq!(admit(&all[1].health, &Circuit::default(), 0), Some(Pass::Normal));
}

#[test]
fn a_probe_that_says_nothing_leaves_room_for_another() {
    let all = endpoints(2);
    let policy = Circuit::default();
    fail(&all, 0, 5, 0);
    let later = 6 * SECOND;
    assert_eq!(admit(&all[0].health, &policy, later), Some(Pass::Probe));
    settle(&all[0], &all, Pass::Probe, Verdict::Neither, &policy, later, &mut Rng::seeded(1));
    assert_eq!(admit(&all[0].health, &policy, later), Some(Pass::Probe));
}

#[test]
fn the_floor_holds_when_the_last_well_one_leaves_by_itself() {
    let all = endpoints(2);
    let policy = Circuit::default();
    assert_eq!(fail(&all, 0, 5, 0), Some(Transition::Opened));
    assert_eq!(floor(&all, &policy), None, "the other is well");
    let left = &all[..1];
    assert_eq!(floor(left, &policy), Some(Pass::Needed));
    let none = Circuit { min_ready_endpoints: 0, ..policy };
    assert_eq!(floor(left, &none), None, "nobody asked for a floor");
    let settled = |verdict| {
        settle(&left[0], left, Pass::Needed, verdict, &policy, SECOND, &mut Rng::seeded(1))
    };
    assert_eq!(settled(Verdict::Neither), None);
    assert_eq!(settled(Verdict::Failure), None);
    assert_eq!(settled(Verdict::Success), Some(Transition::Closed));
    assert_eq!(settled(Verdict::Success), None, "once");
    assert_eq!(admit(&left[0].health, &policy, SECOND), Some(Pass::Normal));
    assert_eq!(floor(left, &policy), None);
}
