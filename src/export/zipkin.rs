//! Spans as Zipkin's JSON, version 2: <https://zipkin.io/zipkin-api/#/default/post_spans>.
//!
//! The same facts as OTLP has them, as tags, which are texts; attempts become annotations. Each span
//! has an id of its own, so that nothing is `shared`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::Resource;
use super::facts::{self, Fact};
use crate::model::Direction;
use crate::telemetry::span::{Attempt, Span};

/// One list of all of them.
pub fn message(resource: &Resource, spans: &[Arc<Span>]) -> Vec<u8> {
    let all: Vec<Value> = spans.iter().map(|span| one(resource, span)).collect();
    Value::from(all).to_string().into_bytes()
}

fn one(resource: &Resource, span: &Span) -> Value {
    let (kind, far) = match span.direction {
        Direction::Inbound => ("SERVER", span.client),
        Direction::Outbound => ("CLIENT", span.endpoint),
    };
    let mut message = json!({
        "traceId": format!("{:032x}", span.trace_id),
        "id": format!("{:016x}", span.span_id),
        "kind": kind,
        "name": facts::name(span),
        "timestamp": micros(span.started),
        // None is what nothing takes to Zipkin.
        "duration": span.duration.as_micros().max(1) as u64,
        "localEndpoint": {"serviceName": resource.service},
        "tags": tags(span),
    });
    if let Some(parent) = span.parent_id {
        message["parentId"] = format!("{parent:016x}").into();
    }
    if let Some(far) = far {
        message["remoteEndpoint"] = endpoint(span, far);
    }
    if !span.attempts.is_empty() {
        let attempts = (1..).zip(&span.attempts);
        message["annotations"] =
            attempts.map(|(n, attempt)| annotation(span, n, attempt)).collect();
    }
    message
}

fn endpoint(span: &Span, at: SocketAddr) -> Value {
    let family = match at.ip() {
        IpAddr::V4(_) => "ipv4",
        IpAddr::V6(_) => "ipv6",
    };
    let mut endpoint = json!({family: at.ip().to_string(), "port": at.port()});
    if let (Direction::Outbound, Some(service)) = (span.direction, &span.service) {
        endpoint["serviceName"] = service.split(':').next().into();
    }
    endpoint
}

/// Zipkin's tags are texts, and `error` is how it knows a failure.
fn tags(span: &Span) -> Map<String, Value> {
    let mut tags = Map::new();
    for (name, fact) in facts::of(span) {
        let text = match fact {
            Fact::Text(text) => text.into_owned(),
            Fact::Number(number) => number.to_string(),
        };
        tags.insert(name.to_owned(), text.into());
    }
    if facts::is_error(span) {
        let kind = tags.get("error.type").cloned();
        let said = span.sentence.as_deref().map(Value::from);
        tags.insert("error".to_owned(), said.or(kind).unwrap_or_else(|| "failed".into()));
    }
    tags
}

fn annotation(span: &Span, number: usize, attempt: &Attempt) -> Value {
    let ended = match (attempt.reason, attempt.status) {
        (Some(reason), _) => reason.as_str().to_owned(),
        (None, Some(status)) => status.to_string(),
        (None, None) => "given up".to_owned(),
    };
    let value = format!(
        "attempt {number}: {}, {ended} after {} us",
        attempt.endpoint,
        attempt.took.as_micros()
    );
    json!({"timestamp": micros(span.started + attempt.began), "value": value})
}

fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::resource::tests::example as resource;
    use super::*;
    use crate::model::Reason;
    use crate::telemetry::span::tests::example;

    fn read(span: Span) -> Value {
        let text = message(&resource(), &[Arc::new(span)]);
        let all: Value = serde_json::from_slice(&text).expect("JSON");
        all[0].clone()
    }

    #[test]
    fn a_clients_span() {
        let mut span = read(example());
        let tags = span["tags"].take();
        assert_eq!(tags["http.response.status_code"], "200");
        assert_eq!(tags["outrigger.route"], "default/api");
        assert!(tags.get("error").is_none());
        assert_eq!(
            span,
            json!({
                "traceId": "4bf92f3577b34da6a3ce929d0e0e4736",
                "id": "00f067aa0ba902b7",
                "parentId": "0102030405060708",
                "kind": "CLIENT",
                "name": "GET default/api",
                "timestamp": 1_795_298_400_123_456_u64,
                "duration": 45_678,
                "localEndpoint": {"serviceName": "web"},
                "remoteEndpoint": {"serviceName": "api.default", "ipv4": "10.0.0.7", "port": 8080},
                "annotations": [
                    {"timestamp": 1_795_298_400_123_556_u64, "value": "attempt 1: 10.0.0.7:8080, connect-failure after 2000 us"},
                    {"timestamp": 1_795_298_400_153_456_u64, "value": "attempt 2: 10.0.0.7:8080, 200 after 2000 us"},
                ],
                "tags": null,
            })
        );
    }

    #[test]
    fn a_servers_span_that_failed() {
        let span = read(Span {
            direction: Direction::Inbound,
            parent_id: None,
            client: "[::1]:4000".parse().ok(),
            status: Some(503),
            reason: Some(Reason::ConnectFailure),
            sentence: Some("nobody there".into()),
            attempts: Vec::new(),
            duration: std::time::Duration::ZERO,
            ..example()
        });
        assert_eq!((&span["kind"], &span["duration"]), (&json!("SERVER"), &json!(1)));
        assert_eq!(span["tags"]["error"], "nobody there");
        assert_eq!(span["remoteEndpoint"], json!({"ipv6": "::1", "port": 4000}));
        assert!(span.get("parentId").is_none() && span.get("annotations").is_none());
    }
}
