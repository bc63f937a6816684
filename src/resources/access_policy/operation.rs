//! An entry of `to`: what is called. Only HTTP has any of it.

use http::Method;
use http::header::{self, HeaderName};
use serde_json::Value;

use super::pattern::{PathPattern, TextPattern, host, path};
use super::rule::{Operation, named, named_texts, one_or_some, texts, values};
use crate::model::Hostname;
use crate::resources::decode::{Decoder, Fields};
use crate::resources::manifest::object;
use crate::resources::node::{Key, Node, quote};
use crate::resources::scalar::parsed;

pub(super) fn decode(node: &Node, decoder: &mut Decoder) -> Option<Operation> {
    let mut fields = Fields::open(node, decoder)?;
    fields.refuse_empty();
    let methods = fields.optional("methods", |n, d| values(n, d, method));
    let paths = fields.optional("paths", |n, d| values(n, d, path));
    let hosts = fields.optional("hosts", |n, d| values(n, d, host));
    let headers = fields.optional("headers", |n, d| named(n, d, header));
    fields.close();
    let operation = Operation {
        methods: methods.unwrap_or_default(),
        paths: paths.unwrap_or_default(),
        hosts: hosts.unwrap_or_default(),
        headers: headers.unwrap_or_default(),
    };
    if decoder.is_clean() && operation == Operation::default() {
        decoder.fault(&node.at, "says nothing of a request; leave out `to` to mean every request");
        return None;
    }
    Some(operation)
}

/// Methods know upper and lower case (RFC 9110, 9.1); none in use has lower.
pub(in crate::resources) fn method(node: &Node, decoder: &mut Decoder) -> Option<Method> {
    parsed(node, decoder, "a method such as GET", |text| {
        let is_upper = !text.bytes().any(|b| b.is_ascii_lowercase());
        Method::from_bytes(text.as_bytes()).ok().filter(|_| is_upper)
    })
}

/// Headers that say what a rule has a field of its own for, or that no caller can say.
const OTHERWISE: [(&str, &str); 2] = [
    ("host", "hosts are matched by `hosts`"),
    ("x-outrigger-peer", "callers can't say who they are: write `identities` under `from`"),
];

pub(in crate::resources) fn header(
    key: &Key,
    node: &Node,
    decoder: &mut Decoder,
) -> Option<(HeaderName, Vec<TextPattern>)> {
    let Ok(name) = key.name.parse::<HeaderName>() else {
        decoder.fault(&key.at, format!("{} is not the name of a header", quote(&key.name)));
        return None;
    };
    if let Some((_, why)) = OTHERWISE.iter().find(|(other, _)| name == *other) {
        decoder.fault(&key.at, *why);
        return None;
    }
    // What concerns the caller's own connection never reaches the app.
    let own = [header::CONNECTION, header::TRANSFER_ENCODING, header::TE, header::UPGRADE];
    if own.contains(&name) {
        decoder.fault(&key.at, format!("{name} concerns one connection, and is not passed on"));
        return None;
    }
    Some((name, one_or_some(node, decoder, super::pattern::text)?))
}

pub(super) fn spec(operation: &Operation) -> Value {
    let Operation { methods, paths, hosts, headers } = operation;
    let hosts: Vec<String> = hosts.iter().map(written).collect();
    object([
        ("methods", texts(methods)),
        ("paths", texts::<PathPattern>(paths)),
        ("hosts", texts(&hosts)),
        ("headers", named_texts(headers)),
    ])
}

fn written(host: &Hostname) -> String {
    match host {
        Hostname::Exact(name) => name.to_string(),
        Hostname::Below(suffix) => format!("*{suffix}"),
    }
}
