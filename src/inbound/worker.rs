//! What one worker keeps for the inbound wing.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::Semaphore;

use super::caller::Caller;
use super::handshake::STEPS;
use super::plaintext::Plaintext;
use super::port::AppPort;
use super::settings::Mode;
use crate::access::Access;
use crate::dial::Dialer;
use crate::intercept::OriginalDst;
use crate::limit::load::Gates;
use crate::limit::rate::Rates;
use crate::model::{Direction, Mtls, Protocol};
use crate::runtime::clock::{self, Rng};
use crate::runtime::{Doorway, Drain, Exempt};
use crate::serve::Ledger;
use crate::telemetry::exchange::Sinks;
use crate::telemetry::log::Failures;
use crate::telemetry::traffic::{RouteMeter, TrafficMetrics};
use crate::tls::Credentials;

/// Ports found by original destination that one worker remembers.
const PORTS: usize = 1024;

/// What all workers share.
pub struct Shared {
    pub credentials: Arc<ArcSwapOption<Credentials>>,
    pub access: Arc<Access>,
    pub rates: Arc<Rates>,
    pub gates: Arc<Gates>,
    pub plaintext: Arc<Plaintext>,
    /// The service account and namespace, joined by a dot.
    pub workload: Arc<str>,
    pub metrics: TrafficMetrics,
    pub ledger: Ledger,
    pub drain: Drain,
    pub original_dst: OriginalDst,
    /// The sidecar's own ports, where no original destination may point.
    pub own_ports: Vec<u16>,
    pub mode: Mode,
    /// How connections to the app pass the pod's own interception.
    pub exempt: Exempt,
}

/// One worker's inbound wing.
pub struct Inbound {
    pub shared: Arc<Shared>,
    pub doorway: Rc<Doorway>,
    pub dialer: Dialer,
    pub sinks: Rc<Sinks>,
    pub rng: RefCell<Rng>,
    /// Steps of handshakes.
    pub handshakes: Semaphore,
    pub failures: Failures,
    ports: RefCell<HashMap<(SocketAddr, Exempt), Arc<AppPort>>>,
    meters: RefCell<HashMap<Arc<str>, Rc<RouteMeter>>>,
    /// The label of ports beyond those.
    other: Arc<str>,
}

impl Inbound {
    pub fn new(
        shared: Arc<Shared>,
        doorway: Rc<Doorway>,
        dialer: Dialer,
        sinks: Rc<Sinks>,
    ) -> Self {
        Self {
            other: format!("{}:other", shared.workload).into(),
            shared,
            doorway,
            dialer,
            sinks,
            rng: RefCell::new(Rng::from_system()),
            handshakes: Semaphore::new(STEPS),
            failures: Failures::default(),
            ports: RefCell::default(),
            meters: RefCell::default(),
        }
    }

    /// The port that an original destination means, for one client where the app is to see it.
    pub fn port(&self, address: SocketAddr, client: IpAddr) -> Arc<AppPort> {
        let exempt = match self.shared.mode {
            Mode::Redirect => self.shared.exempt,
            Mode::Tproxy => Exempt::As(client),
        };
        let mut ports = self.ports.borrow_mut();
        if ports.len() >= PORTS {
            ports.clear();
        }
        let make = || AppPort::new(&self.shared.workload, address, Protocol::Auto, exempt);
        Arc::clone(ports.entry((address, exempt)).or_insert_with(make))
    }

    /// Where traffic of a port is counted. Whoever scans all ports of a pod finds them counted
    /// together.
    pub fn meter(&self, port: &AppPort) -> Rc<RouteMeter> {
        let is_full = {
            let meters = self.meters.borrow();
            meters.len() >= PORTS && !meters.contains_key(&port.label)
        };
        self.meter_of(if is_full { &self.other } else { &port.label })
    }

    /// Where a connection is counted that was going to no port of the app.
    pub fn stray_meter(&self) -> Rc<RouteMeter> {
        self.meter_of(&self.other)
    }

    fn meter_of(&self, label: &Arc<str>) -> Rc<RouteMeter> {
        let mut meters = self.meters.borrow_mut();
        let make = || {
            let (label, route) = (Arc::clone(label), "default".into());
            Rc::new(RouteMeter::new(&self.shared.metrics, Direction::Inbound, label, route))
        };
        Rc::clone(meters.entry(Arc::clone(label)).or_insert_with(make))
    }

    /// Whether a port of the app lets callers in who don't prove who they are.
    fn admits_plaintext(&self, caller: &Caller) -> bool {
        let newest = self.shared.access.newest();
        newest.at(caller.port.number()).mtls.says == Mtls::Permissive
    }

    /// Whether a caller may speak opaque bytes, by what it has proven so far.
    pub fn admits_stream(&self, caller: &Caller) -> bool {
        let newest = self.shared.access.newest();
        !self.expects_http(caller)
            && newest.decide(&caller.ask(caller.stream())).refusal().is_none()
    }

    /// Whether a limit asks for what only HTTP has: who spoke otherwise would get round it.
    pub fn expects_http(&self, caller: &Caller) -> bool {
        let is_declared = caller.port.protocol == Protocol::Tcp;
        !is_declared && self.shared.rates.newest().at(caller.port.number()).expects_http()
    }

    /// Remembers who came in plaintext and was let in.
    pub fn note_plaintext(&self, caller: &Caller) {
        if self.admits_plaintext(caller) {
            let (address, port) = (caller.client.ip(), caller.port.number());
            self.shared.plaintext.note(address, port, clock::now_us());
        }
    }

    /// Lets go of idle connections, and looks at what is under way.
    pub fn sweep(&self) {
        self.dialer.sweep(|_| true);
        self.sinks.roster.sweep(clock::now_us());
        self.shared.rates.sweep(clock::now_us());
        self.failures.settle(std::time::Instant::now());
    }
}
