//! Traffic as the protocol writes it: rows of numbers beside a list of words, and kept requests cut
//! to what the control plane takes. What is cut ends in `…`.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use crate::agent::session::{EndpointState, Unready};
use crate::model::Direction;
use crate::telemetry::metrics::BOUNDS;
use crate::telemetry::reporter::{Latencies, Open, Report, Requests};
use crate::telemetry::span::{self, Attempt, Kept, Span};
use crate::wire::v1;

/// Bytes of one text of a kept request, and attempts of it.
const TEXT: usize = 512;
const ATTEMPTS: usize = 8;

/// All that is said at once.
pub fn traffic(report: &Report, now: SystemTime) -> v1::Traffic {
    let Report { period, requests, latencies, open } = report;
    let mut words = Words::default();
    v1::Traffic {
        period_ms: u64::try_from(period.as_millis()).unwrap_or(u64::MAX),
        now_us: unix_us(now),
        requests: requests.iter().map(|row| words.requests(row)).collect(),
        latencies: latencies.iter().map(|row| words.latencies(row)).collect(),
        open: open.iter().map(|row| words.open(row)).collect(),
        words: words.list,
        bounds_us: BOUNDS.iter().map(|nanos| nanos / 1_000).collect(),
        endpoints: Vec::new(),
        spans: Vec::new(),
    }
}

/// Each text once.
#[derive(Default)]
struct Words<'a> {
    list: Vec<String>,
    known: HashMap<&'a str, u32>,
}

impl<'a> Words<'a> {
    fn number(&mut self, word: &'a str) -> u32 {
        if word.is_empty() {
            return 0;
        }
        *self.known.entry(word).or_insert_with(|| {
            self.list.push(word.to_owned());
            u32::try_from(self.list.len()).unwrap_or_default()
        })
    }

    fn requests(&mut self, row: &'a Requests) -> v1::RequestCount {
        let [direction, service, route, protocol, code, grpc, peer, reason] = row.labels();
        v1::RequestCount {
            inbound: is_inbound(direction),
            service: self.number(service),
            route: self.number(route),
            protocol: self.number(protocol),
            peer: self.number(peer),
            reason: self.number(reason),
            code: code.parse().unwrap_or_default(),
            grpc: grpc.parse::<u32>().map_or(0, |status| status.saturating_add(1)),
            count: row.count,
        }
    }

    fn open(&mut self, row: &'a Open) -> v1::OpenCount {
        let [direction, service, route, protocol, peer] = row.labels();
        v1::OpenCount {
            inbound: is_inbound(direction),
            service: self.number(service),
            route: self.number(route),
            protocol: self.number(protocol),
            peer: self.number(peer),
            count: row.count,
        }
    }

    fn latencies(&mut self, row: &'a Latencies) -> v1::Latencies {
        let [direction, service, route] = row.labels();
        v1::Latencies {
            inbound: is_inbound(direction),
            service: self.number(service),
            route: self.number(route),
            counts: row.counts.to_vec(),
        }
    }
}

fn is_inbound(direction: &str) -> bool {
    direction == Direction::Inbound.as_str()
}

pub fn endpoint_states(of: &Unready) -> v1::EndpointStates {
    let endpoint = |&(address, state): &(std::net::SocketAddr, EndpointState)| {
        use v1::endpoint_state::State;
        let state = match state {
            EndpointState::Ejected => State::Ejected,
            EndpointState::HalfOpen => State::HalfOpen,
            EndpointState::Connecting => State::Connecting,
        };
        v1::EndpointState { address: address.to_string(), state: state.into() }
    };
    v1::EndpointStates {
        service: of.service.to_string(),
        endpoints: of.endpoints.iter().map(endpoint).collect(),
        unused: false,
    }
}

/// Of a service that is used no longer.
pub fn unused(service: &str) -> v1::EndpointStates {
    v1::EndpointStates { service: service.to_owned(), endpoints: Vec::new(), unused: true }
}

/// A kept request.
pub fn span(span: &Span) -> v1::KeptSpan {
    use v1::kept_span;
    let kept = match span.kept {
        Kept::Sampled => kept_span::Kept::Sampled,
        Kept::Failed => kept_span::Kept::Failed,
        Kept::Slow => kept_span::Kept::Slow,
    };
    v1::KeptSpan {
        trace_id: span.trace_id.to_be_bytes().to_vec(),
        span_id: span.span_id,
        parent_id: span.parent_id.unwrap_or_default(),
        kept: kept.into(),
        inbound: span.direction == Direction::Inbound,
        started_us: unix_us(span.started),
        duration_us: micros(span.duration),
        protocol: span.protocol.to_owned(),
        method: span.method.as_ref().map(|method| cut(method.as_str())).unwrap_or_default(),
        path: span.path.as_deref().map(cut).unwrap_or_default(),
        status: span.status.map_or(0, u32::from),
        grpc: span.grpc_status.map_or(0, |status| u32::from(status) + 1),
        reason: span.reason.map(|reason| reason.as_str().to_owned()).unwrap_or_default(),
        sentence: span.sentence.as_deref().map(cut).unwrap_or_default(),
        service: span.service.as_deref().map(cut).unwrap_or_default(),
        route: span.route.as_deref().map(cut).unwrap_or_default(),
        endpoint: span.endpoint.map(|endpoint| endpoint.to_string()).unwrap_or_default(),
        peer: span.peer.as_ref().map(|peer| cut(peer.as_str())).unwrap_or_default(),
        tls: span.tls.to_owned(),
        attempts: span.attempts.iter().take(ATTEMPTS).map(attempt).collect(),
    }
}

fn attempt(attempt: &Attempt) -> v1::SpanAttempt {
    v1::SpanAttempt {
        endpoint: attempt.endpoint.to_string(),
        offset_us: micros(attempt.began),
        duration_us: micros(attempt.took),
        status: attempt.status.map_or(0, u32::from),
        reason: attempt.reason.map(|reason| reason.as_str().to_owned()).unwrap_or_default(),
    }
}

fn cut(text: &str) -> String {
    span::cut(text, TEXT).into()
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

pub(super) fn unix_us(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
