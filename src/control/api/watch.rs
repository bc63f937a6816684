//! Tells a reader what there is, then every change.
//!
//! What the reader was told, by version and how it fares, is compared with the newest state whenever there is one: a
//! slow reader skips states instead of queueing them, and what is kept for it is a number and a
//! few words for each resource. Ends when the reader leaves.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc::Sender;
use tonic::Status;

use super::said;
use super::standings::{Newest, Standings};
use super::view::{Filter, Id, Shown};
use crate::control::catalog::Catalog;
use crate::wire::v1;
use crate::wire::v1::watch_event::Event;

/// What goes to the reader.
pub type Said = Result<v1::WatchEvent, Status>;

/// Events that may wait for the reader.
pub const QUEUE: usize = 16;

/// The reader left.
struct Left;

pub async fn follow(
    catalog: Arc<Catalog>,
    shared: Arc<Newest>,
    filter: Filter,
    reader: Sender<Said>,
) {
    let mut revisions = catalog.revisions();
    let mut told = BTreeMap::new();
    let mut synced = false;
    loop {
        revisions.mark_unchanged();
        let snapshot = catalog.snapshot();
        let (newest, standings) = (filter.of(&snapshot), shared.of(&snapshot));
        drop(snapshot);
        if tell(&reader, &mut told, newest, &standings).await.is_err() {
            return;
        }
        if !synced && say(&reader, Event::Synced(v1::Synced {})).await.is_err() {
            return;
        }
        synced = true;
        tokio::select! {
            changed = revisions.changed() => if changed.is_err() { return },
            () = reader.closed() => return,
        }
    }
}

/// Brings the reader from what it was told to `newest`.
async fn tell(
    reader: &Sender<Said>,
    told: &mut BTreeMap<Id, (u64, String)>,
    newest: BTreeMap<Id, Shown>,
    standings: &Standings,
) -> Result<(), Left> {
    let gone: Vec<Id> = told.keys().filter(|id| !newest.contains_key(id)).cloned().collect();
    for id in gone {
        told.remove(&id);
        say(reader, Event::Deleted(said::key(id))).await?;
    }
    for (id, shown) in newest {
        let status = standings.status(&id).to_owned();
        let now = (shown.version(), status.clone());
        if told.get(&id) != Some(&now) {
            told.insert(id.clone(), now);
            say(reader, Event::Upserted(said::resource(id, &shown, &status))).await?;
        }
    }
    Ok(())
}

async fn say(reader: &Sender<Said>, event: Event) -> Result<(), Left> {
    reader.send(Ok(v1::WatchEvent { event: Some(event) })).await.map_err(|_| Left)
}
