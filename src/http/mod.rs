//! HTTP as the proxy needs it, whatever the direction: both of its wire formats, bodies, headers, and
//! the proxy's own answers.
//!
//! Nothing here dials, listens or decides; `serve` and `dial` bring the connections, the two wings
//! bring the decisions.

pub mod answers;
pub mod body;
pub mod carriage;
pub mod classify;
pub mod deadline;
pub mod gate;
pub mod guard;
pub mod headers;
pub mod http1;
pub mod http2;
pub mod local_only;
pub mod page;
pub mod path;
pub mod patience;
pub mod percent;
pub mod pipe;
pub mod reasons;
pub mod replay;
pub mod respond;
mod spare;
pub mod switch;
pub mod tail;
pub mod tee;

pub use body::{Body, BodyError, Tail};
pub use gate::{Aborted, Gate, Refusal};
