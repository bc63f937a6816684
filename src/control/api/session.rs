//! One sidecar's session, from `hello` to its end.
//!
//! A task each: it hears what the sidecar says, and tells it what changed of that which it asked for.
//! What is queued for a sidecar is bounded by what it asked for; one that takes nothing for too long
//! is let go. The session acts for the identity of its certificate, and ends with it.

mod governed;
mod judged;
mod offers;
mod tapped;
mod trust;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_stream::StreamExt as _;
use tokio_stream::adapters::Map;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, async_trait};
use tracing::{debug, warn};

use super::Caller;
use super::convert::{Wanted, names};
use super::subscriptions::Subscriptions;
use crate::control::ca::enrollment_of;
use crate::control::catalog::Pod;
use crate::control::desk::Desk;
use crate::control::membership::{Member, member};
use crate::control::memory::Source;
use crate::control::sessions::{SessionEntry, SessionFacts};
use crate::resources::names::is_dns_subdomain;
use crate::tls::Peer;
use crate::wire::v1::from_sidecar::Message as Said;
use crate::wire::v1::mesh_server::Mesh;
use crate::wire::v1::to_sidecar::Message as Tell;
use crate::wire::v1::{self, ToSidecar};
use governed::{Able, Governed};
pub use trust::concerns;

/// Messages on their way to one sidecar.
const QUEUE: usize = 8;
/// How long a sidecar may take nothing.
const STUCK: Duration = Duration::from_secs(30);
/// Heartbeats that may be missed.
const MISSED: u32 = 3;
/// How often sidecars say what became of their traffic.
const TRAFFIC: Duration = Duration::from_secs(5);
/// Characters of a software's name that are kept.
const SOFTWARE: usize = 100;
/// How long a sidecar may take to say hello.
const HELLO: Duration = Duration::from_secs(10);

/// Serves `outrigger.v1.Mesh`.
pub struct MeshService {
    desk: Arc<Desk>,
}

impl MeshService {
    pub fn new(desk: Arc<Desk>) -> Self {
        Self { desk }
    }
}

type Answer = Result<ToSidecar, Status>;
/// Boxed, because the queue makes room for 32 at a time, twice, whatever its bound is.
type Queued = Box<Answer>;
type Told = Map<ReceiverStream<Queued>, fn(Queued) -> Answer>;

#[async_trait]
impl Mesh for MeshService {
    type SessionStream = Told;

    async fn session(
        &self,
        request: Request<Streaming<v1::FromSidecar>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let desk = Arc::clone(&self.desk);
        let caller = request.extensions().get::<Caller>().cloned();
        let Some(Caller { address, peer: Some(peer) }) = caller else {
            return Err(Status::unauthenticated("a session needs a certificate of the mesh"));
        };
        let enrollment = enrollment_of(&peer.serial).unwrap_or_default();
        let own = "this workload begins too many sessions: come back later";
        let part = desk.approach(enrollment).map_err(|later| come_back(own, later))?;
        let mut said = request.into_inner();
        let (tell, told) = mpsc::channel::<Queued>(QUEUE);
        tokio::spawn(async move {
            let ip = address.ip().to_canonical();
            let begun = async {
                let hello = hello(&mut said).await?;
                // Only now: whoever says nothing takes no place of others.
                let all = "too many sessions begin at once: come back later";
                let _ticket = desk.admit().map_err(|later| come_back(all, later))?;
                // Behind everybody whose turn it is: where they are many the places run out, and
                // that is how admission sees that time is short.
                yield_now().await;
                Session::begin(desk, peer, ip, address.port(), hello, tell.clone()).await
            };
            let begun = begun.await;
            drop(part);
            match begun {
                Ok(mut session) => {
                    if let Err(status) = session.run(said).await {
                        debug!(workload = session.workload, "session ended: {}", status.message());
                        let _ = tell.try_send(Box::new(Err(status)));
                    }
                }
                Err(status) => drop(tell.try_send(Box::new(Err(status)))),
            }
        });
        let unboxed: fn(Queued) -> Answer = |answer| *answer;
        Ok(Response::new(ReceiverStream::new(told).map(unboxed)))
    }
}

/// The first that a sidecar says.
async fn hello(said: &mut Streaming<v1::FromSidecar>) -> Result<v1::Hello, Status> {
    match timeout(HELLO, said.message()).await {
        Ok(Ok(Some(v1::FromSidecar { message: Some(Said::Hello(hello)) }))) => Ok(hello),
        _ => Err(Status::invalid_argument("a session begins with hello")),
    }
}

/// Too many begin; the sidecar is told when to try again.
fn come_back(why: &str, later: Duration) -> Status {
    let mut status = Status::resource_exhausted(why);
    if let Ok(millis) = later.as_millis().to_string().parse() {
        status.metadata_mut().insert("grpc-retry-pushback-ms", millis);
    }
    status
}

struct Session {
    desk: Arc<Desk>,
    peer: Peer,
    connected_from: IpAddr,
    workload: String,
    enrollment: u64,
    /// Which pod it is of, where it is of one.
    pod: Option<Arc<Pod>>,
    subscriptions: Subscriptions,
    registered: Option<Arc<str>>,
    governed: Governed,
    watched: tapped::Watched,
    entry: SessionEntry,
    source: Source,
    tell: mpsc::Sender<Queued>,
    /// When the newest certificate of the sidecar ends, and with it the session.
    until: SystemTime,
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(name) = &self.registered {
            self.desk.registrar.release(name, self.subscriptions.mailbox().id());
        }
    }
}

impl Session {
    async fn begin(
        desk: Arc<Desk>,
        peer: Peer,
        connected_from: IpAddr,
        port: u16,
        hello: v1::Hello,
        tell: mpsc::Sender<Queued>,
    ) -> Result<Session, Status> {
        let v1::Hello {
            software,
            workload,
            version,
            subscription,
            implied,
            decides_by_rules,
            reads_tokens,
            limits_rates,
            acknowledges_bundles,
        } = hello;
        let able = Able { decides_by_rules, reads_tokens, limits_rates };
        let enrollment = enrollment_of(&peer.serial).unwrap_or_default();
        let found = member(&desk, enrollment, &peer.id).await.inspect_err(|_| {
            warn!(identity = %peer.id, serial = peer.serial, "a certificate without an enrolment was refused");
        })?;
        let pod = match found {
            Member::Joined(_) => None,
            Member::Pod(pod) => Some(pod),
        };
        if let Some(pod) = pod.as_ref().filter(|pod| pod.metadata.name != workload) {
            let name = &pod.metadata.name;
            return Err(Status::invalid_argument(format!(
                "the certificate is that of pod {name}: set workload.name to the pod's name"
            )));
        }
        if !is_dns_subdomain(&workload) {
            let message = "the workload's name must be of lower-case letters, digits, - and .";
            return Err(Status::invalid_argument(message));
        }
        let wanted = Wanted::try_from(subscription.unwrap_or_default());
        let wanted = wanted.map_err(Status::invalid_argument)?;
        let implied = names(implied).map_err(Status::invalid_argument)?;
        let facts = SessionFacts {
            identity: peer.id.clone(),
            workload: workload.clone(),
            address: (connected_from, port).into(),
            software: software.chars().take(SOFTWARE).collect(),
            certificate_begins: peer.not_before,
            certificate_ends: peer.not_after,
            acknowledges_bundles,
        };
        let source = desk.observer.memory.enter(&peer.id, &workload);
        let entry = desk.sessions.enter(facts);
        let (catalog, epoch) = (Arc::clone(&desk.catalog), Arc::clone(&desk.epoch));
        let mut subscriptions = Subscriptions::new(catalog, epoch, peer.id.namespace());
        let first = subscriptions.begin(&wanted, implied, &version);
        let first = first.map_err(Status::invalid_argument)?;
        entry.subscribed(subscriptions.len());
        let until = peer.not_after;
        let mut session = Session {
            desk,
            pod,
            peer,
            connected_from,
            workload,
            enrollment,
            subscriptions,
            registered: None,
            governed: Governed::new(able),
            watched: tapped::Watched::default(),
            entry,
            source,
            tell,
            until,
        };
        session.tell(Tell::Welcome(session.welcome())).await?;
        session.bundle().await?;
        session.revocations().await?;
        session.govern().await?;
        session.update(first).await?;
        Ok(session)
    }

    fn welcome(&self) -> v1::Welcome {
        let millis = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        v1::Welcome {
            software: format!("outrigger {}", env!("CARGO_PKG_VERSION")),
            heartbeat_ms: millis(self.desk.heartbeat),
            lease_ms: millis(self.desk.registrar.lock().lease()),
            zone: self.zone().as_deref().unwrap_or_default().to_owned(),
            traffic_ms: millis(TRAFFIC),
        }
    }

    fn zone(&self) -> Option<Arc<str>> {
        self.desk.catalog.zone_of(self.pod.as_ref()?)
    }

    /// Until the sidecar leaves, falls silent, or its certificate ends. Silence is counted in
    /// heartbeats that this process was awake for: after a freeze, what came meanwhile is read
    /// first.
    async fn run(&mut self, mut said: Streaming<v1::FromSidecar>) -> Result<(), Status> {
        let mailbox = Arc::clone(self.subscriptions.mailbox());
        let mut beats = interval(self.desk.heartbeat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beats.tick().await;
        let mut leaving = self.desk.leaving.clone();
        let mut taps = self.desk.taps.follow();
        taps.mark_changed();
        let mut roots = self.desk.authority.news();
        roots.mark_changed();
        let mut silent = 0;
        loop {
            let left = self.until.duration_since(SystemTime::now()).unwrap_or_default();
            tokio::select! {
                biased;
                message = said.message() => match message {
                    Ok(Some(message)) => {
                        silent = 0;
                        self.is_current()?;
                        if concerns(&self.desk.catalog.revoked(), &self.peer) {
                            self.revocations().await?;
                        }
                        self.hear(message).await?;
                    }
                    Ok(None) => return Ok(()),
                    Err(status) => return Err(status),
                },
                news = mailbox.news() => {
                    if news.revocations {
                        self.revocations().await?;
                    }
                    if news.inbound {
                        self.govern().await?;
                    }
                    if let Some(update) = self.subscriptions.update(&news) {
                        self.update(update).await?;
                    }
                }
                _ = beats.tick() => {
                    silent += 1;
                    if silent > MISSED {
                        return Err(Status::deadline_exceeded("the sidecar fell silent"));
                    }
                }
                Ok(()) = taps.changed() => self.tap().await?,
                Ok(()) = roots.changed() => self.bundle().await?,
                _ = leaving.changed() => {
                    return Err(Status::unavailable("the control plane is about to leave"));
                }
                () = sleep(left) => {
                    return Err(Status::unauthenticated("the sidecar's certificate has ended"));
                }
            }
        }
    }

    /// Whoever talks without a pause is not above the rules that the other arms keep.
    fn is_current(&self) -> Result<(), Status> {
        if self.until <= SystemTime::now() {
            return Err(Status::unauthenticated("the sidecar's certificate has ended"));
        }
        if *self.desk.leaving.borrow() {
            return Err(Status::unavailable("the control plane is about to leave"));
        }
        Ok(())
    }

    async fn hear(&mut self, message: v1::FromSidecar) -> Result<(), Status> {
        self.entry.heard();
        match message.message {
            Some(Said::Heartbeat(beat)) => self.tell(Tell::Heartbeat(beat)).await,
            Some(Said::Subscribe(more)) => {
                let wanted = Wanted::try_from(more).map_err(Status::invalid_argument)?;
                let subscribed = self.subscriptions.subscribe(&wanted);
                self.entry.subscribed(self.subscriptions.len());
                subscribed.map_err(Status::resource_exhausted)
            }
            Some(Said::Unsubscribe(less)) => {
                let unwanted = Wanted::try_from(less).map_err(Status::invalid_argument)?;
                self.subscriptions.unsubscribe(&unwanted);
                self.entry.subscribed(self.subscriptions.len());
                Ok(())
            }
            Some(Said::Verdict(verdict)) => self.judged(verdict).await,
            Some(Said::Certificate(request)) => self.renew(request).await,
            Some(Said::Register(offer)) => self.register(offer).await,
            Some(Said::Withdraw(v1::Withdrawal {})) => self.withdraw().await,
            Some(Said::InboundVerdict(verdict)) => {
                self.governed_by(verdict);
                Ok(())
            }
            Some(Said::Report(report)) => {
                self.reported(report);
                Ok(())
            }
            Some(Said::Traffic(traffic)) => {
                self.traffic(traffic);
                Ok(())
            }
            Some(Said::Tapped(tapped)) => {
                self.tapped(tapped);
                Ok(())
            }
            Some(Said::BundleTaken(v1::BundleTaken { generation })) => {
                self.entry.bundle_taken(generation);
                Ok(())
            }
            Some(Said::Hello(_)) => Err(Status::invalid_argument("hello was said already")),
            // A newer sidecar's message, which this version does not know.
            None => Ok(()),
        }
    }

    async fn update(&mut self, update: v1::Update) -> Result<(), Status> {
        self.desk.metrics.updates_sent.inc();
        self.entry.sent(self.subscriptions.revision());
        self.tell(Tell::Update(update)).await
    }

    async fn tell(&self, message: Tell) -> Result<(), Status> {
        let sent = self.tell.send(Box::new(Ok(ToSidecar { message: Some(message) })));
        match timeout(STUCK, sent).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Status::cancelled("the sidecar left")),
            Err(_) => Err(Status::deadline_exceeded("the sidecar takes nothing")),
        }
    }
}
