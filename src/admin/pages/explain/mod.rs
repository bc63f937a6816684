//! `/explain`: what would become of a request, and why.
//!
//! What `outbound::explain` says, as JSON: `outcome` has exactly one of `refused`, `answered`,
//! `sent` and `unknown`, and `why` says it all in sentences. With `port` in place of `service`,
//! `inbound` says whether somebody may call the workload itself.

mod inbound;
mod query;
mod rules;
mod why;

use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use serde_json::{Map, Value, json};

use super::services::{readmit_in, state};
use super::{limits, told, written};
use crate::admin::view::View;
use crate::circuit;
use crate::model::{HedgeAfter, Part, ServiceName, Share};
use crate::outbound::explain::{Chosen, Explained, Outcome, Refused, Sent, Took};
use crate::outbound::{Backend, Rule, Snapshot, Target, explain as engine};
use crate::runtime::clock;
use crate::telemetry::mask::masked;
use query::Question;
pub(super) use query::read;

/// The answer.
///
/// # Errors
/// Everything about the query that can't be read.
pub fn explain(view: &View, query: Option<&str>) -> Result<Value, Vec<String>> {
    if query.is_some_and(inbound::is_asked) {
        let question = inbound::read(query.unwrap_or_default())?;
        let mut page = inbound::answer(&view.access.newest(), &question);
        page["workload"] = json!(&*view.workload);
        if let (Some(stray), Some(why)) =
            (inbound::stray(&question, &view.config.load()), page["why"].as_array_mut())
        {
            why.insert(0, json!(stray));
        }
        if let Some(ask) = question.counted() {
            page["limits"] = limits::met(&view.rates, ask, clock::now_us());
        }
        return Ok(told(view, page));
    }
    let namespace = view.workload.rsplit_once('.').map_or("default", |(_, namespace)| namespace);
    let question = read(query.unwrap_or_default(), namespace)?;
    let snapshot = view.snapshot.load();
    Ok(told(view, answer(&snapshot, &question, clock::now_us())))
}

/// What [`explain`] answers, apart from where the picture came from.
pub(super) fn answer(snapshot: &Snapshot, question: &Question, now_us: u64) -> Value {
    let Question { service, parts, client } = question;
    let mut page = json!({
        "version": snapshot.version,
        "service": service.to_string(),
        "request": request(parts),
    });
    let Some(target) = snapshot.targets.get(service) else {
        let known = snapshot.mesh.knows_service(service);
        page["outcome"] = why::missing(service, known);
        page["why"] = json!(why::unknown(snapshot, service, known));
        return page;
    };
    let explained = engine::explain(snapshot, target, parts, *client, now_us);
    let rule = explained.rule.map(|chosen| (chosen, &target.rules[chosen.index]));
    page["grpc"] = json!(explained.is_grpc);
    page["rule"] = json!(rule.map(|(chosen, rule)| about(target, chosen, rule)));
    page["outcome"] = outcome(&explained, rule.map(|(_, rule)| rule), now_us);
    page["policy"] = json!(rule.map(|(_, rule)| written::parts(&rule.policy, &written::OF_RULES)));
    page["access"] = json!("decided by the other side");
    page["why"] = json!(why::why(target, &explained, parts, now_us));
    page
}

fn about(target: &Target, chosen: Chosen, rule: &Rule) -> Value {
    let of = &target.table.rules()[chosen.index];
    json!({
        "name": &*rule.name,
        "kind": written::kind(&target.table, of),
        "match": of.matches.get(chosen.nth).map(written::of_match),
    })
}

fn outcome(explained: &Explained, rule: Option<&Rule>, now_us: u64) -> Value {
    match &explained.outcome {
        Outcome::Refused(why) => json!({"refused": refused(why)}),
        Outcome::Answered { status, headers } => {
            json!({"answered": {"status": status.as_u16(), "headers": lines(headers)}})
        }
        Outcome::Sent(of) => json!({"sent": rule.map(|rule| sent(of, rule, now_us))}),
    }
}

fn refused(of: &Refused) -> Value {
    let Refused { reason, status, sentence, reset } = of;
    json!({
        "reason": reason.as_str(),
        "status": if *reset { Value::Null } else { json!(status) },
        "sentence": if *reset { "the connection is reset" } else { sentence },
    })
}

fn sent(sent: &Sent, rule: &Rule, now_us: u64) -> Value {
    let mut timeouts = written::part(&rule.policy, Part::Timeouts)["says"].take();
    timeouts["deadlineMs"] = json!(sent.deadline.map(|left| left.as_millis() as u64));
    let mut retry = written::part(&rule.policy, Part::Retry)["says"].take();
    if sent.is_repeat {
        retry["maxRetries"] = json!(0);
    }
    retry["maySendTwice"] = json!(sent.twice);
    let faults = sent.injected.then(|| written::part(&rule.policy, Part::Fault)["says"].take());
    let backends: Vec<Value> = sent.takers.iter().map(|took| backend(took, sent, now_us)).collect();
    json!({
        "request": changed(&sent.before, &sent.parts),
        "backends": backends,
        "timeouts": timeouts,
        "retry": retry,
        "hedge": hedge(sent, rule),
        "faults": faults,
        "mirrors": mirrors(rule),
        "fallback": written::part(&rule.policy, Part::Fallback)["says"].take(),
    })
}

fn backend(took: &Took, sent: &Sent, now_us: u64) -> Value {
    let own = (took.parts.uri != sent.parts.uri || took.parts.headers != sent.parts.headers)
        .then(|| changed(&sent.before, &took.parts));
    let endpoints = took.backend.as_ref().map(|backend| endpoints(backend, &took.chances, now_us));
    let policy = took.backend.as_ref();
    json!({
        "service": took.name.to_string(),
        "sharePercent": percent(took.share),
        "request": own,
        "endpoints": endpoints.unwrap_or_default(),
        "panicking": took.panicking,
        "refused": took.refused.as_ref().map(refused),
        "policy": policy.map(|backend| written::parts(backend.policy(), &written::OF_BACKENDS)),
    })
}

fn endpoints(backend: &Backend, chances: &[f64], now_us: u64) -> Vec<Value> {
    let all = backend.service.endpoints.iter().zip(chances).enumerate();
    all.map(|(index, (endpoint, chance))| {
        let circuit = circuit::state(&endpoint.health, now_us);
        json!({
            "address": endpoint.address.to_string(),
            "workload": &*endpoint.workload,
            "state": state(&endpoint.health, circuit),
            "chancePercent": likely(*chance),
            "zone": endpoint.zone.as_deref(),
            "local": backend.balancer.is_local(index),
            "identity": endpoint.identity.as_ref().map(ToString::to_string),
            "readmitInMs": readmit_in(circuit, now_us),
        })
    })
    .collect()
}

fn hedge(sent: &Sent, rule: &Rule) -> Value {
    let Some(hedge) = &rule.policy.hedge else { return Value::Null };
    let after = sent.takers.iter().filter(|took| took.share > 0.0).find_map(|t| t.hedge_after);
    json!({
        "after": written::part(&rule.policy, Part::Hedge)["says"]["after"].take(),
        "nowMs": after.map(|after| after.as_secs_f64() * 1000.0),
        "known": after.is_some() || matches!(hedge.after, HedgeAfter::Delay(_)),
        "maxExtra": if sent.twice { hedge.max_extra } else { 0 },
    })
}

/// Of the rule, and of those of its backends that have their own.
fn mirrors(rule: &Rule) -> Vec<Value> {
    let of_backends = rule.takers.iter().flat_map(|taker| {
        taker.filters.mirrors().iter().map(|mirror| (mirror, Some(taker.name.to_string())))
    });
    let known = |name: &ServiceName| {
        let all = rule.takers.iter().flat_map(|taker| &taker.mirrors).chain(&rule.mirrors);
        all.into_iter().any(|mirror| mirror.backend.service.name == *name)
    };
    let of_rule = rule.filters.mirrors().iter().map(|mirror| (mirror, None));
    of_rule
        .chain(of_backends)
        .map(|(mirror, only)| {
            json!({
                "service": mirror.service.to_string(),
                "percent": share(mirror.share),
                "onlyWithBackend": only,
                "exists": known(&mirror.service),
            })
        })
        .collect()
}

fn request(parts: &Parts) -> Value {
    json!({
        "method": parts.method.as_str(),
        "path": masked(&parts.uri, &[]).path_and_query().map_or("*", |path| path.as_str()),
        "host": host(parts),
    })
}

/// A request as it goes out, with what filters did to its headers.
fn changed(before: &Parts, after: &Parts) -> Value {
    let own = |name: &&HeaderName| **name != header::HOST;
    let differs = |name: &&HeaderName| {
        let (of, not) = (after.headers.get_all(*name), before.headers.get_all(*name));
        !of.iter().eq(not.iter())
    };
    let set: Map<String, Value> = after
        .headers
        .keys()
        .filter(own)
        .filter(differs)
        .map(|name| (name.as_str().to_owned(), values(&after.headers, name)))
        .collect();
    let is_gone = |name: &&HeaderName| !after.headers.contains_key(*name);
    let removed: Vec<&str> =
        before.headers.keys().filter(own).filter(is_gone).map(|name| name.as_str()).collect();
    let mut written = request(after);
    written["headerChanges"] = json!({"set": set, "removed": removed});
    written
}

fn host(parts: &Parts) -> String {
    let written = || parts.headers.get(header::HOST).map(text);
    let authority = parts.uri.authority().map(|authority| authority.to_string());
    authority.or_else(written).unwrap_or_default()
}

fn lines(headers: &HeaderMap) -> Map<String, Value> {
    headers.keys().map(|name| (name.as_str().to_owned(), values(headers, name))).collect()
}

/// One value as text, several as a list.
fn values(headers: &HeaderMap, name: &HeaderName) -> Value {
    let all: Vec<String> = headers.get_all(name).iter().map(text).collect();
    match &all[..] {
        [one] => json!(one),
        _ => json!(all),
    }
}

/// Headers whose values are nobody else's.
fn is_private(name: &HeaderName) -> bool {
    [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE].contains(name)
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// A share as weights give it, to a tenth.
fn percent(percent: f64) -> Value {
    let tenths = (percent * 10.0).round();
    if tenths % 10.0 == 0.0 { json!(tenths as u64 / 10) } else { json!(tenths / 10.0) }
}

/// A chance as it was drawn, which is no finer than whole percents; below one, to a tenth.
fn likely(percent: f64) -> Value {
    self::percent(if percent >= 1.0 { percent.round() } else { percent })
}

fn share(Share(millionths): Share) -> Value {
    let percent = f64::from(millionths) / 10_000.0;
    if percent.fract() == 0.0 { json!(percent as u64) } else { json!(percent) }
}
