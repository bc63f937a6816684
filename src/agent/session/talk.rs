//! One session, from hello to its end.
//!
//! Two halves of one stream: what is said goes through a queue, what is heard is taken at once. Each
//! answer is applied whole and acknowledged, or refused with reasons and without effect.

mod inbound;
mod renewing;
mod tapped;
mod traffic;

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tracing::{debug, error, info, warn};

use super::demand::Want;
use super::ended::Ended;
use super::enroll::{bundle, revoked};
use super::renewal::{Clocks, Pending, Schedule};
use super::{Agent, Offer, Remembered, Taken, verdict};
use crate::agent::hosts::Hosts;
use crate::agent::mapper::Mapper;
use crate::runtime::clock::{Rng, now_us};
use crate::runtime::rehearsal::{self, At};
use crate::wire::Channel;
use crate::wire::protocol_number;
use crate::wire::v1::from_sidecar::Message as Say;
use crate::wire::v1::mesh_client::MeshClient;
use crate::wire::v1::to_sidecar::Message as Heard;
use crate::wire::v1::{self, FromSidecar};
use inbound::Reported;
use renewing::next_renewal;

/// Messages on their way out. Everything that may be subscribed to may be answered at once, and each
/// answer has its verdict; a control plane that takes nothing of that is as good as gone.
const QUEUE: usize = 16 << 10;
/// Heartbeats that may be missed.
const MISSED: u32 = 3;
/// Unless the control plane says another.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Updates of the largest services.
const LARGEST: usize = 64 << 20;
/// Between two looks for what is not used any more.
const SWEEP: Duration = Duration::from_secs(60);

/// A session under way.
pub struct Talk {
    agent: Rc<Agent>,
    say: mpsc::Sender<FromSidecar>,
    mapper: Mapper,
    hosts: Hosts,
    rng: Rng,
    /// A key whose certificate was asked for.
    pending: Option<Pending>,
    renewal: Schedule,
    heartbeat: Duration,
    reported: Reported,
    told: traffic::Told,
    taps: tapped::Taps,
}

/// However a session ends, the next one goes on with what is known of endpoints and hosts.
impl Drop for Talk {
    fn drop(&mut self) {
        *self.agent.mapper.borrow_mut() = std::mem::take(&mut self.mapper);
        *self.agent.hosts.borrow_mut() = std::mem::take(&mut self.hosts);
    }
}

impl Talk {
    /// Holds a session until it ends.
    pub async fn begin(agent: Rc<Agent>, channel: Channel) -> Ended {
        let (say, said) = mpsc::channel(QUEUE);
        let Remembered { answered, open, implied } = agent.known.borrow().remembered();
        let hello = v1::Hello {
            software: format!("outrigger-proxy {}", env!("CARGO_PKG_VERSION")),
            workload: agent.workload.name.clone(),
            version: agent.known.borrow_mut().begin(),
            subscription: Some(answered),
            implied,
            decides_by_rules: true,
            limits_rates: true,
            acknowledges_bundles: true,
            reads_tokens: true,
        };
        let mut rng = Rng::from_system();
        let renewal = next_renewal(&agent, &mut rng);
        let mapper = std::mem::take(&mut *agent.mapper.borrow_mut());
        let hosts = std::mem::take(&mut *agent.hosts.borrow_mut());
        let mut talk = Talk {
            agent,
            say,
            mapper,
            hosts,
            rng,
            pending: None,
            renewal,
            heartbeat: HEARTBEAT,
            reported: Reported::default(),
            told: traffic::Told::default(),
            taps: tapped::Taps::default(),
        };
        let mut begun = talk.say(Say::Hello(hello));
        if !open.services.is_empty() || !open.addresses.is_empty() {
            begun = begun.and_then(|()| talk.say(Say::Subscribe(open)));
        }
        match begun {
            Err(ended) => ended,
            Ok(()) => talk.hold(channel, said).await,
        }
    }

    async fn hold(&mut self, channel: Channel, said: mpsc::Receiver<FromSidecar>) -> Ended {
        let mut client = MeshClient::new(channel).max_decoding_message_size(LARGEST);
        let session = client.session(ReceiverStream::new(said));
        let patience = tokio::time::timeout(self.heartbeat * MISSED, session);
        match patience.await {
            Err(_) => Ended::Silent,
            Ok(Err(status)) => Ended::from(status),
            Ok(Ok(response)) => match self.follow(response.into_inner()).await {
                Err(ended) => ended,
                Ok(never) => match never {},
            },
        }
    }

    /// Silence is counted in heartbeats that this process was awake for.
    async fn follow(
        &mut self,
        mut heard: Streaming<v1::ToSidecar>,
    ) -> Result<std::convert::Infallible, Ended> {
        let agent = Rc::clone(&self.agent);
        let mut wants = agent.queue.wants.lock().await;
        let mut beats = interval(self.heartbeat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        beats.tick().await;
        let mut sweeps = interval(SWEEP);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looks = interval(inbound::LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut taps = interval(tapped::PAUSE);
        taps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut silent = 0;
        loop {
            let beat = self.heartbeat;
            tokio::select! {
                biased;
                message = heard.message() => match message {
                    Ok(Some(message)) => {
                        silent = 0;
                        agent.status.heard();
                        rehearsal::pass(At::Session);
                        self.hear(message)?;
                        if self.heartbeat != beat {
                            beats = interval(self.heartbeat);
                            beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
                            beats.tick().await;
                        }
                    }
                    Ok(None) => return Err(Ended::Closed),
                    Err(status) => return Err(Ended::from(status)),
                },
                Some(want) = wants.recv() => self.ask(want, &mut wants)?,
                () = agent.leaving.notified() => {
                    self.tell_soon();
                    self.say(Say::Withdraw(v1::Withdrawal {}))?;
                }
                () = sleep(self.renewal.wait(Clocks::now())) => {
                    if self.renewal.is_due(Clocks::now()) {
                        self.renew()?;
                    }
                }
                () = self.hosts.changed() => self.publish(),
                _ = beats.tick() => {
                    silent += 1;
                    if silent > MISSED {
                        return Err(Ended::Silent);
                    }
                    self.say(Say::Heartbeat(v1::Heartbeat {}))?;
                }
                _ = sweeps.tick() => self.sweep()?,
                _ = looks.tick() => {
                    self.report()?;
                    self.traffic()?;
                }
                _ = taps.tick(), if !self.taps.is_empty() => self.tell_taps()?,
            }
        }
    }

    fn hear(&mut self, message: v1::ToSidecar) -> Result<(), Ended> {
        match message.message {
            Some(Heard::Welcome(welcome)) => {
                let v1::Welcome { software, heartbeat_ms, lease_ms, zone, traffic_ms } = welcome;
                self.asked_for_traffic(Duration::from_millis(u64::from(traffic_ms)));
                if heartbeat_ms > 0 {
                    self.heartbeat = Duration::from_millis(u64::from(heartbeat_ms));
                }
                info!(
                    address = self.agent.settings.address,
                    software, "connected to the control plane"
                );
                let lease = Duration::from_millis(u64::from(lease_ms));
                self.agent.pace.borrow_mut().succeeded(lease);
                self.agent.status.connected();
                if !zone.is_empty() {
                    (self.agent.hooks.placed)(zone);
                }
                self.register()?;
            }
            Some(Heard::Update(update)) => self.update(update)?,
            Some(Heard::Bundle(roots)) => match bundle(roots) {
                Ok(bundle) => {
                    let generation = bundle.generation();
                    self.agent.take_bundle(bundle, true);
                    self.say(Say::BundleTaken(v1::BundleTaken { generation }))?;
                }
                Err(error) => warn!("a trust bundle can't be used, the old one stays: {error}"),
            },
            Some(Heard::Certificate(v1::CertificateAnswer { answer })) => self.certified(answer),
            Some(Heard::Registration(v1::RegistrationAnswer { errors })) => self.judged(errors),
            Some(Heard::Withdrawn(v1::Withdrawn {})) => info!("the registration is withdrawn"),
            Some(Heard::Revocations(list)) => match revoked(list) {
                Ok(revoked) => self.agent.take_revoked(revoked),
                Err(error) => {
                    error!("a list of revocations can't be read, the old one stays: {error}")
                }
            },
            Some(Heard::Inbound(inbound)) => self.inbound(inbound)?,
            Some(Heard::Tap(tap)) => self.tap(tap)?,
            Some(Heard::Untap(untap)) => self.untap(untap),
            Some(Heard::Heartbeat(v1::Heartbeat {})) => {}
            // A newer control plane's message, which this version does not know.
            None => {}
        }
        Ok(())
    }

    fn update(&mut self, update: v1::Update) -> Result<(), Ended> {
        let version = update.version.clone();
        let taken = self.agent.known.borrow_mut().take(update);
        match taken {
            Ok(Taken { unwanted, faults }) => {
                self.agent.status.updated(&version);
                self.publish();
                if self.agent.known.borrow().is_complete() {
                    (self.agent.hooks.informed)();
                }
                self.say(Say::Verdict(verdict::taken(version, faults)))?;
                let again = self.agent.known.borrow_mut().ask_again(Instant::now());
                self.say_if_any(unwanted, Say::Unsubscribe)?;
                self.say_if_any(again, Say::Subscribe)
            }
            Err(errors) => self.say(Say::Verdict(verdict::refused(version, errors))),
        }
    }

    /// Hands the newest picture to the data plane, with the host names in it as far as they are
    /// resolved.
    fn publish(&mut self) {
        let picture = self.agent.known.borrow().picture();
        self.hosts.want(picture.hosts());
        (self.agent.hooks.publish)(self.mapper.map(&picture, self.hosts.known(), now_us()));
    }

    /// Asks for what the data plane wants, and for whatever else it wants meanwhile.
    fn ask(&self, first: Want, more: &mut mpsc::Receiver<Want>) -> Result<(), Ended> {
        let gone = self.agent.known.borrow_mut().make_room();
        self.say_if_any(gone, Say::Unsubscribe)?;
        let mut subscription = v1::Subscription::default();
        let mut next = Some(first);
        while let Some(want) = next {
            if self.agent.known.borrow_mut().ask(&want, Instant::now()) {
                match want {
                    Want::Service(service) => subscription.services.push((&service).into()),
                    Want::Address(address) => subscription.addresses.push(address.to_string()),
                }
            }
            next = more.try_recv().ok();
        }
        if subscription == v1::Subscription::default() {
            return Ok(());
        }
        debug!(
            services = subscription.services.len(),
            addresses = subscription.addresses.len(),
            "asking"
        );
        self.say(Say::Subscribe(subscription))
    }

    fn sweep(&mut self) -> Result<(), Ended> {
        let was_used = &*self.agent.hooks.was_used;
        let gone = self.agent.known.borrow_mut().sweep(Instant::now(), was_used);
        if gone == v1::Subscription::default() {
            return Ok(());
        }
        self.publish();
        self.say(Say::Unsubscribe(gone))
    }

    /// Offers the app's ports, unless it is about to leave.
    fn register(&self) -> Result<(), Ended> {
        let workload = &self.agent.workload;
        let Some(Offer { address, ports }) = &workload.offer else {
            (self.agent.hooks.registered)();
            return Ok(());
        };
        if self.agent.has_left.get() {
            return self.say(Say::Withdraw(v1::Withdrawal {}));
        }
        let port = |port: &super::OfferedPort| v1::Port {
            name: port.name.clone().unwrap_or_default(),
            port: u32::from(port.port),
            mesh_port: if port.mesh_port == port.port { 0 } else { u32::from(port.mesh_port) },
            protocol: protocol_number(port.protocol),
        };
        self.say(Say::Register(v1::Registration {
            address: address.map(|address| address.to_string()).unwrap_or_default(),
            labels: workload.labels.clone().into_iter().collect(),
            zone: workload.zone.clone().unwrap_or_default(),
            ports: ports.iter().map(port).collect(),
        }))
    }

    fn judged(&self, errors: Vec<String>) {
        if errors.is_empty() {
            info!(workload = self.agent.workload.name, "registered");
            (self.agent.hooks.registered)();
        } else {
            error!(
                workload = self.agent.workload.name,
                "the control plane refused the registration, no service sends here: {}",
                errors.join("; ")
            );
        }
        self.agent.status.registration(errors);
    }

    fn say_if_any(
        &self,
        names: v1::Subscription,
        message: fn(v1::Subscription) -> Say,
    ) -> Result<(), Ended> {
        if names == v1::Subscription::default() { Ok(()) } else { self.say(message(names)) }
    }

    fn say(&self, message: Say) -> Result<(), Ended> {
        let sent = self.say.try_send(FromSidecar { message: Some(message) });
        sent.map_err(|_| Ended::Silent)
    }
}
