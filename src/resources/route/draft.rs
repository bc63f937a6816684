//! Rules of either kind of route in the data path's words, before any policy: what is left to do is
//! to find out which of them hold for a service, and under which policy.

use std::sync::Arc;

use super::regexes::unanchored;
use super::{GrpcMatch, GrpcMethod, GrpcRoute, HttpRoute, RouteRetry, RouteTimeouts};
use crate::model::{Backend, Filter, Hostname, Match, PathMatch, RouteKind};
use crate::resources::Metadata;

/// One rule of a route, all that it says.
#[derive(Clone, Debug, PartialEq)]
pub struct DraftRule {
    pub kind: RouteKind,
    /// As [`crate::model::Rule::name`] has it.
    pub name: Arc<str>,
    pub hostnames: Vec<Hostname>,
    /// Empty: every request.
    pub matches: Vec<Match>,
    pub filters: Vec<Filter>,
    pub backends: Vec<Backend>,
    /// Its own name, which policies may call it by.
    pub section: Option<String>,
    pub timeouts: RouteTimeouts,
    pub retry: Option<RouteRetry>,
}

/// The rules of a route, in its order.
pub fn http_rules(route: &HttpRoute) -> Vec<DraftRule> {
    let several = route.rules.len() > 1;
    let draft = |(index, rule): (usize, &super::HttpRule)| DraftRule {
        kind: RouteKind::Http,
        name: name(&route.metadata, rule.name.as_deref(), several.then_some(index)),
        hostnames: route.hostnames.clone(),
        matches: rule.matches.clone(),
        filters: rule.filters.clone(),
        backends: rule.backends.clone(),
        section: rule.name.clone(),
        timeouts: rule.timeouts,
        retry: rule.retry.clone(),
    };
    route.rules.iter().enumerate().map(draft).collect()
}

/// The rules of a route, in its order.
pub fn grpc_rules(route: &GrpcRoute) -> Vec<DraftRule> {
    let several = route.rules.len() > 1;
    let draft = |(index, rule): (usize, &super::GrpcRule)| DraftRule {
        kind: RouteKind::Grpc,
        name: name(&route.metadata, rule.name.as_deref(), several.then_some(index)),
        hostnames: route.hostnames.clone(),
        matches: rule.matches.iter().map(call).collect(),
        filters: rule.filters.clone(),
        backends: rule.backends.clone(),
        section: rule.name.clone(),
        timeouts: RouteTimeouts::default(),
        retry: None,
    };
    route.rules.iter().enumerate().map(draft).collect()
}

fn name(route: &Metadata, rule: Option<&str>, index: Option<usize>) -> Arc<str> {
    let Metadata { name, namespace, .. } = route;
    match (rule, index) {
        (Some(rule), _) => format!("{name}.{namespace}/{rule}").into(),
        (None, Some(index)) => format!("{name}.{namespace}/{index}").into(),
        (None, None) => format!("{name}.{namespace}").into(),
    }
}

fn call(GrpcMatch { method, headers }: &GrpcMatch) -> Match {
    let path = method.as_ref().and_then(path);
    Match { path, headers: headers.clone(), query: Vec::new(), method: None }
}

/// The path that a method is called under (gRPC over HTTP/2: `/service/method`).
pub(super) fn path(method: &GrpcMethod) -> Option<PathMatch> {
    const ANY: &str = "[^/]+";
    let path = match method {
        GrpcMethod::Exact { service: Some(service), method: Some(method) } => {
            PathMatch::Exact(format!("/{service}/{method}").into())
        }
        GrpcMethod::Exact { service: Some(service), method: None } => {
            PathMatch::Prefix(format!("/{service}").into())
        }
        GrpcMethod::Exact { service: None, method: Some(method) } => {
            PathMatch::Regex(format!("/{ANY}/{}", regex::escape(method)).into())
        }
        GrpcMethod::Regex { service: None, method: None }
        | GrpcMethod::Exact { service: None, method: None } => return None,
        GrpcMethod::Regex { service, method } => {
            let service = service.as_deref().map_or(ANY, unanchored);
            let method = method.as_deref().map_or(ANY, unanchored);
            PathMatch::Regex(format!("/(?:{service})/(?:{method})").into())
        }
    };
    Some(path)
}
