//! Gates with given moments: who gets a place, who waits, who is shed; and the adaptive limit beside
//! a simulated service.

use std::sync::Arc;

use http::Request;
use proptest::prelude::*;

use super::gradient::{Gradient, Window};
use super::queue::{Queue, Room, Shed};
use super::*;
use crate::model::Reason;
use crate::resources::rate_limit_policy::{Most, Priority};
use crate::resources::{Origin, Resource, parse_documents};
use crate::telemetry::metrics::{Counter, Registry};
use crate::telemetry::traffic::TrafficMetrics;

mod simulated;

fn gate(most: Most) -> (Arc<Gate>, [Counter; 4]) {
    let shed: [Counter; 4] = Default::default();
    (Gate::new("web.shop:80".into(), most, shed.clone()), shed)
}

fn enter(gate: &Arc<Gate>, priority: Priority) -> Result<Entered, Reason> {
    gate.enter(priority, 1)
}

fn waits(entered: Result<Entered, Reason>) -> tokio::sync::oneshot::Receiver<Ticket> {
    match entered {
        Ok(Entered::Waits(place)) => place,
        other => panic!("{other:?}"),
    }
}

#[test]
fn over_the_limit_some_wait_and_the_newest_of_the_lowest_is_shed() {
    let (gate, shed) = gate(Most::Fixed(2));
    let counts = || shed.each_ref().map(Counter::value);
    let first = gate.try_admit(Priority::Low, 1).expect("a place");
    let _second = gate.try_admit(Priority::Low, 1).expect("a place");
    assert_eq!(gate.try_admit(Priority::High, 1).err(), Some(Reason::Overloaded));
    let mut old = waits(enter(&gate, Priority::Low));
    let mut new = waits(enter(&gate, Priority::Low));
    assert_eq!(enter(&gate, Priority::Low).err(), Some(Reason::Overloaded), "it is the newest");
    assert_eq!(counts(), [1, 0, 0, 0]);
    let mut high = waits(enter(&gate, Priority::High));
    assert!(new.try_recv().is_err() && counts() == [2, 0, 0, 0], "the newest of the lowest goes");
    let facts = gate.facts();
    assert_eq!((facts.under_way, facts.waiting, facts.limit), (2, 2, 2));
    drop(first);
    let high = high.try_recv().expect("the highest is next");
    assert!(old.try_recv().is_err());
    drop(high);
    let old = old.try_recv().expect("then whoever came first");
    assert_eq!((gate.facts().under_way, gate.facts().waiting), (2, 0));
    drop(old);
    assert_eq!(gate.facts().under_way, 1);
}

#[test]
fn questions_about_health_are_the_last_to_be_shed() {
    let (gate, _) = gate(Most::Fixed(1));
    let _busy = gate.try_admit(Priority::High, 1).expect("a place");
    let _waiting = [enter(&gate, Priority::High), enter(&gate, Priority::High)].map(waits);
    let probes: Vec<_> = (0..4).map(|_| gate.try_admit(Priority::Probe, 1)).collect();
    assert!(probes.iter().all(Result::is_ok), "beside the limit");
    let mut more = waits(enter(&gate, Priority::Probe));
    let _one = waits(enter(&gate, Priority::Probe));
    assert_eq!(enter(&gate, Priority::Probe).err(), Some(Reason::Overloaded), "there is an end");
    drop((_busy, probes));
    assert!(more.try_recv().is_ok());
}

#[test]
fn those_who_go_first_may_wait_in_greater_number() {
    let (gate, shed) = gate(Most::Fixed(2));
    let busy = [(); 2].map(|()| gate.try_admit(Priority::Normal, 1).expect("a place"));
    let mut lower = [(); 2].map(|()| waits(enter(&gate, Priority::Normal)));
    let high = [(); 8].map(|()| waits(enter(&gate, Priority::High)));
    assert!(lower.iter_mut().all(|one| one.try_recv().is_err()), "they go for the first two");
    assert_eq!(enter(&gate, Priority::High).err(), Some(Reason::Overloaded), "there is an end");
    assert_eq!(enter(&gate, Priority::Normal).err(), Some(Reason::Overloaded));
    assert_eq!(shed.each_ref().map(Counter::value), [0, 3, 1, 0]);
    drop(busy);
    let served = high.into_iter().map(|mut one| one.try_recv().map(drop));
    assert!(served.into_iter().all(|one| one.is_ok()), "all of them have their turn");
}

#[test]
fn who_gave_up_waiting_takes_no_place() {
    let (gate, _) = gate(Most::Fixed(8));
    let busy: Vec<Ticket> =
        (0..8).map(|_| gate.try_admit(Priority::Normal, 1).expect("a place")).collect();
    let gone = [enter(&gate, Priority::Normal), enter(&gate, Priority::Normal)].map(waits);
    drop(gone);
    let mut stays = waits(enter(&gate, Priority::Normal));
    drop(busy);
    drop(stays.try_recv().expect("a place"));
    let facts = gate.facts();
    assert_eq!((facts.under_way, facts.waiting), (0, 0));
}

#[test]
fn another_limit_holds_at_once() {
    let (gate, _) = gate(Most::Fixed(1));
    let _first = gate.try_admit(Priority::Normal, 1).expect("a place");
    let mut waiting = waits(enter(&gate, Priority::Normal));
    gate.retune(Most::Fixed(2));
    let _second = waiting.try_recv().expect("there is room now");
    gate.retune(Most::Adaptive { min: 1, max: 2 });
    assert!(gate.try_admit(Priority::Normal, 1).is_err());
    assert_eq!((gate.facts().limit, gate.facts().is_adaptive), (2, true));
    gate.retune(Most::Fixed(1));
    assert_eq!((gate.facts().under_way, gate.facts().limit), (2, 1), "what is under way stays");
}

/// Workers come and go at once; nobody waits for a place that is free, none is lost.
#[test]
fn no_place_is_lost_between_workers() {
    let (gate, _) = gate(Most::Fixed(3));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..3_000 {
                    match gate.enter(Priority::Normal, 1) {
                        Ok(Entered::In(ticket)) => drop(ticket),
                        Ok(Entered::Waits(place)) => drop(place.blocking_recv()),
                        Err(reason) => assert_eq!(reason, Reason::Overloaded),
                    }
                }
            });
        }
    });
    assert_eq!((gate.facts().under_way, gate.facts().waiting), (0, 0));
}

fn request(path: &str, headers: &[(&str, &str)]) -> http::request::Parts {
    let mut request = Request::builder().uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request").into_parts().0
}

fn gates(policies: &[(&str, &str)]) -> Gates {
    let metrics = TrafficMetrics::register(&Registry::default());
    let gates = Gates::new(metrics, vec![(80, "/well".into())]);
    publish(&gates, policies);
    gates
}

fn publish(gates: &Gates, policies: &[(&str, &str)]) {
    let read = |(name, spec): &(&str, &str)| {
        let text = format!(
            "{{apiVersion: outrigger.dev/v1alpha1, kind: RateLimitPolicy, \
             metadata: {{name: {name}}}, spec: {{{spec}}}}}"
        );
        let read = parse_documents(&text, &Origin::file("test"), "shop").expect(spec);
        let [Resource::RateLimitPolicy(policy)] = &read[..] else { panic!("{read:?}") };
        Arc::clone(policy)
    };
    gates.publish(&policies.iter().map(read).collect::<Vec<_>>());
}

#[test]
fn the_nearest_policy_counts_and_a_port_keeps_its_gate() {
    let label = "web.shop:80".into();
    let plain = request("/", &[]);
    let limit = |gates: &Gates, port: u16| {
        gates.find(port, &label, &plain, true).map(|(gate, _)| gate.limit())
    };
    let none = gates(&[("a", "limits: [{key: total, requests: 1, per: 1s}]")]);
    assert_eq!(limit(&none, 80), None);
    let all = gates(&[
        ("ports", "ports: [80], concurrency: {limit: 5}"),
        ("all", "concurrency: {limit: 7}"),
        ("zzz", "concurrency: {limit: 9}"),
    ]);
    assert_eq!((limit(&all, 80), limit(&all, 81)), (Some(5), Some(7)));
    let (gate, _) = all.find(80, &label, &plain, true).expect("a gate");
    let ticket = gate.try_admit(Priority::Normal, 1).expect("a place");
    publish(&all, &[("all", "concurrency: {limit: 8}")]);
    assert_eq!((limit(&all, 80), gate.limit(), gate.facts().under_way), (Some(8), 8, 1));
    let shown: Vec<_> =
        all.ports().into_iter().map(|(port, at)| (port, at.facts.is_some())).collect();
    assert_eq!(shown, [(Some(80), true), (Some(81), true), (None, false)]);
    publish(&all, &[]);
    assert_eq!(limit(&all, 80), None);
    drop(ticket);
    for port in 1..=200 {
        let policies = gates(&[("a", "concurrency: {limit: 1}")]);
        assert!(limit(&policies, port).is_some());
    }
}

#[test]
fn priorities_are_those_of_the_first_rule_that_holds() {
    let gates = gates(&[(
        "a",
        "concurrency: {limit: 5, priorities: [\
         {match: {paths: ['/batch/*']}, priority: low}, \
         {match: {headers: {x-tier: gold}}, priority: high}]}",
    )]);
    let kubelet = ("user-agent", "kube-probe/1.33");
    let grpc = ("content-type", "application/grpc");
    let rows = [
        ("/", vec![], true, Priority::Normal),
        ("//batch/x", vec![], true, Priority::Low),
        ("/batch/x", vec![("x-tier", "gold")], true, Priority::Low),
        ("/", vec![("x-tier", "gold")], true, Priority::High),
        ("/", vec![kubelet], false, Priority::Probe),
        ("/", vec![kubelet], true, Priority::Normal),
        ("/grpc.health.v1.Health/Check", vec![grpc], true, Priority::Probe),
        ("/grpc.health.v1.Health/Check", vec![], true, Priority::Normal),
        ("/well?x", vec![], true, Priority::Probe),
    ];
    for (path, headers, is_proven, expected) in rows {
        let parts = request(path, &headers);
        let found = gates.find(80, &"web.shop:80".into(), &parts, is_proven);
        assert_eq!(found.expect("a gate").1, expected, "{path} {headers:?}");
    }
}

#[test]
fn a_limit_that_nobody_comes_near_does_not_grow() {
    let mut gradient = Gradient::new(1, 1_000);
    for _ in 0..100 {
        gradient.learn(Window { latency_us: 1_000.0, peak: 3 });
    }
    assert_eq!(gradient.limit(), 32);
    for _ in 0..300 {
        let peak = gradient.limit();
        gradient.learn(Window { latency_us: 1_000.0, peak });
    }
    assert_eq!(gradient.limit(), 1_000, "it has no more than it may");
}

proptest! {
    #[test]
    fn whatever_it_learns_a_limit_stays_within_its_bounds(
        min in 1u32..50, more in 0u32..500,
        windows in proptest::collection::vec((1.0f64..1e9, 0u32..2_000), 0..200),
    ) {
        let mut gradient = Gradient::new(min, min + more);
        for (latency_us, peak) in windows {
            gradient.learn(Window { latency_us, peak });
            prop_assert!((min..=min + more).contains(&gradient.limit()));
        }
    }

    /// As a list that is sorted anew each time.
    #[test]
    fn a_queue_keeps_the_best_and_serves_them_in_order(
        comers in proptest::collection::vec(0usize..4, 1..60),
        all in 1usize..10,
        more in 0usize..10,
    ) {
        let room = Room { all, high: all + more };
        let high = Priority::High as usize;
        let (mut queue, mut model) = (Queue::default(), Vec::new());
        for (nth, class) in comers.into_iter().enumerate() {
            model.push((std::cmp::Reverse(class), nth));
            model.sort_unstable();
            let is_last = model.last().is_some_and(|(_, last)| *last == nth);
            let most = if is_last && class == high { room.high } else { all };
            let over = (model.len() > most).then(|| model.pop().map(|(_, nth)| nth)).flatten();
            let shed = match queue.push(nth, Priority::ALL[class], room) {
                Shed::Nobody => None,
                Shed::Waiting(one, _) | Shed::Newcomer(one) => Some(one),
            };
            prop_assert_eq!(shed, over);
        }
        let served: Vec<usize> = std::iter::from_fn(|| queue.pop()).collect();
        prop_assert_eq!(served, model.into_iter().map(|(_, nth)| nth).collect::<Vec<_>>());
    }
}
