//! What a sidecar says of its traffic, checked: too much of it, or what can't be, is refused as a
//! whole. Texts are cut to what is kept of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::control::memory::report::{
    Attempt, Buckets, Kept, Latencies, Opened, Outcome, Report, Requests, Spoken, State, Unready,
    Why, failed,
};
use crate::telemetry::metrics::BOUNDS;
use crate::wire::v1;

/// Of one report.
const ROWS: usize = 1000;
const WORDS: usize = 8000;
const BUCKETS: usize = 64;
const SERVICES: usize = 200;
const ENDPOINTS: usize = 500;
const SPANS: usize = 500;
const OPEN: usize = 500;
const ATTEMPTS: usize = 8;
/// Bytes of one word, or text of a kept request.
const TEXT: usize = 512;
/// Characters of what can't be that are said again.
const QUOTED: usize = 64;

/// # Errors
/// What can't be, or is too much.
pub fn traffic(from: v1::Traffic) -> Result<Report, String> {
    let v1::Traffic {
        period_ms,
        now_us,
        words,
        requests,
        latencies,
        bounds_us,
        endpoints,
        spans,
        open,
    } = from;
    most("rows", requests.len() + latencies.len(), ROWS)?;
    most("words", words.len(), WORDS)?;
    most("buckets", bounds_us.len(), BUCKETS)?;
    most("services", endpoints.len(), SERVICES)?;
    most("kept requests", spans.len(), SPANS)?;
    most("rows of what is open", open.len(), OPEN)?;
    let words = Words::of(words);
    let requests = requests.into_iter().map(|row| words.requests(row));
    let latencies = latencies.into_iter().map(|row| words.latencies(row, &bounds_us));
    let open = open.into_iter().map(|row| words.opened(row));
    Ok(Report {
        open: open.collect::<Result<_, _>>()?,
        period: Duration::from_millis(period_ms),
        now_us,
        requests: requests.collect::<Result<_, _>>()?,
        latencies: latencies.collect::<Result<_, _>>()?,
        endpoints: endpoints.into_iter().map(unready).collect::<Result<_, _>>()?,
        spans: spans.into_iter().map(kept).collect::<Result<_, _>>()?,
    })
}

pub(super) fn most(what: &str, count: usize, most: usize) -> Result<(), String> {
    if count <= most { Ok(()) } else { Err(format!("{count} {what} are more than {most}")) }
}

pub(super) fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(TEXT));
    text
}

/// From 1; 0 is none.
pub(super) struct Words(Vec<Arc<str>>);

impl Words {
    pub(super) fn of(words: Vec<String>) -> Self {
        Self(words.into_iter().map(|word| cut(word).into()).collect())
    }

    pub(super) fn word(&self, number: u32) -> Result<Arc<str>, String> {
        let Some(at) = (number as usize).checked_sub(1) else { return Ok(Arc::default()) };
        let word = self.0.get(at).cloned();
        word.ok_or_else(|| format!("there is no word {number}"))
    }

    fn requests(&self, row: v1::RequestCount) -> Result<Requests, String> {
        let v1::RequestCount { inbound, service, route, protocol, peer, reason, code, grpc, count } =
            row;
        let (reason, peer) = (self.word(reason)?, self.word(peer)?);
        let spoken = self.spoken(protocol)?;
        let status = u16::try_from(code).map_err(|_| format!("{code} is no status"))?;
        let outcome = Outcome {
            failed: failed(status, grpc_of(grpc)?, &reason),
            proved: !peer.is_empty(),
            // Who was never reached, or never let in, was not spoken to in plaintext.
            plain: peer.is_empty() && reason.is_empty(),
        };
        let (service, route) = (self.word(service)?, self.word(route)?);
        Ok(Requests { inbound, service, route, spoken, peer, outcome, count })
    }

    pub(super) fn spoken(&self, protocol: u32) -> Result<Spoken, String> {
        Ok(match &*self.word(protocol)? {
            "grpc" => Spoken::Grpc,
            "tcp" => Spoken::Tcp,
            _ => Spoken::Http,
        })
    }

    fn opened(&self, row: v1::OpenCount) -> Result<Opened, String> {
        let v1::OpenCount { inbound, service, route, protocol, peer, count } = row;
        let [service, route, peer] = [self.word(service)?, self.word(route)?, self.word(peer)?];
        Ok(Opened { inbound, service, route, spoken: self.spoken(protocol)?, peer, count })
    }

    fn latencies(&self, row: v1::Latencies, bounds_us: &[u64]) -> Result<Latencies, String> {
        let v1::Latencies { inbound, service, route, counts: from } = row;
        if from.len() > bounds_us.len() + 1 {
            return Err("there are more buckets than bounds".into());
        }
        // Another version's buckets count where they end.
        let mut counts = Buckets::default();
        for (at, count) in from.into_iter().enumerate() {
            let into = bounds_us.get(at).map_or(BOUNDS.len(), |bound_us| {
                BOUNDS.partition_point(|bound| *bound < bound_us.saturating_mul(1000))
            });
            counts[into] = counts[into].saturating_add(count);
        }
        let (service, route) = (self.word(service)?, self.word(route)?);
        Ok(Latencies { inbound, service, route, counts })
    }
}

fn grpc_of(number: u32) -> Result<Option<u8>, String> {
    let Some(status) = number.checked_sub(1) else { return Ok(None) };
    u8::try_from(status).map(Some).map_err(|_| format!("{status} is no gRPC status"))
}

pub(super) fn unready(from: v1::EndpointStates) -> Result<Unready, String> {
    let v1::EndpointStates { service, endpoints, unused } = from;
    most("endpoints", endpoints.len(), ENDPOINTS)?;
    let endpoint = |from: v1::EndpointState| {
        use v1::endpoint_state::State as Said;
        let v1::EndpointState { address, state } = from;
        let state = match Said::try_from(state) {
            Ok(Said::Ejected) => State::Ejected,
            Ok(Said::HalfOpen) => State::HalfOpen,
            Ok(Said::Connecting) => State::Connecting,
            // A newer sidecar's word: it is not ready, whatever else it is.
            Ok(Said::Unspecified) | Err(_) => State::Ejected,
        };
        Ok((socket(&address)?.ok_or("an endpoint without an address")?, state))
    };
    let endpoints = endpoints.into_iter().map(endpoint).collect::<Result<_, String>>()?;
    Ok(Unready { service: cut(service).into(), endpoints, is_used: !unused })
}

fn socket(text: &str) -> Result<Option<SocketAddr>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let quoted = || text.chars().take(QUOTED).collect::<String>();
    let wrong = |_| format!("{:?} is no address such as 10.0.0.1:80", quoted());
    text.parse().map(Some).map_err(wrong)
}

pub(super) fn kept(from: v1::KeptSpan) -> Result<Kept, String> {
    let v1::KeptSpan {
        trace_id,
        span_id,
        parent_id,
        kept,
        inbound,
        started_us,
        duration_us,
        protocol,
        method,
        path,
        status: code,
        grpc,
        reason,
        sentence,
        service,
        route,
        endpoint,
        peer,
        tls,
        attempts,
    } = from;
    use v1::kept_span::Kept as Said;
    let trace_id: [u8; 16] = trace_id.try_into().map_err(|_| "a trace id has 16 bytes")?;
    if trace_id == [0; 16] || span_id == 0 {
        return Err("a trace and its parts have ids that are not zero".into());
    }
    most("attempts", attempts.len(), ATTEMPTS)?;
    let text = |text: String| -> Box<str> { cut(text).into() };
    Ok(Kept {
        trace_id: u128::from_be_bytes(trace_id),
        span_id,
        parent_id,
        why: match Said::try_from(kept) {
            Ok(Said::Failed) => Why::Failed,
            Ok(Said::Slow) => Why::Slow,
            Ok(Said::Sampled | Said::Unspecified) | Err(_) => Why::Sampled,
        },
        inbound,
        started_us,
        duration_us,
        protocol: text(protocol),
        method: text(method),
        path: text(path),
        status: status(code)?,
        grpc: grpc_of(grpc)?,
        reason: text(reason),
        sentence: text(sentence),
        service: text(service),
        route: text(route),
        endpoint: socket(&endpoint)?,
        peer: text(peer),
        tls: text(tls),
        attempts: attempts.into_iter().map(attempt).collect::<Result<_, _>>()?,
    })
}

fn attempt(from: v1::SpanAttempt) -> Result<Attempt, String> {
    let v1::SpanAttempt { endpoint, offset_us, duration_us, status: code, reason } = from;
    Ok(Attempt {
        endpoint: socket(&endpoint)?,
        offset_us,
        duration_us,
        status: status(code)?,
        reason: cut(reason).into(),
    })
}

fn status(code: u32) -> Result<u16, String> {
    u16::try_from(code).map_err(|_| format!("{code} is no status"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latencies(bounds_us: Vec<u64>, counts: Vec<u64>) -> Result<Report, String> {
        let row = v1::Latencies { counts, ..Default::default() };
        traffic(v1::Traffic { bounds_us, latencies: vec![row], ..Default::default() })
    }

    #[test]
    fn what_can_not_be_is_refused() {
        let default = v1::Traffic::default;
        let request = |row| v1::Traffic { requests: vec![row], ..default() };
        let span = |span| v1::Traffic { spans: vec![span], ..default() };
        let row = v1::RequestCount::default;
        let empty = v1::KeptSpan { trace_id: vec![1; 16], span_id: 1, ..Default::default() };
        for (sound, said) in [
            (true, default()),
            (true, request(row())),
            (true, span(empty.clone())),
            (false, request(v1::RequestCount { peer: 1, ..row() })),
            (false, request(v1::RequestCount { code: 70_000, ..row() })),
            (false, request(v1::RequestCount { grpc: 300, ..row() })),
            (false, v1::Traffic { requests: vec![row(); ROWS + 1], ..default() }),
            (true, v1::Traffic { open: vec![v1::OpenCount::default()], ..default() }),
            (false, v1::Traffic { open: vec![v1::OpenCount::default(); OPEN + 1], ..default() }),
            (
                false,
                v1::Traffic {
                    open: vec![v1::OpenCount { service: 1, ..Default::default() }],
                    ..default()
                },
            ),
            (false, v1::Traffic { spans: vec![empty.clone(); SPANS + 1], ..default() }),
            (false, span(v1::KeptSpan { trace_id: vec![1; 8], ..empty.clone() })),
            (false, span(v1::KeptSpan { trace_id: vec![0; 16], ..empty.clone() })),
            (false, span(v1::KeptSpan { span_id: 0, ..empty.clone() })),
            (false, span(v1::KeptSpan { endpoint: "here".into(), ..empty.clone() })),
        ] {
            assert_eq!(traffic(said.clone()).is_ok(), sound, "{said:?}");
        }
        assert!(latencies(vec![1], vec![1; 3]).is_err());
        let wrong = v1::KeptSpan { endpoint: "x\n".repeat(1 << 16), ..empty.clone() };
        let sentence = traffic(span(wrong)).expect_err("it is no address");
        assert!(sentence.len() < 200 && !sentence.contains('\n'), "{sentence}");
        let long = v1::KeptSpan { path: "ä".repeat(TEXT), ..empty };
        let report = traffic(span(long)).expect("it is cut");
        assert_eq!(report.spans[0].path.len(), TEXT);
    }

    #[test]
    fn buckets_of_another_version_count_where_they_end() {
        let same: Vec<u64> = BOUNDS.iter().map(|bound| bound / 1000).collect();
        let report = latencies(same, (0..=BOUNDS.len() as u64).collect()).expect("ours");
        assert_eq!(report.latencies[0].counts.to_vec(), (0..=16).collect::<Vec<u64>>());
        let report = latencies(vec![2_000, 3_000], vec![1, 2, 4]).expect("others");
        let mut expected = Buckets::default();
        (expected[2], expected[3], expected[16]) = (1, 2, 4);
        assert_eq!(report.latencies[0].counts, expected);
    }
}
