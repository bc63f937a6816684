//! Changes of resources, one call at a time: read what is held, plan, commit; again when somebody
//! else was first.
//!
//! One at a time, because a commit only protects the keys that it writes, and two calls that are
//! each sound could together give one address to two services. Called by `Configuration`, in tasks
//! of their own, so that a caller who leaves can't break a change off between commit and log.

use std::future::Future;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::Mutex;
use tokio::task::{JoinError, spawn_blocking};

use super::apply::{self, Action, Plan, Target};
use super::author::Author;
use super::said::Texts;
use super::view::Id;
use crate::control::catalog::{Catalog, Snapshot};
use crate::control::desk::unix_ms;
use crate::control::store::{CommitError, Key, Shelf, Store};
use crate::resources::{Fault, Resource};

/// How often a call starts over for others who were first. Arbitrary: each time is one commit that
/// somebody else made.
const TRIES: usize = 5;

/// The most resources in one call. Arbitrary, as is what the texts may be long.
pub const MAX_RESOURCES: usize = 10_000;

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Unsettled {
    #[error("{} faults stand against it", .0.len())]
    Faults(Vec<Fault>),
    #[error("{0} resources are too many for one call: {MAX_RESOURCES} may be in one; split them")]
    TooMany(usize),
    #[error("{0} was changed by others each of {TRIES} times that this was tried: try again")]
    Contended(Arc<str>),
    #[error(
        "what is stored as {0} can't be read by this version of the control plane (its log says \
         why): use the version that wrote it"
    )]
    Unreadable(Arc<str>),
    #[error("nothing could be written")]
    Store(#[source] CommitError),
    #[error("the control plane failed over it, and its log says where: report it")]
    Broken(#[from] JoinError),
}

/// What a call is about beside its resources.
#[derive(Clone, Debug)]
pub struct Manner {
    pub who: Author,
    /// Everything but the commit.
    pub dry_run: bool,
}

/// Changes what is held.
pub struct Writer {
    pub catalog: Arc<Catalog>,
    pub store: Arc<dyn Store>,
    turn: Mutex<()>,
}

impl Writer {
    pub fn new(catalog: Arc<Catalog>, store: Arc<dyn Store>) -> Self {
        Self { catalog, store, turn: Mutex::new(()) }
    }

    /// # Errors
    /// Why nothing was applied.
    pub async fn apply(&self, texts: Texts, manner: &Manner) -> Result<Plan, Unsettled> {
        let wanted = read(texts).await?;
        let now_ms = unix_ms(SystemTime::now());
        self.settle(manner, |held| apply::apply(&wanted, held, now_ms)).await
    }

    /// # Errors
    /// Why nothing was deleted.
    pub async fn delete(
        &self,
        mut targets: Vec<Target>,
        texts: Texts,
        ignore_missing: bool,
        manner: &Manner,
    ) -> Result<Plan, Unsettled> {
        targets.extend(
            read(texts).await?.iter().map(|resource| Target {
                id: Id::of(resource),
                at: resource.metadata().at.clone(),
            }),
        );
        within(targets.len())?;
        self.settle(manner, |held| apply::delete(&targets, held, ignore_missing)).await
    }

    async fn settle(
        &self,
        manner: &Manner,
        plan: impl Fn(&Snapshot) -> Result<Plan, Vec<Fault>>,
    ) -> Result<Plan, Unsettled> {
        let _turn = self.turn.lock().await;
        let mut conflict = None;
        for _ in 0..TRIES {
            let plan = plan(&self.catalog.snapshot()).map_err(Unsettled::Faults)?;
            if manner.dry_run || plan.writes.is_empty() {
                return Ok(plan);
            }
            match self.store.commit(plan.writes.clone()).await {
                Ok(revision) => {
                    log(&plan, revision, &manner.who);
                    return Ok(plan);
                }
                Err(CommitError::Conflict { key, found }) => conflict = Some((key, found)),
                Err(error) => return Err(Unsettled::Store(error)),
            }
        }
        let (key, found) = conflict.expect("only a conflict starts it over");
        Err(self.contended(key, found))
    }

    /// What can't be read is not in the catalog, so that planning with it meets it every time.
    fn contended(&self, key: Key, found: Option<u64>) -> Unsettled {
        let known = match key.shelf {
            Shelf::Registrations => self.catalog.registration(&key.name).is_some(),
            _ => self.catalog.resource(&key.name).is_some(),
        };
        match found {
            Some(_) if !known => Unsettled::Unreadable(key.name),
            _ => Unsettled::Contended(key.name),
        }
    }
}

/// Reads texts off the threads that serve: the largest take a second.
async fn read(texts: Texts) -> Result<Vec<Resource>, Unsettled> {
    let wanted = spawn_blocking(move || texts.resources()).await?.map_err(Unsettled::Faults)?;
    within(wanted.len())?;
    Ok(wanted)
}

fn within(many: usize) -> Result<(), Unsettled> {
    if many > MAX_RESOURCES { Err(Unsettled::TooMany(many)) } else { Ok(()) }
}

fn log(plan: &Plan, revision: u64, who: &Author) {
    let [created, updated, unchanged, deleted] =
        [Action::Created, Action::Updated, Action::Unchanged, Action::Deleted]
            .map(|action| plan.count(action));
    if deleted > 0 {
        tracing::info!(%who, revision, deleted, "deleted");
    } else {
        tracing::info!(%who, revision, created, updated, unchanged, "applied");
    }
}

/// Runs to its end also when the caller leaves.
pub async fn whole<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, JoinError> {
    tokio::spawn(work).await
}
