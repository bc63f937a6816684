//! What the session says of the workload's own callers: which policies hold for them, and which of
//! them came in plaintext.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, info};

use super::{Say, Talk};
use crate::agent::convert::{access_policies, rate_limit_policies};
use crate::agent::session::{Ended, Seen, verdict};
use crate::model::PlaintextCaller;
use crate::wire::v1;

/// Between two looks for what is to be reported.
pub const LOOK: Duration = Duration::from_secs(1);
/// Between two reports: who comes in plaintext is a matter of days.
const APART: Duration = Duration::from_secs(10);
/// Callers in one report; more wait for the next.
const MOST: usize = 100;

/// What was reported in this session.
#[derive(Default)]
pub struct Reported {
    /// The first look was taken.
    has_begun: bool,
    /// When the last report was sent.
    at: Option<Instant>,
}

impl Talk {
    /// Who may call the workload, and how often. What can't be read changes nothing: leaving out a
    /// policy could let somebody in whom it keeps out.
    pub(super) fn inbound(&self, inbound: v1::Inbound) -> Result<(), Ended> {
        let v1::Inbound { policies, limits } = inbound;
        let mut faults = Vec::new();
        match access_policies(policies) {
            Ok(policies) => {
                info!(policies = policies.len(), "access policies taken");
                (self.agent.hooks.govern)(&policies);
            }
            Err(found) => faults.extend(found),
        }
        match rate_limit_policies(limits) {
            Ok(limits) => {
                info!(policies = limits.len(), "rate-limit policies taken");
                (self.agent.hooks.limit)(&limits);
            }
            Err(found) => faults.extend(found),
        }
        let faults = verdict::few(faults);
        if !faults.is_empty() {
            let said = faults.join("; ");
            error!("the access policies can't be used, those before stay: {said}");
        }
        self.agent.status.ungoverned(faults.clone());
        self.say(Say::InboundVerdict(v1::InboundVerdict { faults }))
    }

    /// Says who came in plaintext, if that is news and the last is long enough ago. A new session
    /// is told everything: it may be with a control plane that knows nothing.
    pub(super) fn report(&mut self) -> Result<(), Ended> {
        if self.reported.at.is_some_and(|at| at.elapsed() < APART) {
            return Ok(());
        }
        let is_first = !std::mem::replace(&mut self.reported.has_begun, true);
        let Seen { callers, left_out } = (self.agent.hooks.seen)(is_first, MOST);
        if callers.is_empty() && left_out == 0 {
            return Ok(());
        }
        self.reported.at = Some(Instant::now());
        let plaintext = callers.iter().map(caller).collect();
        self.say(Say::Report(v1::Report { plaintext, left_out }))
    }
}

fn caller(caller: &PlaintextCaller) -> v1::PlaintextCaller {
    let PlaintextCaller { address, port, connections, first, last } = *caller;
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    v1::PlaintextCaller {
        address: address.to_string(),
        port: u32::from(port),
        connections,
        first_ago_ms: millis(first),
        last_ago_ms: millis(last),
    }
}
