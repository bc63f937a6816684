//! What a token says, on the wire (RFC 7519, section 4.1).
//!
//! Every claim is required, and of one type: tokens are read by nobody else than who made them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::control::grant::Grant;

/// The one audience.
pub(super) const AUDIENCE: &str = "outrigger";

/// 9999-12-31T23:59:59Z, the last time that people can read.
const LATEST: u64 = 253_402_300_799;

/// Times are seconds since 1970.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wire {
    /// The trust domain, as a URI.
    pub iss: String,
    pub aud: Vec<String>,
    /// The SPIFFE id that may be had.
    pub sub: String,
    pub jti: String,
    pub iat: u64,
    pub exp: u64,
    #[serde(rename = "outrigger")]
    pub grant: Grant,
}

/// Whole seconds since 1970; `None` beyond what a date can say.
pub(super) fn seconds(time: SystemTime) -> Option<u64> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    Some(since.as_secs()).filter(|seconds| *seconds <= LATEST)
}

/// The other way around; `None` for what [`seconds`] doesn't give.
pub(super) fn time(seconds: u64) -> Option<SystemTime> {
    (seconds <= LATEST).then(|| UNIX_EPOCH + Duration::from_secs(seconds))
}
