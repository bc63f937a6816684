//! `/api/certificates` and `/api/health`: what ends when, and whether the control plane is well.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::super::View;
use super::replicas;
use crate::control::desk::unix_ms;
use crate::control::kube::Health;
use crate::control::memory::part::{Sidecar, Worth};

/// Sentences in one answer.
const PROBLEMS: usize = 20;

pub fn certificates(view: &View, now: SystemTime) -> Value {
    let mut authorities = (view.authorities)();
    let whole = view.api.observer.sidecars(now);
    let row = |of: &&Sidecar| {
        json!({
            "workload": &*of.workload,
            "identity": of.identity.as_str(),
            "notBeforeMs": of.certificate_began_ms,
            "notAfterMs": of.certificate_ends_ms,
        })
    };
    json!({
        "root": authorities["roots"].take(),
        "issuer": authorities["issuer"].take(),
        "rotation": authorities["rotation"].take(),
        "replicas": replicas(&whole.worth()),
        "workloads": whole.sidecars().iter().map(row).collect::<Vec<_>>(),
    })
}

/// Of this replica its memory and how it sees the cluster; of all of them the sidecars.
pub fn health(view: &View, now: SystemTime) -> Value {
    let observer = &view.api.observer;
    let (whole, used) = (observer.sidecars(now), observer.memory.used());
    let (sidecars, worth) = (whole.sidecars(), whole.worth());
    let is_refusing = |of: &&&Sidecar| of.refused.is_some() || of.ungoverned.is_some();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "upSinceMs": observer.memory.began_ms,
        "replica": &*observer.memory.replica,
        "replicas": replicas(&worth),
        "sidecars": sidecars.len(),
        "behind": sidecars.iter().filter(|of| of.is_behind).count(),
        "refusing": sidecars.iter().filter(is_refusing).count(),
        "cluster": view.health.as_ref().map(Health::sentence),
        "memory": {
            "usedBytes": used.bytes,
            "budgetBytes": used.budget,
            "leftOut": used.left_out,
        },
        "problems": problems(view, &sidecars, &worth, now),
    })
}

fn problems(view: &View, sidecars: &[&Sidecar], worth: &Worth, now: SystemTime) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for missing in view.readiness.missing() {
        all.push(format!("It is not ready: {missing} is missing."));
    }
    for of in &worth.replicas {
        if let Some(why) = &of.silence {
            let name = &of.replica;
            all.push(format!("Replica {name} does not say what its sidecars tell it: {why}"));
        }
    }
    for Sidecar { workload, refused, ungoverned, certificate_ends_ms, .. } in sidecars {
        if let Some(why) = refused {
            all.push(format!("{workload} can't use all that it was told: {why}"));
        }
        if let Some(fault) = ungoverned {
            all.push(format!("{workload} can't read its access policies: {fault}"));
        }
        if *certificate_ends_ms <= unix_ms(now) {
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
