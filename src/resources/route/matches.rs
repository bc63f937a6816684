//! Conditions of rules: on paths, headers, query parameters and methods. What could never match is
//! refused: a rule that never holds looks like one that is ignored.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};

use super::regexes::regex;
use crate::model::{HeaderMatch, Match, PathMatch, QueryMatch, ValueMatch};
use crate::resources::decode::{Decoder, Fields, distinct, list};
use crate::resources::node::{Node, quote};
use crate::resources::scalar::{choice, parsed, text_of};

/// What a rule without matches has: the Gateway API's default.
pub(super) fn everything() -> Match {
    Match { path: Some(PathMatch::Prefix("/".into())), ..Match::default() }
}

/// Whether `ReplacePrefixMatch` knows what it replaces.
pub(super) fn all_have_prefixes(matches: &[Match]) -> bool {
    matches.iter().all(|one| matches!(one.path, Some(PathMatch::Prefix(_))))
}

/// The `matches` of an HTTP rule; an empty list is the same as none.
pub(super) fn matches(node: &Node, decoder: &mut Decoder) -> Option<Vec<Match>> {
    let matches = list(node, decoder, one)?;
    Some(if matches.is_empty() { vec![everything()] } else { matches })
}

fn one(node: &Node, decoder: &mut Decoder) -> Option<Match> {
    let mut fields = Fields::open(node, decoder)?;
    let path = fields.optional("path", path).or(everything().path);
    let headers = fields.optional("headers", headers).unwrap_or_default();
    let query = fields.optional("queryParams", query).unwrap_or_default();
    let method = fields.optional("method", method);
    fields.close();
    Some(Match { path, headers, query, method })
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    Exact,
    Prefix,
    Regex,
}

const OF_PATHS: &[(&str, Kind)] =
    &[("PathPrefix", Kind::Prefix), ("Exact", Kind::Exact), ("RegularExpression", Kind::Regex)];

pub(super) const OF_VALUES: &[(&str, Kind)] =
    &[("Exact", Kind::Exact), ("RegularExpression", Kind::Regex)];

/// The field `type`: the first of its words unless it is there.
pub(super) fn kind(
    fields: &mut Fields<'_, '_>,
    words: &'static [(&'static str, Kind)],
) -> Option<Kind> {
    let kind = fields.optional("type", choice(words));
    kind.or_else(|| words.first().filter(|_| fields.is_absent("type")).map(|(_, kind)| *kind))
}

fn path(node: &Node, decoder: &mut Decoder) -> Option<PathMatch> {
    let mut fields = Fields::open(node, decoder)?;
    let kind = kind(&mut fields, OF_PATHS);
    let path = fields.optional("value", |node, decoder| match kind? {
        Kind::Exact => path_text(node, decoder).map(PathMatch::Exact),
        Kind::Prefix => path_text(node, decoder).map(|path| PathMatch::Prefix(trimmed(path))),
        Kind::Regex => regex(node, decoder).map(PathMatch::Regex),
    });
    let absent = fields.is_absent("value");
    fields.close();
    let root: Arc<str> = "/".into();
    path.or_else(|| match kind.filter(|_| absent)? {
        Kind::Exact => Some(PathMatch::Exact(root)),
        Kind::Prefix => Some(PathMatch::Prefix(root)),
        Kind::Regex => Some(PathMatch::Regex(root)),
    })
}

/// Prefixes are of whole segments: `/a/` and `/a` are the same one.
fn trimmed(path: Arc<str>) -> Arc<str> {
    match path.strip_suffix('/') {
        Some(shorter) if !shorter.is_empty() => shorter.into(),
        _ => path,
    }
}

/// A path that a request can have and nobody reads in two ways.
pub(super) fn path_text(node: &Node, decoder: &mut Decoder) -> Option<Arc<str>> {
    let text = text_of(node, decoder, "a path such as /api")?;
    let Err(why) = check_path(text) else { return Some(text.into()) };
    decoder.fault(&node.at, format!("{} is not a path: {why}", quote(text)));
    None
}

fn check_path(text: &str) -> Result<(), String> {
    if !text.starts_with('/') {
        return Err("it must begin with `/`".into());
    }
    let ambiguous = ["//", "/./", "/../", "%2f", "%2F"].into_iter();
    let ends = ["/.", "/.."].into_iter().filter(|end| text.ends_with(end));
    if let Some(part) = ambiguous.filter(|part| text.contains(part)).chain(ends).next() {
        return Err(format!("it must not have `{part}`"));
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || "-/._~!$&'()*+,;=:@%".contains(c);
    if let Some(other) = text.chars().find(|c| !legal(*c)) {
        return Err(match other {
            '?' => "what follows `?` is the query, for which there is queryParams".into(),
            other => format!("{other:?} can't stand in one; write it percent-encoded"),
        });
    }
    let encoded = |rest: &str| rest.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    if !text.split('%').skip(1).all(encoded) {
        return Err("`%` must be followed by two hexadecimal digits".into());
    }
    Ok(())
}

/// Conditions on headers, at most one a name: the Gateway API counts only the first.
pub(in crate::resources) fn headers(
    node: &Node,
    decoder: &mut Decoder,
) -> Option<Vec<HeaderMatch>> {
    let headers = list(node, decoder, header)?;
    distinct(node, decoder, &headers, |header| Some(("name", header.name.clone())));
    Some(headers)
}

fn header(node: &Node, decoder: &mut Decoder) -> Option<HeaderMatch> {
    let mut fields = Fields::open(node, decoder)?;
    let name = fields.required("name", matched_name);
    let kind = kind(&mut fields, OF_VALUES);
    let value = fields.required("value", |node, decoder| match kind? {
        Kind::Regex => regex(node, decoder).map(ValueMatch::Regex),
        _ => header_value(node, decoder)?.to_str().ok().map(|v| ValueMatch::Exact(v.into())),
    });
    fields.close();
    Some(HeaderMatch { name: name?, value: value? })
}

/// HTTP/2 has `:authority` in the place of `host`, so a condition on it would hold for some only.
pub(in crate::resources) fn matched_name(node: &Node, decoder: &mut Decoder) -> Option<HeaderName> {
    let name = header_name(node, decoder)?;
    if name == http::header::HOST {
        decoder.fault(&node.at, "is not supported in headers: hosts are matched by spec.hostnames");
        return None;
    }
    Some(name)
}

/// A header's name, in any letter case.
pub(super) fn header_name(node: &Node, decoder: &mut Decoder) -> Option<HeaderName> {
    parsed(node, decoder, "the name of a header", |text| text.parse().ok())
}

/// A header's value as it arrives: not empty, without white space around it.
pub(in crate::resources) fn header_value(
    node: &Node,
    decoder: &mut Decoder,
) -> Option<HeaderValue> {
    const WHAT: &str = "a header's value: printable ASCII, not empty, without spaces around it";
    parsed(node, decoder, WHAT, |text| {
        let fit = !text.is_empty() && text.trim() == text;
        HeaderValue::from_str(text).ok().filter(|_| fit)
    })
}

fn query(node: &Node, decoder: &mut Decoder) -> Option<Vec<QueryMatch>> {
    let parameters = list(node, decoder, parameter)?;
    distinct(node, decoder, &parameters, |parameter| Some(("name", parameter.name.clone())));
    Some(parameters)
}

fn parameter(node: &Node, decoder: &mut Decoder) -> Option<QueryMatch> {
    let mut fields = Fields::open(node, decoder)?;
    let name = fields.required("name", |node, decoder| not_empty(node, decoder, "a name"));
    let kind = kind(&mut fields, OF_VALUES);
    let value = fields.required("value", |node, decoder| match kind? {
        Kind::Regex => regex(node, decoder).map(ValueMatch::Regex),
        _ => not_empty(node, decoder, "a value").map(ValueMatch::Exact),
    });
    fields.close();
    Some(QueryMatch { name: name?, value: value? })
}

fn not_empty(node: &Node, decoder: &mut Decoder, what: &str) -> Option<Arc<str>> {
    parsed(node, decoder, what, |text| (!text.is_empty()).then(|| text.into()))
}

fn method(node: &Node, decoder: &mut Decoder) -> Option<Method> {
    method_word(node, decoder)?.parse().ok()
}

/// The methods that the Gateway API knows.
pub(super) fn method_word(node: &Node, decoder: &mut Decoder) -> Option<&'static str> {
    choice(&[
        ("GET", "GET"),
        ("HEAD", "HEAD"),
        ("POST", "POST"),
        ("PUT", "PUT"),
        ("DELETE", "DELETE"),
        ("CONNECT", "CONNECT"),
        ("OPTIONS", "OPTIONS"),
        ("TRACE", "TRACE"),
        ("PATCH", "PATCH"),
    ])(node, decoder)
}
