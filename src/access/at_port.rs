//! What holds at one port of the app: what the nearest policies say, and the rules of all of them.

use std::sync::Arc;

use super::ask::{Ask, What};
use super::decision::Lack;
use super::index::Index;
use super::rule::{Rule, Supposed};
use super::tokens::{Intake, Tokens};
use crate::model::{Action, Audit, Mode, Mtls};
use crate::resources::AccessPolicy;
use crate::resources::access_policy::level::{self, Rulings};
use crate::resources::access_policy::rule as written;

/// What holds at a port of the app.
#[derive(Debug)]
pub struct AtPort {
    pub mtls: Said<Mtls>,
    pub mode: Said<Mode>,
    /// What is done with those for whom no rule holds. Where no policy says it, it is denied by the
    /// nearest of those whose rules allow somebody, else allowed by none.
    pub default: Said<Action>,
    pub audit: Said<Audit>,
    /// Those that deny first.
    places: Box<[Place]>,
    rules: Box<[Rule]>,
    index: Index,
    intake: Option<Box<Intake>>,
    has_paths: bool,
    has_http: bool,
}

/// Something that a policy says.
#[derive(Clone, Debug)]
pub struct Said<T> {
    pub says: T,
    /// `None`: no policy does.
    pub by: Option<Named>,
}

/// A policy of the workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// `namespace/name`.
    pub title: Arc<str>,
    pub(super) number: usize,
}

/// Where a rule stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub policy: Named,
    /// From 0, as in the policy.
    pub nth: usize,
}

impl AtPort {
    /// What `policies`, which are all about the port, come to. Their order does not matter.
    pub fn of(
        policies: &[&AccessPolicy],
        named: impl Fn(&AccessPolicy) -> Named,
        tokens: &Tokens,
    ) -> Self {
        let mut rules: Vec<(&written::Rule, Place)> = Vec::new();
        for policy in policies {
            let named = named(policy);
            let place = |nth| Place { policy: named.clone(), nth };
            rules.extend((0..).zip(&policy.rules).map(|(nth, rule)| (rule, place(nth))));
        }
        let key = |(rule, place): &(&written::Rule, Place)| {
            (rule.action == Action::Allow, Arc::clone(&place.policy.title), place.nth)
        };
        rules.sort_by_cached_key(key);
        let rulings = level::rulings(policies.iter().copied());
        let default = default(&rulings, policies);
        let intake = Intake::of(policies, &named, tokens);
        Self {
            mtls: said(rulings.mtls.says, rulings.mtls.by, &named),
            mode: said(rulings.mode.says, rulings.mode.by, &named),
            default: said(default.0, default.1, &named),
            audit: said(rulings.audit.says, rulings.audit.by, &named),
            index: Index::of(rules.iter().map(|(rule, _)| *rule)),
            has_paths: rules.iter().any(|(rule, _)| rule.has_paths()),
            has_http: intake.is_some() || rules.iter().any(|(rule, _)| rule.is_of_http()),
            intake,
            rules: rules.iter().map(|(rule, _)| Rule::of(rule)).collect(),
            places: rules.into_iter().map(|(_, place)| place).collect(),
        }
    }

    /// Whether a rule asks for paths, so that the app gets them normalised.
    pub fn has_paths(&self) -> bool {
        self.has_paths
    }

    /// Whether what is not HTTP is refused where its port does not declare it.
    pub fn expects_http(&self) -> bool {
        self.has_http && self.mode.says == Mode::Enforce
    }

    /// Whose tokens and keys count; `None`: nobody's.
    pub fn intake(&self) -> Option<&Intake> {
        self.intake.as_deref()
    }

    /// What somebody who is denied could have shown to be let in.
    pub(super) fn lacks(&self, ask: &Ask<'_>) -> Option<Lack> {
        let (What::Request(request), Some(intake)) = (ask.what, &self.intake) else { return None };
        let (tokens, keys) = intake.takes();
        let lacks_token = tokens && request.shown.claims.is_none();
        let lacks_key = keys && request.shown.api_key.is_none();
        let supposed = |shown| Supposed {
            claims: lacks_token.then_some(shown),
            key: lacks_key.then_some(shown),
        };
        let holds = |rule: &Rule| match rule.action {
            // Whatever it were, it would be one that is not denied.
            Action::Deny => rule.holds_supposing(ask, supposed(false)),
            Action::Allow => rule.holds_supposing(ask, supposed(true)),
        };
        let of = |action: Action| self.rules.iter().filter(move |rule| rule.action == action);
        if !(lacks_token || lacks_key) || of(Action::Deny).any(holds) {
            return None;
        }
        let could_be = self.default.says == Action::Allow || of(Action::Allow).any(holds);
        could_be.then_some(if lacks_token { Lack::Token } else { Lack::Key })
    }

    /// Each rule, those that deny first.
    pub fn rules(&self) -> impl Iterator<Item = (Action, &Place)> {
        self.rules.iter().map(|rule| rule.action).zip(&self.places)
    }

    /// Those that ask for what a token or a key shows.
    pub fn asking(&self) -> impl Iterator<Item = &Place> {
        let asking = self.rules.iter().zip(&self.places);
        asking.filter(|(rule, _)| rule.asks_for_credentials()).map(|(_, place)| place)
    }

    /// The first rule that holds; those that deny come first.
    pub(super) fn ruled(&self, ask: &Ask<'_>) -> Option<(Action, &Place)> {
        let at = self.index.first(&self.rules, ask)?;
        Some((self.rules[at].action, &self.places[at]))
    }

    pub(super) fn is_unheard(&self, ask: &Ask<'_>) -> bool {
        matches!(ask.what, What::Stream { is_declared: false }) && self.expects_http()
    }
}

fn said<T>(says: T, by: Option<&AccessPolicy>, named: impl Fn(&AccessPolicy) -> Named) -> Said<T> {
    Said { says, by: by.map(named) }
}

/// What is done with those for whom no rule holds, and which policy is the cause.
fn default<'a>(
    rulings: &Rulings<'a>,
    policies: &[&'a AccessPolicy],
) -> (Action, Option<&'a AccessPolicy>) {
    if let Some(says) = rulings.default.says {
        return (says, rulings.default.by);
    }
    let allows =
        |policy: &&&AccessPolicy| policy.rules.iter().any(|rule| rule.action == Action::Allow);
    let name = |policy: &AccessPolicy| std::cmp::Reverse(policy.title());
    let nearest = policies.iter().filter(allows);
    let nearest = nearest.max_by_key(|policy| (policy.level(), name(policy)));
    match nearest {
        Some(policy) => (Action::Deny, Some(*policy)),
        None => (Action::Allow, None),
    }
}
