//! Decoders for single values that are numbers, durations, sizes or words of a
//! fixed set. Each refuses what only looks right: a quoted number, a duration
//! without unit, zero where it might be taken for "off". Called by every kind
//! of resource and by the configuration.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::decode::Decoder;
use super::fault::suggestion;
use super::node::{Node, Origin, Value};
use super::schema;
use super::sketch::Note;
use crate::model::Protocol;

/// Any text.
pub fn text(node: &Node, decoder: &mut Decoder) -> Option<String> {
    text_of(node, decoder, "text").map(str::to_owned)
}

/// Text for a parser that says what it expected.
pub(super) fn text_of<'n>(node: &'n Node, decoder: &mut Decoder, what: &str) -> Option<&'n str> {
    decoder.note(|| Note::Text(what.to_owned()));
    text_in(node, decoder, what)
}

/// As [`text_of`], where the text is one of a few words and the caller notes them.
pub(super) fn text_in<'n>(node: &'n Node, decoder: &mut Decoder, what: &str) -> Option<&'n str> {
    match &node.value {
        Value::String(text) => Some(text),
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => {
            let found = node.describe();
            decoder.fault(&node.at, format!("expected {what}, found {found}; put it in quotes"));
            None
        }
        _ => {
            decoder.expected(what, node);
            None
        }
    }
}

/// Text that `parse` understands; otherwise "expected `what`, found …".
pub fn parsed<T>(
    node: &Node,
    decoder: &mut Decoder,
    what: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Option<T> {
    let result = parse(text_of(node, decoder, what)?);
    if result.is_none() {
        decoder.expected(what, node);
    }
    result
}

/// `true` or `false`.
pub fn boolean(node: &Node, decoder: &mut Decoder) -> Option<bool> {
    decoder.note(|| Note::Boolean);
    if let Value::Bool(value) = node.value {
        return Some(value);
    }
    decoder.expected("true or false", node);
    None
}

/// A whole number within bounds.
pub fn integer(range: RangeInclusive<i64>) -> impl Fn(&Node, &mut Decoder) -> Option<i64> {
    move |node, decoder| {
        decoder.note(|| Note::Integer(*range.start(), *range.end()));
        match &node.value {
            Value::Int(value) if range.contains(value) => Some(*value),
            value => {
                let quoted = matches!(value, Value::String(text)
                if matches!(schema::resolve(text), Value::Int(number) if range.contains(&number)));
                let cure = if quoted { "; remove the quotes" } else { "" };
                let (low, high) = (range.start(), range.end());
                let found = node.describe();
                let message =
                    format!("expected a number from {low} to {high}, found {found}{cure}");
                decoder.fault(&node.at, message);
                None
            }
        }
    }
}

/// A TCP port, from 1.
pub fn port(node: &Node, decoder: &mut Decoder) -> Option<u16> {
    integer(1..=65535)(node, decoder).and_then(|port| u16::try_from(port).ok())
}

/// A share from 0 to 1.
pub fn ratio(node: &Node, decoder: &mut Decoder) -> Option<f64> {
    let value = match node.value {
        Value::Int(0) => 0.0,
        Value::Int(1) => 1.0,
        Value::Float(value) => value,
        _ => f64::NAN,
    };
    if (0.0..=1.0).contains(&value) {
        return Some(value);
    }
    decoder.expected("a number from 0.0 to 1.0", node);
    None
}

/// A span of time: `250ms`, `1s`, `5m`, `1h30m` (the Gateway API's form, four
/// parts of up to five digits). Zero is refused.
pub fn duration(node: &Node, decoder: &mut Decoder) -> Option<Duration> {
    let value = duration_or_zero(node, decoder)?;
    not_zero(node, decoder, value.is_zero())?;
    Some(value)
}

/// As [`duration`], of a text that stands alone.
///
/// # Errors
/// Why it is none.
pub fn read_duration(text: &str) -> Result<Duration, String> {
    let mut decoder = Decoder::new();
    let read = duration(&Node::text(text, Origin::Default), &mut decoder);
    read.ok_or_else(|| {
        let messages = decoder.finish().into_iter().map(|fault| fault.message);
        messages.collect::<Vec<_>>().join("; ")
    })
}

/// As [`duration`], for formats in which zero means something (the Gateway API's: off).
pub fn duration_or_zero(node: &Node, decoder: &mut Decoder) -> Option<Duration> {
    const WHAT: &str = "a duration such as 250ms, 1s or 5m";
    if let Value::Int(_) | Value::Float(_) = node.value {
        let message = format!("expected {WHAT}, found {}; add the unit", node.describe());
        decoder.fault(&node.at, message);
        return None;
    }
    parsed(node, decoder, WHAT, parse_duration)
}

fn not_zero(node: &Node, decoder: &mut Decoder, zero: bool) -> Option<()> {
    if zero {
        decoder.fault(&node.at, "zero never means off; leave the field out");
    }
    (!zero).then_some(())
}

fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    for _ in 0..4 {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if !(1..=5).contains(&digits) {
            return None;
        }
        let count: u64 = rest[..digits].parse().ok()?;
        let unit = &rest[digits..];
        let (millis, length) = match unit.as_bytes() {
            [b'm', b's', ..] => (1, 2),
            [b's', ..] => (1_000, 1),
            [b'm', ..] => (60_000, 1),
            [b'h', ..] => (3_600_000, 1),
            _ => return None,
        };
        total += Duration::from_millis(count * millis);
        rest = &unit[length..];
        if rest.is_empty() {
            return Some(total);
        }
    }
    None
}

/// A number of bytes: `64KiB`, `1MiB`, `2GiB`, or a plain number. Zero is
/// refused.
pub fn size(node: &Node, decoder: &mut Decoder) -> Option<u64> {
    const WHAT: &str = "a size such as 64KiB, 1MiB or a number of bytes";
    decoder.note(|| Note::Size);
    let bytes = match node.value {
        Value::Int(bytes) => u64::try_from(bytes).ok(),
        Value::String(ref text) => parse_size(text),
        _ => None,
    };
    if bytes.is_none() {
        decoder.expected(WHAT, node);
    }
    let bytes = bytes?;
    not_zero(node, decoder, bytes == 0)?;
    Some(bytes)
}

fn parse_size(text: &str) -> Option<u64> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
    let (digits, shift) =
        units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)))?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// One word of a fixed set.
pub fn choice<T: Copy>(
    words: &'static [(&'static str, T)],
) -> impl Fn(&Node, &mut Decoder) -> Option<T> {
    move |node, decoder| {
        let names = || words.iter().map(|(word, _)| (*word).to_owned()).collect();
        decoder.note(|| Note::Words(names()));
        if let Value::String(text) = &node.value
            && let Some((_, value)) = words.iter().find(|(word, _)| word == text)
        {
            return Some(*value);
        }
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let cure = match &node.value {
            Value::String(text) => suggestion(text, names.iter().copied(), String::new),
            _ => String::new(),
        };
        let (all, found) = (names.join(", "), node.describe());
        decoder.fault(&node.at, format!("expected one of {all}, found {found}{cure}"));
        None
    }
}

/// A protocol by the mesh's own names.
pub fn protocol(node: &Node, decoder: &mut Decoder) -> Option<Protocol> {
    choice(&[
        ("auto", Protocol::Auto),
        ("http", Protocol::Http),
        ("http2", Protocol::Http2),
        ("grpc", Protocol::Grpc),
        ("tcp", Protocol::Tcp),
    ])(node, decoder)
}

/// A path of a file or folder.
pub fn path(node: &Node, decoder: &mut Decoder) -> Option<PathBuf> {
    parsed(node, decoder, "a path", |text| (!text.is_empty()).then(|| PathBuf::from(text)))
}
