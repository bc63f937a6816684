//! What a request for a service falls under: its rules, compiled, with the backends they send to.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use super::backend::Backend;
use super::fault::Faults;
use crate::http::respond::Failure;
use crate::model::{self, HashOn, Policy, Reason, RetryBudget, ServiceName, Share};
use crate::retry::Budget;
use crate::route::{Filters, Table, Weights};

/// The backends of one picture of the mesh.
pub type Backends = HashMap<ServiceName, Arc<Backend>>;

/// One service port, ready to be asked for.
#[derive(Debug)]
pub struct Target {
    /// The service's own endpoints.
    pub backend: Arc<Backend>,
    /// Shared by snapshots whose rules are the same.
    pub table: Arc<Table>,
    /// In the order that the table counts in.
    pub rules: Vec<Rule>,
    /// Of the rules whose policy is the service's in that.
    pub budget: Arc<Budget>,
    /// Set by whoever takes an endpoint of it, cleared by whoever asks.
    pub used: AtomicBool,
}

/// What is done with the requests of one rule.
#[derive(Debug)]
pub struct Rule {
    /// What metrics, logs and pages call it.
    pub name: Arc<str>,
    pub policy: Arc<Policy>,
    pub filters: Filters,
    pub mirrors: Vec<Mirror>,
    pub weights: Weights,
    /// In the order of the weights.
    pub takers: Vec<Taker>,
    pub budget: Arc<Budget>,
    pub fallback: Option<Fallback>,
    pub faults: Option<Arc<Faults>>,
}

/// A backend that takes a share of a rule's requests.
#[derive(Debug)]
pub struct Taker {
    pub name: ServiceName,
    pub weight: u32,
    /// `None`: the mesh has no such service.
    pub backend: Option<Arc<Backend>>,
    pub filters: Filters,
    pub mirrors: Vec<Mirror>,
}

/// Where copies of some requests go.
#[derive(Debug)]
pub struct Mirror {
    pub backend: Arc<Backend>,
    pub share: Share,
}

/// What answers when the rule's backends can't.
#[derive(Debug)]
pub enum Fallback {
    /// `None`: the mesh has no such service.
    Service(Option<Arc<Backend>>),
    Response(model::Fallback),
}

impl Target {
    /// `backends` are those of the same picture; `before` is the target of the snapshot before.
    pub fn new(backend: &Arc<Backend>, backends: &Backends, before: Option<&Target>) -> Self {
        let routes = &backend.service.routes;
        let same = before.filter(|before| before.table.is_of(routes));
        let table = same.map_or_else(|| Arc::new(Table::compile(routes)), |b| Arc::clone(&b.table));
        let budget = budget(backend.policy().retry.budget, before.map(|before| &before.budget));
        let compile = |rule: &Arc<model::Rule>| {
            let of_rule = if rule.policy.retry.budget == backend.policy().retry.budget {
                Arc::clone(&budget)
            } else {
                self::budget(
                    rule.policy.retry.budget,
                    before.and_then(|b| b.own_budget(&rule.name)),
                )
            };
            Rule::compile(rule, backends, of_rule, before.and_then(|b| b.rule(&rule.name)))
        };
        let rules = match routes[..] {
            [] => {
                let before = before.and_then(|before| before.rule("default"));
                vec![Rule::own(backend, backends, Arc::clone(&budget), before)]
            }
            _ => routes.iter().map(compile).collect(),
        };
        let used = AtomicBool::new(before.is_some_and(|before| before.used.load(Relaxed)));
        Self { backend: Arc::clone(backend), table, rules, budget, used }
    }

    fn rule(&self, name: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| *rule.name == *name)
    }

    /// The budget of a rule that doesn't share the service's.
    fn own_budget(&self, name: &str) -> Option<&Arc<Budget>> {
        Some(&self.rule(name)?.budget).filter(|budget| !Arc::ptr_eq(budget, &self.budget))
    }

    /// Keeps it from being let go as unused.
    pub fn touch(&self) {
        // Read first: a write would take the line from the other workers.
        if !self.used.load(Relaxed) {
            self.used.store(true, Relaxed);
        }
    }
}

impl Rule {
    /// The rule of a service that no route names: everything to its own endpoints.
    fn own(
        backend: &Arc<Backend>,
        backends: &Backends,
        budget: Arc<Budget>,
        before: Option<&Rule>,
    ) -> Self {
        let policy = &backend.service.policy;
        let taker = Taker {
            name: backend.service.name.clone(),
            weight: 1,
            backend: Some(Arc::clone(backend)),
            filters: Filters::compile(&[]),
            mirrors: Vec::new(),
        };
        Self {
            name: "default".into(),
            policy: Arc::clone(policy),
            filters: Filters::compile(&[]),
            mirrors: Vec::new(),
            weights: Weights::new(&[1]),
            takers: vec![taker],
            budget,
            fallback: fallback(policy, backends),
            faults: faults(policy, before),
        }
    }

    fn compile(
        rule: &model::Rule,
        backends: &Backends,
        budget: Arc<Budget>,
        before: Option<&Rule>,
    ) -> Self {
        let filters = Filters::compile(&rule.filters);
        let weights: Vec<u32> = rule.backends.iter().map(|backend| backend.weight).collect();
        Self {
            name: Arc::clone(&rule.name),
            policy: Arc::clone(&rule.policy),
            mirrors: mirrors(&filters, backends),
            filters,
            weights: Weights::new(&weights),
            takers: rule.backends.iter().map(|backend| Taker::new(backend, backends)).collect(),
            budget,
            fallback: fallback(&rule.policy, backends),
            faults: faults(&rule.policy, before),
        }
    }
}

impl Rule {
    /// It has no backend that takes anything.
    pub fn no_backend(&self) -> Failure {
        Failure::new(Reason::NoBackends, format!("the route {} has no backend", self.name))
    }

    /// One of its backends is not there.
    pub fn no_service(&self, taker: &Taker) -> Failure {
        let sentence = format!(
            "the route {} sends to {}, which is no service of the mesh",
            self.name, taker.name
        );
        Failure::new(Reason::NoBackends, sentence)
    }

    /// What of a request chooses among its backends, instead of their turn.
    pub fn hash_on(&self) -> Option<&HashOn> {
        self.policy.balancing.policy.hash_on().filter(|_| self.takers.len() > 1)
    }

    /// The backend that a key goes to, by its hash.
    pub fn share_of(&self, hash: u64) -> Option<usize> {
        // Mixed once more, so that it says nothing about the key's place among the endpoints.
        self.weights.by_hash(hash.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }
}

impl Taker {
    fn new(from: &model::Backend, backends: &Backends) -> Self {
        let filters = Filters::compile(&from.filters);
        Self {
            name: from.service.clone(),
            weight: from.weight,
            backend: backends.get(&from.service).cloned(),
            mirrors: mirrors(&filters, backends),
            filters,
        }
    }
}

/// The one before goes on with its counts.
fn budget(wanted: RetryBudget, before: Option<&Arc<Budget>>) -> Arc<Budget> {
    match before {
        Some(before) => {
            before.retune(wanted);
            Arc::clone(before)
        }
        None => Arc::new(Budget::new(wanted)),
    }
}

/// The same faults are compiled once.
fn faults(policy: &Policy, before: Option<&Rule>) -> Option<Arc<Faults>> {
    let same = before.filter(|before| before.policy.fault == policy.fault);
    match same {
        Some(before) => before.faults.clone(),
        None => policy.fault.as_ref().and_then(Faults::compile).map(Arc::new),
    }
}

/// Copies for a service that is not there go nowhere.
fn mirrors(filters: &Filters, backends: &Backends) -> Vec<Mirror> {
    let known = |mirror: &model::Mirror| {
        let backend = Arc::clone(backends.get(&mirror.service)?);
        Some(Mirror { backend, share: mirror.share })
    };
    filters.mirrors().iter().filter_map(known).collect()
}

fn fallback(policy: &Policy, backends: &Backends) -> Option<Fallback> {
    Some(match policy.fallback.as_ref()? {
        model::Fallback::Service(name) => Fallback::Service(backends.get(name).cloned()),
        response @ model::Fallback::Response { .. } => Fallback::Response(response.clone()),
    })
}
