//! `HTTPRoute`, of which every field of the Gateway API is acted on or refused: parents are
//! services, and what only a gateway at the edge could do has no place here.

use std::collections::HashSet;
use std::time::Duration;

use super::backends::backends;
use super::filters::{Place, filters};
use super::matches::{all_have_prefixes, everything, matches};
use super::parents::{hostnames, namespace, parents};
use super::{HttpRoute, HttpRule, RouteRetry, RouteTimeouts, bounds};
use crate::model::{Filter, RouteKind};
use crate::resources::decode::{Decoder, Fields, distinct, distinct_values, list};
use crate::resources::metadata::Metadata;
use crate::resources::names::dns_subdomain;
use crate::resources::node::Node;
use crate::resources::scalar::{duration, duration_or_zero, integer};

pub(super) const NO_GATEWAYS: &str =
    "is not supported: a route of the mesh hangs on the Services that parentRefs names";
pub(super) const NO_SESSIONS: &str =
    "is not supported: use a TrafficPolicy with loadBalancing.hashOn.cookie";

/// Longer is as good as never, which is what an absent limit means.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

pub(in crate::resources) fn decode(
    metadata: Option<Metadata>,
    spec: &Node,
    decoder: &mut Decoder,
) -> Option<HttpRoute> {
    bounds::check(spec, decoder)?;
    let namespace = namespace(metadata.as_ref());
    let mut fields = Fields::open(spec, decoder)?;
    let parents = fields.required("parentRefs", |node, d| parents(node, d, &namespace));
    let hostnames = fields.optional("hostnames", hostnames).unwrap_or_default();
    let rules = fields.optional("rules", |node, decoder| rules(node, decoder, &namespace));
    fields.refused(&["useDefaultGateways"], NO_GATEWAYS);
    fields.close();
    let rules = rules.unwrap_or_else(|| vec![without_rules()]);
    Some(HttpRoute { metadata: metadata?, parents: parents?, hostnames, rules })
}

/// The Gateway API's default: a rule for everything, which goes nowhere.
fn without_rules() -> HttpRule {
    HttpRule {
        name: None,
        matches: vec![everything()],
        filters: Vec::new(),
        backends: Vec::new(),
        timeouts: RouteTimeouts::default(),
        retry: None,
    }
}

fn rules(node: &Node, decoder: &mut Decoder, namespace: &str) -> Option<Vec<HttpRule>> {
    let rules = list(node, decoder, |node, decoder| rule(node, decoder, namespace))?;
    let names: Vec<_> = rules.iter().map(|rule| rule.name.as_deref()).collect();
    named_apart(node, decoder, &names);
    Some(rules)
}

/// Rules are called by their names, or their numbers where they have none: each by another.
pub(super) fn named_apart(node: &Node, decoder: &mut Decoder, names: &[Option<&str>]) {
    if names.is_empty() {
        decoder.fault(&node.at, "a route needs at least one rule");
    }
    distinct(node, decoder, names, |name| name.map(|name| ("name", name)));
    let given: HashSet<&str> = names.iter().flatten().copied().collect();
    let taken = |index: &usize| names[*index].is_none() && given.contains(&*index.to_string());
    if let Some(index) = (0..names.len()).find(taken) {
        let message = format!("has a rule named {index}, which is what item {index} is called");
        decoder.fault(&node.at, format!("{message} without a name: name both"));
    }
}

fn rule(node: &Node, decoder: &mut Decoder, namespace: &str) -> Option<HttpRule> {
    let mut fields = Fields::open(node, decoder)?;
    let name = fields.optional("name", dns_subdomain);
    let matches = fields.optional("matches", matches);
    let prefixed = matches.as_deref().is_none_or(all_have_prefixes);
    let place = Place { route: RouteKind::Http, on_backend: false, namespace, prefixed };
    let filters = fields.optional("filters", |node, decoder| filters(node, decoder, place));
    let backends = fields.optional("backendRefs", |node, decoder| backends(node, decoder, place));
    let timeouts = fields.optional("timeouts", timeouts).unwrap_or_default();
    let retry = fields.optional("retry", retry);
    fields.refused(&["sessionPersistence"], NO_SESSIONS);
    let (filters, backends) = (filters.unwrap_or_default(), backends.unwrap_or_default());
    if filters.iter().any(|filter| matches!(filter, Filter::Redirect(_))) && !backends.is_empty() {
        let message = "a rule with a RequestRedirect sends nothing to backends: remove one of both";
        fields.fault("backendRefs", message);
    }
    let of_backends = || backends.iter().any(|backend| changes_path(&backend.filters));
    if changes_path(&filters) && of_backends() {
        let message = "the rule rewrites the path before a backend's filters see it: rewrite it \
                       in one place";
        fields.fault("backendRefs", message);
    }
    fields.close();
    let matches = matches.unwrap_or_else(|| vec![everything()]);
    Some(HttpRule { name, matches, filters, backends, timeouts, retry })
}

fn changes_path(filters: &[Filter]) -> bool {
    let changes = |filter: &Filter| matches!(filter, Filter::Rewrite(to) if to.path.is_some());
    filters.iter().any(changes)
}

fn timeouts(node: &Node, decoder: &mut Decoder) -> Option<RouteTimeouts> {
    let mut fields = Fields::open(node, decoder)?;
    let request = fields.optional("request", limit);
    let backend_request = fields.optional("backendRequest", limit);
    if let (Some(request), Some(each)) = (request, backend_request)
        && each > request
        && !request.is_zero()
    {
        fields.fault("backendRequest", "must not be longer than request, of which it is a part");
    }
    fields.close();
    Some(RouteTimeouts { request, backend_request })
}

fn limit(node: &Node, decoder: &mut Decoder) -> Option<Duration> {
    duration_or_zero(node, decoder).and_then(|duration| at_most_a_year(duration, node, decoder))
}

fn at_most_a_year(duration: Duration, node: &Node, decoder: &mut Decoder) -> Option<Duration> {
    if duration > LONGEST {
        decoder.expected("a duration of at most 8760h, a year", node);
    }
    (duration <= LONGEST).then_some(duration)
}

fn retry(node: &Node, decoder: &mut Decoder) -> Option<RouteRetry> {
    let mut fields = Fields::open(node, decoder)?;
    let codes = fields.optional("codes", codes).unwrap_or_default();
    let attempts = fields.optional("attempts", integer(0..=100));
    let backoff = fields.optional("backoff", |node, decoder| {
        duration(node, decoder).and_then(|duration| at_most_a_year(duration, node, decoder))
    });
    fields.close();
    let attempts = attempts.and_then(|attempts| u32::try_from(attempts).ok());
    Some(RouteRetry { codes, attempts, backoff })
}

fn codes(node: &Node, decoder: &mut Decoder) -> Option<Vec<u16>> {
    let code = |node: &Node, decoder: &mut Decoder| {
        integer(400..=599)(node, decoder).and_then(|code| u16::try_from(code).ok())
    };
    let codes = list(node, decoder, code)?;
    distinct_values(node, decoder, &codes);
    Some(codes)
}
