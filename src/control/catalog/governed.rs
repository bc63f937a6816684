//! Access policies, and which of them a workload is told.
//!
//! A workload is told those that are about it, whoever calls. While its labels are not known, what
//! it may come to have is: then a policy that might be about it counts where it asks for more, and
//! doesn't where it asks for less. Each policy is written as its manifest once, whoever is told.
//! Called by the picture.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::attachments::ServiceKey as Key;
use super::{Catalog, Mailbox};
use crate::resources::subject::Subject;
use crate::resources::{AccessPolicy, Labels, Resource, manifest};

/// All access policies.
#[derive(Default)]
pub struct Governed {
    /// Of the mesh, by name.
    mesh: BTreeMap<String, Held>,
    /// Of their own namespace, by it and by name.
    own: HashMap<String, BTreeMap<String, Held>>,
}

struct Held {
    policy: Arc<AccessPolicy>,
    manifest: Arc<str>,
    /// What it asks for, without what it grants; for those whom it may be about.
    cautious: Option<Arc<str>>,
}

/// What a workload is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Governing {
    /// In an order that stays.
    pub manifests: Vec<Arc<str>>,
    /// One of the policies, as `namespace/name`, that says more than which callers must prove an
    /// identity: older sidecars can't read it.
    pub by_rules: Option<String>,
    /// The same of what callers show beside their identity.
    pub by_tokens: Option<String>,
    /// Of rate-limit policies, in an order that stays.
    pub limits: Vec<Arc<str>>,
}

/// What is known of a workload's labels.
#[derive(Clone, Copy, Debug)]
pub enum Known<'a> {
    /// These, and no others.
    Has(&'a Labels),
    /// It may have any of these.
    MayHave(&'a Labels),
}

/// Workloads that may be under other policies than before.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Subjects {
    pub mesh: bool,
    pub namespaces: HashSet<String>,
    /// By namespace and name.
    pub workloads: HashSet<Key>,
}

pub fn policy(resource: &Resource) -> Option<&Arc<AccessPolicy>> {
    if let Resource::AccessPolicy(policy) = resource { Some(policy) } else { None }
}

impl Catalog {
    /// From now on a reader is marked when other access policies may hold for a workload.
    pub fn stand_for(&self, mailbox: &Mailbox, namespace: &str, name: &str) {
        self.lock().audience.stand_for(mailbox, namespace, name);
    }

    /// The labels of a workload that is registered, or applied, under this service account.
    pub fn labels(&self, namespace: &str, name: &str, account: &str) -> Option<Labels> {
        self.lock().picture.labels(namespace, name, account).cloned()
    }

    /// The manifests of the policies about callers of a workload with these labels.
    pub fn governing(&self, namespace: &str, labels: Known<'_>) -> Governing {
        self.lock().picture.governing(namespace, labels)
    }

    /// The workload at each of these addresses, as `name.namespace`, where there is just one.
    pub fn workloads_at(&self, ips: &[IpAddr]) -> Vec<Option<String>> {
        let state = self.lock();
        ips.iter().map(|&ip| state.picture.workload_at(ip)).collect()
    }
}

impl Governed {
    /// A policy came, changed or went.
    pub fn change(
        &mut self,
        before: Option<&AccessPolicy>,
        now: Option<&Arc<AccessPolicy>>,
        subjects: &mut Subjects,
    ) {
        if let Some(before) = before {
            let (namespace, name) = (&before.metadata.namespace, &before.metadata.name);
            self.shelf(before).remove(name);
            self.own.retain(|of, held| of != namespace || !held.is_empty());
            subjects.note(before.about());
        }
        if let Some(now) = now {
            let written = |policy: &Arc<AccessPolicy>| -> Arc<str> {
                manifest::of(&Resource::AccessPolicy(Arc::clone(policy))).to_string().into()
            };
            let cautious = now.cautious().map(|policy| written(&Arc::new(policy)));
            let held = Held { policy: Arc::clone(now), manifest: written(now), cautious };
            self.shelf(now).insert(now.metadata.name.clone(), held);
            subjects.note(now.about());
        }
    }

    /// Those that a workload is told.
    pub fn of(&self, namespace: &str, labels: Known<'_>) -> Governing {
        let own = self.own.get(namespace).into_iter().flat_map(BTreeMap::values);
        let all = self.mesh.values().chain(own);
        let mut governing = Governing::default();
        for (held, manifest) in all.filter_map(|held| Some((held, told(held, namespace, labels)?)))
        {
            governing.manifests.push(Arc::clone(manifest));
            if governing.by_rules.is_none() && held.policy.is_of_rules() {
                governing.by_rules = Some(held.policy.title());
            }
            if governing.by_tokens.is_none() && held.policy.is_of_tokens() {
                governing.by_tokens = Some(held.policy.title());
            }
        }
        governing
    }

    fn shelf(&mut self, policy: &AccessPolicy) -> &mut BTreeMap<String, Held> {
        if policy.is_of_mesh() {
            return &mut self.mesh;
        }
        self.own.entry(policy.metadata.namespace.clone()).or_default()
    }
}

impl Subjects {
    pub fn note(&mut self, policy: Subject<'_>) {
        if policy.is_of_mesh() {
            self.mesh = true;
        } else {
            self.namespaces.insert(policy.metadata.namespace.clone());
        }
    }
}

/// What a policy asks for can only let in fewer, compared with each set of labels that is possible;
/// what it grants is left out for the same reason.
fn told<'a>(held: &'a Held, namespace: &str, labels: Known<'_>) -> Option<&'a Arc<str>> {
    let (Known::Has(all) | Known::MayHave(all)) = labels;
    let is_certain = held.policy.selector.is_empty() || matches!(labels, Known::Has(_));
    let manifest = if is_certain { Some(&held.manifest) } else { held.cautious.as_ref() };
    manifest.filter(|_| held.policy.concerns(namespace, all))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::resources::access_policy::level::mtls;
    use crate::resources::{Origin, parse_documents};

    fn policy(name: &str, spec: &str) -> Arc<AccessPolicy> {
        let text = format!(
            "{{apiVersion: outrigger.dev/v1alpha1, kind: AccessPolicy, \
             metadata: {{{name}}}, spec: {spec}}}"
        );
        let read = parse_documents(&text, &Origin::file("test"), "shop").expect("sound");
        super::policy(&read[0]).expect("an access policy").clone()
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn names(told: &[Arc<str>]) -> Vec<String> {
        let name = |manifest: &Arc<str>| {
            let value: serde_json::Value = serde_json::from_str(manifest).expect("JSON");
            value["metadata"]["name"].as_str().expect("a name").to_owned()
        };
        told.iter().map(name).collect()
    }

    #[test]
    fn a_workload_is_told_what_is_about_it() {
        let mut governed = Governed::default();
        let mut subjects = Subjects::default();
        let of_mesh = policy("name: m, namespace: outrigger-system", "{mtls: permissive}");
        let one = policy("name: one", "{selector: {matchLabels: {app: web}}, mtls: permissive}");
        for policy in [&of_mesh, &one, &policy("name: all", "{mtls: strict}")] {
            governed.change(None, Some(policy), &mut subjects);
        }
        assert!(subjects.mesh && subjects.namespaces == HashSet::from(["shop".to_owned()]));
        let (web, db) = (labels(&[("app", "web")]), labels(&[("app", "db")]));
        let told = |governed: &Governed, namespace: &str, known: Known<'_>| {
            names(&governed.of(namespace, known).manifests)
        };
        assert_eq!(told(&governed, "shop", Known::Has(&web)), ["m", "all", "one"]);
        assert_eq!(told(&governed, "shop", Known::Has(&db)), ["m", "all"]);
        assert_eq!(told(&governed, "shop", Known::MayHave(&web)), ["m", "all"]);
        assert_eq!(told(&governed, "other", Known::Has(&web)), ["m"]);
        // One that moves from the mesh to a few of a namespace is told to those alone.
        let moved = policy(
            "name: m, namespace: outrigger-system",
            "{selector: {matchLabels: {app: web}}, mtls: permissive}",
        );
        governed.change(Some(&of_mesh), Some(&moved), &mut subjects);
        assert_eq!(told(&governed, "other", Known::Has(&web)), [""; 0]);
        assert_eq!(told(&governed, "outrigger-system", Known::Has(&web)), ["m"]);
        governed.change(Some(&moved), None, &mut subjects);
        governed.change(Some(&one), None, &mut subjects);
        assert_eq!(told(&governed, "shop", Known::Has(&web)), ["all"]);
        assert_eq!(told(&governed, "outrigger-system", Known::Has(&web)), [""; 0]);
    }

    fn any_policy() -> impl Strategy<Value = (u8, u8, bool, bool)> {
        (0..3u8, 0..4u8, any::<bool>(), any::<bool>())
    }

    proptest! {
        #[test]
        fn who_may_have_labels_is_let_in_no_more_than_with_any_of_them(
            policies in proptest::collection::vec(any_policy(), 0..6),
        ) {
            let mut governed = Governed::default();
            for (number, (scope, selector, of_port, strict)) in policies.into_iter().enumerate() {
                let namespace = ["shop", "shop", "outrigger-system"][usize::from(scope)];
                let selector = match (scope, selector) {
                    (1, 0) => "selector: {matchLabels: {a: x}}, ",
                    (1, 1) => "selector: {matchLabels: {b: x}}, ",
                    (1, 2) => "selector: {matchLabels: {a: x, b: x}}, ",
                    (1, _) => "selector: {matchLabels: {c: x}}, ",
                    _ => "",
                };
                let ports = if of_port { "ports: [80], " } else { "" };
                let mtls = if strict { "strict" } else { "permissive" };
                let metadata = format!("name: p{number}, namespace: {namespace}");
                let policy = policy(&metadata, &format!("{{{selector}{ports}mtls: {mtls}}}"));
                governed.change(None, Some(&policy), &mut Subjects::default());
            }
            let holds = |known: Known<'_>, port: u16| {
                let told = governed.of("shop", known).manifests;
                let read = |manifest: &Arc<str>| {
                    let read = parse_documents(manifest, &Origin::file("told"), "shop");
                    super::policy(&read.expect("sound")[0]).expect("a policy").clone()
                };
                let policies: Vec<Arc<AccessPolicy>> = told.iter().map(read).collect();
                mtls(policies.iter().map(Arc::as_ref), port).says
            };
            let granted = [("a", "x"), ("b", "x")];
            for port in [80, 81] {
                let possible = [&[][..], &granted[..1], &granted[1..], &granted[..]];
                let each = possible.iter().map(|of| holds(Known::Has(&labels(of)), port));
                let strictest = each.max();
                let told = holds(Known::MayHave(&labels(&granted)), port);
                prop_assert!(Some(told) >= strictest, "{told:?} {strictest:?}");
            }
        }
    }

    #[test]
    fn what_may_be_about_a_workload_is_told_without_what_it_grants() {
        let mut governed = Governed::default();
        let one = |name: &str, spec: &str| {
            let spec = format!("{{selector: {{matchLabels: {{app: web}}}}, {spec}}}");
            policy(&format!("name: {name}"), &spec)
        };
        let deny = "{action: deny, from: [{namespaces: [far]}]}";
        for policy in [
            one("a", "mode: observe, default: allow, mtls: permissive"),
            one("b", &format!("rules: [{{action: allow}}, {deny}]")),
            one("c", "default: deny, mode: enforce"),
            one("d", "jwt: [{issuer: a, jwks: {file: k}}]"),
        ] {
            governed.change(None, Some(&policy), &mut Subjects::default());
        }
        let web = labels(&[("app", "web")]);
        let Governing { manifests, by_rules, by_tokens, limits: _ } =
            governed.of("shop", Known::MayHave(&web));
        assert_eq!(names(&manifests), ["b", "c", "d"]);
        assert_eq!((by_rules.as_deref(), by_tokens.as_deref()), (Some("shop/b"), Some("shop/d")));
        // Whom it is about is not known: until then nobody comes in.
        let whole: serde_json::Value = serde_json::from_str(&manifests[2]).expect("JSON");
        assert_eq!(whole["spec"]["rules"][0]["action"], "deny");
        assert!(whole["spec"].get("jwt").is_none());
        let told = |nth: usize| {
            let value: serde_json::Value = serde_json::from_str(&manifests[nth]).expect("JSON");
            value["spec"].clone()
        };
        assert_eq!(told(0)["default"], "deny");
        assert_eq!(told(0)["rules"].as_array().map(Vec::len), Some(1));
        assert_eq!(told(0)["rules"][0]["action"], "deny");
        assert_eq!((&told(1)["default"], &told(1)["mode"]), (&"deny".into(), &"enforce".into()));
        let known = governed.of("shop", Known::Has(&web));
        assert_eq!(names(&known.manifests), ["a", "b", "c", "d"]);
        assert_eq!(governed.of("shop", Known::Has(&Labels::new())), Governing::default());
    }
}
