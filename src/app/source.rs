//! Where this sidecar's identity and picture of the mesh come from: files, or the control plane.
//!
//! Both end in the same two pointers, which the data plane reads: the credentials and the snapshot.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::watch;
use tokio::time::{Duration, sleep};
use tracing::info;

use super::collect::unready_endpoints;
use super::launch::fault;
use super::plane::Plane;
use super::reload::Live;
use crate::access::Access;
use crate::agent::session::{
    Agent, Hooks, Offer, OfferedPort, Queue, Seen, Settings, Signals, Status, TakeSpans, Want,
    Workload,
};
use crate::agent::{self, CertificateMetrics};
use crate::config::Config;
use crate::inbound::Plaintext;
use crate::limit::load::Gates;
use crate::limit::rate::Rates;
use crate::model::{Mesh, NameError, ServiceName, SpiffeId};
use crate::outbound::{self, Snapshot};
use crate::resources::{self, AccessPolicy, Fault, Labels, RateLimitPolicy, Resource};
use crate::runtime::supervise::kept;
use crate::runtime::workers::Workers;
use crate::runtime::{Readiness, clock};
use crate::telemetry::metrics::Registry;
use crate::telemetry::reporter::Reporter;
use crate::telemetry::tap::Taps;
use crate::telemetry::traffic::TrafficMetrics;
use crate::tls::Credentials;

/// What has to be there before traffic may come.
pub const CERTIFICATE: &str = "certificate";
pub const RESOURCES: &str = "resources";
const REGISTRATION: &str = "registration";

/// Watched files are looked at this often.
const POLL: Duration = Duration::from_secs(2);

/// Where credentials go.
pub struct Identities {
    pub credentials: Arc<ArcSwapOption<Credentials>>,
    pub workers: Workers<Plane>,
}

impl Identities {
    /// Lets connections under older credentials go, once their requests are answered.
    fn renew(&self, roots_changed: bool) {
        self.workers.on_each(move |plane| {
            plane.outbound.dialer.renew();
            if roots_changed {
                plane.inbound.doorway.renew();
            }
        });
    }
}

/// Where pictures go.
pub struct Pictures {
    snapshot: Arc<ArcSwap<Snapshot>>,
    versions: watch::Sender<u64>,
    zone: RefCell<Option<String>>,
    /// The configuration says where we are.
    is_placed: bool,
}

impl Pictures {
    /// None yet: of what the control plane was not asked, nothing is known.
    pub fn new(config: &Config) -> Self {
        let mut mesh = Mesh::default();
        if config.control_plane.is_some() {
            mesh.coverage = crate::model::Coverage::Answered {
                services: Default::default(),
                addresses: Default::default(),
            };
        }
        let zone = config.workload.zone.clone();
        let first = outbound::compile(Arc::new(mesh), zone.as_deref(), &Snapshot::default());
        Self {
            snapshot: Arc::new(ArcSwap::from_pointee(first)),
            versions: watch::Sender::new(0),
            is_placed: zone.is_some(),
            zone: RefCell::new(zone),
        }
    }

    pub fn snapshot(&self) -> Arc<ArcSwap<Snapshot>> {
        Arc::clone(&self.snapshot)
    }

    /// Told of every picture, after it is in use.
    pub fn versions(&self) -> watch::Receiver<u64> {
        self.versions.subscribe()
    }

    fn publish(&self, mesh: Arc<Mesh>) {
        let version = mesh.version;
        let zone = self.zone.borrow().clone();
        let compiled = outbound::compile(mesh, zone.as_deref(), &self.snapshot.load());
        self.snapshot.store(Arc::new(compiled));
        self.versions.send_replace(version);
    }

    /// The control plane says where we are; what the configuration says counts more.
    fn place(&self, zone: String) {
        if self.is_placed || self.zone.borrow().as_ref() == Some(&zone) {
            return;
        }
        info!(zone, "the control plane says where this is");
        self.zone.replace(Some(zone));
        self.publish(Arc::clone(&self.snapshot.load().mesh));
    }

    /// Compiles anew when files that policies name have changed; runs until the process ends.
    async fn watch_files(self: Rc<Self>) {
        kept("whoever watches the files of policies", async || {
            loop {
                sleep(POLL).await;
                let snapshot = self.snapshot.load_full();
                if snapshot.has_stale_roots() {
                    self.publish(Arc::clone(&snapshot.mesh));
                }
            }
        })
        .await;
    }
}

/// The workload's own callers: what holds for them, and who came in plaintext.
pub struct Callers {
    pub access: Arc<Access>,
    pub rates: Arc<Rates>,
    pub gates: Arc<Gates>,
    pub plaintext: Arc<Plaintext>,
}

/// What the control plane is told of the traffic.
pub struct Reports {
    pub metrics: TrafficMetrics,
    pub spans: Box<TakeSpans>,
    pub taps: Taps,
}

/// What keeps the sidecar informed.
#[derive(Default)]
pub struct Source {
    pub agent: Option<Rc<Agent>>,
    pub status: Option<Arc<Status>>,
}

impl Source {
    /// Sets it going, once everything else stands.
    pub fn begin(&self) {
        if let Some(agent) = &self.agent {
            // Both of its halves begin again by themselves.
            tokio::task::spawn_local(Rc::clone(agent).run());
        }
    }
}

/// From files, which are there from the start.
///
/// # Errors
/// Every fault of every file.
pub fn files(
    config: &Config,
    live: &Live,
    identities: Identities,
    pictures: Pictures,
    callers: Callers,
    readiness: &Readiness,
    registry: &Registry,
) -> Result<Source, Vec<Fault>> {
    let mut faults = Vec::new();
    if let Some(settings) = live.identity() {
        let (trust_domain, credentials) =
            (config.trust_domain.clone(), Arc::clone(&identities.credentials));
        let renewed = Box::new(move |roots_changed| identities.renew(roots_changed));
        match agent::watch_identity(settings, trust_domain, credentials, registry, renewed) {
            Ok(watch) => drop(tokio::task::spawn_local(watch)),
            Err(error) => faults.push(fault("identity", &error)),
        }
    }
    let namespace = config.workload.namespace.clone();
    let seen = resources::fingerprint(&config.resources);
    let first = resources::read(&config.resources, &namespace).unwrap_or_else(|found| {
        faults.extend(found);
        Vec::new()
    });
    if !faults.is_empty() {
        return Err(faults);
    }
    readiness.have(CERTIFICATE);
    let paths: watch::Receiver<Vec<PathBuf>> = live.resources.subscribe();
    let readiness = readiness.clone();
    let pictures = Rc::new(pictures);
    tokio::task::spawn_local(Rc::clone(&pictures).watch_files());
    let publish = move |mesh: Mesh| {
        pictures.publish(Arc::new(mesh));
        readiness.have(RESOURCES);
    };
    let (trust_domain, labels) = (config.trust_domain.clone(), config.workload.labels.clone());
    let home = namespace.clone();
    let Callers { access, rates, gates, plaintext: _ } = callers;
    let govern = move |resources: &[Resource]| {
        access.publish(&governing(resources, &home, &labels));
        let limits = limiting(resources, &home, &labels);
        rates.publish(&limits);
        gates.publish(&limits);
    };
    let watch =
        agent::watch_resources(paths, namespace, trust_domain, first, seen, publish, govern);
    tokio::task::spawn_local(watch);
    Ok(Source::default())
}

/// The access policies that are about a workload.
fn governing(resources: &[Resource], namespace: &str, labels: &Labels) -> Vec<Arc<AccessPolicy>> {
    let policies = resources.iter().filter_map(|resource| match resource {
        Resource::AccessPolicy(policy) => Some(Arc::clone(policy)),
        _ => None,
    });
    policies.filter(|policy| policy.concerns(namespace, labels)).collect()
}

/// The rate-limit policies that are.
fn limiting(resources: &[Resource], namespace: &str, labels: &Labels) -> Vec<Arc<RateLimitPolicy>> {
    let policies = resources.iter().filter_map(|resource| match resource {
        Resource::RateLimitPolicy(policy) => Some(Arc::clone(policy)),
        _ => None,
    });
    policies.filter(|policy| policy.about().concerns(namespace, labels)).collect()
}

/// From the control plane, in one session.
///
/// # Errors
/// When the workload's names can't be part of an id.
pub fn session(
    config: &Config,
    identities: Identities,
    pictures: Pictures,
    callers: Callers,
    reports: Reports,
    queue: Queue,
    readiness: &Readiness,
    registry: &Registry,
) -> Result<Source, Vec<Fault>> {
    let Some(settings) = config.control_plane.clone() else { return Ok(Source::default()) };
    let workload = workload(config);
    let named =
        SpiffeId::new(&workload.trust_domain, &workload.namespace, &workload.service_account);
    let identity = named.ok_or_else(|| {
        let name = NameError::SpiffeId(workload.service_account.clone());
        vec![fault("workload.serviceAccount", &name)]
    })?;
    if workload.offer.is_some() {
        readiness.need(REGISTRATION);
    }
    let Settings { address, .. } = &settings;
    let status = Arc::new(Status::new(address.clone(), registry));
    let pinned: Vec<ServiceName> =
        config.outbound.upstreams.iter().map(|upstream| upstream.service.clone()).collect();
    let hooks = hooks(identities, pictures, callers, reports, readiness, registry);
    let agent = Agent::new(settings, workload, identity, pinned, hooks, Arc::clone(&status), queue);
    Ok(Source { agent: Some(agent), status: Some(status) })
}

fn workload(config: &Config) -> Workload {
    let crate::config::Workload { namespace, name, service_account, labels, zone } =
        config.workload.clone();
    Workload {
        trust_domain: config.trust_domain.clone(),
        namespace,
        name,
        service_account,
        labels,
        zone,
        offer: offer(config),
    }
}

/// The ports that the configuration opens for the app, at the address where they listen, if that is
/// one.
fn offer(config: &Config) -> Option<Offer> {
    let inbound = &config.inbound;
    if inbound.ports.is_empty() && inbound.listen.is_empty() {
        return None;
    }
    let mut addresses: Vec<_> = inbound.ports.iter().map(|port| port.listen.ip()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    let address = match addresses[..] {
        [one] if !one.is_unspecified() && inbound.listen.is_empty() => Some(one),
        _ => None,
    };
    let ports = inbound.ports.iter().map(|port| OfferedPort {
        name: port.name.clone(),
        port: port.app.port(),
        mesh_port: port.listen.port(),
        protocol: port.protocol,
    });
    Some(Offer { address, ports: ports.collect() })
}

fn hooks(
    identities: Identities,
    pictures: Pictures,
    Callers { access, rates, gates, plaintext }: Callers,
    reports: Reports,
    readiness: &Readiness,
    registry: &Registry,
) -> Hooks {
    let metrics = Rc::new(CertificateMetrics::register(registry));
    let failures = Rc::clone(&metrics);
    let (certified, informed, registered) =
        (readiness.clone(), readiness.clone(), readiness.clone());
    let ended = readiness.clone();
    let snapshot = pictures.snapshot();
    let signals = signals(reports, pictures.snapshot());
    let pictures = Rc::new(pictures);
    tokio::task::spawn_local(Rc::clone(&pictures).watch_files());
    let placed = Rc::clone(&pictures);
    Hooks {
        identify: Box::new(move |credentials, roots_changed| {
            metrics.taken(credentials.svid().not_after());
            identities.credentials.store(Some(Arc::new(credentials)));
            identities.renew(roots_changed);
            certified.have(CERTIFICATE);
        }),
        publish: Box::new(move |mesh| pictures.publish(Arc::new(mesh))),
        placed: Box::new(move |zone| placed.place(zone)),
        informed: Box::new(move || informed.have(RESOURCES)),
        registered: Box::new(move || registered.have(REGISTRATION)),
        ended: Box::new(move || ended.need(CERTIFICATE)),
        renewal_failed: Box::new(move || failures.failed()),
        govern: Box::new(move |policies| access.publish(policies)),
        limit: Box::new(move |policies| {
            rates.publish(policies);
            gates.publish(policies);
        }),
        seen: Box::new(move |anew, most| {
            let (callers, left_out) = plaintext.take(anew, most, clock::now_us());
            Seen { callers, left_out }
        }),
        was_used: Box::new(move |want| {
            let snapshot = snapshot.load();
            let target = match want {
                Want::Service(name) => snapshot.targets.get(name),
                Want::Address(address) => snapshot.instances.get(address),
            };
            target.is_some_and(|target| target.used.swap(false, Relaxed))
        }),
        signals,
    }
}

fn signals(Reports { metrics, spans, taps }: Reports, snapshot: Arc<ArcSwap<Snapshot>>) -> Signals {
    Signals {
        reporter: RefCell::new(Reporter::new(&metrics, clock::now_us())),
        endpoints: Box::new(move || unready_endpoints(&snapshot.load(), clock::now_us())),
        spans: RefCell::new(spans),
        taps,
    }
}
