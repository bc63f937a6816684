//! One kind of object, listed once and then followed.
//!
//! The list comes as a stream where the server can, so that neither side holds all of it; else in
//! pages. After that only changes come, from the version where the last one was, through restarts of
//! the server and lost connections. A server that has forgotten that version says so (410), and
//! everything is listed again. Written on the client's own calls rather than on the library's
//! watcher, which shows neither the server's signs of life nor a connection that came back: without
//! both nobody could tell old from quiet.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use kube::api::{Api, ListParams, ObjectMeta, WatchEvent, WatchParams};
use kube::{Error, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use super::health::Watch;
use crate::control::catalog::{Change, ObjectName};
use crate::http::respond::chain;
use crate::runtime::clock::Rng;

/// For an answer to begin.
const PATIENCE: Duration = Duration::from_secs(30);
/// The server says once a minute that nothing changed, unless its store tells it so more seldom: etcd
/// does every ten minutes by itself, and kubeadm makes that 5 s. So silence means nothing yet; after
/// half a minute more it is asked to go on, and only whoever doesn't answer that is gone.
const SILENCE: Duration = Duration::from_secs(90);
/// Each call to follow is ended by the server after so many seconds, and as many more at random, so
/// that the watches of all replicas don't end together.
const SPAN: (u32, usize) = (240, 120);
/// Objects a page, as the cluster's own programs ask for them.
const PAGE: u32 = 500;
/// The first pause after trouble is up to this, each next up to twice as long, up to the other.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Between two looks for a kind that the cluster doesn't have, at most.
const LOOK: Duration = Duration::from_secs(20);
/// So often a kind must be missing that was there: a server that just started may not know it yet.
const MISSING: u32 = 3;

/// What a watch tells.
#[derive(Debug)]
pub enum Told {
    Change(Change),
    /// Everything that there was came before this.
    Complete(Arc<Watch>),
}

/// How a kind of object is told.
pub trait Teller<K>: Send {
    /// It is there, or is different; `None`: nothing to tell.
    fn now(&mut self, name: &ObjectName, object: K) -> Option<Change>;
    /// It is no longer there; `None`: nothing to tell.
    fn gone(&mut self, name: &ObjectName) -> Option<Change>;
}

/// An object that can be watched.
pub trait Watchable: Resource + Clone + Debug + DeserializeOwned + Send + 'static {}
impl<K: Resource + Clone + Debug + DeserializeOwned + Send + 'static> Watchable for K {}

/// Why a watch ended.
enum Ended {
    /// As it always does after a while, or it was silent for long: it goes on from where it was.
    InTime,
    /// The server has forgotten where it was.
    Forgotten,
    /// The cluster has no such kind.
    Absent,
    Failed(String),
    /// Nobody listens.
    Unheard,
}

type Events<K> = BoxStream<'static, Result<WatchEvent<K>, Error>>;

/// One kind's follower.
pub struct Follower<K, T> {
    api: Api<K>,
    watch: Arc<Watch>,
    teller: T,
    told: mpsc::Sender<Told>,
    /// The versions that were told last, by name.
    known: HashMap<ObjectName, Box<str>>,
    /// Where to go on; `None`: with a list.
    version: Option<String>,
    /// The server can stream a list, as far as is known.
    streams: bool,
    missing: u32,
    rng: Rng,
}

impl<K: Watchable, T: Teller<K>> Follower<K, T> {
    pub fn new(api: Api<K>, watch: Arc<Watch>, teller: T, told: mpsc::Sender<Told>) -> Self {
        let (known, rng) = (HashMap::new(), Rng::from_system());
        Self { api, watch, teller, told, known, version: None, streams: true, missing: 0, rng }
    }

    /// Until nobody listens any more.
    pub async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let begun = Instant::now();
            let ended = self.follow().await;
            let lasted = begun.elapsed();
            if lasted > LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            let kind = self.watch.kind;
            match ended {
                Ended::Unheard => return,
                Ended::InTime if lasted > LONGEST_PAUSE => continue,
                Ended::InTime => {}
                Ended::Forgotten => {
                    info!(kind, "the API server has forgotten where we were: all is listed again");
                    self.version = None;
                }
                Ended::Absent => {
                    if self.absent().await.is_err() {
                        return;
                    }
                    sleep(LOOK.mul_f64(0.5 + self.rng.unit() / 2.0)).await;
                    continue;
                }
                Ended::Failed(why) => {
                    if self.watch.lost(why.clone()) {
                        warn!(kind, "the cluster can't be watched, what is known stays: {why}");
                    } else {
                        debug!(kind, "the cluster can't be watched: {why}");
                    }
                }
            }
            sleep(pause.mul_f64(self.rng.unit())).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Once from where it is, or from a list.
    async fn follow(&mut self) -> Ended {
        let listed = match &self.version {
            Some(_) => Ok(None),
            None => self.list().await,
        };
        let stream = match listed {
            Ok(Some(stream)) => Ok(stream),
            Ok(None) => self.resume().await,
            Err(ended) => return ended,
        };
        let mut events = match stream {
            Ok(events) => events,
            Err(ended) => return ended,
        };
        loop {
            let event = match next(&mut events).await {
                Ok(event) => event,
                Err(ended) => return ended,
            };
            self.watch.heard();
            let (version, taken) = match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    (object.meta().resource_version.clone(), self.now(object).await)
                }
                WatchEvent::Deleted(object) => {
                    (object.meta().resource_version.clone(), self.gone(object.meta()).await)
                }
                WatchEvent::Bookmark(mark) => (Some(mark.metadata.resource_version), Ok(())),
                WatchEvent::Error(status) => return ended(Error::Api(status)),
            };
            if let Err(ended) = taken {
                return ended;
            }
            self.version = version.filter(|version| !version.is_empty());
        }
    }

    async fn resume(&mut self) -> Result<Events<K>, Ended> {
        let span = SPAN.0 + u32::try_from(self.rng.below(SPAN.1)).unwrap_or_default();
        let params = WatchParams { timeout: Some(span), ..WatchParams::default() };
        let version = self.version.as_deref().unwrap_or_default();
        let events = within(self.api.watch(&params, version)).await?.boxed();
        self.watch.heard();
        Ok(events)
    }

    /// Everything that there is; the changes after it, where the server streams both as one.
    async fn list(&mut self) -> Result<Option<Events<K>>, Ended> {
        let mut seen = HashSet::new();
        let events = match self.streams {
            true => self.stream(&mut seen).await?,
            false => None,
        };
        if events.is_none() {
            self.pages(&mut seen).await?;
        }
        self.watch.listed();
        self.missing = 0;
        let gone: Vec<ObjectName> =
            self.known.keys().filter(|name| !seen.contains(*name)).cloned().collect();
        for name in gone {
            self.remove(&name).await?;
        }
        tell(&self.told, Told::Complete(Arc::clone(&self.watch))).await?;
        Ok(events)
    }

    /// `None`: the server can't.
    async fn stream(&mut self, seen: &mut HashSet<ObjectName>) -> Result<Option<Events<K>>, Ended> {
        let span = SPAN.0 + u32::try_from(self.rng.below(SPAN.1)).unwrap_or_default();
        let params = WatchParams {
            timeout: Some(span),
            send_initial_events: true,
            ..WatchParams::default()
        };
        let begun = timeout(PATIENCE, self.api.watch(&params, "")).await;
        let mut events = match begun.unwrap_or_else(|_| Err(late())) {
            Ok(events) => events.boxed(),
            Err(Error::Api(status)) if matches!(status.code, 400 | 422) => {
                debug!(kind = self.watch.kind, "the API server streams no lists: {status}");
                self.streams = false;
                return Ok(None);
            }
            Err(error) => return Err(ended(error)),
        };
        loop {
            let event = next(&mut events).await?;
            self.watch.heard();
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    seen.extend(name(object.meta()));
                    self.now(object).await?;
                }
                WatchEvent::Deleted(object) => {
                    seen.remove(&name(object.meta()).unwrap_or_default());
                    self.gone(object.meta()).await?;
                }
                WatchEvent::Bookmark(mark) => {
                    // Until the list is whole there is nothing to go on from.
                    if mark.metadata.annotations.contains_key("k8s.io/initial-events-end") {
                        self.version = Some(mark.metadata.resource_version);
                        return Ok(Some(events));
                    }
                }
                WatchEvent::Error(status) => return Err(ended(Error::Api(status))),
            }
        }
    }

    async fn pages(&mut self, seen: &mut HashSet<ObjectName>) -> Result<(), Ended> {
        let mut params = ListParams { limit: Some(PAGE), ..ListParams::default() };
        loop {
            let page = within(self.api.list(&params)).await?;
            self.watch.heard();
            for object in page.items {
                seen.extend(name(object.meta()));
                self.now(object).await?;
            }
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                self.version = page.metadata.resource_version.filter(|v| !v.is_empty());
                let unversioned = || Ended::Failed("its list has no version".to_owned());
                return self.version.is_some().then_some(()).ok_or_else(unversioned);
            }
        }
    }

    async fn now(&mut self, object: K) -> Result<(), Ended> {
        let Some(name) = name(object.meta()) else { return Ok(()) };
        let version = object.meta().resource_version.clone().unwrap_or_default();
        if self.known.get(&name).is_some_and(|known| **known == *version) {
            return Ok(());
        }
        let change = self.teller.now(&name, object);
        self.known.insert(name, version.as_str().into());
        self.watch.holds(self.known.len());
        match change {
            Some(change) => tell(&self.told, Told::Change(change)).await,
            None => Ok(()),
        }
    }

    async fn gone(&mut self, meta: &ObjectMeta) -> Result<(), Ended> {
        match name(meta) {
            Some(name) => self.remove(&name).await,
            None => Ok(()),
        }
    }

    async fn remove(&mut self, name: &ObjectName) -> Result<(), Ended> {
        self.known.remove(name);
        self.watch.holds(self.known.len());
        match self.teller.gone(name) {
            Some(change) => tell(&self.told, Told::Change(change)).await,
            None => Ok(()),
        }
    }

    /// Nothing of this kind is there. What was there stays for a while: a server that comes up may
    /// not know all of its kinds yet.
    async fn absent(&mut self) -> Result<(), Ended> {
        self.version = None;
        self.missing = self.missing.saturating_add(1);
        if !self.known.is_empty() && self.missing < MISSING {
            return Ok(());
        }
        for name in self.known.keys().cloned().collect::<Vec<_>>() {
            self.remove(&name).await?;
        }
        if self.watch.vanished() {
            info!(kind = self.watch.kind, "the cluster has no such kind; it is looked for");
            tell(&self.told, Told::Complete(Arc::clone(&self.watch))).await?;
        }
        Ok(())
    }
}

async fn tell(to: &mpsc::Sender<Told>, told: Told) -> Result<(), Ended> {
    to.send(told).await.map_err(|_| Ended::Unheard)
}

/// `namespace/name`; only the name of what is in no namespace.
fn name(meta: &ObjectMeta) -> Option<ObjectName> {
    let name = meta.name.as_deref()?;
    Some(match meta.namespace.as_deref() {
        Some(namespace) => format!("{namespace}/{name}").into(),
        None => name.into(),
    })
}

async fn within<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, Ended> {
    timeout(PATIENCE, call).await.unwrap_or_else(|_| Err(late())).map_err(ended)
}

async fn next<K>(events: &mut (impl Stream<Item = Result<K, Error>> + Unpin)) -> Result<K, Ended> {
    match timeout(SILENCE, events.next()).await {
        Ok(Some(Ok(event))) => Ok(event),
        Ok(Some(Err(error))) => Err(ended(error)),
        Ok(None) => Err(Ended::InTime),
        Err(_) => Err(Ended::InTime),
    }
}

fn late() -> Error {
    Error::ReadEvents(std::io::Error::new(
        std::io::ErrorKind::TimedOut,
        format!("the API server did not answer within {PATIENCE:?}"),
    ))
}

fn ended(error: Error) -> Ended {
    match &error {
        Error::Api(status) if status.code == 410 => Ended::Forgotten,
        Error::Api(status) if status.code == 404 => Ended::Absent,
        Error::Api(status) if status.code == 403 => Ended::Failed(format!(
            "{}; give its service account the rights that `outrigger install` prints",
            status.message
        )),
        Error::Api(status) => Ended::Failed(format!("{} ({})", status.message, status.code)),
        other => Ended::Failed(chain(other)),
    }
}
