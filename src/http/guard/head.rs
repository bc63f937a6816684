//! One request's head, read line by line as it arrives, and the framing that follows from it.
//!
//! Each line is checked once, when it is complete; the verdict on a head is the first broken rule
//! in reading order, however the head was cut into reads. Offsets count from the head's first byte.

use super::authority::Authority;
use super::section::{Field, Section};
use super::target::RequestLine;
use super::violation::Rule;
use std::ops::Range;

/// Above this, readers with signed lengths (Go, Java) see another number than we do.
pub(super) const MAX_LENGTH: u64 = i64::MAX as u64;
/// Digits of [`MAX_LENGTH`].
const MAX_LENGTH_DIGITS: usize = 19;

/// How a request's body is delimited.
#[derive(Clone, Copy, Debug)]
pub(super) struct Framing {
    pub body: Body,
    /// Whether the connection may change its protocol after this request.
    pub switches: bool,
}

/// A request's body.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body {
    /// So many bytes; 0 when no field announced a body.
    Length(u64),
    Chunked,
}

/// The head that is being read.
#[derive(Debug, Default)]
pub(super) struct Head {
    section: Section,
    begun: bool,
    request: Option<RequestLine>,
    /// Where the request line begins: an empty line may stand before it.
    line_at: usize,
    host: Option<Range<usize>>,
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
}

/// Where a field stands in its head, whose offsets fit in 16 bits as its length is bounded.
#[derive(Clone, Copy, Debug)]
pub(in crate::http) struct FieldAt {
    name: (u16, u16),
    value: (u16, u16),
}

impl FieldAt {
    /// `line_at` is where its line begins.
    fn of(line_at: usize, field: &Field<'_>) -> Self {
        let range = |at: usize, bytes: &[u8]| (at as u16, (at + bytes.len()) as u16);
        Self {
            name: range(line_at, field.name),
            value: range(line_at + field.value_at, field.value),
        }
    }

    pub(in crate::http) fn name(self) -> Range<usize> {
        usize::from(self.name.0)..usize::from(self.name.1)
    }

    pub(in crate::http) fn value(self) -> Range<usize> {
        usize::from(self.value.0)..usize::from(self.value.1)
    }
}

/// What a request line says, and where it says it.
#[derive(Clone, Debug)]
pub(in crate::http) struct Line {
    pub http_10: bool,
    pub method: Range<usize>,
    pub target: Range<usize>,
}

impl Head {
    /// Whether more than an empty line has arrived.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Reads on in `buf`, which begins where the head does; the head's length once it is whole.
    /// Puts down in `fields` where they stand.
    pub(super) fn read(
        &mut self,
        buf: &[u8],
        fields: &mut Vec<FieldAt>,
    ) -> Result<Option<usize>, Rule> {
        while let Some(at) = self.section.line(buf)? {
            let line = &buf[at.clone()];
            match (&self.request, line) {
                (None, []) if at.start == 0 => self.line_at = self.section.read_bytes(),
                (None, []) => return Err(Rule::EmptyLines),
                (None, _) => {
                    fields.clear();
                    self.request = Some(RequestLine::parse(line)?);
                }
                (Some(_), []) => return Ok(Some(self.section.read_bytes())),
                (Some(request), _) => {
                    let http_10 = request.http_10;
                    let field = self.section.field(line)?;
                    fields.push(FieldAt::of(at.start, &field));
                    self.field(at.start, field, http_10)?;
                }
            }
        }
        self.begun = !matches!(buf, b"" | b"\r" | b"\r\n");
        Ok(None)
    }

    /// The request line of a head that was read whole.
    pub(super) fn line(&self) -> Line {
        let (at, line) = (self.line_at, self.request.as_ref());
        let within = |of: fn(&RequestLine) -> Range<usize>| {
            line.map(of).map_or(0..0, |range| range.start + at..range.end + at)
        };
        Line {
            http_10: line.is_some_and(|line| line.http_10),
            method: within(|line| line.method.clone()),
            target: within(|line| line.whole_target.clone()),
        }
    }

    /// The framing of a head that was read whole from `buf`.
    pub(super) fn framing(&self, buf: &[u8]) -> Result<Framing, Rule> {
        let (http_10, connect) =
            self.request.as_ref().map_or((false, false), |line| (line.http_10, line.connect));
        if self.host.is_none() && !http_10 {
            return Err(Rule::MissingHost);
        }
        if !self.hosts_agree(buf) {
            return Err(Rule::HostContradiction);
        }
        let body =
            if self.chunked { Body::Chunked } else { Body::Length(self.length.unwrap_or(0)) };
        // RFC 9110 section 9.3.6 gives it no meaning: some skip such a body, some tunnel it.
        if connect && !matches!(body, Body::Length(0)) {
            return Err(Rule::ConnectBody);
        }
        // RFC 9110 section 7.8: an Upgrade in HTTP/1.0 is ignored.
        Ok(Framing { body, switches: connect || (self.upgrade && !http_10) })
    }

    #[inline]
    fn field(&mut self, line_at: usize, field: Field<'_>, http_10: bool) -> Result<(), Rule> {
        let Field { name, value, value_at } = field;
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                let start = line_at + value_at;
                if self.host.replace(start..start + value.len()).is_some() {
                    return Err(Rule::SeveralHosts);
                }
                Authority::parse(value).map(|_| ()).ok_or(Rule::Host)
            }
            7 => {
                self.upgrade |= name.eq_ignore_ascii_case(b"upgrade");
                Ok(())
            }
            14 if is_framing_name(name, b"content-length")? => self.content_length(value),
            17 if is_framing_name(name, b"transfer-encoding")? => {
                self.transfer_encoding(value, http_10)
            }
            _ => Ok(()),
        }
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Rule> {
        if self.chunked {
            return Err(Rule::LengthAndTransferEncoding);
        }
        if self.length.is_some() {
            return Err(Rule::SeveralContentLengths);
        }
        self.length = Some(decimal(value).ok_or(Rule::ContentLength)?);
        Ok(())
    }

    /// Only `chunked` alone is taken. RFC 9112 section 6.1 allows other codings before it and asks
    /// whoever can't undo them to refuse; we can't, and the body would go on framed anew, without
    /// the coding's name.
    fn transfer_encoding(&mut self, value: &[u8], http_10: bool) -> Result<(), Rule> {
        if http_10 {
            return Err(Rule::TransferEncodingInHttp10);
        }
        if self.length.is_some() {
            return Err(Rule::LengthAndTransferEncoding);
        }
        if self.chunked {
            return Err(Rule::SeveralTransferEncodings);
        }
        self.chunked = value.eq_ignore_ascii_case(b"chunked");
        if self.chunked { Ok(()) } else { Err(Rule::TransferEncoding) }
    }

    /// Whether the target's host, if it names one, is the Host header's (RFC 9112 section 3.2).
    fn hosts_agree(&self, buf: &[u8]) -> bool {
        let target = self.request.as_ref().and_then(|request| request.target.as_ref());
        let (Some(target), Some(host)) = (target, &self.host) else {
            return true;
        };
        let line = &buf[self.line_at..];
        let named = Authority::parse(&line[target.at.clone()]);
        let host = Authority::parse(&buf[host.clone()]);
        named.zip(host).is_some_and(|(named, host)| named.agrees(&host, target.default_port))
    }
}

/// Whether `name` is `known`. Gateways that turn names into variables (CGI, WSGI, Rack) can't tell
/// `_` from `-`, so a name that differs in nothing else is refused.
fn is_framing_name(name: &[u8], known: &[u8]) -> Result<bool, Rule> {
    if name.eq_ignore_ascii_case(known) {
        return Ok(true);
    }
    let mut pairs = name.iter().zip(known);
    let disguised = pairs.all(|(&byte, &known)| {
        byte.eq_ignore_ascii_case(&known) || (byte == b'_' && known == b'-')
    });
    if disguised { Err(Rule::DisguisedFieldName) } else { Ok(false) }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > MAX_LENGTH_DIGITS {
        return None;
    }
    let value = digits.iter().try_fold(0_u64, |value, digit| {
        digit.is_ascii_digit().then(|| value * 10 + u64::from(digit - b'0'))
    })?;
    (value <= MAX_LENGTH).then_some(value)
}
