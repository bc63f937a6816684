//! What holds for the workload's callers, at each port of its app.
//!
//! Made when policies change: which of several counts is found then, with the handles that count
//! its decisions, so that a request costs a look at a few port numbers. Every identity of the trust
//! domain may call; who proves none may where a policy says `permissive`.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Permit;
use crate::model::{Mtls, Reason, SpiffeId, TrustDomain};
use crate::resources::AccessPolicy;
use crate::resources::access_policy::level::{self, Ruling};
use crate::telemetry::metrics::Counter;
use crate::telemetry::traffic::TrafficMetrics;

/// What decides where no policy does.
const DEFAULT: &str = "mesh-default";

/// Everything that holds for one workload.
#[derive(Debug)]
pub struct Policy {
    trust_domain: TrustDomain,
    /// Those that policies name, in ascending order.
    ports: Box<[(u16, AtPort)]>,
    elsewhere: AtPort,
    /// Of callers who prove who they are.
    proven: Tally,
}

/// What holds at a port of the app.
#[derive(Debug)]
pub struct AtPort {
    pub mtls: Mtls,
    /// The policy that says so, as `namespace/name`; `None`: none does.
    pub by: Option<Arc<str>>,
    /// Of callers who don't.
    unproven: Tally,
}

/// How often one policy decided, each way.
#[derive(Debug)]
struct Tally {
    allowed: Counter,
    denied: Counter,
}

impl Policy {
    /// What `policies`, all about the same workload, come to. Their order does not matter.
    pub fn of(
        policies: &[Arc<AccessPolicy>],
        trust_domain: TrustDomain,
        metrics: &TrafficMetrics,
    ) -> Self {
        let all = || policies.iter().map(Arc::as_ref);
        let named: BTreeSet<u16> = all().flat_map(|policy| &policy.ports).copied().collect();
        let at = |port| (port, AtPort::of(level::mtls(all(), port), metrics));
        Self {
            trust_domain,
            ports: named.into_iter().map(at).collect(),
            elsewhere: AtPort::of(level::mtls_elsewhere(all()), metrics),
            proven: Tally::of(DEFAULT, metrics),
        }
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

    /// Decides for a caller; `None` is one that came in plaintext.
    ///
    /// # Errors
    /// [`Reason::MtlsRequired`] in plaintext, [`Reason::Denied`] for an identity of elsewhere.
    pub fn decide(&self, port: u16, caller: Option<&SpiffeId>) -> Result<Permit, Reason> {
        match caller {
            None if self.at(port).mtls == Mtls::Permissive => Ok(Permit(())),
            None => Err(Reason::MtlsRequired),
            Some(id) if id.trust_domain() == self.trust_domain.as_str() => Ok(Permit(())),
            Some(_) => Err(Reason::Denied),
        }
    }

    /// Decides, and counts the decision.
    ///
    /// # Errors
    /// As [`Self::decide`].
    pub fn admit(&self, port: u16, caller: Option<&SpiffeId>) -> Result<Permit, Reason> {
        let decided = self.decide(port, caller);
        let tally = if caller.is_some() { &self.proven } else { &self.at(port).unproven };
        if decided.is_ok() {
            tally.allowed.inc()
        } else {
            tally.denied.inc()
        }
        decided
    }
}

impl AtPort {
    fn of(Ruling { says: mtls, by }: Ruling<'_, Mtls>, metrics: &TrafficMetrics) -> Self {
        let by = by.map(|policy| Arc::<str>::from(policy.title()));
        let unproven = Tally::of(by.as_deref().unwrap_or(DEFAULT), metrics);
        Self { mtls, by, unproven }
    }
}

impl Tally {
    fn of(policy: &str, metrics: &TrafficMetrics) -> Self {
        let of = |decision| metrics.decision(policy, decision);
        Self { allowed: of("allow"), denied: of("deny") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::{Origin, Resource, parse_documents};
    use crate::telemetry::metrics::Registry;

    fn policies(specs: &[(&str, &str)]) -> Vec<Arc<AccessPolicy>> {
        let one = |(name, spec): &(&str, &str)| {
            let text = format!(
                "{{apiVersion: outrigger.dev/v1alpha1, kind: AccessPolicy, \
                 metadata: {{name: {name}}}, spec: {spec}}}"
            );
            let read = parse_documents(&text, &Origin::file("test"), "shop").expect("sound");
            match &read[..] {
                [Resource::AccessPolicy(policy)] => Arc::clone(policy),
                other => panic!("{other:?}"),
            }
        };
        specs.iter().map(one).collect()
    }

    fn compiled(specs: &[(&str, &str)], registry: &Registry) -> Policy {
        let metrics = TrafficMetrics::register(registry);
        Policy::of(&policies(specs), TrustDomain::default(), &metrics)
    }

    fn id(text: &str) -> SpiffeId {
        SpiffeId::parse(text).expect("a valid id")
    }

    #[test]
    fn without_policies_only_proven_identities_of_the_trust_domain_get_in() {
        let policy = compiled(&[], &Registry::default());
        let ours = id("spiffe://cluster.local/ns/shop/sa/web");
        let theirs = id("spiffe://elsewhere.example/ns/shop/sa/web");
        assert!(policy.decide(80, Some(&ours)).is_ok());
        assert_eq!(policy.decide(80, Some(&theirs)).err(), Some(Reason::Denied));
        assert_eq!(policy.decide(80, None).err(), Some(Reason::MtlsRequired));
        assert_eq!(policy.ports().count(), 1);
    }

    #[test]
    fn each_port_has_its_own_mode_and_says_whose_it_is() {
        let specs = [("all", "{mtls: permissive}"), ("db", "{ports: [5432, 80], mtls: strict}")];
        let registry = Registry::default();
        let policy = compiled(&specs, &registry);
        let theirs = id("spiffe://elsewhere.example/ns/shop/sa/web");
        for (port, lets_in, by) in [(8080, true, "all"), (5432, false, "db"), (80, false, "db")] {
            assert_eq!(policy.admit(port, None).is_ok(), lets_in, "{port}");
            assert_eq!(policy.at(port).by.as_deref(), Some(&*format!("shop/{by}")));
            // Whoever shows an identity is judged by it, however open the port.
            assert_eq!(policy.admit(port, Some(&theirs)).err(), Some(Reason::Denied));
        }
        let listed: Vec<_> = policy.ports().map(|(port, at)| (port, at.mtls)).collect();
        let expected =
            [(Some(80), Mtls::Strict), (Some(5432), Mtls::Strict), (None, Mtls::Permissive)];
        assert_eq!(listed, expected);
        let metrics = TrafficMetrics::register(&registry);
        let counted = |policy: &str, decision| metrics.decision(policy, decision).value();
        let rows = [("shop/all", 1, 0), ("shop/db", 0, 2), ("mesh-default", 0, 3)];
        for (policy, allowed, denied) in rows {
            assert_eq!((counted(policy, "allow"), counted(policy, "deny")), (allowed, denied));
        }
    }
}
