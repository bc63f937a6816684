//! What is counted of certificates, wherever they come from.

use std::time::SystemTime;

use crate::telemetry::metrics::{Counter, GaugeF64, Registry};

/// The certificate families.
pub struct CertificateMetrics {
    expiry: GaugeF64,
    succeeded: Counter,
    failed: Counter,
}

impl CertificateMetrics {
    pub fn register(registry: &Registry) -> Self {
        let rotations = registry.counter_family(
            "outrigger_certificate_rotations_total",
            "Certificates taken into use, and attempts that failed.",
            4,
            &["result"],
        );
        Self {
            expiry: registry.gauge_f64(
                "outrigger_certificate_expiry_timestamp_seconds",
                "When the certificate in use ends, in seconds since 1970.",
            ),
            succeeded: rotations.with(&["success"]),
            failed: rotations.with(&["failure"]),
        }
    }

    /// A certificate that ends then is in use from now on.
    pub fn taken(&self, not_after: SystemTime) {
        let ends = not_after.duration_since(SystemTime::UNIX_EPOCH);
        self.expiry.set(ends.map_or(0.0, |since| since.as_secs_f64()));
        self.succeeded.inc();
    }

    /// There should be another, and there is none.
    pub fn failed(&self) {
        self.failed.inc();
    }
}
