//! What of a policy counts while nobody knows whether it is about a workload.
//!
//! A workload that has not registered yet may come to have the labels that a policy selects. Then
//! what the policy asks for counts, and what it grants doesn't: nobody is let in whom any of the
//! possible sets of labels would keep out.

use super::AccessPolicy;
use super::unread::NOBODY;
use crate::model::{Action, Mode, Mtls};

impl AccessPolicy {
    /// The policy without what it grants; `None` when nothing is left.
    pub fn cautious(&self) -> Option<AccessPolicy> {
        let is_denied = |action: Action| action == Action::Deny;
        let allows = self.rules.iter().any(|rule| rule.action == Action::Allow);
        let mut rules: Vec<_> =
            self.rules.iter().filter(|rule| is_denied(rule.action)).cloned().collect();
        // Taking a token is a grant, and refusing a bad one is not: nobody does both by halves.
        if !self.jwt.is_empty() || self.api_keys.is_some() {
            rules.push(NOBODY);
        }
        let policy = AccessPolicy {
            metadata: self.metadata.clone(),
            selector: self.selector.clone(),
            ports: self.ports.clone(),
            jwt: Vec::new(),
            api_keys: None,
            mode: self.mode.filter(|mode| *mode == Mode::Enforce),
            mtls: self.mtls.filter(|mtls| *mtls == Mtls::Strict),
            // A rule that allows somebody keeps out whoever it does not name.
            default: (allows || self.default.is_some_and(is_denied)).then_some(Action::Deny),
            audit: self.audit,
            rules,
        };
        let AccessPolicy { mode, mtls, default, audit, rules, .. } = &policy;
        let says = mode.is_some() || mtls.is_some() || default.is_some() || audit.is_some();
        (says || !rules.is_empty()).then_some(policy)
    }
}
