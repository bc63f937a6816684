//! Filters of rules and backends: which types there are, where each may stand, and which go
//! together. Each type is read by a file of its own.

use super::backends::mirror;
use super::cors::cors;
use super::edits::edit;
use super::urls::{redirect, rewrite};
use crate::model::{Filter, RouteKind};
use crate::resources::decode::{Decoder, Fields, list};
use crate::resources::fault::suggestion;
use crate::resources::node::{Node, Value, quote};
use crate::resources::scalar::text;

/// Where filters stand.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) route: RouteKind,
    pub(super) on_backend: bool,
    /// The route's.
    pub(super) namespace: &'a str,
    /// Every match of the rule has a path prefix.
    pub(super) prefixed: bool,
}

const HEADERS: &str = "RequestHeaderModifier";
const RESPONSE_HEADERS: &str = "ResponseHeaderModifier";
const MIRROR: &str = "RequestMirror";
const REDIRECT: &str = "RequestRedirect";
const REWRITE: &str = "URLRewrite";
const CORS: &str = "CORS";

/// Types of filters, and the field that has what each says.
const TYPES: [(&str, &str); 6] = [
    (HEADERS, "requestHeaderModifier"),
    (RESPONSE_HEADERS, "responseHeaderModifier"),
    (MIRROR, "requestMirror"),
    (REDIRECT, "requestRedirect"),
    (REWRITE, "urlRewrite"),
    (CORS, "cors"),
];

/// A list of filters: one of a type, except mirrors.
pub(super) fn filters(node: &Node, decoder: &mut Decoder, place: Place<'_>) -> Option<Vec<Filter>> {
    let filters = list(node, decoder, |node, decoder| filter(node, decoder, place))?;
    once(node, decoder, &filters);
    let has = |wanted: &str| filters.iter().any(|filter| word(filter) == wanted);
    if has(REDIRECT) && has(REWRITE) {
        let message = "RequestRedirect and URLRewrite exclude each other: a request that is sent \
            elsewhere does not go on";
        decoder.fault(&node.at, message);
    }
    Some(filters)
}

fn once(node: &Node, decoder: &mut Decoder, filters: &[Filter]) {
    let Value::List(nodes) = &node.value else { return };
    for (index, (filter, node)) in filters.iter().zip(nodes).enumerate() {
        let word = word(filter);
        let first = filters.iter().position(|other| self::word(other) == word);
        let Some(first) = first.filter(|first| *first < index && word != MIRROR) else { continue };
        let message = format!("{word} may stand once; item {first} is one already");
        decoder.item(index, |decoder| decoder.fault(&node.at, message));
    }
}

/// The type of a filter.
pub(super) fn word(filter: &Filter) -> &'static str {
    match filter {
        Filter::RequestHeaders(_) => HEADERS,
        Filter::ResponseHeaders(_) => RESPONSE_HEADERS,
        Filter::Mirror(_) => MIRROR,
        Filter::Redirect(_) => REDIRECT,
        Filter::Rewrite(_) => REWRITE,
        Filter::Cors(_) => CORS,
    }
}

/// The field that has what a filter of a type says.
pub(super) fn field(filter: &Filter) -> &'static str {
    let word = word(filter);
    let row = TYPES.iter().find(|(known, _)| *known == word);
    row.map(|(_, field)| *field).expect("every word has a row")
}

fn filter(node: &Node, decoder: &mut Decoder, place: Place<'_>) -> Option<Filter> {
    let mut fields = Fields::open(node, decoder)?;
    let word = fields.required("type", |node, decoder| kind(node, decoder, place))?;
    let filter = match word {
        HEADERS => fields.required("requestHeaderModifier", edit).map(Filter::RequestHeaders),
        RESPONSE_HEADERS => {
            fields.required("responseHeaderModifier", edit).map(Filter::ResponseHeaders)
        }
        MIRROR => fields
            .required("requestMirror", |node, decoder| mirror(node, decoder, place.namespace))
            .map(Filter::Mirror),
        REDIRECT => fields
            .required("requestRedirect", |node, d| redirect(node, d, place.prefixed))
            .map(Filter::Redirect),
        REWRITE => fields
            .required("urlRewrite", |node, decoder| rewrite(node, decoder, place.prefixed))
            .map(Filter::Rewrite),
        _ => fields.required("cors", cors).map(Filter::Cors),
    };
    for (other, field) in TYPES.iter().filter(|(other, _)| *other != word) {
        fields.refused(&[field], &format!("is for a filter of type {other}, not {word}"));
    }
    fields.close();
    filter
}

/// A type of filter that may stand here.
fn kind(node: &Node, decoder: &mut Decoder, place: Place<'_>) -> Option<&'static str> {
    let text = text(node, decoder)?;
    let why = match (refusal(&text, place), TYPES.iter().find(|(word, _)| *word == text)) {
        (None, Some((word, _))) => return Some(word),
        (Some(why), _) => format!("{text} is not supported{why}"),
        (None, None) => {
            let here =
                || TYPES.iter().map(|(word, _)| *word).filter(|w| refusal(w, place).is_none());
            let all = here().collect::<Vec<_>>().join(", ");
            let cure = suggestion(&text, here(), String::new);
            format!("expected one of {all}, found {}{cure}", quote(&text))
        }
    };
    decoder.fault(&node.at, why);
    None
}

/// Why a type of filter may not stand here.
fn refusal(word: &str, place: Place<'_>) -> Option<&'static str> {
    match (word, place.route) {
        ("ExtensionRef", _) => Some(": the mesh has no filters beside the Gateway API's"),
        ("ExternalAuth", _) => Some(": who may call is said by an AccessPolicy"),
        (REDIRECT | REWRITE | CORS, RouteKind::Grpc) => Some(" in a GRPCRoute: use an HTTPRoute"),
        (REDIRECT | CORS, RouteKind::Http) if place.on_backend => {
            Some(" on a backend: make it a filter of the rule")
        }
        _ => None,
    }
}
