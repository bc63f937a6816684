//! Regular expressions of routes: tried when they are read, the way they are used, against the whole
//! of a value. The crate `regex` matches in linear time, so that an expression can be large but
//! never slow; its size is bounded here.

use std::sync::Arc;

use regex::{Error, RegexBuilder};

use crate::resources::decode::Decoder;
use crate::resources::node::Node;
use crate::resources::scalar::text_of;

/// Compiled, in bytes. The crate's own bound is ten times as high, for one expression of a program
/// that has few.
const MAX_BYTES: usize = 1 << 20;

/// An expression that compiles.
pub(super) fn regex(node: &Node, decoder: &mut Decoder) -> Option<Arc<str>> {
    let text = text_of(node, decoder, "a regular expression")?;
    check(text, node, decoder)?;
    Some(text.into())
}

/// Alone first, for a cause in the words of what was written; then as it is used.
pub(super) fn check(text: &str, node: &Node, decoder: &mut Decoder) -> Option<()> {
    let tried = compile(text).and_then(|()| compile(&format!("^(?:{text})$")));
    tried.map_err(|why| decoder.fault(&node.at, why)).ok()
}

fn compile(text: &str) -> Result<(), String> {
    match RegexBuilder::new(text).size_limit(MAX_BYTES).build() {
        Ok(_) => Ok(()),
        Err(Error::CompiledTooBig(_)) => {
            Err("is too large a regular expression: compiled it takes more than 1 MiB".into())
        }
        Err(error) => Err(format!("is not a regular expression: {}", cause(&error.to_string()))),
    }
}

/// The crate draws the expression with a mark below it, and says the cause in the last line.
fn cause(drawn: &str) -> &str {
    let last = drawn.lines().last().unwrap_or(drawn).trim();
    last.strip_prefix("error: ").unwrap_or(last)
}

/// An expression that compiles and can be a part of a longer one, between slashes.
pub(super) fn part(node: &Node, decoder: &mut Decoder) -> Option<String> {
    let text = regex(node, decoder)?;
    if has_anchors(unanchored(&text)) {
        let message = "has an anchor inside, where a path goes on before or after it; \
            leave anchors out: the whole is matched anyway";
        decoder.fault(&node.at, message);
        return None;
    }
    Some(text.to_string())
}

/// An expression for a whole value without `^` and `$` at its ends, where they say nothing; as a
/// part of a longer one they would keep it from ever matching.
pub(super) fn unanchored(regex: &str) -> &str {
    let regex = regex.strip_prefix('^').unwrap_or(regex);
    match regex.strip_suffix('$') {
        Some(rest) if !is_escaped(rest) => rest,
        _ => regex,
    }
}

/// Whether what follows `text` stands behind a backslash that counts.
fn is_escaped(text: &str) -> bool {
    text.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1
}

fn has_anchors(regex: &str) -> bool {
    let mut in_class = false;
    let mut chars = regex.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if matches!(chars.next(), Some('A' | 'z')) => return true,
            '[' => in_class = true,
            ']' => in_class = false,
            '^' | '$' if !in_class => return true,
            _ => {}
        }
    }
    false
}
