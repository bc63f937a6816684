//! What the control plane says, in the command line's own nouns: with `calls`, which asks, the door
//! behind which no generated type is known. Every field is taken apart by name, so that a new one
//! doesn't compile until it is handled.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::documents::Document;
use super::error::Error;
use crate::resources::{self, Origin};
use crate::wire::v1;

/// What a resource goes by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) namespace: String,
    pub(super) kind: String,
    pub(super) name: String,
}

/// `Service web.shop`
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}.{}", self.kind, self.name, self.namespace)
    }
}

/// A resource that the control plane holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Held {
    pub(super) key: Key,
    /// With `metadata.resourceVersion`.
    pub(super) manifest: Value,
    pub(super) version: String,
    pub(super) created: SystemTime,
    /// `applied` or `registered`.
    pub(super) source: &'static str,
    /// How a route or policy fares; empty for other kinds.
    pub(super) status: String,
}

/// What happened to a resource, or would.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    pub(super) key: Key,
    /// `created`, `updated`, `unchanged` or `deleted`.
    pub(super) action: &'static str,
    pub(super) before: Option<Value>,
    pub(super) after: Option<Value>,
    /// How a route or policy fares now; empty for other kinds, and where nothing was changed.
    pub(super) status: String,
}

/// Something that a watch tells.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Event {
    Upserted(Held),
    Deleted(Key),
    /// Everything that there was at the beginning has been said.
    Synced,
}

/// A join token, without its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JoinToken {
    pub(super) id: String,
    pub(super) namespace: String,
    pub(super) service_account: String,
    pub(super) labels: BTreeMap<String, String>,
    /// Empty: where the workload connects from.
    pub(super) address: String,
    pub(super) expires: SystemTime,
    pub(super) uses_left: u32,
}

impl From<Key> for v1::ResourceKey {
    fn from(Key { namespace, kind, name }: Key) -> Self {
        v1::ResourceKey { kind, namespace, name }
    }
}

impl From<Document> for v1::Document {
    fn from(Document { source, text }: Document) -> Self {
        v1::Document { source, text }
    }
}

fn key(key: Option<v1::ResourceKey>) -> Result<Key, Error> {
    let v1::ResourceKey { kind, namespace, name } = key.ok_or_else(|| odd("no key"))?;
    Ok(Key { namespace, kind, name })
}

impl TryFrom<v1::Resource> for Held {
    type Error = Error;

    fn try_from(resource: v1::Resource) -> Result<Self, Error> {
        let source = match resource.source() {
            v1::Source::Registered => "registered",
            v1::Source::Applied => "applied",
            v1::Source::Unspecified => "unknown",
        };
        let v1::Resource { key: of, manifest, version, created_ms, source: _, status } = resource;
        let key = key(of)?;
        let manifest = json(&key, &manifest)?;
        Ok(Held { key, manifest, version, created: moment(created_ms), source, status })
    }
}

impl TryFrom<v1::Change> for Change {
    type Error = Error;

    fn try_from(change: v1::Change) -> Result<Self, Error> {
        use v1::change::Action;
        let action = match change.action() {
            Action::Created => "created",
            Action::Updated => "updated",
            Action::Unchanged => "unchanged",
            Action::Deleted => "deleted",
            Action::Unspecified => return Err(odd("a change without an action")),
        };
        let v1::Change { key: of, action: _, before, after, status } = change;
        let key = key(of)?;
        let manifest = |text: &str| (!text.is_empty()).then(|| json(&key, text)).transpose();
        let (before, after) = (manifest(&before)?, manifest(&after)?);
        Ok(Change { key, action, before, after, status })
    }
}

impl TryFrom<v1::WatchEvent> for Event {
    type Error = Error;

    fn try_from(v1::WatchEvent { event }: v1::WatchEvent) -> Result<Self, Error> {
        use v1::watch_event::Event as Told;
        match event.ok_or_else(|| odd("an event without content"))? {
            Told::Upserted(resource) => Held::try_from(resource).map(Event::Upserted),
            Told::Deleted(of) => key(Some(of)).map(Event::Deleted),
            Told::Synced(v1::Synced {}) => Ok(Event::Synced),
        }
    }
}

impl From<v1::Token> for JoinToken {
    fn from(token: v1::Token) -> Self {
        let v1::Token { id, namespace, service_account, labels, address, expires_ms, uses_left } =
            token;
        JoinToken {
            id,
            namespace,
            service_account,
            labels: labels.into_iter().collect(),
            address,
            expires: moment(expires_ms),
            uses_left,
        }
    }
}

/// The changes, unless there are faults: then nothing was done.
///
/// # Errors
/// The faults, as if they had been found here.
pub(super) fn changes(
    faults: Vec<v1::Fault>,
    changes: Vec<v1::Change>,
) -> Result<Vec<Change>, Error> {
    if faults.is_empty() {
        return changes.into_iter().map(Change::try_from).collect();
    }
    Err(Error::Faults(faults.into_iter().map(fault).collect()))
}

/// A fault of no document (of a name on the command line, say) has no place to show.
fn fault(v1::Fault { source, line, column, path, message }: v1::Fault) -> String {
    let whole = source.is_empty();
    let at = Origin::file(source).position(line, column);
    let text = resources::Fault { at, path, message }.to_string();
    match text.strip_prefix(": ") {
        Some(rest) if whole => rest.to_owned(),
        _ => text,
    }
}

fn json(key: &Key, text: &str) -> Result<Value, Error> {
    serde_json::from_str(text).map_err(|error| odd(&format!("the manifest of {key}: {error}")))
}

pub(super) fn moment(since_1970_ms: i64) -> SystemTime {
    let since = Duration::from_millis(u64::try_from(since_1970_ms).unwrap_or_default());
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}

fn odd(what: &str) -> Error {
    Error::Nonsense(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_read_as_if_found_here() {
        let rows = [
            ("mesh/web.yaml", 3, "spec.ports", "mesh/web.yaml:3: spec.ports: is wrong"),
            ("mesh/web.yaml", 0, "", "mesh/web.yaml: is wrong"),
            ("", 0, "", "is wrong"),
            ("", 0, "metadata", "metadata: is wrong"),
        ];
        for (source, line, path, expected) in rows {
            let said = v1::Fault {
                source: source.into(),
                line,
                column: 1,
                path: path.into(),
                message: "is wrong".into(),
            };
            assert_eq!(fault(said), expected);
        }
    }

    #[test]
    fn what_can_not_be_is_refused() {
        let resource = |manifest: &str, key| v1::Resource {
            key,
            manifest: manifest.into(),
            version: "1".into(),
            created_ms: -1,
            source: 77,
            status: String::new(),
        };
        assert!(Held::try_from(resource("{}", None)).is_err());
        assert!(Held::try_from(resource("{", Some(v1::ResourceKey::default()))).is_err());
        let held = Held::try_from(resource("{}", Some(v1::ResourceKey::default()))).expect("odd");
        assert_eq!((held.created, held.source), (UNIX_EPOCH, "unknown"));
        assert!(Change::try_from(v1::Change::default()).is_err());
        assert!(Event::try_from(v1::WatchEvent::default()).is_err());
    }
}
