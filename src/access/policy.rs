//! What holds for the workload's callers, at each port of its app.
//!
//! Made when policies change: which of several counts is found then, rules are made ready to be
//! compared, and the handles that count decisions are kept, so that a request costs a look at a few
//! port numbers and at the rules that may be about it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::Permit;
use super::ask::{Ask, Held, HeldWhat, Request, What};
use super::at_port::{AtPort, Named};
use super::decision::{Decision, Why};
use super::tokens::{Intake, Issuer, Known, Tokens};
use crate::model::{Action, Mtls, Reason, SpiffeId, TrustDomain};
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
    ports: Box<[(u16, Arc<AtPort>)]>,
    elsewhere: Arc<AtPort>,
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
        Self::with(policies, trust_domain, metrics, &Tokens::default())
    }

    /// The same, with issuers that are there already.
    pub fn with(
        policies: &[Arc<AccessPolicy>],
        trust_domain: TrustDomain,
        metrics: &TrafficMetrics,
        tokens: &Tokens,
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
        // Ports of the same policies share what those come to: there may be many of both.
        let mut made: HashMap<Vec<bool>, Arc<AtPort>> = HashMap::new();
        let mut about = |is_about: &dyn Fn(&AccessPolicy) -> bool| {
            let which: Vec<bool> = all().map(is_about).collect();
            let at = |which: &Vec<bool>| {
                let about = all().zip(which).filter(|(_, is_about)| **is_about);
                let about: Vec<&AccessPolicy> = about.map(|(policy, _)| policy).collect();
                Arc::new(AtPort::of(&about, named, tokens))
            };
            Arc::clone(made.entry(which).or_insert_with_key(at))
        };
        let elsewhere = about(&|policy| policy.ports.is_empty());
        Self {
            is_told: true,
            trust_domain,
            ports: numbers.iter().map(|of| (*of, about(&|policy| policy.is_about(*of)))).collect(),
            elsewhere,
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
        let named = self.ports.iter().map(|(port, at)| (Some(*port), &**at));
        named.chain([(None, &*self.elsewhere)])
    }

    /// Every issuer whose tokens count somewhere.
    pub fn issuers(&self) -> Vec<Arc<Issuer>> {
        let intakes = self.ports().filter_map(|(_, at)| at.intake());
        intakes.flat_map(|intake| intake.issuers().map(|(issuer, _)| Arc::clone(issuer))).collect()
    }

    /// Why nobody of this identity comes in, whatever else they show.
    fn is_closed_to(&self, at: &AtPort, id: Option<&SpiffeId>) -> Option<Why<'static>> {
        match id {
            _ if !self.is_told => Some(Why::Untold),
            None if at.mtls.says == Mtls::Strict => Some(Why::Plaintext),
            Some(id) if id.trust_domain() != self.trust_domain.as_str() => Some(Why::Stranger),
            _ => None,
        }
    }

    /// What may be shown at a port beside an identity, by somebody of this one; `None`: nothing that
    /// would change anything, so that it need not be looked at.
    pub fn intake(&self, port: u16, id: Option<&SpiffeId>) -> Option<&Intake> {
        let at = self.at(port);
        at.intake().filter(|_| self.is_closed_to(at, id).is_none())
    }

    /// Decides, and does nothing else.
    pub fn decide(&self, ask: &Ask<'_>) -> Decision<'_> {
        let at = self.at(ask.port);
        let (mode, audit) = (at.mode.says, at.audit.says);
        let by = |action, why, policy| Decision { action, why, policy, mode, audit, lacks: None };
        if let Some(why) = self.is_closed_to(at, ask.id) {
            let policy = at.mtls.by.as_ref().filter(|_| matches!(why, Why::Plaintext));
            return by(Action::Deny, why, policy);
        }
        if at.is_unheard(ask) {
            return by(Action::Deny, Why::NotHttp, at.default.by.as_ref());
        }
        if let What::Request(Request { fault: Some(fault), .. }) = ask.what {
            let policy = at.intake().and_then(|intake| intake.named(*fault));
            return by(Action::Deny, Why::Token(fault.trouble), policy);
        }
        let lacking = |decision: &Decision<'_>| match decision.action {
            Action::Allow => None,
            Action::Deny => at.lacks(ask),
        };
        if let Some((action, place)) = at.ruled(ask) {
            let decision = by(action, Why::Rule(place), Some(&place.policy));
            return Decision { lacks: lacking(&decision), ..decision };
        }
        // Who comes in plaintext and is let in by no rule is so by what lets plaintext in.
        let cause = at.default.by.as_ref().or(at.mtls.by.as_ref().filter(|_| ask.id.is_none()));
        let decision = by(at.default.says, Why::Default, cause);
        Decision { lacks: lacking(&decision), ..decision }
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
        self.review(held, |_, decision| decision.refusal())
    }

    /// Decides once more about somebody who came in, and shows what was asked, and the decision.
    pub fn review<R>(&self, held: &Held, see: impl FnOnce(&Ask<'_>, &Decision<'_>) -> R) -> R {
        let Held { port, source, id, what } = held;
        let ask = |what| Ask { port: *port, source: *source, id: id.as_ref(), what };
        let see = |ask: Ask<'_>| see(&ask, &self.decide(&ask));
        match what {
            HeldWhat::Stream { is_declared } => {
                see(ask(What::Stream { is_declared: *is_declared }))
            }
            HeldWhat::Request(parts, shown) => {
                let at = self.at(*port);
                let known = Known::again(shown, at.intake());
                let request = Request::of(parts, at.has_paths()).showing(&known);
                see(ask(What::Request(&request)))
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
