//! The webhook's port: where the API server asks before it stores an object.
//!
//! `server` (HTTPS, one path for each who judges) → `review` (the question, and the form of an answer)
//! → a [`Judge`]: the injector of pods, the validator of resources. Invariant: a question is answered
//! whole and bounded, and whoever can't read one says so; who judges keeps nothing. Called by the
//! process's wiring, which names the paths.

mod review;
mod server;

pub use review::{Cause, Judge, ReviewError, Subject, at, refused, text};
pub use server::{Paths, Tls, serve};
