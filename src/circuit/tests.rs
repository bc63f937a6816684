//! Cases of circuits: opening, probing, growing, and the floor.

mod held;
mod probes;
mod properties;
mod rates;

use std::time::Duration;

use super::word::Word;
use super::*;
use crate::model::CircuitState;
use crate::runtime::clock::Rng;

const SECOND: u64 = 1_000_000;

/// Some endpoints of a service, at a moment.
struct Service {
    all: Vec<Arc<Endpoint>>,
    policy: Circuit,
    now_us: u64,
    rng: Rng,
}

impl Service {
    fn new(endpoints: u16, policy: Circuit) -> Self {
        let endpoint =
            |i| Endpoint::new(([127, 0, 0, 1], 1000 + i).into(), None, "w".into(), None, 1);
        let all = (0..endpoints).map(|i| Arc::new(endpoint(i))).collect();
        Self { all, policy, now_us: SECOND, rng: Rng::seeded(7) }
    }

    fn admit(&self, index: usize) -> Option<Pass> {
        admit(&self.all[index].health, &self.policy, self.now_us)
    }

    /// An attempt that is admitted as a probe.
    #[track_caller]
    fn probe(&self, index: usize) -> Pass {
        let pass = self.admit(index).expect("is let through");
        assert!(matches!(pass, Pass::Probe(_)), "{pass:?}");
        pass
    }

    fn settle(&mut self, index: usize, pass: Pass, verdict: Verdict) -> Option<Transition> {
        self.settle_after(index, pass, verdict, None)
    }

    fn settle_after(
        &mut self,
        index: usize,
        pass: Pass,
        verdict: Verdict,
        took_us: Option<u64>,
    ) -> Option<Transition> {
        let Self { all, policy, now_us, rng } = self;
        settle(&all[index], all, pass, verdict, took_us, policy, *now_us, rng)
    }

    /// An attempt that is admitted and ends at once; what the last of `times` changed.
    fn meet(&mut self, index: usize, verdict: Verdict, times: usize) -> Option<Transition> {
        let mut last = None;
        for _ in 0..times {
            let pass = self.admit(index).expect("is let through");
            last = self.settle(index, pass, verdict);
        }
        last
    }

    fn state(&self, index: usize) -> CircuitState {
        state(&self.all[index].health, self.now_us)
    }

    fn facts(&self, index: usize) -> Facts {
        state_facts(&self.all[index].health, &self.policy, self.now_us)
    }

    /// Waits until the circuit is half-open; for how long, in microseconds.
    fn wait(&mut self, index: usize) -> u64 {
        let CircuitState::Open { until_us } = self.state(index) else { panic!("is open") };
        until_us - std::mem::replace(&mut self.now_us, until_us)
    }
}

#[test]
fn opens_after_five_failures_in_a_row_and_closes_after_a_good_probe() {
    let mut service = Service::new(2, Circuit::default());
    assert_eq!(service.meet(0, Verdict::Failure, 4), None);
    assert_eq!(service.meet(0, Verdict::Failure, 1), Some(Transition::Opened));
    service.now_us += SECOND;
    assert_eq!(service.admit(0), None, "open");
    assert!(matches!(service.state(0), CircuitState::Open { .. }));
    service.now_us += 5 * SECOND;
    assert_eq!(service.state(0), CircuitState::HalfOpen);
    let probe = service.probe(0);
    assert_eq!(service.admit(0), None, "one probe at a time");
    assert_eq!(service.settle(0, probe, Verdict::Success), Some(Transition::Closed));
    assert_eq!(service.admit(0), Some(Pass::Normal));
}

/// What Envoy's outlier detection is tested for: failures (F) in a row, ended by a success (S);
/// what has too much to do (O) or says nothing (N) does neither.
#[test]
fn only_failures_in_a_row_open() {
    for (consecutive_failures, story, opens_at) in [
        (5, "FFFFF", Some(4)),
        (5, "FFFFSFFFF", None),
        (5, "FFFFSFFFFF", Some(9)),
        (5, "FFFFOF", Some(5)),
        (5, "FFFFNF", Some(5)),
        (5, "OOOOOOOOOO", None),
        (5, "NNNNNNNNNN", None),
        (1, "SF", Some(1)),
        (2, "FSFSFSFF", Some(7)),
        (3, "FFOOOOSFF", None),
    ] {
        let policy = Circuit { consecutive_failures, ..Circuit::default() };
        let mut service = Service::new(2, policy);
        let opened = story.chars().position(|letter| {
            let verdict = match letter {
                'F' => Verdict::Failure,
                'S' => Verdict::Success,
                'O' => Verdict::Overload,
                _ => Verdict::Neither,
            };
            service.meet(0, verdict, 1) == Some(Transition::Opened)
        });
        assert_eq!(opened, opens_at, "{consecutive_failures} {story}");
    }
}

#[test]
fn each_failed_probe_doubles_the_open_time_up_to_the_limit() {
    for (open_for, max_open_for, expected) in
        [(5, 60, [5, 10, 20, 40, 60, 60]), (1, 4, [1, 2, 4, 4, 4, 4]), (30, 10, [10; 6])]
    {
        let policy = Circuit {
            open_for: Duration::from_secs(open_for),
            max_open_for: Duration::from_secs(max_open_for),
            ..Circuit::default()
        };
        let mut service = Service::new(2, policy);
        service.meet(0, Verdict::Failure, 5);
        for (round, seconds) in (1..).zip(expected) {
            assert_eq!(service.facts(0).reopened, round);
            let (open_us, longest) = (service.wait(0), seconds * SECOND);
            assert!(
                (longest * 3 / 4 - 1000..=longest).contains(&open_us),
                "{open_us} of {longest}"
            );
            let pass = service.admit(0).expect("a probe");
            assert_eq!(service.settle(0, pass, Verdict::Failure), Some(Transition::Opened));
        }
    }
}

#[test]
fn sidecars_don_t_all_probe_at_once() {
    let open_us = |seed| {
        let mut service = Service::new(2, Circuit::default());
        service.rng = Rng::seeded(seed);
        service.meet(0, Verdict::Failure, 5);
        service.wait(0)
    };
    let times: std::collections::BTreeSet<u64> = (0..100).map(open_us).collect();
    assert!(times.len() > 90, "{} different", times.len());
}

#[test]
fn one_that_fails_again_soon_stays_away_for_longer_and_yesterday_is_forgotten() {
    let mut service = Service::new(2, Circuit::default());
    let close = |service: &mut Service| {
        service.wait(0);
        assert_eq!(service.meet(0, Verdict::Success, 1), Some(Transition::Closed));
    };
    service.meet(0, Verdict::Failure, 5);
    close(&mut service);
    service.now_us += 59 * SECOND;
    assert_eq!(service.facts(0).reopened, 1);
    service.meet(0, Verdict::Failure, 5);
    assert_eq!(service.facts(0).reopened, 2);
    assert!(service.wait(0) > 7 * SECOND, "doubled");
    assert_eq!(service.meet(0, Verdict::Success, 1), Some(Transition::Closed));
    service.now_us += 60 * SECOND;
    assert_eq!(service.facts(0).reopened, 0);
    service.meet(0, Verdict::Failure, 5);
    assert_eq!(service.facts(0).reopened, 1);
    assert!(service.wait(0) <= 5 * SECOND, "begun anew");
}

#[test]
fn a_changed_policy_holds_for_the_running_state() {
    let mut service = Service::new(2, Circuit::default());
    service.meet(0, Verdict::Failure, 4);
    service.policy.consecutive_failures = 2;
    assert_eq!(service.meet(0, Verdict::Failure, 1), Some(Transition::Opened), "the count stays");
    service.policy.max_open_for = Duration::from_secs(1);
    assert!(is_ready(&service.all[0].health, &service.policy, service.now_us), "no such wait now");
    service.probe(0);
}

#[test]
fn the_word_keeps_all_that_is_put_in() {
    use proptest::prelude::*;
    let phases = prop_oneof![Just(Phase::Closed), Just(Phase::Open), Just(Phase::HalfOpen)];
    let words = (phases, any::<u8>(), any::<u8>(), 0u8..64, 0u64..1 << 40);
    proptest!(|((phase, probes, succeeded, reopened, at_ms) in words)| {
        let word = Word { phase, probes, succeeded, reopened, at_ms };
        prop_assert_eq!(Word::from(u64::from(word)), word);
        prop_assert_eq!(super::word::is_closed(word.into()), phase == Phase::Closed);
    });
}
