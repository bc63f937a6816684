//! What an object's status should say, and whether that is what it says: the core, pure.
//!
//! Routes as the Gateway API has it: an entry for each Service among the parents, under our name;
//! what other controllers wrote stays. Policies as its GEP-713: `Accepted` with a reason; workloads
//! likewise, and whether they are meshed. A time of transition stays as long as the condition's
//! status does.

use serde_json::{Map, Value, json};

use super::verdict::{Verdict, Verdicts};
use super::{CONTROLLER, Instead, Kind, Reading, Subject};
use crate::resources::attach::Condition;

/// What `kubectl describe` still shows in reasonable length; Kubernetes takes 32 KiB. Arbitrary.
const LONGEST: usize = 4096;

/// The types of condition that are ours to write into a policy.
const OURS: [&str; 4] = ["Accepted", "Conflicted", "Meshed", "ResolvedRefs"];

/// A condition without its times.
struct Said {
    of: &'static str,
    status: bool,
    reason: &'static str,
    message: String,
}

/// What to write into `status` of a subject; `None` when nothing is different, or nothing is known.
pub fn due(subject: &Subject, verdicts: &Verdicts, now: &str) -> Option<Value> {
    let verdict = verdicts.of_id(&subject.id);
    // One that left us keeps nothing of ours.
    let is_foreign = subject.id.kind.is_route() && !subject.parent_refs.iter().any(is_service);
    let is_settled = verdict.is_some() || is_foreign;
    let stands_alone = match &subject.reading {
        Reading::Sound => false,
        Reading::Faulty { instead, .. } => *instead != Instead::Before,
    };
    if !is_settled && !stands_alone {
        return None;
    }
    let (field, next) = if subject.id.kind.is_route() {
        ("parents", parents(subject, verdict, now))
    } else {
        ("conditions", policy(subject, verdict, now))
    };
    let empty = json!([]);
    let is_same = *subject.status.get(field).unwrap_or(&empty) == next;
    (!is_same).then(|| json!({ field: next }))
}

fn parents(subject: &Subject, verdict: Option<&Verdict>, now: &str) -> Value {
    let current = list(&subject.status, "parents");
    let ours = |entry: &&Value| entry["controllerName"] == CONTROLLER;
    let refs: Vec<&Value> =
        subject.parent_refs.iter().filter(|parent| is_service(parent)).collect();
    let mut next = Vec::new();
    let mut written = vec![false; refs.len()];
    let entry = |at: usize, before: Option<&Value>| {
        let said = of_parent(subject, verdict, at);
        let conditions =
            merged(before.map(|entry| &entry["conditions"]), said, subject, now, false);
        json!({"parentRef": refs[at], "controllerName": CONTROLLER, "conditions": conditions})
    };
    for before in current {
        if !ours(&before) {
            next.push(before.clone());
            continue;
        }
        // One whose parent is named no more is left out.
        let at = (0..refs.len()).find(|at| !written[*at] && *refs[*at] == before["parentRef"]);
        if let Some(at) = at {
            written[at] = true;
            next.push(entry(at, Some(before)));
        }
    }
    let missing = (0..refs.len()).filter(|at| !written[*at]);
    next.extend(missing.map(|at| entry(at, None)));
    Value::Array(next)
}

fn is_service(parent: &Value) -> bool {
    let group = parent.get("group").and_then(Value::as_str).unwrap_or_default();
    parent["kind"] == "Service" && matches!(group, "" | "core")
}

/// What is said of the route and its `at`th Service.
fn of_parent(subject: &Subject, verdict: Option<&Verdict>, at: usize) -> Vec<Said> {
    let accepted = |status, reason, message| Said { of: "Accepted", status, reason, message };
    let (faults, fell_back) = match &subject.reading {
        Reading::Sound => (None, false),
        Reading::Faulty { faults, instead } => (Some(listed(faults)), *instead == Instead::Before),
    };
    if let (Some(faults), false) = (&faults, fell_back) {
        return vec![accepted(false, "UnsupportedValue", faults.clone())];
    }
    let none = Verdict::default();
    let verdict = verdict.unwrap_or(&none);
    // What fell back may have had fewer parents: of those nothing is known.
    let on = verdict.on.get(at);
    let first = match on {
        Some((what, Condition::Accepted | Condition::Unread { .. })) => {
            accepted(true, "Accepted", format!("in use for {what}"))
        }
        Some((_, Condition::TargetNotFound { what })) => {
            accepted(false, "NoMatchingParent", format!("there is no {what}"))
        }
        Some((what, Condition::Conflicted { with })) => {
            accepted(false, "NoMatchingParent", format!("{what}: the older {with} wins"))
        }
        None => accepted(false, "Pending", "it could not be used for this parent yet".to_owned()),
    };
    let is_accepted = first.status;
    let mut said = vec![first, resolved(&verdict.missing)];
    if let (Some(faults), true) = (faults, is_accepted) {
        // The words are the Gateway API's.
        let message = format!("Fall Back: what the route said before is in use: {faults}");
        let (of, reason) = ("PartiallyInvalid", "UnsupportedValue");
        said.push(Said { of, status: true, reason, message });
    }
    said
}

fn policy(subject: &Subject, verdict: Option<&Verdict>, now: &str) -> Value {
    let said = match (&subject.reading, verdict) {
        (Reading::Faulty { faults, instead }, _) => {
            let counts = match instead {
                Instead::Nothing => String::new(),
                Instead::Before => "what it said before is in use: ".to_owned(),
                Instead::Strict(scope) => {
                    format!("until it can be read it counts as `mtls: strict` for {scope}: ")
                }
            };
            let message = format!("{counts}{}", listed(faults));
            vec![Said { of: "Accepted", status: false, reason: "Invalid", message }]
        }
        (Reading::Sound, verdict) => {
            let none = Verdict::default();
            let verdict = verdict.unwrap_or(&none);
            match subject.id.kind {
                Kind::Workload => of_workload(verdict),
                _ => of_policy(verdict),
            }
        }
    };
    merged(subject.status.get("conditions"), said, subject, now, true)
}

fn of_policy(verdict: &Verdict) -> Vec<Said> {
    let words = |(on, how): &(String, Condition)| match how {
        Condition::Accepted => None,
        Condition::Conflicted { with } => Some(format!("{on}: the older {with} wins")),
        Condition::TargetNotFound { what } => Some(format!("there is no {what}")),
        Condition::Unread { what } => Some(what.clone()),
    };
    let troubles: Vec<String> = verdict.on.iter().filter_map(words).collect();
    let is_conflict = |how: &Condition| matches!(how, Condition::Conflicted { .. });
    let in_use = verdict.on.iter().any(|(_, how)| *how == Condition::Accepted);
    let conflicts = || verdict.on.iter().filter(|(_, how)| is_conflict(how));
    let reason = match (in_use, conflicts().next()) {
        (true, _) => "Accepted",
        (false, Some(_)) => "Conflicted",
        (false, None) => "TargetNotFound",
    };
    let message = if troubles.is_empty() { "in use".to_owned() } else { listed(&troubles) };
    let mut said =
        vec![Said { of: "Accepted", status: in_use, reason, message }, resolved(&verdict.missing)];
    let conflicts: Vec<String> = conflicts().filter_map(words).collect();
    if !conflicts.is_empty() {
        let message = listed(&conflicts);
        said.push(Said { of: "Conflicted", status: true, reason: "Conflicted", message });
    }
    said
}

fn of_workload(verdict: &Verdict) -> Vec<Said> {
    let accepted = |message: &str| Said {
        of: "Accepted",
        status: true,
        reason: "Accepted",
        message: message.to_owned(),
    };
    let meshed = |status, reason, message| Said { of: "Meshed", status, reason, message };
    let (reason, how) = match &verdict.account {
        Some(account) => {
            let how =
                format!("callers take it only with the identity of service account {account}");
            ("ServiceAccount", how)
        }
        None => {
            let how = "it has no serviceAccount: callers reach it in plaintext".to_owned();
            ("NoServiceAccount", how)
        }
    };
    let is_meshed = verdict.account.is_some();
    vec![accepted("services may select it"), meshed(is_meshed, reason, how)]
}

fn resolved(missing: &[String]) -> Said {
    let of = "ResolvedRefs";
    if missing.is_empty() {
        let message = "everything that it sends requests to is there".to_owned();
        return Said { of, status: true, reason: "ResolvedRefs", message };
    }
    let missing: Vec<String> = missing.iter().map(|what| format!("there is no {what}")).collect();
    Said { of, status: false, reason: "BackendNotFound", message: listed(&missing) }
}

fn listed(words: &[String]) -> String {
    let mut text = words.join("; ");
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
        text.truncate(end);
        text.push('…');
    }
    text
}

/// The conditions as they should be, with the times of those that stay; where others write too,
/// theirs stay.
fn merged(
    before: Option<&Value>,
    said: Vec<Said>,
    subject: &Subject,
    now: &str,
    shared: bool,
) -> Value {
    let before: &[Value] = before.and_then(Value::as_array).map_or(&[], Vec::as_slice);
    let is_ours = |condition: &Value| OURS.iter().any(|of| condition["type"] == *of);
    let others = before.iter().filter(|condition| shared && !is_ours(condition)).cloned();
    let mut next: Vec<Value> = Vec::new();
    for Said { of, status, reason, message } in said {
        let old = before.iter().find(|condition| condition["type"] == of);
        let status = if status { "True" } else { "False" };
        let since = old.filter(|old| old["status"] == status);
        let since = since.and_then(|old| old["lastTransitionTime"].as_str()).unwrap_or(now);
        let mut condition = Map::new();
        condition.insert("type".into(), of.into());
        condition.insert("status".into(), status.into());
        condition.insert("reason".into(), reason.into());
        condition.insert("message".into(), message.into());
        condition.insert("observedGeneration".into(), subject.generation.into());
        condition.insert("lastTransitionTime".into(), since.into());
        next.push(condition.into());
    }
    // In the order that is there, so that an order that somebody else likes better is no difference.
    let place = |condition: &Value| {
        let at = before.iter().position(|old| old["type"] == condition["type"]);
        at.unwrap_or(usize::MAX)
    };
    next.extend(others);
    next.sort_by_key(place);
    Value::Array(next)
}

fn list<'a>(status: &'a Value, field: &str) -> &'a [Value] {
    status.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
