//! The conditions of a retry.

use std::time::Duration;

use crate::model::{Backoff, Retry};
use crate::runtime::clock::Rng;

/// How an attempt failed, as far as repeating it is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// No connection, no handshake, or the wrong identity: nothing was sent.
    Connect,
    /// The peer said that it did not begin: REFUSED_STREAM, or a GOAWAY above the stream.
    Refused,
    /// The peer's sidecar answered that its app never saw the request.
    NeverSent,
    /// The connection broke after something was sent and before an answer.
    Reset,
    /// Anything else.
    Other,
}

/// True when the policy allows the attempt to be repeated, budget and body permitting.
pub fn may_repeat(failed: Failed, idempotent: bool, policy: &Retry) -> bool {
    match failed {
        Failed::Connect | Failed::NeverSent => policy.on.connect_failure,
        Failed::Refused => policy.on.refused_stream,
        Failed::Reset => policy.on.reset_before_response && idempotent,
        Failed::Other => false,
    }
}

/// Full jitter: anywhere between nothing and the doubled base (AWS architecture blog, 2015).
/// `retry` counts from 1.
pub fn pause(retry: u32, backoff: Backoff, rng: &mut Rng) -> Duration {
    let ceiling = backoff.base.saturating_mul(1 << (retry - 1).min(16)).min(backoff.max);
    ceiling.mul_f64(rng.unit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_sent_is_repeated_for_every_method() {
        let policy = Retry::default();
        for (failed, idempotent, repeated) in [
            (Failed::Connect, false, true),
            (Failed::Connect, true, true),
            (Failed::Refused, false, true),
            (Failed::NeverSent, false, true),
            (Failed::Reset, false, false),
            (Failed::Reset, true, true),
            (Failed::Other, true, false),
        ] {
            assert_eq!(
                may_repeat(failed, idempotent, &policy),
                repeated,
                "{failed:?} {idempotent}"
            );
        }
    }

    #[test]
    fn pauses_grow_to_their_limit() {
        let backoff = Retry::default().backoff;
        let mut rng = Rng::seeded(1);
        let longest = |retry, rng: &mut Rng| (0..500).map(|_| pause(retry, backoff, rng)).max();
        assert!(longest(1, &mut rng) <= Some(Duration::from_millis(25)));
        assert!(longest(2, &mut rng) > Some(Duration::from_millis(40)));
        assert!(longest(30, &mut rng) <= Some(Duration::from_millis(250)));
    }
}
