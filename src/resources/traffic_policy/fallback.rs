//! `fallback`: what answers when the service can't.
//!
//! Another service, or an answer of the sidecar's own, which is framed by the sidecar too: headers
//! that would contradict its framing are refused.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use super::FallbackSpec;
use super::words::{at_most, header_name, status};
use crate::model::ServiceName;
use crate::resources::decode::{Decoder, Fields};
use crate::resources::manifest::object;
use crate::resources::node::{Node, Value as Read};
use crate::resources::scalar::{parsed, text};
use crate::resources::sketch::Note;

/// Written by whoever writes the message.
const FRAMING: [HeaderName; 6] =
    [CONNECTION, CONTENT_LENGTH, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];

/// Arbitrary, as is [`MOST_BODY`]; every sidecar keeps both.
const MOST_HEADERS: usize = 100;

/// In bytes.
const MOST_BODY: usize = 64 << 10;

/// `namespace`: where a service without one is.
pub(super) fn decode(namespace: &str) -> impl Fn(&Node, &mut Decoder) -> Option<FallbackSpec> {
    move |node, decoder| {
        let mut fields = Fields::open(node, decoder)?;
        let service = fields.optional("service", |node, decoder| service(node, decoder, namespace));
        let response = fields.optional("response", response);
        let has = |name| !fields.is_absent(name);
        let is_one = has("service") != has("response");
        fields.close();
        if !is_one {
            decoder.fault(&node.at, "say exactly one of service and response");
        }
        service.map(FallbackSpec::Service).or(response)
    }
}

fn service(node: &Node, decoder: &mut Decoder, namespace: &str) -> Option<ServiceName> {
    const WHAT: &str = "a service such as api, api.shop or api.shop:80";
    parsed(node, decoder, WHAT, |text| match text.contains(':') {
        true => ServiceName::parse(text, namespace).ok(),
        false => ServiceName::from_host(text, 0, namespace),
    })
}

fn response(node: &Node, decoder: &mut Decoder) -> Option<FallbackSpec> {
    let mut fields = Fields::open(node, decoder)?;
    let status = fields.optional("status", status);
    let headers = fields.optional("headers", headers).unwrap_or_default();
    let body = fields.optional("body", body).unwrap_or_default();
    let status = status.unwrap_or(StatusCode::OK);
    let bodiless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED];
    if bodiless.contains(&status) && !body.is_empty() {
        fields.fault("body", format!("status {} has none; remove one of both", status.as_u16()));
    }
    fields.close();
    Some(FallbackSpec::Response { status, headers: headers.into(), body: Bytes::from(body) })
}

fn body(node: &Node, decoder: &mut Decoder) -> Option<String> {
    decoder.note(|| Note::AtMost(MOST_BODY));
    let body = text(node, decoder)?;
    let found = body.len();
    if found > MOST_BODY {
        let why = format!("has {found} bytes; it may have {MOST_BODY}: let a service answer");
        decoder.fault(&node.at, why);
    }
    (found <= MOST_BODY).then_some(body)
}

fn headers(node: &Node, decoder: &mut Decoder) -> Option<Vec<(HeaderName, HeaderValue)>> {
    decoder.note(|| Note::Texts);
    let Read::Map(entries) = &node.value else {
        decoder.expected("a map of headers", node);
        return None;
    };
    at_most(MOST_HEADERS, "headers", node, decoder)?;
    let mut all: Vec<(HeaderName, HeaderValue)> = Vec::with_capacity(entries.len());
    for (key, node) in entries {
        let name = header_name(&Node::text(&*key.name, key.at.clone()), decoder);
        let value = decoder.field(&key.name, |decoder| value(node, decoder));
        let (Some(name), Some(value)) = (name, value) else { continue };
        if FRAMING.contains(&name) {
            let why = format!("{name} is written by the sidecar; remove it");
            decoder.field(&key.name, |decoder| decoder.fault(&key.at, why));
        }
        if all.iter().any(|(known, _)| *known == name) {
            let why = format!("{name} is given twice");
            decoder.field(&key.name, |decoder| decoder.fault(&key.at, why));
        }
        all.push((name, value));
    }
    Some(all)
}

fn value(node: &Node, decoder: &mut Decoder) -> Option<HeaderValue> {
    parsed(node, decoder, "a header's value, of visible ASCII", |text| {
        HeaderValue::from_str(text).ok()
    })
}

pub(super) fn print(fallback: &FallbackSpec) -> Value {
    match fallback {
        FallbackSpec::Service(ServiceName { name, namespace, port: 0 }) => {
            json!({"service": format!("{name}.{namespace}")})
        }
        FallbackSpec::Service(service) => json!({"service": service.to_string()}),
        FallbackSpec::Response { status, headers, body } => {
            let response = object([
                ("status", Some(json!(status.as_u16()))),
                ("headers", (!headers.is_empty()).then(|| print_headers(headers))),
                ("body", (!body.is_empty()).then(|| json!(String::from_utf8_lossy(body)))),
            ]);
            json!({"response": response})
        }
    }
}

/// Names and values were text when they were read.
fn print_headers(headers: &Arc<[(HeaderName, HeaderValue)]>) -> Value {
    let one = |(name, value): &(HeaderName, HeaderValue)| {
        (name.as_str().to_owned(), json!(String::from_utf8_lossy(value.as_bytes())))
    };
    headers.iter().map(one).collect::<Map<_, _>>().into()
}
