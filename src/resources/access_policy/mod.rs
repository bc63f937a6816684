//! `AccessPolicy`: who may call a workload.
//!
//! Read and printed here (`rule` and what it is made of: `source`, `operation`, `pattern`; `jwt` and
//! `api_keys`: what else callers can show); `level` says which of several counts. What this version
//! would not act on is refused, never passed over: a rule that nobody keeps would let somebody in.
//! `unread` says what counts meanwhile, `cautious` what does while nobody knows whether a policy is
//! about a workload.

pub mod api_keys;
mod cautious;
pub mod jwt;
pub mod level;
pub(super) mod operation;
pub mod pattern;
pub mod rule;
mod source;
mod unread;

#[cfg(test)]
mod tests;

use serde_json::{Value, json};

use super::decode::{Decoder, Fields};
use super::manifest::object;
use super::metadata::Metadata;
use super::names::Labels;
use super::node::Node;
use super::scalar::choice;
use super::subject::{Subject, ports, selector};
use crate::model::{Action, Audit, Mode, Mtls};
pub use api_keys::ApiKeys;
pub use jwt::{Introspection, Judge, Jwt, KeySource, TokenPlace};
pub use rule::Rule;

/// Who may call the workloads that it selects.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessPolicy {
    pub metadata: Metadata,
    /// Labels that a workload must have; empty: every workload of the namespace, or of the mesh in
    /// the namespace `outrigger-system`.
    pub selector: Labels,
    /// The app's, in ascending order; empty: all.
    pub ports: Vec<u16>,
    /// Whose tokens count; they add up with those of other policies.
    pub jwt: Vec<Jwt>,
    /// Whose keys count; they add up too.
    pub api_keys: Option<ApiKeys>,
    /// Absent: as another policy says, or enforced.
    pub mode: Option<Mode>,
    /// Absent: as another policy says, or strict.
    pub mtls: Option<Mtls>,
    /// What is done with those for whom no rule holds. Absent: as another policy says, or denied if
    /// any rule at the port allows somebody, else allowed.
    pub default: Option<Action>,
    /// Absent: as another policy says, or none.
    pub audit: Option<Audit>,
    /// In the order written; they add up with those of other policies, in any order.
    pub rules: Vec<Rule>,
}

const MTLS: &[(&str, Mtls)] =
    &[(Mtls::Strict.as_str(), Mtls::Strict), (Mtls::Permissive.as_str(), Mtls::Permissive)];
const MODES: &[(&str, Mode)] =
    &[(Mode::Enforce.as_str(), Mode::Enforce), (Mode::Observe.as_str(), Mode::Observe)];
const DEFAULTS: &[(&str, Action)] =
    &[(Action::Allow.as_str(), Action::Allow), (Action::Deny.as_str(), Action::Deny)];
const AUDITS: &[(&str, Audit)] = &[
    (Audit::None.as_str(), Audit::None),
    (Audit::Denied.as_str(), Audit::Denied),
    (Audit::All.as_str(), Audit::All),
];

pub(super) fn decode(
    metadata: Option<Metadata>,
    spec: &Node,
    decoder: &mut Decoder,
) -> Option<AccessPolicy> {
    let mut fields = Fields::open(spec, decoder)?;
    fields.refuse_empty();
    let selector = fields.optional("selector", selector);
    let ports = fields.optional("ports", ports);
    let mode = fields.optional("mode", choice(MODES));
    let mtls = fields.optional("mtls", choice(MTLS));
    let jwt = fields.optional("jwt", jwt::decode);
    let api_keys = fields.optional("apiKeys", api_keys::decode);
    let default = fields.optional("default", choice(DEFAULTS));
    let audit = fields.optional("audit", choice(AUDITS));
    let rules = fields.optional("rules", rule::rules);
    fields.close();
    Some(AccessPolicy {
        metadata: metadata?,
        selector: selector.unwrap_or_default(),
        ports: ports.unwrap_or_default(),
        jwt: jwt.unwrap_or_default(),
        api_keys,
        mode,
        mtls,
        default,
        audit,
        rules: rules.unwrap_or_default(),
    })
}

/// What it says, in the shape it is written in.
pub(super) fn spec(policy: &AccessPolicy) -> Value {
    let AccessPolicy { metadata: _, selector, ports, jwt, api_keys, .. } = policy;
    let AccessPolicy { mode, mtls, default, audit, rules, .. } = policy;
    let issuers: Vec<Value> = jwt.iter().map(jwt::spec).collect();
    let rules: Vec<Value> = rules.iter().map(rule::spec).collect();
    object([
        ("selector", (!selector.is_empty()).then(|| json!({"matchLabels": selector}))),
        ("ports", (!ports.is_empty()).then(|| json!(ports))),
        ("mode", mode.map(|mode| json!(mode.as_str()))),
        ("mtls", mtls.map(|mtls| json!(mtls.as_str()))),
        ("jwt", (!issuers.is_empty()).then(|| Value::from(issuers))),
        ("apiKeys", api_keys.as_ref().map(api_keys::spec)),
        ("default", default.map(|default| json!(default.as_str()))),
        ("audit", audit.map(|audit| json!(audit.as_str()))),
        ("rules", (!rules.is_empty()).then(|| Value::from(rules))),
    ])
}

impl AccessPolicy {
    /// Whether it is about a workload with these labels, at any of its ports.
    pub fn concerns(&self, namespace: &str, labels: &Labels) -> bool {
        self.about().concerns(namespace, labels)
    }

    /// Whether it is about every workload of every namespace.
    pub fn is_of_mesh(&self) -> bool {
        self.about().is_of_mesh()
    }

    /// Whether it says more than which callers must prove an identity.
    pub fn is_of_rules(&self) -> bool {
        let Self { metadata: _, selector: _, ports: _, mtls: _, jwt, api_keys, .. } = self;
        let Self { mode, default, audit, rules, .. } = self;
        let reads = !jwt.is_empty() || api_keys.is_some();
        reads || mode.is_some() || default.is_some() || audit.is_some() || !rules.is_empty()
    }

    /// Whether it takes somebody who can read tokens and keys to keep it.
    pub fn is_of_tokens(&self) -> bool {
        let asks = self.rules.iter().any(Rule::needs_token);
        asks || !self.jwt.is_empty() || self.api_keys.is_some()
    }

    /// For each rule that asks for what no caller can show by this policy, what becomes of it.
    pub fn unread_rules(&self) -> impl Iterator<Item = String> {
        let rules = self.rules.iter().enumerate();
        rules.filter_map(|(nth, rule)| {
            let (what, field) = self.lacks(rule)?;
            let does = match rule.action {
                Action::Allow => "allows nobody",
                Action::Deny => "denies everybody that the rest of it is about",
            };
            Some(format!(
                "rules[{nth}] asks for {what}, and the policy has no `{field}`: it {does}, unless \
                 another policy of the workload has"
            ))
        })
    }

    fn lacks(&self, rule: &Rule) -> Option<(&'static str, &'static str)> {
        let claims = rule.from.iter().any(|source| !source.claims.is_empty());
        let keys = rule.from.iter().any(|source| !source.api_keys.is_empty());
        if claims && self.jwt.is_empty() {
            return Some(("a token's claims", "jwt"));
        }
        (keys && self.api_keys.is_none()).then_some(("an API key", "apiKeys"))
    }

    /// Whom it is about, for people.
    pub fn subject(&self) -> String {
        self.about().workloads()
    }

    /// The same with the ports, if it names any.
    pub fn scope(&self) -> String {
        self.about().scope()
    }

    /// `namespace/name`, as pages and metrics name it.
    pub fn title(&self) -> String {
        self.about().title()
    }

    /// Which workloads and ports it is about.
    pub fn about(&self) -> Subject<'_> {
        Subject { metadata: &self.metadata, selector: &self.selector, ports: &self.ports }
    }
}
