//! Builds a sidecar from its configuration and sets it going.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{Notify, mpsc, watch};
use tracing::info;

use super::collect;
use super::plane::{self, Parts, Plane};
use super::reload::{self, Live};
use super::run::Options;
use super::source::{self, CERTIFICATE, Callers, Identities, Pictures, RESOURCES, Reports, Source};
use crate::access::Access;
use crate::admin::{self, Command, View};
use crate::agent;
use crate::agent::session::{self, Agent, TakeSpans};
use crate::config::{Config, Loaded};
use crate::export::{self, Exports, Resource};
use crate::http::respond::chain;
use crate::inbound::{self, Entrance, Mode};
use crate::intercept::OriginalDst;
use crate::limit::load::Gates;
use crate::limit::rate::Rates;
use crate::model::APP_LABELS;
use crate::outbound;
use crate::probes;
use crate::resources::{Fault, Origin};
use crate::runtime::workers::Workers;
use crate::runtime::{Drain, DrainSettings, Exempt, Readiness, socket};
use crate::serve::Ledger;
use crate::telemetry::access_log::Writer;
use crate::telemetry::log::LogHandle;
use crate::telemetry::metrics::Registry;
use crate::telemetry::spans::{self, Feed, SpanMetrics};
use crate::telemetry::tap::Taps;
use crate::telemetry::traffic::TrafficMetrics;
use crate::telemetry::{panics, process};

/// A sidecar under way.
pub struct Launched {
    pub drain: Drain,
    pub drain_settings: watch::Receiver<DrainSettings>,
    pub commands: mpsc::Receiver<Command>,
    /// Told to read the configuration again.
    pub reload: Rc<Notify>,
    pub readiness: Readiness,
    /// Whether to leave with the app.
    pub exit_with_app: Option<u16>,
    agent: Option<Rc<Agent>>,
    workers: Workers<Plane>,
    writer: Option<Writer>,
    exports: Exports,
    taps: Taps,
}

impl Launched {
    /// The app is about to leave: nobody is to be sent here any more.
    pub fn withdraw(&self) {
        if let Some(agent) = &self.agent {
            agent.withdraw();
        }
    }

    /// Ends every tap, and gives their readers a moment to hear of it.
    pub async fn end_taps(&self, limit: Duration) {
        if self.taps.is_watched() {
            self.taps.close();
            tokio::time::sleep(limit.min(TAPS)).await;
        }
    }

    /// Sends the rest of the spans, within `limit`.
    pub async fn flush(&mut self, limit: Duration) {
        self.exports.close(limit).await;
    }

    /// Hands the rest of the access log over, within `limit`.
    pub fn close(&mut self, limit: Duration) {
        for index in 0..self.workers.count() {
            let (done, is_done) = std::sync::mpsc::channel();
            let flush = move |plane: &Rc<Plane>| {
                plane.log.flush();
                let _ = done.send(());
            };
            if self.workers.try_send(index, Box::new(flush)) {
                // A worker that is stuck must not keep the process.
                let _ = is_done.recv_timeout(limit / 4);
            }
        }
        if let Some(writer) = self.writer.take() {
            writer.close(limit);
        }
    }
}

/// Builds and starts everything; to be called on the control thread's runtime.
///
/// # Errors
/// Every fault of configuration, identity, resources and listeners.
pub async fn launch(
    options: Options,
    loaded: Loaded,
    log: LogHandle,
    original_dst: OriginalDst,
) -> Result<Launched, Vec<Fault>> {
    let config = &loaded.config;
    let registry = Registry::default();
    let metrics = TrafficMetrics::register(&registry);
    process::register(&registry);
    process::register_build(&registry);
    panics::count(&registry);
    let readiness = Readiness::default();
    for needed in [CERTIFICATE, RESOURCES, "listeners"] {
        readiness.need(needed);
    }
    let (listeners, mut faults) = listen(config);
    let mut beside = |field, address| {
        let listener = socket::listen(address);
        listener.map_err(|error| faults.push(fault(field, &error))).ok()
    };
    let admin = beside("admin.listen", config.admin.listen);
    let probes = config.probes.listen.and_then(|listen| beside("probes.listen", listen));
    let credentials = Arc::new(ArcSwapOption::empty());
    let drain = Drain::default();
    let ledger = Ledger::default();
    let pictures = Pictures::new(config);
    let snapshot = pictures.snapshot();
    let (demand, queue) = match config.control_plane {
        Some(_) => Some(session::channel(pictures.versions())).unzip(),
        None => (None, None),
    };
    let writer =
        Writer::stdout(&registry).map_err(|error| vec![fault("telemetry.accessLog", &error)])?;
    let workload: Arc<str> =
        format!("{}.{}", config.workload.service_account, config.workload.namespace).into();
    let own_ports = own_ports(config);
    let (probed, exit_with_app) = (config.probes.clone(), config.exit_with_app);
    let exempt = Exempt::able();
    if !config.inbound.listen.is_empty() {
        info!(mode = ?config.inbound.mode, leg = ?exempt, "the app is dialled past the interception rules");
    }
    let spans = SpanMetrics::register(&registry);
    let (mut feeds, exports) = export::start(&config.export, &resource(config), &spans);
    let access = Arc::new(Access::new(config.trust_domain.clone(), metrics.clone()));
    let rates = Arc::new(Rates::new(metrics.clone()));
    let gates = Arc::new(Gates::new(metrics.clone(), config.probes.asked()));
    let (sources, families) = (access.sources(), registry.clone());
    tokio::task::spawn_local(agent::follow_tokens(sources, families));
    let plaintext = Arc::new(inbound::Plaintext::default());
    let taps = Taps::default();
    let reports = Reports {
        metrics: metrics.clone(),
        taps: taps.clone(),
        spans: match &demand {
            Some(_) => reported(&mut feeds, spans),
            None => Box::new(|_, _| Vec::new()) as Box<TakeSpans>,
        },
    };
    let parts = Parts {
        inbound: Arc::new(inbound::Shared {
            credentials: Arc::clone(&credentials),
            access: Arc::clone(&access),
            rates: Arc::clone(&rates),
            gates: Arc::clone(&gates),
            plaintext: Arc::clone(&plaintext),
            workload: Arc::clone(&workload),
            metrics: metrics.clone(),
            ledger: ledger.clone(),
            drain: drain.clone(),
            original_dst: original_dst.clone(),
            own_ports: own_ports.clone(),
            mode: config.inbound.mode,
            exempt,
        }),
        outbound: Arc::new(outbound::Shared {
            snapshot: Arc::clone(&snapshot),
            demand,
            unknown: config.outbound.unknown,
            namespace: config.workload.namespace.as_str().into(),
            metrics: metrics.clone(),
            ledger: ledger.clone(),
            drain: drain.clone(),
            original_dst,
            own_ports: own_ports.clone(),
        }),
        credentials: Arc::clone(&credentials),
        feed: writer.feed(),
        telemetry: config.telemetry.clone(),
        spans: feeds,
        taps: taps.clone(),
        metrics,
    };
    let count = config.runtime.workers.map_or_else(default_workers, usize::from);
    let workers = Workers::start(count, move |index| Plane::new(&parts, index))
        .map_err(|error| vec![fault("workers", &error)])?;
    let live = Live::new(config);
    let identities = Identities { credentials: Arc::clone(&credentials), workers: workers.clone() };
    let callers = Callers {
        access: Arc::clone(&access),
        rates: Arc::clone(&rates),
        gates: Arc::clone(&gates),
        plaintext: Arc::clone(&plaintext),
    };
    let source = match queue {
        Some(queue) => source::session(
            config, identities, pictures, callers, reports, queue, &readiness, &registry,
        ),
        None => source::files(config, &live, identities, pictures, callers, &readiness, &registry),
    };
    let source = source.unwrap_or_else(|found| {
        faults.extend(found);
        Source::default()
    });
    let (Some(admin), true) = (admin, faults.is_empty()) else {
        return Err(faults);
    };
    collect::register(&registry, &snapshot, &gates);
    let (sender, commands) = mpsc::channel(8);
    let view = View {
        workload: format!("{}.{}", config.workload.name, config.workload.namespace).into(),
        config: Arc::new(ArcSwap::from_pointee(loaded.to_json())),
        credentials,
        snapshot,
        access,
        rates,
        gates,
        plaintext,
        ledger,
        registry,
        readiness: readiness.clone(),
        drain: drain.clone(),
        taps: taps.clone(),
        log: log.clone(),
        commands: sender,
        control_plane: source.status.clone(),
    };
    let reload = Rc::new(Notify::new());
    tokio::task::spawn_local(admin::serve(admin, view.clone()));
    if let Some(probes) = probes {
        tokio::task::spawn_local(probes::serve(probes, probed, own_ports));
    }
    for (listener, door) in listeners {
        let opened = listener.into_std().and_then(|l| plane::open(&workers, l, door, &drain));
        opened.map_err(|error| vec![fault("listen", &error)])?;
    }
    readiness.have("listeners");
    let drain_settings = live.drain.subscribe();
    let watch =
        reload::watch(options, loaded, log, view, workers.clone(), live, Rc::clone(&reload));
    tokio::task::spawn_local(watch);
    source.begin();
    info!(workers = count, "serving");
    let agent = source.agent;
    Ok(Launched {
        drain,
        drain_settings,
        commands,
        reload,
        readiness,
        exit_with_app,
        agent,
        workers,
        writer: Some(writer),
        exports,
        taps,
    })
}

/// Opens every listener, so that all that are taken are named at once.
fn listen(config: &Config) -> (Vec<(tokio::net::TcpListener, plane::Door)>, Vec<Fault>) {
    let workload = format!("{}.{}", config.workload.service_account, config.workload.namespace);
    let (mut listeners, mut faults) = (Vec::new(), Vec::new());
    for (address, door) in plane::doors(&workload, &config.inbound, &config.outbound) {
        let field = match door {
            plane::Door::Inbound(_) => "inbound",
            plane::Door::Outbound(_) => "outbound",
        };
        let opened = match (&door, config.inbound.mode) {
            (plane::Door::Inbound(Entrance::Transparent(_)), Mode::Tproxy) => {
                socket::listen_for_any(address)
            }
            _ => socket::listen(address),
        };
        match opened {
            Ok(listener) => listeners.push((listener, door)),
            // Nobody can come there: the injector names both families, and a pod may have one.
            Err(_) if address.ip() == Ipv6Addr::LOCALHOST && socket::lacks_ipv6() => {
                info!(%address, "left out: this host has no IPv6");
            }
            Err(error) => faults.push(fault(field, &error)),
        }
    }
    (listeners, faults)
}

pub(super) fn fault(field: &str, error: &dyn std::error::Error) -> Fault {
    Fault { at: Origin::Default, path: field.to_owned(), message: chain(error) }
}

/// Ports that no original destination may point to: they are this sidecar's.
fn own_ports(config: &Config) -> Vec<u16> {
    let listeners = config.inbound.listen.iter().chain(&config.outbound.listen);
    let mut ports: Vec<u16> = listeners.map(SocketAddr::port).collect();
    ports.push(config.admin.listen.port());
    ports.extend(config.probes.listen.map(|listen| listen.port()));
    ports.push(15020);
    ports
}

/// For the last words to those who tap, on this machine and to the control plane. Arbitrary.
const TAPS: Duration = Duration::from_millis(50);

/// Kept requests that wait for the next report to the control plane. A burst of failures is more than
/// a report holds: enough of it is kept here to choose from, some 600 KiB. Arbitrary.
const TO_REPORT: usize = 1024;

/// Where the session takes kept requests from.
fn reported(feeds: &mut Vec<Feed>, of: SpanMetrics) -> Box<TakeSpans> {
    let SpanMetrics { reported, unreported, .. } = of;
    let (feed, taken) = spans::queue(TO_REPORT, TO_REPORT, unreported);
    feeds.push(feed);
    Box::new(move |most, bytes| {
        let chosen = taken.choose(most, bytes);
        reported.add(chosen.len() as u64);
        chosen
    })
}

/// What collectors are told of the workload: its instances have a label in common, if not what the
/// configuration says.
fn resource(config: &Config) -> Resource {
    let workload = &config.workload;
    let labelled = || APP_LABELS.iter().find_map(|label| workload.labels.get(*label));
    let common = config.export.service.as_ref().or_else(labelled);
    Resource {
        service: common.unwrap_or(&workload.name).clone(),
        namespace: workload.namespace.clone(),
        instance: workload.name.clone(),
        zone: workload.zone.clone(),
        is_pod: std::env::var_os("KUBERNETES_SERVICE_HOST").is_some(),
    }
}

/// The cgroup's cpu limit rounded up, at most 4; 1 without a limit.
fn default_workers() -> usize {
    let limit = |text: String| {
        let (quota, period) =
            text.trim().split_once(' ').map(|(q, p)| (q.to_owned(), p.to_owned()))?;
        let (quota, period): (f64, f64) = (quota.parse().ok()?, period.parse().ok()?);
        Some((quota / period).ceil() as usize)
    };
    let read = std::fs::read_to_string(Path::new("/sys/fs/cgroup/cpu.max")).ok();
    read.and_then(limit).unwrap_or(1).clamp(1, 4)
}
