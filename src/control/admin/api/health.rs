//! `/api/certificates` and `/api/health`: what ends when, and whether the control plane is well.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::super::View;
use crate::control::desk::unix_ms;
use crate::control::kube::Health;
use crate::control::sessions::Session;

/// Sentences in one answer.
const PROBLEMS: usize = 20;

pub fn certificates(view: &View) -> Value {
    let mut authorities = (view.authorities)();
    let row = |of: &Session| {
        json!({
            "workload": format!("{}.{}", of.facts.workload, of.facts.identity.namespace()),
            "identity": of.facts.identity.as_str(),
            "notAfterMs": unix_ms(of.facts.certificate_ends),
        })
    };
    json!({
        "root": authorities["roots"].take(),
        "issuer": authorities["issuer"].take(),
        "workloads": view.sessions.list().iter().map(row).collect::<Vec<_>>(),
    })
}

pub fn health(view: &View) -> Value {
    let observer = &view.api.observer;
    let (counts, used) = (view.sessions.counts(), observer.memory.used());
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "upSinceMs": observer.memory.began_ms,
        "replica": &*observer.memory.replica,
        "sidecars": counts.live,
        "behind": counts.behind,
        "refusing": counts.refusing,
        "cluster": view.health.as_ref().map(Health::sentence),
        "memory": {
            "usedBytes": used.bytes,
            "budgetBytes": used.budget,
            "leftOut": used.left_out,
        },
        "problems": problems(view),
    })
}

fn problems(view: &View) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for missing in view.readiness.missing() {
        all.push(format!("It is not ready: {missing} is missing."));
    }
    let now = SystemTime::now();
    for session in view.sessions.list() {
        let facts = &session.facts;
        let workload = format!("{}.{}", facts.workload, facts.identity.namespace());
        if let Some(refused) = &session.refused {
            let why = refused.errors.first().map_or("", String::as_str);
            all.push(format!("{workload} can't use all that it was told: {why}"));
        }
        if let Some(fault) = session.ungoverned.first() {
            all.push(format!("{workload} can't read its access policies: {fault}"));
        }
        if session.facts.certificate_ends <= now {
            all.push(format!("The certificate of {workload} has ended."));
        }
        if all.len() >= PROBLEMS {
            break;
        }
    }
    for (id, status) in view.api.standings.now(&view.catalog).unsound() {
        all.push(format!("{} {}.{}: {status}", id.kind, id.name, id.namespace));
    }
    all.truncate(PROBLEMS);
    all
}
