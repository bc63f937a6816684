//! A tap at all other replicas: what their sidecars see goes into the same queue, under the same rate.
//!
//! One task for each replica, which is asked over a connection of its own and asked again when that
//! ends. Who comes is asked, who goes is left; each says something every second, so that silence is
//! seen. How it goes at each is told to whoever began the tap, and all ends when nobody listens.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tonic::{Request, Streaming};

use super::Replicas;
use super::link::{ANSWER, Own, connect, said};
use crate::control::api::Tap;
use crate::control::catalog::Catalog;
use crate::runtime::clock::now_us;
use crate::telemetry::tap::LeftOut;
use crate::wire::v1;
use crate::wire::v1::replicas_client::ReplicasClient;

/// Between two looks at who is there.
const LOOK: Duration = Duration::from_secs(1);
/// How long one that did not answer is left alone.
const ALONE: Duration = Duration::from_secs(2);
/// It says something every second.
const QUIET: Duration = Duration::from_secs(5);

/// How a tap goes at another replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing is known yet.
    Asked,
    /// Its sidecars are asked, and so many of them watch.
    Shown { sidecars: u32, watching: u32 },
    /// Why its sidecars are not shown.
    Silent(String),
}

/// How it goes at all others, by name.
pub type Elsewhere = BTreeMap<String, (SocketAddr, State)>;

/// One tap.
pub struct Tapping {
    pub order: v1::TapRequest,
    pub tap: Arc<Tap>,
    pub told: watch::Sender<Elsewhere>,
}

impl Tapping {
    /// Until nobody wants to know any more.
    pub async fn follow(self, replicas: &Replicas, catalog: &Catalog, own: &Rc<Own>) {
        let of = Rc::new(self);
        let mut tasks = JoinSet::new();
        let mut known: BTreeMap<String, (SocketAddr, AbortHandle)> = BTreeMap::new();
        let (mut all, mut seen) = (Vec::new(), None);
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = of.told.closed() => return,
                _ = looks.tick() => {}
            }
            while tasks.try_join_next().is_some() {}
            let revision = catalog.revision();
            if seen.replace(revision) != Some(revision) {
                all = replicas.others(catalog);
            }
            known.retain(|name, (address, task)| {
                let stays = all.iter().any(|(n, at)| n == name && at == address);
                if !stays {
                    task.abort();
                }
                // One that broke is begun again.
                stays && !task.is_finished()
            });
            of.told.send_if_modified(|told| {
                let before = told.len();
                told.retain(|name, (at, _)| all.iter().any(|(n, a)| n == name && a == at));
                told.len() != before
            });
            for (name, address) in &all {
                if known.contains_key(name) {
                    continue;
                }
                let (of, own) = (Rc::clone(&of), Rc::clone(own));
                let (to, at) = (name.clone(), *address);
                let task = tasks.spawn_local(async move { of.hold(&to, at, &own).await });
                known.insert(name.clone(), (*address, task));
            }
        }
    }

    /// Asks one again and again.
    async fn hold(&self, name: &str, address: SocketAddr, own: &Own) {
        self.say(name, address, State::Asked);
        loop {
            let why = self.hear(name, address, own).await;
            self.say(name, address, State::Silent(why));
            sleep(ALONE).await;
        }
    }

    /// What one says, until it says no more; why.
    async fn hear(&self, name: &str, address: SocketAddr, own: &Own) -> String {
        let mut stream = match timeout(ANSWER, self.ask(address, own)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(why)) => return why,
            Err(_) => return format!("it did not answer within {} s", ANSWER.as_secs()),
        };
        loop {
            let part = match timeout(QUIET, stream.message()).await {
                Ok(Ok(Some(part))) => part,
                Ok(Ok(None)) => return "it watches no more".to_owned(),
                Ok(Err(status)) => return said(&status),
                Err(_) => return format!("it said nothing for {} s", QUIET.as_secs()),
            };
            let v1::ReplicaTapped { replica, sidecars, watching, records, over_rate, unread } =
                part;
            if replica != name {
                return format!("{replica:?} answers there");
            }
            self.say(name, address, State::Shown { sidecars, watching });
            let now_us = now_us();
            for v1::TapRecord { workload, request } in records {
                let requests = request.into_iter().collect();
                self.tap.take(&workload, requests, LeftOut::default(), now_us);
            }
            self.tap.queue.leave_out(LeftOut { over_rate, unread });
        }
    }

    async fn ask(
        &self,
        address: SocketAddr,
        own: &Own,
    ) -> Result<Streaming<v1::ReplicaTapped>, String> {
        let made = connect(address, own).await?;
        let mut client = ReplicasClient::new(made.channel);
        let answer = client.tap(Request::new(self.order.clone())).await;
        answer.map(tonic::Response::into_inner).map_err(|status| said(&status))
    }

    fn say(&self, name: &str, address: SocketAddr, state: State) {
        self.told.send_if_modified(|told| {
            let new = (address, state);
            let is_other = told.get(name) != Some(&new);
            if is_other {
                told.insert(name.to_owned(), new);
            }
            is_other
        });
    }
}
