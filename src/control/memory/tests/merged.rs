//! What two replicas know, put together, is what one would know to which everybody had reported:
//! whoever reports to which of them, and wherever sidecars go in between.

use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::control::api::recalled;
use crate::control::memory::part::{Part, Question, Sidecar, Slots, Teller, Whole};
use crate::control::memory::report::{Opened, State, Unready};
use crate::control::memory::spans::tests::kept;
use crate::control::memory::{chart, traces};

const WORKLOADS: [&str; 5] = ["web-0", "web-1", "api-0", "api-1", "client-0"];
const CALLED: [&str; 3] = ["web", "api", "nobody"];

/// One report of one sidecar, which may go to the other replica first.
#[derive(Clone, Debug)]
struct Step {
    workload: usize,
    moves: bool,
    /// Of [`CALLED`], whether it failed, and how often.
    calls: Vec<(usize, bool, u64)>,
    served: u64,
    /// So many are open to each of [`CALLED`], and from whoever calls.
    open: [u64; 2],
    /// Of both endpoints of a service: 0 is ready.
    states: [u8; 2],
    /// Trace, span and parent.
    spans: Vec<(u128, u64, u64)>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let call = (0..CALLED.len(), any::<bool>(), 1u64..50);
    let step = (
        (0..WORKLOADS.len(), prop::bool::weighted(0.3)),
        prop::collection::vec(call, 0..4),
        (0u64..40, [0u64..3, 0u64..3]),
        [0u8..4, 0u8..4],
        prop::collection::vec((1u128..6, 1u64..1000, 0u64..1000), 0..3),
    );
    let made = |((workload, moves), calls, (served, open), states, spans)| Step {
        workload,
        moves,
        calls,
        served,
        open,
        states,
        spans,
    };
    prop::collection::vec(step.prop_map(made), 1..25)
}

fn report(step: &Step, seconds: u64) -> Report {
    let now_us = unix_ms(at(seconds)) * 1000;
    let mut report = Report { period: Duration::from_secs(5), now_us, ..Report::default() };
    for &(n, failed, count) in &step.calls {
        let label = format!("{}.shop:80", CALLED[n]);
        report.requests.push(called(&label, &identity(CALLED[n]), failed, count));
        let mut counts = [0; 17];
        counts[n * 3] = count;
        let (service, route) = (label.into(), "default".into());
        report.latencies.push(Latencies { inbound: false, service, route, counts });
    }
    if step.served > 0 {
        for peer in [identity("web"), identity("client"), identity("stranger"), String::new()] {
            report.requests.push(served(&peer, step.served));
        }
        let mut counts = [0; 17];
        counts[5] = step.served;
        let (service, route) = ("web.shop:8080".into(), "default".into());
        report.latencies.push(Latencies { inbound: true, service, route, counts });
    }
    let opened = |inbound, service: &str, peer: String, count| Opened {
        inbound,
        service: service.into(),
        route: "default".into(),
        spoken: Spoken::Tcp,
        peer: peer.into(),
        count,
    };
    let [called, taken] = step.open;
    if called > 0 {
        let theirs = |name: &str| opened(false, &format!("{name}.shop:80"), identity(name), called);
        report.open.extend(CALLED.map(theirs));
    }
    if taken > 0 {
        let peers = [identity("web"), identity("stranger"), String::new()];
        report.open.extend(peers.map(|peer| opened(true, "web.shop:8080", peer, taken)));
    }
    let endpoint = |(n, state): (u8, u8)| {
        let state = [None, Some(State::Connecting), Some(State::HalfOpen), Some(State::Ejected)]
            [usize::from(state)]?;
        Some((SocketAddr::from(([10, 0, 0, n], 8080)), state))
    };
    let endpoints = (0..).zip(step.states).filter_map(endpoint).collect();
    report.endpoints = vec![Unready { service: "api.shop:80".into(), endpoints, is_used: true }];
    for (nth, &(trace, span, parent)) in (0..).zip(&step.spans) {
        // No two have the same id: there are two in a report at most.
        let id = (2 * span + nth) * 100 + seconds;
        let mut kept = kept(trace, id, parent);
        kept.started_us = now_us - i64::try_from(span).expect("few");
        (kept.status, kept.service) = (if span % 3 == 0 { 503 } else { 200 }, "api.shop:80".into());
        report.spans.push(kept);
    }
    report
}

/// Everything that people are told of a service and of all.
fn told(observer: &Observer, whole: &Whole, slots: Slots, name: &str, seconds: u64) -> Vec<String> {
    let graph = observer.graph_of(whole, slots, at(seconds));
    let mut all: Vec<String> = graph.nodes.iter().map(|node| format!("{node:?}")).collect();
    all.extend(graph.edges.iter().map(|edge| format!("{edge:?}")));
    all.extend(graph.routes.iter().map(|route| format!("{route:?}")));
    let steps = chart::steps(name, 5, at(seconds));
    let of = observer.service_of(whole, slots, &steps, at(seconds)).expect("it is a service");
    all.extend(of.points.iter().map(|point| format!("{point:?}")));
    let endpoint = |of: &Found| format!("{:?} {:?}", of.endpoint, of.states);
    all.extend(of.endpoints.iter().map(endpoint));
    let failure = |of: &Failure| format!("{:032x} {}", of.seen.kept.trace_id, of.from);
    let mut failures: Vec<String> = of.failures.iter().map(failure).collect();
    failures.sort();
    all.append(&mut failures);
    all
}

/// Which traces there are, and what they are.
fn traces_of(whole: &Whole, filter: &Filter) -> Vec<String> {
    let begun = whole.parts.iter().flat_map(|part| &part.traces).cloned().collect();
    let begun = traces::newest(begun, filter.limit);
    let mut all: Vec<String> =
        begun.iter().map(|of| format!("{:?}", (of.id, of.started_us))).collect();
    all.sort();
    all.extend(traces::summaries(&whole.spans(), filter).iter().map(|of| format!("{of:?}")));
    all
}

/// As another replica hears it.
fn over_the_wire(part: Part) -> Part {
    Part::try_from(recalled::part(part)).expect("what we say is what we understand")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn two_halves_are_one_whole(steps in steps()) {
        let documents = [service("web", 2), service("api", 2)];
        let mesh = || Mesh::new(BUDGET, &documents);
        let (one, halves) = (mesh(), [mesh(), mesh()]);
        let enter = |mesh: &Mesh| WORKLOADS.map(|name| mesh.enter(name));
        let mut at_one = enter(&one);
        let mut at_halves = [enter(&halves[0]), enter(&halves[1])];
        let mut side = [0, 1, 0, 1, 0];
        let mut seconds = 100;
        for step in &steps {
            let n = step.workload;
            if step.moves {
                side[n] = 1 - side[n];
                // One hears that it left; the other side of a broken connection does not yet.
                at_one[n] = one.enter(WORKLOADS[n]);
                at_halves[side[n]][n] = halves[side[n]].enter(WORKLOADS[n]);
            }
            one.take(&mut at_one[n], report(step, seconds), seconds);
            halves[side[n]].take(&mut at_halves[side[n]][n], report(step, seconds), seconds);
            seconds += 3;
        }
        let slots = Slots { first: 0, last: slot_of(unix_ms(at(seconds))) };
        let ask = |question: &Question| {
            let recall = |of: &Mesh| of.observer.recall(question, at(seconds));
            let alone = Whole { parts: vec![Arc::new(recall(&one))], asked: Vec::new() };
            let parts = [recall(&halves[0]), over_the_wire(recall(&halves[1]))];
            (Whole { parts: parts.map(Arc::new).into(), asked: Vec::new() }, alone)
        };
        for name in ["web.shop", "api.shop"] {
            let (whole, alone) = ask(&Question {
                rows: Some(slots),
                steps: Some(chart::steps(name, 5, at(seconds))),
                sidecars: true,
                endpoints: true,
                open: true,
                failures_of: Some(name.to_owned()),
                ..Question::default()
            });
            let said = |of: &Whole| told(&one.observer, of, slots, name, seconds);
            for (merged, expected) in said(&whole).into_iter().zip(said(&alone)) {
                prop_assert_eq!(merged, expected);
            }
            prop_assert_eq!(said(&whole).len(), said(&alone).len());
        }
        let filter = Filter { limit: 50, failed: true, ..Filter::default() };
        let traces = Some(filter.clone());
        let (whole, alone) =
            ask(&Question { traces, spans: (1..6).collect(), ..Question::default() });
        prop_assert_eq!(traces_of(&whole, &filter).len(), traces_of(&alone, &filter).len());
        let summaries = |of: &Whole| traces::summaries(&of.spans(), &filter);
        for (merged, expected) in summaries(&whole).iter().zip(summaries(&alone)) {
            prop_assert_eq!(format!("{merged:?}"), format!("{expected:?}"));
        }
    }
}

#[test]
fn one_that_went_elsewhere_counts_where_it_came_last() {
    let id = SpiffeId::new(&TrustDomain::default(), "shop", "web").expect("a legal id");
    let sidecar = |name: &str, since_ms: i64| Sidecar {
        workload: name.into(),
        identity: id.clone(),
        since_ms,
        certificate_began_ms: 1,
        certificate_ends_ms: 2,
        is_behind: false,
        refused: None,
        ungoverned: Some("a fault".to_owned()),
        bundle: 2,
        acknowledges_bundles: true,
    };
    let teller = |at_ms, state| Teller {
        owner: id.as_str().into(),
        workload: "web-0.shop".into(),
        at_ms,
        services: vec![("api.shop:80".into(), [(([10, 0, 0, 1], 80).into(), state)].into())],
    };
    let part = |sidecars, tellers| Part { sidecars, tellers, connected: 2, ..Part::default() };
    let old = part(
        vec![sidecar("web-0.shop", 10), sidecar("web-1.shop", 30)],
        vec![teller(10, State::Ejected)],
    );
    let new = part(
        vec![sidecar("web-0.shop", 20), sidecar("web-2.shop", 5)],
        vec![teller(20, State::HalfOpen)],
    );
    for parts in [[old.clone(), over_the_wire(new.clone())], [new, over_the_wire(old)]] {
        let whole = Whole { parts: parts.map(Arc::new).into(), asked: Vec::new() };
        let connected = whole.sidecars();
        let names: Vec<(&str, i64)> =
            connected.iter().map(|of| (&*of.workload, of.since_ms)).collect();
        assert_eq!(names, [("web-0.shop", 20), ("web-1.shop", 30), ("web-2.shop", 5)]);
        assert_eq!(whole.worth().sidecars, 3);
        let tellers = whole.tellers();
        assert_eq!((tellers.len(), tellers[0].services[0].1[0].1), (1, State::HalfOpen));
    }
}
