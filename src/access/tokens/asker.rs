//! Questions to an issuer about tokens that say nothing by themselves (RFC 7662).
//!
//! They wait in a short queue for whoever asks; what was answered goes where the next request looks.
//! The same token is asked about once, however many requests come with it meanwhile. An issuer that
//! does not answer keeps its tokens out.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value};
use tokio::sync::{mpsc, watch};

use super::cache::{Cache, Found, Hash};
use super::fault::Trouble;
use super::issuer::{Issuer, kept_for};
use crate::jwt::Expectation;
use crate::resources::access_policy::Introspection;

/// Tokens that may wait to be asked about; with more, requests are refused at once. Arbitrary.
const WAITING: usize = 256;
/// For so many seconds an issuer that did not answer is not asked about the same token. Arbitrary.
const UNANSWERED: u64 = 2;
/// A token that is not in force does not come to be so; but a clock may be wrong.
const INACTIVE: u64 = 10;

/// An issuer that is asked.
#[derive(Debug)]
pub struct Asker {
    pub written: Introspection,
    pub expects: Expectation,
    questions: mpsc::Sender<Question>,
    queue: Mutex<Option<mpsc::Receiver<Question>>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Dropped when it is answered.
    open: HashMap<Hash, watch::Sender<()>>,
    error: Option<String>,
}

/// A token that is asked about.
pub struct Question {
    pub token: Box<str>,
    key: Hash,
    issuer: Arc<Issuer>,
    asker: Arc<Asker>,
    cache: Arc<Cache>,
}

/// The token is not shown.
impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a question to {}", self.asker.written.url)
    }
}

impl Asker {
    pub(super) fn new(written: Introspection, expects: Expectation) -> Arc<Self> {
        let (questions, queue) = mpsc::channel(WAITING);
        let queue = Mutex::new(Some(queue));
        Arc::new(Self { written, expects, questions, queue, state: Mutex::default() })
    }

    /// The questions, for whoever asks them first.
    pub fn queue(&self) -> Option<mpsc::Receiver<Question>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What went wrong with the last question.
    pub fn error(&self) -> Option<String> {
        self.state().error.clone()
    }

    /// Asks, or waits with those who did; `None`: too many wait.
    pub(super) fn ask(
        self: &Arc<Self>,
        issuer: &Arc<Issuer>,
        cache: &Arc<Cache>,
        token: &str,
        key: Hash,
    ) -> Option<watch::Receiver<()>> {
        let (open, answered) = watch::channel(());
        {
            let mut state = self.state();
            if let Some(open) = state.open.get(&key) {
                return Some(open.subscribe());
            }
            state.open.insert(key, open);
        }
        let question = Question {
            token: token.into(),
            key,
            issuer: Arc::clone(issuer),
            asker: Arc::clone(self),
            cache: Arc::clone(cache),
        };
        // Without the lock: one that finds no place is dropped here, and closes itself.
        self.questions.try_send(question).ok()?;
        Some(answered)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Question {
    /// What the issuer answered: the token's claims, if it is in force. `now` in seconds since 1970.
    pub fn answer(self, answer: Result<Option<Map<String, Value>>, String>, now: u64) {
        let cache_for = self.asker.written.cache_for.as_secs().max(1);
        let wrong = |trouble, after| Found::Wrong { trouble, kept: kept_for(after, now) };
        let (found, error) = match answer {
            Err(error) => (wrong(Trouble::Unanswered, UNANSWERED), Some(error)),
            Ok(claims) => {
                let found = self.issuer.answered(claims, cache_for, self.token.len(), now);
                let inactive = cache_for.min(INACTIVE);
                let found = found.map_or_else(
                    |trouble| wrong(trouble, inactive),
                    |verified| Found::Right(Arc::new(verified)),
                );
                (found, None)
            }
        };
        self.cache.keep(self.key, found);
        self.asker.state().error = error;
    }
}

/// Answered or given up: nobody waits any longer.
impl Drop for Question {
    fn drop(&mut self) {
        self.asker.state().open.remove(&self.key);
    }
}
