//! Rate-limit policies, and which of them a workload is told.
//!
//! A workload is told those that are about it. While its labels are not known, one that asks for
//! labels is not told: a limit that is not its own would refuse requests that nobody meant to
//! refuse. Each policy is written as its manifest once, whoever is told. Called by the picture.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::governed::{Known, Subjects};
use crate::resources::{RateLimitPolicy, Resource, manifest};

/// All rate-limit policies, by namespace and by name; those of the mesh under no namespace.
#[derive(Default)]
pub struct Limited(HashMap<Option<String>, BTreeMap<String, Held>>);

struct Held {
    policy: Arc<RateLimitPolicy>,
    manifest: Arc<str>,
}

pub fn policy(resource: &Resource) -> Option<&Arc<RateLimitPolicy>> {
    if let Resource::RateLimitPolicy(policy) = resource { Some(policy) } else { None }
}

/// Where a policy is kept.
fn shelf(policy: &RateLimitPolicy) -> Option<String> {
    (!policy.about().is_of_mesh()).then(|| policy.metadata.namespace.clone())
}

impl Limited {
    /// A policy came, changed or went.
    pub fn change(
        &mut self,
        before: Option<&RateLimitPolicy>,
        now: Option<&Arc<RateLimitPolicy>>,
        subjects: &mut Subjects,
    ) {
        if let Some(before) = before {
            if let Some(held) = self.0.get_mut(&shelf(before)) {
                held.remove(&before.metadata.name);
            }
            self.0.retain(|_, held| !held.is_empty());
            subjects.note(before.about());
        }
        if let Some(policy) = now {
            let resource = Resource::RateLimitPolicy(Arc::clone(policy));
            let manifest = manifest::of(&resource).to_string().into();
            let held = Held { policy: Arc::clone(policy), manifest };
            let name = policy.metadata.name.clone();
            self.0.entry(shelf(policy)).or_default().insert(name, held);
            subjects.note(policy.about());
        }
    }

    /// The manifests that a workload is told, in an order that stays.
    pub fn of(&self, namespace: &str, known: Known<'_>) -> Vec<Arc<str>> {
        let shelves = [None, Some(namespace.to_owned())];
        let all = shelves.iter().filter_map(|shelf| self.0.get(shelf)).flat_map(BTreeMap::values);
        let (Known::Has(labels) | Known::MayHave(labels)) = known;
        let is_certain = matches!(known, Known::Has(_));
        let is_told = |held: &&Held| {
            let about = held.policy.about();
            (is_certain || about.selector.is_empty()) && about.concerns(namespace, labels)
        };
        all.filter(is_told).map(|held| Arc::clone(&held.manifest)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::resources::{Labels, Origin, parse_documents};

    fn policy(name: &str, spec: &str) -> Arc<RateLimitPolicy> {
        let text = format!(
            "{{apiVersion: outrigger.dev/v1alpha1, kind: RateLimitPolicy, metadata: {{{name}}}, \
             spec: {{{spec}limits: [{{key: total, requests: 1, per: 1s}}]}}}}"
        );
        let read = parse_documents(&text, &Origin::file("test"), "shop").expect("sound");
        super::policy(&read[0]).expect("a rate-limit policy").clone()
    }

    #[test]
    fn a_workload_is_told_what_is_certainly_about_it() {
        let (mut limited, mut subjects) = (Limited::default(), Subjects::default());
        let of_mesh = policy("name: m, namespace: outrigger-system", "");
        let one = policy("name: one", "selector: {matchLabels: {app: web}}, ");
        for policy in [&of_mesh, &one, &policy("name: all", "")] {
            limited.change(None, Some(policy), &mut subjects);
        }
        assert!(subjects.mesh && subjects.namespaces == HashSet::from(["shop".to_owned()]));
        let web: Labels = [("app".to_owned(), "web".to_owned())].into();
        let told = |limited: &Limited, namespace: &str, known: Known<'_>| {
            let name = |manifest: &Arc<str>| {
                let value: serde_json::Value = serde_json::from_str(manifest).expect("JSON");
                value["metadata"]["name"].as_str().expect("a name").to_owned()
            };
            limited.of(namespace, known).iter().map(name).collect::<Vec<_>>()
        };
        assert_eq!(told(&limited, "shop", Known::Has(&web)), ["m", "all", "one"]);
        assert_eq!(told(&limited, "shop", Known::MayHave(&web)), ["m", "all"]);
        assert_eq!(told(&limited, "shop", Known::Has(&Labels::new())), ["m", "all"]);
        assert_eq!(told(&limited, "far", Known::Has(&web)), ["m"]);
        limited.change(Some(&of_mesh), None, &mut subjects);
        limited.change(Some(&one), Some(&policy("name: one", "")), &mut subjects);
        assert_eq!(told(&limited, "shop", Known::MayHave(&web)), ["all", "one"]);
        assert_eq!(told(&limited, "far", Known::Has(&web)), [""; 0]);
    }
}
