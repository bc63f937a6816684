//! Patterns of rules: of paths, hosts and the values of headers.
//!
//! A path is compared segment by segment: `{id}` stands for one segment that is not empty, and `*`,
//! which may only come last, for everything from there on, so that `/api/*` is `/api/` and all below
//! it but not `/api`. Patterns are written as normalised paths are; what a request could never have
//! is refused, because a rule that never holds looks like one that is ignored. A header's value is
//! one text, or with a star at one end the beginning or the end of one, or `*` alone: any.

use std::fmt;
use std::sync::Arc;

use crate::model::Hostname;
use crate::resources::decode::Decoder;
use crate::resources::names::is_dns_subdomain;
use crate::resources::node::{Node, quote};
use crate::resources::scalar::{parsed, text_of};

/// A path of a rule, checked; as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern(Arc<str>);

/// One segment of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segment<'a> {
    /// This text.
    Text(&'a str),
    /// Any one that is not empty.
    One,
    /// All that is left, which may be one empty segment. It comes last.
    Rest,
}

impl PathPattern {
    /// What stands after each slash.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        self.0[1..].split('/').map(|segment| match segment {
            "*" => Segment::Rest,
            _ if segment.starts_with('{') => Segment::One,
            _ => Segment::Text(segment),
        })
    }

    /// Whether a path, which begins with a slash, has this form.
    pub fn matches(&self, path: &str) -> bool {
        fit(self.segments(), path)
    }
}

/// Whether a path, which begins with a slash, has these segments.
pub fn fit<'a>(wanted: impl Iterator<Item = Segment<'a>>, path: &str) -> bool {
    let mut segments = path[1..].split('/');
    for wanted in wanted {
        let Some(segment) = segments.next() else { return false };
        match wanted {
            Segment::Rest => return true,
            Segment::One if segment.is_empty() => return false,
            Segment::One => {}
            Segment::Text(text) if text != segment => return false,
            Segment::Text(_) => {}
        }
    }
    segments.next().is_none()
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(in crate::resources) fn path(node: &Node, decoder: &mut Decoder) -> Option<PathPattern> {
    let text = text_of(node, decoder, "a path such as /api/* or /users/{id}")?;
    let Err(why) = check_path(text) else { return Some(PathPattern(text.into())) };
    decoder.fault(&node.at, format!("{} is no path of a rule: {why}", quote(text)));
    None
}

fn check_path(text: &str) -> Result<(), String> {
    let rest = text.strip_prefix('/').ok_or("it must begin with `/`")?;
    let count = rest.split('/').count();
    for (nth, segment) in rest.split('/').enumerate() {
        let is_last = nth + 1 == count;
        match segment {
            "" if !is_last => return Err("it must not have `//`".into()),
            "." | ".." => return Err(format!("it must not have the segment `{segment}`")),
            "*" if is_last => {}
            _ if segment.contains('*') => {
                return Err("`*` stands for whole segments, at the end: write /api/*".into());
            }
            _ if segment.contains(['{', '}']) => check_one(segment)?,
            _ => check_segment(segment)?,
        }
    }
    Ok(())
}

fn check_one(segment: &str) -> Result<(), String> {
    let name = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if name.is_some_and(|name| !name.is_empty() && name.bytes().all(legal)) {
        return Ok(());
    }
    Err("`{` and `}` enclose a name that stands for one whole segment: write /users/{id}".into())
}

/// Legal, and as normalisation leaves it.
fn check_segment(segment: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()+,;=:@%".contains(c);
    if let Some(other) = segment.chars().find(|c| !legal(*c)) {
        return Err(match other {
            '?' => "what follows `?` is the query, which rules don't see".into(),
            other => format!("{other:?} can't stand in one; write it percent-encoded"),
        });
    }
    for rest in segment.split('%').skip(1) {
        let byte = rest.get(..2).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(hex) = byte else {
            return Err("`%` must be followed by two hexadecimal digits".into());
        };
        let byte = u8::from_str_radix(hex, 16).unwrap_or_default();
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            return Err(format!("write {} in place of %{hex}", char::from(byte)));
        }
        if hex.bytes().any(|b| b.is_ascii_lowercase()) {
            return Err(format!("write %{} in place of %{hex}", hex.to_ascii_uppercase()));
        }
    }
    Ok(())
}

pub(super) fn host(node: &Node, decoder: &mut Decoder) -> Option<Hostname> {
    const WHAT: &str = "a host name or *.example.com, in lower case, without port";
    parsed(node, decoder, WHAT, |text| {
        let name = text.strip_prefix("*.").unwrap_or(text);
        let is_below = name.len() < text.len();
        is_dns_subdomain(name).then(|| match is_below {
            true => Hostname::Below(text[1..].into()),
            false => Hostname::Exact(text.into()),
        })
    })
}

/// The value of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextPattern {
    Exact(Arc<str>),
    /// `text*`
    Prefix(Arc<str>),
    /// `*text`
    Suffix(Arc<str>),
    /// `*`
    Any,
}

impl TextPattern {
    pub fn matches(&self, value: &[u8]) -> bool {
        match self {
            TextPattern::Exact(text) => value == text.as_bytes(),
            TextPattern::Prefix(text) => value.starts_with(text.as_bytes()),
            TextPattern::Suffix(text) => value.ends_with(text.as_bytes()),
            TextPattern::Any => true,
        }
    }
}

impl fmt::Display for TextPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TextPattern::Exact(text) => f.write_str(text),
            TextPattern::Prefix(text) => write!(f, "{text}*"),
            TextPattern::Suffix(text) => write!(f, "*{text}"),
            TextPattern::Any => f.write_str("*"),
        }
    }
}

pub(in crate::resources) fn text(node: &Node, decoder: &mut Decoder) -> Option<TextPattern> {
    const WHAT: &str = "a header's value, or text*, *text or *: printable ASCII without spaces \
                        around it, a star only at one end";
    parsed(node, decoder, WHAT, |text| {
        let printable = text.bytes().all(|b| (0x20..=0x7e).contains(&b));
        if !printable || text.trim() != text {
            return None;
        }
        let plain = |text: &str| (!text.is_empty() && !text.contains('*')).then(|| text.into());
        match (text, text.strip_suffix('*'), text.strip_prefix('*')) {
            ("*", ..) => Some(TextPattern::Any),
            (_, Some(before), _) => plain(before).map(TextPattern::Prefix),
            (_, _, Some(after)) => plain(after).map(TextPattern::Suffix),
            _ => plain(text).map(TextPattern::Exact),
        }
    })
}
