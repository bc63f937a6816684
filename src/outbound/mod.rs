//! The outbound wing: what the workload sends, from its connection to the endpoint that takes it.
//!
//! [`serve`](serve::serve) is the way of a request, top to bottom. A connection finds out once where
//! it goes (`connection`), a request picks its endpoint (`attempt`), opaque bytes are relayed
//! (`stream`). Everything that a request looks up was compiled into the snapshot.

mod admit;
mod attempt;
mod attempts;
mod backend;
mod call;
mod connection;
mod destination;
mod discovery;
pub mod explain;
mod fault;
mod mirror;
mod prepare;
mod serve;
mod settings;
mod snapshot;
mod source;
mod stand_in;
mod stream;
mod switching;
mod tail;
mod target;
mod trial;
mod verdict;
mod worker;

pub use backend::Backend;
pub use connection::{Entrance, accept};
pub use settings::{Settings, Unknown, Upstream};
pub use snapshot::{Snapshot, compile};
pub use target::{Rule, Taker, Target};
pub use worker::{Outbound, Shared};
