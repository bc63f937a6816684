//! What the configuration says about threads and the way out. Filled by
//! `config`; the drain's part can change while running.

use std::time::Duration;

/// The data plane's threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// How many; absent: chosen at start from the cgroup's CPU limit.
    pub workers: Option<u16>,
}

/// How long a sidecar takes to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainSettings {
    /// Both directions still work for at least this long.
    pub minimum: Duration,
    /// What is open after this long is cut; at least `minimum`.
    pub deadline: Duration,
}

impl Default for DrainSettings {
    fn default() -> DrainSettings {
        DrainSettings { minimum: Duration::from_secs(5), deadline: Duration::from_secs(25) }
    }
}

impl DrainSettings {
    /// When new requests from elsewhere are told to go elsewhere again: late enough that almost
    /// nobody still comes, early enough that what is under way can end. Arbitrary: a fifth of the
    /// deadline before it, at most three seconds.
    pub fn refuse_after(&self) -> Duration {
        let margin = (self.deadline / 5).min(Duration::from_secs(3));
        self.deadline.saturating_sub(margin).max(self.minimum)
    }
}
