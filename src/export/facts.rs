//! What a span says, in OpenTelemetry's words where there are such (semantic conventions for HTTP,
//! RPC and network), else under `outrigger.`.
//!
//! `http.route` is left out: it means a path's template, and a route of the mesh is a name.

use std::borrow::Cow;
use std::net::SocketAddr;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

use crate::model::{Direction, Reason, SpiffeId};
use crate::telemetry::span::{Attempt, Circuit, Span};
use crate::telemetry::traffic::Spoken;

/// A value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact<'a> {
    Text(Cow<'a, str>),
    Number(i64),
}

impl<'a> From<&'a str> for Fact<'a> {
    fn from(text: &'a str) -> Self {
        Fact::Text(text.into())
    }
}

impl From<String> for Fact<'_> {
    fn from(text: String) -> Self {
        Fact::Text(text.into())
    }
}

impl From<u64> for Fact<'_> {
    fn from(number: u64) -> Self {
        Fact::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

/// As OTLP writes them.
pub fn key_values(facts: Vec<(&'static str, Fact<'_>)>) -> Vec<KeyValue> {
    let one = |(name, fact): (&str, Fact<'_>)| {
        let value = match fact {
            Fact::Text(text) => Value::StringValue(text.into_owned()),
            Fact::Number(number) => Value::IntValue(number),
        };
        let value = Some(AnyValue { value: Some(value) });
        KeyValue { key: name.to_owned(), value, ..KeyValue::default() }
    };
    facts.into_iter().map(one).collect()
}

/// Low in number, and telling: a gRPC method, or the HTTP method and what it was for.
pub fn name(span: &Span) -> String {
    if let Some((service, method)) = rpc(span) {
        return format!("{service}/{method}");
    }
    let method = span.method.as_ref().and_then(|method| known(method.as_str()));
    let what = method.unwrap_or(if is_opaque(span) { "tcp" } else { "HTTP" });
    let is_name = |route: &&str| !matches!(*route, "default" | "none" | "pass");
    let route = span.route.as_deref().filter(is_name);
    match route.or(span.service.as_deref()) {
        Some(target) => format!("{what} {target}"),
        None => what.to_owned(),
    }
}

/// Whether readers should be shown an error. A client's span is one also where the answer says that
/// the request was wrong.
pub fn is_error(span: &Span) -> bool {
    let refused = span.direction == Direction::Outbound
        && span.reason != Some(Reason::ClientClosed)
        && span.status.is_some_and(|status| status >= 400);
    refused || span.has_failed()
}

/// Everything about a span that has no place of its own.
pub fn of(span: &Span) -> Vec<(&'static str, Fact<'_>)> {
    let mut facts = Facts(Vec::with_capacity(24));
    if is_opaque(span) {
        facts.add("network.transport", Some("tcp"));
        facts.add("outrigger.bytes_in", Some(span.bytes_in));
        facts.add("outrigger.bytes_out", Some(span.bytes_out));
    } else {
        http(&mut facts, span);
    }
    let far = match span.direction {
        Direction::Inbound => span.client,
        Direction::Outbound => span.endpoint,
    };
    facts.add("network.peer.address", far.map(|far| far.ip().to_string()));
    facts.add("network.peer.port", far.map(|far| u64::from(far.port())));
    facts.add("client.address", span.client.map(|client| client.ip().to_string()));
    if is_error(span) {
        facts.add("error.type", error_type(span));
    }
    facts.add("outrigger.service", span.service.as_deref());
    facts.add("outrigger.route", span.route.as_deref());
    facts.add("outrigger.endpoint", span.endpoint.as_ref().map(SocketAddr::to_string));
    facts.add("outrigger.peer", span.peer.as_ref().map(SpiffeId::as_str));
    facts.add("outrigger.reason", span.reason.map(Reason::as_str));
    facts.add("outrigger.tls", Some(span.tls));
    facts.add("outrigger.kept", Some(span.kept.as_str()));
    facts.add("outrigger.attempts", Some(span.attempts.len() as u64));
    let last = span.attempts.last();
    facts.add("outrigger.circuit", last.and_then(|last| last.circuit).map(Circuit::as_str));
    facts.add("outrigger.request_id", span.request_id.as_deref());
    facts.0
}

fn is_opaque(span: &Span) -> bool {
    span.protocol == Spoken::Tcp.as_str()
}

fn http<'a>(facts: &mut Facts<'a>, span: &'a Span) {
    // None where the head broke the rules of HTTP.
    let method = span.method.as_ref().map(http::Method::as_str);
    facts.add("http.request.method", Some(method.and_then(known).unwrap_or("_OTHER")));
    if method.and_then(known).is_none() {
        facts.add("http.request.method_original", method);
    }
    let authority = span.authority.as_deref();
    let path = span.path.as_deref();
    match span.direction {
        Direction::Inbound => facts.add("url.scheme", Some("http")),
        Direction::Outbound => {
            let full = authority.zip(path).map(|(at, path)| format!("http://{at}{path}"));
            facts.add("url.full", full);
        }
    }
    facts.add("url.path", path);
    if let Some((address, port)) = authority.map(server) {
        facts.add("server.address", Some(address));
        facts.add("server.port", Some(port));
    }
    facts.add("http.response.status_code", span.status.map(u64::from));
    facts.add("http.request.body.size", Some(span.bytes_in));
    facts.add("http.response.body.size", Some(span.bytes_out));
    let resent = (span.attempts.len() as u64).checked_sub(1).filter(|&resent| resent > 0);
    facts.add("http.request.resend_count", resent);
    facts.add("network.protocol.name", Some("http"));
    let version = if span.protocol == "http/1.1" { "1.1" } else { "2" };
    facts.add("network.protocol.version", Some(version));
    facts.add("user_agent.original", span.user_agent.as_deref());
    if let Some((service, method)) = rpc(span) {
        facts.add("rpc.system", Some("grpc"));
        facts.add("rpc.service", Some(service));
        facts.add("rpc.method", Some(method));
    }
    facts.add("rpc.grpc.status_code", span.grpc_status.map(u64::from));
}

/// What an attempt says, as an event of its span.
pub fn of_attempt(number: usize, attempt: &Attempt) -> Vec<(&'static str, Fact<'static>)> {
    let mut facts = Facts(Vec::with_capacity(6));
    facts.add("outrigger.attempt", Some(number as u64));
    facts.add("outrigger.endpoint", Some(attempt.endpoint.to_string()));
    facts.add("outrigger.duration_us", Some(attempt.took.as_micros() as u64));
    facts.add("http.response.status_code", attempt.status.map(u64::from));
    facts.add("outrigger.reason", attempt.reason.map(Reason::as_str));
    facts.add("outrigger.circuit", attempt.circuit.map(Circuit::as_str));
    facts.0
}

struct Facts<'a>(Vec<(&'static str, Fact<'a>)>);

impl<'a> Facts<'a> {
    fn add(&mut self, name: &'static str, fact: Option<impl Into<Fact<'a>>>) {
        self.0.extend(fact.map(|fact| (name, fact.into())));
    }
}

/// The methods that HTTP itself has; others could be anything.
fn known(method: &str) -> Option<&'static str> {
    const ALL: [&str; 9] =
        ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE"];
    ALL.into_iter().find(|known| *known == method)
}

/// Service and method of a gRPC call.
fn rpc(span: &Span) -> Option<(&str, &str)> {
    let path = span.path.as_deref().filter(|_| span.protocol == "grpc")?;
    path.strip_prefix('/')?.rsplit_once('/')
}

/// Host and port of an authority; HTTP's own port where none is said.
fn server(authority: &str) -> (&str, u64) {
    let port = |text: &str| text.parse::<u16>().ok();
    match authority.rsplit_once(':').and_then(|(host, text)| Some((host, port(text)?))) {
        Some((host, port)) => (host.trim_matches(['[', ']']), port.into()),
        None => (authority.trim_matches(['[', ']']), 80),
    }
}

fn error_type(span: &Span) -> Option<String> {
    let reason = span.reason.map(|reason| reason.as_str().to_owned());
    let status = || span.status.filter(|status| *status >= 400).map(|status| status.to_string());
    reason.or_else(status).or_else(|| span.grpc_status.map(|code| code.to_string()))
}

#[cfg(test)]
mod tests;
