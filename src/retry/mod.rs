//! When a failed attempt is made again: conditions, budget, back-off.
//!
//! What surely never reached the app may be repeated for every method; anything else only where
//! repeating is harmless. The budget bounds what retries add under failure, so that they can't turn
//! a slow service into a dead one. Called by the outbound path between two attempts.

mod budget;
mod judge;

pub use budget::Budget;
pub use judge::{Failed, may_repeat, pause};
