//! The control plane as a process: what it keeps opened, the ports served, and an orderly end.
//!
//! Unlike a sidecar it runs on several threads: thousands of sessions, each waiting most of the
//! time, and signatures when many join at once.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tracing::{error, info, warn};

use super::Operators;
use super::admin::{self, Api, Port, View};
use super::admission::{self, Admission};
use super::api::{Router, server};
use super::ca::{self, Lifetimes};
use super::catalog::Catalog;
use super::desk::Desk;
use super::home::{self, ANCHORS, Home, OPERATOR_TOKEN, keep_anchors};
use super::housekeeping;
use super::inject::{self, Injector};
use super::issuer_files::{self, IssuerFiles};
use super::kube::{self, Cluster, Reviewer, duties, webhook as registration};
use super::membership::Review;
use super::memory::Observer;
use super::metrics::{Counted, Metrics};
use super::own::certified;
use super::registrar::{Holders, Registrar};
use super::replicas::Others;
use super::rotating;
use super::sessions::Sessions;
use super::store::{ReadError, Store};
use super::validator::Validator;
use super::webhook::{self, Paths};
use super::{FileError, Settings};
use crate::http::respond::chain;
use crate::model::TrustDomain;
use crate::runtime::clock::{self, Rng};
use crate::runtime::supervise::fallen;
use crate::runtime::{Readiness, descriptors, socket};
use crate::telemetry::log::{self, LogHandle, Style};
use crate::telemetry::metrics::Registry;
use crate::telemetry::panics;

/// Each side of a session says something at least this often.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Calls that are under way at the end get this long.
const FAREWELL: Duration = Duration::from_secs(3);

/// How long a cluster takes to hear that a replica leaves.
const HEARD: Duration = Duration::from_secs(5);

/// Why it does not start.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("no threads")]
    Runtime(#[source] std::io::Error),
    #[error(transparent)]
    Home(#[from] home::Error),
    #[error("the folder of copies can't be used")]
    Copies(#[source] FileError),
    #[error("no certificate can be made for the control plane itself")]
    Certificate(#[from] ca::Error),
    #[error("the store can't be opened")]
    Read(#[from] ReadError),
    #[error("{0} can't be listened on")]
    Listen(&'static str, #[source] std::io::Error),
    #[error("it serves no longer ({0}), which is a defect of it")]
    Ended(String),
    #[error(transparent)]
    Cluster(#[from] kube::Error),
    #[error("no signal handlers")]
    Signals(#[source] std::io::Error),
}

/// Runs a control plane until it is told to leave.
pub fn run(settings: Settings) -> ExitCode {
    let style = if settings.log_json { Style::Json } else { Style::Text };
    let log = match log::init(&settings.log_level, style) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("outrigger: {}", chain(&error));
            return ExitCode::FAILURE;
        }
    };
    match live(&settings, log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("the control plane does not run: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn live(settings: &Settings, log: LogHandle) -> Result<(), Error> {
    if let Err(error) = descriptors::raise() {
        warn!(%error, "the limit on open files can't be raised");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(Error::Runtime)?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
        let (leave, leaving) = watch::channel(false);
        let readiness = Readiness::default();
        let Running { mut serving, duties } = open(settings, log, &readiness, leaving).await?;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            // It only ends when it is told to. Whoever started us starts another.
            ended = &mut serving => return Err(Error::Ended(format!("{ended:?}"))),
            what = fallen() => return Err(Error::Ended(format!("{what} panicked"))),
        }
        info!("leaving");
        readiness.need("a process that stays");
        if settings.kubernetes.is_some() {
            // The cluster goes on sending callers here until it has heard.
            tokio::select! {
                () = sleep(HEARD) => {}
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        }
        leave.send_replace(true);
        // The rest are sessions; they end with the process and come back to the next.
        let _ = timeout(FAREWELL, async { tokio::join!(serving, given_back(duties)) }).await;
        Ok(())
    })
}

/// So that another replica leads at once.
async fn given_back(duties: Option<JoinHandle<()>>) {
    if let Some(duties) = duties {
        // One that panicked gives nothing back, and the Lease ends by itself.
        let _ = duties.await;
    }
}

/// Everything that runs, and ends in an orderly way.
struct Running {
    /// The gRPC port.
    serving: JoinHandle<()>,
    /// Its part in the cluster.
    duties: Option<JoinHandle<()>>,
}

/// Opens what it keeps and the ports, and starts everything.
async fn open(
    settings: &Settings,
    log: LogHandle,
    readiness: &Readiness,
    leaving: watch::Receiver<bool>,
) -> Result<Running, Error> {
    let Settings { data, trust_domain, .. } = settings;
    let lifetimes = Lifetimes { leaf: settings.cert_lifetime, ..Lifetimes::default() };
    let of_cluster = match &settings.kubernetes {
        Some(cluster) => Some((cluster, kube::connect(cluster).await?)),
        None => None,
    };
    let imported = settings.issuer_files.as_ref().map(IssuerFiles::at_start);
    let with = imported.as_ref();
    let home = match &of_cluster {
        Some((of, client)) => {
            Home::in_cluster(client, &of.namespace, trust_domain, lifetimes, with).await?
        }
        None => Home::in_folder(data, trust_domain, lifetimes, with)?,
    };
    let anchors = match &settings.kubernetes {
        Some(of) => of.copies.as_deref(),
        None => Some(data.as_path()),
    };
    let anchors = anchors.map(|folder| folder.join(ANCHORS)).into_iter().collect();
    if let Some(folder) = settings.kubernetes.as_ref().and_then(|of| of.copies.as_deref()) {
        home.copy_into(folder).map_err(Error::Copies)?;
    }
    // Not before they are there: two who write one file at once are in each other's way.
    tokio::spawn(keep_anchors(Arc::clone(&home.authority), anchors));
    let Home { store, authority, custody, signer, operator, keys, watch } = home;
    let grpc = listen("--listen", settings.listen)?;
    let pages = listen("--admin-listen", settings.admin_listen)?;

    let catalog = follow(&*store, trust_domain)?;
    let cluster = of_cluster.as_ref().map(|(_, client)| Cluster::follow(client, &catalog, watch));
    let review = of_cluster.as_ref();
    let review = review.map(|(_, client)| Arc::new(Reviewer(client.clone())) as Arc<dyn Review>);
    let registry = Registry::default();
    let sessions = Arc::new(Sessions::default());
    panics::count(&registry);
    let metrics = Metrics::new(&registry, &catalog, &sessions, &authority);
    let store: Arc<dyn Store> = Arc::new(Counted { store, metrics: metrics.clone() });
    let holders = if cluster.is_some() { Holders::Replicas } else { Holders::Us };
    let (told, kept) = (Arc::clone(&catalog), Arc::clone(&store));
    let registrar = Registrar::new(told, kept, settings.lease, holders, clock::now_us());
    let others = Others::of(settings, &catalog, &authority).map_err(Error::Runtime)?;
    let now = SystemTime::now();
    let observer = Arc::new(Observer::new(settings, &catalog, &sessions, others, now));
    observer.memory.register(&registry);
    let desk = Arc::new(Desk {
        trust_domain: trust_domain.clone(),
        metrics,
        store,
        catalog,
        authority,
        custody,
        signer,
        operators: Operators::new(operator, settings.operators.clone()),
        registrar,
        cluster: review,
        admission: Mutex::new(Admission::new(admission::Settings::default(), Rng::from_system())),
        shares: admission::Shares::new(admission::Limits::default()),
        sessions,
        plaintext: Arc::clone(&observer.plaintext),
        observer,
        taps: Arc::default(),
        began: Instant::now(),
        issuer_files: settings.issuer_files.is_some(),
        epoch: uuid::Uuid::now_v7().simple().to_string().into(),
        heartbeat: HEARTBEAT,
        leaving: leaving.clone(),
    });
    let [tls, pages_tls] = certified(&desk.authority)?;
    let (mut duties, mut leads) = (None, None);
    if let (Some((of, client)), Some(cluster), Some(keys)) = (&of_cluster, &cluster, keys) {
        cluster.health.register(&registry);
        readiness.need(CLUSTER);
        let (catalog, authority) = (&desk.catalog, &desk.authority);
        let leaving = leaving.clone();
        let (begun, leader) = duties::begin(client, of, cluster, catalog, authority, keys, leaving);
        (duties, leads) = (Some(begun), Some(leader));
        answer_the_cluster(of, cluster, &desk, &registry)?;
    }
    if let Some(files) = &settings.issuer_files {
        let files = issuer_files::follow(files.clone(), Arc::clone(&desk), leads.clone());
        tokio::spawn(files);
    }
    let health = cluster.as_ref().map(|cluster| cluster.health.clone());
    let view = View { health, ..view(settings, &desk, registry, readiness.clone(), log) };
    let port = Port::new(view, desk.operators.clone(), pages_tls);
    tokio::spawn(admin::serve(pages, Arc::new(port)));
    say_started(settings);
    let readiness = readiness.clone();
    let serving = tokio::spawn(async move {
        // Who is told half of it would take the rest for gone.
        if let Some(cluster) = cluster {
            cluster.complete().await;
            readiness.have(CLUSTER);
        }
        tokio::spawn(housekeeping::regularly(Arc::clone(&desk)));
        tokio::spawn(rotating::drive(Arc::clone(&desk), leads));
        server::serve(grpc, tls, Router::new(desk), leaving).await;
    });
    Ok(Running { serving, duties })
}

/// Opens the port at which the API server asks, where there is to be one.
fn answer_the_cluster(
    of: &kube::Settings,
    cluster: &Cluster,
    desk: &Desk,
    registry: &Registry,
) -> Result<(), Error> {
    let Some(door) = &of.webhook else { return Ok(()) };
    let kube::Webhook { listen: address, proxy_image, traces } = door;
    let listener = listen("--webhook-listen", *address)?;
    let names = registration::names(&of.namespace);
    let tls = registration::serving(Arc::clone(&desk.authority), names)?;
    let settings = inject::Settings {
        proxy_image: proxy_image.clone(),
        traces: traces.clone(),
        ..inject::Settings::new(desk.trust_domain.clone())
    };
    let namespaces = cluster.namespaces.clone();
    let namespace_labels = Box::new(move |name: &str| namespaces.of(name));
    let injector = Injector::new(settings, namespace_labels).counted(registry);
    let validator = Validator::counted(registry);
    let paths: Paths = vec![("/inject", Arc::new(injector)), ("/validate", Arc::new(validator))];
    tokio::spawn(webhook::serve(listener, tls, paths));
    Ok(())
}

fn say_started(settings: &Settings) {
    let Settings { data, listen, admin_listen, trust_domain, kubernetes, .. } = settings;
    let folder = match kubernetes {
        Some(of) => of.copies.as_ref(),
        None => Some(data),
    };
    let word = if kubernetes.is_some() { "started" } else { "ready" };
    let shown = |name| folder.map(|folder| folder.join(name).display().to_string());
    info!(
        %listen,
        admin = %admin_listen,
        %trust_domain,
        trust_anchors = shown(ANCHORS),
        operator_token = shown(OPERATOR_TOKEN),
        "{word}"
    );
}

fn listen(flag: &'static str, address: SocketAddr) -> Result<TcpListener, Error> {
    socket::listen(address).map_err(|error| Error::Listen(flag, error))
}

/// The catalog of everything that the store holds, fed by it from now on.
fn follow(store: &dyn Store, trust_domain: &TrustDomain) -> Result<Arc<Catalog>, Error> {
    let catalog: Arc<OnceLock<Arc<Catalog>>> = Arc::default();
    let fed = Arc::clone(&catalog);
    let (revision, records) = store.follow(Box::new(move |committed| {
        if let Some(catalog) = fed.get() {
            catalog.absorb(committed);
        }
    }))?;
    let made = Arc::new(Catalog::new(trust_domain.clone(), revision, &records));
    // Nobody could commit yet: whoever does gets the store after this.
    Ok(Arc::clone(catalog.get_or_init(|| made)))
}

/// What has to be there before anybody is told anything.
const CLUSTER: &str = "everything in the cluster, seen once";

fn view(
    settings: &Settings,
    desk: &Arc<Desk>,
    registry: Registry,
    readiness: Readiness,
    log: LogHandle,
) -> View {
    let (authorities, leases) = (Arc::clone(&desk.authority), Arc::clone(desk));
    View {
        catalog: Arc::clone(&desk.catalog),
        registry,
        readiness,
        log,
        sessions: Arc::clone(&desk.sessions),
        plaintext: Arc::clone(&desk.plaintext),
        api: Api::new(Arc::clone(&desk.observer)),
        health: None,
        config: settings.shown(),
        authorities: Box::new(move || {
            authorities.view().shown(authorities.trust_domain().as_str())
        }),
        lease_of: Box::new(move |name| {
            let left = leases.registrar.lock().remaining(name, clock::now_us());
            left.map_or(json!("held"), |left| json!({"endsInMs": left.as_millis() as u64}))
        }),
    }
}
