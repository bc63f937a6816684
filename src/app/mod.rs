//! Wiring: builds the rooms from a configuration, runs them, and leaves in order.
//!
//! The data plane's workers, one control thread (identity, resources, admin), signals and the
//! drain meet here and nowhere else.

mod collect;
mod companion;
mod launch;
mod plane;
mod reload;
mod run;
mod signals;
mod source;

pub use launch::{Launched, launch};
pub use run::{Options, run};
