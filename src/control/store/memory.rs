//! A store that forgets, for tests: conflicts and the order of events as the real ones have them.
//!
//! A test may have somebody else commit between its reading and its commit, or have the disk fail.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Commit, CommitError, Committed, Expect, Key, ReadError, Record, Sink, Store, Write};

/// Values in memory.
#[derive(Default)]
pub struct Memory {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    revision: u64,
    values: BTreeMap<Key, (u64, Arc<[u8]>)>,
    sink: Option<Sink>,
    others: VecDeque<Vec<Write>>,
    failing: bool,
    commits: usize,
}

impl Memory {
    /// Somebody else's writes, to be made right before the next commit that has no earlier ones.
    pub fn interfere(&self, writes: Vec<Write>) {
        self.lock().others.push_back(writes);
    }

    /// From now on nothing can be written.
    pub fn fail(&self) {
        self.lock().failing = true;
    }

    /// How often somebody tried to commit.
    pub fn commits(&self) -> usize {
        self.lock().commits
    }

    /// Everything that is held.
    pub fn records(&self) -> Vec<Record> {
        let record = |(key, (version, value)): (&Key, &(u64, Arc<[u8]>))| Record {
            key: key.clone(),
            version: *version,
            value: Arc::clone(value),
        };
        self.lock().values.iter().map(record).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn write(&mut self, writes: Vec<Write>) -> Result<u64, CommitError> {
        for write in &writes {
            let found = self.values.get(&write.key).map(|(version, _)| *version);
            let holds = match write.expect {
                Expect::Any => true,
                Expect::Absent => found.is_none(),
                Expect::Version(version) => found == Some(version),
            };
            if !holds {
                return Err(CommitError::Conflict { key: write.key.clone(), found });
            }
        }
        self.revision += 1;
        let revision = self.revision;
        for Write { key, value, .. } in &writes {
            match value {
                Some(value) => self.values.insert(key.clone(), (revision, Arc::clone(value))),
                None => self.values.remove(key),
            };
        }
        let changes = writes.into_iter().map(|write| (write.key, write.value)).collect();
        if let Some(sink) = &self.sink {
            sink(&Committed { revision, changes });
        }
        Ok(revision)
    }
}

impl Store for Memory {
    fn follow(&self, sink: Sink) -> Result<(u64, Vec<Record>), ReadError> {
        let records = self.records();
        let mut inner = self.lock();
        inner.sink = Some(sink);
        Ok((inner.revision, records))
    }

    fn commit(&self, writes: Vec<Write>) -> Commit<'_> {
        Box::pin(async move {
            // A disk takes its time: whoever else wants something gets to it.
            tokio::task::yield_now().await;
            let mut inner = self.lock();
            inner.commits += 1;
            if inner.failing {
                return Err(CommitError::Write("the disk is full".into()));
            }
            if let Some(others) = inner.others.pop_front() {
                inner.write(others)?;
            }
            inner.write(writes)
        })
    }
}
