//! One Secret, read and written whole, and only as long as it is what was read.
//!
//! Labels, annotations and fields that other people put there stay. Callers: `authority`, `state`.

use std::collections::BTreeMap;

use futures_util::Stream;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};

use super::asking::{Error, MANAGER, asked};

/// Where the Secret is.
#[derive(Clone)]
pub(super) struct Place {
    api: Api<Secret>,
    namespace: Box<str>,
    name: &'static str,
}

/// What stood there.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(Option<Secret>);

pub(super) type Data = BTreeMap<String, Vec<u8>>;

impl Place {
    pub fn new(client: Client, namespace: &str, name: &'static str) -> Self {
        Self { api: Api::namespaced(client, namespace), namespace: namespace.into(), name }
    }

    /// As errors and log lines name it.
    pub fn shown(&self) -> String {
        format!("Secret {}/{}", self.namespace, self.name)
    }

    pub async fn read(&self) -> Result<Seen, Error> {
        Ok(Seen(asked(self.api.get_opt(self.name)).await?))
    }

    /// Puts `data` in place of what was seen.
    ///
    /// # Errors
    /// A conflict ([`Error::is_conflict`]) when something else stands there by now.
    pub async fn put(&self, seen: &Seen, data: Data) -> Result<Seen, Error> {
        let mut next = seen.0.clone().unwrap_or_default();
        next.data = Some(data.into_iter().map(|(key, value)| (key, ByteString(value))).collect());
        let by = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let put = if seen.0.is_some() {
            // Its resourceVersion is the precondition.
            asked(self.api.replace(self.name, &by, &next)).await?
        } else {
            next.metadata.name = Some(self.name.to_owned());
            let label = ("outrigger.dev/managed-by".to_owned(), "control-plane".to_owned());
            next.metadata.labels = Some(BTreeMap::from([label]));
            asked(self.api.create(&by, &next)).await?
        };
        Ok(Seen(Some(put)))
    }

    /// What stands there from now on, each time it changes; goes on after errors.
    pub fn watch(&self) -> impl Stream<Item = Result<Seen, watcher::Error>> + Send + use<> {
        use futures_util::TryStreamExt;
        watcher::watch_object(self.api.clone(), self.name).map_ok(Seen).default_backoff()
    }
}

impl Seen {
    pub fn is_there(&self) -> bool {
        self.0.is_some()
    }

    pub fn data(&self) -> Data {
        let data = self.0.as_ref().and_then(|secret| secret.data.as_ref());
        data.into_iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect()
    }

    /// Empty when there is none.
    pub fn version(&self) -> &str {
        let secret = self.0.as_ref();
        secret.and_then(|secret| secret.metadata.resource_version.as_deref()).unwrap_or_default()
    }

    /// Whether it is known to be from before `other`: watches lag behind one's own writes. Versions
    /// of one object are numbers that grow, wherever anybody has seen them; where they are not,
    /// nothing is known.
    pub fn is_before(&self, other: &Seen) -> bool {
        let number = |seen: &Seen| seen.version().parse::<u64>().ok();
        matches!((number(self), number(other)), (Some(this), Some(that)) if this < that)
    }
}
