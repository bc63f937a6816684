//! The one task that writes the Secret and follows it.
//!
//! What stands there is either known, then the next write is made from it, or in doubt, then it is
//! read first: after a conflict, and after an answer that did not come. A group that was in such a
//! write is looked for by its mark before it is written again, so that nothing is done twice and
//! nothing that was done is called failed. Watches lag: what they tell of before is passed over.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use kube::runtime::watcher;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tracing::{error, info, warn};

use super::Picture;
use super::apply::{Applied, apply};
use super::document::{Document, MOST_BYTES, size};
use crate::control::kube::asking::Error;
use crate::control::kube::secret::{Place, Seen};
use crate::control::store::{CommitError, Write};
use crate::http::respond::chain;
use crate::runtime::clock::Rng;

/// Commits in one update, at most. Arbitrary.
const GROUP: usize = 256;

/// After this time a group's authors are told that it failed: they have waited long.
const PATIENCE: Duration = Duration::from_secs(20);

/// The longest pause before another try after a conflict.
const PAUSE: Duration = Duration::from_millis(50);

/// Between two readings, whatever the watch tells: one that died without a word is noticed so soon.
const LOOK: Duration = Duration::from_secs(30);

/// A commit that somebody waits for.
pub(super) struct Asked {
    pub writes: Vec<Write>,
    pub answer: oneshot::Sender<Result<u64, CommitError>>,
}

/// Why a group was not written, or not known to be.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{secret}")]
    Server {
        secret: String,
        #[source]
        source: Error,
    },
    #[error(
        "{secret} would have {bytes} bytes, and Kubernetes takes {MOST_BYTES} at most: revoke or \
         remove what is no longer needed, or let machines outside the cluster join a control plane \
         of their own"
    )]
    TooLarge { secret: String, bytes: usize },
    #[error("what stands in {secret} can't be used: {why}")]
    Damaged { secret: String, why: String },
    #[error("others wrote {secret} all the time: try again")]
    Contended { secret: String },
}

pub(super) struct Writer {
    place: Place,
    picture: Arc<Picture>,
    seen: Seen,
    /// What stands there may be something else than what was seen.
    in_doubt: bool,
    /// Why what stands there is no document of ours.
    damage: Option<String>,
    rng: Rng,
}

/// A write that may have been made.
struct Attempt {
    mark: String,
    applied: Applied,
}

impl Writer {
    pub fn new(place: Place, seen: Seen, picture: Arc<Picture>) -> Self {
        let rng = Rng::from_system();
        Self { place, picture, seen, in_doubt: false, damage: None, rng }
    }

    /// Until nobody can ask any more, and what was asked is answered.
    pub async fn run(mut self, mut asked: mpsc::Receiver<Asked>) {
        let mut events = pin!(self.place.watch());
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut unheard = false;
        loop {
            tokio::select! {
                _ = looks.tick() => {
                    if let Err(failure) = self.look().await {
                        let why = chain(&failure);
                        if self.picture.watch.lost(why.clone()) && !unheard {
                            warn!("what was read before stays: {why}");
                        }
                        unheard = true;
                    }
                }
                first = asked.recv() => {
                    let Some(first) = first else { return };
                    let mut group = vec![first];
                    while group.len() < GROUP && let Ok(next) = asked.try_recv() {
                        group.push(next);
                    }
                    self.commit(group).await;
                }
                Some(event) = events.next() => match event {
                    Ok(seen) => {
                        unheard = false;
                        self.picture.heard();
                        self.hear(seen).await;
                    }
                    Err(error) => {
                        self.unheard(&error, unheard);
                        unheard = true;
                    }
                },
            }
        }
    }

    fn unheard(&self, error: &watcher::Error, again: bool) {
        self.picture.watch.lost(chain(error));
        if !again {
            let (secret, error) = (self.place.shown(), chain(error));
            warn!("{secret} can't be followed; what was read before stays: {error}");
        }
    }

    /// Writes a group and answers everybody in it.
    async fn commit(&mut self, mut group: Vec<Asked>) {
        // In halves, when it is too large as a whole.
        let mut later: Vec<Vec<Asked>> = Vec::new();
        loop {
            match self.write(&group).await {
                Ok(verdicts) => {
                    for (asked, verdict) in group.drain(..).zip(verdicts) {
                        let _ = asked.answer.send(verdict);
                    }
                }
                Err(Failure::TooLarge { .. }) if group.len() > 1 => {
                    later.push(group.split_off(group.len() / 2));
                    continue;
                }
                Err(failure) => {
                    error!(error = chain(&failure), commits = group.len(), "the store can't write");
                    let failure = Arc::new(failure);
                    for asked in group.drain(..) {
                        let failure = Box::new(Arc::clone(&failure));
                        let _ = asked.answer.send(Err(CommitError::Write(failure)));
                    }
                }
            }
            match later.pop() {
                Some(next) => group = next,
                None => return,
            }
        }
    }

    async fn write(&mut self, group: &[Asked]) -> Result<Vec<Result<u64, CommitError>>, Failure> {
        let end = Instant::now() + PATIENCE;
        let mut attempts: Vec<Attempt> = Vec::new();
        loop {
            if self.in_doubt {
                self.look().await?;
                let standing = self.picture.document();
                let made = attempts.iter().position(|attempt| standing.has(&attempt.mark));
                if let Some(made) = made {
                    return Ok(attempts.swap_remove(made).applied.verdicts);
                }
            }
            if let Some(why) = &self.damage {
                return Err(Failure::Damaged { secret: self.place.shown(), why: why.clone() });
            }
            if Instant::now() > end {
                return Err(Failure::Contended { secret: self.place.shown() });
            }
            let writes = group.iter().map(|asked| &*asked.writes);
            let mut applied = apply(self.picture.document(), writes);
            if applied.made.is_empty() {
                return Ok(applied.verdicts);
            }
            let mark = format!("{:016x}", self.rng.next_u64());
            let data = applied.document.write(&mark);
            let bytes = size(&data);
            if bytes > MOST_BYTES {
                return Err(Failure::TooLarge { secret: self.place.shown(), bytes });
            }
            match self.place.put(&self.seen, data).await {
                Ok(seen) => {
                    self.seen = seen;
                    self.picture.heard();
                    self.picture.turn(applied.document, &applied.made);
                    return Ok(applied.verdicts);
                }
                Err(source) if source.is_settled() && !source.is_conflict() => {
                    return Err(self.failed(source));
                }
                // A conflict too may be one with ourselves: the client tries again by itself.
                Err(_) => {
                    self.in_doubt = true;
                    attempts.push(Attempt { mark, applied });
                    sleep(PAUSE.mul_f64(self.rng.unit())).await;
                }
            }
        }
    }

    /// Takes over what a watch told.
    async fn hear(&mut self, seen: Seen) {
        if seen.version() == self.seen.version() || seen.is_before(&self.seen) {
            return;
        }
        // A removal has no version: it may be long past.
        let taken = if seen.is_there() { self.take(seen).await } else { self.look().await };
        if let Err(failure) = taken {
            self.in_doubt = true;
            warn!("{}", chain(&failure));
        }
    }

    /// Reads what stands there.
    async fn look(&mut self) -> Result<(), Failure> {
        let seen = self.place.read().await.map_err(|source| self.failed(source))?;
        self.picture.heard();
        self.in_doubt = false;
        self.take(seen).await
    }

    /// Makes what stands there what is known; or puts what is known there, when that is newer.
    async fn take(&mut self, seen: Seen) -> Result<(), Failure> {
        self.seen = seen;
        self.damage = None;
        let secret = self.place.shown();
        let read = Document::read(&self.seen.data());
        let known = self.picture.document();
        let stands = match read {
            Ok(stands) => stands,
            Err(fault) => {
                let why = chain(&fault);
                error!(
                    "{secret} is damaged, and nothing more is written until it is put right; what \
                     it held before stays in use ({why}): put it back from a backup, or remove it, \
                     and it is written again as it was"
                );
                self.damage = Some(why);
                return Ok(());
            }
        };
        if stands.revision < known.revision {
            return self.put_back(known, &stands).await;
        }
        if !stands.is_same(&known) {
            if stands.revision == known.revision {
                error!("{secret} was changed by hand; what it says counts from now on");
            }
            let commits = stands.since(&known);
            self.picture.turn(stands, &commits);
        }
        Ok(())
    }

    /// Somebody removed what was acknowledged, or put an old copy in its place.
    async fn put_back(&mut self, mut known: Document, stands: &Document) -> Result<(), Failure> {
        let (secret, found, was) = (self.place.shown(), stands.revision, known.revision);
        warn!(
            "{secret} is at revision {found}, and {was} was acknowledged: what was known is written \
             again; to go back to a backup, stop every control plane first"
        );
        let mark = format!("{:016x}", self.rng.next_u64());
        let data = known.write(&mark);
        match self.place.put(&self.seen, data).await {
            Ok(seen) => {
                self.seen = seen;
                self.picture.turn(known, &[]);
                info!("{secret} is there again");
                Ok(())
            }
            Err(error) => {
                self.in_doubt = true;
                // Another replica did it: its watch tells.
                if error.is_conflict() { Ok(()) } else { Err(self.failed(error)) }
            }
        }
    }

    fn failed(&self, source: Error) -> Failure {
        Failure::Server { secret: self.place.shown(), source }
    }
}
