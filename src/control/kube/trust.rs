//! What every namespace has to trust: the authority's roots in a ConfigMap, which Pods mount.
//!
//! The leader keeps one in each namespace, whatever anybody does to it: made when the namespace is,
//! put right when it was edited, made again when it was removed. A namespace in which that fails is
//! tried again later and holds up no other; one that is going away is left alone.

mod index;

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tracing::{debug, warn};

use self::index::{About, Index};
use super::asking::{Error, MANAGER, asked};
use crate::control::ca::Authority;
use crate::http::respond::chain;

/// The ConfigMap's name.
pub const CONFIG_MAP: &str = "outrigger-trust-bundle";

/// Its only field of ours.
pub const FIELD: &str = "ca.pem";

const LABEL: (&str, &str) = ("outrigger.dev/managed-by", "control-plane");

/// Between two looks whether the authority has other roots.
const LOOK: Duration = Duration::from_secs(30);

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(300);

/// Keeps the ConfigMap in all namespaces, while this replica leads; never ends.
pub async fn spread(client: Client, authority: Arc<Authority>, is_leader: watch::Receiver<bool>) {
    let namespaces: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
    let namespaces = watcher(namespaces, watcher::Config::default()).default_backoff();
    let maps: Api<ConfigMap> = Api::all(client.clone());
    let named = watcher::Config::default().fields(&format!("metadata.name={CONFIG_MAP}"));
    let maps = watcher(maps, named).default_backoff();
    let pem = authority.roots().to_pem();
    let spreader = Spreader {
        client,
        authority,
        pem,
        namespaces: Index::default(),
        right: Index::default(),
        due: BTreeSet::new(),
        failed: BTreeMap::new(),
    };
    spreader.run(namespaces, maps, is_leader).await;
}

struct Spreader {
    client: Client,
    authority: Arc<Authority>,
    pem: String,
    /// Whether each is going away.
    namespaces: Index<bool>,
    /// Where there is a ConfigMap: whether it is as it should be.
    right: Index<bool>,
    /// Namespaces to look at.
    due: BTreeSet<String>,
    /// When to try again, and how long the one after would take.
    failed: BTreeMap<String, (Instant, Duration)>,
}

impl Spreader {
    async fn run(
        mut self,
        namespaces: impl Stream<Item = watcher::Result<Event<PartialObjectMeta<Namespace>>>>,
        maps: impl Stream<Item = watcher::Result<Event<ConfigMap>>>,
        mut is_leader: watch::Receiver<bool>,
    ) {
        let (mut namespaces, mut maps) = (pin!(namespaces), pin!(maps));
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut news = self.authority.news();
        loop {
            let leads = *is_leader.borrow();
            let works = leads && self.namespaces.is_whole() && self.right.is_whole();
            let again = self.failed.values().map(|(at, _)| *at).min();
            tokio::select! {
                // What is known first, then what follows from it.
                biased;
                changed = is_leader.changed() => match changed {
                    Ok(()) => self.all_due(),
                    Err(_) => return,
                },
                Some(event) = namespaces.next() => self.namespace(event),
                Some(event) = maps.next() => self.map(event),
                _ = looks.tick() => self.look(),
                Ok(()) = news.changed() => self.look(),
                () = async { sleep_until(again.unwrap_or_else(Instant::now)).await },
                    if works && again.is_some() => self.retry(),
                () = std::future::ready(()), if works && !self.due.is_empty() => {
                    if let Some(namespace) = self.due.pop_first() {
                        self.tend(namespace).await;
                    }
                }
            }
        }
    }

    fn namespace(&mut self, event: watcher::Result<Event<PartialObjectMeta<Namespace>>>) {
        let read = |namespace: &PartialObjectMeta<Namespace>| {
            let is_leaving = namespace.metadata.deletion_timestamp.is_some();
            (namespace.name_any(), is_leaving)
        };
        match event {
            Ok(event) => {
                let about = self.namespaces.take(&event, read);
                self.note(about);
            }
            Err(error) => debug!("namespaces can't be followed: {}", chain(&error)),
        }
    }

    fn map(&mut self, event: watcher::Result<Event<ConfigMap>>) {
        let pem = &self.pem;
        let read = |map: &ConfigMap| (map.namespace().unwrap_or_default(), is_right(map, pem));
        match event {
            Ok(event) => {
                let about = self.right.take(&event, read);
                self.note(about);
            }
            Err(error) => debug!("ConfigMaps can't be followed: {}", chain(&error)),
        }
    }

    fn note(&mut self, about: About) {
        match about {
            About::One(name) => drop(self.due.insert(name)),
            About::All => self.all_due(),
            About::Nothing => {}
        }
    }

    fn look(&mut self) {
        let pem = self.authority.roots().to_pem();
        if pem != self.pem {
            self.pem = pem;
            self.right.clear();
            self.all_due();
        }
    }

    fn retry(&mut self) {
        let now = Instant::now();
        let due = self.failed.iter().filter(|(_, (at, _))| *at <= now);
        let due: Vec<String> = due.map(|(name, _)| name.clone()).collect();
        for name in due {
            // The wait stays known until it succeeds.
            if let Some((at, wait)) = self.failed.get_mut(&name) {
                *at = now + *wait;
            }
            self.due.insert(name);
        }
    }

    fn all_due(&mut self) {
        self.due = self.namespaces.names().cloned().collect();
    }

    /// Makes what is in a namespace right, if it is not.
    async fn tend(&mut self, namespace: String) {
        let is_leaving = self.namespaces.value(&namespace) != Some(&false);
        if is_leaving || self.right.value(&namespace) == Some(&true) {
            self.failed.remove(&namespace);
            return;
        }
        match self.put(&namespace).await {
            Ok(map) => {
                self.right.set(namespace.clone(), is_right(&map, &self.pem));
                self.failed.remove(&namespace);
            }
            // It is going, or gone: the watch will tell.
            Err(error) if error.is_terminating() || error.is_not_found() => {}
            Err(error) => {
                let wait = self.failed.get(&namespace).map_or(FIRST_RETRY, |(_, wait)| *wait);
                let next = (wait * 2).min(LAST_RETRY);
                warn!(
                    namespace,
                    "the ConfigMap {CONFIG_MAP} can't be written, and Pods there may not start \
                     without it: {}",
                    chain(&error)
                );
                self.failed.insert(namespace, (Instant::now() + wait, next));
            }
        }
    }

    /// Applied with force: the field and the label are ours, whoever else wrote them.
    async fn put(&self, namespace: &str) -> Result<ConfigMap, Error> {
        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": CONFIG_MAP, "labels": {LABEL.0: LABEL.1}},
            "data": {FIELD: self.pem},
        });
        let api: Api<ConfigMap> = Api::namespaced(self.client.clone(), namespace);
        let by = PatchParams::apply(MANAGER).force();
        asked(api.patch(CONFIG_MAP, &by, &Patch::Apply(map))).await
    }
}

fn is_right(map: &ConfigMap, pem: &str) -> bool {
    let data = map.data.as_ref().and_then(|data| data.get(FIELD));
    let label = map.metadata.labels.as_ref().and_then(|labels| labels.get(LABEL.0));
    data.is_some_and(|data| data == pem) && label.is_some_and(|label| label == LABEL.1)
}
