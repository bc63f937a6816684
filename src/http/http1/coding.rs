//! Where the body of an answer ends (RFC 9112 section 6.3).

use http::header::{self, HeaderMap, HeaderValue};
use http::{StatusCode, Version};

use crate::http::guard::{Chunked, Progress};

/// How a body is delimited.
#[derive(Debug)]
pub enum Coding {
    /// So many bytes are left.
    Length(u64),
    Chunked(Chunked),
    /// The connection's end is its end.
    UntilClose,
}

impl Coding {
    /// Of an answer that may have a body, and whether another answer may follow it; what its head says
    /// of that says it once from now on.
    ///
    /// # Errors
    /// What is wrong with its framing.
    pub fn of(version: Version, headers: &mut HeaderMap) -> Result<(Self, bool), &'static str> {
        let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
        if let Some(last) = codings.next_back() {
            if version == Version::HTTP_10 {
                return Err("HTTP/1.0 has no transfer-encoding");
            }
            let last = last.as_bytes().rsplit(|&byte| byte == b',').next().unwrap_or_default();
            let is_chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
            // Two that disagree on where it ends may disagree on what follows it.
            let is_clear = headers.remove(header::CONTENT_LENGTH).is_none();
            return Ok(match is_chunked {
                true => (Self::Chunked(Chunked::lenient()), is_clear),
                false => (Self::UntilClose, false),
            });
        }
        let length = length(headers)?;
        say_once(headers, length);
        Ok(length.map_or((Self::UntilClose, false), |length| (Self::Length(length), true)))
    }

    /// Reads one part of the body at the front of `buf`, which is not empty.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(&mut self, buf: &[u8]) -> Result<Progress, &'static str> {
        match self {
            Self::Length(left) => {
                let bytes = usize::try_from(*left).unwrap_or(usize::MAX).min(buf.len());
                *left -= bytes as u64;
                Ok(Progress::Data(bytes))
            }
            Self::Chunked(body) => body.read(buf).map_err(|rule| rule.sentence()),
            Self::UntilClose => Ok(Progress::Data(buf.len())),
        }
    }

    /// Whether nothing more of it comes.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Length(0))
    }

    /// What its message's head says of its length.
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            _ => None,
        }
    }
}

/// What `content-length` says, as often as it says it.
///
/// # Errors
/// It contradicts itself, or is no number.
pub fn length(headers: &HeaderMap) -> Result<Option<u64>, &'static str> {
    let mut length = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        for value in value.as_bytes().split(|&byte| byte == b',') {
            let said = decimal(value.trim_ascii()).ok_or("its content-length is no number")?;
            if length.is_some_and(|length| length != said) {
                return Err("it has two content-lengths");
            }
            length = Some(said);
        }
    }
    Ok(length)
}

/// Lets `content-length` say so, once.
pub fn say_once(headers: &mut HeaderMap, length: Option<u64>) {
    let Some(length) = length else {
        headers.remove(header::CONTENT_LENGTH);
        return;
    };
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    let is_once = values.next().is_some_and(|value| decimal(value.as_bytes()).is_some());
    if !is_once || values.next().is_some() {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let value = digits.iter().try_fold(0_u64, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })?;
    (value <= i64::MAX as u64).then_some(value)
}

/// Whether an answer has no body whatever its head says; `of_head`: the request was HEAD.
pub fn is_bodiless(status: StatusCode, of_head: bool) -> bool {
    of_head
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}
