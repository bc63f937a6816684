//! The next certificate, asked for in the session.
//!
//! Each has a key of its own; until it comes the one in use is used.

use std::time::{Duration, SystemTime};

use tracing::{debug, error, info};

use super::{Agent, Say, Talk};
use crate::agent::session::Ended;
use crate::agent::session::renewal::{Clocks, Pending, Schedule};
use crate::runtime::clock::Rng;
use crate::wire::v1;

/// A renewal that was refused or not answered is tried again after this share of what is left.
const AGAIN: f64 = 0.1;
/// And then: there is nothing left to hurry for.
const ENDED: Duration = Duration::from_secs(1);

impl Talk {
    /// Asks for the next certificate. Until it comes, the one in use is.
    pub(super) fn renew(&mut self) -> Result<(), Ended> {
        let again = self.again();
        self.renewal.not_within(again, Clocks::now());
        // One that was not answered yet is asked for again, or answers would miss their keys.
        let pending =
            match self.pending.take().map_or_else(|| Pending::new(&self.agent.identity), Ok) {
                Ok(pending) => pending,
                Err(error) => {
                    error!(%error, "no key can be made for the next certificate");
                    return Ok(());
                }
            };
        let signing_request = pending.signing_request.clone();
        self.pending = Some(pending);
        self.say(Say::Certificate(v1::CertificateRequest { signing_request }))
    }

    pub(super) fn certified(&mut self, answer: Option<v1::certificate_answer::Answer>) {
        use v1::certificate_answer::Answer;
        let pending = self.pending.take();
        match (answer, pending) {
            (Some(Answer::Certificate(certificate)), Some(pending)) => {
                match pending.certified(certificate.chain) {
                    Ok(svid) => {
                        info!(serial = svid.serial(), "certificate replaced");
                        self.agent.take_svid(svid);
                        self.renewal = next_renewal(&self.agent, &mut self.rng);
                    }
                    Err(error) => error!("the next certificate can't be used: {error}"),
                }
            }
            (Some(Answer::Refusal(refusal)), _) => {
                error!("the certificate was not renewed: {refusal}");
                (self.agent.hooks.renewal_failed)();
            }
            _ => debug!("an answer to no question"),
        }
    }

    /// A share of what is left of the certificate.
    fn again(&mut self) -> Duration {
        let svid = self.agent.svid.borrow();
        let ends = svid.as_ref().map(|svid| svid.not_after());
        let left = ends.and_then(|ends| ends.duration_since(SystemTime::now()).ok());
        left.map_or(ENDED, |left| left.mul_f64(AGAIN).max(Duration::from_millis(100)))
    }
}

/// When the certificate in use is to be replaced.
pub fn next_renewal(agent: &Agent, rng: &mut Rng) -> Schedule {
    let (now, came) = (Clocks::now(), agent.certified_at.get());
    let ends = agent.svid.borrow().as_ref().map_or(came, |svid| svid.not_after());
    let schedule = Schedule::of(ends, came, rng, now);
    agent.status.renews(schedule.due);
    schedule
}
