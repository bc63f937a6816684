//! `GRPCRoute`: rules about calls by service and method. As in an `HTTPRoute`, what would not be
//! acted on is refused.

use super::backends::backends;
use super::filters::{Place, filters};
use super::http::{NO_GATEWAYS, NO_SESSIONS, named_apart};
use super::matches::{Kind, OF_VALUES, headers, kind};
use super::parents::{hostnames, namespace, parents};
use super::regexes::{check, part};
use super::{GrpcMatch, GrpcMethod, GrpcRoute, GrpcRule, bounds, draft};
use crate::model::{PathMatch, RouteKind};
use crate::resources::decode::{Decoder, Fields, list};
use crate::resources::metadata::Metadata;
use crate::resources::names::dns_subdomain;
use crate::resources::node::Node;
use crate::resources::scalar::parsed;

pub(in crate::resources) fn decode(
    metadata: Option<Metadata>,
    spec: &Node,
    decoder: &mut Decoder,
) -> Option<GrpcRoute> {
    bounds::check(spec, decoder)?;
    let namespace = namespace(metadata.as_ref());
    let mut fields = Fields::open(spec, decoder)?;
    let parents = fields.required("parentRefs", |node, d| parents(node, d, &namespace));
    let hostnames = fields.optional("hostnames", hostnames).unwrap_or_default();
    let rules = fields.required("rules", |node, decoder| rules(node, decoder, &namespace));
    fields.refused(&["useDefaultGateways"], NO_GATEWAYS);
    fields.close();
    Some(GrpcRoute { metadata: metadata?, parents: parents?, hostnames, rules: rules? })
}

fn rules(node: &Node, decoder: &mut Decoder, namespace: &str) -> Option<Vec<GrpcRule>> {
    let rules = list(node, decoder, |node, decoder| rule(node, decoder, namespace))?;
    let names: Vec<_> = rules.iter().map(|rule| rule.name.as_deref()).collect();
    named_apart(node, decoder, &names);
    Some(rules)
}

fn rule(node: &Node, decoder: &mut Decoder, namespace: &str) -> Option<GrpcRule> {
    let mut fields = Fields::open(node, decoder)?;
    let name = fields.optional("name", dns_subdomain);
    let matches = fields.optional("matches", |node, decoder| list(node, decoder, one));
    let place = Place { route: RouteKind::Grpc, on_backend: false, namespace, prefixed: false };
    let filters = fields.optional("filters", |node, decoder| filters(node, decoder, place));
    let backends = fields.optional("backendRefs", |node, decoder| backends(node, decoder, place));
    fields.refused(&["sessionPersistence"], NO_SESSIONS);
    let of_http =
        "is not supported in a GRPCRoute: use a TrafficPolicy with this rule as its target";
    fields.refused(&["timeouts", "retry"], of_http);
    fields.close();
    Some(GrpcRule {
        name,
        matches: matches.unwrap_or_default(),
        filters: filters.unwrap_or_default(),
        backends: backends.unwrap_or_default(),
    })
}

fn one(node: &Node, decoder: &mut Decoder) -> Option<GrpcMatch> {
    let mut fields = Fields::open(node, decoder)?;
    let method = fields.optional("method", method);
    let headers = fields.optional("headers", headers).unwrap_or_default();
    fields.close();
    Some(GrpcMatch { method, headers })
}

fn method(node: &Node, decoder: &mut Decoder) -> Option<GrpcMethod> {
    let mut fields = Fields::open(node, decoder)?;
    let kind = kind(&mut fields, OF_VALUES);
    let service = fields.optional("service", |node, decoder| match kind? {
        Kind::Regex => part(node, decoder),
        _ => parsed(node, decoder, "a gRPC service such as shop.v1.Orders", service),
    });
    let method = fields.optional("method", |node, decoder| match kind? {
        Kind::Regex => part(node, decoder),
        _ => parsed(node, decoder, "a gRPC method such as Place", identifier),
    });
    let neither = fields.is_absent("service") && fields.is_absent("method");
    fields.close();
    if neither {
        let message = "names neither a service nor a method; leave it out to match every call";
        decoder.fault(&node.at, message);
    }
    let method = match kind? {
        Kind::Regex => GrpcMethod::Regex { service, method },
        _ => GrpcMethod::Exact { service, method },
    };
    // Two sound expressions may make one that is too large.
    if let Some(PathMatch::Regex(path)) = draft::path(&method) {
        check(&path, node, decoder)?;
    }
    Some(method)
}

fn service(text: &str) -> Option<String> {
    text.split('.').all(|part| identifier(part).is_some()).then(|| text.to_owned())
}

/// As protobuf has them.
fn identifier(text: &str) -> Option<String> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let fit = text.bytes().all(legal) && !text.starts_with(|c: char| c.is_ascii_digit());
    (fit && !text.is_empty()).then(|| text.to_owned())
}
