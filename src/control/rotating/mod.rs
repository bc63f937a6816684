//! Takes a root's replacement from step to step, as soon as nothing stands against the next.
//!
//! Each replica runs it; only the one that leads acts, and each step says which phase it goes on from,
//! so that two who believe that they lead take it once. What it goes by is looked at anew each time:
//! nothing of it is kept but what the authority's own document says, and a process that was killed
//! leaves nothing behind. Callers: the process's wiring, and `api`, for people who ask how it stands.

mod waits;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{error, info};

use super::ca::{BACKDATED, Change, Phase, RotationView, View};
use super::desk::Desk;
use super::memory::part::Sidecar;
use crate::http::respond::chain;
use crate::runtime::supervise::kept_anew;
pub use waits::{Connected, Replica, Situation, old_certificates, waits};

/// Between two looks while a root is being replaced, alone and with others to ask.
const LOOK: Duration = Duration::from_millis(500);
const LOOK_AROUND: Duration = Duration::from_secs(3);

/// An old certificate's end is put off no more often: while a replica can't follow.
const PROLONGED: Duration = Duration::from_secs(60);

/// Looks after replacements while this process leads; never ends. `leads`: absent, it is alone.
pub async fn drive(desk: Arc<Desk>, leads: Option<watch::Receiver<bool>>) {
    // How far it is stands in the authority, and each step is taken from there.
    let begin = || follow(Arc::clone(&desk), leads.clone());
    kept_anew("the replacement of the root", begin).await;
}

async fn follow(desk: Arc<Desk>, mut leads: Option<watch::Receiver<bool>>) {
    let mut news = desk.authority.news();
    let look = if leads.is_some() { LOOK_AROUND } else { LOOK };
    let mut said = String::new();
    loop {
        let is_ours = leads.as_ref().is_none_or(|leads| *leads.borrow());
        let rotation = desk.authority.view().rotation.filter(|_| is_ours);
        let led = async {
            match &mut leads {
                Some(leads) => leads.changed().await.is_ok(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = news.changed() => {}
            led = led => if !led { return },
            () = sleep(look), if rotation.is_some() => step(&desk, &mut said).await,
        }
    }
}

/// Takes the next step if it may be taken.
async fn step(desk: &Arc<Desk>, said: &mut String) {
    let (view, situation) = standing(desk).await;
    let Some(rotation) = &view.rotation else { return };
    let open = waits(&view, rotation, &situation);
    let change = if open.is_empty() {
        let leaves_end = leaves_end(desk, &situation);
        info!(from = rotation.phase.as_str(), "the replacement of the root goes on");
        Change::Advance { from: rotation.phase, leaves_end }
    } else {
        let now = open.join("; ");
        if *said != now {
            info!(phase = rotation.phase.as_str(), "the replacement of the root waits: {now}");
            *said = now;
        }
        match prolonged(desk, &view, rotation, &situation) {
            Some(change) => change,
            None => return,
        }
    };
    if let Err(error) = desk.custody.make(change).await {
        error!("the replacement of the root can't go on: {}", chain(&error));
    }
}

/// A replica that can't follow may still sign below the old root.
fn prolonged(
    desk: &Desk,
    view: &View,
    rotation: &RotationView,
    situation: &Situation,
) -> Option<Change> {
    let ends = rotation.old_leaves_end.filter(|_| rotation.phase == Phase::Use)?;
    let leaves_end = situation.now + desk.authority.leaf_lifetime();
    (waits::may_lag(view, situation) && leaves_end > ends + PROLONGED)
        .then_some(Change::Prolong { leaves_end })
}

/// When the last certificate ends that was issued until now: by its lifetime, or, if that was longer
/// once, as far as anything is known of who has one.
pub fn leaves_end(desk: &Desk, situation: &Situation) -> SystemTime {
    let lifetime = situation.now + desk.authority.leaf_lifetime();
    let joined = desk.catalog.enrollments().into_iter().map(|(_, held)| held.value.until_ms);
    let joined = joined.max().and_then(|ms| u64::try_from(ms).ok());
    let joined = joined.map_or(lifetime, |ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms));
    let shown = situation.sidecars.iter().map(|of| of.ends).max().unwrap_or(lifetime);
    lifetime.max(joined).max(shown)
}

/// How the authority stands, and the mesh below it. Asks the other replicas.
pub async fn standing(desk: &Arc<Desk>) -> (View, Situation) {
    let of = Arc::clone(desk);
    let looked = tokio::task::spawn_blocking(move || {
        // First what is to be followed, then who follows it.
        let view = of.authority.view();
        let situation = situation(&of, &view, SystemTime::now());
        (view, situation)
    });
    // It only looks: one that broke is looked at again by whoever asked.
    looked.await.unwrap_or_else(|_| {
        let now = SystemTime::now();
        let why = "what it knows can't be read: the log says why".to_owned();
        let broken = Replica { name: "this one".into(), revision: Err(why) };
        let (sidecars, absent) = (Vec::new(), Vec::new());
        let situation = Situation { now, settled: now, sidecars, absent, replicas: vec![broken] };
        (desk.authority.view(), situation)
    })
}

fn situation(desk: &Desk, view: &View, now: SystemTime) -> Situation {
    let whole = desk.observer.sidecars(now);
    let moment = |ms: i64| {
        SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).unwrap_or_default())
    };
    let connected = |of: &&Sidecar| Connected {
        workload: Arc::clone(&of.workload),
        bundle: of.bundle,
        acknowledges: of.acknowledges_bundles,
        issued: moment(of.certificate_began_ms) + BACKDATED,
        ends: moment(of.certificate_ends_ms),
    };
    let sidecars: Vec<Connected> = whole.sidecars().iter().map(connected).collect();
    let own = &desk.observer.memory.replica;
    let others = whole.asked.iter().filter(|of| of.replica != *own);
    let revision = |name: &Arc<str>| {
        let part = whole.parts.iter().find(|part| part.replica == *name);
        part.map(|part| part.trust_revision).unwrap_or_default()
    };
    let replicas = others.map(|of| Replica {
        name: Arc::clone(&of.replica),
        revision: of.silence.clone().map_or_else(|| Ok(revision(&of.replica)), Err),
    });
    let replicas = replicas.collect();
    let begun = view.rotation.as_ref().map_or(now, |rotation| rotation.since);
    // Who registered and is not heard of is let go after a lease; whoever has none gets as long, twice.
    let patience = 2 * desk.registrar.lock().lease();
    let settled = begun.max(now - desk.began.elapsed()) + patience;
    Situation { now, settled, absent: absent(desk, &sidecars), sidecars, replicas }
}

/// Those that belong to the mesh and are not connected.
fn absent(desk: &Desk, sidecars: &[Connected]) -> Vec<String> {
    let here: HashSet<&str> = sidecars.iter().map(|of| &*of.workload).collect();
    let registered = desk.catalog.registrations().into_iter().map(|held| {
        let metadata = &held.workload.metadata;
        format!("{}.{}", metadata.name, metadata.namespace)
    });
    let pods = desk.catalog.snapshot().pods.into_iter().map(|(pod, _)| pod);
    let pods = pods.filter(|pod| pod.is_meshed && !pod.is_terminating);
    let pods = pods.map(|pod| format!("{}.{}", pod.metadata.name, pod.metadata.namespace));
    registered.chain(pods).filter(|name| !here.contains(name.as_str())).collect()
}
