//! How routes and policies fare, in words: whether what they are about exists, whether an older
//! policy has their place, whether what they send requests to is there.
//!
//! Nothing of it keeps anybody from applying them: what is missing may come later, and what is there
//! may go. Computed from one snapshot, for those who look, and once for all who look at that one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::view::Id;
use crate::control::catalog::{Catalog, Snapshot};
use crate::model::ServiceName;
use crate::resources::attach::{Condition, Standing, conditions};
use crate::resources::{Resource, TargetKind};

/// Of each route and policy.
#[derive(Debug, Default)]
pub struct Standings(HashMap<Id, String>);

impl Standings {
    /// The status of what has no problem.
    pub const SOUND: &str = "accepted";

    pub fn of(snapshot: &Snapshot) -> Self {
        let all = || snapshot.resources.values().map(|held| &*held.resource);
        let fares =
            |resource: &Resource| !matches!(resource, Resource::Service(_) | Resource::Workload(_));
        if !all().any(fares) {
            return Self::default();
        }
        let standings = conditions(all()).into_iter().map(|standing| {
            let words = match unmet(standing.resource, snapshot) {
                Some(unmet) if standing.is_sound() => unmet,
                _ => words(&standing),
            };
            (Id::of(standing.resource), words)
        });
        Self(standings.collect())
    }

    /// Empty for what is no route or policy.
    pub fn status(&self, id: &Id) -> &str {
        self.0.get(id).map(String::as_str).unwrap_or_default()
    }

    /// Those that have a problem, by what they go by, and it.
    pub fn unsound(&self) -> Vec<(&Id, &str)> {
        let all = self.0.iter().map(|(id, status)| (id, status.as_str()));
        let mut all: Vec<_> = all.filter(|(_, status)| *status != Self::SOUND).collect();
        all.sort();
        all
    }
}

/// The newest standings that anybody asked for.
#[derive(Debug, Default)]
pub struct Newest(Mutex<Option<(u64, Arc<Standings>)>>);

impl Newest {
    /// Those of a snapshot. Whoever asks for the same meanwhile waits for it: that is no longer than
    /// to compute it too.
    pub fn of(&self, snapshot: &Snapshot) -> Arc<Standings> {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = newest.as_ref().filter(|(revision, _)| *revision >= snapshot.revision);
        match known {
            Some((revision, standings)) if *revision == snapshot.revision => Arc::clone(standings),
            // Somebody slow, who looks at what is past: nobody else will.
            Some(_) => Arc::new(Standings::of(snapshot)),
            None => {
                let standings = Arc::new(Standings::of(snapshot));
                *newest = Some((snapshot.revision, Arc::clone(&standings)));
                standings
            }
        }
    }

    /// Those of the newest revision, which is seldom copied for it.
    pub fn now(&self, catalog: &Catalog) -> Arc<Standings> {
        let revision = catalog.revision();
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match known {
            Some((of, standings)) if of == revision => standings,
            _ => self.of(&catalog.snapshot()),
        }
    }
}

/// What is wrong with a policy whose selector nobody has the labels of: nothing, or a typo.
fn unmet(resource: &Resource, snapshot: &Snapshot) -> Option<String> {
    let about = match resource {
        Resource::AccessPolicy(policy) => policy.about(),
        Resource::RateLimitPolicy(policy) => policy.about(),
        _ => return None,
    };
    let applied = snapshot.resources.values().filter_map(|held| match &*held.resource {
        Resource::Workload(workload) => Some(&workload.metadata),
        _ => None,
    });
    let registered = snapshot.registrations.values().map(|of| &of.workload.metadata);
    let pods = snapshot.pods.iter().map(|(pod, _)| &pod.metadata);
    let mut workloads = applied.chain(registered).chain(pods);
    if about.selector.is_empty()
        || workloads.any(|of| about.concerns(of.namespace.as_str(), &of.labels))
    {
        return None;
    }
    let labels = about.selector.iter().map(|(name, value)| format!("{name}={value}"));
    let labels = labels.collect::<Vec<_>>().join(", ");
    let namespace = &about.metadata.namespace;
    Some(format!(
        "no workload of namespace {namespace} has the labels {labels} now, so that it holds for \
         nobody"
    ))
}

fn words(standing: &Standing<'_>) -> String {
    if standing.is_sound() {
        return Standings::SOUND.to_owned();
    }
    let of_condition = |(on, condition): &(String, Condition)| match condition {
        Condition::Accepted => None,
        Condition::Conflicted { with } => Some(format!("{on}: the older {with} wins")),
        Condition::TargetNotFound { what } => Some(format!("there is no {what}")),
        Condition::Unread { what } => Some(what.clone()),
    };
    let missing = standing.missing.iter().map(|ServiceName { name, namespace, port }| match port {
        0 => {
            format!("there is no {} {name} of namespace {namespace}", TargetKind::Service.as_str())
        }
        port => format!("there is no {name}.{namespace}:{port} to send to"),
    });
    let words: Vec<String> = standing.on.iter().filter_map(of_condition).chain(missing).collect();
    words.join("; ")
}
