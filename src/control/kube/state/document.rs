//! What the Secret holds, and how it is written: a JSON document for each shelf, and one about all.
//!
//! `store.json` has the revision and the marks of the newest commits. A mark tells its author that
//! a write whose answer never came was made after all. Values are texts, and stay as they were to
//! the byte. Pure; called by `writer` and `apply`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::control::kube::secret::Data;
use crate::control::store::{Committed, Key, Record, Shelf};

/// Kubernetes takes no larger Secret.
pub const MOST_BYTES: usize = 1024 * 1024;

/// Resources are objects of their own.
const SHELVES: [Shelf; 4] =
    [Shelf::Registrations, Shelf::Tokens, Shelf::Enrollments, Shelf::Revocations];

const ABOUT: &str = "store.json";

/// The only one so far; another one is left alone.
const FORMAT: u32 = 1;

/// Marks that are kept: an author looks for its own within seconds. Arbitrary.
const MARKS: usize = 32;

/// Why what stands in the Secret is not a store's.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("{field} is no document of ours")]
    Field {
        field: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("{0} is missing, although other fields are there")]
    Missing(String),
    #[error("{ABOUT} says format {0}, which a newer version wrote: run that version")]
    Format(u32),
    #[error("{field} has a record of revision {version}, after the newest, {revision}")]
    Ahead { field: String, version: u64, revision: u64 },
}

/// Everything that is held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Document {
    pub revision: u64,
    pub values: BTreeMap<Key, Held>,
    /// Of the newest commits, the newest last.
    marks: Vec<String>,
}

/// A value and the revision that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub version: u64,
    pub value: Arc<[u8]>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    format: u32,
    revision: u64,
    marks: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'a> {
    version: u64,
    #[serde(borrow)]
    value: std::borrow::Cow<'a, str>,
}

impl Document {
    /// # Errors
    /// When it is not what [`Document::write`] writes; an empty Secret is an empty store.
    pub fn read(data: &Data) -> Result<Self, Fault> {
        let field = |field: &str| {
            let field = field.to_owned();
            move |source| Fault::Field { field, source }
        };
        let Some(about) = data.get(ABOUT) else {
            let is_empty = SHELVES.iter().all(|shelf| !data.contains_key(&name(*shelf)));
            return if is_empty { Ok(Self::default()) } else { Err(Fault::Missing(ABOUT.into())) };
        };
        let format: Format = serde_json::from_slice(about).map_err(field(ABOUT))?;
        if format.format != FORMAT {
            return Err(Fault::Format(format.format));
        }
        let About { revision, marks, .. } = serde_json::from_slice(about).map_err(field(ABOUT))?;
        let mut values = BTreeMap::new();
        for shelf in SHELVES {
            let of = name(shelf);
            let bytes = data.get(&of).ok_or_else(|| Fault::Missing(of.clone()))?;
            let written: BTreeMap<String, Written<'_>> =
                serde_json::from_slice(bytes).map_err(field(&of))?;
            for (name, Written { version, value }) in written {
                if version > revision {
                    return Err(Fault::Ahead { field: of, version, revision });
                }
                let value = value.as_bytes().into();
                values.insert(Key { shelf, name: name.into() }, Held { version, value });
            }
        }
        Ok(Self { revision, values, marks })
    }

    /// Marked as written by `mark`. Fields of a shelf are there even when it is empty, so that one
    /// that was lost is told from one that holds nothing.
    pub fn write(&mut self, mark: &str) -> Data {
        self.marks.push(mark.to_owned());
        let old = self.marks.len().saturating_sub(MARKS);
        self.marks.drain(..old);
        let mut shelves: BTreeMap<Shelf, BTreeMap<&str, Written<'_>>> =
            SHELVES.into_iter().map(|shelf| (shelf, BTreeMap::new())).collect();
        for (key, held) in &self.values {
            // What is no text was refused before it came in.
            let value = String::from_utf8_lossy(&held.value);
            let written = Written { version: held.version, value };
            shelves.entry(key.shelf).or_default().insert(&key.name, written);
        }
        let about = About { format: FORMAT, revision: self.revision, marks: self.marks.clone() };
        let mut data = Data::from([(ABOUT.to_owned(), json(&about))]);
        data.extend(shelves.iter().map(|(shelf, written)| (name(*shelf), json(written))));
        data
    }

    /// Whether one of the newest commits bears it.
    pub fn has(&self, mark: &str) -> bool {
        self.marks.iter().any(|has| has == mark)
    }

    pub fn is_same(&self, other: &Document) -> bool {
        self.revision == other.revision && self.values == other.values
    }

    pub fn records(&self) -> Vec<Record> {
        let record = |(key, held): (&Key, &Held)| Record {
            key: key.clone(),
            version: held.version,
            value: Arc::clone(&held.value),
        };
        self.values.iter().map(record).collect()
    }

    /// The commits that lead from an older state to this one. Of what came in between only what
    /// still stands is known: a removal counts with the newest revision.
    pub fn since(&self, before: &Document) -> Vec<Committed> {
        type Changes = Vec<(Key, Option<Arc<[u8]>>)>;
        let mut by_revision: BTreeMap<u64, Changes> = BTreeMap::new();
        for (key, held) in &self.values {
            if before.values.get(key) != Some(held) {
                let change = (key.clone(), Some(Arc::clone(&held.value)));
                by_revision.entry(held.version).or_default().push(change);
            }
        }
        let last = by_revision.entry(self.revision).or_default();
        let removed = before.values.keys().filter(|key| !self.values.contains_key(key));
        last.extend(removed.map(|key| (key.clone(), None)));
        let commit = |(revision, changes)| Committed { revision, changes };
        by_revision.into_iter().map(commit).collect()
    }
}

/// Read first, by itself: what else a newer version writes is not known.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

fn name(shelf: Shelf) -> String {
    format!("{}.json", shelf.as_str())
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("names, numbers and texts can always be written")
}

/// How many bytes a Secret's values have.
pub fn size(data: &Data) -> usize {
    data.values().map(Vec::len).sum()
}
