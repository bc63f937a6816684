//! What the configuration says about the access log and traces. Filled by `config`; the access
//! log's part, the share of traces and what is slow can change while running.

use std::time::Duration;

/// What is recorded, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// One line for each request or connection, on standard output.
    pub access_log: AccessLog,
    /// Which spans are kept, and how their contexts travel.
    pub traces: Traces,
}

/// Which spans are kept, and how their contexts travel. Where they go is another room's.
#[derive(Clone, Debug, PartialEq)]
pub struct Traces {
    /// Which share of the traces is sampled that nobody has decided on, 0 to 1.
    pub sample_ratio: f64,
    /// What took as long is kept although it was not sampled.
    pub slower_than: Duration,
    /// Trace headers: read in this order and then in the formats that are not named, all of these
    /// written.
    pub propagation: Vec<Propagation>,
}

/// The access log's form and share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AccessLog {
    /// How a line is written.
    pub format: LogFormat,
    /// Which share of the requests is written, 0 to 1.
    pub sample: f64,
}

/// How a line of the access log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object.
    Json,
    /// Words for people.
    Text,
    /// Not at all.
    Off,
}

/// A format of trace headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// `traceparent` and `tracestate`.
    W3c,
    /// `b3`, all in one header.
    B3,
    /// `x-b3-traceid` and its companions.
    B3Multi,
}

impl Propagation {
    /// Each of them.
    pub const ALL: [Propagation; 3] = [Propagation::W3c, Propagation::B3, Propagation::B3Multi];
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            access_log: AccessLog { format: LogFormat::Json, sample: 1.0 },
            traces: Traces::default(),
        }
    }
}

impl Default for Traces {
    fn default() -> Traces {
        Traces {
            sample_ratio: 0.01,
            slower_than: Duration::from_secs(1),
            propagation: vec![Propagation::W3c, Propagation::B3],
        }
    }
}
