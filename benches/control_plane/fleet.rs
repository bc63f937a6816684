//! Simulated sidecars: each holds a session, takes what it is told, and comes back when it breaks.
//!
//! All on this thread. What happens to them is written on one board, which the measurements read.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use outrigger::agent::session::{Ended, Pace, Settings, dial, enroll};
use outrigger::identity::Svid;
use outrigger::model::{SpiffeId, TrustDomain};
use outrigger::wire::v1::from_sidecar::Message as Say;
use outrigger::wire::v1::mesh_client::MeshClient;
use outrigger::wire::v1::service_answer::Answer;
use outrigger::wire::v1::to_sidecar::Message as Heard;
use outrigger::wire::v1::{self, FromSidecar, ToSidecar};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::NAMESPACE;
use super::plane::{Plane, service};

/// What is left of every certificate: too much for anybody to hurry.
const LASTING: Duration = Duration::from_secs(24 * 60 * 60);
const ACCOUNTS: usize = 10;
const CERTIFICATES_EACH: usize = 20;
/// Services that each follows.
pub const FOLLOWED: usize = 5;
/// New ones a second: below what the control plane admits, so that few are sent away.
const PER_SECOND: usize = 150;
/// For the answer to a call.
const PATIENCE: Duration = Duration::from_secs(120);
/// Nothing that is waited for takes this long, also where many others use the machine.
const LONGEST: Duration = Duration::from_secs(900);

/// What happened.
#[derive(Default)]
pub struct Board {
    /// Sessions that stand now.
    pub standing: Cell<usize>,
    /// When each was welcomed.
    pub welcomed: RefCell<Vec<Instant>>,
    /// When each was told all that it follows, after it was welcomed.
    pub informed: RefCell<Vec<Instant>>,
    /// What is waited for; `None`: any change of one endpoint of the first service.
    pub awaited: RefCell<Option<Change>>,
    /// When each heard of it.
    pub told: RefCell<Vec<Instant>>,
    /// When a registration was answered, or taken back.
    pub answered: Cell<Option<Instant>>,
    /// How often one was told to come back later.
    pub sent_away: Cell<usize>,
    bell: Notify,
}

/// One endpoint of a service comes or goes.
pub struct Change {
    pub service: String,
    pub comes: bool,
}

impl Board {
    /// What is heard from now on counts as news of this.
    pub fn await_change(&self, change: Change) {
        *self.awaited.borrow_mut() = Some(change);
        self.told.borrow_mut().clear();
    }

    /// Whether a registration was answered since this was last taken.
    pub fn is_answered(&self) -> bool {
        self.answered.get().is_some()
    }

    /// What happened so far is over with.
    pub fn forget(&self) {
        self.welcomed.borrow_mut().clear();
        self.informed.borrow_mut().clear();
        self.sent_away.set(0);
    }

    /// One endpoint came or went, and it is the one that is waited for.
    fn awaits(&self, answer: &v1::ServiceAnswer) -> bool {
        let Some(Answer::Endpoints(delta)) = &answer.answer else { return false };
        let Some(name) = &answer.name else { return false };
        match (&*self.awaited.borrow(), delta.upserted.len(), delta.removed.len()) {
            (None, 1, 0) | (None, 0, 1) => name.name == service(0),
            (Some(change), 1, 0) => change.comes && name.name == change.service,
            (Some(change), 0, 1) => !change.comes && name.name == change.service,
            _ => false,
        }
    }

    /// Waits until something is so.
    ///
    /// # Panics
    /// When it takes too long.
    pub async fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let watching = async {
            while !holds(self) {
                self.bell.notified().await;
            }
        };
        let held = timeout(LONGEST, watching).await;
        held.unwrap_or_else(|_| panic!("not within {LONGEST:?}: {what}"));
    }
}

/// All of them.
pub struct Fleet {
    pub board: Rc<Board>,
    settings: Settings,
    svids: Vec<Svid>,
    /// Of the workloads; where there are fewer than sidecars, the others' are made up.
    names: Vec<String>,
    services: usize,
    all: Vec<Rc<Sidecar>>,
}

struct Sidecar {
    board: Rc<Board>,
    settings: Settings,
    svid: Svid,
    workload: String,
    services: Vec<v1::ServiceName>,
    /// Of the last update.
    version: RefCell<String>,
    /// Into the session, while it stands.
    say: RefCell<Option<mpsc::Sender<FromSidecar>>>,
}

impl Fleet {
    /// Enrols for the certificates that all will share; nobody connects yet.
    pub async fn enroll(plane: &Plane, services: usize) -> Self {
        let (settings, trust_domain) = (plane.settings(), TrustDomain::default());
        let mut svids = Vec::new();
        for account in 0..ACCOUNTS {
            let account = format!("client-{account}");
            plane.grant(&account, CERTIFICATES_EACH as u32).await;
            let id = SpiffeId::new(&trust_domain, NAMESPACE, &account).expect("a legal id");
            for _ in 0..CERTIFICATES_EACH {
                let enrolled = enroll(&settings, &trust_domain, &id, &None, &mut None).await;
                svids.push(enrolled.expect("the token is good").svid);
            }
        }
        Self { svids, ..Self::of_pods(plane, services) }
    }

    /// None yet: each comes with a pod's name and certificate.
    pub fn of_pods(plane: &Plane, services: usize) -> Self {
        Self {
            board: Rc::default(),
            settings: plane.settings(),
            svids: Vec::new(),
            names: Vec::new(),
            services,
            all: Vec::new(),
        }
    }

    /// The next ones to be added are the sidecars of these pods.
    pub fn equip(&mut self, pods: Vec<(String, Svid)>) {
        let (names, svids): (Vec<String>, Vec<Svid>) = pods.into_iter().unzip();
        self.names.extend(names);
        self.svids.extend(svids);
    }

    /// Adds sidecars until there are so many, and waits until all are welcome and were told what
    /// they follow. `choose` says which service the nth of a sidecar is.
    pub async fn grow(&mut self, count: usize, choose: impl Fn(usize, usize) -> usize) {
        let begun = Instant::now();
        let before = self.all.len();
        while self.all.len() < count {
            let index = self.all.len();
            let name = |nth| v1::ServiceName {
                name: service(choose(index, nth) % self.services),
                namespace: NAMESPACE.into(),
                port: 80,
            };
            let sidecar = Rc::new(Sidecar {
                board: Rc::clone(&self.board),
                settings: self.settings.clone(),
                svid: self.svids[index % self.svids.len()].clone(),
                workload: self.names.get(index).cloned().unwrap_or_else(|| format!("w-{index}")),
                services: (0..FOLLOWED).map(name).collect(),
                version: RefCell::default(),
                say: RefCell::default(),
            });
            tokio::task::spawn_local(Rc::clone(&sidecar).live());
            self.all.push(sidecar);
            let due = (self.all.len() - before) as f64 / PER_SECOND as f64;
            tokio::time::sleep_until(begun + Duration::from_secs_f64(due)).await;
        }
        let informed = |sidecar: &Rc<Sidecar>| !sidecar.version.borrow().is_empty();
        let all = &self.all;
        self.board.until("all are connected", |_| all.iter().all(informed)).await;
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Says something in one's session.
    ///
    /// # Panics
    /// When it has none.
    pub fn say(&self, index: usize, message: Say) {
        let say = self.all[index].say.borrow();
        let say = say.as_ref().expect("its session stands");
        say.try_send(FromSidecar { message: Some(message) }).expect("the queue is not full");
    }
}

impl Sidecar {
    async fn live(self: Rc<Self>) {
        let mut pace = Pace::from_system();
        loop {
            let ended = self.session(&mut pace).await;
            if self.say.borrow_mut().take().is_some() {
                self.board.standing.set(self.board.standing.get() - 1);
                self.board.bell.notify_one();
            }
            if let Ended::ComeBack(_) = ended {
                self.board.sent_away.set(self.board.sent_away.get() + 1);
            }
            sleep(pace.pause(&ended, LASTING)).await;
        }
    }

    async fn session(&self, pace: &mut Pace) -> Ended {
        let dialling = dial(&self.settings, &TrustDomain::default(), Some(&self.svid), &None);
        let channel = match dialling {
            Ok(dialling) => dialling.await,
            Err(error) => Err(error),
        };
        let channel = match channel {
            Ok(channel) => channel,
            Err(error) => return Ended::from(error),
        };
        let (say, said) = mpsc::channel(16);
        let hello = v1::Hello {
            software: "outrigger-proxy bench".into(),
            workload: self.workload.clone(),
            version: self.version.borrow().clone(),
            subscription: Some(v1::Subscription {
                services: self.services.clone(),
                addresses: Vec::new(),
            }),
            implied: Vec::new(),
            decides_by_rules: true,
            reads_tokens: true,
            limits_rates: true,
            acknowledges_bundles: false,
        };
        let hello = FromSidecar { message: Some(Say::Hello(hello)) };
        say.try_send(hello).expect("the queue is new");
        let mut client = MeshClient::new(channel);
        match timeout(PATIENCE, client.session(ReceiverStream::new(said))).await {
            Err(_) => Ended::Silent,
            Ok(Err(status)) => Ended::from(status),
            Ok(Ok(answer)) => self.follow(answer.into_inner(), &say, pace).await,
        }
    }

    async fn follow(
        &self,
        mut heard: Streaming<ToSidecar>,
        say: &mpsc::Sender<FromSidecar>,
        pace: &mut Pace,
    ) -> Ended {
        let mut is_informed = false;
        let mut beats = interval(Duration::from_secs(5));
        beats.tick().await;
        loop {
            let answer = tokio::select! {
                message = heard.message() => match message {
                    Ok(Some(message)) => self.hear(message, say, pace, &mut is_informed),
                    Ok(None) => return Ended::Closed,
                    Err(status) => return Ended::from(status),
                },
                _ = beats.tick() => Some(Say::Heartbeat(v1::Heartbeat {})),
            };
            if let Some(message) = answer
                && say.try_send(FromSidecar { message: Some(message) }).is_err()
            {
                return Ended::Silent;
            }
        }
    }

    fn hear(
        &self,
        message: ToSidecar,
        say: &mpsc::Sender<FromSidecar>,
        pace: &mut Pace,
        is_informed: &mut bool,
    ) -> Option<Say> {
        let (now, board) = (Instant::now(), &self.board);
        let answer = match message.message? {
            Heard::Welcome(_) => {
                pace.succeeded(LASTING);
                *self.say.borrow_mut() = Some(say.clone());
                board.standing.set(board.standing.get() + 1);
                board.welcomed.borrow_mut().push(now);
                None
            }
            Heard::Update(update) => {
                // The first one says all of it.
                if !std::mem::replace(is_informed, true) {
                    board.informed.borrow_mut().push(now);
                }
                if update.services.iter().any(|answer| board.awaits(answer)) {
                    board.told.borrow_mut().push(now);
                }
                self.version.borrow_mut().clone_from(&update.version);
                Some(Say::Verdict(v1::Verdict {
                    version: update.version,
                    errors: Vec::new(),
                    faults: Vec::new(),
                }))
            }
            Heard::Registration(v1::RegistrationAnswer { errors }) => {
                assert!(errors.is_empty(), "{errors:?}");
                board.answered.set(Some(now));
                None
            }
            Heard::Withdrawn(_) => {
                board.answered.set(Some(now));
                None
            }
            _ => None,
        };
        board.bell.notify_one();
        answer
    }
}
