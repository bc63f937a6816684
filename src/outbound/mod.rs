//! The outbound wing: what the workload sends, from its connection to the endpoint that takes it.
//!
//! [`serve`](serve::serve) is the way of a request, top to bottom. A connection finds out once where
//! it goes (`connection`), a request picks its endpoint (`attempt`), opaque bytes are relayed
//! (`stream`). Everything that a request looks up was compiled into the snapshot.

mod attempt;
mod connection;
mod destination;
mod discovery;
mod prepare;
mod serve;
mod settings;
mod snapshot;
mod source;
mod stream;
mod trial;
mod worker;

pub use connection::{Entrance, accept};
pub use settings::{Settings, Unknown, Upstream};
pub use snapshot::{Snapshot, Target, compile};
pub use worker::{Outbound, Shared};
