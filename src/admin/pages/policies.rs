//! What holds for each service, and for each rule that differs: every part, who says it, and what
//! it comes to at the moment. And what holds for the workload's own callers.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{limits, targets, tokens, told, written};
use crate::access::{self, AtPort, Said};
use crate::admin::view::View;
use crate::model::{Conflict, Part, Policy};
use crate::outbound::{Backend, Rule, Snapshot, Target};
use crate::retry::{Budget, BudgetFacts};
use crate::runtime::clock;

pub fn policies(view: &View) -> Value {
    let mut page = policies_of(&view.snapshot.load(), clock::now_us());
    page["inbound"] = inbound(&view.access.newest());
    page["limits"] = limits::limits(&view.rates, &view.gates);
    told(view, page)
}

/// What holds for the workload's own callers, at each port of the app that is named, and at all
/// others. `from` is of `mtls`.
fn inbound(policy: &access::Policy) -> Value {
    let row = |(port, at): (Option<u16>, &AtPort)| {
        let rules = at.rules().map(|(action, place)| {
            json!({
                "action": action.as_str(),
                "policy": &*place.policy.title,
                "rule": place.nth,
            })
        });
        json!({
            "port": port.map_or(json!("*"), Value::from),
            "mtls": at.mtls.says.as_str(),
            "from": from(&at.mtls),
            "mode": {"says": at.mode.says.as_str(), "from": from(&at.mode)},
            "default": {"says": at.default.says.as_str(), "from": from(&at.default)},
            "audit": {"says": at.audit.says.as_str(), "from": from(&at.audit)},
            "rules": rules.collect::<Vec<_>>(),
            "pathsNormalised": at.has_paths(),
            "tokens": at.intake().map_or_else(Vec::new, tokens::issuers),
            "apiKeys": at.intake().map_or_else(Vec::new, tokens::keys),
        })
    };
    policy.ports().map(row).collect()
}

fn from<T>(said: &Said<T>) -> String {
    let of = |policy: &access::Named| format!("AccessPolicy {}", policy.title);
    said.by.as_ref().map_or("default".to_owned(), of)
}

pub(super) fn policies_of(snapshot: &Snapshot, now_us: u64) -> Value {
    let of = |target: &Target| {
        let rules = target.rules.iter().filter_map(|rule| of_rule(target, rule, now_us));
        let service = json!({
            "service": &*target.backend.label,
            "rule": null,
            "conflicts": target.backend.service.conflicts.iter().map(conflict).collect::<Vec<_>>(),
            "parts": written::parts(target.backend.policy(), &Part::ALL),
            "now": {
                "retryBudget": budget(&target.budget, now_us),
                "limits": in_use(&target.backend),
                "panicking": target.backend.is_panicking(now_us),
            },
        });
        std::iter::once(service).chain(rules).collect::<Vec<Value>>()
    };
    let policies: Vec<Value> = targets(snapshot).into_iter().flat_map(of).collect();
    json!({"version": snapshot.version, "policies": policies})
}

fn conflict(Conflict { resource, with }: &Conflict) -> Value {
    json!({"resource": &**resource, "status": "Conflicted", "with": &**with})
}

/// What differs from the service's, if anything does.
fn of_rule(target: &Target, rule: &Rule, now_us: u64) -> Option<Value> {
    let service = target.backend.policy();
    let (all, ours) =
        (written::parts(service, &Part::ALL), written::parts(&rule.policy, &Part::ALL));
    let parts: serde_json::Map<String, Value> =
        ours.into_iter().filter(|(name, says)| all.get(name) != Some(says)).collect();
    let own_budget = !Arc::ptr_eq(&rule.budget, &target.budget);
    (!parts.is_empty() || own_budget).then(|| {
        let now = own_budget.then(|| json!({"retryBudget": budget(&rule.budget, now_us)}));
        json!({
            "service": &*target.backend.label,
            "rule": &*rule.name,
            "parts": parts,
            "now": now.unwrap_or_else(|| json!({})),
        })
    })
}

/// Of the last ten seconds.
fn budget(budget: &Budget, now_us: u64) -> Value {
    let BudgetFacts { requests, retries, allowed } = budget.facts(now_us);
    json!({"requests": requests, "retries": retries, "allowed": allowed})
}

fn in_use(backend: &Backend) -> Value {
    let facts = backend.bulkhead.facts();
    let of = |used: u32, most: u32| json!({"inUse": used, "most": most});
    json!({
        "requests": of(facts.requests, facts.limits.max_requests),
        "pending": of(facts.pending, facts.limits.max_pending_requests),
        "connections": of(facts.connections, facts.limits.max_connections),
    })
}

/// The resources that say parts of a policy, each with what it says.
pub(super) fn said(policy: &Policy, of: &[Part]) -> Vec<(String, Vec<&'static str>)> {
    let mut said: Vec<(String, Vec<&'static str>)> = Vec::new();
    for part in of.iter().filter(|part| policy.origins.of(**part).is_some()) {
        let from = written::origin(policy, *part);
        match said.iter_mut().find(|(name, _)| name == from) {
            Some((_, parts)) => parts.push(part.as_str()),
            None => said.push((from.to_owned(), vec![part.as_str()])),
        }
    }
    said
}
