//! The sidecar pair over real sockets and real processes.
//!
//! Scenarios are written for what the documentation promises, not for how it is kept: each starts
//! the processes it needs, speaks to them byte by byte where bytes matter, and asks what the apps
//! saw. `OUTRIGGER_LONG=1` adds the sizes that take long.

mod harness;

mod aborts;
mod detection;
mod http1;
mod http1_headers;
mod identity;
mod lifecycle;
mod resilience;
mod strictness;
mod tcp;
