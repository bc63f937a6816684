//! The rooms whose atomics keep a protocol among workers, with their own unit tests: circuits (one
//! word), budgets (a word a second), latencies (two halves), bulkheads and places (debts), exemplars
//! (a sequence lock), rate tables (one moment a key), endpoints (balance's estimates).
//!
//! The files are those of the program; this only puts them where they expect each other. Under Miri
//! threads are switched anywhere, stores are seen late as the memory model allows, and every race
//! and every use of bytes that nobody wrote is an error.
#![allow(dead_code, unused_imports, reason = "their callers are left out")]

#[path = "../../src/circuit/mod.rs"]
pub mod circuit;
#[path = "../../src/model/mod.rs"]
pub mod model;
#[path = "../../src/retry/mod.rs"]
pub mod retry;

#[path = "."]
pub mod http {
    #[path = "../../src/http/classify.rs"]
    pub mod classify;
    mod headers {
        pub const GRPC_STATUS: http::HeaderName = http::HeaderName::from_static("grpc-status");
    }
}

#[path = "."]
pub mod runtime {
    #[path = "../../src/runtime/clock.rs"]
    pub mod clock;
}

#[path = "."]
pub mod balance {
    #[path = "../../src/balance/ewma.rs"]
    pub mod ewma;
}

#[path = "."]
pub mod limit {
    #[path = "../../src/limit/bulkhead.rs"]
    mod bulkhead;
    #[path = "../../src/limit/rate/gcra.rs"]
    mod gcra;
    #[path = "../../src/limit/places.rs"]
    mod places;
    #[path = "../../src/limit/rate/table.rs"]
    mod table;

    pub use bulkhead::{Bulkhead, Facts, RequestTicket};
    pub use places::ConnectionTicket;

    #[cfg(test)]
    #[path = "tests.rs"]
    mod tests;
}

#[path = "."]
pub mod telemetry {
    #[path = "../../src/telemetry/metrics/exemplar.rs"]
    mod exemplar;
    mod handles {
        /// Of them only the number matters here.
        pub const BUCKETS: usize = 4;
    }
}
