//! The rules of each service, in the order in which equals take precedence.

use serde_json::{Value, json};

use super::{targets, told, written};
use crate::admin::view::View;
use crate::model::{self, Part};
use crate::outbound::{Rule, Snapshot, Taker, Target};

pub fn routes(view: &View) -> Value {
    told(view, routes_of(&view.snapshot.load()))
}

pub(super) fn routes_of(snapshot: &Snapshot) -> Value {
    let of = |target: &Target| {
        let rules = target.table.rules().iter().zip(&target.rules);
        let rules: Vec<Value> = rules.map(|(of, rule)| self::rule(target, of, rule)).collect();
        json!({"service": &*target.backend.label, "rules": rules})
    };
    let routes: Vec<Value> = targets(snapshot).into_iter().map(of).collect();
    json!({"version": snapshot.version, "routes": routes})
}

fn rule(target: &Target, of: &model::Rule, rule: &Rule) -> Value {
    let (hostnames, matches, filters) = written::conditions(of);
    let backends: Vec<Value> = rule
        .takers
        .iter()
        .enumerate()
        .map(|(index, taker)| backend(taker, of.backends.get(index)))
        .collect();
    json!({
        "name": &*rule.name,
        "kind": written::kind(&target.table, of),
        "hostnames": hostnames,
        "matches": matches,
        "filters": filters,
        "backends": backends,
        "timeouts": written::part(&rule.policy, Part::Timeouts),
        "retry": written::part(&rule.policy, Part::Retry),
    })
}

fn backend(taker: &Taker, of: Option<&model::Backend>) -> Value {
    let endpoints = taker.backend.as_ref().map(|backend| backend.service.endpoints.len());
    json!({
        "service": taker.name.to_string(),
        "weight": taker.weight,
        "exists": taker.backend.is_some(),
        "endpoints": endpoints,
        "filters": of.map_or(json!([]), |of| written::filters(&of.filters)),
    })
}
