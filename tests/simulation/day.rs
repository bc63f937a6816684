//! One day: its clock, its events, and what changes while requests are under way.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use outrigger::model::{Endpoint, Policy, Protocol, Service, ServiceName};
use outrigger::outbound::Backend;
use outrigger::retry::Budget;
use outrigger::runtime::clock::Rng;

use crate::account::Account;
use crate::request::Request;
use crate::whim::{self, Mood, one_in};

/// Requests of a day.
const REQUESTS: usize = 100;
/// Workers, each with a snapshot of its own.
const WORKERS: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    Arrive,
    /// An attempt ends.
    End {
        request: usize,
        attempt: u32,
    },
    /// Nothing was answered for long enough.
    Hedge {
        request: usize,
        round: u32,
    },
    Again {
        request: usize,
    },
    /// Its time is over, or its caller went away.
    Leave {
        request: usize,
    },
    /// Another policy, or other endpoints.
    Change,
    Mood,
}

/// How often what happened, so that nobody takes a quiet day for a good one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub requests: u64,
    pub answered: u64,
    pub shed: u64,
    pub retries: u64,
    pub hedges: u64,
    pub over_budget: u64,
    pub opened: u64,
    pub closed: u64,
    pub held_back: u64,
    pub probes: u64,
    pub needed: u64,
    pub given_up: u64,
}

impl Seen {
    pub fn all(self) -> [(&'static str, u64); 12] {
        let Seen { requests, answered, shed, retries, hedges, over_budget, .. } = self;
        let Seen { opened, closed, held_back, probes, needed, given_up, .. } = self;
        [
            ("requests", requests),
            ("answers", answered),
            ("requests without a place", shed),
            ("retries", retries),
            ("hedges", hedges),
            ("refusals of the budget", over_budget),
            ("circuits that opened", opened),
            ("circuits that closed", closed),
            ("ejections held back", held_back),
            ("probes", probes),
            ("attempts past a circuit", needed),
            ("attempts given up", given_up),
        ]
    }
}

impl std::ops::AddAssign for Seen {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.answered += other.answered;
        self.shed += other.shed;
        self.retries += other.retries;
        self.hedges += other.hedges;
        self.over_budget += other.over_budget;
        self.opened += other.opened;
        self.closed += other.closed;
        self.held_back += other.held_back;
        self.probes += other.probes;
        self.needed += other.needed;
        self.given_up += other.given_up;
    }
}

pub struct Day {
    pub rng: Rng,
    pub now_us: u64,
    pub account: Account,
    pub budget: Budget,
    /// The newest; workers hear of it late.
    pub backend: Arc<Backend>,
    pub workers: Vec<Arc<Backend>>,
    pub requests: Vec<Request>,
    pub seen: Seen,
    /// So many of the first requests hold nothing any more.
    ended: usize,
    /// All that ever were, so that none is left with something.
    endpoints: Vec<(Arc<Endpoint>, Mood)>,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    /// Events of one moment come in the order in which they were made.
    made: u64,
    speaks: bool,
}

impl Day {
    pub fn of(seed: u64, speaks: bool) -> Self {
        let mut rng = Rng::seeded(seed + 1);
        let policy = whim::policy(&mut rng);
        let endpoints: Vec<_> = (0..1 + rng.below(5))
            .map(|number| (whim::endpoint(&mut rng, number, 0), whim::mood(&mut rng)))
            .collect();
        let budget = Budget::new(policy.retry.budget);
        let all = endpoints.iter().map(|(endpoint, _)| Arc::clone(endpoint)).collect();
        let backend = Arc::new(Backend::new(&service(all, policy), Some("a"), None));
        backend.balancer.begin_at(seed);
        let mut day = Self {
            rng,
            now_us: 1_000_000,
            account: Account::default(),
            budget,
            workers: vec![Arc::clone(&backend); WORKERS],
            backend,
            requests: Vec::new(),
            seen: Seen::default(),
            ended: 0,
            endpoints,
            events: BinaryHeap::new(),
            made: 0,
            speaks,
        };
        day.say(format_args!("{:#?}", day.backend.policy()));
        day.later(0, Event::Arrive);
        day.later(300_000, Event::Mood);
        day.later(2_000_000, Event::Change);
        day
    }

    pub fn later(&mut self, after_us: u64, event: Event) {
        self.made += 1;
        self.events.push(Reverse((self.now_us + after_us, self.made, event)));
    }

    pub fn say(&self, what: std::fmt::Arguments<'_>) {
        if self.speaks {
            eprintln!("{:>10} {what}", self.now_us);
        }
    }

    /// Until nothing happens any more.
    pub fn run(mut self) -> Seen {
        while let Some(Reverse((at_us, _, event))) = self.events.pop() {
            self.now_us = at_us;
            self.say(format_args!("{event:?}"));
            let is_over = self.requests.len() >= REQUESTS;
            match event {
                Event::Arrive if is_over => {}
                Event::Arrive => {
                    self.arrive();
                    let gap = if one_in(&mut self.rng, 20) { 2_000_000 } else { 60_000 };
                    let gap = self.rng.below(gap) as u64;
                    self.later(gap, Event::Arrive);
                }
                Event::Mood if is_over => {}
                Event::Mood => {
                    let at = self.rng.below(self.endpoints.len());
                    self.endpoints[at].1 = whim::mood(&mut self.rng);
                    let pause = self.rng.below(600_000) as u64;
                    self.later(pause, Event::Mood);
                }
                Event::Change if is_over => {}
                Event::Change => {
                    self.change();
                    let pause = self.rng.below(6_000_000) as u64;
                    self.later(pause, Event::Change);
                }
                Event::End { request, attempt } => self.end(request, attempt),
                Event::Hedge { request, round } => self.hedge(request, round),
                Event::Again { request } => self.again(request),
                Event::Leave { request } => self.leave(request),
            }
            self.hold();
        }
        self.rest();
        self.seen
    }

    pub fn mood(&self, endpoint: &Endpoint) -> Mood {
        let known = self.endpoints.iter().find(|(of, _)| of.slot == endpoint.slot);
        known.map_or(Mood::Away, |(_, mood)| *mood)
    }

    fn change(&mut self) {
        let mut all = self.backend.service.endpoints.clone();
        match self.rng.below(4) {
            0 if all.len() > 1 => drop(all.remove(self.rng.below(all.len()))),
            1 => {
                let new = whim::endpoint(&mut self.rng, self.endpoints.len(), self.now_us);
                self.endpoints.push((Arc::clone(&new), Mood::Well));
                all.push(new);
            }
            // One that was away is back, with what is known of it.
            2 => {
                let old = &self.endpoints[self.rng.below(self.endpoints.len())].0;
                let zone = one_in(&mut self.rng, 2).then(|| "a".into());
                if !all.iter().any(|of| of.slot == old.slot) {
                    all.push(Arc::new(old.described(None, zone, 1)));
                }
            }
            _ => {}
        }
        let policy = match one_in(&mut self.rng, 2) {
            true => whim::policy(&mut self.rng),
            false => self.backend.policy().clone(),
        };
        self.say(format_args!("{} endpoints, {policy:#?}", all.len()));
        self.budget.retune(policy.retry.budget);
        let before = Some(&*self.backend);
        self.backend = Arc::new(Backend::new(&service(all, policy), Some("a"), before));
    }

    /// What holds after every event.
    fn hold(&mut self) {
        let mut backends: Vec<_> = self.workers.iter().chain([&self.backend]).collect();
        backends.dedup_by(|a, b| Arc::ptr_eq(a, b));
        for backend in backends {
            for endpoint in &backend.service.endpoints {
                self.account.agrees(endpoint, &backend.policy().circuit, self.now_us);
            }
        }
        let (mut open, mut connections) = (0, 0);
        let is_over = |request: &Request| request.is_over();
        self.ended += self.requests[self.ended..].iter().take_while(|of| is_over(of)).count();
        for request in &self.requests[self.ended..] {
            open += u32::from(request.has_place());
            connections += request.connections();
        }
        let facts = self.backend.bulkhead.facts();
        assert_eq!((facts.requests, facts.connections, facts.pending), (open, connections, 0));
    }

    /// What holds in the end.
    fn rest(&self) {
        for request in &self.requests {
            assert!(request.is_over(), "a request never ended");
        }
        for (endpoint, _) in &self.endpoints {
            let circuit = &self.backend.policy().circuit;
            self.account.agrees(endpoint, circuit, self.now_us);
            let much_later = self.now_us + 3_600_000_000;
            assert!(
                outrigger::circuit::is_ready(&endpoint.health, circuit, much_later),
                "an endpoint is lost for good"
            );
        }
    }
}

fn service(endpoints: Vec<Arc<Endpoint>>, policy: Policy) -> Arc<Service> {
    Arc::new(Service {
        name: ServiceName::new("web", "default", 80).expect("a name"),
        protocol: Protocol::Http,
        endpoints,
        policy: Arc::new(policy),
        routes: Vec::new(),
        conflicts: Vec::new(),
    })
}
