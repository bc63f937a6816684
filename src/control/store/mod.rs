//! What the control plane must not forget, behind a trait.
//!
//! Values are bytes under keys on a few shelves; their meaning is their owners'. A commit is all or
//! nothing and durable when it is acknowledged. Whoever follows the store sees every commit whole,
//! in order, before its author hears that it succeeded: the picture in memory is never behind what
//! somebody was told. Backends: an embedded database in the data folder; made so that an API server
//! or etcd, where others write too, can stand in its place.

#[cfg(test)]
pub mod memory;
#[cfg(test)]
pub mod model;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

mod embedded;

pub use embedded::{Embedded, OpenError};

/// What a value is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Shelf {
    /// What people applied, by `kind/namespace/name`.
    Resources,
    /// What sidecars registered, by `namespace/name`.
    Registrations,
    /// Join tokens and what is left of them, by id.
    Tokens,
    /// Who joined with which rights, by enrolment.
    Enrollments,
    /// What was revoked, by SPIFFE id or serial number.
    Revocations,
}

impl Shelf {
    pub const ALL: [Shelf; 5] = [
        Shelf::Resources,
        Shelf::Registrations,
        Shelf::Tokens,
        Shelf::Enrollments,
        Shelf::Revocations,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Shelf::Resources => "resources",
            Shelf::Registrations => "registrations",
            Shelf::Tokens => "tokens",
            Shelf::Enrollments => "enrollments",
            Shelf::Revocations => "revocations",
        }
    }
}

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub shelf: Shelf,
    pub name: Arc<str>,
}

/// A value and the revision of the commit that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub key: Key,
    pub version: u64,
    pub value: Arc<[u8]>,
}

/// What must hold for a write to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    Any,
    Absent,
    Version(u64),
}

/// One key's part of a commit.
#[derive(Clone, Debug)]
pub struct Write {
    pub key: Key,
    pub expect: Expect,
    /// `None` removes it.
    pub value: Option<Arc<[u8]>>,
}

/// A commit that was made.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Grows with each commit; the version of the records that it wrote.
    pub revision: u64,
    pub changes: Vec<(Key, Option<Arc<[u8]>>)>,
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Somebody else was first; `found` is what stands there now.
    #[error("{} {} was changed by somebody else", .key.shelf.as_str(), .key.name)]
    Conflict { key: Key, found: Option<u64> },
    #[error("the store can't write")]
    Write(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Others keep it, who are told by other means.
    #[error(
        "in Kubernetes resources are objects of the cluster: create, change and delete them with \
         kubectl"
    )]
    Elsewhere,
    #[error("the store is closed")]
    Closed,
}

/// Why a store can't be read.
#[derive(Debug, thiserror::Error)]
#[error("the store can't be read")]
pub struct ReadError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Told of every commit.
pub type Sink = Box<dyn Fn(&Committed) + Send + Sync>;

/// A commit under way.
pub type Commit<'a> = Pin<Box<dyn Future<Output = Result<u64, CommitError>> + Send + 'a>>;

/// Keeps values.
pub trait Store: Send + Sync + 'static {
    /// Everything that is held, and the revision of the newest commit; `sink` is told of every
    /// commit after that one. To be called once.
    ///
    /// # Errors
    /// When what is held can't be read.
    fn follow(&self, sink: Sink) -> Result<(u64, Vec<Record>), ReadError>;

    /// Makes all writes, or none. Resolves to the commit's revision when it is durable and the sink
    /// was told. A commit that nobody waits for any more may still be made.
    fn commit(&self, writes: Vec<Write>) -> Commit<'_>;
}
