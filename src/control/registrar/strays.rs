//! Registrations that no replica keeps up any more.
//!
//! Whoever holds a registration writes it again and again, so that its version grows. The others
//! watch that: one whose version stayed the same for long was held by a replica that died, and its
//! sidecar came back to none. Each replica counts by itself, on time that it saw pass, and no clock
//! is compared with another's; the version is the precondition of the removal, so that one that was
//! written meanwhile stays. A synchronous core; the registrar feeds it what there is.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use crate::control::lease::Leases;

/// Between two looks.
pub const LOOK: Duration = Duration::from_secs(5);
/// How long a version may stay the same. A sidecar whose replica died tries another within 15 s, or
/// as late as it is told, 75 s at most; and what is held is written every 30 s.
pub const STRAY: Duration = Duration::from_secs(150);

/// Those that are held elsewhere, or nowhere.
pub struct Strays {
    leases: Leases,
    versions: HashMap<Arc<str>, u64>,
}

/// No session: they are others'.
const NOBODY: u64 = 0;

impl Strays {
    pub fn new(now_us: u64) -> Self {
        Self { leases: Leases::new(STRAY, LOOK, now_us), versions: HashMap::new() }
    }

    /// Takes what there is now, and says which of it nobody keeps up. Those are counted anew: they
    /// may be there still at the next look.
    pub fn look(&mut self, there: &[(Arc<str>, u64)], now_us: u64) -> Vec<(Arc<str>, u64)> {
        let names: HashSet<&Arc<str>> = there.iter().map(|(name, _)| name).collect();
        self.versions.retain(|name, _| {
            let stays = names.contains(name);
            if !stays {
                self.leases.hold(Arc::clone(name), NOBODY);
                self.leases.withdraw(name, NOBODY);
            }
            stays
        });
        for (name, version) in there {
            if self.versions.insert(Arc::clone(name), *version) != Some(*version) {
                self.leases.hold(Arc::clone(name), NOBODY);
                self.leases.release(name, NOBODY, now_us);
            }
        }
        let ended = self.leases.tick(now_us).into_iter();
        ended.filter_map(|name| self.versions.remove_entry(&name)).collect()
    }

    /// As with leases: who was told to come back in `later` may be the one.
    pub fn spare(&mut self, later: Duration, now_us: u64) {
        self.leases.spare(later, now_us);
    }
}
