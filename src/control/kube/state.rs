//! The store of a control plane in Kubernetes: one Secret, `outrigger-state`, for what machines
//! outside the cluster need: join tokens, enrolments, registrations and revocations.
//!
//! One commit, or a group that waits, is one update of the Secret, made only if nobody else wrote
//! meanwhile; else it is judged again by what they wrote. Revisions are kept inside, so that a
//! record's version means the same to every replica and after every restart. One task does all of
//! it, so that whoever follows is told in order. Resources are Kubernetes' own, and not written here.

mod apply;
mod document;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::Client;
use tokio::sync::{mpsc, oneshot};

use self::document::{Document, Fault};
use self::writer::{Asked, Writer};
use super::asking::Error;
use super::health::Watch;
use super::secret::Place;
use crate::control::store::{
    Commit, CommitError, Committed, Expect, ReadError, Record, Shelf, Sink, Store, Write,
};
use crate::runtime::supervise::vital;

/// The Secret's name.
pub const SECRET: &str = "outrigger-state";

/// Commits that wait for the writer, at most; the next ones wait for a place. Arbitrary.
const WAITING: usize = 1024;

/// Why the store can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{secret} can't be read")]
    Secret {
        secret: String,
        #[source]
        source: Error,
    },
    #[error(
        "{secret} can't be used: put it back from a backup; to begin with an empty one, after which \
         every machine outside the cluster has to join again, remove it"
    )]
    Damaged {
        secret: String,
        #[source]
        source: Fault,
    },
}

/// The store; its task ends when this is dropped and what was queued is written.
pub struct State {
    picture: Arc<Picture>,
    jobs: mpsc::Sender<Asked>,
}

impl State {
    /// Reads what the Secret of the control plane's namespace holds, and follows it from then on.
    /// Without one it is empty, and made by the first commit.
    ///
    /// # Errors
    /// When it can't be read, or holds what nobody here wrote.
    pub async fn open(client: Client, namespace: &str) -> Result<Self, OpenError> {
        let place = Place::new(client, namespace, SECRET);
        let secret = place.shown();
        let seen = match place.read().await {
            Ok(seen) => seen,
            Err(source) => return Err(OpenError::Secret { secret, source }),
        };
        let document = match Document::read(&seen.data()) {
            Ok(document) => document,
            Err(source) => return Err(OpenError::Damaged { secret, source }),
        };
        let picture = Arc::new(Picture::of(document));
        let (jobs, asked) = mpsc::channel(WAITING);
        let writer = Writer::new(place, seen, Arc::clone(&picture));
        // Nobody knows how far it came: the next process reads it in the Secret.
        tokio::spawn(vital("the writer of the state", writer.run(asked)));
        Ok(Self { picture, jobs })
    }

    /// Since when it is certain what stands there, for whoever shows how old everything is.
    pub fn watch(&self) -> Arc<Watch> {
        Arc::clone(&self.picture.watch)
    }

    async fn ask(&self, writes: Vec<Write>) -> Result<u64, CommitError> {
        if writes.iter().any(is_elsewhere) {
            return Err(CommitError::Elsewhere);
        }
        let (answer, answered) = oneshot::channel();
        let asked = Asked { writes, answer };
        self.jobs.send(asked).await.map_err(|_| CommitError::Closed)?;
        answered.await.unwrap_or(Err(CommitError::Closed))
    }
}

/// A commit may still say that there is no such resource: here there never is one.
fn is_elsewhere(write: &Write) -> bool {
    let says_none = write.value.is_none() && write.expect == Expect::Absent;
    write.key.shelf == Shelf::Resources && !says_none
}

impl Store for State {
    fn follow(&self, sink: Sink) -> Result<(u64, Vec<Record>), ReadError> {
        Ok(self.picture.follow(sink))
    }

    fn commit(&self, writes: Vec<Write>) -> Commit<'_> {
        Box::pin(self.ask(writes))
    }
}

/// What is known to stand in the Secret, and who is told when it changes.
struct Picture {
    inner: Mutex<Inner>,
    /// When the API server last said what stands there.
    watch: Arc<Watch>,
}

struct Inner {
    document: Document,
    sink: Option<Sink>,
}

impl Picture {
    fn of(document: Document) -> Self {
        let watch = Watch::new(SECRET);
        watch.listed();
        watch.holds(document.values.len());
        watch.heard();
        watch.completed();
        Self { inner: Mutex::new(Inner { document, sink: None }), watch }
    }

    fn heard(&self) {
        self.watch.heard();
    }

    fn follow(&self, sink: Sink) -> (u64, Vec<Record>) {
        let mut inner = self.lock();
        inner.sink = Some(sink);
        (inner.document.revision, inner.document.records())
    }

    fn document(&self) -> Document {
        self.lock().document.clone()
    }

    /// A newer one, and how it came about.
    fn turn(&self, document: Document, commits: &[Committed]) {
        use std::panic::{AssertUnwindSafe, catch_unwind};
        let mut inner = self.lock();
        inner.document = document;
        self.watch.holds(inner.document.values.len());
        let Some(sink) = &inner.sink else { return };
        for commit in commits {
            // It must not end the one task that writes.
            if catch_unwind(AssertUnwindSafe(|| sink(commit))).is_err() {
                let revision = commit.revision;
                tracing::error!(revision, "who follows the store panicked over a commit");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
