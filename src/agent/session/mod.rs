//! One session with the control plane: certificates, discovery, registration.
//!
//! Enrols with a token, dials by mutual TLS, says what is used, takes what comes. When the session
//! breaks, everything learnt stays in use and another is begun after a jittered pause; what did not
//! change meanwhile is not sent again. The data plane never waits here but for an answer that it has
//! not had yet. Runs on the control thread; called by `app`.

mod demand;
mod ended;
mod enroll;
mod known;
mod link;
mod pace;
mod renewal;
mod signals;
mod status;
mod talk;
mod verdict;

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::{error, info, warn};

pub use demand::{Asked, Demand, Queue, Want, channel};
pub use ended::Ended;
pub use enroll::{Begun, Enrolled, enroll};
pub use known::{AddressAnswer, Known, References, Remembered, ServiceAnswer, Taken};
pub use link::{LinkError, dial};
pub use pace::Pace;
pub use signals::{EndpointState, Signals, TakeSpans, Unready};
pub use status::{Facts, Status};

use super::hosts::Hosts;
use super::mapper::Mapper;
use crate::http::respond::chain;
use crate::identity::{Revoked, Svid, TrustBundle};
use crate::model::{Mesh, PlaintextCaller, Protocol, ServiceName, SpiffeId, TrustDomain};
use crate::resources::{AccessPolicy, Labels, RateLimitPolicy};
use crate::runtime::supervise::{caught, kept};
use crate::tls::Credentials;
use talk::Talk;

/// Between two looks at a certificate that has ended.
const LOOK: Duration = Duration::from_secs(1);

/// Where the control plane is, and how one gets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `host:port`.
    pub address: String,
    /// The roots that it is checked against.
    pub trust_anchors: PathBuf,
    /// Where the newest ones that it sent are kept, so that a restart still finds in after the roots
    /// were replaced; beside `trust_anchors` unless said.
    pub newest_anchors: Option<PathBuf>,
    /// A token, read again at each enrolment.
    pub token_file: Option<PathBuf>,
}

/// Who this sidecar is for.
#[derive(Clone, Debug)]
pub struct Workload {
    pub trust_domain: TrustDomain,
    pub namespace: String,
    pub name: String,
    pub service_account: String,
    pub labels: Labels,
    pub zone: Option<String>,
    /// Absent: it takes no traffic, so there is nothing to register.
    pub offer: Option<Offer>,
}

/// The ports that the mesh may send to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Where they are reached; absent: where the session comes from.
    pub address: Option<IpAddr>,
    pub ports: Vec<OfferedPort>,
}

/// One port of the app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedPort {
    pub name: Option<String>,
    /// The app's.
    pub port: u16,
    /// Where this sidecar takes its traffic.
    pub mesh_port: u16,
    pub protocol: Protocol,
}

/// Takes the access policies of the workload: all of them.
pub type Govern = dyn Fn(&[Arc<AccessPolicy>]);
/// Takes the rate-limit policies of the workload: all of them.
pub type Limit = dyn Fn(&[Arc<RateLimitPolicy>]);

/// What happens to what the control plane says.
pub struct Hooks {
    /// New credentials; told whether the roots changed.
    pub identify: Box<dyn Fn(Credentials, bool)>,
    /// A new picture of the mesh.
    pub publish: Box<dyn Fn(Mesh)>,
    /// Where the workload runs, as the control plane knows it.
    pub placed: Box<dyn Fn(String)>,
    /// Everything that was asked for at the start was answered.
    pub informed: Box<dyn Fn()>,
    /// The registration holds.
    pub registered: Box<dyn Fn()>,
    /// The certificate has ended, and there is no other.
    pub ended: Box<dyn Fn()>,
    /// The control plane did not renew the certificate.
    pub renewal_failed: Box<dyn Fn()>,
    /// Who may call the workload now.
    pub govern: Box<Govern>,
    /// How often they may do so.
    pub limit: Box<Limit>,
    /// Who came in plaintext, that was not told yet; of all, if it is told anew, but no more than so
    /// many.
    pub seen: Box<dyn Fn(bool, usize) -> Seen>,
    /// Whether something was used since this was last asked.
    pub was_used: Box<dyn Fn(&Want) -> bool>,
    /// What there is to say of the traffic.
    pub signals: Signals,
}

/// What the inbound side saw.
pub struct Seen {
    pub callers: Vec<PlaintextCaller>,
    /// Connections of others, since this was last asked.
    pub left_out: u64,
}

/// One sidecar's end of the session, kept while sessions come and go.
pub struct Agent {
    settings: Settings,
    workload: Workload,
    identity: SpiffeId,
    hooks: Hooks,
    status: Arc<Status>,
    queue: Queue,
    known: RefCell<Known>,
    mapper: RefCell<Mapper>,
    hosts: RefCell<Hosts>,
    svid: RefCell<Option<Svid>>,
    enrolling: RefCell<Option<Begun>>,
    /// When the certificate in use came.
    certified_at: Cell<SystemTime>,
    bundle: RefCell<Option<TrustBundle>>,
    revoked: RefCell<Arc<Revoked>>,
    pace: RefCell<Pace>,
    leaving: Notify,
    /// The app is about to leave: nothing is registered any more.
    has_left: Cell<bool>,
    /// The control plane takes the certificate no longer.
    is_disowned: Cell<bool>,
    /// The end of the certificate was told.
    has_ended: Cell<bool>,
}

impl Agent {
    /// `pinned` services are followed from the start and never let go.
    pub fn new(
        settings: Settings,
        workload: Workload,
        identity: SpiffeId,
        pinned: Vec<ServiceName>,
        hooks: Hooks,
        status: Arc<Status>,
        queue: Queue,
    ) -> Rc<Self> {
        let mapper = RefCell::new(Mapper::new(&workload.namespace));
        Rc::new(Self {
            settings,
            workload,
            identity,
            hooks,
            status,
            queue,
            known: RefCell::new(Known::new(pinned)),
            mapper,
            hosts: RefCell::default(),
            svid: RefCell::default(),
            enrolling: RefCell::default(),
            certified_at: Cell::new(SystemTime::UNIX_EPOCH),
            bundle: RefCell::default(),
            revoked: RefCell::default(),
            pace: RefCell::new(Pace::from_system()),
            leaving: Notify::new(),
            has_left: Cell::new(false),
            is_disowned: Cell::new(false),
            has_ended: Cell::new(false),
        })
    }

    /// The app is about to leave: the registration is taken back, without waiting for it.
    pub fn withdraw(&self) {
        self.has_left.set(true);
        self.leaving.notify_one();
    }

    /// Keeps the sidecar informed until the process ends.
    pub async fn run(self: Rc<Self>) {
        tokio::join!(
            kept("the session with the control plane", async || self.hold_sessions().await),
            kept("whoever watches the certificate's end", async || self.watch_end().await),
        );
    }

    async fn hold_sessions(self: &Rc<Self>) {
        loop {
            let ended = caught(self.try_once()).await.unwrap_or_else(|error| {
                // What it was about to take may be taken by half: all of it is to come again.
                self.known.borrow_mut().doubt();
                Ended::Panicked(error)
            });
            self.is_disowned.set(ended.needs_token(self.is_disowned.get()));
            let left = self.svid.borrow().as_ref().map(Svid::not_after);
            let left = left.and_then(|ends| ends.duration_since(SystemTime::now()).ok());
            let pause = self.pace.borrow_mut().pause(&ended, left.unwrap_or_default());
            self.status.disconnected(&chain(&ended));
            match ended {
                Ended::Unfit(ref error) => {
                    error!(retry_in = ?pause, "the control plane can't be joined: {}", chain(error));
                }
                ref ended => {
                    warn!(retry_in = ?pause, "the control plane is not there, the last state stays in use: {}", chain(ended));
                }
            }
            sleep(pause).await;
        }
    }

    /// Says so when the certificate ends and there is no other; traffic is refused from then on.
    async fn watch_end(&self) {
        loop {
            let ends = self.svid.borrow().as_ref().map(Svid::not_after);
            let left = ends.map(|ends| ends.duration_since(SystemTime::now()));
            match left {
                Some(Err(_)) if !self.has_ended.replace(true) => {
                    error!(
                        "the certificate has ended and was not replaced: traffic is refused until the control plane, or a new token, gives another"
                    );
                    (self.hooks.ended)();
                    sleep(LOOK).await;
                }
                Some(Ok(left)) => {
                    self.has_ended.set(false);
                    sleep(left.clamp(LOOK, renewal::LOOK)).await;
                }
                _ => sleep(LOOK).await,
            }
        }
    }

    /// One session, from certificate to whatever ends it.
    async fn try_once(self: &Rc<Self>) -> Ended {
        if let Err(error) = self.enroll_if_due().await {
            return Ended::from(error);
        }
        let Some(svid) = self.svid.borrow().clone() else {
            return Ended::Unfit(LinkError::NoToken);
        };
        match link::dial(&self.settings, &self.workload.trust_domain, Some(&svid), &self.roots()) {
            Err(error) => Ended::from(error),
            Ok(dialling) => match dialling.await {
                Err(error) => Ended::from(error),
                Ok(channel) => Talk::begin(Rc::clone(self), channel).await,
            },
        }
    }

    async fn enroll_if_due(&self) -> Result<(), LinkError> {
        let now = SystemTime::now();
        let is_valid = self.svid.borrow().as_ref().is_some_and(|svid| svid.not_after() > now);
        if is_valid && !self.is_disowned.get() {
            return Ok(());
        }
        let mut begun = self.enrolling.take();
        let trust_domain = &self.workload.trust_domain;
        let enrolled =
            enroll(&self.settings, trust_domain, &self.identity, &self.roots(), &mut begun).await;
        self.enrolling.replace(begun);
        let enrolled = enrolled?;
        info!(identity = %self.identity, serial = enrolled.svid.serial(), "enrolled");
        self.take_bundle(enrolled.bundle, false);
        self.take_svid(enrolled.svid);
        Ok(())
    }

    fn take_svid(&self, svid: Svid) {
        self.is_disowned.set(false);
        let bundle = self.bundle.borrow().clone();
        *self.svid.borrow_mut() = Some(svid.clone());
        self.certified_at.set(SystemTime::now());
        if let Some(bundle) = bundle {
            (self.hooks.identify)(Credentials::new(svid, bundle), false);
        }
    }

    /// Takes newer roots, and keeps them for the next start.
    fn take_bundle(&self, bundle: TrustBundle, publish: bool) {
        let is_known = self.bundle.borrow().as_ref().is_some_and(|known| {
            // Who joins anew may have joined another mesh, which counts for itself.
            let is_older = publish && known.generation() > bundle.generation();
            is_older || known.generation() == bundle.generation() && known.is_same(&bundle)
        });
        if is_known {
            return;
        }
        link::keep(&self.settings, &bundle);
        let bundle = bundle.without(Arc::clone(&self.revoked.borrow()));
        *self.bundle.borrow_mut() = Some(bundle.clone());
        if let Some(svid) = self.svid.borrow().clone().filter(|_| publish) {
            info!(generation = bundle.generation(), "the trust bundle changed");
            (self.hooks.identify)(Credentials::new(svid, bundle), true);
        }
    }

    /// Takes another list of what nobody may trust any more.
    fn take_revoked(&self, revoked: Revoked) {
        if **self.revoked.borrow() == revoked {
            return;
        }
        info!(
            enrollments = revoked.enrollments.len(),
            identities = revoked.identities.len(),
            "revocations changed"
        );
        let revoked = Arc::new(revoked);
        *self.revoked.borrow_mut() = Arc::clone(&revoked);
        let bundle = self.bundle.take().map(|bundle| bundle.without(revoked));
        self.bundle.replace(bundle.clone());
        if let (Some(svid), Some(bundle)) = (self.svid.borrow().clone(), bundle) {
            (self.hooks.identify)(Credentials::new(svid, bundle), true);
        }
    }

    /// The roots that were sent last, if any were.
    fn roots(&self) -> Option<TrustBundle> {
        self.bundle.borrow().clone()
    }
}
