//! The sidecar's admin port: what it is, what it does, and the few things that it can be told.
//!
//! `/live`, `/ready` and `/metrics` answer anyone; everything else answers this machine only,
//! checks Host against DNS rebinding, and refuses a POST that a web page sent. It runs beside the
//! data plane, so a saturated one still answers its probes.

mod page;
mod pages;
mod server;
mod settings;
mod tap;
mod view;

pub use server::serve;
pub use settings::Settings;
pub use view::{Command, View};
