//! What policies come to: tables of decisions, what holds for any of them, and an oracle.

mod matrix;
mod oracle;
mod random;

use std::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;

use super::*;
use crate::model::{Mtls, Reason, SpiffeId, TrustDomain};
use crate::resources::{AccessPolicy, Origin, Resource, parse_documents};
use crate::telemetry::metrics::Registry;
use crate::telemetry::traffic::TrafficMetrics;

/// A policy as `namespace/name` and its spec.
pub(super) fn policy(title: &str, spec: &str) -> Arc<AccessPolicy> {
    let (namespace, name) = title.split_once('/').expect("namespace/name");
    let text = format!(
        "{{apiVersion: outrigger.dev/v1alpha1, kind: AccessPolicy, \
         metadata: {{name: {name}, namespace: {namespace}}}, spec: {spec}}}"
    );
    let read = parse_documents(&text, &Origin::file("test"), "shop").expect(spec);
    match &read[..] {
        [Resource::AccessPolicy(policy)] => Arc::clone(policy),
        other => panic!("{other:?}"),
    }
}

fn compiled(policies: &[Arc<AccessPolicy>], registry: &Registry) -> Policy {
    Policy::of(policies, TrustDomain::default(), &TrafficMetrics::register(registry))
}

fn of(specs: &[(&str, &str)]) -> Policy {
    let policies: Vec<_> = specs.iter().map(|(title, spec)| policy(title, spec)).collect();
    compiled(&policies, &Registry::default())
}

fn id(text: &str) -> SpiffeId {
    SpiffeId::parse(text).expect("a valid id")
}

/// Somebody who asks, as tests write it.
#[derive(Clone, Debug)]
struct Asker {
    port: u16,
    source: IpAddr,
    id: Option<SpiffeId>,
    what: Asked,
}

#[derive(Clone, Debug)]
enum Asked {
    Request(Box<Parts>),
    Declared,
    Heard,
}

impl Asker {
    fn plain(port: u16) -> Self {
        Self { port, source: [10, 0, 0, 1].into(), id: None, what: Asked::Declared }
    }

    fn proven(port: u16, text: &str) -> Self {
        Self { id: Some(id(text)), ..Self::plain(port) }
    }

    /// Lets `judge` see what `policy` decides.
    fn ask<T>(&self, policy: &Policy, judge: impl FnOnce(Decision<'_>, Option<String>) -> T) -> T {
        let ask = |what| Ask { port: self.port, source: self.source, id: self.id.as_ref(), what };
        match &self.what {
            Asked::Request(parts) => {
                let request = Request::of(parts, policy.at(self.port).has_paths());
                judge(policy.decide(&ask(What::Request(&request))), request.changed_path())
            }
            Asked::Declared => judge(policy.decide(&ask(What::Stream { is_declared: true })), None),
            Asked::Heard => judge(policy.decide(&ask(What::Stream { is_declared: false })), None),
        }
    }

    /// The word, the policy and the rule.
    fn verdict(&self, policy: &Policy) -> String {
        self.ask(policy, |decision, _| {
            let by = decision.policy.map_or("-", |policy| &policy.title);
            format!("{} {by} {}", decision.word(), decision.rule())
        })
    }

    fn refusal(&self, policy: &Policy) -> Option<Reason> {
        self.ask(policy, |decision, _| decision.refusal())
    }
}

#[test]
fn without_policies_only_proven_identities_of_the_trust_domain_get_in() {
    let policy = of(&[]);
    let ours = Asker::proven(80, "spiffe://cluster.local/ns/shop/sa/web");
    let theirs = Asker::proven(80, "spiffe://elsewhere.example/ns/shop/sa/web");
    assert_eq!(ours.verdict(&policy), "allow - default");
    assert_eq!(theirs.verdict(&policy), "deny - trust-domain");
    assert_eq!(theirs.refusal(&policy), Some(Reason::Denied));
    assert_eq!(Asker::plain(80).refusal(&policy), Some(Reason::MtlsRequired));
    assert_eq!(policy.ports().count(), 1);
}

#[test]
fn each_port_has_its_own_and_says_whose_it_is() {
    let policies = [
        policy("shop/all", "{mtls: permissive}"),
        policy("shop/db", "{ports: [5432, 80], mtls: strict}"),
    ];
    let registry = Registry::default();
    let policy = compiled(&policies, &registry);
    for (port, lets_in, by) in [(8080, true, "all"), (5432, false, "db"), (80, false, "db")] {
        let plain = Asker::plain(port);
        plain.ask(&policy, |decision, _| policy.count(&decision));
        assert_eq!(plain.refusal(&policy).is_none(), lets_in, "{port}");
        let said = policy.at(port).mtls.by.as_ref().map(|by| &*by.title);
        assert_eq!(said, Some(&*format!("shop/{by}")));
        // Whoever shows an identity is judged by it, however open the port.
        let theirs = Asker::proven(port, "spiffe://elsewhere.example/ns/shop/sa/web");
        theirs.ask(&policy, |decision, _| policy.count(&decision));
        assert_eq!(theirs.refusal(&policy), Some(Reason::Denied));
    }
    let listed: Vec<_> = policy.ports().map(|(port, at)| (port, at.mtls.says)).collect();
    let expected = [(Some(80), Mtls::Strict), (Some(5432), Mtls::Strict), (None, Mtls::Permissive)];
    assert_eq!(listed, expected);
    let metrics = TrafficMetrics::register(&registry);
    let counted = |policy: &str, decision| metrics.decision(policy, decision).value();
    for (policy, allowed, denied) in [("shop/all", 1, 0), ("shop/db", 0, 2), ("mesh-default", 0, 3)]
    {
        assert_eq!((counted(policy, "allow"), counted(policy, "deny")), (allowed, denied));
    }
}

#[test]
fn the_path_that_is_judged_is_the_one_that_the_app_gets() {
    let policy = of(&[("shop/a", "{ports: [80], rules: [{action: deny, to: [{paths: [/x]}]}]}")]);
    let changed = |port, path: &str| {
        let parts = http::Request::get(path).body(()).expect("a request").into_parts().0;
        let what = Asked::Request(parts.into());
        Asker { what, ..Asker::proven(port, "spiffe://cluster.local/ns/shop/sa/web") }
            .ask(&policy, |_, path| path)
    };
    assert_eq!(changed(80, "/a//b/%2e%2e/c?d=//").as_deref(), Some("/a/c"));
    assert_eq!(changed(80, "/a/c?d=//"), None);
    assert_eq!(changed(81, "/a//b/%2e%2e/c"), None, "no rule asks for paths there");
}

#[test]
fn a_web_socket_over_http_2_is_judged_as_the_get_that_the_app_sees() {
    let spec = "{rules: [{action: deny, to: [{methods: [GET], paths: [/admin]}]}]}";
    let policy = of(&[("shop/a", spec)]);
    let mut parts = http::Request::get("/admin").body(()).expect("a request").into_parts().0;
    parts.method = http::Method::CONNECT;
    parts.extensions.insert(hyper::ext::Protocol::from_static("websocket"));
    let who = Asker::proven(80, "spiffe://cluster.local/ns/shop/sa/web");
    let asker = Asker { what: Asked::Request(parts.into()), ..who };
    assert_eq!(asker.verdict(&policy), "deny shop/a 0");
}

#[test]
fn what_asks_for_a_token_lets_nobody_in_and_keeps_everybody_out() {
    let rows = [
        ("{rules: [{action: allow, from: [{claims: {roles: [admin]}}]}]}", "deny shop/a default"),
        ("{rules: [{action: allow, from: [{apiKeys: [partner]}]}]}", "deny shop/a default"),
        ("{rules: [{action: deny, from: [{claims: {roles: guest}}]}]}", "deny shop/a 0"),
        ("{rules: [{action: deny, from: [{apiKeys: [partner]}]}]}", "deny shop/a 0"),
        (
            "{rules: [{action: deny, from: [{apiKeys: [p], ipBlocks: [192.168.0.0/16]}]}]}",
            "allow - default",
        ),
    ];
    let who = Asker::proven(80, "spiffe://cluster.local/ns/shop/sa/web");
    for (spec, verdict) in rows {
        assert_eq!(who.verdict(&of(&[("shop/a", spec)])), verdict, "{spec}");
    }
}
