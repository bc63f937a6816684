//! The conditions of a retry.
//!
//! Two questions: may the request be sent twice at all, which depends on the request alone and is
//! answered once; and is what happened worth another attempt. What surely never reached the app
//! needs no yes to the first.

use http::{Method, StatusCode};

use crate::http::classify;
use crate::model::{Methods, Retry};

/// Why an attempt had no answer, as far as repeating it is concerned.
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
    /// No answer in the attempt's time.
    Timeout,
    /// Anything else.
    Other,
}

/// What a request is, as far as sending it twice is concerned.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub method: &'a Method,
    /// Without the query.
    pub path: &'a str,
    pub is_grpc: bool,
}

/// True when a second effect does no harm, or the policy says that it may be risked.
pub fn may_send_twice(methods: &Methods, asked: Asked<'_>) -> bool {
    match methods {
        Methods::Idempotent => classify::is_idempotent(asked.method),
        Methods::Any => true,
        Methods::List { http, grpc } => {
            http.contains(asked.method)
                || (asked.is_grpc && grpc.iter().any(|path| **path == *asked.path))
        }
    }
}

/// True when an attempt without an answer is worth another, budget and body permitting. `twice`
/// is what [`may_send_twice`] said.
///
/// As in Envoy `5xx` means no answer either, whatever the cause; a reset, which would be answered
/// with 502, is a gateway error; and a refused stream is also a reset. A limit for one attempt would be of no use if nothing followed it, so it needs no word.
pub fn repeats_failure(failed: Failed, twice: bool, policy: &Retry) -> bool {
    let on = &policy.on;
    let on_reset = on.reset_before_response || on.reset || on.server_error || on.gateway_error;
    match failed {
        Failed::Connect | Failed::NeverSent => on.connect_failure || on.server_error,
        Failed::Refused => on.refused_stream || on_reset,
        Failed::Reset => twice && on_reset,
        Failed::Timeout => {
            let on_timeout = on.reset || on.server_error || on.gateway_error;
            twice && (policy.per_try_timeout.is_some() || on_timeout)
        }
        Failed::Other => false,
    }
}

/// True when an answer is worth another attempt. `grpc` is the status of an answer that is trailers
/// only; `twice` is what [`may_send_twice`] said.
pub fn repeats_answer(status: StatusCode, grpc: Option<u8>, twice: bool, policy: &Retry) -> bool {
    let on = &policy.on;
    let listed = || policy.status_codes.iter().any(|range| range.contains(&status.as_u16()));
    twice
        && ((on.server_error && status.is_server_error())
            || (on.gateway_error && classify::is_gateway_error(status))
            || (on.retriable_4xx && status == StatusCode::CONFLICT)
            || listed()
            || grpc.is_some_and(|code| policy.grpc_codes.has(code)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::model::{GrpcCodes, RetryOn};

    const NOTHING: RetryOn = RetryOn {
        connect_failure: false,
        refused_stream: false,
        reset_before_response: false,
        reset: false,
        server_error: false,
        gateway_error: false,
        retriable_4xx: false,
    };

    fn on(on: RetryOn) -> Retry {
        Retry { on, ..Retry::default() }
    }

    #[test]
    fn methods_say_what_may_be_sent_twice() {
        let list = |http: &[Method], grpc: &[&str]| Methods::List {
            http: http.into(),
            grpc: grpc.iter().map(|&path| path.into()).collect(),
        };
        let listed = list(&[Method::GET, Method::PATCH], &["/shop.Prices/Ask"]);
        let posts = list(&[Method::POST], &[]);
        let (ask, buy) = ("/shop.Prices/Ask", "/shop.Prices/Buy");
        for (methods, method, path, is_grpc, expected) in [
            (&Methods::Idempotent, Method::GET, "/", false, true),
            (&Methods::Idempotent, Method::DELETE, "/", false, true),
            (&Methods::Idempotent, Method::PUT, "/", false, true),
            (&Methods::Idempotent, Method::POST, "/", false, false),
            (&Methods::Idempotent, Method::PATCH, "/", false, false),
            (&Methods::Idempotent, Method::POST, ask, true, false),
            (&Methods::Any, Method::POST, "/", false, true),
            (&Methods::Any, Method::POST, ask, true, true),
            (&listed, Method::GET, "/", false, true),
            (&listed, Method::PATCH, "/", false, true),
            (&listed, Method::PUT, "/", false, false),
            (&listed, Method::POST, ask, true, true),
            (&listed, Method::POST, buy, true, false),
            // It has the path of a gRPC method, and is none.
            (&listed, Method::POST, ask, false, false),
            (&posts, Method::POST, buy, true, true),
            (&posts, Method::POST, "/", false, true),
            (&posts, Method::GET, "/", false, false),
        ] {
            let asked = Asked { method: &method, path, is_grpc };
            assert_eq!(may_send_twice(methods, asked), expected, "{methods:?} {asked:?}");
        }
    }

    #[test]
    fn the_default_repeats_what_was_never_sent_and_resets_of_the_harmless() {
        for (failed, always, twice) in [
            (Failed::Connect, true, true),
            (Failed::NeverSent, true, true),
            (Failed::Refused, true, true),
            (Failed::Reset, false, true),
            (Failed::Timeout, false, false),
            (Failed::Other, false, false),
        ] {
            let policy = Retry::default();
            assert_eq!(repeats_failure(failed, false, &policy), always, "{failed:?}");
            assert_eq!(repeats_failure(failed, true, &policy), twice, "{failed:?}");
        }
        for status in [200, 409, 429, 500, 502, 503, 504] {
            let status = StatusCode::from_u16(status).expect("a status");
            assert!(!repeats_answer(status, Some(14), true, &Retry::default()), "{status}");
        }
    }

    #[test]
    fn each_condition_repeats_the_failures_that_it_names() {
        use Failed::{Connect, NeverSent, Refused, Reset, Timeout};
        for (condition, always, twice) in [
            (NOTHING, &[][..], &[][..]),
            (RetryOn { connect_failure: true, ..NOTHING }, &[Connect, NeverSent], &[]),
            (RetryOn { refused_stream: true, ..NOTHING }, &[Refused], &[]),
            (RetryOn { reset_before_response: true, ..NOTHING }, &[Refused], &[Reset]),
            (RetryOn { reset: true, ..NOTHING }, &[Refused], &[Reset, Timeout]),
            (
                RetryOn { server_error: true, ..NOTHING },
                &[Connect, NeverSent, Refused],
                &[Reset, Timeout],
            ),
            (RetryOn { gateway_error: true, ..NOTHING }, &[Refused], &[Reset, Timeout]),
            (RetryOn { retriable_4xx: true, ..NOTHING }, &[], &[]),
        ] {
            for failed in [Connect, NeverSent, Refused, Reset, Timeout, Failed::Other] {
                let (always, twice) = (always.contains(&failed), twice.contains(&failed));
                let policy = on(condition);
                assert_eq!(
                    repeats_failure(failed, false, &policy),
                    always,
                    "{failed:?} {policy:?}"
                );
                let may = repeats_failure(failed, true, &policy);
                assert_eq!(may, always || twice, "{failed:?} {policy:?}");
            }
        }
    }

    #[test]
    fn a_limit_for_one_attempt_is_there_for_the_next() {
        let per_try_timeout = Some(Duration::from_secs(1));
        let policy = Retry { per_try_timeout, ..on(NOTHING) };
        assert!(repeats_failure(Failed::Timeout, true, &policy));
        assert!(!repeats_failure(Failed::Timeout, false, &policy));
        assert!(!repeats_failure(Failed::Reset, true, &policy));
    }

    #[test]
    fn each_condition_repeats_the_answers_that_it_names() {
        let listed = Retry { status_codes: Arc::from([503..=503, 520..=529]), ..on(NOTHING) };
        let coded = Retry { grpc_codes: GrpcCodes::default().with(14).with(8), ..on(NOTHING) };
        for (policy, repeated) in [
            (on(NOTHING), &[][..]),
            (on(RetryOn { server_error: true, ..NOTHING }), &[500, 502, 503, 504, 525, 599]),
            (on(RetryOn { gateway_error: true, ..NOTHING }), &[502, 503, 504]),
            (on(RetryOn { retriable_4xx: true, ..NOTHING }), &[409]),
            (on(RetryOn { reset: true, connect_failure: true, ..NOTHING }), &[]),
            (listed, &[503, 525]),
            (coded.clone(), &[]),
        ] {
            for code in [200, 301, 404, 409, 429, 500, 502, 503, 504, 525, 599] {
                let status = StatusCode::from_u16(code).expect("a status");
                let expected = repeated.contains(&code);
                assert_eq!(
                    repeats_answer(status, None, true, &policy),
                    expected,
                    "{code} {policy:?}"
                );
                assert!(!repeats_answer(status, Some(14), false, &policy), "{code} {policy:?}");
            }
        }
        for (code, expected) in [(0, false), (8, true), (14, true), (13, false), (200, false)] {
            assert_eq!(
                repeats_answer(StatusCode::OK, Some(code), true, &coded),
                expected,
                "{code}"
            );
        }
    }
}
