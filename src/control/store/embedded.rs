//! The store of one control plane: a database in one file of its data folder.
//!
//! One thread owns the file. Whatever commits wait are written together and made durable with one
//! sync, so a thousand sidecars that register at once cost a few syncs; each commit still stands or
//! falls by itself. Invariant: the sink is told of a commit exactly when it is in the file, in the
//! order of revisions, and before its author hears of it. `app` opens it and hands it on.

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use tokio::sync::{Semaphore, oneshot};

use self::file::Place;
use self::writer::{Asked, Job, Writer};
use super::{Commit, CommitError, ReadError, Record, Sink, Store, Write};
use crate::runtime::supervise::vital_thread;

mod apply;
mod file;
mod writer;

pub use file::OpenError;

/// Commits that wait for the writer, at most; the next ones wait for a place. Arbitrary: a few
/// groups.
const WAITING: usize = 1024;

/// An embedded database; the file is locked for as long as this lives.
#[derive(Debug)]
pub struct Embedded {
    jobs: mpsc::Sender<Job>,
    places: Arc<Semaphore>,
    writer: Option<JoinHandle<()>>,
}

impl Embedded {
    /// Opens the store in the folder `data`, and makes it where there is none. Reads the whole file
    /// once, to check it.
    ///
    /// # Errors
    /// When the file can't be used; it is left as it was.
    pub fn open(data: &Path) -> Result<Embedded, OpenError> {
        Self::start(Place::open(data)?)
    }

    fn start(place: Place) -> Result<Embedded, OpenError> {
        let (jobs, received) = mpsc::channel();
        let writer = Writer::new(place, received)?;
        let thread = thread::Builder::new().name("store".into()).spawn(move || {
            // Nobody knows how far it came: the next process reads it in the file.
            vital_thread("the store's writer", || writer.run());
        });
        let writer = Some(thread.map_err(OpenError::Thread)?);
        Ok(Embedded { jobs, places: Arc::new(Semaphore::new(WAITING)), writer })
    }

    async fn ask(&self, writes: Vec<Write>) -> Result<u64, CommitError> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.map_err(|_| CommitError::Closed)?;
        let (answer, answered) = oneshot::channel();
        let asked = Asked { writes, answer, place };
        self.jobs.send(Job::Commit(asked)).map_err(|_| CommitError::Closed)?;
        answered.await.unwrap_or(Err(CommitError::Closed))
    }
}

impl Store for Embedded {
    fn follow(&self, sink: Sink) -> Result<(u64, Vec<Record>), ReadError> {
        let closed = || ReadError(Box::new(CommitError::Closed));
        let (answer, answered) = mpsc::sync_channel(1);
        self.jobs.send(Job::Follow(sink, answer)).map_err(|_| closed())?;
        answered.recv().unwrap_or_else(|_| Err(closed()))
    }

    fn commit(&self, writes: Vec<Write>) -> Commit<'_> {
        Box::pin(self.ask(writes))
    }
}

/// What was queued is still written; waits for that.
impl Drop for Embedded {
    fn drop(&mut self) {
        let _ = self.jobs.send(Job::Close);
        let Some(writer) = self.writer.take() else { return };
        // A sink may hold the last handle; a thread can't wait for itself.
        if writer.thread().id() != thread::current().id() {
            let _ = writer.join();
        }
    }
}

#[cfg(test)]
mod tests;
