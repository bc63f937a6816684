//! The CORS filter. Browsers compare origins letter by letter, so one that no browser sends is
//! refused; `*` stands alone, because beside it nothing else counts.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::matches::{header_name, method_word};
use crate::model::Cors;
use crate::resources::decode::{Decoder, Fields, list};
use crate::resources::names::is_dns_subdomain;
use crate::resources::node::{Node, Value};
use crate::resources::scalar::{boolean, integer, text_of};

/// In seconds; the Gateway API's default, and the Fetch standard's.
const MAX_AGE: u64 = 5;

/// A `cors` filter.
pub(super) fn cors(node: &Node, decoder: &mut Decoder) -> Option<Cors> {
    let mut fields = Fields::open(node, decoder)?;
    let mut words = |name, one: fn(&Node, &mut Decoder) -> Option<Arc<str>>| {
        let words = fields.optional(name, |node, decoder| words(node, decoder, one));
        words.unwrap_or_default()
    };
    let allow_origins = words("allowOrigins", origin);
    let allow_methods = words("allowMethods", |node, d| method_word(node, d).map(Arc::from));
    let allow_headers = words("allowHeaders", header);
    let expose_headers = words("exposeHeaders", header);
    let allow_credentials = fields.optional("allowCredentials", boolean).unwrap_or_default();
    let max_age = fields.optional("maxAge", integer(1..=i64::from(i32::MAX)));
    fields.close();
    let seconds = max_age.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(MAX_AGE);
    let max_age = Duration::from_secs(seconds);
    Some(Cors {
        allow_origins,
        allow_credentials,
        allow_methods,
        allow_headers,
        expose_headers,
        max_age,
    })
}

/// `*` alone, or words of one kind, each once in whatever letter case.
fn words(
    node: &Node,
    decoder: &mut Decoder,
    one: fn(&Node, &mut Decoder) -> Option<Arc<str>>,
) -> Option<Vec<Arc<str>>> {
    let words = list(node, decoder, |node, decoder| match &node.value {
        Value::String(text) if text == "*" => Some("*".into()),
        _ => one(node, decoder),
    })?;
    if words.len() > 1 && words.iter().any(|word| &**word == "*") {
        decoder.fault(&node.at, "`*` stands alone: it is everything");
    }
    let mut seen = HashSet::new();
    if let Some(twice) = words.iter().find(|word| !seen.insert(word.to_ascii_lowercase())) {
        decoder.fault(&node.at, format!("{twice} is there twice"));
    }
    Some(words)
}

fn header(node: &Node, decoder: &mut Decoder) -> Option<Arc<str>> {
    header_name(node, decoder)?;
    text_of(node, decoder, "the name of a header").map(Arc::from)
}

fn origin(node: &Node, decoder: &mut Decoder) -> Option<Arc<str>> {
    const WHAT: &str = "an origin as browsers write it, such as https://example.com, \
        http://localhost:8080 or https://*.example.com: in lower case, without path, \
        without the scheme's usual port";
    let text = text_of(node, decoder, WHAT)?;
    if !is_origin(text) {
        decoder.expected(WHAT, node);
        return None;
    }
    Some(text.into())
}

fn is_origin(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let (host, port) = match rest.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (rest, None),
    };
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
    let is_scheme =
        scheme.bytes().all(legal) && scheme.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    let usual = matches!((scheme, port), ("http", Some("80")) | ("https", Some("443")));
    let is_port = port.is_none_or(|port| {
        !port.starts_with(['0', '+']) && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    let host_is_fine = host == "*" || is_dns_subdomain(host.strip_prefix("*.").unwrap_or(host));
    is_scheme && host_is_fine && is_port && !usual
}
