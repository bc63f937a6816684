//! The record of one request or opaque connection, from its head to its last byte.
//!
//! Shared by whoever learns something: the request path, the request's body, the answer's body. It
//! writes itself down when the last of them lets go, so nothing that was begun goes unrecorded,
//! whatever breaks.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use http::{HeaderValue, Uri};

use super::access_log::{AccessLog, Entry};
use super::metrics::Counter;
use super::traffic::{Ending, RouteMeter, Spoken};
use crate::model::{Direction, Endpoint, Reason, SpiffeId};

/// Where one worker's records of one direction go.
pub struct Sinks {
    pub log: AccessLog,
    pub bytes_in: Counter,
    pub bytes_out: Counter,
}

/// What only the access log wants; gathered when it is on.
#[derive(Debug)]
pub struct Detail {
    pub time: SystemTime,
    pub method: http::Method,
    pub uri: Uri,
    pub host: Option<HeaderValue>,
    pub request_id: Option<HeaderValue>,
    pub trace_id: Option<u128>,
    pub user_agent: Option<HeaderValue>,
}

/// One request under way.
pub struct Exchange {
    sinks: Rc<Sinks>,
    pub direction: Direction,
    pub started_us: u64,
    pub spoken: Spoken,
    /// `mtls`, `tls` or `none`, for the downstream connection.
    pub secured: &'static str,
    meter: OnceCell<Rc<RouteMeter>>,
    pub detail: OnceCell<Box<Detail>>,
    pub status: Cell<u16>,
    pub grpc: Cell<Option<u8>>,
    pub reason: Cell<Option<Reason>>,
    pub attempts: Cell<u32>,
    bytes_in: Cell<u64>,
    bytes_out: Cell<u64>,
    moved: Cell<bool>,
    ended_us: Cell<Option<u64>>,
    pub upstream_us: Cell<Option<u64>>,
    pub endpoint: Cell<Option<SocketAddr>>,
    pub peer: RefCell<Option<SpiffeId>>,
    now_us: fn() -> u64,
}

impl Exchange {
    /// `now_us` is the clock that `started_us` was read from.
    pub fn begin(
        sinks: &Rc<Sinks>,
        direction: Direction,
        spoken: Spoken,
        secured: &'static str,
        now_us: fn() -> u64,
    ) -> Rc<Self> {
        Rc::new(Self {
            sinks: Rc::clone(sinks),
            direction,
            started_us: now_us(),
            spoken,
            secured,
            meter: OnceCell::new(),
            detail: OnceCell::new(),
            status: Cell::new(0),
            grpc: Cell::new(None),
            reason: Cell::new(None),
            attempts: Cell::new(0),
            bytes_in: Cell::new(0),
            bytes_out: Cell::new(0),
            moved: Cell::new(false),
            ended_us: Cell::new(None),
            upstream_us: Cell::new(None),
            endpoint: Cell::new(None),
            peer: RefCell::new(None),
            now_us,
        })
    }

    /// The newest attempt, from 1, and where it goes.
    pub fn attempt(&self, endpoint: &Endpoint, number: u32) {
        self.attempts.set(number);
        self.endpoint.set(Some(endpoint.address));
        self.peer.replace(endpoint.identity.clone());
    }

    /// True when details should be gathered.
    pub fn is_logged(&self) -> bool {
        self.sinks.log.enabled()
    }

    /// The route that the request falls under; the first one counts.
    pub fn set_meter(&self, meter: Rc<RouteMeter>) {
        let _ = self.meter.set(meter);
    }

    pub fn meter(&self) -> Option<&Rc<RouteMeter>> {
        self.meter.get()
    }

    /// `bytes` came from downstream.
    pub fn count_in(&self, bytes: usize) {
        self.bytes_in.set(self.bytes_in.get() + bytes as u64);
        self.moved.set(true);
    }

    /// `bytes` went downstream.
    pub fn count_out(&self, bytes: usize) {
        self.bytes_out.set(self.bytes_out.get() + bytes as u64);
        self.moved.set(true);
    }

    /// An opaque connection ended; these are all its bytes.
    pub fn end_stream(&self, bytes_in: u64, bytes_out: u64, reason: Option<Reason>) {
        self.bytes_in.set(bytes_in);
        self.bytes_out.set(bytes_out);
        if let Some(reason) = reason {
            self.blame(reason);
        }
    }

    /// From downstream, and to it.
    pub fn bytes(&self) -> (u64, u64) {
        (self.bytes_in.get(), self.bytes_out.get())
    }

    /// Whether a byte went by, in either direction, since this was last asked.
    pub fn moved(&self) -> bool {
        self.moved.replace(false)
    }

    /// When the last byte was through, on the clock of `started_us`.
    pub fn set_ended(&self, now_us: u64) {
        self.ended_us.set(Some(now_us));
    }

    /// Why a proxy answered or closed; the first reason counts.
    pub fn blame(&self, reason: Reason) {
        if self.reason.get().is_none() {
            self.reason.set(Some(reason));
        }
    }

    fn log(&self, took: Duration, peer: Option<&SpiffeId>) {
        let meter = self.meter.get();
        let detail = self.detail.get();
        let host = detail.and_then(|detail| {
            let authority = detail.uri.authority().map(http::uri::Authority::as_str);
            authority.or_else(|| detail.host.as_ref().and_then(|host| host.to_str().ok()))
        });
        self.sinks.log.write(&Entry {
            time: detail.map_or_else(|| SystemTime::now() - took, |detail| detail.time),
            direction: self.direction,
            request_id: detail.and_then(|d| d.request_id.as_ref()).map(HeaderValue::as_bytes),
            trace_id: detail.and_then(|d| d.trace_id),
            method: detail.map(|d| d.method.as_str()),
            authority: host,
            path: detail.and_then(|d| d.uri.path_and_query()).map(http::uri::PathAndQuery::as_str),
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
        });
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let ended_us = self.ended_us.get().unwrap_or_else(self.now_us);
        let took = Duration::from_micros(ended_us.saturating_sub(self.started_us));
        if self.status.get() == 0 && self.spoken != Spoken::Tcp {
            self.blame(Reason::ClientClosed);
            self.status.set(499);
        }
        for (counter, bytes) in [
            (&self.sinks.bytes_in, self.bytes_in.get()),
            (&self.sinks.bytes_out, self.bytes_out.get()),
        ] {
            if bytes > 0 {
                counter.add(bytes);
            }
        }
        let peer = self.peer.borrow();
        if let Some(meter) = self.meter.get() {
            let ending = Ending {
                spoken: self.spoken,
                code: self.status.get(),
                grpc: self.grpc.get(),
                peer: peer.as_ref(),
                reason: self.reason.get(),
            };
            meter.count(ending, took);
        }
        if self.is_logged() {
            self.log(took, peer.as_ref());
        }
    }
}
