//! What the store's values mean: JSON documents, one a key.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::grant::Grant;
use super::super::store::{Key, Shelf};
use crate::identity::{self, Revoked};
use crate::model::SpiffeId;
use crate::resources::{
    AccessPolicy, Labels, Metadata, Origin, Resource, Service, Workload, manifest, parse_documents,
};

/// A resource that somebody applied.
#[derive(Debug)]
pub struct Held {
    /// Created when it was first applied, whatever its manifest says.
    pub resource: Arc<Resource>,
    /// Of the commit that wrote it.
    pub version: u64,
    /// When it was first applied, in milliseconds since 1970.
    pub created_ms: i64,
}

/// A workload that its sidecar registered.
#[derive(Debug)]
pub struct Registration {
    pub workload: Workload,
    /// Of the commit that wrote it.
    pub version: u64,
    /// Of the commit since which it says the same: what is held is written again and again.
    pub since: u64,
    /// When it was registered, in milliseconds since 1970.
    pub created_ms: i64,
    /// Under whose rights.
    pub enrollment: u64,
}

/// How a resource or registration is written.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredResource {
    pub manifest: Value,
    pub created_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrollment: Option<u64>,
}

/// A join token and what is left of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Token {
    pub grant: Grant,
    pub expires_ms: i64,
    pub uses_left: u32,
}

/// Somebody who joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Enrollment {
    pub grant: Grant,
    /// When the last certificate under it ends, in milliseconds since 1970.
    pub until_ms: i64,
    /// The join token's id.
    pub token: String,
    /// The key that joined, by its fingerprint. A call that is repeated with the same token and key
    /// is the same use.
    pub key: String,
}

/// Something that is not to be trusted until then, nor as long as what was there when it was revoked
/// still is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revocation {
    /// In milliseconds since 1970.
    pub until_ms: i64,
    /// The same; an earlier version didn't say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made_ms: Option<i64>,
}

impl Revocation {
    /// Whether something that was created then was there when it was made.
    pub fn is_about(&self, created_ms: i64) -> bool {
        created_ms <= self.made_ms.unwrap_or(self.until_ms)
    }
}

impl StoredResource {
    /// As bytes for the store. The manifest's own version is the store's to say.
    pub fn encode(&self) -> Arc<[u8]> {
        encoded(self)
    }
}

/// A value as bytes for the store.
pub fn encoded(value: &impl Serialize) -> Arc<[u8]> {
    serde_json::to_vec(value).expect("names, numbers and texts can always be written").into()
}

/// A value from the store; absent ones were removed.
pub fn decoded<T: DeserializeOwned>(value: Option<&[u8]>) -> Result<Option<T>, String> {
    value.map(serde_json::from_slice).transpose().map_err(|error| error.to_string())
}

/// Enrolments go by their number in hexadecimal.
pub fn enrollment_key(number: u64) -> Key {
    Key { shelf: Shelf::Enrollments, name: format!("{number:016x}").into() }
}

pub fn enrollment_number(name: &str) -> Result<u64, String> {
    identity::enrollment_number(name).ok_or_else(|| "its name is no number".to_owned())
}

/// What can be revoked.
pub enum Revocable {
    Identity(SpiffeId),
    /// The certificates of one workload.
    Enrollment(u64),
}

impl Revocable {
    /// By the name of its revocation: a SPIFFE id, or what serial numbers begin with.
    ///
    /// # Errors
    /// When the name is neither.
    pub fn parse(name: &str) -> Result<Self, String> {
        match SpiffeId::parse(name) {
            Ok(id) => Ok(Self::Identity(id)),
            Err(_) => enrollment_number(name).map(Self::Enrollment),
        }
    }

    pub fn name(&self) -> Arc<str> {
        match self {
            Self::Identity(id) => id.as_str().into(),
            Self::Enrollment(number) => identity::enrollment_text(*number).into(),
        }
    }
}

/// All that is revoked, from the names of revocations that could be read.
pub fn revoked<'a>(names: impl Iterator<Item = &'a Arc<str>>) -> Revoked {
    let mut revoked = Revoked::default();
    for what in names.flat_map(|name| Revocable::parse(name)) {
        match what {
            Revocable::Identity(id) => drop(revoked.identities.insert(id)),
            Revocable::Enrollment(number) => drop(revoked.enrollments.insert(number)),
        }
    }
    revoked
}

/// What a resource goes by in the store: `kind/namespace/name`.
pub fn resource_name(kind: &str, namespace: &str, name: &str) -> Arc<str> {
    format!("{kind}/{namespace}/{name}").into()
}

impl Held {
    /// # Errors
    /// Why it can't be read.
    pub fn read(value: &[u8], version: u64) -> Result<Self, String> {
        let stored: StoredResource =
            serde_json::from_slice(value).map_err(|error| error.to_string())?;
        let at = created(stored.manifest, moment(stored.created_ms));
        let resource = Arc::new(resource(at)?);
        Ok(Self { resource, version, created_ms: stored.created_ms })
    }

    /// What counts for an access policy that can't be read; `None`: it is another kind.
    pub fn strict(name: &str, value: &[u8], version: u64) -> Option<Self> {
        let (namespace, name) = name.strip_prefix("AccessPolicy/")?.split_once('/')?;
        let stored: Value = serde_json::from_slice(value).unwrap_or_default();
        let created_ms = stored["createdMs"].as_i64().unwrap_or_default();
        let metadata = Metadata {
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            labels: Labels::new(),
            created: Some(moment(created_ms)),
            version: None,
            at: Origin::file("the store"),
        };
        let policy = AccessPolicy::in_place_of(&stored["manifest"].to_string(), metadata);
        Some(Self { resource: Resource::AccessPolicy(policy.into()).into(), version, created_ms })
    }

    pub fn service(&self) -> Option<&Service> {
        service(&self.resource)
    }

    /// The manifest with its version, as people are shown it.
    pub fn manifest(&self) -> Value {
        shown(manifest::of(&self.resource), self.created_ms, self.version)
    }
}

impl Registration {
    /// # Errors
    /// Why it can't be read.
    pub fn read(value: &[u8], version: u64) -> Result<Self, String> {
        let stored: StoredResource =
            serde_json::from_slice(value).map_err(|error| error.to_string())?;
        let Resource::Workload(workload) = resource(stored.manifest)? else {
            return Err("it is no workload".to_owned());
        };
        let enrollment = stored.enrollment.unwrap_or_default();
        let created_ms = stored.created_ms;
        Ok(Self { workload, version, since: version, created_ms, enrollment })
    }

    /// What it goes by: `namespace/name`.
    pub fn name(&self) -> String {
        let Metadata { namespace, name, .. } = &self.workload.metadata;
        format!("{namespace}/{name}")
    }

    /// The manifest with its version, as people are shown it.
    pub fn manifest(&self) -> Value {
        let manifest = manifest::of(&Resource::Workload(self.workload.clone()));
        shown(manifest, self.created_ms, self.since)
    }
}

pub fn workload(resource: &Resource) -> Option<&Workload> {
    if let Resource::Workload(workload) = resource { Some(workload) } else { None }
}

pub fn service(resource: &Resource) -> Option<&Service> {
    if let Resource::Service(service) = resource { Some(service) } else { None }
}

fn resource(manifest: Value) -> Result<Resource, String> {
    let origin = Origin::file("the store");
    let read = parse_documents(&manifest.to_string(), &origin, "default");
    let mut read = read
        .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    read.pop().ok_or_else(|| "it is empty".to_owned())
}

/// To the millisecond: of two that were applied within a second, too, the older one counts.
fn moment(created_ms: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(created_ms).unwrap_or_default()
}

fn created(mut manifest: Value, at: jiff::Timestamp) -> Value {
    manifest["metadata"]["creationTimestamp"] = Value::from(at.to_string());
    manifest
}

/// As people are shown it: with its version, and created to the second, as Kubernetes says it.
fn shown(manifest: Value, created_ms: i64, version: u64) -> Value {
    let second = jiff::Timestamp::from_second(created_ms.div_euclid(1000)).unwrap_or_default();
    let mut manifest = created(manifest, second);
    manifest["metadata"]["resourceVersion"] = Value::from(version.to_string());
    manifest
}
