//! Where a sidecar's identity and picture of the mesh come from.
//!
//! From files, reloaded when they change: polled every two seconds, because inotify instances are
//! limited per user and all sidecars of a node share one. What can't be read is reported once and
//! changes nothing: the last good certificate, the last good picture stay in use.

mod convert;
mod identity;
mod resources;

pub use convert::Mapper;
pub use identity::watch_identity;
pub use resources::watch_resources;

use std::time::Duration;

/// Between two looks at watched files.
pub const POLL: Duration = Duration::from_secs(2);
