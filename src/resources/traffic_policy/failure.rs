//! `fault`: failures on purpose.
//!
//! Without delay and abort there are none, which switches off those of a farther policy.

use http::StatusCode;
use serde_json::{Value, json};

use super::words::{at_most, grpc_name, only_true, percent_of, share, status, whole, written};
use crate::model::{Abort, AbortWith, Delay, Fault, GrpcCodes, HeaderMatch, ValueMatch};
use crate::resources::decode::{Decoder, Fields};
use crate::resources::manifest::object;
use crate::resources::node::{Key, Node, Value as Read};
use crate::resources::route;
use crate::resources::scalar::duration;
use crate::resources::sketch::Note;

/// Each may be a regular expression, which may take a mebibyte when it is compiled; arbitrary.
const MOST_HEADERS: usize = 64;

const WAYS: [&str; 3] = ["httpStatus", "grpcStatus", "reset"];

pub(super) fn decode(node: &Node, decoder: &mut Decoder) -> Option<Fault> {
    let mut fields = Fields::open(node, decoder)?;
    let delay = fields.optional("delay", delay);
    let abort = fields.optional("abort", abort);
    let headers = fields.optional("match", requests);
    if fields.is_absent("delay") && fields.is_absent("abort") && !fields.is_absent("match") {
        fields.fault("match", "says for which requests, but not what: add delay or abort");
    }
    fields.close();
    Some(Fault { delay, abort, headers: headers.unwrap_or_default() })
}

fn delay(node: &Node, decoder: &mut Decoder) -> Option<Delay> {
    let mut fields = Fields::open(node, decoder)?;
    let share = fields.required("percent", share);
    let duration = fields.required("duration", duration);
    fields.close();
    Some(Delay { share: share?, duration: duration? })
}

fn abort(node: &Node, decoder: &mut Decoder) -> Option<Abort> {
    let mut fields = Fields::open(node, decoder)?;
    let share = fields.required("percent", share);
    let status = fields.optional("httpStatus", status).map(AbortWith::Status);
    let grpc = fields.optional("grpcStatus", grpc_status).map(AbortWith::Grpc);
    let reset = fields.optional("reset", only_true).map(|()| AbortWith::Reset);
    let given = WAYS.iter().filter(|way| !fields.is_absent(way)).count();
    fields.close();
    if given != 1 {
        let ways = WAYS.join(", ");
        decoder.fault(&node.at, format!("says {given} ways to fail; say exactly one of {ways}"));
    }
    Some(Abort { share: share?, with: status.or(grpc).or(reset)? })
}

/// A code by name or number; 0 would be no failure.
fn grpc_status(node: &Node, decoder: &mut Decoder) -> Option<u8> {
    match node.value {
        Read::Int(_) => whole(1..=16)(node, decoder),
        _ => grpc_name(node, decoder),
    }
}

/// Which requests fail.
fn requests(node: &Node, decoder: &mut Decoder) -> Option<Vec<HeaderMatch>> {
    let mut fields = Fields::open(node, decoder)?;
    let headers = fields.required("headers", headers);
    fields.close();
    headers
}

/// A list as in routes, or a map of names and values.
fn headers(node: &Node, decoder: &mut Decoder) -> Option<Vec<HeaderMatch>> {
    at_most(MOST_HEADERS, "headers to match", node, decoder)?;
    decoder.note(|| Note::Texts);
    let matches = match &node.value {
        Read::Map(entries) => entries.iter().filter_map(|of| entry(of, decoder)).collect(),
        _ => route::header_matches(node, decoder)?,
    };
    let is_empty = match &node.value {
        Read::Map(entries) => entries.is_empty(),
        _ => matches.is_empty(),
    };
    if is_empty {
        decoder.fault(&node.at, "names no header; leave match out for every request");
    }
    Some(matches)
}

fn entry((key, value): &(Key, Node), decoder: &mut Decoder) -> Option<HeaderMatch> {
    let name = route::matched_name(&Node::text(&*key.name, key.at.clone()), decoder);
    let value = decoder.field(&key.name, |decoder| route::header_value(value, decoder));
    let value = ValueMatch::Exact(value?.to_str().ok()?.into());
    Some(HeaderMatch { name: name?, value })
}

pub(super) fn print(fault: &Fault) -> Value {
    let Fault { delay, abort, headers } = fault;
    let matches: Value = headers.iter().map(route::header_spec).collect();
    object([
        ("delay", delay.as_ref().map(print_delay)),
        ("abort", abort.as_ref().map(print_abort)),
        ("match", (!headers.is_empty()).then(|| json!({"headers": matches}))),
    ])
}

fn print_delay(Delay { share, duration }: &Delay) -> Value {
    json!({"percent": percent_of(*share), "duration": written(*duration)})
}

fn print_abort(Abort { share, with }: &Abort) -> Value {
    let (way, value) = match with {
        AbortWith::Status(status) => ("httpStatus", json!(StatusCode::as_u16(status))),
        AbortWith::Grpc(code) => match GrpcCodes::NAMES.get(usize::from(*code)) {
            Some(name) => ("grpcStatus", json!(name)),
            None => ("grpcStatus", json!(code)),
        },
        AbortWith::Reset => ("reset", json!(true)),
    };
    object([("percent", Some(percent_of(*share))), (way, Some(value))])
}
