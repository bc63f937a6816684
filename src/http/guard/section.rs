//! What heads and trailer sections share: lines that end in CRLF, fields, the two bounds, and the
//! byte classes of the grammar.
//!
//! A [`Section`] hands out each line once, in order, and remembers how far it searched for the
//! next line's end: a section that arrives byte by byte is read once, not once for each byte.

use super::violation::Rule;
use memchr::memchr;
use std::ops::Range;

/// The bound on a request line and its headers, and on a trailer section; line ends count.
pub(super) const MAX_SECTION_BYTES: usize = 64 * 1024;
/// The bound on the fields of a head, and of a trailer section.
pub(in crate::http) const MAX_FIELDS: u8 = 100;

/// `tchar`, RFC 9110 section 5.6.2.
pub(super) const TOKEN: u8 = 1;
/// Bytes of a target before `?`: visible ASCII less `#`, `?`, what [`http::Uri`] refuses, and the
/// backslash, which some servers take for a slash.
pub(super) const PATH: u8 = 2;
/// Bytes of a target after `?`: visible ASCII less `#` and what [`http::Uri`] refuses.
pub(super) const QUERY: u8 = 4;
/// Bytes of a registered name: unreserved and sub-delims (RFC 3986), less the comma, which would
/// read as two hosts. Percent-encoding is left out: nobody agrees on when to undo it.
pub(super) const HOST: u8 = 8;

static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0x21_u8;
    while byte < 0x7f {
        table[byte as usize] = match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => TOKEN | PATH | QUERY | HOST,
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'*' | b'+' => {
                TOKEN | PATH | QUERY | HOST
            }
            b'(' | b')' | b';' | b'=' => PATH | QUERY | HOST,
            b'%' | b'^' | b'|' => TOKEN | PATH | QUERY,
            b'`' => TOKEN | QUERY,
            b'#' => TOKEN,
            b',' | b'/' | b':' | b'@' | b'[' | b']' | b'{' | b'}' => PATH | QUERY,
            b'"' => PATH,
            b'?' | b'\\' => QUERY,
            // < and >
            _ => 0,
        };
        byte += 1;
    }
    table
}

/// Whether `byte` belongs to `class`.
pub(super) fn is(byte: u8, class: u8) -> bool {
    CLASS[usize::from(byte)] & class != 0
}

/// How many bytes at the front of `bytes` belong to `class`.
pub(super) fn run(bytes: &[u8], class: u8) -> usize {
    bytes.iter().position(|&byte| !is(byte, class)).unwrap_or(bytes.len())
}

/// The lines of one head or trailer section. Offsets count from the section's first byte.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Section {
    /// Where the next line begins: what stands before it was handed out.
    next: usize,
    /// The next line's end is not before this.
    searched: usize,
    fields: u8,
}

/// A field: its name, and its value without the whitespace around it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'b> {
    pub name: &'b [u8],
    pub value: &'b [u8],
    /// Where `value` begins in the line.
    pub value_at: usize,
}

impl Section {
    /// The bytes of all lines handed out so far.
    pub(super) fn read_bytes(&self) -> usize {
        self.next
    }

    /// Where the next line stands in `buf`, without its CRLF; `None` while it is unfinished.
    #[inline]
    pub(super) fn line(&mut self, buf: &[u8]) -> Result<Option<Range<usize>>, Rule> {
        let Some(found) = memchr(b'\n', &buf[self.searched..]) else {
            self.searched = buf.len();
            // Refused as soon as no end can come in time, so that no more is ever kept.
            let hopeless = buf.len() >= MAX_SECTION_BYTES;
            return if hopeless { Err(Rule::SectionTooLarge) } else { Ok(None) };
        };
        let lf = self.searched + found;
        if lf >= MAX_SECTION_BYTES {
            return Err(Rule::SectionTooLarge);
        }
        let start = self.next;
        if lf == start || buf[lf - 1] != b'\r' {
            return Err(Rule::BareLf);
        }
        self.next = lf + 1;
        self.searched = lf + 1;
        Ok(Some(start..lf - 1))
    }

    /// Reads a line that is not empty as a field, and counts it.
    #[inline]
    pub(super) fn field<'b>(&mut self, line: &'b [u8]) -> Result<Field<'b>, Rule> {
        if self.fields == MAX_FIELDS {
            return Err(Rule::TooManyFields);
        }
        let name_bytes = run(line, TOKEN);
        if name_bytes == 0 || line.get(name_bytes) != Some(&b':') {
            return Err(self.bad_name(line, name_bytes));
        }
        let value = &line[name_bytes + 1..];
        if has_control(value) {
            return Err(bad_value(value));
        }
        self.fields += 1;
        let indent = value.iter().take_while(|&&byte| is_blank(byte)).count();
        let trail = value[indent..].iter().rev().take_while(|&&byte| is_blank(byte)).count();
        Ok(Field {
            name: &line[..name_bytes],
            value: &value[indent..value.len() - trail],
            value_at: name_bytes + 1 + indent,
        })
    }

    #[cold]
    fn bad_name(&self, line: &[u8], at: usize) -> Rule {
        match line.get(at) {
            Some(b' ' | b'\t') if at > 0 => Rule::SpaceInFieldName,
            Some(b' ' | b'\t') if self.fields == 0 => Rule::LeadingWhitespace,
            Some(b' ' | b'\t') => Rule::ObsFold,
            Some(b':') => Rule::EmptyFieldName,
            Some(&byte) => control_rule(byte).unwrap_or(Rule::FieldName),
            None => Rule::MissingColon,
        }
    }
}

/// The rule that a control character breaks; `None` for any other byte, and for HTAB.
pub(super) fn control_rule(byte: u8) -> Option<Rule> {
    match byte {
        b'\t' => None,
        0 => Some(Rule::Nul),
        b'\r' => Some(Rule::BareCr),
        b'\n' => Some(Rule::BareLf),
        _ => byte.is_ascii_control().then_some(Rule::ControlByte),
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Without an early exit, so that it compiles to vector instructions.
fn has_control(value: &[u8]) -> bool {
    value
        .iter()
        .fold(false, |found, &byte| found | (byte < 0x20) & (byte != b'\t') | (byte == 0x7f))
}

#[cold]
fn bad_value(value: &[u8]) -> Rule {
    value.iter().find_map(|&byte| control_rule(byte)).unwrap_or(Rule::ControlByte)
}
