//! Tokens and API keys that requests come with: found, verified once, and remembered.
//!
//! What is verified is kept by the token's SHA-256, so that it costs a look the next time; it counts
//! only where its issuer still does and the key that it was verified by is still there. Nobody waits
//! here: what has to be fetched is fetched by whoever follows [`Tokens::sources`], and a request that
//! needs it is told what to wait for. A doubt is a refusal.

mod api_keys;
mod asker;
mod cache;
mod fault;
mod intake;
mod issuer;
mod judging;
mod place;
mod ring;

#[cfg(test)]
mod tests;

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::resources::access_policy::{Judge, Jwt};
use cache::Cache;

pub use asker::{Asker, Question};
pub use fault::{Fault, Trouble};
pub use intake::{Cleared, Intake, Known, Presented, Wait};
pub use issuer::{By, Issuer, Verified};
pub use ring::{Ring, RingFacts};

/// Something that is to be fetched or asked, as long as it is followed.
#[derive(Clone, Debug)]
pub enum Source {
    Keys(Arc<Ring>),
    Answers(Arc<Asker>),
}

/// The issuers whose tokens count somewhere, and the tokens of theirs that were verified.
#[derive(Debug)]
pub struct Tokens {
    issuers: Mutex<Vec<Arc<Issuer>>>,
    cache: Arc<Cache>,
    sources: watch::Sender<Vec<Source>>,
    /// Rung when keys have changed.
    bell: watch::Sender<()>,
}

impl Tokens {
    /// `bell` is rung whenever what was right may be so no longer.
    pub fn new(bell: watch::Sender<()>) -> Self {
        Self {
            issuers: Mutex::default(),
            cache: Arc::default(),
            sources: watch::Sender::new(Vec::new()),
            bell,
        }
    }

    /// What is to be followed now.
    pub fn sources(&self) -> watch::Receiver<Vec<Source>> {
        self.sources.subscribe()
    }

    /// An issuer as a policy has it; the one that is there already, with its keys, if there is one.
    pub(super) fn issuer(&self, written: &Jwt) -> Arc<Issuer> {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let mut issuers = self.lock();
        if let Some(known) = issuers.iter().find(|issuer| issuer.written == *written) {
            return Arc::clone(known);
        }
        let by = match &written.judge {
            Judge::Keys(source) => {
                let known = issuers.iter().find_map(|issuer| match &issuer.by {
                    By::Keys(ring) if ring.source == *source => Some(Arc::clone(ring)),
                    _ => None,
                });
                By::Keys(known.unwrap_or_else(|| Ring::new(source.clone(), self.bell.clone())))
            }
            Judge::Introspection(asked) => {
                By::Answers(Asker::new(asked.clone(), written.expects.clone()))
            }
        };
        let issuer = Arc::new(Issuer::new(IDS.fetch_add(1, Relaxed), written.clone(), by));
        issuers.push(Arc::clone(&issuer));
        issuer
    }

    pub(super) fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }

    /// These count from now on, and no others.
    pub(super) fn settle(&self, used: &[Arc<Issuer>]) {
        let is_used = |issuer: &Arc<Issuer>| used.iter().any(|other| Arc::ptr_eq(other, issuer));
        let mut issuers = self.lock();
        issuers.retain(is_used);
        let mut sources: Vec<Source> = Vec::new();
        for issuer in issuers.iter() {
            match &issuer.by {
                By::Answers(asker) => sources.push(Source::Answers(Arc::clone(asker))),
                By::Keys(ring) => {
                    let is_same =
                        |of: &Source| matches!(of, Source::Keys(of) if Arc::ptr_eq(of, ring));
                    if !sources.iter().any(is_same) {
                        sources.push(Source::Keys(Arc::clone(ring)));
                    }
                }
            }
        }
        drop(issuers);
        self.sources.send_replace(sources);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Issuer>>> {
        self.issuers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Tokens {
    /// Nobody hears of changes.
    fn default() -> Self {
        Self::new(watch::Sender::new(()))
    }
}
