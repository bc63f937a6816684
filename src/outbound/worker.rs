//! What one worker keeps for the outbound wing.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};

use super::settings::Unknown;
use super::snapshot::{Snapshot, Target};
use crate::agent::session::Demand;
use crate::dial::Dialer;
use crate::intercept::OriginalDst;
use crate::model::{Direction, ServiceName};
use crate::runtime::clock::Rng;
use crate::runtime::{Doorway, Drain};
use crate::serve::Ledger;
use crate::telemetry::Propagation;
use crate::telemetry::exchange::Sinks;
use crate::telemetry::traffic::{RouteMeter, TrafficMetrics};

/// What all workers share.
pub struct Shared {
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Where one asks for what the snapshot does not know; absent: it knows everything.
    pub demand: Option<Demand>,
    pub unknown: Unknown,
    pub namespace: Arc<str>,
    pub propagation: Vec<Propagation>,
    pub metrics: TrafficMetrics,
    pub ledger: Ledger,
    pub drain: Drain,
    pub original_dst: OriginalDst,
    /// The sidecar's own ports, where no original destination may point.
    pub own_ports: Vec<u16>,
}

/// One worker's outbound wing.
pub struct Outbound {
    pub shared: Arc<Shared>,
    pub doorway: Rc<Doorway>,
    pub dialer: Dialer,
    pub sinks: Rc<Sinks>,
    pub rng: RefCell<Rng>,
    snapshot: RefCell<Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>>,
    version: Cell<u64>,
    resolved: RefCell<HashMap<ServiceName, Rc<Resolved>>>,
    instances: RefCell<HashMap<SocketAddr, Rc<Resolved>>>,
    meters: RefCell<Meters>,
}

/// By service and route.
type Meters = HashMap<(Arc<str>, Arc<str>), Rc<RouteMeter>>;

/// A target with this worker's meters, one a rule.
pub struct Resolved {
    pub version: u64,
    pub target: Arc<Target>,
    pub meters: Vec<Rc<RouteMeter>>,
}

impl Outbound {
    pub fn new(
        shared: Arc<Shared>,
        doorway: Rc<Doorway>,
        dialer: Dialer,
        sinks: Rc<Sinks>,
    ) -> Self {
        let snapshot = Cache::new(Arc::clone(&shared.snapshot));
        Self {
            shared,
            doorway,
            dialer,
            sinks,
            rng: RefCell::new(Rng::from_system()),
            snapshot: RefCell::new(snapshot),
            version: Cell::new(u64::MAX),
            resolved: RefCell::default(),
            instances: RefCell::default(),
            meters: RefCell::default(),
        }
    }

    /// The newest snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(self.snapshot.borrow_mut().load())
    }

    /// The version of the newest snapshot; what was resolved under another one is stale.
    pub fn version(&self) -> u64 {
        let version = self.snapshot.borrow_mut().load().version;
        if self.version.replace(version) != version {
            self.resolved.borrow_mut().clear();
            self.instances.borrow_mut().clear();
        }
        version
    }

    /// A service as this worker uses it.
    pub fn resolve(&self, name: &ServiceName) -> Option<Rc<Resolved>> {
        let version = self.version();
        if let Some(resolved) = self.resolved.borrow().get(name) {
            return Some(Rc::clone(resolved));
        }
        let target = Arc::clone(self.snapshot.borrow_mut().load().targets.get(name)?);
        let resolved = self.with_meters(version, target);
        self.resolved.borrow_mut().insert(name.clone(), Rc::clone(&resolved));
        Some(resolved)
    }

    /// A single instance as this worker uses it.
    pub fn resolve_instance(&self, address: SocketAddr) -> Option<Rc<Resolved>> {
        let version = self.version();
        if let Some(resolved) = self.instances.borrow().get(&address) {
            return Some(Rc::clone(resolved));
        }
        let target = Arc::clone(self.snapshot.borrow_mut().load().instances.get(&address)?);
        let resolved = self.with_meters(version, target);
        self.instances.borrow_mut().insert(address, Rc::clone(&resolved));
        Some(resolved)
    }

    fn with_meters(&self, version: u64, target: Arc<Target>) -> Rc<Resolved> {
        let rules = target.routes.rules().iter();
        let meters = rules.map(|rule| self.meter(&target.label, &rule.name)).collect();
        Rc::new(Resolved { version, target, meters })
    }

    /// The meter of a service and route; it outlives snapshots.
    pub fn meter(&self, service: &Arc<str>, route: &Arc<str>) -> Rc<RouteMeter> {
        let key = (Arc::clone(service), Arc::clone(route));
        let mut meters = self.meters.borrow_mut();
        let make = || {
            let (service, route) = (Arc::clone(service), Arc::clone(route));
            Rc::new(RouteMeter::new(&self.shared.metrics, Direction::Outbound, service, route))
        };
        Rc::clone(meters.entry(key).or_insert_with(make))
    }

    /// Lets go of idle connections, and of those to endpoints that left.
    pub fn sweep(&self) {
        let snapshot = self.snapshot();
        let mut live: Vec<u32> = snapshot
            .targets
            .values()
            .chain(snapshot.instances.values())
            .flat_map(|target| target.service.endpoints.iter().map(|endpoint| endpoint.slot))
            .collect();
        live.sort_unstable();
        self.dialer.sweep(|slot| live.binary_search(&slot).is_ok());
    }
}
