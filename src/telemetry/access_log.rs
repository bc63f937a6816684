//! The access log: one line for each request or TCP connection when it ends, and audit entries.
//!
//! A worker formats into its own buffer and hands batches to one writer thread through a queue of
//! bounded size, so a slow reader of standard output never slows a request: what does not fit is
//! dropped and counted. `inbound` and `outbound` write; the worker's tick calls
//! [`AccessLog::flush`]; `app` owns the [`Writer`] and closes it last.

mod format;
#[cfg(test)]
mod tests;
mod writer;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use super::span::has_failed;
use super::{AccessLog as Settings, LogFormat, Timestamps};
use crate::model::{Direction, Reason};

pub use writer::{Feed, Writer};

/// A batch goes to the writer when it exceeds this: large enough that the system call does not
/// count, small enough that a crash loses little.
const BATCH_BYTES: usize = 16 * 1024;

/// A request or a TCP connection that ended. What is `None` is left out of the line.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// When it began.
    pub time: SystemTime,
    pub direction: Direction,
    /// As it came; bytes that are no text are replaced.
    pub request_id: Option<&'a [u8]>,
    pub trace_id: Option<u128>,
    pub method: Option<&'a str>,
    pub authority: Option<&'a str>,
    /// With its query.
    pub path: Option<&'a str>,
    /// What was spoken downstream: `http/1.1`, `http/2`, `tcp`.
    pub protocol: &'static str,
    pub status: Option<u16>,
    pub grpc_status: Option<u16>,
    /// Only where a proxy answered or closed by itself.
    pub reason: Option<Reason>,
    pub service: Option<&'a str>,
    pub route: Option<&'a str>,
    /// The upstream address of the last attempt.
    pub endpoint: Option<SocketAddr>,
    /// The SPIFFE id of the other end.
    pub peer: Option<&'a str>,
    /// How often an endpoint was tried; 0 where the answer was made here.
    pub attempts: u32,
    /// From the beginning to the last byte.
    pub duration: Duration,
    /// From sending the last attempt to its response headers.
    pub upstream: Option<Duration>,
    /// From downstream to upstream.
    pub bytes_in: u64,
    /// From upstream to downstream.
    pub bytes_out: u64,
    /// As it came; bytes that are no text are replaced.
    pub user_agent: Option<&'a [u8]>,
    /// How the downstream connection was secured.
    pub tls: &'static str,
    /// The decision, the policy and the rule that kept the caller out, or would have.
    pub access: Option<&'a str>,
}

impl Entry<'_> {
    /// Failures are always kept, whatever the sample ratio.
    fn is_failure(&self) -> bool {
        let grpc = self.grpc_status.and_then(|status| u8::try_from(status).ok());
        self.reason.is_some() || has_failed(self.status.unwrap_or(0), grpc, self.reason)
    }
}

/// Appends an entry as the JSON log has it, with its line feed.
pub fn write_json(out: &mut Vec<u8>, times: &mut Timestamps, entry: &Entry<'_>) {
    format::json(out, times.rfc3339(entry.time), entry);
}

/// An access decision, where the policy asks for a record of it.
#[derive(Debug, Clone)]
pub struct Audit<'a> {
    pub time: SystemTime,
    pub principal: Option<&'a str>,
    pub action: &'a str,
    pub resource: &'a str,
    pub decision: &'a str,
    pub policy: Option<&'a str>,
    pub rule: Option<&'a str>,
}

/// A worker's access log. Clones share its buffer; they stay on their thread. Dropping the last one
/// hands over what is left.
#[derive(Clone)]
pub struct AccessLog(Rc<Inner>);

struct Inner {
    format: Cell<LogFormat>,
    /// An entry is kept when the next 32 random bits are below: 2^32 keeps all.
    keep_below: Cell<u64>,
    random: Cell<u64>,
    batch: RefCell<Batch>,
}

struct Batch {
    bytes: Vec<u8>,
    entries: u64,
    times: Timestamps,
    feed: Feed,
}

impl AccessLog {
    /// A log into `feed`. `seed` decides which entries a sample ratio keeps: give each worker
    /// another one.
    pub fn new(feed: Feed, settings: &Settings, seed: u64) -> Self {
        let bytes = Vec::with_capacity(BATCH_BYTES + BATCH_BYTES / 4);
        let batch = Batch { bytes, entries: 0, times: Timestamps::default(), feed };
        let log = Self(Rc::new(Inner {
            format: Cell::new(LogFormat::Off),
            keep_below: Cell::new(0),
            random: Cell::new(seed),
            batch: RefCell::new(batch),
        }));
        log.configure(settings);
        log
    }

    /// Takes new settings over, from the next entry on.
    pub fn configure(&self, settings: &Settings) {
        self.0.format.set(settings.format);
        // A float cast saturates: a ratio below 0 keeps none, beyond 1 keeps all.
        self.0.keep_below.set((settings.sample * 4_294_967_296.0) as u64);
    }

    /// False when the log is off, so that the caller need not even gather an entry.
    pub fn enabled(&self) -> bool {
        self.0.format.get() != LogFormat::Off
    }

    /// Writes an entry, unless the log is off or the sample leaves it out.
    pub fn write(&self, entry: &Entry<'_>) {
        let format = self.0.format.get();
        if format != LogFormat::Off && (entry.is_failure() || self.0.sampled()) {
            self.0.append(format, entry);
        }
    }

    /// Writes an audit entry: never left out, and as JSON where the access log is off, since a
    /// policy asked for it.
    pub fn audit(&self, audit: &Audit<'_>) {
        self.0.append(self.0.format.get(), audit);
    }

    /// Hands what is buffered to the writer. To be called every 100 ms or so.
    pub fn flush(&self) {
        self.0.batch.borrow_mut().flush();
    }
}

impl Inner {
    fn append(&self, format: LogFormat, record: &impl format::Record) {
        let mut batch = self.batch.borrow_mut();
        let Batch { bytes, times, .. } = &mut *batch;
        let time = times.rfc3339(record.time());
        match format {
            LogFormat::Text => format::text(bytes, time, record),
            LogFormat::Json | LogFormat::Off => format::json(bytes, time, record),
        }
        batch.entries += 1;
        if batch.bytes.len() >= BATCH_BYTES {
            batch.flush();
        }
    }

    /// SplitMix64, of which any seed is good.
    fn sampled(&self) -> bool {
        let keep_below = self.keep_below.get();
        if keep_below > u64::from(u32::MAX) {
            return true;
        }
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mut z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z >> 32 < keep_below
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.batch.get_mut().flush();
    }
}

impl Batch {
    /// Copies, so that the queue holds exact sizes and the buffer is used again.
    fn flush(&mut self) {
        if self.entries > 0 {
            self.feed.offer(Box::from(self.bytes.as_slice()), self.entries);
            self.bytes.clear();
            // One entry with huge headers must not keep the buffer large.
            self.bytes.shrink_to(4 * BATCH_BYTES);
            self.entries = 0;
        }
    }
}
