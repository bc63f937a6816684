//! One question to all other replicas at once, and what each of them says; and taps at all of them.
//!
//! It has a thread of its own, which keeps the connections: whoever looks at the mesh waits on a
//! thread that may wait. What was said counts as new for a second; who asks the same meanwhile gets
//! the same, so that many who look at a dashboard ask others no more often than one does.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::Replicas;
use super::link::{Link, Own};
use super::tapping::{Elsewhere, State, Tapping};
use crate::control::Settings;
use crate::control::api::Tap;
use crate::control::ca::Authority;
use crate::control::catalog::Catalog;
use crate::control::memory::part::{Asked, Part, Question};
use crate::model::TrustDomain;
use crate::runtime::supervise::vital_thread;
use crate::runtime::workers::local_runtime;
use crate::wire::v1;

/// How long what was said counts as new, and how many questions are kept.
const FRESH: Duration = Duration::from_secs(1);
const KEPT: usize = 64;
/// Questions that are asked at once, and that wait for it. Arbitrary: more people than look at one
/// control plane.
const AT_ONCE: usize = 16;
const WAITING: usize = 64;

/// Who can be asked what they know.
pub struct Others {
    replicas: Replicas,
    own: Arc<str>,
    questions: mpsc::Sender<(Question, oneshot::Sender<Answers>)>,
    taps: mpsc::Sender<Tapping>,
}

/// All replicas by name, and the parts of those who answered.
type Answers = Arc<(Vec<Asked>, Vec<Arc<Part>>)>;

/// A question that is on its way.
pub struct Asking {
    own: Arc<str>,
    answers: Option<oneshot::Receiver<Answers>>,
}

impl Others {
    /// Those of this control plane, where there may be others.
    ///
    /// # Errors
    /// The system's, when it has no more threads.
    pub fn of(
        settings: &Settings,
        catalog: &Arc<Catalog>,
        authority: &Arc<Authority>,
    ) -> io::Result<Option<Self>> {
        let Some(of) = &settings.kubernetes else { return Ok(None) };
        let replicas = Replicas {
            own: of.replica.clone(),
            namespace: of.namespace.clone(),
            port: settings.listen.port(),
        };
        let (catalog, authority) = (Arc::clone(catalog), Arc::clone(authority));
        Self::begin(replicas, catalog, authority, settings.trust_domain.clone()).map(Some)
    }

    /// Starts what asks. It ends with this.
    ///
    /// # Errors
    /// The system's, when it has no more threads.
    pub fn begin(
        of: Replicas,
        catalog: Arc<Catalog>,
        authority: Arc<Authority>,
        trust_domain: TrustDomain,
    ) -> io::Result<Self> {
        let (questions, asked) = mpsc::channel(WAITING);
        let (taps, tapped) = mpsc::channel(WAITING);
        let (replicas, own) = (of.clone(), of.own.as_str().into());
        let asker = move || Asker {
            of,
            catalog,
            own: Rc::new(Own { trust_domain, authority }),
            links: RefCell::default(),
            kept: RefCell::default(),
        };
        thread::Builder::new().name("replicas".into()).spawn(move || {
            vital_thread("whoever asks other replicas", || match local_runtime() {
                Ok(runtime) => runtime.block_on(Rc::new(asker()).serve(asked, tapped)),
                // Who asks hears that nobody could be asked.
                Err(error) => tracing::error!(%error, "no runtime to ask other replicas on"),
            });
        })?;
        Ok(Self { replicas, own, questions, taps })
    }

    /// This one and the others, by name.
    pub fn all(&self, catalog: &Catalog) -> Vec<(String, SocketAddr)> {
        self.replicas.all(catalog)
    }

    /// Asks all of them. Never waits.
    pub fn ask(&self, question: &Question) -> Asking {
        let (reply, answers) = oneshot::channel();
        let sent = self.questions.try_send((question.clone(), reply)).is_ok();
        Asking { own: Arc::clone(&self.own), answers: sent.then_some(answers) }
    }

    /// Follows a tap at all of them, until what is given back is dropped: how it goes at each.
    pub fn tap(
        &self,
        catalog: &Catalog,
        order: v1::TapRequest,
        tap: Arc<Tap>,
    ) -> watch::Receiver<Elsewhere> {
        let others = self.replicas.others(catalog).into_iter();
        let asked = others.map(|(name, address)| (name, (address, State::Asked))).collect();
        let (told, how) = watch::channel(asked);
        if let Err(unsent) = self.taps.try_send(Tapping { order, tap, told }) {
            let why = "too many taps wait to be handed on: try again";
            let silent = |(_, state): &mut (SocketAddr, State)| *state = State::Silent(why.into());
            unsent.into_inner().told.send_modify(|told| told.values_mut().for_each(silent));
        }
        how
    }
}

impl Asking {
    /// All replicas by name, and the parts of the others who answered. To be called where a thread
    /// may wait.
    pub fn wait(self) -> (Vec<Asked>, Vec<Arc<Part>>) {
        let answers = self.answers.and_then(|answers| answers.blocking_recv().ok());
        answers.map_or_else(|| unasked(&self.own), |answers| (*answers).clone())
    }
}

/// Too many ask, or nothing asks any more: nobody knows who the others are.
fn unasked(own: &Arc<str>) -> (Vec<Asked>, Vec<Arc<Part>>) {
    let asked = |replica: &str, silence: Option<&str>| Asked {
        replica: replica.into(),
        address: String::new(),
        silence: silence.map(str::to_owned),
    };
    let why = "too many questions wait to be asked: try again";
    (vec![asked(own, None), asked("others", Some(why))], Vec::new())
}

struct Asker {
    of: Replicas,
    catalog: Arc<Catalog>,
    own: Rc<Own>,
    links: RefCell<HashMap<String, Rc<Link>>>,
    kept: RefCell<HashMap<Question, Rc<Answered>>>,
}

/// When it was answered, and what; whoever asks holds it.
type Answered = Mutex<Option<(Instant, Answers)>>;

impl Asker {
    async fn serve(
        self: Rc<Self>,
        mut asked: mpsc::Receiver<(Question, oneshot::Sender<Answers>)>,
        mut tapped: mpsc::Receiver<Tapping>,
    ) {
        let asker = Rc::clone(&self);
        tokio::task::spawn_local(async move {
            while let Some(tapping) = tapped.recv().await {
                let asker = Rc::clone(&asker);
                tokio::task::spawn_local(async move {
                    tapping.follow(&asker.of, &asker.catalog, &asker.own).await;
                });
            }
        });
        let places = Arc::new(Semaphore::new(AT_ONCE));
        while let Some((question, reply)) = asked.recv().await {
            // Never closed.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let asker = Rc::clone(&self);
            tokio::task::spawn_local(async move {
                // Who does not wait any more needs no answer.
                let _ = reply.send(asker.answers(question).await);
                drop(place);
            });
        }
    }

    /// Those of less than a second ago, or new ones.
    async fn answers(self: Rc<Self>, question: Question) -> Answers {
        let all = self.of.all(&self.catalog);
        if all.iter().all(|(name, _)| *name == self.of.own) {
            return self.together(&all, HashMap::new());
        }
        let Some(answered) = self.answered(&question) else {
            return self.asked(all, question).await;
        };
        let mut answered = answered.lock().await;
        if let Some((_, answers)) = answered.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return Arc::clone(answers);
        }
        let answers = self.asked(all, question).await;
        *answered = Some((Instant::now(), Arc::clone(&answers)));
        answers
    }

    /// Where answers are kept; `None`: there are too many others.
    fn answered(&self, question: &Question) -> Option<Rc<Answered>> {
        let mut kept = self.kept.borrow_mut();
        // One that is being asked is held, and new.
        let is_fresh = |of: &Answered| {
            of.try_lock().map_or(true, |of| of.as_ref().is_some_and(|(at, _)| at.elapsed() < FRESH))
        };
        kept.retain(|of, answered| of == question || is_fresh(answered));
        if let Some(answered) = kept.get(question) {
            return Some(Rc::clone(answered));
        }
        (kept.len() < KEPT).then(|| Rc::clone(kept.entry(question.clone()).or_default()))
    }

    async fn asked(self: &Rc<Self>, all: Vec<(String, SocketAddr)>, question: Question) -> Answers {
        let question = Rc::new(question);
        let mut asking = JoinSet::new();
        for link in self.links_to(&all) {
            let (asker, question) = (Rc::clone(self), Rc::clone(&question));
            asking.spawn_local(async move {
                let answer = link.ask(&asker.own, &question).await;
                (link.name.clone(), answer)
            });
        }
        // One that panicked is one that did not answer.
        let mut answers = HashMap::new();
        while let Some(answer) = asking.join_next().await {
            answers.extend(answer.ok());
        }
        self.together(&all, answers)
    }

    /// The ways to all others as they are now; those to whoever is gone are gone with them.
    fn links_to(&self, all: &[(String, SocketAddr)]) -> Vec<Rc<Link>> {
        let mut links = self.links.borrow_mut();
        links.retain(|name, link| all.iter().any(|(n, at)| n == name && *at == link.address));
        let others = all.iter().filter(|(name, _)| *name != self.of.own);
        let link = |(name, address): &(String, SocketAddr)| {
            let new = || Rc::new(Link::new(name.clone(), *address));
            Rc::clone(links.entry(name.clone()).or_insert_with(new))
        };
        others.map(link).collect()
    }

    fn together(
        &self,
        all: &[(String, SocketAddr)],
        mut answers: HashMap<String, Result<Arc<Part>, String>>,
    ) -> Answers {
        let mut parts = Vec::new();
        let mut asked: Vec<Asked> = Vec::new();
        for (name, address) in all {
            let silence = match answers.remove(name) {
                _ if *name == self.of.own => None,
                Some(Ok(part)) => {
                    parts.push(part);
                    None
                }
                Some(Err(why)) => Some(why),
                None => Some("asking it broke; the log says how".to_owned()),
            };
            let (replica, address) = (name.as_str().into(), address.to_string());
            asked.push(Asked { replica, address, silence });
        }
        if asked.iter().all(|of| *of.replica != *self.of.own) {
            // The cluster has not said yet that this one is there.
            let (replica, address) = (self.of.own.as_str().into(), String::new());
            asked.push(Asked { replica, address, silence: None });
        }
        asked.sort_by(|a, b| a.replica.cmp(&b.replica));
        Arc::new((asked, parts))
    }
}
