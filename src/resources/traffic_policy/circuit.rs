//! `circuitBreaker`: when an endpoint is ejected, and how it comes back.
//!
//! `on` replaces the usual failures as a whole, so that one can be left out.

use serde_json::{Value, json};

use super::words::{MOST, Word, count, threshold, whole, word_or_code, written};
use crate::model::{Circuit, CircuitOn, FailureRate, GrpcCodes, SlowCalls};
use crate::resources::decode::{Decoder, Fields, list};
use crate::resources::manifest::object;
use crate::resources::node::Node;
use crate::resources::scalar::duration;

type Switch = fn(&mut CircuitOn);

const WORDS: &[(&str, Switch)] = &[
    ("connect-failure", |on| on.connect_failure = true),
    ("reset", |on| on.reset = true),
    ("per-try-timeout", |on| on.per_try_timeout = true),
    ("gateway-error", |on| on.gateway_error = true),
    ("5xx", |on| on.server_error = true),
];

pub(super) fn decode(node: &Node, decoder: &mut Decoder) -> Option<Circuit> {
    let usual = Circuit::default();
    let mut fields = Fields::open(node, decoder)?;
    let on = fields.optional("on", circuit_on);
    let consecutive_failures = fields.optional("consecutiveFailures", count);
    let failure_rate = fields.optional("failureRate", failure_rate);
    let slow_calls = fields.optional("slowCalls", slow_calls);
    let open_for = fields.optional("openFor", duration).unwrap_or(usual.open_for);
    let max_open_for = fields.optional("maxOpenFor", duration).unwrap_or(usual.max_open_for);
    let half_open_requests = fields.optional("halfOpenRequests", whole(1..=255));
    let min_ready_endpoints = fields.optional("minReadyEndpoints", whole(0..=MOST));
    if open_for > max_open_for {
        let (first, last) = (written(open_for), written(max_open_for));
        let field = if fields.is_absent("openFor") { "maxOpenFor" } else { "openFor" };
        fields.fault(field, format!("openFor is {first} and so longer than maxOpenFor, {last}"));
    }
    fields.close();
    Some(Circuit {
        on: on.unwrap_or(usual.on),
        consecutive_failures: consecutive_failures.unwrap_or(usual.consecutive_failures),
        failure_rate,
        slow_calls,
        open_for,
        max_open_for,
        half_open_requests: half_open_requests.unwrap_or(usual.half_open_requests),
        min_ready_endpoints: min_ready_endpoints.unwrap_or(usual.min_ready_endpoints),
    })
}

fn circuit_on(node: &Node, decoder: &mut Decoder) -> Option<CircuitOn> {
    let words = list(node, decoder, word_or_code(WORDS))?;
    let mut on = CircuitOn {
        connect_failure: false,
        reset: false,
        per_try_timeout: false,
        gateway_error: false,
        server_error: false,
        grpc: GrpcCodes::default(),
    };
    for word in words {
        match word {
            Word::Own(switch) => switch(&mut on),
            Word::Grpc(code) => on.grpc = on.grpc.with(code),
        }
    }
    Some(on)
}

fn failure_rate(node: &Node, decoder: &mut Decoder) -> Option<FailureRate> {
    let usual = FailureRate::default();
    let mut fields = Fields::open(node, decoder)?;
    let threshold_percent = fields.optional("threshold", threshold);
    let window = fields.optional("window", duration);
    let minimum_requests = fields.optional("minimumRequests", count);
    fields.close();
    Some(FailureRate {
        threshold_percent: threshold_percent.unwrap_or(usual.threshold_percent),
        window: window.unwrap_or(usual.window),
        minimum_requests: minimum_requests.unwrap_or(usual.minimum_requests),
    })
}

fn slow_calls(node: &Node, decoder: &mut Decoder) -> Option<SlowCalls> {
    let mut fields = Fields::open(node, decoder)?;
    let threshold_percent = fields.required("threshold", threshold);
    let slower_than = fields.required("slowerThan", duration);
    fields.close();
    Some(SlowCalls { threshold_percent: threshold_percent?, slower_than: slower_than? })
}

pub(super) fn print(circuit: &Circuit) -> Value {
    let Circuit {
        on,
        consecutive_failures,
        failure_rate,
        slow_calls,
        open_for,
        max_open_for,
        half_open_requests,
        min_ready_endpoints,
    } = circuit;
    let rate = |FailureRate { threshold_percent, window, minimum_requests }: &FailureRate| {
        let window = written(*window);
        json!({"threshold": threshold_percent, "window": window, "minimumRequests": minimum_requests})
    };
    let slow = |SlowCalls { threshold_percent, slower_than }: &SlowCalls| json!({"threshold": threshold_percent, "slowerThan": written(*slower_than)});
    object([
        ("on", Some(print_on(*on))),
        ("consecutiveFailures", Some(json!(consecutive_failures))),
        ("failureRate", failure_rate.as_ref().map(rate)),
        ("slowCalls", slow_calls.as_ref().map(slow)),
        ("openFor", Some(json!(written(*open_for)))),
        ("maxOpenFor", Some(json!(written(*max_open_for)))),
        ("halfOpenRequests", Some(json!(half_open_requests))),
        ("minReadyEndpoints", Some(json!(min_ready_endpoints))),
    ])
}

fn print_on(on: CircuitOn) -> Value {
    let CircuitOn { connect_failure, reset, per_try_timeout, gateway_error, server_error, grpc } =
        on;
    let said = [connect_failure, reset, per_try_timeout, gateway_error, server_error];
    let words = WORDS.iter().zip(said).filter(|(_, said)| *said).map(|((word, _), _)| *word);
    words.chain(grpc.names()).collect()
}
