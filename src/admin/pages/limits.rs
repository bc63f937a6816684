//! How often the workload may be called and how much of it at once: what policies say for each port,
//! how it stands, and what a request would meet.
//!
//! Asked of the limits that serve requests; nothing is taken by looking.

use serde_json::{Value, json};

use crate::limit::load::{self, Gates};
use crate::limit::rate::{Ask, Limits, Quota, Rates, Rule, seconds};
use crate::resources::rate_limit_policy::Most;

/// For each port that a policy names, and at last for all others.
pub fn limits(rates: &Rates, gates: &Gates) -> Value {
    let (held, most) = rates.keys();
    json!({
        "rates": of_rates(&rates.newest()),
        "keys": {"held": held, "most": most},
        "concurrency": gates.ports().iter().map(concurrency).collect::<Vec<_>>(),
    })
}

fn of_rates(limits: &Limits) -> Vec<Value> {
    let of_port = |(port, at): (Option<u16>, &crate::limit::rate::AtPort)| {
        let row = |rule: &std::sync::Arc<Rule>| {
            let mut row = about(rule);
            row["port"] = port.map_or(json!("*"), Value::from);
            row["refused"] = json!(rule.refused());
            row
        };
        at.rules().map(row).collect::<Vec<_>>()
    };
    limits.ports().flat_map(of_port).collect()
}

fn about(rule: &Rule) -> Value {
    json!({
        "policy": &*rule.policy,
        "limit": rule.nth,
        "says": rule.to_string(),
        "burst": rule.written.burst,
    })
}

fn concurrency((port, at): &(Option<u16>, load::AtPort)) -> Value {
    let load::AtPort { policy, most, facts } = at;
    let says = match most {
        Most::Fixed(limit) => json!(limit),
        Most::Adaptive { min, max } => json!(format!("adaptive, {min} to {max}")),
    };
    json!({
        "port": port.map_or(json!("*"), Value::from),
        "policy": &**policy,
        "says": says,
        "now": facts.as_ref().map(|facts| json!({
            "limit": facts.limit,
            "underWay": facts.under_way,
            "waiting": facts.waiting,
            "bestMs": facts.best_us.map(|best| best as f64 / 1000.0),
        })),
    })
}

/// What a request would meet; nothing is taken. A question has neither token nor key, and counts
/// as a request without them.
pub fn met(rates: &Rates, ask: Ask<'_>, now_us: u64) -> Value {
    let one = |quota: &Quota| {
        let mut row = about(&quota.rule);
        row["left"] = json!(quota.left);
        row["fullInSeconds"] = json!(seconds(quota.full_in_ns));
        row["reason"] = json!(quota.wait_ns.map(|_| "rate-limited"));
        row["roomInSeconds"] = json!(quota.wait_ns.map(seconds));
        row
    };
    rates.look(ask, now_us).iter().map(one).collect()
}
