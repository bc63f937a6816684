//! Routes back to the shape that they are written in, every field taken apart by name.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::filters::{field, word};
use super::parents::written;
use super::{
    GrpcMatch, GrpcMethod, GrpcRoute, GrpcRule, HttpRoute, HttpRule, ParentRef, RouteRetry,
    RouteTimeouts,
};
use crate::model::{
    Backend, Cors, Filter, HeaderEdit, HeaderMatch, Match, Mirror, PathChange, PathMatch,
    QueryMatch, Redirect, Rewrite, ServiceName, Share, ValueMatch,
};
use crate::resources::manifest::object;

pub(in crate::resources) fn http_spec(route: &HttpRoute) -> Value {
    let HttpRoute { metadata: _, parents, hostnames, rules } = route;
    object([
        ("parentRefs", Some(all(parents, parent))),
        ("hostnames", some(hostnames, |name| json!(written(name)))),
        ("rules", Some(all(rules, http_rule))),
    ])
}

pub(in crate::resources) fn grpc_spec(route: &GrpcRoute) -> Value {
    let GrpcRoute { metadata: _, parents, hostnames, rules } = route;
    object([
        ("parentRefs", Some(all(parents, parent))),
        ("hostnames", some(hostnames, |name| json!(written(name)))),
        ("rules", Some(all(rules, grpc_rule))),
    ])
}

fn all<T>(items: &[T], one: impl Fn(&T) -> Value) -> Value {
    items.iter().map(one).collect()
}

fn some<T>(items: &[T], one: impl Fn(&T) -> Value) -> Option<Value> {
    (!items.is_empty()).then(|| all(items, one))
}

fn parent(ParentRef { name, namespace, port, section }: &ParentRef) -> Value {
    object([
        ("group", Some(json!(""))),
        ("kind", Some(json!("Service"))),
        ("name", Some(json!(name))),
        ("namespace", Some(json!(namespace))),
        ("port", port.map(|port| json!(port))),
        ("sectionName", section.as_ref().map(|section| json!(section))),
    ])
}

fn http_rule(rule: &HttpRule) -> Value {
    let HttpRule { name, matches, filters, backends, timeouts, retry } = rule;
    object([
        ("name", name.as_ref().map(|name| json!(name))),
        ("matches", some(matches, http_match)),
        ("filters", some(filters, filter)),
        ("backendRefs", some(backends, backend)),
        ("timeouts", (*timeouts != RouteTimeouts::default()).then(|| timeouts_of(timeouts))),
        ("retry", retry.as_ref().map(retry_of)),
    ])
}

fn grpc_rule(GrpcRule { name, matches, filters, backends }: &GrpcRule) -> Value {
    object([
        ("name", name.as_ref().map(|name| json!(name))),
        ("matches", some(matches, grpc_match)),
        ("filters", some(filters, filter)),
        ("backendRefs", some(backends, backend)),
    ])
}

fn http_match(Match { path, headers, query, method }: &Match) -> Value {
    object([
        ("path", path.as_ref().map(path_of)),
        ("headers", some(headers, header)),
        ("queryParams", some(query, parameter)),
        ("method", method.as_ref().map(|method| json!(method.as_str()))),
    ])
}

fn path_of(path: &PathMatch) -> Value {
    match path {
        PathMatch::Exact(path) => json!({"type": "Exact", "value": &**path}),
        PathMatch::Prefix(path) => json!({"type": "PathPrefix", "value": &**path}),
        PathMatch::Regex(path) => json!({"type": "RegularExpression", "value": &**path}),
    }
}

pub(in crate::resources) fn header(HeaderMatch { name, value }: &HeaderMatch) -> Value {
    named(name.as_str(), value)
}

fn parameter(QueryMatch { name, value }: &QueryMatch) -> Value {
    named(name, value)
}

fn named(name: &str, value: &ValueMatch) -> Value {
    let (word, value) = match value {
        ValueMatch::Exact(value) => ("Exact", value),
        ValueMatch::Regex(value) => ("RegularExpression", value),
    };
    json!({"type": word, "name": name, "value": &**value})
}

fn grpc_match(GrpcMatch { method, headers }: &GrpcMatch) -> Value {
    object([("method", method.as_ref().map(grpc_method)), ("headers", some(headers, header))])
}

fn grpc_method(method: &GrpcMethod) -> Value {
    let (word, service, method) = match method {
        GrpcMethod::Exact { service, method } => ("Exact", service, method),
        GrpcMethod::Regex { service, method } => ("RegularExpression", service, method),
    };
    object([
        ("type", Some(json!(word))),
        ("service", service.as_ref().map(|service| json!(service))),
        ("method", method.as_ref().map(|method| json!(method))),
    ])
}

fn filter(filter: &Filter) -> Value {
    let says = match filter {
        Filter::RequestHeaders(edit) | Filter::ResponseHeaders(edit) => edit_of(edit),
        Filter::Redirect(redirect) => redirect_of(redirect),
        Filter::Rewrite(rewrite) => rewrite_of(rewrite),
        Filter::Mirror(mirror) => mirror_of(mirror),
        Filter::Cors(cors) => cors_of(cors),
    };
    object([("type", Some(json!(word(filter)))), (field(filter), Some(says))])
}

fn edit_of(HeaderEdit { set, add, remove }: &HeaderEdit) -> Value {
    let line = |(name, value): &(HeaderName, HeaderValue)| json!({"name": name.as_str(), "value": String::from_utf8_lossy(value.as_bytes())});
    object([
        ("set", some(set, line)),
        ("add", some(add, line)),
        ("remove", some(remove, |name| json!(name.as_str()))),
    ])
}

fn redirect_of(Redirect { scheme, hostname, path, port, status }: &Redirect) -> Value {
    object([
        ("scheme", scheme.as_ref().map(|scheme| json!(scheme.as_str()))),
        ("hostname", hostname.as_ref().map(|name| json!(&**name))),
        ("path", path.as_ref().map(path_change)),
        ("port", port.map(|port| json!(port))),
        ("statusCode", Some(json!(status.as_u16()))),
    ])
}

fn rewrite_of(Rewrite { authority, path }: &Rewrite) -> Value {
    object([
        ("hostname", authority.as_ref().map(|authority| json!(authority.as_str()))),
        ("path", path.as_ref().map(path_change)),
    ])
}

fn path_change(change: &PathChange) -> Value {
    match change {
        PathChange::Full(path) => json!({"type": "ReplaceFullPath", "replaceFullPath": &**path}),
        PathChange::Prefix(path) => {
            json!({"type": "ReplacePrefixMatch", "replacePrefixMatch": &**path})
        }
    }
}

fn mirror_of(Mirror { service, share }: &Mirror) -> Value {
    let percent = Share::ALL.0 / 100;
    let is_whole = share.0.is_multiple_of(percent);
    let fraction = || json!({"numerator": share.0, "denominator": Share::ALL.0});
    object([
        ("backendRef", Some(object(reference(service)))),
        ("percent", is_whole.then(|| json!(share.0 / percent))),
        ("fraction", (!is_whole).then(fraction)),
    ])
}

fn cors_of(cors: &Cors) -> Value {
    let Cors {
        allow_origins,
        allow_credentials,
        allow_methods,
        allow_headers,
        expose_headers,
        max_age,
    } = cors;
    object([
        ("allowOrigins", some(allow_origins, |origin| json!(&**origin))),
        ("allowCredentials", Some(json!(allow_credentials))),
        ("allowMethods", some(allow_methods, |method| json!(&**method))),
        ("allowHeaders", some(allow_headers, |header| json!(&**header))),
        ("exposeHeaders", some(expose_headers, |header| json!(&**header))),
        ("maxAge", Some(json!(max_age.as_secs()))),
    ])
}

fn reference(service: &ServiceName) -> [(&'static str, Option<Value>); 5] {
    let ServiceName { name, namespace, port } = service;
    [
        ("group", Some(json!(""))),
        ("kind", Some(json!("Service"))),
        ("name", Some(json!(&**name))),
        ("namespace", Some(json!(&**namespace))),
        ("port", Some(json!(port))),
    ]
}

fn backend(Backend { service, weight, filters }: &Backend) -> Value {
    let [group, kind, name, namespace, port] = reference(service);
    let weight = ("weight", Some(json!(weight)));
    object([group, kind, name, namespace, port, weight, ("filters", some(filters, filter))])
}

fn timeouts_of(RouteTimeouts { request, backend_request }: &RouteTimeouts) -> Value {
    object([
        ("request", request.map(|limit| json!(span(limit)))),
        ("backendRequest", backend_request.map(|limit| json!(span(limit)))),
    ])
}

fn retry_of(RouteRetry { codes, attempts, backoff }: &RouteRetry) -> Value {
    object([
        ("codes", some(codes, |code| json!(code))),
        ("attempts", attempts.map(|attempts| json!(attempts))),
        ("backoff", backoff.map(|backoff| json!(span(backoff)))),
    ])
}

/// Hours, minutes, seconds and milliseconds, those that are not 0. A year of hours has four digits,
/// of five that each may have.
fn span(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    let parts = [
        (seconds / 3600, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
        (u64::from(millis), "ms"),
    ];
    let shown = parts.into_iter().filter(|(count, _)| *count > 0);
    let text: String = shown.map(|(count, unit)| format!("{count}{unit}")).collect();
    if text.is_empty() { "0s".to_owned() } else { text }
}
