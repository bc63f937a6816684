//! What a sidecar is asked to watch, and what it tells of that.
//!
//! The list of taps is compared with what this sidecar was asked for, whenever there is a change: what
//! is new is asked, what is gone is taken back. What nobody asked it for is not looked at.

use std::collections::BTreeMap;

use tonic::Status;
use tracing::warn;

use super::Session;
use super::judged::quoted;
use crate::control::api::convert;
use crate::control::api::taps::{Asked, Sidecar};
use crate::runtime::clock::now_us;
use crate::telemetry::tap::Filter;
use crate::wire::v1;
use crate::wire::v1::to_sidecar::Message as Tell;

/// What this sidecar was asked for, by the taps' ids.
pub type Watched = BTreeMap<u64, (Asked, Vec<Filter>)>;

impl Session {
    /// Asks for what concerns it, where that is otherwise than it was.
    pub(super) async fn tap(&mut self) -> Result<(), Status> {
        let live = self.desk.taps.follow().borrow().clone();
        let gone: Vec<u64> = self.watched.keys().copied().collect();
        for id in gone.into_iter().filter(|id| live.iter().all(|tap| tap.id != *id)) {
            self.watched.remove(&id);
            self.tell(Tell::Untap(v1::Untap { id })).await?;
        }
        if live.is_empty() {
            return Ok(());
        }
        let directory = self.desk.observer.memory.directory(&self.desk.catalog);
        for tap in live {
            let sidecar = Sidecar { workload: &self.workload, identity: &self.peer.id };
            let filters = tap.target.filters(&tap.filter, sidecar, &directory);
            let id = tap.id;
            match (self.watched.get_mut(&id), filters.is_empty()) {
                (None, true) => continue,
                (Some(_), true) => {
                    self.watched.remove(&id);
                    self.tell(Tell::Untap(v1::Untap { id })).await?;
                    continue;
                }
                (Some((_, told)), false) if *told == filters => continue,
                (Some((_, told)), false) => told.clone_from(&filters),
                (None, false) => {
                    self.watched.insert(id, (Asked::of(&tap), filters.clone()));
                }
            }
            let filters = filters.iter().map(v1::TapFilter::from).collect();
            self.tell(Tell::Tap(v1::Tap { id, filters, rate: tap.rate })).await?;
        }
        Ok(())
    }

    /// What it saw.
    pub(super) fn tapped(&mut self, tapped: v1::Tapped) {
        let v1::Tapped { id, requests, over_rate, unread, refusal } = tapped;
        let Some((asked, _)) = self.watched.get_mut(&id) else { return };
        if !refusal.is_empty() {
            let why = quoted(&[refusal]);
            warn!(workload = self.workload, why, "a sidecar does not watch");
            return;
        }
        asked.watches();
        let (requests, left_out) = convert::tapped(requests, over_rate, unread);
        let workload = format!("{}.{}", self.workload, self.peer.id.namespace());
        asked.tap.take(&workload, requests, left_out, now_us());
    }
}
