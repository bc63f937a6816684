//! How much of the workload at once: the concurrency of `RateLimitPolicy`, for each port of the app.
//!
//! Invariant: no more requests are under way than the limit of that moment, but for a few questions
//! about health; who goes over it waits in a short queue, and when that is full the newest of the
//! lowest priority is shed. `gate` keeps the places of a port, `queue` those who wait, `gradient`
//! finds an adaptive limit from what `samples` gathers, `gates` knows which policy counts. A port
//! without such a policy costs a look. Called by the inbound path, once a request.

mod gate;
mod gates;
mod gradient;
mod queue;
mod samples;

#[cfg(test)]
mod tests;

pub use gate::{Entered, Facts, Gate, Ticket};
pub use gates::{AtPort, Gates};
