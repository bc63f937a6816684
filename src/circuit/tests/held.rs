//! Cases of the floor.

use super::*;
use crate::model::FailureRate;

#[test]
fn no_ejection_goes_below_the_floor() {
    for (endpoints, min_ready_endpoints, ejected) in
        [(2, 1, 1), (2, 0, 2), (2, 2, 0), (1, 1, 0), (1, 0, 1), (5, 2, 3), (3, 9, 0)]
    {
        let policy = Circuit { min_ready_endpoints, ..Circuit::default() };
        let mut service = Service::new(endpoints, policy);
        let opened = (0..usize::from(endpoints))
            .filter(|&index| service.meet(index, Verdict::Failure, 5) == Some(Transition::Opened))
            .count();
        assert_eq!(opened, ejected, "{endpoints} endpoints, floor {min_ready_endpoints}");
        let held = (0..usize::from(endpoints)).filter(|&i| service.facts(i).held_back_us.is_some());
        assert_eq!(held.count(), usize::from(endpoints) - ejected);
    }
}

#[test]
fn it_is_said_once_that_the_floor_holds_one_back() {
    let mut service = Service::new(2, Circuit::default());
    service.meet(0, Verdict::Failure, 5);
    assert_eq!(service.meet(1, Verdict::Failure, 5), Some(Transition::HeldBack));
    let since = Some(service.now_us);
    service.now_us += SECOND / 2;
    assert_eq!(service.meet(1, Verdict::Failure, 1), None);
    assert_eq!(service.meet(1, Verdict::Overload, 1), None);
    assert_eq!(service.facts(1).held_back_us, since);
    assert_eq!(service.facts(1).consecutive_failures, 6, "it is still counted");
    service.meet(1, Verdict::Success, 1);
    assert_eq!(service.facts(1).held_back_us, None);
    assert_eq!(service.meet(1, Verdict::Failure, 5), Some(Transition::HeldBack), "a new streak");
}

#[test]
fn one_that_was_held_back_goes_when_another_is_back() {
    let mut service = Service::new(2, Circuit::default());
    service.meet(0, Verdict::Failure, 5);
    service.meet(1, Verdict::Failure, 5);
    service.wait(0);
    service.meet(0, Verdict::Success, 1);
    assert_eq!(service.meet(1, Verdict::Overload, 1), None, "no failure in a row");
    assert_eq!(service.meet(1, Verdict::Failure, 1), Some(Transition::Opened));
    assert_eq!(service.facts(1).held_back_us, None);
}

#[test]
fn one_that_a_rate_would_eject_is_held_back_until_the_rate_is_better() {
    let failure_rate = Some(FailureRate { minimum_requests: 4, ..FailureRate::default() });
    let mut service = Service::new(1, Circuit { failure_rate, ..Circuit::default() });
    service.meet(0, Verdict::Failure, 3);
    assert_eq!(service.meet(0, Verdict::Success, 1), Some(Transition::HeldBack));
    assert_eq!(service.meet(0, Verdict::Success, 2), None);
    assert!(service.facts(0).held_back_us.is_some(), "3 of 6");
    service.meet(0, Verdict::Success, 1);
    assert_eq!(service.facts(0).held_back_us, None, "3 of 7");
}

#[test]
fn the_floor_holds_when_the_last_well_one_leaves_by_itself() {
    let mut service = Service::new(2, Circuit::default());
    assert_eq!(service.meet(0, Verdict::Failure, 5), Some(Transition::Opened));
    assert_eq!(floor(&service.all, &service.policy), None, "the other is well");
    service.all.truncate(1);
    assert_eq!(floor(&service.all, &service.policy), Some(Pass::Needed));
    let none = Circuit { min_ready_endpoints: 0, ..Circuit::default() };
    assert_eq!(floor(&service.all, &none), None, "nobody asked for a floor");
    assert_eq!(service.settle(0, Pass::Needed, Verdict::Neither), None);
    assert_eq!(service.settle(0, Pass::Needed, Verdict::Overload), None);
    assert_eq!(service.settle(0, Pass::Needed, Verdict::Failure), None);
    assert_eq!(service.settle(0, Pass::Needed, Verdict::Success), Some(Transition::Closed));
    assert_eq!(service.settle(0, Pass::Needed, Verdict::Success), None, "once");
    assert_eq!(service.admit(0), Some(Pass::Normal));
    assert_eq!(floor(&service.all, &service.policy), None);
}

#[test]
fn a_request_that_every_ready_endpoint_failed_may_go_beyond_them_once() {
    let mut service = Service::new(3, Circuit::default());
    service.meet(0, Verdict::Failure, 5);
    let slot = |service: &Service, i: usize| service.all[i].slot;
    let may = |service: &Service, tried: &[usize]| {
        let tried: Vec<u32> = tried.iter().map(|&i| slot(service, i)).collect();
        may_go_beyond(&service.all, &tried, &service.policy, service.now_us)
    };
    assert!(!may(&service, &[]), "nothing failed it");
    assert!(!may(&service, &[1]), "another is ready");
    assert!(may(&service, &[1, 2]));
    assert!(!may(&service, &[1, 2, 0]), "it was there");
    service.policy.min_ready_endpoints = 0;
    assert!(!may(&service, &[1, 2]), "open circuits are meant to refuse");
    service.policy.min_ready_endpoints = 1;
    assert_eq!(service.settle(0, Pass::Needed, Verdict::Success), Some(Transition::Closed));
    assert!(!may(&service, &[1, 2]) && !may(&service, &[0, 1, 2]), "all are ready");
}
