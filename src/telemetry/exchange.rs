//! The record of one request or opaque connection, from its head to its last byte.
//!
//! Shared by whoever learns something: the request path, the request's body, the answer's body. It
//! writes itself down when the last of them lets go, so nothing that was begun goes unrecorded,
//! whatever breaks.

mod ending;
pub mod roster;
#[cfg(test)]
mod tests;
mod tries;

use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::SystemTime;

use http::{HeaderMap, HeaderValue, Request, Uri, header};

use self::roster::Roster;
use self::tries::Tries;
use super::access_log::AccessLog;
use super::mask;
use super::metrics::{Counter, Gauge};
use super::request_id;
use super::span::Circuit;
use super::tap::Taps;
use super::tracer::{Position, Tracer};
use super::traffic::{RouteMeter, Spoken};
use crate::model::{Direction, Endpoint, Reason, SpiffeId};

/// Where one worker's records of one direction go.
pub struct Sinks {
    pub log: AccessLog,
    pub tracer: Rc<Tracer>,
    pub taps: Taps,
    pub bytes_in: Counter,
    pub bytes_out: Counter,
    /// What is under way.
    pub roster: Roster,
}

impl Sinks {
    fn count(&self, bytes_in: u64, bytes_out: u64) {
        for (counter, bytes) in [(&self.bytes_in, bytes_in), (&self.bytes_out, bytes_out)] {
            if bytes > 0 {
                counter.add(bytes);
            }
        }
    }
}

/// What only the access log, spans and taps want; gathered where there are such.
#[derive(Debug)]
struct Detail {
    time: SystemTime,
    method: http::Method,
    uri: Uri,
    host: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
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
    detail: OnceCell<Detail>,
    request_id: OnceCell<HeaderValue>,
    /// Its place in its trace, if it has one.
    position: Cell<Option<Position>>,
    tries: RefCell<Tries>,
    /// What the proxy said of a failure.
    sentence: RefCell<Option<Cow<'static, str>>>,
    /// What kept the caller out, or would have.
    access: OnceCell<Box<str>>,
    pub status: Cell<u16>,
    pub grpc: Cell<Option<u8>>,
    pub reason: Cell<Option<Reason>>,
    pub attempts: Cell<u32>,
    bytes_in: Cell<u64>,
    bytes_out: Cell<u64>,
    /// Of these bytes, what the metrics know already.
    counted: Cell<(u64, u64)>,
    moved: Cell<bool>,
    is_cut: Cell<bool>,
    ended_us: Cell<Option<u64>>,
    pub upstream_us: Cell<Option<u64>>,
    pub endpoint: Cell<Option<SocketAddr>>,
    pub peer: RefCell<Option<SpiffeId>>,
    /// Where the caller's connection came from, where that says something.
    pub client: Cell<Option<SocketAddr>>,
    /// Where in the roster, as long as it is there.
    seat: Cell<usize>,
    /// What counts it as open, if anything does.
    open: RefCell<Option<Gauge>>,
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
        Self::begun(sinks, direction, spoken, secured, now_us, now_us())
    }

    /// The same of what began at that moment.
    pub fn begun(
        sinks: &Rc<Sinks>,
        direction: Direction,
        spoken: Spoken,
        secured: &'static str,
        now_us: fn() -> u64,
        started_us: u64,
    ) -> Rc<Self> {
        Rc::new(Self {
            sinks: Rc::clone(sinks),
            direction,
            started_us,
            spoken,
            secured,
            meter: OnceCell::new(),
            detail: OnceCell::new(),
            request_id: OnceCell::new(),
            position: Cell::new(None),
            tries: RefCell::default(),
            sentence: RefCell::new(None),
            access: OnceCell::new(),
            status: Cell::new(0),
            grpc: Cell::new(None),
            reason: Cell::new(None),
            attempts: Cell::new(0),
            bytes_in: Cell::new(0),
            bytes_out: Cell::new(0),
            counted: Cell::new((0, 0)),
            moved: Cell::new(false),
            is_cut: Cell::new(false),
            ended_us: Cell::new(None),
            upstream_us: Cell::new(None),
            endpoint: Cell::new(None),
            peer: RefCell::new(None),
            client: Cell::new(None),
            seat: Cell::new(0),
            open: RefCell::new(None),
            now_us,
        })
    }

    /// Finds the request's place in its trace, and notes what log, spans and taps want, before
    /// anything of it is changed. `time` is when it began; `has_context`, whether a header may say the
    /// place; `secrets`, the names of query parameters that nobody is to read.
    pub fn note<B>(
        &self,
        request: &Request<B>,
        has_context: bool,
        time: SystemTime,
        secrets: &[Box<str>],
    ) {
        let headers = request.headers();
        self.join(has_context.then_some(headers));
        if !self.is_logged() && !self.is_recorded() && !self.sinks.taps.is_watched() {
            return;
        }
        let _ = self.detail.set(Detail {
            time,
            method: request.method().clone(),
            uri: mask::masked(request.uri(), secrets),
            host: headers.get(header::HOST).cloned(),
            user_agent: headers.get(header::USER_AGENT).cloned(),
        });
        if let Some(id) = request_id::of(headers) {
            self.set_request_id(id.clone());
        }
    }

    /// Finds its place in the trace that these headers speak of, else in a trace of its own.
    pub fn join(&self, headers: Option<&HeaderMap>) {
        self.position.set(self.sinks.tracer.join(headers));
    }

    /// Writes its place in its trace for whoever is called next.
    pub fn carry(&self, headers: &mut HeaderMap) {
        if let Some(position) = self.position.get() {
            self.sinks.tracer.carry(position, headers);
        }
    }

    /// Gives a request its id, unless it has one. `random` and `time` make a new one.
    pub fn identify(
        &self,
        headers: &mut HeaderMap,
        time: SystemTime,
        random: &mut impl FnMut() -> u64,
    ) {
        let values = &mut self.sinks.tracer.values.borrow_mut();
        if let Some(made) = request_id::ensure(headers, time, random, values) {
            self.set_request_id(made);
        }
    }

    fn set_request_id(&self, id: HeaderValue) {
        let _ = self.request_id.set(id);
    }

    /// The newest attempt, from 1, where it goes, and what it is to the circuit there.
    pub fn attempt(
        &self,
        endpoint: &Endpoint,
        number: u32,
        began_us: u64,
        circuit: Option<Circuit>,
    ) {
        self.attempts.set(number);
        self.reach(endpoint);
        self.try_at(endpoint.address, began_us, circuit);
    }

    /// An attempt at an address, for spans.
    pub fn try_at(&self, address: SocketAddr, began_us: u64, circuit: Option<Circuit>) {
        if self.is_recorded() {
            self.tries.borrow_mut().begin(address, began_us, circuit);
        }
    }

    /// The attempt of that number was answered with this status (0: was not), or failed so.
    pub fn attempted(&self, number: u32, now_us: u64, status: u16, reason: Option<Reason>) {
        if self.is_recorded() {
            self.tries.borrow_mut().end(number, now_us, status, reason);
        }
    }

    /// Attempts that are still under way are given up.
    pub fn give_up(&self, now_us: u64) {
        self.tries.borrow_mut().give_up(now_us);
    }

    /// Whose answer it is.
    pub fn reach(&self, endpoint: &Endpoint) {
        self.endpoint.set(Some(endpoint.address));
        self.peer.replace(endpoint.identity.clone());
    }

    fn is_logged(&self) -> bool {
        self.sinks.log.enabled()
    }

    /// Whether it is a span that may be kept.
    fn is_recorded(&self) -> bool {
        self.position.get().is_some_and(|position| position.is_recorded)
    }

    /// What the caller is told of a failure; the first sentence counts, as the first reason does.
    pub fn say(&self, sentence: Cow<'static, str>) {
        if self.is_recorded() {
            self.sentence.borrow_mut().get_or_insert(sentence);
        }
    }

    /// The caller is kept out by this, or would be if it were not only observed.
    pub fn keep_out(&self, by: String) {
        let _ = self.access.set(by.into());
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

    /// That moment, once it has come.
    pub fn ended_us(&self) -> Option<u64> {
        self.ended_us.get()
    }

    /// Its connection was cut under it, which looks as if the caller had gone.
    pub fn cut(&self, reason: Reason) {
        if self.ended_us.get().is_some() {
            return;
        }
        self.is_cut.set(true);
        if matches!(self.reason.get(), None | Some(Reason::ClientClosed)) {
            self.reason.set(Some(reason));
        }
    }

    /// Why a proxy answered or closed; the first reason counts.
    pub fn blame(&self, reason: Reason) {
        if self.reason.get().is_none() {
            self.reason.set(Some(reason));
        }
    }
}
