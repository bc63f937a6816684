//! What somebody watches through the control plane: begun, told and ended as it says.
//!
//! Told a few times a second, and not ahead of what the control plane takes: what it has no time for
//! waits in the tap's own bounded queue, and is left out and counted there. Every tap ends with the
//! session.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::{info, warn};

use super::{QUEUE, Say, Talk};
use crate::agent::convert;
use crate::agent::session::Ended;
use crate::runtime::clock::now_us;
use crate::telemetry::tap::{Drained, LeftOut, Watcher};
use crate::wire::v1;

/// Between two messages.
pub const PAUSE: Duration = Duration::from_millis(200);
/// In one message.
const REQUESTS: usize = 200;
const BYTES: usize = 96 << 10;
/// Messages that may wait for the control plane before requests do.
const AHEAD: usize = 8;

/// The taps of this session, by their ids.
pub type Taps = BTreeMap<u64, Watcher>;

impl Talk {
    /// Begins to watch, or watches something else; says so, or why not.
    pub(super) fn tap(&mut self, tap: v1::Tap) -> Result<(), Ended> {
        let v1::Tap { id, filters, rate } = tap;
        self.tell_tapped(id)?;
        self.taps.remove(&id);
        let filters = convert::filters(filters);
        let begun = filters.and_then(|filters| {
            let said: Vec<String> = filters.iter().map(ToString::to_string).collect();
            let taps = &self.agent.hooks.signals.taps;
            let watcher = taps.begin(filters, rate, now_us()).map_err(|error| error.to_string())?;
            Ok((watcher, said.join("; or ")))
        });
        let refusal = match begun {
            Ok((watcher, filters)) => {
                info!(id, filters, rate, "the control plane watches requests");
                self.taps.insert(id, watcher);
                String::new()
            }
            Err(refusal) => {
                warn!(id, "the control plane can't watch requests: {refusal}");
                refusal
            }
        };
        self.say(Say::Tapped(v1::Tapped { id, refusal, ..v1::Tapped::default() }))
    }

    /// Nobody watches any more.
    pub(super) fn untap(&mut self, v1::Untap { id }: v1::Untap) {
        if self.taps.remove(&id).is_some() {
            info!(id, "the control plane watches no more");
        }
    }

    /// Tells what was seen.
    pub(super) fn tell_taps(&mut self) -> Result<(), Ended> {
        let ids: Vec<u64> = self.taps.keys().copied().collect();
        ids.into_iter().try_for_each(|id| self.tell_tapped(id))
    }

    fn tell_tapped(&mut self, id: u64) -> Result<(), Ended> {
        let Some(watcher) = self.taps.get(&id).filter(|_| self.say.capacity() + AHEAD > QUEUE)
        else {
            return Ok(());
        };
        let Drained { items, left_out, is_over } = watcher.queue().drain(REQUESTS, BYTES, now_us());
        if is_over {
            self.taps.remove(&id);
        }
        if items.is_empty() && left_out == LeftOut::default() {
            return Ok(());
        }
        let LeftOut { over_rate, unread } = left_out;
        let requests = items.iter().map(convert::tapped).collect();
        let refusal = String::new();
        self.say(Say::Tapped(v1::Tapped { id, requests, over_rate, unread, refusal }))
    }
}
