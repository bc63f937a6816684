//! What several parts of a policy are written with: counts, percentages, header names, gRPC codes.
//!
//! And back: durations and sizes as a person would write them.

use std::ops::RangeInclusive;
use std::time::Duration;

use http::{HeaderName, StatusCode};

use crate::model::{GrpcCodes, Share};
use crate::resources::decode::Decoder;
use crate::resources::fault::suggestion;
use crate::resources::node::{Node, Value};
use crate::resources::scalar::{boolean, integer, parsed, text_in};
use crate::resources::sketch::Note;

/// More of anything is a slip of the finger; arbitrary.
pub(super) const MOST: i64 = 1_000_000_000;

/// Refuses a list or map that is too long, before its items are read: some of them are compiled, and
/// every sidecar that reads the policy keeps them.
pub(super) fn at_most(most: usize, what: &str, node: &Node, decoder: &mut Decoder) -> Option<()> {
    decoder.note(|| Note::AtMost(most));
    let found = match &node.value {
        Value::List(items) => items.len(),
        Value::Map(entries) => entries.len(),
        _ => 0,
    };
    if found > most {
        let message = format!("has {found} {what}; one policy may have {most}: write fewer");
        decoder.fault(&node.at, message);
    }
    (found <= most).then_some(())
}

/// A whole number within bounds that its type has too.
pub(in crate::resources) fn whole<T: TryFrom<i64>>(
    range: RangeInclusive<i64>,
) -> impl Fn(&Node, &mut Decoder) -> Option<T> {
    move |node, decoder| integer(range.clone())(node, decoder).and_then(|n| T::try_from(n).ok())
}

/// Something of which there is at least one.
pub(in crate::resources) fn count(node: &Node, decoder: &mut Decoder) -> Option<u32> {
    whole(1..=MOST)(node, decoder)
}

/// A threshold in percent.
pub(super) fn threshold(node: &Node, decoder: &mut Decoder) -> Option<u8> {
    whole(1..=100)(node, decoder)
}

/// A share of requests, in percent with at most four decimals.
pub(super) fn share(node: &Node, decoder: &mut Decoder) -> Option<Share> {
    decoder.note(|| Note::Percentage);
    let percent = match node.value {
        // Past 2^53 inexact, and far past 100.
        Value::Int(value) => value as f64,
        Value::Float(value) => value,
        _ => f64::NAN,
    };
    if !(0.0..=100.0).contains(&percent) {
        decoder.expected("a percentage from 0 to 100", node);
        return None;
    }
    let millionths = percent * 10_000.0;
    if (millionths - millionths.round()).abs() > 1e-6 {
        decoder.fault(&node.at, "is too fine; a percentage has at most four decimals");
        return None;
    }
    // Between 0 and a million, by the check above.
    Some(Share(millionths.round() as u32))
}

/// As [`share`] reads it.
pub(super) fn percent_of(Share(millionths): Share) -> serde_json::Value {
    match millionths % 10_000 {
        0 => (millionths / 10_000).into(),
        _ => (f64::from(millionths) / 10_000.0).into(),
    }
}

/// A final status.
pub(super) fn status(node: &Node, decoder: &mut Decoder) -> Option<StatusCode> {
    whole(200..=599)(node, decoder).and_then(|code: u16| StatusCode::from_u16(code).ok())
}

/// A header's name, in lower case afterwards.
pub(super) fn header_name(node: &Node, decoder: &mut Decoder) -> Option<HeaderName> {
    parsed(node, decoder, "a header's name such as x-user", |text| text.parse().ok())
}

/// Something that is either said or left out.
pub(super) fn only_true(node: &Node, decoder: &mut Decoder) -> Option<()> {
    decoder.note(|| Note::True);
    let said = boolean(node, decoder)?;
    if !said {
        decoder.fault(&node.at, "false says nothing; leave the field out");
    }
    said.then_some(())
}

/// The code of a failure by its name, in gRPC's own writing (`UNAVAILABLE`) or ours.
pub(super) fn grpc_code(name: &str) -> Option<u8> {
    let is_upper = |b: u8| b.is_ascii_uppercase() || b == b'_';
    let own = match name.bytes().all(is_upper) {
        true => name.to_ascii_lowercase().replace('_', "-"),
        false => name.to_owned(),
    };
    let known = GrpcCodes::NAMES.iter().skip(1).position(|known| *known == own);
    known.and_then(|at| u8::try_from(at + 1).ok())
}

/// Codes that are failures, in both writings.
fn code_names() -> impl Iterator<Item = String> {
    let upper = |name: &str| name.to_ascii_uppercase().replace('-', "_");
    GrpcCodes::NAMES.into_iter().skip(1).flat_map(move |name| [name.to_owned(), upper(name)])
}

/// A word of a table, or the name of a gRPC code.
#[derive(Clone, Copy)]
pub(super) enum Word<T> {
    Own(T),
    Grpc(u8),
}

/// What a list of failures has as its items.
pub(super) fn word_or_code<T: Copy>(
    table: &'static [(&'static str, T)],
) -> impl Fn(&Node, &mut Decoder) -> Option<Word<T>> {
    move |node, decoder| {
        let own = table.iter().map(|(word, _)| (*word).to_owned());
        decoder.note(|| Note::Words(own.chain(code_names()).collect()));
        let text = text_in(node, decoder, "a kind of failure such as reset, or a gRPC code")?;
        let own = table.iter().find(|(word, _)| *word == text).map(|(_, own)| Word::Own(*own));
        let found = own.or_else(|| grpc_code(text).map(Word::Grpc));
        if found.is_none() {
            let words = || table.iter().map(|(word, _)| *word);
            let all: Vec<_> = words().chain(["or a gRPC code such as unavailable"]).collect();
            let known = words().chain(GrpcCodes::NAMES.into_iter().skip(1));
            let cure = suggestion(text, known, String::new);
            let (all, found) = (all.join(", "), node.describe());
            decoder.fault(&node.at, format!("expected one of {all}, found {found}{cure}"));
        }
        found
    }
}

/// Names of gRPC codes that are failures.
pub(super) fn grpc_name(node: &Node, decoder: &mut Decoder) -> Option<u8> {
    decoder.note(|| Note::Words(code_names().collect()));
    let text = text_in(node, decoder, "a gRPC code such as unavailable")?;
    let code = grpc_code(text);
    if code.is_none() {
        let failures = || GrpcCodes::NAMES.into_iter().skip(1);
        let all: Vec<_> = failures().collect();
        let cure = suggestion(text, failures(), String::new);
        let (all, found) = (all.join(", "), node.describe());
        decoder.fault(&node.at, format!("expected one of {all}, found {found}{cure}"));
    }
    code
}

/// A set of gRPC codes.
pub(super) fn codes(codes: impl IntoIterator<Item = u8>) -> GrpcCodes {
    codes.into_iter().fold(GrpcCodes::default(), GrpcCodes::with)
}

/// A duration as it is written, in at most four parts of at most five digits.
pub(in crate::resources) fn written(duration: Duration) -> String {
    let (mut rest, mut text) = (duration.as_millis(), String::new());
    while rest > 0 {
        let units = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
        let (unit, length) = units
            .into_iter()
            .find(|(_, length)| rest >= *length)
            .expect("the smallest unit is the smallest rest");
        let count = (rest / length).min(99_999);
        text.push_str(&format!("{count}{unit}"));
        rest -= count * length;
    }
    text
}

/// A size as it is written.
pub(super) fn written_size(bytes: usize) -> serde_json::Value {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    let whole = units.into_iter().find(|(_, shift)| bytes.trailing_zeros() >= *shift);
    match whole.filter(|_| bytes > 0) {
        Some((unit, shift)) => format!("{}{unit}", bytes >> shift).into(),
        None => bytes.into(),
    }
}
