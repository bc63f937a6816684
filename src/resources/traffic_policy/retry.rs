//! `retry` and `hedge`: what is sent a second time.
//!
//! A count of retries may be zero, which is plain; what can't do what it says is refused: a budget
//! that allows no retry, a pause that is longer than the longest.

use std::ops::RangeInclusive;

use serde_json::{Value, json};

use super::methods;
use super::words::{at_most, codes, grpc_name, whole, written, written_size};
use crate::model::{Backoff, BackoffStrategy, GrpcCodes, Hedge, HedgeAfter, Retry};
use crate::model::{RetryBudget, RetryOn};
use crate::resources::decode::{Decoder, Fields, list};
use crate::resources::manifest::object;
use crate::resources::node::{Node, Value as Read};
use crate::resources::scalar::{choice, duration, integer, parsed, size};
use crate::resources::sketch::Note;

type Switch = fn(&mut RetryOn);

const WORDS: &[(&str, Switch)] = &[
    ("connect-failure", |on| on.connect_failure = true),
    ("refused-stream", |on| on.refused_stream = true),
    ("reset-before-response", |on| on.reset_before_response = true),
    ("reset", |on| on.reset = true),
    ("5xx", |on| on.server_error = true),
    ("gateway-error", |on| on.gateway_error = true),
    ("retriable-4xx", |on| on.retriable_4xx = true),
];

/// Statuses or ranges of them; arbitrary.
const MOST_STATUSES: usize = 100;

const STRATEGIES: &[(&str, BackoffStrategy)] =
    &[("exponential", BackoffStrategy::Exponential), ("fixed", BackoffStrategy::Fixed)];

const JITTERS: &[(&str, bool)] = &[("full", true), ("none", false)];

pub(super) fn decode(node: &Node, decoder: &mut Decoder) -> Option<Retry> {
    let usual = Retry::default();
    let mut fields = Fields::open(node, decoder)?;
    let max_retries = fields.optional("maxRetries", whole(0..=10));
    let on = fields.optional("on", retry_on);
    let status_codes = fields.optional("statusCodes", all_statuses);
    let grpc_codes = fields.optional("grpcCodes", |n, d| list(n, d, grpc_name)).map(codes);
    let methods = fields.optional("methods", methods::decode);
    let per_try_timeout = fields.optional("perTryTimeout", duration);
    let backoff = fields.optional("backoff", backoff);
    let budget = fields.optional("budget", budget);
    let body_limit = fields.optional("bodyLimit", size);
    fields.close();
    let body_limit_bytes = body_limit.and_then(|bytes| usize::try_from(bytes).ok());
    Some(Retry {
        max_retries: max_retries.unwrap_or(usual.max_retries),
        on: on.unwrap_or(usual.on),
        status_codes: status_codes.map_or(usual.status_codes, Into::into),
        grpc_codes: grpc_codes.unwrap_or_default(),
        methods: methods.unwrap_or(usual.methods),
        per_try_timeout,
        backoff: backoff.unwrap_or_default(),
        budget: budget.unwrap_or_default(),
        body_limit_bytes: body_limit_bytes.unwrap_or(usual.body_limit_bytes),
    })
}

fn all_statuses(node: &Node, decoder: &mut Decoder) -> Option<Vec<RangeInclusive<u16>>> {
    at_most(MOST_STATUSES, "statuses", node, decoder)?;
    list(node, decoder, status_codes)
}

fn retry_on(node: &Node, decoder: &mut Decoder) -> Option<RetryOn> {
    let switches = list(node, decoder, choice(WORDS))?;
    let mut on = RetryOn {
        connect_failure: false,
        refused_stream: false,
        reset_before_response: false,
        reset: false,
        server_error: false,
        gateway_error: false,
        retriable_4xx: false,
    };
    switches.into_iter().for_each(|switch| switch(&mut on));
    Some(on)
}

/// A status, or a range of them: `503`, `520-529`.
fn status_codes(node: &Node, decoder: &mut Decoder) -> Option<RangeInclusive<u16>> {
    match &node.value {
        Read::String(text) if text.contains('-') => {
            const WHAT: &str = "a range of statuses within 200-599, such as 520-529";
            parsed(node, decoder, WHAT, |text| {
                let (first, last) = text.split_once('-')?;
                let (first, last) = (first.parse().ok()?, last.parse().ok()?);
                (200 <= first && first <= last && last <= 599).then_some(first..=last)
            })
        }
        _ => whole(200..=599)(node, decoder).map(|code: u16| code..=code),
    }
}

fn backoff(node: &Node, decoder: &mut Decoder) -> Option<Backoff> {
    let usual = Backoff::default();
    let mut fields = Fields::open(node, decoder)?;
    let strategy = fields.optional("strategy", choice(STRATEGIES)).unwrap_or(usual.strategy);
    let base = fields.optional("base", duration).unwrap_or(usual.base);
    let max = fields.optional("max", duration).unwrap_or(usual.max);
    let full_jitter = fields.optional("jitter", choice(JITTERS)).unwrap_or(usual.full_jitter);
    let grows = strategy == BackoffStrategy::Exponential;
    if !grows && !fields.is_absent("max") {
        fields.fault("max", "fixed pauses don't grow; remove it");
    }
    if grows && base > max {
        let (first, last) = (written(base), written(max));
        let field = if fields.is_absent("base") { "max" } else { "base" };
        fields.fault(field, format!("base is {first} and so longer than max, {last}"));
    }
    fields.close();
    Some(Backoff { strategy, base, max: max.max(base), full_jitter })
}

fn budget(node: &Node, decoder: &mut Decoder) -> Option<RetryBudget> {
    let usual = RetryBudget::default();
    let mut fields = Fields::open(node, decoder)?;
    let ratio_percent = fields.optional("ratio", percent).unwrap_or(usual.ratio_percent);
    let least = fields.optional("minPerSecond", whole(0..=1_000_000));
    let min_per_second = least.unwrap_or(usual.min_per_second);
    fields.close();
    if ratio_percent == 0 && min_per_second == 0 {
        decoder.fault(&node.at, "allows no retry at all; write maxRetries: 0 instead");
    }
    Some(RetryBudget { ratio_percent, min_per_second })
}

/// Beyond 100, several retries a request.
fn percent(node: &Node, decoder: &mut Decoder) -> Option<u32> {
    integer(0..=1000)(node, decoder).and_then(|percent| u32::try_from(percent).ok())
}

pub(super) fn hedge(node: &Node, decoder: &mut Decoder) -> Option<Hedge> {
    let mut fields = Fields::open(node, decoder)?;
    let after = fields.required("after", after);
    let max_extra = fields.optional("maxExtra", whole(1..=4)).unwrap_or(1);
    fields.close();
    Some(Hedge { after: after?, max_extra })
}

fn after(node: &Node, decoder: &mut Decoder) -> Option<HedgeAfter> {
    decoder.note(|| Note::Words(vec!["p95".into()]));
    match &node.value {
        Read::String(text) if text == "p95" => Some(HedgeAfter::P95),
        Read::String(text) if text.starts_with('p') => {
            decoder.expected("p95 or a duration such as 50ms", node);
            None
        }
        _ => duration(node, decoder).map(HedgeAfter::Delay),
    }
}

pub(super) fn print(retry: &Retry) -> Value {
    let Retry {
        max_retries,
        on,
        status_codes,
        grpc_codes,
        methods,
        per_try_timeout,
        backoff,
        budget: RetryBudget { ratio_percent, min_per_second },
        body_limit_bytes,
    } = retry;
    let codes: Option<Value> =
        (!grpc_codes.is_empty()).then(|| GrpcCodes::names(*grpc_codes).collect());
    let statuses: Option<Value> =
        (!status_codes.is_empty()).then(|| status_codes.iter().map(print_statuses).collect());
    object([
        ("maxRetries", Some(json!(max_retries))),
        ("on", Some(print_on(*on))),
        ("statusCodes", statuses),
        ("grpcCodes", codes),
        ("methods", Some(methods::print(methods))),
        ("perTryTimeout", per_try_timeout.map(|time| json!(written(time)))),
        ("backoff", Some(print_backoff(*backoff))),
        ("budget", Some(json!({"ratio": ratio_percent, "minPerSecond": min_per_second}))),
        ("bodyLimit", Some(written_size(*body_limit_bytes))),
    ])
}

fn print_statuses(codes: &RangeInclusive<u16>) -> Value {
    match (codes.start(), codes.end()) {
        (first, last) if first == last => json!(first),
        (first, last) => json!(format!("{first}-{last}")),
    }
}

fn print_on(on: RetryOn) -> Value {
    let RetryOn {
        connect_failure,
        refused_stream,
        reset_before_response,
        reset,
        server_error,
        gateway_error,
        retriable_4xx,
    } = on;
    let said = [
        connect_failure,
        refused_stream,
        reset_before_response,
        reset,
        server_error,
        gateway_error,
        retriable_4xx,
    ];
    WORDS.iter().zip(said).filter(|(_, said)| *said).map(|((word, _), _)| *word).collect()
}

fn print_backoff(Backoff { strategy, base, max, full_jitter }: Backoff) -> Value {
    let word = |known: &[(&'static str, BackoffStrategy)]| {
        known.iter().find(|(_, known)| *known == strategy).map(|(word, _)| json!(word))
    };
    let jitter = JITTERS.iter().find(|(_, full)| *full == full_jitter);
    let grows = strategy == BackoffStrategy::Exponential;
    object([
        ("strategy", word(STRATEGIES)),
        ("base", Some(json!(written(base)))),
        ("max", grows.then(|| json!(written(max)))),
        ("jitter", jitter.map(|(word, _)| json!(word))),
    ])
}

pub(super) fn print_hedge(Hedge { after, max_extra }: &Hedge) -> Value {
    let after = match after {
        HedgeAfter::P95 => "p95".into(),
        HedgeAfter::Delay(delay) => written(*delay),
    };
    json!({"after": after, "maxExtra": max_extra})
}
