//! Spans as OTLP's messages: <https://opentelemetry.io/docs/specs/otlp/>.
//!
//! One message holds a batch, under one resource and one scope. Attempts are events of their span.
//! Times come from one reading of the clock and lengths, so that no span ends before it begins.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::trace::v1::{
    ResourceSpans, ScopeSpans, Span as Message, SpanFlags, Status, span, status,
};

use super::Resource;
use super::facts::{self, key_values};
use crate::model::Direction;
use crate::telemetry::span::{Kept, Span};

/// One message for all of them.
pub fn message(resource: &Resource, spans: &[Arc<Span>]) -> ExportTraceServiceRequest {
    let scope = InstrumentationScope {
        name: "outrigger".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        ..InstrumentationScope::default()
    };
    let spans = spans.iter().map(|span| one(span)).collect();
    let scope_spans = ScopeSpans { scope: Some(scope), spans, ..ScopeSpans::default() };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(resource.message()),
            scope_spans: vec![scope_spans],
            ..ResourceSpans::default()
        }],
    }
}

fn one(span: &Span) -> Message {
    let kind = match span.direction {
        Direction::Inbound => span::SpanKind::Server,
        Direction::Outbound => span::SpanKind::Client,
    };
    Message {
        trace_id: span.trace_id.to_be_bytes().to_vec(),
        span_id: span.span_id.to_be_bytes().to_vec(),
        parent_span_id: span.parent_id.map_or_else(Vec::new, |id| id.to_be_bytes().to_vec()),
        flags: flags(span),
        name: facts::name(span),
        kind: kind.into(),
        start_time_unix_nano: nanos(span.started),
        end_time_unix_nano: nanos(span.started + span.duration),
        attributes: key_values(facts::of(span)),
        events: events(span),
        status: Some(said(span)),
        ..Message::default()
    }
}

/// Whether it was sampled, and that its parent is another process's.
fn flags(span: &Span) -> u32 {
    let sampled = u32::from(span.kept == Kept::Sampled);
    let remote = SpanFlags::ContextHasIsRemoteMask as u32 | SpanFlags::ContextIsRemoteMask as u32;
    sampled | if span.parent_id.is_some() { remote } else { 0 }
}

fn events(span: &Span) -> Vec<span::Event> {
    let attempts = (1..).zip(&span.attempts);
    attempts
        .map(|(number, attempt)| span::Event {
            time_unix_nano: nanos(span.started + attempt.began),
            name: "attempt".into(),
            attributes: key_values(facts::of_attempt(number, attempt)),
            dropped_attributes_count: 0,
        })
        .collect()
}

fn said(span: &Span) -> Status {
    if !facts::is_error(span) {
        return Status::default();
    }
    let message = span.sentence.as_deref().unwrap_or_default().to_owned();
    Status { code: status::StatusCode::Error.into(), message }
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::resource::tests::example as resource;
    use super::*;
    use crate::model::Reason;
    use crate::telemetry::span::tests::example;

    #[test]
    fn every_part_of_a_span_has_its_place() {
        let message = message(&resource(), &[Arc::new(example())]);
        let resource = message.resource_spans[0].resource.as_ref().expect("a resource");
        assert_eq!(resource.attributes[0].key, "service.name");
        let scope = &message.resource_spans[0].scope_spans[0];
        assert_eq!(scope.scope.as_ref().map(|scope| &*scope.name), Some("outrigger"));
        let span = &scope.spans[0];
        assert_eq!(span.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128.to_be_bytes());
        assert_eq!(span.span_id, [0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
        assert_eq!(span.parent_span_id, [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!((span.kind(), span.flags), (span::SpanKind::Client, 0x301));
        assert_eq!(span.name, "GET default/api");
        assert_eq!(span.start_time_unix_nano, 1_795_298_400_123_456_000);
        assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, 45_678_000);
        assert_eq!(span.attributes.len(), facts::of(&example()).len());
        assert_eq!(span.status, Some(Status::default()));
        let events: Vec<_> = span
            .events
            .iter()
            .map(|event| (&*event.name, event.time_unix_nano - span.start_time_unix_nano))
            .collect();
        assert_eq!(events, [("attempt", 100_000), ("attempt", 30_000_000)]);
        assert_eq!(span.events[1].attributes[0].key, "outrigger.attempt");
    }

    #[test]
    fn a_failure_is_an_error_with_its_sentence() {
        let failed = Span {
            direction: Direction::Inbound,
            kept: Kept::Failed,
            parent_id: None,
            status: Some(503),
            reason: Some(Reason::ConnectFailure),
            sentence: Some("the app could not be reached".into()),
            ..example()
        };
        let span = one(&failed);
        let status = span.status.as_ref().expect("a status");
        assert_eq!(
            (status.code(), &*status.message),
            (status::StatusCode::Error, "the app could not be reached")
        );
        assert_eq!((span.kind(), span.flags), (span::SpanKind::Server, 0));
        assert!(span.parent_span_id.is_empty());
    }
}
