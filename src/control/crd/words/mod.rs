//! A sentence for each field of our kinds, as `kubectl explain` shows it.
//!
//! The README has the same in tables, with examples. A test finds a field without a sentence, and a
//! sentence without a field.

mod access_policy;
mod rate_limit_policy;
mod traffic_policy;
mod workload;

pub(super) use access_policy::ACCESS_POLICY;
pub(super) use rate_limit_policy::RATE_LIMIT_POLICY;
pub(super) use traffic_policy::TRAFFIC_POLICY;
pub(super) use workload::WORKLOAD;
