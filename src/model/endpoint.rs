//! One address of a service, with what all workers know about its health.
//!
//! Immutable but for the atomics of [`EndpointHealth`], which survive every snapshot that still
//! holds the endpoint, also under another weight or zone: an update from the control plane resets no
//! circuit and no estimate.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError, atomic};

use super::{Reason, SpiffeId};

/// An address that takes a service's traffic.
#[derive(Debug)]
pub struct Endpoint {
    pub address: SocketAddr,
    /// Whom the far side must prove to be; `None` is an unmeshed endpoint, reached in plaintext.
    pub identity: Option<SpiffeId>,
    /// The workload behind it, as `name.namespace`.
    pub workload: Arc<str>,
    /// The host name that the address was found under, if it was.
    pub host: Option<Arc<str>>,
    pub zone: Option<Arc<str>>,
    /// Share of the traffic, relative to the others; at least 1.
    pub weight: u32,
    /// When it joined a service that had others, in microseconds since the process started; 0: it
    /// was there from the start.
    pub since_us: u64,
    /// Index of this endpoint in tables that workers keep for themselves; never reused.
    pub slot: u32,
    pub health: Arc<EndpointHealth>,
}

impl Endpoint {
    /// An endpoint that nothing is known about yet, with a slot of its own.
    pub fn new(
        address: SocketAddr,
        identity: Option<SpiffeId>,
        workload: Arc<str>,
        zone: Option<Arc<str>>,
        weight: u32,
    ) -> Self {
        static SLOTS: atomic::AtomicU32 = atomic::AtomicU32::new(0);
        Self {
            address,
            identity,
            workload,
            host: None,
            zone,
            weight: weight.max(1),
            since_us: 0,
            slot: SLOTS.fetch_add(1, atomic::Ordering::Relaxed),
            health: Arc::default(),
        }
    }

    /// The same endpoint as it is described now: what was learnt about it goes on, and so do its
    /// connections.
    #[must_use]
    pub fn described(&self, host: Option<Arc<str>>, zone: Option<Arc<str>>, weight: u32) -> Self {
        Self {
            address: self.address,
            identity: self.identity.clone(),
            workload: Arc::clone(&self.workload),
            host,
            zone,
            weight: weight.max(1),
            since_us: self.since_us,
            slot: self.slot,
            health: Arc::clone(&self.health),
        }
    }
}

/// What the circuit of an endpoint lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CircuitState {
    /// Everything.
    Closed,
    /// Nothing until a moment, in microseconds since the process started.
    Open { until_us: u64 },
    /// Some probes.
    HalfOpen,
}

/// The newest failure of an endpoint.
#[derive(Clone, Debug)]
pub struct LastError {
    pub reason: Reason,
    pub text: String,
    /// Microseconds since the process started.
    pub at_us: u64,
}

/// Counters that all workers share. Each is written by the room that it is named for.
#[derive(Debug, Default)]
pub struct EndpointHealth {
    /// Requests and TCP connections under way.
    pub in_flight: AtomicU32,
    /// Connections being made.
    pub connecting: AtomicU32,
    /// The balancer's estimate: f32 microseconds in the upper half, milliseconds of its last update
    /// in the lower.
    pub ewma: AtomicU64,
    /// The circuit's word; its layout is the circuit's own.
    pub circuit: AtomicU64,
    pub consecutive_failures: AtomicU32,
    /// The circuit's sliding windows of failed requests and of slow answers, untouched unless the
    /// policy asks for such a rate; their layout is the circuit's own.
    pub failures: [AtomicU64; 10],
    pub slow_calls: [AtomicU64; 10],
    /// Since when the floor holds an ejection back; 0: it doesn't.
    pub held_back_us: AtomicU64,
    pub last_error: Mutex<Option<LastError>>,
}

impl EndpointHealth {
    /// Keeps the newest failure for the pages; called on failures only.
    pub fn note_error(&self, error: LastError) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}
