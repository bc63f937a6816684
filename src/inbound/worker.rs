//! What one worker keeps for the inbound wing.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwapOption;
use tokio::sync::Semaphore;

use super::port::AppPort;
use crate::access::Policy;
use crate::dial::Dialer;
use crate::intercept::OriginalDst;
use crate::model::{Direction, Protocol};
use crate::runtime::clock::Rng;
use crate::runtime::{Doorway, Drain};
use crate::serve::Ledger;
use crate::telemetry::Propagation;
use crate::telemetry::exchange::Sinks;
use crate::telemetry::log::Repeats;
use crate::telemetry::metrics::Counter;
use crate::telemetry::traffic::{RouteMeter, TrafficMetrics};
use crate::tls::Credentials;

/// Handshakes under way on one worker; each takes some 0.4 ms of its loop, so more would only make
/// every other connection wait.
const HANDSHAKES: usize = 64;
/// Ports found by original destination that one worker remembers.
const PORTS: usize = 1024;

/// What all workers share.
pub struct Shared {
    pub credentials: Arc<ArcSwapOption<Credentials>>,
    pub access: Policy,
    /// The service account and namespace, joined by a dot.
    pub workload: Arc<str>,
    pub propagation: Vec<Propagation>,
    pub metrics: TrafficMetrics,
    pub ledger: Ledger,
    pub drain: Drain,
    pub original_dst: OriginalDst,
    /// The sidecar's own ports, where no original destination may point.
    pub own_ports: Vec<u16>,
}

/// One worker's inbound wing.
pub struct Inbound {
    pub shared: Arc<Shared>,
    pub doorway: Rc<Doorway>,
    pub dialer: Dialer,
    pub sinks: Rc<Sinks>,
    pub rng: RefCell<Rng>,
    pub handshakes: Semaphore,
    pub allowed: Counter,
    pub denied: Counter,
    repeats: RefCell<Repeats>,
    ports: RefCell<HashMap<SocketAddr, Arc<AppPort>>>,
    meters: RefCell<HashMap<Arc<str>, Rc<RouteMeter>>>,
}

impl Inbound {
    pub fn new(
        shared: Arc<Shared>,
        doorway: Rc<Doorway>,
        dialer: Dialer,
        sinks: Rc<Sinks>,
    ) -> Self {
        Self {
            allowed: shared.metrics.decision("mesh-default", "allow"),
            denied: shared.metrics.decision("mesh-default", "deny"),
            shared,
            doorway,
            dialer,
            sinks,
            rng: RefCell::new(Rng::from_system()),
            handshakes: Semaphore::new(HANDSHAKES),
            repeats: RefCell::default(),
            ports: RefCell::default(),
            meters: RefCell::default(),
        }
    }

    /// The port that an original destination means.
    pub fn port(&self, address: SocketAddr) -> Arc<AppPort> {
        let mut ports = self.ports.borrow_mut();
        if ports.len() >= PORTS {
            ports.clear();
        }
        let make = || AppPort::new(&self.shared.workload, address, Protocol::Auto);
        Arc::clone(ports.entry(address).or_insert_with(make))
    }

    pub fn meter(&self, port: &AppPort) -> Rc<RouteMeter> {
        let mut meters = self.meters.borrow_mut();
        let make = || {
            let (label, route) = (Arc::clone(&port.label), "default".into());
            Rc::new(RouteMeter::new(&self.shared.metrics, Direction::Inbound, label, route))
        };
        Rc::clone(meters.entry(Arc::clone(&port.label)).or_insert_with(make))
    }

    /// How many equal messages were left out since the last one; `None` leaves this one out too.
    pub fn may_log(&self, message: &str) -> Option<u64> {
        self.repeats.borrow_mut().note(message, Instant::now())
    }

    /// Lets go of idle connections.
    pub fn sweep(&self) {
        self.dialer.sweep(|_| true);
    }
}
