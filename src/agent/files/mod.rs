//! Identity and resources from files, for a sidecar without a control plane.
//!
//! Reloaded when they change: polled every two seconds, because inotify instances are limited per
//! user and all sidecars of a node share one. What can't be read is reported once and changes
//! nothing: the last good certificate, the last good picture stay in use.

mod identity;
mod resources;

pub use identity::watch_identity;
pub use resources::watch_resources;

use std::time::Duration;

/// Between two looks at watched files.
pub const POLL: Duration = Duration::from_secs(2);
