//! What one worker keeps for the outbound wing.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};

use super::settings::Unknown;
use super::snapshot::Snapshot;
use super::target::{Rule, Target};
use crate::agent::session::Demand;
use crate::dial::Dialer;
use crate::intercept::OriginalDst;
use crate::model::{Direction, ServiceName};
use crate::route::Turn;
use crate::runtime::clock::{self, Rng};
use crate::runtime::{Doorway, Drain};
use crate::serve::Ledger;
use crate::telemetry::exchange::Sinks;
use crate::telemetry::log::Failures;
use crate::telemetry::traffic::{RouteMeter, TrafficMetrics};

/// What all workers share.
pub struct Shared {
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Where one asks for what the snapshot does not know; absent: it knows everything.
    pub demand: Option<Demand>,
    pub unknown: Unknown,
    pub namespace: Arc<str>,
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
    pub failures: Failures,
    snapshot: RefCell<Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>>,
    revision: Cell<u64>,
    resolved: RefCell<HashMap<ServiceName, Rc<Resolved>>>,
    instances: RefCell<HashMap<SocketAddr, Rc<Resolved>>>,
    meters: RefCell<Meters>,
    turns: RefCell<Turns>,
    /// Copies of requests under way.
    pub mirroring: Cell<u32>,
}

/// By service and route.
type Meters = HashMap<(Arc<str>, Arc<str>), Rc<RouteMeter>>;

/// By service and route.
type Turns = HashMap<(Arc<str>, Arc<str>), Rc<RefCell<Turn>>>;

/// A target with what this worker keeps of its rules, one each.
pub struct Resolved {
    pub revision: u64,
    pub target: Arc<Target>,
    pub meters: Vec<Rc<RouteMeter>>,
    pub turns: Vec<Rc<RefCell<Turn>>>,
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
            failures: Failures::default(),
            snapshot: RefCell::new(snapshot),
            revision: Cell::new(u64::MAX),
            resolved: RefCell::default(),
            instances: RefCell::default(),
            meters: RefCell::default(),
            turns: RefCell::default(),
            mirroring: Cell::new(0),
        }
    }

    /// The newest snapshot.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(self.snapshot.borrow_mut().load())
    }

    /// The newest snapshot; what was resolved under another one is stale.
    pub fn revision(&self) -> u64 {
        let revision = self.snapshot.borrow_mut().load().revision;
        if self.revision.replace(revision) != revision {
            self.resolved.borrow_mut().clear();
            self.instances.borrow_mut().clear();
        }
        revision
    }

    /// A service as this worker uses it.
    pub fn resolve(&self, name: &ServiceName) -> Option<Rc<Resolved>> {
        let revision = self.revision();
        if let Some(resolved) = self.resolved.borrow().get(name) {
            return Some(Rc::clone(resolved));
        }
        let target = Arc::clone(self.snapshot.borrow_mut().load().targets.get(name)?);
        let resolved = self.with_state(revision, target);
        self.resolved.borrow_mut().insert(name.clone(), Rc::clone(&resolved));
        Some(resolved)
    }

    /// A single instance as this worker uses it.
    pub fn resolve_instance(&self, address: SocketAddr) -> Option<Rc<Resolved>> {
        let revision = self.revision();
        if let Some(resolved) = self.instances.borrow().get(&address) {
            return Some(Rc::clone(resolved));
        }
        let target = Arc::clone(self.snapshot.borrow_mut().load().instances.get(&address)?);
        let resolved = self.with_state(revision, target);
        self.instances.borrow_mut().insert(address, Rc::clone(&resolved));
        Some(resolved)
    }

    fn with_state(&self, revision: u64, target: Arc<Target>) -> Rc<Resolved> {
        let (label, rules) = (&target.backend.label, &target.rules);
        let meters = rules.iter().map(|rule| self.meter(label, &rule.name)).collect();
        let turns = rules.iter().map(|rule| self.turn(label, rule)).collect();
        Rc::new(Resolved { revision, target, meters, turns })
    }

    /// Whose turn it is among a rule's backends; it outlives snapshots.
    fn turn(&self, service: &Arc<str>, rule: &Rule) -> Rc<RefCell<Turn>> {
        let key = (Arc::clone(service), Arc::clone(&rule.name));
        Rc::clone(self.turns.borrow_mut().entry(key).or_default())
    }

    /// Where is counted what goes to no service of the mesh, and not out of it either.
    pub fn stray_meter(&self) -> Rc<RouteMeter> {
        self.meter(&"unknown".into(), &"none".into())
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

    /// Lets go of idle connections, and of those to endpoints that left; looks at what is under way.
    pub fn sweep(&self) {
        let snapshot = self.snapshot();
        let mut live: Vec<u32> = snapshot
            .backends
            .values()
            .chain(snapshot.instances.values().map(|target| &target.backend))
            .flat_map(|backend| backend.service.endpoints.iter().map(|endpoint| endpoint.slot))
            .collect();
        live.sort_unstable();
        self.dialer.sweep(|slot| live.binary_search(&slot).is_ok());
        self.sinks.roster.sweep(clock::now_us());
        self.failures.settle(std::time::Instant::now());
    }
}
