//! Cases of half-open circuits.

use super::*;

fn half_open(half_open_requests: u8) -> Service {
    let mut service = Service::new(2, Circuit { half_open_requests, ..Circuit::default() });
    service.meet(0, Verdict::Failure, 5);
    service.wait(0);
    service
}

#[test]
fn all_probes_must_succeed() {
    let mut service = half_open(3);
    assert_eq!(service.meet(0, Verdict::Success, 2), None);
    assert_eq!(service.state(0), CircuitState::HalfOpen);
    assert_eq!(service.meet(0, Verdict::Success, 1), Some(Transition::Closed));
    assert_eq!(service.facts(0).consecutive_failures, 0);
}

#[test]
fn as_many_probes_at_once_as_are_asked_for() {
    let mut service = half_open(3);
    let [one, two, _] = [0; 3].map(|at| service.probe(at));
    assert_eq!(service.admit(0), None);
    service.settle(0, one, Verdict::Success);
    assert_eq!(service.admit(0), None, "two are under way, and one succeeded");
    service.settle(0, two, Verdict::Neither);
    // In the place of the one that said nothing.
    service.probe(0);
}

#[test]
fn one_failed_probe_opens_again_and_the_others_come_late() {
    for late in [Verdict::Success, Verdict::Failure, Verdict::Neither] {
        let mut service = half_open(3);
        let [one, two, three] = [0; 3].map(|at| service.probe(at));
        assert_eq!(service.settle(0, one, Verdict::Success), None);
        assert_eq!(service.settle(0, two, Verdict::Failure), Some(Transition::Opened));
        let opened = service.state(0);
        assert_eq!(service.settle(0, three, late), None);
        assert_eq!(service.state(0), opened, "{late:?}");
        assert_eq!(service.facts(0).reopened, 2);
        service.wait(0);
        assert_eq!(service.meet(0, Verdict::Success, 2), None, "the count began anew");
        assert_eq!(service.meet(0, Verdict::Success, 1), Some(Transition::Closed));
    }
}

#[test]
fn a_probe_that_says_nothing_leaves_room_for_another() {
    let mut service = half_open(1);
    let probe = service.probe(0);
    assert_eq!(service.admit(0), None);
    service.settle(0, probe, Verdict::Neither);
    let probe = service.probe(0);
    give_back(&service.all[0].health, probe);
    service.probe(0);
}

#[test]
fn a_probe_of_an_earlier_turn_says_nothing_in_a_later_one() {
    for late in [Verdict::Success, Verdict::Failure, Verdict::Neither] {
        let mut service = half_open(2);
        let [failed, slow] = [0; 2].map(|at| service.probe(at));
        service.settle(0, failed, Verdict::Failure);
        service.wait(0);
        let [one, two] = [0; 2].map(|at| service.probe(at));
        assert_eq!(service.settle(0, slow, late), None, "{late:?}");
        give_back(&service.all[0].health, slow);
        assert_eq!(service.admit(0), None, "both are out: {late:?}");
        assert_eq!(service.settle(0, one, Verdict::Success), None);
        assert_eq!(service.settle(0, two, Verdict::Success), Some(Transition::Closed));
    }
}

/// Where circuits are open for less time than a probe is waited for.
#[test]
fn an_open_circuit_is_not_trusted_however_short_it_may_be_open() {
    let short = std::time::Duration::from_millis(100);
    let mut service = half_open(1);
    service.policy = Circuit { open_for: short, max_open_for: short, ..service.policy };
    let probe = service.probe(0);
    assert_eq!(service.settle(0, probe, Verdict::Failure), Some(Transition::Opened));
    let health = &service.all[0].health;
    assert!(!is_ready(health, &service.policy, service.now_us));
    assert!(!is_trusted(health, &service.policy, service.now_us));
}

#[test]
fn an_overloaded_probe_speaks_only_where_a_failure_rate_is_asked_for() {
    let mut service = half_open(1);
    assert_eq!(service.meet(0, Verdict::Overload, 1), None);
    assert_eq!(service.state(0), CircuitState::HalfOpen);
    service.policy.failure_rate = Some(crate::model::FailureRate::default());
    assert_eq!(service.meet(0, Verdict::Overload, 1), Some(Transition::Opened));
}

#[test]
fn a_slow_probe_is_not_well() {
    let slower_than = Duration::from_secs(2);
    let slow = crate::model::SlowCalls { threshold_percent: 80, slower_than };
    for (took_us, transition) in
        [(2 * SECOND, Transition::Closed), (2 * SECOND + 1, Transition::Opened)]
    {
        let mut service = half_open(1);
        service.policy.slow_calls = Some(slow);
        let pass = service.admit(0).expect("a probe");
        let settled = service.settle_after(0, pass, Verdict::Success, Some(took_us));
        assert_eq!(settled, Some(transition), "{took_us}");
    }
}

#[test]
fn fewer_probes_than_succeeded_already_still_leave_room_for_one() {
    let mut service = half_open(5);
    service.meet(0, Verdict::Success, 3);
    service.policy.half_open_requests = 2;
    assert_eq!(service.meet(0, Verdict::Success, 1), Some(Transition::Closed));
}

#[test]
fn closed_is_told_from_ready() {
    let service = half_open(1);
    let [out, well] = [&service.all[0].health, &service.all[1].health];
    assert!(!is_closed(out) && is_ready(out, &service.policy, service.now_us));
    assert!(!is_ready(out, &service.policy, service.now_us - 1));
    assert!(is_closed(well) && is_ready(well, &service.policy, service.now_us));
    service.admit(0);
    assert!(!is_ready(out, &service.policy, service.now_us), "its probe is out");
}

#[test]
fn one_that_nobody_probes_is_probed_by_whoever_comes() {
    let mut service = half_open(2);
    let is_trusted = |service: &Service, i: usize| {
        is_trusted(&service.all[i].health, &service.policy, service.now_us)
    };
    assert!(is_trusted(&service, 1), "it is closed");
    assert!(!is_trusted(&service, 0), "others may come");
    service.now_us += UNPROBED_US - 1;
    assert!(!is_trusted(&service, 0));
    service.now_us += 1;
    assert!(is_trusted(&service, 0), "nobody came");
    service.admit(0);
    assert!(is_trusted(&service, 0), "one of the two probes is still wanted");
    service.admit(0);
    assert!(!is_trusted(&service, 0), "both are out");
}

#[test]
fn others_wait_with_their_probes_although_one_is_out() {
    let service = half_open(2);
    service.admit(0);
    let health = &service.all[0].health;
    assert!(is_ready(health, &service.policy, service.now_us));
    assert!(!is_trusted(health, &service.policy, service.now_us));
}
