//! What becomes of an exchange at its end: counts, a line of the access log, what
//! whoever taps is shown, a span that is kept.

use std::time::{Duration, SystemTime};

use http::{HeaderValue, Method, uri};

use super::{Detail, Exchange};
use crate::model::{Reason, SpiffeId};
use crate::telemetry::access_log::Entry;
use crate::telemetry::span::{Kept, Span, TEXT, cut, has_failed};
use crate::telemetry::tracer::{End, Position};
use crate::telemetry::traffic::{Ending, Spoken};

impl Detail {
    /// Whom the request named: in its target, else in its `Host`.
    fn authority(&self) -> Option<&str> {
        let authority = self.uri.authority().map(uri::Authority::as_str);
        authority.or_else(|| text(self.host.as_ref()))
    }
}

fn text(value: Option<&HeaderValue>) -> Option<&str> {
    value.and_then(|value| value.to_str().ok())
}

/// A method may be any word, as long as a head may be.
fn bounded(method: &Method) -> Method {
    let name = method.as_str().as_bytes();
    let cut = name.get(..TEXT).and_then(|name| Method::from_bytes(name).ok());
    cut.unwrap_or_else(|| method.clone())
}

impl Exchange {
    fn end(&mut self) {
        let ended_us = self.ended_us.get().unwrap_or_else(self.now_us);
        let took = Duration::from_micros(ended_us.saturating_sub(self.started_us));
        if self.status.get() == 0 && self.spoken != Spoken::Tcp && !self.is_cut.get() {
            self.blame(Reason::ClientClosed);
            self.status.set(499);
        }
        let (bytes_in, bytes_out) = self.bytes();
        let (known_in, known_out) = self.counted.get();
        self.sinks.count(bytes_in.saturating_sub(known_in), bytes_out.saturating_sub(known_out));
        let kept = self.position.get().and_then(|at| Some((at, self.kept(at, took)?)));
        let peer = self.peer.borrow();
        if let Some(meter) = self.meter.get() {
            let ending = Ending {
                spoken: self.spoken,
                code: self.status.get(),
                grpc: self.grpc.get(),
                peer: peer.as_ref(),
                reason: self.reason.get(),
                trace_id: kept.map_or(0, |(position, _)| position.context.trace_id),
            };
            meter.count(ending, took);
        }
        let is_watched = self.sinks.taps.is_watched();
        if self.is_logged() || is_watched {
            let entry = self.entry(took, peer.as_ref());
            self.sinks.log.write(&entry);
            if is_watched {
                self.sinks.taps.offer(&entry, ended_us);
            }
        }
        if let Some((position, kept)) = kept {
            self.sinks.tracer.offer(|| self.span(position, kept, ended_us, took));
        }
    }

    fn kept(&self, position: Position, took: Duration) -> Option<Kept> {
        let (status, reason) = (self.status.get(), self.reason.get());
        let is_latency = self.spoken != Spoken::Tcp && !self.is_tunnel();
        let end = End {
            has_failed: has_failed(status, self.grpc.get(), reason),
            took_us: is_latency.then(|| self.until_head_us(took)),
        };
        self.sinks.tracer.keeps(position, end)
    }

    /// To the head of the last answer: what comes then takes as long as there is to say. Where there
    /// was no answer, to the end.
    fn until_head_us(&self, took: Duration) -> u64 {
        let head_us = self.tries.borrow().last_end_us();
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        head_us.map_or(took_us, |at| at.saturating_sub(self.started_us))
    }

    /// Whether it left HTTP, and lasted as long as what came then.
    fn is_tunnel(&self) -> bool {
        let connect = || self.detail.get().is_some_and(|detail| detail.method == Method::CONNECT);
        match self.status.get() {
            101 => true,
            200..=299 => connect(),
            _ => false,
        }
    }

    fn entry<'a>(&'a self, took: Duration, peer: Option<&'a SpiffeId>) -> Entry<'a> {
        let meter = self.meter.get();
        let detail = self.detail.get();
        Entry {
            time: self.began(took),
            direction: self.direction,
            request_id: self.request_id.get().map(HeaderValue::as_bytes),
            trace_id: self.position.get().map(|position| position.context.trace_id),
            method: detail.map(|d| d.method.as_str()),
            authority: detail.and_then(Detail::authority),
            path: detail.and_then(|d| d.uri.path_and_query()).map(uri::PathAndQuery::as_str),
            protocol: self.spoken.as_str(),
            status: Some(self.status.get()).filter(|&status| status != 0),
            grpc_status: self.grpc.get().map(u16::from),
            reason: self.reason.get(),
            service: meter.map(|meter| &*meter.service),
            route: meter.map(|meter| &*meter.route),
            endpoint: self.endpoint.get(),
            peer: peer.map(SpiffeId::as_str),
            attempts: self.attempts.get(),
            duration: took,
            upstream: self.upstream_us.get().map(Duration::from_micros),
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out.get(),
            user_agent: detail.and_then(|d| d.user_agent.as_ref()).map(HeaderValue::as_bytes),
            tls: self.secured,
            access: self.access.get().map(|access| &**access),
        }
    }

    /// Connections keep no wall-clock time: they are counted back from now.
    fn began(&self, took: Duration) -> SystemTime {
        self.detail.get().map_or_else(|| SystemTime::now() - took, |detail| detail.time)
    }

    fn span(&self, position: Position, kept: Kept, ended_us: u64, took: Duration) -> Span {
        // Callers choose these texts, and a queue counts spans: each is bounded by itself.
        let owned = |text: Option<&str>| text.map(|text| cut(text, TEXT));
        let meter = self.meter.get();
        let detail = self.detail.get();
        Span {
            trace_id: position.context.trace_id,
            span_id: position.context.span_id,
            parent_id: position.parent_id,
            kept,
            direction: self.direction,
            started: self.began(took),
            duration: took,
            protocol: self.spoken.as_str(),
            method: detail.map(|d| bounded(&d.method)),
            authority: owned(detail.and_then(Detail::authority)),
            path: owned(detail.and_then(|d| d.uri.path_and_query()).map(uri::PathAndQuery::path)),
            request_id: owned(text(self.request_id.get())),
            user_agent: owned(text(detail.and_then(|d| d.user_agent.as_ref()))),
            status: Some(self.status.get()).filter(|&status| status != 0),
            grpc_status: self.grpc.get(),
            reason: self.reason.get(),
            sentence: owned(self.sentence.borrow().as_deref()),
            service: meter.map(|meter| meter.service.clone()),
            route: meter.map(|meter| meter.route.clone()),
            endpoint: self.endpoint.get(),
            peer: self.peer.borrow().clone(),
            client: self.client.get(),
            tls: self.secured,
            attempts: self.tries.borrow().spans(self.started_us, ended_us),
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out.get(),
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.end();
    }
}
