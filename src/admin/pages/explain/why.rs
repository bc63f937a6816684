//! The explanation in sentences, in the order in which things are decided.

use std::time::Duration;

use http::request::Parts;
use serde_json::{Value, json};

use super::{percent, rules};
use crate::admin::pages::policies::said;
use crate::admin::pages::written::{OF_BACKENDS, OF_RULES};
use crate::circuit;
use crate::model::{
    AbortWith, CircuitState, Endpoint, Fallback, Fault, Policy, Reason, ServiceName,
};
use crate::outbound::explain::{Chosen, Considered, Explained, Outcome, Sent, Took, considered};
use crate::outbound::{Backend, Rule, Snapshot, Target};
use crate::resources::nearest;

/// The outcome of a request for a service that the picture does not have.
pub fn missing(service: &ServiceName, known: bool) -> Value {
    let sentence = format!("the mesh has no service {service}");
    match known {
        true => json!({"refused": {"reason": "no-route", "status": 404, "sentence": sentence}}),
        false => json!({"unknown": {"sentence":
            format!("nobody has asked about {service} yet")}}),
    }
}

pub fn unknown(snapshot: &Snapshot, service: &ServiceName, known: bool) -> Vec<String> {
    let mut why = Vec::new();
    if !known {
        why.push(format!("this sidecar was not told of {service}"));
        why.push(
            "the control plane will be asked on first use, and the request waits for its answer"
                .to_owned(),
        );
        why.extend(meant(snapshot, service));
        return why;
    }
    why.push(format!("this sidecar was told that there is no service {service}"));
    let near = |other: &&ServiceName| other.name == service.name;
    let mut others: Vec<String> =
        snapshot.targets.keys().filter(near).map(ToString::to_string).collect();
    others.sort();
    if !others.is_empty() {
        why.push(format!("there is {}", others.join(" and ")));
    } else {
        why.extend(meant(snapshot, service));
    }
    why.push(
        "a request that is sent to an address which no service has follows `outbound.unknown`"
            .to_owned(),
    );
    why
}

/// The service that a slip of the finger may have missed.
fn meant(snapshot: &Snapshot, service: &ServiceName) -> Option<String> {
    let known: Vec<String> = snapshot.targets.keys().map(ToString::to_string).collect();
    let near = nearest(&service.to_string(), known.iter().map(String::as_str))?;
    Some(format!("did you mean {near}?"))
}

/// All about a request for a service that there is.
pub fn why(target: &Target, explained: &Explained, parts: &Parts, now_us: u64) -> Vec<String> {
    let mut why = of_rules(target, explained.rule, parts);
    let rule = explained.rule.map(|chosen| &target.rules[chosen.index]);
    match (&explained.outcome, rule) {
        (Outcome::Refused(refused), _) if refused.reset => {
            why.push(format!("it is not sent: {}", refused.reason));
        }
        (Outcome::Refused(refused), rule) => {
            why.push(format!("it is not sent: {} ({})", refused.sentence, refused.reason));
            if refused.reason == Reason::CircuitOpen {
                why.extend(rule.into_iter().flat_map(|rule| all_open(rule, now_us)));
            }
        }
        (Outcome::Answered { status, .. }, _) => {
            why.push(format!("a filter of the rule answers with {status}; nothing is sent"));
        }
        (Outcome::Sent(sent), Some(rule)) => of_sent(&mut why, sent, rule, now_us),
        (Outcome::Sent(_), None) => {}
    }
    why.extend(rule.map(|rule| origins(&rule.policy, &OF_RULES, "")));
    why
}

/// Which rule takes it, and what keeps it from the others.
fn of_rules(target: &Target, chosen: Option<Chosen>, parts: &Parts) -> Vec<String> {
    let label = &target.backend.label;
    let rules = target.table.rules();
    if target.table.is_default() {
        return vec![format!("no route is about {label}: requests go to its own endpoints")];
    }
    let all = considered(target, parts);
    let Some(chosen) = chosen else {
        let misses = all.iter().map(|Considered { rule, of: _, lacks }| {
            format!("rule {} does not match: {}", rules[*rule].name, rules::lacks(lacks))
        });
        let first = match rules.len() {
            1 => format!("the only rule of {label} does not match"),
            count => format!("none of the {count} rules of {label} matches"),
        };
        return std::iter::once(first).chain(misses).collect();
    };
    let (rule, of) = (&rules[chosen.index], rules[chosen.index].matches.get(chosen.nth));
    let mut why = vec![format!("rule {} matches: {}", rule.name, rules::has(rule, of))];
    for other in all.iter().filter(|o| o.rule != chosen.index && o.lacks.is_empty()) {
        let reason = rules::before((rule, of), (&rules[other.rule], other.of), parts);
        let name = &rules[other.rule].name;
        why.push(format!("rule {name} matches too; {} goes first because {reason}", rule.name));
    }
    why
}

fn of_sent(why: &mut Vec<String>, sent: &Sent, rule: &Rule, now_us: u64) {
    if sent.parts.uri.path() != sent.before.uri.path() {
        why.push(format!(
            "its filters make {} of the path {}",
            sent.parts.uri.path(),
            sent.before.uri.path()
        ));
    }
    let taking: Vec<&Took> = sent.takers.iter().filter(|took| took.share > 0.0).collect();
    if let Some(by_key) = taking.iter().find(|took| took.by_key && sent.takers.len() > 1) {
        why.push(format!("its key always goes to the backend {}", by_key.name));
    } else if sent.takers.len() > 1 {
        let shares = taking.iter().map(|t| format!("{} % to {}", percent(t.share), t.name));
        why.push(format!("by weight: {}", shares.collect::<Vec<_>>().join(", ")));
    }
    for took in taking {
        of_backend(why, took, now_us);
    }
    if sent.injected {
        why.extend(rule.policy.fault.iter().flat_map(faults));
    }
    why.push(retries(sent, rule));
    why.extend(hedge(sent, rule));
    why.extend(rule.policy.fallback.as_ref().map(fallback));
}

fn of_backend(why: &mut Vec<String>, took: &Took, now_us: u64) {
    if let Some(refused) = &took.refused {
        why.push(format!("{} takes nothing: {} ({})", took.name, refused.sentence, refused.reason));
    }
    let Some(backend) = &took.backend else { return };
    if took.panicking {
        why.push(format!("circuits of {} are ignored: too few endpoints are ready", took.name));
    }
    for (endpoint, chance) in backend.service.endpoints.iter().zip(&took.chances) {
        let is_open = matches!(circuit::state(&endpoint.health, now_us), CircuitState::Open { .. });
        if *chance == 0.0 && took.refused.is_none() {
            why.push(nothing(endpoint, backend, took.keyed, now_us));
        } else if *chance > 0.0 && is_open && !took.panicking {
            why.push(format!(
                "endpoint {} is asked although its circuit is open: minReadyEndpoints is {}",
                endpoint.address,
                backend.policy().circuit.min_ready_endpoints
            ));
        }
    }
    why.push(origins(backend.policy(), &OF_BACKENDS, &format!(" of {}", took.name)));
}

/// Why an endpoint gets nothing.
fn nothing(endpoint: &Endpoint, backend: &Backend, keyed: bool, now_us: u64) -> String {
    let address = endpoint.address;
    let all = &backend.service.endpoints;
    let local = |at: usize| backend.balancer.is_local(at);
    let own = all.iter().position(|other| other.slot == endpoint.slot).is_some_and(local);
    match circuit::state(&endpoint.health, now_us) {
        CircuitState::Open { until_us } => {
            let left = Duration::from_micros(until_us.saturating_sub(now_us)).as_secs_f64();
            format!("endpoint {address} gets nothing: its circuit is open for another {left:.1} s")
        }
        CircuitState::HalfOpen => {
            format!(
                "endpoint {address} gets nothing: its circuit is half-open, and other requests find out whether it is well"
            )
        }
        CircuitState::Closed if keyed => {
            let how = backend.policy().balancing.policy.as_str();
            format!("endpoint {address} gets nothing: by {how} the request's key goes elsewhere")
        }
        CircuitState::Closed if !own && (0..all.len()).any(local) => {
            format!("endpoint {address} gets nothing: endpoints of our own zone are preferred")
        }
        CircuitState::Closed => format!("endpoint {address} gets nothing: others are chosen"),
    }
}

/// The endpoints of a rule's backends whose circuits are open.
fn all_open(rule: &Rule, now_us: u64) -> Vec<String> {
    let backends = rule.takers.iter().filter(|taker| taker.weight > 0);
    let backends = backends.filter_map(|taker| taker.backend.as_ref());
    let of = |backend: &std::sync::Arc<Backend>| -> Vec<String> {
        let all = backend.service.endpoints.iter();
        all.map(|endpoint| nothing(endpoint, backend, false, now_us)).collect()
    };
    backends.flat_map(of).collect()
}

/// When an attempt gets another beside it.
fn hedge(sent: &Sent, rule: &Rule) -> Option<String> {
    let hedge = rule.policy.hedge.as_ref()?;
    if !sent.twice {
        return Some("no attempt is made beside it: it may not be sent twice".to_owned());
    }
    let after = sent.takers.iter().find_map(|took| took.hedge_after);
    Some(match after {
        Some(after) => format!(
            "an attempt that takes longer than {after:?} gets up to {} beside it",
            hedge.max_extra
        ),
        None => "no attempt is made beside it yet: too few answers say what takes long".to_owned(),
    })
}

fn retries(sent: &Sent, rule: &Rule) -> String {
    let most = rule.policy.retry.max_retries;
    if sent.is_repeat {
        return "it is not retried: another sidecar retries it already".to_owned();
    }
    if most == 0 {
        return "it is not retried: maxRetries is 0".to_owned();
    }
    let times = if most == 1 { "once".to_owned() } else { format!("up to {most} times") };
    match sent.twice {
        true => format!("it is retried {times}, as far as retry.on and the budget allow"),
        false => format!(
            "it is retried {times}, and only where it surely never reached the app: {} is not \
             among retry.methods",
            sent.before.method
        ),
    }
}

fn faults(fault: &Fault) -> Vec<String> {
    let delay = fault.delay.map(|delay| {
        let (share, length) = (super::share(delay.share), delay.duration);
        format!("on purpose, {share} % of such requests wait {length:?}")
    });
    let abort = fault.abort.map(|abort| {
        let share = super::share(abort.share);
        let how = match abort.with {
            AbortWith::Status(status) => format!("answered with {status}"),
            AbortWith::Grpc(code) => format!("answered with gRPC status {code}"),
            AbortWith::Reset => "reset".to_owned(),
        };
        format!("on purpose, {share} % of such requests are {how}")
    });
    delay.into_iter().chain(abort).collect()
}

fn fallback(fallback: &Fallback) -> String {
    match fallback {
        Fallback::Service(name) => format!("when that fails, {name} is asked"),
        Fallback::Response { status, .. } => format!("when that fails, {status} is answered"),
    }
}

/// "TrafficPolicy shop/api sets retry; everything else is the default".
fn origins(policy: &Policy, of: &[crate::model::Part], whose: &str) -> String {
    let said = said(policy, of);
    let all: Vec<&str> = of.iter().map(|part| part.as_str()).collect();
    if said.is_empty() {
        return format!("{}{whose} are the defaults", listed(&all));
    }
    let count: usize = said.iter().map(|(_, parts)| parts.len()).sum();
    let each = said.iter().map(|(from, parts)| format!("{from} sets {}", listed(parts)));
    let rest = if count < of.len() { "; everything else is the default" } else { "" };
    format!("{}{whose}{rest}", each.collect::<Vec<_>>().join(", "))
}

/// `a, b and c`
fn listed(words: &[&str]) -> String {
    match words {
        [all @ .., last] if !all.is_empty() => format!("{} and {last}", all.join(", ")),
        _ => words.concat(),
    }
}
