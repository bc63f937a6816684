//! An adaptive gate before a simulated service: a few servers with one queue, given moments.
//!
//! Callers come at random, faster than the service can answer, and go away when they are shed.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use tokio::sync::oneshot;

use super::*;
use crate::runtime::clock::Rng;

/// A service that answers so many at once, each in so long.
struct Service {
    servers: usize,
    /// From each moment on, in microseconds.
    takes_us: Vec<(u64, u64)>,
    varies: Varies,
}

/// How answers differ from each other.
#[derive(Clone, Copy, Debug)]
enum Varies {
    /// Between half as long and half as long again.
    Evenly,
    /// Most are quick and a few take long: the 99th percentile of the service alone is 4.6 means.
    Exponentially,
}

impl Varies {
    fn by(self, rng: &mut Rng) -> f64 {
        match self {
            Varies::Evenly => 0.5 + rng.unit(),
            Varies::Exponentially => -rng.unit().max(1e-9).ln(),
        }
    }
}

struct Load {
    /// Requests a second, from each moment on.
    rate: Vec<(u64, f64)>,
    for_us: u64,
}

/// An answer: when it came, and how long the caller waited, in microseconds.
type Answer = (u64, u64);

struct Run {
    answers: Vec<Answer>,
    gate: Arc<Gate>,
    /// Each tenth of a second.
    limits: Vec<u32>,
}

struct Request {
    came_us: u64,
    ticket: Ticket,
}

fn at<T: Copy>(steps: &[(u64, T)], now_us: u64) -> T {
    steps.iter().rev().find(|(from, _)| *from <= now_us).expect("the first is at 0").1
}

fn run(service: &Service, load: &Load, most: Most) -> Run {
    let (gate, _) = gate(most);
    let mut rng = Rng::seeded(7);
    let mut waiting: Vec<(u64, oneshot::Receiver<Ticket>)> = Vec::new();
    let mut queue: VecDeque<Request> = VecDeque::new();
    let mut busy: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    let mut under_way: Vec<Option<Request>> = Vec::new();
    let (mut answers, mut limits, mut next_look) = (Vec::new(), Vec::new(), 0);
    let mut next_us = 1;
    loop {
        let done_us = busy.peek().map(|Reverse((at, _))| *at);
        let now_us = done_us.map_or(next_us, |done| done.min(next_us));
        if now_us > load.for_us {
            return Run { answers, gate, limits };
        }
        if now_us >= next_look {
            limits.push(gate.limit());
            next_look += 100_000;
        }
        if done_us == Some(now_us) {
            let Some(Reverse((_, at))) = busy.pop() else { continue };
            let request = under_way[at].take().expect("it is under way");
            request.ticket.answered(now_us);
            answers.push((now_us, now_us - request.came_us));
        } else {
            let pause = -rng.unit().max(1e-9).ln() * 1e6 / at(&load.rate, now_us);
            next_us = now_us + (pause as u64).max(1);
            match gate.enter(Priority::Normal, now_us) {
                Ok(Entered::In(ticket)) => queue.push_back(Request { came_us: now_us, ticket }),
                Ok(Entered::Waits(place)) => waiting.push((now_us, place)),
                Err(_) => {}
            }
        }
        waiting.retain_mut(|(came_us, place)| match place.try_recv() {
            Ok(mut ticket) => {
                ticket.begin(now_us);
                queue.push_back(Request { came_us: *came_us, ticket });
                false
            }
            Err(oneshot::error::TryRecvError::Closed) => false,
            Err(oneshot::error::TryRecvError::Empty) => true,
        });
        while busy.len() < service.servers {
            let Some(request) = queue.pop_front() else { break };
            let takes = (at(&service.takes_us, now_us) as f64 * service.varies.by(&mut rng)) as u64;
            let free = under_way.iter().position(Option::is_none);
            let slot = free.unwrap_or_else(|| {
                under_way.push(None);
                under_way.len() - 1
            });
            under_way[slot] = Some(request);
            busy.push(Reverse((now_us + takes, slot)));
        }
    }
}

const SECOND: u64 = 1_000_000;
const ADAPTIVE: Most = Most::Adaptive { min: 4, max: 2_000 };

impl Run {
    /// Answers a second, and the 99th percentile of how long callers waited, of a span of time.
    fn within(&self, from: u64, to: u64) -> (f64, u64) {
        let within = self.answers.iter().filter(|(at, _)| (from..to).contains(at));
        let mut waited: Vec<u64> = within.map(|(_, waited)| *waited).collect();
        waited.sort_unstable();
        let p99 = waited.get(waited.len() * 99 / 100).copied().unwrap_or(u64::MAX);
        (waited.len() as f64 * 1e6 / (to - from) as f64, p99)
    }
}

/// 40 at once, 20 ms each: 2,000 a second.
fn steady() -> Service {
    Service { servers: 40, takes_us: vec![(0, 20_000)], varies: Varies::Evenly }
}

#[test]
fn a_service_that_is_busy_but_well_sheds_nobody() {
    let load = Load { rate: vec![(0, 1_200.0)], for_us: 20 * SECOND };
    let run = run(&steady(), &load, ADAPTIVE);
    let (rate, p99) = run.within(3 * SECOND, 20 * SECOND);
    assert!(rate > 1_200.0 * 0.99, "{rate} a second");
    assert!(p99 < 60_000, "{p99} us");
}

#[test]
fn three_times_as_many_as_it_can_answer_leave_it_as_busy_and_nobody_waits_long() {
    let services = [(40, 20_000), (4, 2_000), (200, 50_000), (8, 100_000)];
    let each =
        services.iter().flat_map(|of| [(of, Varies::Evenly, 5), (of, Varies::Exponentially, 9)]);
    for (&(servers, takes_us), varies, times) in each {
        let service = Service { servers, takes_us: vec![(0, takes_us)], varies };
        let capacity = servers as f64 * 1e6 / takes_us as f64;
        let load = Load { rate: vec![(0, 3.0 * capacity)], for_us: 60 * SECOND };
        let run = run(&service, &load, ADAPTIVE);
        let (rate, p99) = run.within(5 * SECOND, 60 * SECOND);
        println!(
            "{servers} at once, {takes_us} us {varies:?}: {rate:.0} of {capacity:.0} a second, p99 {p99} us, \
             limit {:?}",
            run.gate.facts()
        );
        assert!(rate >= 0.9 * capacity, "{rate} of {capacity} a second; {:?}", run.limits);
        assert!(p99 <= times * takes_us, "p99 is {p99} us; {:?}", run.limits);
        let (late, late_p99) = run.within(45 * SECOND, 60 * SECOND);
        assert!(
            late >= 0.9 * capacity && late_p99 <= times * takes_us,
            "it drifts: {late} {late_p99}"
        );
    }
}

#[test]
fn a_service_that_becomes_slow_and_well_again_is_followed_within_seconds() {
    let (slow, well) = (20 * SECOND, 40 * SECOND);
    let service =
        Service { takes_us: vec![(0, 20_000), (slow, 80_000), (well, 20_000)], ..steady() };
    let load = Load { rate: vec![(0, 6_000.0)], for_us: 60 * SECOND };
    let run = run(&service, &load, ADAPTIVE);
    for (from, to, capacity, takes_us) in [
        (5 * SECOND, slow, 2_000.0, 20_000),
        (slow + 5 * SECOND, well, 500.0, 80_000),
        (well + 5 * SECOND, 60 * SECOND, 2_000.0, 20_000),
    ] {
        let (rate, p99) = run.within(from, to);
        println!("from {from}: {rate:.0} of {capacity} a second, p99 {p99} us");
        assert!(rate >= 0.9 * capacity, "{rate} of {capacity} from {from}; {:?}", run.limits);
        assert!(p99 <= 6 * takes_us, "p99 is {p99} us from {from}; {:?}", run.limits);
    }
}

#[test]
fn a_crowd_that_leaves_leaves_nothing_behind() {
    let rate = vec![(0, 1_000.0), (10 * SECOND, 6_000.0), (30 * SECOND, 1_000.0)];
    let run = run(&steady(), &Load { rate, for_us: 45 * SECOND }, ADAPTIVE);
    let (during, _) = run.within(15 * SECOND, 30 * SECOND);
    let (after, p99) = run.within(35 * SECOND, 45 * SECOND);
    assert!(during >= 0.9 * 2_000.0 && after >= 0.98 * 1_000.0, "{during} {after}");
    assert!(p99 < 60_000, "{p99} us");
}
