//! YAML (and so JSON) text to trees with positions. Bounds hold before any
//! memory is spent: input 4 MiB, 100,000 nodes with aliases expanded, 64 levels.
//! A syntax error costs its document only: reading goes on at the next `---`,
//! so that one call reports what is wrong with all of them. Called for resource
//! files, the configuration file, and each environment variable and flag.

use builder::{Builder, Stop};

use super::fault::Fault;
use super::node::{Node, Origin, Value};
use super::schema;

mod builder;
#[cfg(test)]
mod tests;

/// The largest input, in bytes. With the other bounds: arbitrary, far above
/// anything a person writes, low enough to read in a blink.
pub const MAX_BYTES: usize = 4 << 20;
/// The most values in one input, aliases counted once per use.
pub const MAX_NODES: usize = 100_000;
/// The deepest nesting.
pub const MAX_DEPTH: usize = 64;
/// Syntax errors after which the rest of an input is left unread.
const MAX_SYNTAX_FAULTS: usize = 100;

/// Reads every document of `text`. `source` names the input (see [`Origin`]).
///
/// # Errors
/// All syntax errors (one per document), duplicate keys, tags, and bounds.
pub fn parse(text: &str, source: &Origin) -> Result<Vec<Node>, Vec<Fault>> {
    parse_as(text, source, schema::resolve)
}

/// Like [`parse`], in a dialect that gives plain scalars another meaning.
///
/// # Errors
/// As [`parse`].
pub fn parse_as(
    text: &str,
    source: &Origin,
    resolve: fn(&str) -> Value,
) -> Result<Vec<Node>, Vec<Fault>> {
    let stream = read_as(text, source, resolve);
    if stream.faults.is_empty() { Ok(stream.documents) } else { Err(stream.faults) }
}

/// What could be read, and what could not.
#[derive(Debug)]
pub struct Stream {
    /// The documents without syntax errors; duplicate keys and tags may be in.
    pub documents: Vec<Node>,
    /// What [`parse`] would return as errors.
    pub faults: Vec<Fault>,
}

/// Like [`parse`], but hands out documents beside faults, so that what they
/// hold can be checked in the same run.
pub fn read(text: &str, source: &Origin) -> Stream {
    read_as(text, source, schema::resolve)
}

fn read_as(text: &str, source: &Origin, resolve: fn(&str) -> Value) -> Stream {
    let mut builder = Builder::new(source, resolve);
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > MAX_BYTES {
        let message = format!("is larger than {} MiB; split it", MAX_BYTES >> 20);
        builder.faults.push(Fault::new(source.clone(), message));
        return builder.finish();
    }
    let mut start = 0;
    while let Err(Stop { resume_after }) = builder.read(&text[start..]) {
        let Some(next) = next_document(text, start, resume_after, builder.first_line) else {
            break;
        };
        builder.first_line += lines(&text[start..next]);
        start = next;
        if builder.faults.len() >= MAX_SYNTAX_FAULTS {
            break;
        }
    }
    builder.finish()
}

/// The offset of the first `---` line that is not before `line` and is past
/// the one at `start`. At column 0 the marker can mean nothing else in YAML.
fn next_document(text: &str, start: usize, line: u32, first_line: u32) -> Option<usize> {
    let mut offset = start;
    for (number, each) in (first_line..).zip(text[start..].split_inclusive('\n')) {
        let marks = each
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        if marks && number >= line && offset > start {
            return Some(offset);
        }
        offset += each.len();
    }
    None
}

fn lines(text: &str) -> u32 {
    u32::try_from(text.bytes().filter(|b| *b == b'\n').count()).unwrap_or(u32::MAX)
}

/// The scanner's finding in words that name the usual cure. `bracket` is the
/// innermost one that was opened on an earlier line, if any.
fn explain(info: &str, line: &str, bracket: Option<(char, u32)>) -> String {
    let indent = &line[..line.len() - line.trim_start().len()];
    if indent.contains('\t') || info.contains("tab") {
        return "a tab stands where YAML wants spaces; indent with spaces only".into();
    }
    if let Some((bracket, line)) = bracket {
        let end = if bracket == '[' { ']' } else { '}' };
        return format!("is not valid YAML: the `{bracket}` of line {line} may lack its `{end}`");
    }
    let cure = [
        ("mapping values", "quote a text that contains \": \", or check the indentation"),
        ("placement of ':'", "quote a text that contains \": \", or check the indentation"),
        ("quoted scalar, found unexpected", "close the quote"),
        ("expected ',' or", "close the bracket"),
        ("unknown anchor", "an alias (`*name`) needs its anchor (`&name`) above it"),
        ("unexpected character", "quote the text"),
        ("", "check the indentation"),
    ];
    let cure = cure.iter().find(|(part, _)| info.contains(part)).map_or("", |(_, cure)| cure);
    format!("is not valid YAML: {info}; {cure}")
}
