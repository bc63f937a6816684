//! Header modifiers. What belongs to one connection, frames the message or is the sidecars' own word
//! can't be changed by a route: each is refused by name, so that nobody waits for it to happen.

use http::{HeaderName, HeaderValue};

use super::matches::{header_name, header_value};
use crate::model::HeaderEdit;
use crate::resources::decode::{Decoder, Fields, distinct, distinct_values, list};
use crate::resources::node::Node;

/// `{set, add, remove}`.
pub(super) fn edit(node: &Node, decoder: &mut Decoder) -> Option<HeaderEdit> {
    let mut fields = Fields::open(node, decoder)?;
    let set = fields.optional("set", lines).unwrap_or_default();
    let add = fields.optional("add", lines).unwrap_or_default();
    let remove = fields.optional("remove", removed).unwrap_or_default();
    fields.close();
    Some(HeaderEdit { set, add, remove })
}

fn lines(node: &Node, decoder: &mut Decoder) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let lines = list(node, decoder, line)?;
    distinct(node, decoder, &lines, |(name, _)| Some(("name", name.clone())));
    Some(lines)
}

fn line(node: &Node, decoder: &mut Decoder) -> Option<(HeaderName, HeaderValue)> {
    let mut fields = Fields::open(node, decoder)?;
    let name = fields.required("name", changeable);
    let value = fields.required("value", header_value);
    fields.close();
    Some((name?, value?))
}

fn removed(node: &Node, decoder: &mut Decoder) -> Option<Vec<HeaderName>> {
    let names = list(node, decoder, changeable)?;
    distinct_values(node, decoder, &names);
    Some(names)
}

/// Hop-by-hop (RFC 9110, 7.6.1) or part of the framing.
const OF_CONNECTIONS: [&str; 8] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn changeable(node: &Node, decoder: &mut Decoder) -> Option<HeaderName> {
    let name = header_name(node, decoder)?;
    let text = name.as_str();
    let why = if text.starts_with("x-outrigger-") {
        "can't be changed: only sidecars write x-outrigger-* headers"
    } else if OF_CONNECTIONS.contains(&text) {
        "can't be changed: it is about the connection or the framing, which every hop has its own of"
    } else if text == "host" {
        "can't be changed here: use a URLRewrite filter with hostname"
    } else {
        return Some(name);
    };
    decoder.fault(&node.at, format!("{text} {why}"));
    None
}
