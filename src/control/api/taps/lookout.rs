//! What somebody who taps works with, a person or another replica: who is connected here, the taps,
//! and how both begin one.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::{Duration, Interval, MissedTickBehavior, interval};
use tonic::Status;

use super::{Held, Sidecar, Taps, Target};
use crate::control::api::convert::{TapOrder, Whose};
use crate::control::memory::Observer;
use crate::control::sessions::Session;
use crate::runtime::clock::now_us;
use crate::telemetry::tap::Filter;
use crate::wire::v1;

/// How often it is seen to whether others are concerned than before.
const LOOK: Duration = Duration::from_secs(1);

/// Where requests are watched from. Clones look at the same.
#[derive(Clone)]
pub struct Lookout {
    pub observer: Arc<Observer>,
    pub taps: Arc<Taps>,
    /// Turns true when this process is about to end.
    pub leaving: watch::Receiver<bool>,
}

/// A tap that was just begun.
pub struct Begun {
    pub held: Held,
    /// Connected sidecars that it concerns.
    pub sidecars: u32,
    pub count: u64,
    pub length: Duration,
}

impl Lookout {
    /// Begins what was asked for, at the sidecars that are connected here.
    ///
    /// # Errors
    /// INVALID_ARGUMENT, NOT_FOUND and RESOURCE_EXHAUSTED, as the protocol says.
    pub fn begin(&self, request: v1::TapRequest) -> Result<Begun, Status> {
        let order = TapOrder::try_from(request).map_err(Status::invalid_argument)?;
        let TapOrder { target, filter, rate, count, length } = order;
        let target = match target {
            Whose::Known(target) => target,
            Whose::Named(name) => self.named(name).map_err(Status::not_found)?,
        };
        let sidecars = self.concerned(&target, &filter);
        let held = self.taps.begin(target, filter, rate, now_us()).ok_or_else(|| {
            Status::resource_exhausted("too many watch requests already: end one of them first")
        })?;
        Ok(Begun { held, sidecars, count, length })
    }

    fn concerned(&self, target: &Target, filter: &Filter) -> u32 {
        let observer = &self.observer;
        let directory = observer.memory.directory(&observer.catalog);
        let sessions = observer.sessions.list();
        let concerned = sessions
            .iter()
            .filter(|session| !target.filters(filter, sidecar(session), &directory).is_empty());
        u32::try_from(concerned.count()).unwrap_or(u32::MAX)
    }

    /// Who has the name.
    fn named(&self, name: String) -> Result<Target, String> {
        let Observer { memory, catalog, sessions, .. } = &*self.observer;
        if memory.directory(catalog).services.contains_key(name.as_str()) {
            return Ok(Target::Service(name.into()));
        }
        // A pod's sidecar may be connected to another replica.
        let is_pod = name
            .rsplit_once('.')
            .is_some_and(|(name, namespace)| catalog.pod(&format!("{namespace}/{name}")).is_some());
        if is_pod || sessions.list().iter().any(|session| sidecar(session).name() == name) {
            return Ok(Target::Workload(name.into()));
        }
        Err(format!(
            "neither a service nor the workload of a connected sidecar is called {name}; \
             workload/{name} waits for one"
        ))
    }

    /// For looks every second.
    pub fn looks(&self) -> Looks {
        let mut every = interval(LOOK);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Looks { lookout: self.clone(), every, revision: 0 }
    }
}

fn sidecar(session: &Session) -> Sidecar<'_> {
    let facts = &session.facts;
    Sidecar { workload: &facts.workload, identity: &facts.identity }
}

/// Sees to it that whoever comes to be behind a service is asked too.
pub struct Looks {
    lookout: Lookout,
    every: Interval,
    revision: u64,
}

impl Looks {
    /// The next look. Nothing is lost when it is dropped before.
    pub async fn next(&mut self) {
        self.every.tick().await;
        // The directory may be older than the catalog when a session first looks.
        let Lookout { observer, taps, .. } = &self.lookout;
        let now = observer.memory.directory(&observer.catalog).revision;
        if std::mem::replace(&mut self.revision, now) != now {
            taps.look_again();
        }
    }
}
