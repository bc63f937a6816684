//! Leaving with the app, for a sidecar that is an ordinary container beside it: a Job's pod ends
//! only when all its containers have.
//!
//! Nobody tells a container that its neighbour has ended, so the processes of the pod are looked
//! at. Containers are started one after the other, each when its image is there, which may take
//! long; so every one of them must have been seen before "none is left" means that all have ended.
//! They must be gone for a while: one process may follow another. One that was never seen, being
//! quicker than our looks, is waited for as long as an image may take.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::runtime::processes::{self, Beside, Container};

/// How often processes are looked at, and how often before all containers were seen: some ten
/// processes take a quarter of a millisecond.
const LOOK: Duration = Duration::from_secs(1);
const FIRST_LOOK: Duration = Duration::from_millis(50);
/// Gone for so long is gone.
const GONE_FOR: Duration = Duration::from_secs(2);
/// For so long nobody runs and somebody is missing before it counts as having come and gone.
/// Arbitrary: longer than an image takes, shorter than people look on.
const MISSING_FOR: Duration = Duration::from_secs(15 * 60);

/// Waits until each of so many containers has come, and all are gone; for ever where they can't be
/// seen.
pub async fn left(containers: u16) {
    let mut presence = Presence::of(containers);
    let mut is_first = true;
    loop {
        let found = processes::beside();
        if std::mem::take(&mut is_first) && !can_see(&found) {
            return std::future::pending().await;
        }
        if let Ok(found) = found {
            let before = presence.seen();
            if presence.is_over(&found, Instant::now()) {
                match presence.is_complete() {
                    true => info!("no process of the app is left"),
                    false => warn!(
                        seen = presence.seen(),
                        containers,
                        "no process of the app is left, and not every container of it was seen"
                    ),
                }
                return;
            }
            if presence.seen() > before {
                let (seen, processes) = (presence.seen(), found.others);
                info!(processes, seen, containers, "sees the app, and will leave with it");
            }
        }
        sleep(if presence.is_complete() { LOOK } else { FIRST_LOOK }).await;
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
///
/// A container must not count twice: with one too many we would leave before the last has come, and
/// it would start without the mesh. By its name it doesn't; and where one has a name each has, so
/// that what has none is only on its way into one. Where nothing but cgroups tells, one that comes
/// after another vanished is either the next container or the same again, restarted, and nothing
/// says which; so that as many count as were alive at once. That waits too long for a pod whose first
/// ends before its last begins, until [`MISSING_FOR`], and does not leave too early.
#[derive(Debug)]
struct Presence {
    containers: usize,
    names: BTreeSet<String>,
    most_at_once: usize,
    gone_since: Option<Instant>,
}

impl Presence {
    fn of(containers: u16) -> Self {
        let containers = containers.into();
        Self { containers, names: BTreeSet::new(), most_at_once: 0, gone_since: None }
    }

    /// How many containers were seen.
    fn seen(&self) -> usize {
        if self.names.is_empty() { self.most_at_once } else { self.names.len() }
    }

    /// Every container was seen.
    fn is_complete(&self) -> bool {
        self.seen() >= self.containers
    }

    /// Whether it has come and, at `now`, been gone long enough.
    fn is_over(&mut self, found: &Beside, now: Instant) -> bool {
        self.most_at_once = self.most_at_once.max(found.containers.len());
        let name = |container: &Container| match container {
            Container::Named(name) => Some(name.clone()),
            Container::Grouped(_) => None,
        };
        self.names.extend(found.containers.iter().filter_map(name));
        if found.others > 0 {
            self.gone_since = None;
            return false;
        }
        let long = if self.is_complete() { GONE_FOR } else { MISSING_FOR };
        now.duration_since(*self.gone_since.get_or_insert(now)) >= long
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds since the start, the containers that run, whether that is the end. One that begins
    /// with `/` has no name.
    fn over(containers: u16, rows: &[(u64, &[&str], bool)]) {
        let begun = Instant::now();
        let mut presence = Presence::of(containers);
        for (at, running, over) in rows {
            let now = begun + Duration::from_secs(*at);
            let containers: BTreeSet<_> = running
                .iter()
                .map(|name| match name.strip_prefix('/') {
                    Some(group) => Container::Grouped(group.into()),
                    None => Container::Named((*name).into()),
                })
                .collect();
            let found = Beside { is_shared: true, others: containers.len(), containers };
            assert_eq!(presence.is_over(&found, now), *over, "after {at} s");
        }
    }

    #[test]
    fn it_is_over_when_the_app_has_come_and_stayed_away() {
        over(
            1,
            &[
                (0, &[], false),
                (60, &[], false),
                (61, &["web"], false),
                (62, &[], false),
                (63, &["web"], false),
                (64, &[], false),
                (65, &[], false),
                (66, &[], true),
            ],
        );
    }

    #[test]
    fn a_container_whose_image_is_on_its_way_is_waited_for() {
        over(
            2,
            &[
                (0, &["first"], false),
                (1, &[], false),
                (10, &[], false),
                (600, &[], false),
                (601, &["second"], false),
                (602, &[], false),
                (604, &[], true),
            ],
        );
    }

    #[test]
    fn a_container_that_is_restarted_is_no_other() {
        over(
            2,
            &[
                (0, &["first"], false),
                (1, &[], false),
                (2, &["first"], false),
                (3, &[], false),
                (600, &[], false),
                (601, &["second"], false),
                (602, &[], false),
                (604, &[], true),
            ],
        );
        over(
            2,
            &[
                (0, &["first", "/on-its-way"], false),
                (1, &[], false),
                (900, &[], false),
                (901, &[], true),
            ],
        );
        // Without names, it is another only while both are alive.
        let begun: &[_] = &[(0, &["/a"][..], false), (1, &[], false), (2, &["/b"], false)];
        over(2, &[begun, &[(3, &[], false), (902, &[], false), (903, &[], true)]].concat());
        over(2, &[begun, &[(3, &["/b", "/c"], false), (4, &[], false), (6, &[], true)]].concat());
    }

    #[test]
    fn one_that_was_too_quick_to_be_seen_is_not_waited_for_for_ever() {
        over(1, &[(0, &[], false), (899, &[], false), (900, &[], true)]);
        over(2, &[(0, &["first"], false), (1, &[], false), (900, &[], false), (901, &[], true)]);
    }
}
