//! A group of commits, applied to one transaction: each is checked against what those before it
//! left, and is made whole or not at all.

use redb::{ReadableTable, Table, WriteTransaction};

use super::super::{CommitError, Committed, Expect, Key, Shelf, Write};
use super::file::{META, REVISION, table};

/// What becomes of a group once its transaction is durable.
pub(super) struct Applied {
    /// One a commit, in order.
    pub(super) verdicts: Vec<Result<u64, CommitError>>,
    /// Those that change something, in order.
    pub(super) made: Vec<Committed>,
}

/// Applies `group` on top of `revision`.
///
/// # Errors
/// When the database fails; the transaction must not be committed then.
pub(super) fn apply<'g>(
    transaction: &WriteTransaction,
    revision: u64,
    group: impl Iterator<Item = &'g [Write]>,
) -> Result<Applied, redb::Error> {
    let mut shelves = Shelves::open(transaction)?;
    let (mut newest, mut verdicts, mut made) = (revision, Vec::new(), Vec::new());
    for writes in group {
        if let Some(conflict) = shelves.conflict(writes)? {
            verdicts.push(Err(conflict));
            continue;
        }
        let commit = shelves.change(writes, newest + 1)?;
        if !commit.changes.is_empty() {
            newest = commit.revision;
            made.push(commit);
        }
        verdicts.push(Ok(newest));
    }
    drop(shelves);
    if newest > revision {
        transaction.open_table(META)?.insert(REVISION, newest)?;
    }
    Ok(Applied { verdicts, made })
}

/// The tables of all shelves, in the order of [`Shelf::ALL`].
struct Shelves<'t>(Vec<Table<'t, &'static str, (u64, &'static [u8])>>);

impl<'t> Shelves<'t> {
    fn open(transaction: &'t WriteTransaction) -> Result<Self, redb::Error> {
        let open = |shelf| Ok(transaction.open_table(table(shelf))?);
        Shelf::ALL.into_iter().map(open).collect::<Result<_, _>>().map(Self)
    }

    fn version(&self, key: &Key) -> Result<Option<u64>, redb::Error> {
        let found = self.0[key.shelf as usize].get(&*key.name)?;
        Ok(found.map(|found| found.value().0))
    }

    /// The first precondition that does not hold.
    fn conflict(&self, writes: &[Write]) -> Result<Option<CommitError>, redb::Error> {
        for Write { key, expect, .. } in writes {
            if *expect == Expect::Any {
                continue;
            }
            let found = self.version(key)?;
            let holds = match expect {
                Expect::Any => true,
                Expect::Absent => found.is_none(),
                Expect::Version(version) => found == Some(*version),
            };
            if !holds {
                return Ok(Some(CommitError::Conflict { key: key.clone(), found }));
            }
        }
        Ok(None)
    }

    /// What `writes` change; removing what is not there changes nothing.
    fn change(&mut self, writes: &[Write], revision: u64) -> Result<Committed, redb::Error> {
        let mut changes = Vec::with_capacity(writes.len());
        for Write { key, value, .. } in writes {
            let shelf = &mut self.0[key.shelf as usize];
            let changed = match value {
                Some(value) => {
                    shelf.insert(&*key.name, (revision, &**value))?;
                    true
                }
                None => shelf.remove(&*key.name)?.is_some(),
            };
            if changed {
                changes.push((key.clone(), value.clone()));
            }
        }
        Ok(Committed { revision, changes })
    }
}
