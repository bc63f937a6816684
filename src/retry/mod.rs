//! When a failed attempt is made again: conditions, budget, back-off; and when one is made beside
//! another that takes long.
//!
//! What surely never reached the app may be repeated for every method; anything else only where
//! repeating is harmless. The budget bounds what retries add under failure, so that they can't turn
//! a slow service into a dead one. Called by the outbound path between two attempts.

mod budget;
mod hedge;
mod hint;
mod judge;
mod pause;

pub use budget::{Budget, BudgetFacts};
pub use hedge::{Latency, hedge_after};
pub use hint::{Hint, hint};
pub use judge::{Asked, Failed, may_send_twice, repeats_answer, repeats_failure};
pub use pause::{pause, wait};
