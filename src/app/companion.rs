//! Leaving with the app, for a sidecar that is an ordinary container beside it: a Job's pod ends
//! only when all its containers have.
//!
//! Nobody tells a container that its neighbour has ended, so the processes of the pod are looked
//! at. The app must have been seen first, and be gone for a while: one process may follow another.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::runtime::processes::{self, Beside};

/// How often processes are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Gone for so long is gone.
const GONE_FOR: Duration = Duration::from_secs(2);

/// Waits until the app has come and gone; for ever where it can't be seen.
pub async fn left() {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut presence = Presence::default();
    let mut is_first = true;
    loop {
        looks.tick().await;
        let found = processes::beside();
        if std::mem::take(&mut is_first) && !can_see(&found) {
            return std::future::pending().await;
        }
        let Ok(Beside { others, .. }) = found else { continue };
        let was_seen = presence.was_seen;
        if presence.is_over(others, Instant::now()) {
            info!("no process of the app is left");
            return;
        }
        if presence.was_seen && !was_seen {
            info!(processes = others, "sees the app, and will leave with it");
        }
    }
}

fn can_see(found: &std::io::Result<Beside>) -> bool {
    match found {
        Ok(Beside { is_shared: true, .. }) => return true,
        Ok(_) => warn!(
            "exitWithApp: the app's processes can't be seen, so the sidecar will not leave with \
             it; give the pod shareProcessNamespace: true"
        ),
        Err(error) => {
            warn!(%error, "exitWithApp: /proc can't be read; the sidecar will not leave with the app");
        }
    }
    false
}

/// Whether the app is there, over time.
#[derive(Debug, Default)]
struct Presence {
    was_seen: bool,
    gone_since: Option<Instant>,
}

impl Presence {
    /// Whether it has come and, at `now`, been gone long enough; `others` are its processes.
    fn is_over(&mut self, others: usize, now: Instant) -> bool {
        if others > 0 {
            *self = Presence { was_seen: true, gone_since: None };
        }
        if others > 0 || !self.was_seen {
            return false;
        }
        now.duration_since(*self.gone_since.get_or_insert(now)) >= GONE_FOR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_over_when_the_app_has_come_and_stayed_away() {
        let begun = Instant::now();
        let mut presence = Presence::default();
        // Seconds since the start, processes, whether that is the end.
        for (at, others, over) in [
            (0, 0, false),
            (60, 0, false),
            (61, 2, false),
            (62, 0, false),
            (63, 1, false),
            (64, 0, false),
            (65, 0, false),
            (66, 0, true),
        ] {
            let now = begun + Duration::from_secs(at);
            assert_eq!(presence.is_over(others, now), over, "after {at} s");
        }
    }
}
