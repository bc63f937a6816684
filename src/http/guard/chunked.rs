//! A chunked body (RFC 9112 section 7.1): chunk lines and the trailer section pass whole, chunk
//! data as it comes.
//!
//! Chunk extensions that follow the grammar pass, without the whitespace that it tolerates. Bodies
//! end with the trailer section's empty line; trailers that could change how the request is
//! framed, routed or authorised after the fact are refused (RFC 9110 section 6.5.1).

use http::{HeaderMap, HeaderName, HeaderValue};
use memchr::memchr;

use super::head::MAX_LENGTH;
use super::section::{Field, Section, TOKEN, control_rule, is};
use super::violation::Rule;

/// The bound on a chunk line with its CRLF. Arbitrary; extensions in use stay below 100.
const MAX_CHUNK_LINE_BYTES: usize = 256;
/// The bound on a body's chunk extensions together. Arbitrary; extensions in use are far below.
const MAX_EXTENSION_BYTES: usize = 16 * 1024 - 1;
/// Digits of the largest u64.
const MAX_SIZE_DIGITS: usize = 16;

/// How far the body was read.
#[derive(Debug, Default)]
pub(in crate::http) struct Chunked {
    at: At,
    extension_bytes: usize,
    /// Of an answer: servers pad sizes, and send what they like as trailers.
    is_lenient: bool,
}

#[derive(Debug, Default)]
enum At {
    #[default]
    ChunkLine,
    /// Data bytes still to come, never 0.
    Data(u64),
    DataEnd,
    Trailers(Section),
}

/// What can be done with the front of the buffer.
#[derive(Debug)]
pub(in crate::http) enum Progress {
    Wait,
    /// So many bytes of data.
    Data(usize),
    /// So many that are none.
    Frame(usize),
    /// So many of a trailer section, which ends the body.
    End(usize),
}

impl Chunked {
    /// The body of an answer.
    pub(in crate::http) fn lenient() -> Self {
        Self { is_lenient: true, ..Self::default() }
    }

    /// Reads one part of the body at the front of `buf`, which is not empty.
    pub(in crate::http) fn read(&mut self, buf: &[u8]) -> Result<Progress, Rule> {
        match &mut self.at {
            At::ChunkLine => self.chunk_line(buf),
            At::Data(left) => {
                let bytes = usize::try_from(*left).unwrap_or(usize::MAX).min(buf.len());
                *left -= bytes as u64;
                if *left == 0 {
                    self.at = At::DataEnd;
                }
                Ok(Progress::Data(bytes))
            }
            At::DataEnd => match buf {
                [b'\r', b'\n', ..] => {
                    self.at = At::ChunkLine;
                    Ok(Progress::Frame(2))
                }
                [] | [b'\r'] => Ok(Progress::Wait),
                _ => Err(Rule::ChunkEnd),
            },
            At::Trailers(section) => read_trailers(section, buf, self.is_lenient),
        }
    }

    fn chunk_line(&mut self, buf: &[u8]) -> Result<Progress, Rule> {
        let parse = if self.is_lenient { ChunkLine::parse_padded } else { ChunkLine::parse };
        let Some(line) = parse(buf)? else {
            return Ok(Progress::Wait);
        };
        self.extension_bytes += line.extension_bytes;
        if self.extension_bytes > MAX_EXTENSION_BYTES {
            return Err(Rule::ChunkExtensionsTooLong);
        }
        self.at = match line.size {
            0 => At::Trailers(Section::default()),
            size => At::Data(size),
        };
        Ok(Progress::Frame(line.bytes))
    }
}

/// The fields of a trailer section that was read.
pub(in crate::http) fn trailers(buf: &[u8]) -> HeaderMap {
    let (mut section, mut fields) = (Section::default(), HeaderMap::new());
    while let Ok(Some(at)) = section.line(buf)
        && let Ok(Field { name, value, .. }) = section.field(&buf[at])
        && let Ok(name) = HeaderName::from_bytes(name)
        && let Ok(value) = HeaderValue::from_bytes(value)
    {
        fields.append(name, value);
    }
    fields
}

fn read_trailers(section: &mut Section, buf: &[u8], is_lenient: bool) -> Result<Progress, Rule> {
    while let Some(at) = section.line(buf)? {
        if at.is_empty() {
            return Ok(Progress::End(section.read_bytes()));
        }
        let field = section.field(&buf[at])?;
        if !is_lenient && REFUSED_TRAILERS.iter().any(|name| field.name.eq_ignore_ascii_case(name))
        {
            return Err(Rule::TrailerField);
        }
    }
    Ok(Progress::Wait)
}

/// Framing, routing, connection, authentication and content fields: an app that merges trailers
/// into headers would act on them.
const REFUSED_TRAILERS: [&[u8]; 17] = [
    b"authorization",
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"expect",
    b"host",
    b"keep-alive",
    b"max-forwards",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
];

/// `size [;extensions] CRLF`.
struct ChunkLine {
    bytes: usize,
    size: u64,
    extension_bytes: usize,
}

impl ChunkLine {
    /// Reads the line at the front of `buf`; `None` while it is unfinished. It is refused at its
    /// first bad byte, so it can be read again from the start each time it has grown.
    fn parse(buf: &[u8]) -> Result<Option<Self>, Rule> {
        let window = &buf[..buf.len().min(MAX_SIZE_DIGITS + 1)];
        let digits = window.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        if digits > MAX_SIZE_DIGITS {
            return Err(Rule::ChunkSize);
        }
        match buf.get(digits) {
            None => return Ok(None),
            Some(b'\r' | b';') if digits > 0 => {}
            Some(b'\n') => return Err(Rule::BareLf),
            Some(_) => return Err(Rule::ChunkSize),
        }
        let size = buf[..digits].iter().fold(0, |size, &digit| size << 4 | hex_value(digit));
        if size > MAX_LENGTH {
            return Err(Rule::ChunkSize);
        }
        let rest = line_rest(&buf[digits..], MAX_CHUNK_LINE_BYTES - digits)?;
        Ok(rest.map(|rest| Self { bytes: digits + rest, size, extension_bytes: rest - 2 }))
    }

    /// The same where whitespace may follow the size, and anything a semicolon.
    fn parse_padded(buf: &[u8]) -> Result<Option<Self>, Rule> {
        let window = &buf[..buf.len().min(MAX_EXTENSION_BYTES)];
        let Some(lf) = memchr(b'\n', window) else {
            let is_hopeless = buf.len() >= MAX_EXTENSION_BYTES;
            return if is_hopeless { Err(Rule::ChunkLineTooLong) } else { Ok(None) };
        };
        let line = window[..lf].strip_suffix(b"\r").ok_or(Rule::BareLf)?;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let rest = &line[digits..];
        let padding = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        if digits == 0
            || digits > MAX_SIZE_DIGITS
            || !matches!(rest.get(padding), None | Some(b';'))
        {
            return Err(Rule::ChunkSize);
        }
        let size = line[..digits].iter().fold(0, |size, &digit| size << 4 | hex_value(digit));
        if size > MAX_LENGTH {
            return Err(Rule::ChunkSize);
        }
        let extension_bytes = rest.len() - padding;
        Ok(Some(Self { bytes: lf + 1, size, extension_bytes }))
    }
}

/// Of an ASCII hexadecimal digit.
fn hex_value(digit: u8) -> u64 {
    let value = match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    };
    u64::from(value)
}

/// The length of what follows the size: extensions and CRLF, at most `limit` bytes.
fn line_rest(rest: &[u8], limit: usize) -> Result<Option<usize>, Rule> {
    let mut part = Part::Complete;
    for (at, &byte) in rest.iter().enumerate() {
        if at == limit {
            return Err(Rule::ChunkLineTooLong);
        }
        part = part.next(byte)?;
        if part == Part::End {
            return Ok(Some(at + 1));
        }
    }
    Ok(None)
}

/// Where in `*( ";" name [ "=" ( token / quoted-string ) ] ) CRLF` a byte stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// After the size or a quoted value.
    Complete,
    NameStart,
    Name,
    ValueStart,
    Value,
    Quoted,
    Escaped,
    Cr,
    End,
}

impl Part {
    fn next(self, byte: u8) -> Result<Self, Rule> {
        match (self, byte) {
            (Self::Cr, b'\n') => Ok(Self::End),
            (Self::Cr, _) => Err(Rule::BareCr),
            (Self::Complete | Self::Name | Self::Value, b';') => Ok(Self::NameStart),
            (Self::Complete | Self::Name | Self::Value, b'\r') => Ok(Self::Cr),
            (Self::Name, b'=') => Ok(Self::ValueStart),
            (Self::ValueStart, b'"') => Ok(Self::Quoted),
            (Self::Quoted, b'"') => Ok(Self::Complete),
            (Self::Quoted, b'\\') => Ok(Self::Escaped),
            (Self::Quoted | Self::Escaped, b'\t' | b' '..=b'~' | 0x80..) => Ok(Self::Quoted),
            (Self::NameStart | Self::Name, _) if is(byte, TOKEN) => Ok(Self::Name),
            (Self::ValueStart | Self::Value, _) if is(byte, TOKEN) => Ok(Self::Value),
            (_, b'\r') => Err(Rule::ChunkExtension),
            _ => Err(control_rule(byte).unwrap_or(Rule::ChunkExtension)),
        }
    }
}
