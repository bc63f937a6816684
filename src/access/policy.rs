//! What holds for the workload's callers, at each port of its app.
//!
//! Made when policies change: which of several counts is found then, rules are made ready to be
//! compared, and the handles that count decisions are kept, so that a request costs a look at a few
//! port numbers and at the rules that may be about it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Permit;
use super::ask::{Ask, Held, HeldWhat, Request, What};
use super::at_port::{AtPort, Named};
use super::decision::{Decision, Why};
use crate::model::{Action, Mtls, Reason, TrustDomain};
use crate::resources::AccessPolicy;
use crate::telemetry::metrics::Counter;
use crate::telemetry::traffic::TrafficMetrics;

/// What decides where no policy does.
const DEFAULT: &str = "mesh-default";

/// Everything that holds for one workload.
#[derive(Debug)]
pub struct Policy {
    /// Which policies there are is known.
    is_told: bool,
    trust_domain: TrustDomain,
    /// Those that policies name, in ascending order.
    ports: Box<[(u16, AtPort)]>,
    elsewhere: AtPort,
    /// By the number of the policy.
    tallies: Box<[Tally]>,
    /// Where no policy decides.
    otherwise: Tally,
}

/// How often one policy decided, each way.
#[derive(Debug)]
struct Tally {
    allowed: Counter,
    denied: Counter,
    /// Denied by what is only observed.
    observed: Counter,
}

impl Policy {
    /// What `policies`, all about the same workload, come to. Their order does not matter.
    pub fn of(
        policies: &[Arc<AccessPolicy>],
        trust_domain: TrustDomain,
        metrics: &TrafficMetrics,
    ) -> Self {
        let all = || policies.iter().map(Arc::as_ref);
        let numbers: BTreeSet<u16> = all().flat_map(|policy| &policy.ports).copied().collect();
        let titles: BTreeSet<String> = all().map(AccessPolicy::title).collect();
        let titles: Vec<Arc<str>> = titles.into_iter().map(Arc::from).collect();
        let named = |policy: &AccessPolicy| {
            let title = policy.title();
            let number = titles.partition_point(|other| **other < *title);
            Named { title: Arc::clone(&titles[number]), number }
        };
        let about = |is_about: &dyn Fn(&AccessPolicy) -> bool| {
            let about: Vec<&AccessPolicy> = all().filter(|policy| is_about(policy)).collect();
            AtPort::of(&about, named)
        };
        let at = |port| (port, about(&|policy| policy.is_about(port)));
        Self {
            is_told: true,
            trust_domain,
            ports: numbers.into_iter().map(at).collect(),
            elsewhere: about(&|policy| policy.ports.is_empty()),
            tallies: titles.iter().map(|title| Tally::of(title, metrics)).collect(),
            otherwise: Tally::of(DEFAULT, metrics),
        }
    }

    /// Until policies are known: nobody comes in.
    pub fn untold(trust_domain: TrustDomain, metrics: &TrafficMetrics) -> Self {
        Self { is_told: false, ..Self::of(&[], trust_domain, metrics) }
    }

    /// What holds at a port of the app.
    pub fn at(&self, port: u16) -> &AtPort {
        match self.ports.binary_search_by_key(&port, |(named, _)| *named) {
            Ok(found) => &self.ports[found].1,
            Err(_) => &self.elsewhere,
        }
    }

    /// Each port that a policy names, and at last (`None`) all others.
    pub fn ports(&self) -> impl Iterator<Item = (Option<u16>, &AtPort)> {
        let named = self.ports.iter().map(|(port, at)| (Some(*port), at));
        named.chain([(None, &self.elsewhere)])
    }

    /// Decides, and does nothing else.
    pub fn decide(&self, ask: &Ask<'_>) -> Decision<'_> {
        let at = self.at(ask.port);
        let (mode, audit) = (at.mode.says, at.audit.says);
        let by = |action, why, policy| Decision { action, why, policy, mode, audit };
        match ask.id {
            _ if !self.is_told => return by(Action::Deny, Why::Untold, None),
            None if at.mtls.says == Mtls::Strict => {
                return by(Action::Deny, Why::Plaintext, at.mtls.by.as_ref());
            }
            Some(id) if id.trust_domain() != self.trust_domain.as_str() => {
                return by(Action::Deny, Why::Stranger, None);
            }
            _ => {}
        }
        if at.is_unheard(ask) {
            return by(Action::Deny, Why::NotHttp, at.default.by.as_ref());
        }
        if let Some((action, place)) = at.ruled(ask) {
            return by(action, Why::Rule(place), Some(&place.policy));
        }
        // Who comes in plaintext and is let in by no rule is so by what lets plaintext in.
        let cause = at.default.by.as_ref().or(at.mtls.by.as_ref().filter(|_| ask.id.is_none()));
        by(at.default.says, Why::Default, cause)
    }

    /// Counts a decision of this policy.
    pub fn count(&self, decision: &Decision<'_>) {
        let tally = decision.policy.and_then(|policy| self.tallies.get(policy.number));
        let tally = tally.unwrap_or(&self.otherwise);
        match (decision.action, decision.refusal()) {
            (Action::Allow, _) => tally.allowed.inc(),
            (Action::Deny, Some(_)) => tally.denied.inc(),
            (Action::Deny, None) => tally.observed.inc(),
        }
    }

    /// Why somebody who came in may not stay.
    pub fn refusal(&self, held: &Held) -> Option<Reason> {
        let Held { port, source, id, what } = held;
        let ask = |what| Ask { port: *port, source: *source, id: id.as_ref(), what };
        match what {
            HeldWhat::Stream { is_declared } => {
                self.decide(&ask(What::Stream { is_declared: *is_declared })).refusal()
            }
            HeldWhat::Request(parts) => {
                let request = Request::of(parts, self.at(*port).has_paths());
                self.decide(&ask(What::Request(&request))).refusal()
            }
        }
    }

    /// Decides, and counts the decision.
    ///
    /// # Errors
    /// Why the caller is refused.
    pub fn admit(&self, ask: &Ask<'_>) -> Result<Permit, Reason> {
        let decision = self.decide(ask);
        self.count(&decision);
        decision.permit()
    }
}

impl Tally {
    fn of(policy: &str, metrics: &TrafficMetrics) -> Self {
        let of = |decision| metrics.decision(policy, decision);
        Self { allowed: of("allow"), denied: of("deny"), observed: of("would-deny") }
    }
}
