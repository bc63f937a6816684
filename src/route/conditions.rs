//! What a match asks of a request besides its host and path: method, headers, query.
//!
//! Asked where the request's bytes lie: a value is compared while it is decoded, or line by line.
//! Memory is taken only where a pattern meets an escaped query or a header of several lines.

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use regex::bytes::Regex;
use std::borrow::Cow;
use std::sync::Arc;

use super::head::Head;
use super::patterns::whole;
use crate::http::percent;
use crate::model::{Match, ValueMatch};

/// All of them must hold.
#[derive(Debug)]
pub struct Conditions {
    method: Option<Method>,
    headers: Box<[(HeaderName, Value)]>,
    query: Box<[(Arc<str>, Value)]>,
}

/// How a value must read.
#[derive(Debug)]
enum Value {
    Exact(Arc<str>),
    Pattern(Regex),
    /// Of a pattern that is none; whoever reads resources refuses them.
    Never,
}

/// Of two matches with the same path, the one with the higher rank takes the request.
pub(super) fn rank(of: &Match) -> (bool, usize, usize) {
    (of.method.is_some(), of.headers.len(), of.query.len())
}

impl Conditions {
    pub fn new(of: &Match) -> Self {
        let headers = of.headers.iter().map(|h| (h.name.clone(), Value::new(&h.value)));
        let query = of.query.iter().map(|q| (Arc::clone(&q.name), Value::new(&q.value)));
        Self { method: of.method.clone(), headers: headers.collect(), query: query.collect() }
    }

    pub fn hold(&self, head: &Head<'_>) -> bool {
        self.method.as_ref().is_none_or(|method| method == head.method)
            && self.headers.iter().all(|(name, value)| value.has_header(head, name))
            && self.query.iter().all(|(name, value)| {
                let written = head.query.and_then(|query| parameter(query, name));
                written.is_some_and(|written| value.has_written(written))
            })
    }
}

impl Value {
    fn new(of: &ValueMatch) -> Self {
        match of {
            ValueMatch::Exact(text) => Value::Exact(Arc::clone(text)),
            ValueMatch::Regex(pattern) => whole(pattern).map_or(Value::Never, Value::Pattern),
        }
    }

    fn has_header(&self, head: &Head<'_>, name: &HeaderName) -> bool {
        match head.headers.get(name) {
            Some(first) => match self {
                Value::Exact(text) => reads(head.headers, name, text),
                Value::Pattern(pattern) => pattern.is_match(&joined(head.headers, name, first)),
                Value::Never => false,
            },
            // HTTP/2 says it in another place; the rule's author need not know.
            None => *name == header::HOST && !head.host.is_empty() && self.has_plain(head.host),
        }
    }

    fn has_plain(&self, text: &str) -> bool {
        match self {
            Value::Exact(wanted) => **wanted == *text,
            Value::Pattern(pattern) => pattern.is_match(text.as_bytes()),
            Value::Never => false,
        }
    }

    /// A value as a query has it.
    fn has_written(&self, written: &str) -> bool {
        match self {
            Value::Exact(text) => decoded(written).eq(text.bytes()),
            Value::Pattern(pattern) if written.contains(['%', '+']) => {
                pattern.is_match(&decoded(written).collect::<Vec<u8>>())
            }
            other => other.has_plain(written),
        }
    }
}

/// Whether the lines of a header, joined by commas, are `text`.
fn reads(headers: &HeaderMap, name: &HeaderName, text: &str) -> bool {
    let mut rest = text.as_bytes();
    for (nth, line) in headers.get_all(name).iter().enumerate() {
        let after_comma = if nth == 0 { Some(rest) } else { rest.strip_prefix(b",") };
        let Some(after) = after_comma.and_then(|rest| rest.strip_prefix(line.as_bytes())) else {
            return false;
        };
        rest = after;
    }
    rest.is_empty()
}

fn joined<'h>(headers: &'h HeaderMap, name: &HeaderName, first: &'h HeaderValue) -> Cow<'h, [u8]> {
    let mut lines = headers.get_all(name).iter().skip(1).peekable();
    if lines.peek().is_none() {
        return Cow::Borrowed(first.as_bytes());
    }
    let mut all = first.as_bytes().to_vec();
    for line in lines {
        all.push(b',');
        all.extend_from_slice(line.as_bytes());
    }
    Cow::Owned(all)
}

/// The first value of a parameter, as written; empty if it has no `=`.
fn parameter<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.find(|(key, _)| decoded(key).eq(name.bytes())).map(|(_, value)| value)
}

/// The bytes that `written` stands for; an escape that is none stands for itself.
fn decoded(written: &str) -> impl Iterator<Item = u8> {
    let byte = |(byte, escaped): (u8, bool)| if byte == b'+' && !escaped { b' ' } else { byte };
    percent::bytes(written.as_bytes()).map(byte)
}
