//! The thread that owns the file: takes what waits, writes it as one transaction, tells of it.
//!
//! After a failure the database is opened anew, because only the file knows whether the last
//! transaction is in it: a sync may fail after the fact. Two-phase commits make that answer sound:
//! what is found there was synced. Until it is known, the transaction is in doubt, and told of or
//! forgotten as soon as it is.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};

use redb::{Database, Durability, ReadableDatabase, ReadableTable, WriteTransaction};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tracing::{error, info};

use super::super::{CommitError, Committed, Key, ReadError, Record, Shelf, Sink, Write};
use super::apply::{Applied, apply};
use super::file::{OpenError, Place, table};
use crate::http::respond::chain;
use crate::runtime::rehearsal::{self, At};

/// Commits in one transaction, at most: bounds how long the first of them waits. Arbitrary.
const GROUP: usize = 256;

/// What the thread is asked for.
pub(super) enum Job {
    Commit(Asked),
    Follow(Sink, mpsc::SyncSender<Result<(u64, Vec<Record>), ReadError>>),
    Close,
}

/// A commit that somebody waits for.
pub(super) struct Asked {
    pub(super) writes: Vec<Write>,
    pub(super) answer: oneshot::Sender<Result<u64, CommitError>>,
    /// In the queue; given back when it is answered.
    pub(super) place: OwnedSemaphorePermit,
}

impl Asked {
    fn answer(self, verdict: Result<u64, CommitError>) {
        let Asked { answer, place, .. } = self;
        drop(place);
        // Its author may have gone.
        let _ = answer.send(verdict);
    }
}

/// Why a group was not written.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("the database failed")]
    Database(#[source] Box<redb::Error>),
    #[error("the database failed in an unforeseen way")]
    Panicked,
    #[error("the file can't be opened again")]
    Reopen(#[source] Box<OpenError>),
    #[error("the file is at revision {found}, and {known} was acknowledged: restore a backup")]
    WentBack { found: u64, known: u64 },
}

pub(super) struct Writer {
    /// `None` after a failure, until it is opened again.
    database: Option<Database>,
    /// Below the database, because the lock goes last.
    place: Place,
    jobs: mpsc::Receiver<Job>,
    sink: Option<Sink>,
    /// Of the newest commit that the sink was told of.
    revision: u64,
    /// The commits of a transaction that may or may not be in the file.
    in_doubt: Vec<Committed>,
}

impl Writer {
    pub(super) fn new(place: Place, jobs: mpsc::Receiver<Job>) -> Result<Writer, OpenError> {
        let (database, revision) = place.database()?;
        let database = Some(database);
        Ok(Writer { database, place, jobs, sink: None, revision, in_doubt: Vec::new() })
    }

    /// Until it is told to close, or the last handle is gone.
    pub(super) fn run(mut self) {
        loop {
            let mut group = Vec::new();
            let other = self.gather(&mut group);
            rehearsal::pass(At::Store);
            if !group.is_empty() {
                self.commit(group);
            }
            match other {
                Some(Job::Follow(sink, answer)) => {
                    let _ = answer.send(self.follow(sink));
                }
                Some(Job::Close) => return self.close(),
                Some(Job::Commit(_)) | None => {}
            }
        }
    }

    /// Waits for a job and takes the commits that are there; returns the job that ended them.
    fn gather(&self, group: &mut Vec<Asked>) -> Option<Job> {
        let mut job = self.jobs.recv().unwrap_or(Job::Close);
        loop {
            match job {
                Job::Commit(asked) => group.push(asked),
                other => return Some(other),
            }
            if group.len() == GROUP {
                return None;
            }
            job = self.jobs.try_recv().ok()?;
        }
    }

    fn commit(&mut self, group: Vec<Asked>) {
        match self.write(&group) {
            Ok(verdicts) => {
                for (asked, verdict) in group.into_iter().zip(verdicts) {
                    asked.answer(verdict);
                }
            }
            Err(failure) => {
                error!(error = chain(&failure), commits = group.len(), "the store can't write");
                let failure = Arc::new(failure);
                for asked in group {
                    asked.answer(Err(CommitError::Write(Box::new(Arc::clone(&failure)))));
                }
            }
        }
    }

    /// Writes a group and tells the sink; one verdict a commit.
    fn write(&mut self, group: &[Asked]) -> Result<Vec<Result<u64, CommitError>>, Failure> {
        // Opening it again may find that what was in doubt is there.
        self.sound()?;
        let revision = self.revision;
        let database = self.sound()?;
        let begun = caught(|| {
            let transaction = begin(database)?;
            let writes = group.iter().map(|asked| &*asked.writes);
            let applied = apply(&transaction, revision, writes)?;
            Ok((transaction, applied))
        });
        let (transaction, Applied { verdicts, made }) = match begun {
            Ok(begun) => begun,
            Err(failure) => {
                self.shut();
                return Err(failure);
            }
        };
        let Some(newest) = made.last().map(|commit| commit.revision) else {
            return Ok(verdicts);
        };
        self.in_doubt = made;
        if let Err(failure) = caught(|| Ok(transaction.commit()?)) {
            self.shut();
            self.sound()?;
            if self.revision < newest {
                return Err(failure);
            }
            info!(error = chain(&failure), "a commit failed after it was written; it stands");
        }
        self.settle(newest);
        Ok(verdicts)
    }

    /// The database, opened again after a failure.
    fn sound(&mut self) -> Result<&Database, Failure> {
        let database = match self.database.take() {
            Some(database) => database,
            None => {
                let opened = self.place.database();
                let (database, found) = opened.map_err(|error| Failure::Reopen(Box::new(error)))?;
                if found < self.revision {
                    return Err(Failure::WentBack { found, known: self.revision });
                }
                self.settle(found);
                database
            }
        };
        Ok(self.database.insert(database))
    }

    /// Nothing more can be done with it, not even closing it well.
    fn shut(&mut self) {
        let database = self.database.take();
        let _ = catch_unwind(AssertUnwindSafe(move || drop(database)));
    }

    /// The file is known to be at `revision`: tells of what was in doubt up to there.
    fn settle(&mut self, revision: u64) {
        for commit in self.in_doubt.drain(..).filter(|commit| commit.revision <= revision) {
            let Some(sink) = &self.sink else { continue };
            if catch_unwind(AssertUnwindSafe(|| sink(&commit))).is_err() {
                error!(revision = commit.revision, "who follows the store panicked over a commit");
            }
        }
        self.revision = revision;
    }

    fn follow(&mut self, sink: Sink) -> Result<(u64, Vec<Record>), ReadError> {
        let read = match self.sound() {
            Ok(database) => caught(|| records(database)),
            Err(failure) => Err(failure),
        };
        match read {
            Ok(records) => {
                self.sink = Some(sink);
                Ok((self.revision, records))
            }
            Err(failure) => {
                self.shut();
                Err(ReadError(Box::new(failure)))
            }
        }
    }

    fn close(&mut self) {
        let Some(database) = self.database.take() else { return };
        if let Err(failure) = caught(|| Ok(database.close()?)) {
            info!(error = chain(&failure), "the store was not closed well; nothing is lost");
        }
    }
}

fn begin(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.set_two_phase_commit(true);
    Ok(transaction)
}

fn records(database: &Database) -> Result<Vec<Record>, redb::Error> {
    let transaction = database.begin_read()?;
    let mut records = Vec::new();
    for shelf in Shelf::ALL {
        for entry in transaction.open_table(table(shelf))?.iter()? {
            let (name, held) = entry?;
            let (version, value) = held.value();
            let key = Key { shelf, name: name.value().into() };
            records.push(Record { key, version, value: value.into() });
        }
    }
    Ok(records)
}

/// A panic of the database must not end the thread.
fn caught<T>(step: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, Failure> {
    match catch_unwind(AssertUnwindSafe(step)) {
        Ok(done) => done.map_err(|error| Failure::Database(Box::new(error))),
        Err(_) => Err(Failure::Panicked),
    }
}
