//! Threads, time, sockets and the drain: what every moving part of the proxy stands on.
//!
//! The data plane is a few OS threads, each a current-thread runtime whose tasks never leave it
//! (`workers`). Nothing here knows what the bytes mean.

pub mod allocator;
pub mod clock;
pub mod descriptors;
pub mod drain;
pub mod exempt;
pub mod hyper_io;
pub mod memory;
mod prefixed;
pub mod processes;
pub mod profiler;
pub mod program;
mod readiness;
pub mod rehearsal;
mod settings;
pub mod socket;
pub mod supervise;
pub mod turns;
pub mod workers;

pub use allocator::Allocator;
pub use drain::{Doorway, Drain, Open, Phase};
pub use exempt::Exempt;
pub use prefixed::Prefixed;
pub use readiness::Readiness;
pub use settings::{DrainSettings, Settings};
