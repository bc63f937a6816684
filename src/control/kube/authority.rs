//! The control plane's keys in one Secret: the authority's root and issuer, the key of join tokens,
//! and the operators' token.
//!
//! Every replica signs with the same issuer. Whoever comes first makes what is missing; the others
//! find that the Secret is there already and read what the winner wrote. From then on the leader
//! alone writes of itself: it renews the issuer, takes the steps of a root's replacement, and puts the
//! Secret back when somebody removed it; what people order is written by the replica that they asked.
//! The others see the change and take it into use. What can't be read or used changes nothing: a replica goes
//! on with what it has, and says what is wrong.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use kube::Client;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use super::asking::Error;
use super::secret::{Data, Place, Seen};
use crate::control::OperatorToken;
use crate::control::ca::{self, Authority, Change, Imported, Keeper, Lifetimes};
use crate::control::custody::{self, Custody, Order, Refused};
use crate::control::tokens::{self, Signer};
use crate::http::respond::chain;
use crate::model::TrustDomain;

/// The Secret's name.
pub const SECRET: &str = "outrigger-control-plane";

const TOKENS_KEY: &str = "tokens.key";
const OPERATOR_TOKEN: &str = "operator.token";

/// Between two looks, whatever the watch tells: one that died without a word is noticed so soon.
const LOOK: Duration = Duration::from_secs(30);

/// At a start, somebody else may be first this often. Arbitrary: replicas are few.
const TRIES: usize = 16;

/// Why a replica can't start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{secret} can't be read or written")]
    Secret {
        secret: String,
        #[source]
        source: Error,
    },
    #[error("the certificate authority can't be opened")]
    Authority(#[from] ca::Error),
    #[error("the key of the join tokens can't be opened")]
    Tokens(#[from] tokens::Error),
    #[error("{0} is empty: write a long random text into it, or remove it to get a new one")]
    NoOperatorToken(String),
    #[error("the machine gives no random numbers")]
    Random,
}

/// What the Secret is for, ready for use.
pub struct Opened {
    pub authority: Arc<Authority>,
    /// Takes changes of it, as long as the Secret is kept.
    pub custody: Custody,
    pub signer: Arc<Signer>,
    pub operator: OperatorToken,
    pub keys: Keys,
}

/// The Secret, to be [kept](Keys::keep) for as long as the process runs.
pub struct Keys {
    place: Place,
    authority: Arc<Authority>,
    orders: mpsc::Receiver<Order>,
    /// What stood there when we looked last.
    seen: Seen,
    /// The newest that was all right.
    good: Data,
    /// Whether what stands there is.
    is_sound: bool,
}

/// Reads the Secret of the control plane's namespace; makes what is missing in it.
///
/// # Errors
/// When it can't be read or written, or something in it can't be used: it is left as it is.
pub async fn open(
    client: Client,
    namespace: &str,
    trust_domain: &TrustDomain,
    lifetimes: Lifetimes,
    with: Option<&Imported>,
) -> Result<Opened, OpenError> {
    let place = Place::new(client, namespace, SECRET);
    let failed = |source| OpenError::Secret { secret: place.shown(), source };
    let mut tries = 0;
    loop {
        tries += 1;
        let seen = place.read().await.map_err(failed)?;
        let draft = Draft::of(&place, seen.data());
        let now = SystemTime::now();
        let keeper = Box::new(draft.clone());
        let authority = Authority::kept_by(keeper, trust_domain, lifetimes, with, now)?;
        let pem = draft.part(TOKENS_KEY, || Ok(Signer::invent()?))?;
        let signer = Signer::of(&pem, &draft.path(TOKENS_KEY), trust_domain)?;
        let invent = || OperatorToken::invent().ok_or(OpenError::Random);
        let token = draft.part(OPERATOR_TOKEN, invent)?;
        let operator = OperatorToken::new(&String::from_utf8_lossy(&token));
        let operator = operator.ok_or_else(|| {
            OpenError::NoOperatorToken(draft.path(OPERATOR_TOKEN).display().to_string())
        })?;
        let good = draft.data();
        let seen = match good == seen.data() {
            true => seen,
            false => match place.put(&seen, good.clone()).await {
                Ok(seen) => seen,
                // It may have been written all the same: then it is found.
                Err(error) if tries < TRIES && (error.is_conflict() || !error.is_settled()) => {
                    continue;
                }
                Err(error) => return Err(failed(error)),
            },
        };
        let authority = Arc::new(authority);
        let (custody, orders) = custody::channel();
        let ours = Arc::clone(&authority);
        let keys = Keys { place, authority: ours, orders, seen, good, is_sound: true };
        return Ok(Opened { authority, custody, signer: Arc::new(signer), operator, keys });
    }
}

impl Keys {
    /// Follows the Secret, and as the leader looks after it; never ends.
    pub async fn keep(mut self, mut is_leader: watch::Receiver<bool>) {
        let mut events = pin!(self.place.watch());
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut unheard = false;
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Ok(seen)) => {
                        unheard = false;
                        // A removal has no version: it may be long past.
                        let fresh = match seen.is_there() {
                            true => seen,
                            false => self.place.read().await.unwrap_or(seen),
                        };
                        self.note(fresh);
                    }
                    Some(Err(error)) if !unheard => {
                        unheard = true;
                        let error = chain(&error);
                        warn!("{} can't be followed: {error}", self.place.shown());
                    }
                    Some(Err(_)) => {}
                    None => return,
                },
                _ = looks.tick() => if let Ok(seen) = self.place.read().await {
                    self.note(seen);
                },
                Ok(()) = is_leader.changed() => {}
                Some(Order { change, reply }) = self.orders.recv() => {
                    // Who does not wait any more needs no answer.
                    let _ = reply.send(self.make(&change, SystemTime::now()).await);
                }
            }
            let leads = *is_leader.borrow_and_update();
            if leads && let Err(error) = self.tend(SystemTime::now()).await {
                error!("{}: {}", self.place.shown(), chain(&*error));
            }
        }
    }

    /// What was looked at before is not looked at again: what is wrong with it was said.
    fn note(&mut self, seen: Seen) {
        let is_known =
            seen.is_there() == self.seen.is_there() && seen.version() == self.seen.version();
        if !is_known {
            self.take(seen, SystemTime::now());
        }
    }

    /// Takes what stands there into use.
    fn take(&mut self, seen: Seen, now: SystemTime) {
        if seen.is_before(&self.seen) {
            return;
        }
        let secret = self.place.shown();
        if !seen.is_there() {
            warn!("{secret} was removed: the leader puts it back");
            self.seen = seen;
            return;
        }
        let data = seen.data();
        let changed = seen.version() != self.seen.version();
        self.seen = seen;
        let draft = Draft::of(&self.place, data.clone());
        let followed = self.authority.follow(Box::new(draft), now);
        self.is_sound = followed.is_ok();
        match followed {
            Ok(is_new) => {
                if is_new {
                    info!("the roots and the issuer in {secret} are in use from now on");
                }
                for key in [TOKENS_KEY, OPERATOR_TOKEN] {
                    if changed && data.get(key) != self.good.get(key) {
                        warn!("{key} of {secret} changed: restart every replica to use it");
                    }
                }
                self.good = data;
            }
            Err(error) => {
                let error = chain(&error);
                error!("{secret} can't be used, and what it held before stays in use: {error}");
            }
        }
    }

    /// What only one may do.
    async fn tend(
        &mut self,
        now: SystemTime,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if !self.seen.is_there() {
            self.put(self.good.clone(), now).await?;
            info!("{} is there again", self.place.shown());
        }
        if !self.authority.is_renewal_due(now) {
            return Ok(());
        }
        if !self.is_sound {
            return Err("the issuer can't be renewed until what stands there is put right".into());
        }
        let draft = Draft::of(&self.place, self.seen.data());
        self.authority.change_in(Box::new(draft.clone()), Change::RotateIssuer, now)?;
        self.put(draft.data(), now).await
    }

    /// Makes a change in what stands there now; whichever replica was asked.
    async fn make(&mut self, change: &Change, now: SystemTime) -> Result<(), Refused> {
        let unkept = |error: &Error| Refused::Unkept(chain(error));
        let mut tries = 0;
        loop {
            tries += 1;
            let fresh = self.place.read().await.map_err(|error| unkept(&error))?;
            self.note(fresh);
            if !self.is_sound || !self.seen.is_there() {
                let why = "what stands there can't be used: the control plane's log says why";
                return Err(Refused::Unkept(format!("{}: {why}", self.place.shown())));
            }
            let (before, draft) = (self.seen.data(), Draft::of(&self.place, self.seen.data()));
            self.authority.change_in(Box::new(draft.clone()), change.clone(), now)?;
            let wanted = draft.data();
            if wanted == before {
                return Ok(());
            }
            match self.place.put(&self.seen, wanted.clone()).await {
                Ok(seen) => self.take(seen, now),
                Err(error) if error.is_conflict() && tries < TRIES => continue,
                Err(error) => {
                    // It may have been written all the same.
                    let stands = self.place.read().await.ok().filter(|is| is.data() == wanted);
                    self.take(stands.ok_or_else(|| unkept(&error))?, now);
                }
            }
            return if self.is_sound { Ok(()) } else { Err(unusable()) };
        }
    }

    /// Writes, if what was seen still stands there; takes over what stands there then.
    async fn put(
        &mut self,
        data: Data,
        now: SystemTime,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let put = self.place.put(&self.seen, data).await;
        let seen = match put {
            Ok(seen) => seen,
            Err(error) if error.is_conflict() || !error.is_settled() => self.place.read().await?,
            Err(error) => return Err(error.into()),
        };
        self.take(seen, now);
        Ok(())
    }
}

fn unusable() -> Refused {
    Refused::Unkept("it was written, and can't be used: the log says why".to_owned())
}

/// What a Secret held, and what is to be written into it.
#[derive(Clone)]
struct Draft {
    /// What stands for the folder in errors.
    place: PathBuf,
    parts: Arc<Mutex<Data>>,
}

impl Draft {
    fn of(place: &Place, data: Data) -> Self {
        Self { place: place.shown().into(), parts: Arc::new(Mutex::new(data)) }
    }

    fn data(&self) -> Data {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A part that is there, or a new one.
    fn part(
        &self,
        part: &str,
        invent: impl FnOnce() -> Result<String, OpenError>,
    ) -> Result<Vec<u8>, OpenError> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = parts.get(part) {
            return Ok(bytes.clone());
        }
        let bytes = invent()?.into_bytes();
        parts.insert(part.to_owned(), bytes.clone());
        Ok(bytes)
    }
}

impl Keeper for Draft {
    fn path(&self, part: &str) -> PathBuf {
        self.place.join(part)
    }

    fn read(&self, part: &str) -> Result<Option<Vec<u8>>, ca::Error> {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(parts.get(part).cloned())
    }

    fn write(&self, part: &str, pem: &[u8]) -> Result<(), ca::Error> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.insert(part.to_owned(), pem.to_owned());
        Ok(())
    }

    fn remove(&self, part: &str) -> Result<(), ca::Error> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.remove(part);
        Ok(())
    }

    fn is_shared(&self) -> bool {
        true
    }
}
