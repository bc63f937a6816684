//! How connections come to the sidecar without the app's knowing, and where they were going.
//!
//! Invariant: rules are all there or not there at all, and what they don't catch is what the plan
//! says they don't. One pure [`Plan`] is printed for people, sent to the kernel, and compared with
//! what the kernel then has. `outrigger-proxy init` sets a network namespace up once, before the app
//! starts; the sidecar's listeners ask for original destinations ever after.

mod check;
mod install;
pub mod iptables;
mod netlink;
mod network;
pub mod nft;
mod original;
pub mod plan;
mod settings;

pub use install::{Backend, Done, Error, install, script, undo};
pub use netlink::Refusal;
pub use original::{Found, OriginalDst};
pub use plan::{APP_LEG_V4, APP_LEG_V6, MARK, Plan};
pub use settings::{Mode, Ports, Settings, interface, network};
