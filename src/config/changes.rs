//! What differs between two configurations, and which of it can take effect
//! while running. Every field is named here, so that a new one doesn't compile
//! until it is decided; the caller logs both lists, with their reasons.

use super::{Config, LogSettings};
use crate::telemetry::{self, Traces};

/// The parts that differ, by their path in the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// These take effect at once.
    pub live: Vec<&'static str>,
    /// These need a restart; the running sidecar keeps the old value.
    pub restart: Vec<&'static str>,
}

impl Changes {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty() && self.restart.is_empty()
    }
}

/// Compares a running configuration with one that was read again.
pub fn changes(old: &Config, new: &Config) -> Changes {
    let Config {
        workload,
        trust_domain,
        control_plane,
        identity,
        resources,
        inbound,
        outbound,
        admin,
        probes,
        runtime,
        drain,
        exit_with_app,
        telemetry: telemetry::Settings { access_log, traces },
        export,
        log: LogSettings { level, format },
    } = old;
    let Traces { sample_ratio, slower_than, propagation } = traces;
    let new_traces = &new.telemetry.traces;
    // Other paths can be read again; whether there is an identity at all
    // decided how the wings were built.
    let rebuilt = identity.is_some() != new.identity.is_some();
    let live = [
        ("identity", *identity != new.identity && !rebuilt),
        ("resources", *resources != new.resources),
        ("drain", *drain != new.drain),
        ("telemetry.accessLog", *access_log != new.telemetry.access_log),
        ("telemetry.traces.sampleRatio", *sample_ratio != new_traces.sample_ratio),
        ("telemetry.traces.slowerThan", *slower_than != new_traces.slower_than),
        ("log.level", *level != new.log.level),
    ];
    let restart = [
        ("workload", *workload != new.workload),
        ("trustDomain", *trust_domain != new.trust_domain),
        ("controlPlane", *control_plane != new.control_plane),
        ("identity", rebuilt),
        ("inbound", *inbound != new.inbound),
        ("outbound", *outbound != new.outbound),
        ("admin", *admin != new.admin),
        ("probes", *probes != new.probes),
        ("workers", *runtime != new.runtime),
        ("exitWithApp", *exit_with_app != new.exit_with_app),
        ("telemetry.traces.propagation", *propagation != new_traces.propagation),
        ("telemetry.traces", *export != new.export),
        ("log.format", *format != new.log.format),
    ];
    let differing = |parts: &[(&'static str, bool)]| {
        parts.iter().filter(|(_, differs)| *differs).map(|(name, _)| *name).collect()
    };
    Changes { live: differing(&live), restart: differing(&restart) }
}
