//! What injected sidecars do with traces, as flags: the same wherever something is said for all pods.

use clap::Args;

use crate::control::inject::{self, otlp_endpoint, sample_ratio};

/// For pods that say nothing themselves.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Traces {
    /// Where injected sidecars send spans, over OTLP, unless their pod says otherwise
    #[arg(long, value_name = "URL", value_parser = otlp_endpoint)]
    otlp_endpoint: Option<String>,
    /// Which share of traces they sample, 0.0 to 1.0, unless their pod says otherwise
    #[arg(long, value_name = "RATIO", value_parser = sample_ratio)]
    trace_sample_ratio: Option<String>,
}

impl Traces {
    pub(super) fn settings(self) -> inject::Traces {
        let Self { otlp_endpoint, trace_sample_ratio: sample_ratio } = self;
        inject::Traces { otlp_endpoint, sample_ratio }
    }
}
