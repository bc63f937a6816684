//! One service's choice, compiled: its policy, its pools, its tables.

use std::sync::Arc;

use super::affinity::{Affinity, Method};
use super::candidates::{Ask, Candidates};
use super::p2c::{Cost, two_choices};
use super::pool::Pool;
use super::zone;
use crate::model::{Balancing, BalancingPolicy, Endpoint, HashOn};
use crate::runtime::clock::{Rng, as_us};

/// What one service's choice needs, compiled when a snapshot is built.
#[derive(Debug)]
pub struct Balancer {
    rule: Rule,
    hash_on: Option<HashOn>,
    /// Who is asked first: the endpoints of our zone, or all where no zone is preferred.
    near: Pool,
    /// The others.
    far: Pool,
    /// For each endpoint, whether it is in our zone.
    local: Box<[bool]>,
    warmup_us: Option<u64>,
    panic_threshold: Option<u8>,
}

#[derive(Debug)]
enum Rule {
    Cheaper(Cost),
    InTurn,
    Random,
    Affinity(Arc<Affinity>),
}

impl Balancer {
    /// Compiles the choice among `endpoints` for a sidecar in `zone`. `before` is the balancer of
    /// the same service in the snapshot before: whose turn it is goes on, and tables of the same
    /// endpoints are shared.
    pub fn compile(
        policy: &Balancing,
        endpoints: &[Arc<Endpoint>],
        zone: Option<&str>,
        before: Option<&Balancer>,
    ) -> Self {
        let in_zone = |endpoint: &Arc<Endpoint>| zone.is_some() && endpoint.zone.as_deref() == zone;
        let local: Box<[bool]> = endpoints.iter().map(in_zone).collect();
        let hash_on = policy.policy.hash_on().cloned();
        // A key must not move with the zone of who asks.
        let splits = policy.prefers_zone && hash_on.is_none() && local.contains(&true);
        let (near, far) =
            (0..endpoints.len() as u32).partition(|&index| !splits || local[index as usize]);
        Self {
            rule: Rule::compile(&policy.policy, endpoints, before.map(|before| &before.rule)),
            // A key must not move with an endpoint's age either.
            warmup_us: policy.warmup.map(as_us).filter(|_| hash_on.is_none()),
            hash_on,
            near: Pool::new(near, endpoints, before.map(|before| &before.near)),
            far: Pool::new(far, endpoints, before.map(|before| &before.far)),
            local,
            panic_threshold: policy.panic_threshold,
        }
    }

    /// The endpoint for the next attempt, of the `endpoints` that this was compiled for. `ready`
    /// says whether an endpoint's circuit would let it through now; one that was tried is chosen
    /// when nothing else is left. None: no endpoint may be used.
    pub fn pick<'a>(
        &self,
        endpoints: &'a [Arc<Endpoint>],
        ask: Ask<'_>,
        ready: impl Fn(&Endpoint) -> bool,
        rng: &mut Rng,
    ) -> Option<&'a Arc<Endpoint>> {
        let panics = self.is_panicking(endpoints, &ready);
        self.pick_among(endpoints, ask, |endpoint| panics || ready(endpoint), rng)
    }

    /// The same, however few are `ready`.
    pub fn pick_among<'a>(
        &self,
        endpoints: &'a [Arc<Endpoint>],
        ask: Ask<'_>,
        ready: impl Fn(&Endpoint) -> bool,
        rng: &mut Rng,
    ) -> Option<&'a Arc<Endpoint>> {
        if let [only] = endpoints {
            return ready(only).then_some(only);
        }
        let candidates = Candidates { endpoints, ask, ready: &ready, warmup_us: self.warmup_us };
        let chosen = self.choose(&candidates, rng);
        if chosen.is_some() || ask.tried.is_empty() {
            return chosen;
        }
        let again = Ask { tried: &[], ..ask };
        self.choose(&Candidates { ask: again, ..candidates }, rng)
    }

    /// Whose turn it is, where they take turns; otherwise it begins anywhere.
    pub fn begin_at(&self, turn: u64) {
        self.near.begin_at(turn);
        self.far.begin_at(turn);
    }

    /// What is hashed, where something is.
    pub fn hash_on(&self) -> Option<&HashOn> {
        self.hash_on.as_ref()
    }

    /// True while so few endpoints are ready that circuits are ignored: those that are left would
    /// only be overrun, and so many circuits rarely open for a fault of the endpoints.
    pub fn is_panicking(
        &self,
        endpoints: &[Arc<Endpoint>],
        ready: impl Fn(&Endpoint) -> bool,
    ) -> bool {
        let Some(percent) = self.panic_threshold else { return false };
        let needed = (endpoints.len() * usize::from(percent)).div_ceil(100);
        // Looks no further than it must.
        endpoints.iter().filter(|endpoint| ready(endpoint)).take(needed).count() < needed
    }

    /// Whether the endpoint with this index is in our zone.
    pub fn is_local(&self, index: usize) -> bool {
        self.local.get(index).is_some_and(|&local| local)
    }

    fn choose<'a, R: Fn(&Endpoint) -> bool>(
        &self,
        candidates: &Candidates<'a, '_, R>,
        rng: &mut Rng,
    ) -> Option<&'a Arc<Endpoint>> {
        if let (Rule::Affinity(table), Some(hash)) = (&self.rule, candidates.ask.hash) {
            return table.pick(hash, candidates);
        }
        if self.far.is_empty() {
            return self.rule.choose(&self.near, candidates, rng);
        }
        if !zone::stays(&self.near, candidates, rng) {
            let elsewhere = self.rule.choose(&self.far, candidates, rng);
            return elsewhere.or_else(|| self.rule.choose(&self.near, candidates, rng));
        }
        let here = self.rule.choose(&self.near, candidates, rng);
        let mut elsewhere = || self.rule.choose(&self.far, candidates, rng);
        match (here, &self.rule) {
            (None, _) => elsewhere(),
            (Some(here), Rule::Cheaper(cost)) => {
                Some(zone::relieve(here, elsewhere, cost, candidates))
            }
            (here, _) => here,
        }
    }
}

impl Rule {
    fn compile(
        policy: &BalancingPolicy,
        endpoints: &[Arc<Endpoint>],
        before: Option<&Rule>,
    ) -> Self {
        let table = match before {
            Some(Rule::Affinity(table)) => Some(table),
            _ => None,
        };
        let affinity = |method| Rule::Affinity(Affinity::compile(method, endpoints, table));
        match policy {
            BalancingPolicy::PeakEwma => Rule::Cheaper(Cost::new(true, endpoints)),
            BalancingPolicy::LeastRequest => Rule::Cheaper(Cost::new(false, endpoints)),
            BalancingPolicy::RoundRobin => Rule::InTurn,
            BalancingPolicy::Random => Rule::Random,
            BalancingPolicy::RingHash(_) => affinity(Method::Ring),
            BalancingPolicy::Maglev(_) => affinity(Method::Maglev),
        }
    }

    fn choose<'a, R: Fn(&Endpoint) -> bool>(
        &self,
        pool: &Pool,
        candidates: &Candidates<'a, '_, R>,
        rng: &mut Rng,
    ) -> Option<&'a Arc<Endpoint>> {
        match self {
            Rule::Cheaper(cost) => two_choices(pool, cost, candidates, rng),
            Rule::InTurn => pool.in_turn(candidates, rng),
            // Hashing comes here with a request that has no key.
            Rule::Random | Rule::Affinity(_) => pool.random(candidates, rng),
        }
    }
}
