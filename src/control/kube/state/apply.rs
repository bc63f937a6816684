//! A group of commits on top of what stands: each is checked against what those before it left, and
//! is made whole or not at all. Pure; called by `writer`, again with a newer state after a conflict.

use super::document::{Document, Held};
use crate::control::store::{CommitError, Committed, Expect, Write};

/// What becomes of a group once it is written.
pub struct Applied {
    /// One a commit, in order.
    pub verdicts: Vec<Result<u64, CommitError>>,
    /// Those that change something, in order.
    pub made: Vec<Committed>,
    pub document: Document,
}

/// Applies `group` on top of `document`.
pub fn apply<'g>(document: Document, group: impl Iterator<Item = &'g [Write]>) -> Applied {
    let mut applied = Applied { verdicts: Vec::new(), made: Vec::new(), document };
    for writes in group {
        let verdict = applied.document.judge(writes).map(|()| {
            let commit = applied.document.change(writes);
            if !commit.changes.is_empty() {
                applied.made.push(commit);
            }
            applied.document.revision
        });
        applied.verdicts.push(verdict);
    }
    applied
}

impl Document {
    /// The first precondition that does not hold.
    fn judge(&self, writes: &[Write]) -> Result<(), CommitError> {
        for Write { key, expect, value } in writes {
            let found = self.values.get(key).map(|held| held.version);
            let holds = match expect {
                Expect::Any => true,
                Expect::Absent => found.is_none(),
                Expect::Version(version) => found == Some(*version),
            };
            if !holds {
                return Err(CommitError::Conflict { key: key.clone(), found });
            }
            if value.as_ref().is_some_and(|value| std::str::from_utf8(value).is_err()) {
                let shelf = key.shelf.as_str();
                let why = format!("{shelf} {} is no text, and only texts are kept", key.name);
                return Err(CommitError::Write(why.into()));
            }
        }
        Ok(())
    }

    /// What `writes` change; removing what is not there changes nothing, and takes no revision.
    fn change(&mut self, writes: &[Write]) -> Committed {
        let revision = self.revision + 1;
        let mut changes = Vec::with_capacity(writes.len());
        for Write { key, value, .. } in writes {
            let changed = match value {
                Some(value) => {
                    let held = Held { version: revision, value: value.clone() };
                    self.values.insert(key.clone(), held);
                    true
                }
                None => self.values.remove(key).is_some(),
            };
            if changed {
                changes.push((key.clone(), value.clone()));
            }
        }
        if !changes.is_empty() {
            self.revision = revision;
        }
        Committed { revision, changes }
    }
}
