//! One worker of the data plane, and the listeners that feed them all.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::{MissedTickBehavior, interval};

use crate::dial::Dialer;
use crate::inbound::{self, AppPort, Inbound};
use crate::model::Direction;
use crate::outbound::{self, Outbound};
use crate::runtime::rehearsal::{self, At};
use crate::runtime::supervise::kept;
use crate::runtime::workers::Workers;
use crate::runtime::{Doorway, Drain, Exempt, allocator, clock, program};
use crate::serve::accept;
use crate::telemetry::access_log::{AccessLog, Feed};
use crate::telemetry::exchange::Sinks;
use crate::telemetry::exchange::roster::Roster;
use crate::telemetry::ids::Ids;
use crate::telemetry::tap::Taps;
use crate::telemetry::tracer::Tracer;
use crate::telemetry::{self, spans, traffic::TrafficMetrics};
use crate::tls::Credentials;

/// The access log is flushed this often.
const TICK: Duration = Duration::from_millis(250);
/// Every so many ticks idle connections, and what is under way, are looked through.
const SWEEP: u32 = 4;
/// By this tick a start is over, as a rule.
const STARTED: u32 = 3;

/// A worker's state: both wings.
pub struct Plane {
    pub inbound: Rc<Inbound>,
    pub outbound: Rc<Outbound>,
    pub log: AccessLog,
    pub tracer: Rc<Tracer>,
}

/// What every worker is made of.
#[derive(Clone)]
pub struct Parts {
    pub inbound: Arc<inbound::Shared>,
    pub outbound: Arc<outbound::Shared>,
    pub credentials: Arc<arc_swap::ArcSwapOption<Credentials>>,
    pub feed: Feed,
    pub telemetry: telemetry::Settings,
    /// Of everybody who wants spans.
    pub spans: Vec<spans::Feed>,
    /// Of whoever watches requests as they end.
    pub taps: Taps,
    pub metrics: TrafficMetrics,
}

impl Plane {
    /// Makes a worker's state on its own thread, and starts its tick.
    pub fn new(parts: &Parts, index: usize) -> Self {
        let seed = clock::now_us().wrapping_add(index as u64);
        let settings = &parts.telemetry;
        let log = AccessLog::new(parts.feed.clone(), &settings.access_log, seed);
        let tracer = Tracer::new(&settings.traces, parts.spans.clone(), Ids::from_system());
        let tracer = Rc::new(tracer);
        let sinks = |direction: Direction| {
            let (bytes_in, bytes_out) = parts.metrics.bytes(direction);
            let (log, tracer, taps) = (log.clone(), Rc::clone(&tracer), parts.taps.clone());
            let roster = Roster::default();
            Rc::new(Sinks { log, tracer, taps, bytes_in, bytes_out, roster })
        };
        let doorway = Doorway::new(parts.inbound.drain.clone());
        let dialer = || Dialer::new(Arc::clone(&parts.credentials));
        let inbound = Rc::new(Inbound::new(
            Arc::clone(&parts.inbound),
            Rc::clone(&doorway),
            dialer(),
            sinks(Direction::Inbound),
        ));
        let outbound = Rc::new(Outbound::new(
            Arc::clone(&parts.outbound),
            doorway,
            dialer(),
            sinks(Direction::Outbound),
        ));
        let plane = Self { inbound, outbound, log, tracer };
        plane.start_tick();
        plane
    }

    fn start_tick(&self) {
        let (log, inbound, outbound) =
            (self.log.clone(), Rc::clone(&self.inbound), Rc::clone(&self.outbound));
        // It keeps nothing: the next tick does what this one left.
        tokio::task::spawn_local(kept("a worker's tick", async move || {
            let mut ticks = interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for count in 0u32.. {
                ticks.tick().await;
                rehearsal::pass(At::Tick);
                clock::refresh_wall();
                log.flush();
                if count % SWEEP == 0 {
                    inbound.sweep();
                    outbound.sweep();
                }
                allocator::give_back();
                if count == STARTED {
                    program::forget_start();
                }
            }
        }));
    }
}

/// A listener to open, and what its connections are.
#[derive(Clone, Debug)]
pub enum Door {
    Inbound(inbound::Entrance),
    Outbound(outbound::Entrance),
}

/// The listeners that the configuration names.
pub fn doors(
    workload: &str,
    inbound: &inbound::Settings,
    outbound: &outbound::Settings,
) -> Vec<(SocketAddr, Door)> {
    let mut doors = Vec::new();
    for &listen in &inbound.listen {
        doors.push((listen, Door::Inbound(inbound::Entrance::Transparent(listen))));
    }
    for port in &inbound.ports {
        let app = AppPort::new(workload, port.app, port.protocol, Exempt::No);
        doors.push((port.listen, Door::Inbound(inbound::Entrance::Port(port.listen, app))));
    }
    for &listen in &outbound.listen {
        doors.push((listen, Door::Outbound(outbound::Entrance::Transparent(listen))));
    }
    for upstream in &outbound.upstreams {
        let entrance = outbound::Entrance::Upstream(upstream.listen, upstream.service.clone());
        doors.push((upstream.listen, Door::Outbound(entrance)));
    }
    doors
}

/// Accepts at a door, on worker 0. A loop that panics is begun again; the listener stays open.
pub fn open(
    workers: &Workers<Plane>,
    listener: std::net::TcpListener,
    door: Door,
    drain: &Drain,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let (all, drain) = (workers.clone(), drain.clone());
    let sent = workers.try_send(
        0,
        Box::new(move |plane: &Rc<Plane>| {
            let plane = Rc::clone(plane);
            let listener = match TcpListener::from_std(listener) {
                Ok(listener) => listener,
                Err(error) => return tracing::error!(%error, "a listener can't be waited for"),
            };
            tokio::task::spawn_local(kept("an accept loop", async move || {
                let door = door.clone();
                let serve = move |plane: &Rc<Plane>, accepted| match &door {
                    Door::Inbound(entrance) => {
                        inbound::accept(&plane.inbound, entrance.clone(), accepted);
                    }
                    Door::Outbound(entrance) => {
                        outbound::accept(&plane.outbound, entrance.clone(), accepted);
                    }
                };
                accept::run(&listener, all.clone(), drain.clone(), Rc::clone(&plane), serve).await;
            }));
        }),
    );
    if sent { Ok(()) } else { Err(io::Error::other("the worker takes no more listeners")) }
}
