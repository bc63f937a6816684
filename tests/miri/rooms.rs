// The rooms with atomics of their own, where they expect each other: for Miri, and for the models of
// `tests/loom`.

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
    pub use gcra::Pace;
    pub use places::ConnectionTicket;
    pub use table::{give_back_to, take_from};

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

    pub use exemplar::Exemplar;

    /// The sampled requests of a histogram whose first bucket has had one.
    #[derive(Debug)]
    pub struct Sampled(exemplar::Exemplars);

    impl Sampled {
        pub fn with(first: Exemplar) -> Self {
            let exemplars = exemplar::Exemplars::default();
            exemplars.note(0, first);
            Self(exemplars)
        }

        pub fn note(&self, exemplar: Exemplar) {
            self.0.note(0, exemplar);
        }

        pub fn read(&self) -> Option<Exemplar> {
            self.0.read().and_then(|all| all[0])
        }
    }
}
