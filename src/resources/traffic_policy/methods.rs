//! `retry.methods`: the requests that may be sent twice although the first may have had its effect.
//!
//! Methods of HTTP and of gRPC in one list, told apart by the slash; held apart, because one is
//! compared with the request's method and the other with its path.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use super::words::at_most;
use crate::model::Methods;
use crate::resources::decode::{Decoder, list};
use crate::resources::node::{Node, Value as Read};
use crate::resources::scalar::{choice, parsed};

#[derive(Clone, Copy)]
enum Word {
    Idempotent,
    Any,
}

/// Each is compared with every request that fails; arbitrary.
const MOST: usize = 1_000;

const WORDS: &[(&str, Word)] = &[("idempotent", Word::Idempotent), ("any", Word::Any)];

enum One {
    Http(Method),
    Grpc(Arc<str>),
}

pub(super) fn decode(node: &Node, decoder: &mut Decoder) -> Option<Methods> {
    if !matches!(node.value, Read::List(_)) {
        return choice(WORDS)(node, decoder).map(|word| match word {
            Word::Idempotent => Methods::Idempotent,
            Word::Any => Methods::Any,
        });
    }
    at_most(MOST, "methods", node, decoder)?;
    let all = list(node, decoder, method)?;
    if all.is_empty() {
        decoder.fault(&node.at, "names no method; leave it out for the idempotent ones");
    }
    let (mut http, mut grpc) = (Vec::new(), Vec::new());
    for one in all {
        match one {
            One::Http(method) => http.push(method),
            One::Grpc(path) => grpc.push(path),
        }
    }
    Some(Methods::List { http: http.into(), grpc: grpc.into() })
}

fn method(node: &Node, decoder: &mut Decoder) -> Option<One> {
    const WHAT: &str = "a method such as GET, or package.Service/Method of gRPC";
    parsed(node, decoder, WHAT, |text| match text.split_once('/') {
        Some((service, method)) => {
            let legal = service.split('.').all(is_identifier) && is_identifier(method);
            legal.then(|| One::Grpc(format!("/{text}").into()))
        }
        // Methods know upper and lower case (RFC 9110, 9.1); none in use has lower.
        None => Method::from_bytes(text.as_bytes())
            .ok()
            .filter(|_| !text.bytes().any(|b| b.is_ascii_lowercase()))
            .map(One::Http),
    })
}

/// As Protocol Buffers name things.
fn is_identifier(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.bytes().all(legal) && text.bytes().next().is_some_and(|b| !b.is_ascii_digit())
}

pub(super) fn print(methods: &Methods) -> Value {
    match methods {
        Methods::Idempotent => json!("idempotent"),
        Methods::Any => json!("any"),
        Methods::List { http, grpc } => {
            let grpc = grpc.iter().map(|path| path.strip_prefix('/').unwrap_or(path));
            http.iter().map(Method::as_str).chain(grpc).collect()
        }
    }
}
