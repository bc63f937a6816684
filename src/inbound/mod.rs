//! The inbound wing: what others send to the workload, from their handshake to the app.
//!
//! [`serve`](serve::serve) is the way of a request, top to bottom. A connection proves who it is
//! once (`connection`), access is decided for each request and each opaque stream, and forwarding
//! takes the permit. The app is reached in plaintext, in the HTTP version that the caller spoke.

mod caller;
mod connection;
mod entry;
mod handshake;
mod judge;
mod limits;
mod plaintext;
mod port;
mod serve;
mod settings;
mod stream;
mod worker;

pub use connection::{Entrance, accept};
pub use plaintext::Plaintext;
pub use port::AppPort;
pub use settings::{Mode, Port, Settings};
pub use worker::{Inbound, Shared};
