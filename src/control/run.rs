//! The control plane as a process: the data folder opened, the ports served, and an orderly end.
//!
//! Unlike a sidecar it runs on several threads: thousands of sessions, each waiting most of the
//! time, and signatures when many join at once. What must be done regularly (leases, its own
//! certificate, what has ended) is done here.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at, sleep, timeout};
use tracing::{error, info, warn};

use super::admin::{self, Port, View};
use super::admission::{self, Admission};
use super::api::{Operators, Router, server};
use super::ca::{self, Authority, Lifetimes};
use super::catalog::{Catalog, enrollment_key};
use super::desk::{Desk, unix_ms};
use super::files::{open_folder, read_private, write_private, write_public};
use super::metrics::{Counted, Metrics};
use super::registrar::{self, Registrar};
use super::sessions::Sessions;
use super::store::{CommitError, Embedded, Expect, Key, OpenError, ReadError, Shelf, Store, Write};
use super::tokens::{self, Signer};
use super::{FileError, OperatorToken, Settings};
use crate::http::respond::chain;
use crate::model::{SpiffeId, TrustDomain};
use crate::runtime::clock::{self, Rng};
use crate::runtime::{Readiness, socket};
use crate::telemetry::log::{self, LogHandle, Style};
use crate::telemetry::metrics::Registry;
use crate::tls::{ControlServer, Offer};

/// Each side of a session says something at least this often.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Between two looks at what has ended, and at the issuer.
const HOURLY: Duration = Duration::from_secs(3600);
/// Tokens and enrolments that have ended are kept for so long: a clock that went ahead for a while
/// must not take away what has not ended.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// Calls that are under way at the end get this long.
const FAREWELL: Duration = Duration::from_secs(3);

/// Why it does not start.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("no threads")]
    Runtime(#[source] std::io::Error),
    #[error("the data folder can't be used")]
    File(#[from] FileError),
    #[error("the certificate authority can't be opened")]
    Authority(#[from] ca::Error),
    #[error("the key of the join tokens can't be opened")]
    Tokens(#[from] tokens::Error),
    #[error("the store can't be opened")]
    Store(#[from] OpenError),
    #[error("the store can't be opened")]
    Read(#[from] ReadError),
    #[error("{0} can't be listened on")]
    Listen(&'static str, #[source] std::io::Error),
    #[error("{0} is empty: write a long random text into it, or remove it to get a new one")]
    NoOperatorToken(String),
    #[error("the machine gives no random numbers")]
    Random,
    #[error("it serves no longer ({0}), which is a defect of it")]
    Ended(String),
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
    if let Err(error) = socket::raise_open_files() {
        warn!(%error, "the limit on open files can't be raised");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(Error::Runtime)?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
        let (leave, leaving) = watch::channel(false);
        let readiness = Readiness::default();
        let mut serving = open(settings, log, &readiness, leaving).await?;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            // It only ends when it is told to. Whoever started us starts another.
            ended = &mut serving => return Err(Error::Ended(format!("{ended:?}"))),
        }
        info!("leaving");
        readiness.need("a process that stays");
        leave.send_replace(true);
        // The rest are sessions; they end with the process and come back to the next.
        let _ = timeout(FAREWELL, serving).await;
        Ok(())
    })
}

/// Opens the folder and the ports, and starts everything; the handle ends with the gRPC port.
async fn open(
    settings: &Settings,
    log: LogHandle,
    readiness: &Readiness,
    leaving: watch::Receiver<bool>,
) -> Result<tokio::task::JoinHandle<()>, Error> {
    let Settings { data, trust_domain, .. } = settings;
    open_folder(data)?;
    // First of all: it also keeps a second control plane out of the folder.
    let store: Arc<dyn Store> = Arc::new(Embedded::open(data)?);
    let lifetimes = Lifetimes { leaf: settings.cert_lifetime, ..Lifetimes::default() };
    let now = SystemTime::now();
    let authority = Arc::new(Authority::open(&data.join("ca"), trust_domain, lifetimes, now)?);
    let signer = Arc::new(Signer::open(data, trust_domain)?);
    let token = operator_token(data)?;
    let anchors = data.join("ca.pem");
    write_public(&anchors, authority.roots().to_pem().as_bytes())?;
    let grpc = listen("--listen", settings.listen)?;
    let pages = listen("--admin-listen", settings.admin_listen)?;

    let catalog = follow(&*store, trust_domain)?;
    let registry = Registry::default();
    let sessions = Arc::new(Sessions::default());
    let metrics = Metrics::new(&registry, Arc::clone(&catalog), Arc::clone(&sessions));
    let store: Arc<dyn Store> = Arc::new(Counted { store, metrics: metrics.clone() });
    let registrar =
        Registrar::new(Arc::clone(&catalog), Arc::clone(&store), settings.lease, clock::now_us());
    let desk = Arc::new(Desk {
        trust_domain: trust_domain.clone(),
        metrics,
        store,
        catalog,
        authority,
        signer,
        operators: Operators::new(token.clone(), settings.operators.clone()),
        registrar,
        admission: Mutex::new(Admission::new(admission::Settings::default(), Rng::from_system())),
        sessions,
        epoch: uuid::Uuid::now_v7().simple().to_string().into(),
        heartbeat: HEARTBEAT,
        leaving: leaving.clone(),
    });
    let (tls, pages_tls) = certified(&desk)?;
    let view = view(settings, &desk, registry, readiness.clone(), log);
    let port = Port::new(view, token, pages_tls);
    tokio::spawn(admin::serve(pages, Arc::new(port)));
    tokio::spawn(regularly(Arc::clone(&desk)));
    info!(
        listen = %settings.listen,
        admin = %settings.admin_listen,
        %trust_domain,
        trust_anchors = %anchors.display(),
        operator_token = %data.join(OPERATOR_TOKEN).display(),
        "ready"
    );
    Ok(tokio::spawn(server::serve(grpc, tls, Router::new(desk), leaving)))
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

const OPERATOR_TOKEN: &str = "operator.token";

/// The operators' token; a new one at the first start.
fn operator_token(data: &Path) -> Result<OperatorToken, Error> {
    let path = data.join(OPERATOR_TOKEN);
    if read_private(&path)?.is_none() {
        let text = OperatorToken::invent().ok_or(Error::Random)?;
        write_private(&path, format!("{text}\n").as_bytes())?;
    }
    let text = read_private(&path)?.unwrap_or_default();
    OperatorToken::new(&String::from_utf8_lossy(&text))
        .ok_or_else(|| Error::NoOperatorToken(path.display().to_string()))
}

type PagesTls = Arc<ArcSwap<rustls::ServerConfig>>;

/// The control plane's own certificate, on both ports, replaced when half of its life is over.
fn certified(desk: &Arc<Desk>) -> Result<(Arc<ArcSwap<ControlServer>>, PagesTls), ca::Error> {
    let make = |authority: &Authority| {
        let svid = authority.own(SystemTime::now())?;
        let roots = authority.roots();
        let pages = ControlServer::new(&svid, &roots, Offer::Http1);
        let half = svid.not_after().duration_since(SystemTime::now()).unwrap_or_default() / 2;
        Ok::<_, ca::Error>((ControlServer::new(&svid, &roots, Offer::H2), pages, half))
    };
    let (grpc, pages, half) = make(&desk.authority)?;
    let (tls, pages_tls) = (
        Arc::new(ArcSwap::from_pointee(grpc)),
        Arc::new(ArcSwap::from(Arc::clone(pages.config()))),
    );
    let (desk, swap, pages_swap) = (Arc::clone(desk), Arc::clone(&tls), Arc::clone(&pages_tls));
    tokio::spawn(async move {
        let mut wait = half;
        loop {
            sleep(wait.min(HOURLY)).await;
            match make(&desk.authority) {
                Ok((grpc, pages, half)) => {
                    swap.store(Arc::new(grpc));
                    pages_swap.store(Arc::clone(pages.config()));
                    wait = half;
                }
                Err(error) => error!("no new certificate for the control plane itself: {error}"),
            }
        }
    });
    Ok((tls, pages_tls))
}

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
        config: shown(settings),
        authorities: Box::new(move || authorities.shown()),
        lease_of: Box::new(move |name| {
            let left = leases.registrar.lock().remaining(name, clock::now_us());
            left.map_or(json!("held"), |left| json!({"endsInMs": left.as_millis() as u64}))
        }),
    }
}

fn shown(settings: &Settings) -> Value {
    let Settings {
        data,
        listen,
        admin_listen,
        trust_domain,
        cert_lifetime,
        lease,
        operators,
        log_level,
        log_json,
    } = settings;
    json!({
        "data": data.display().to_string(),
        "listen": listen.to_string(),
        "adminListen": admin_listen.to_string(),
        "trustDomain": trust_domain.as_str(),
        "certLifetimeSeconds": cert_lifetime.as_secs_f64(),
        "leaseSeconds": lease.as_secs_f64(),
        "operators": operators.iter().map(SpiffeId::as_str).collect::<Vec<_>>(),
        "log": {"level": log_level, "format": if *log_json { "json" } else { "text" }},
    })
}

/// What has to be looked at again and again.
async fn regularly(desk: Arc<Desk>) {
    let mut leases = interval(registrar::TICK);
    leases.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Not at once: at boot a clock may still be wrong by years.
    let mut hours = interval_at(Instant::now() + HOURLY, HOURLY);
    loop {
        tokio::select! {
            _ = leases.tick() => desk.registrar.expire(clock::now_us()).await,
            _ = hours.tick() => {
                desk.registrar.reconcile(clock::now_us());
                let authority = Arc::clone(&desk.authority);
                let renewed = tokio::task::spawn_blocking(move || {
                    authority.renew_issuer_if_due(SystemTime::now())
                });
                if let Ok(Err(error)) = renewed.await {
                    error!("the issuer can't be renewed: {}", chain(&error));
                }
                if let Err(error) = forget(&desk, SystemTime::now()).await {
                    warn!(%error, "what has ended can't be removed now");
                }
            }
        }
    }
}

/// Removes tokens and revocations that have ended, and enrolments whose last certificate has, in
/// small commits.
async fn forget(desk: &Desk, now: SystemTime) -> Result<(), CommitError> {
    let now_ms = unix_ms(now);
    let long_ago_ms = unix_ms(now - KEPT);
    let tokens = desk.catalog.tokens().into_iter();
    let tokens = tokens
        .filter(|(_, token)| token.value.expires_ms < long_ago_ms)
        .map(|(id, token)| (Key { shelf: Shelf::Tokens, name: id }, token.version));
    let enrollments = desk.catalog.enrollments().into_iter();
    let enrollments = enrollments
        .filter(|(_, enrollment)| enrollment.value.until_ms < long_ago_ms)
        .map(|(number, enrollment)| (enrollment_key(number), enrollment.version));
    let revocations = desk.catalog.revocations().into_iter();
    let revocations = revocations
        .filter(|(_, revocation)| revocation.value.until_ms < now_ms)
        .map(|(name, held)| (Key { shelf: Shelf::Revocations, name }, held.version));
    let ended: Vec<(Key, u64)> = tokens.chain(enrollments).chain(revocations).collect();
    for (key, version) in ended {
        let write = Write { key, expect: Expect::Version(version), value: None };
        match desk.store.commit(vec![write]).await {
            // It was renewed meanwhile.
            Ok(_) | Err(CommitError::Conflict { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
