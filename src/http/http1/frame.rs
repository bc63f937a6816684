//! How a body is delimited on its way out, and what that adds to it.

use std::io::Write as _;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName};

use super::broken::Broken;
use super::out::Out;

/// How a body that is written ends.
#[derive(Debug)]
pub enum Framing {
    /// There is none.
    None,
    /// After so many bytes more.
    Length(u64),
    /// With its last chunk; these trailers may follow.
    Chunked(Vec<HeaderName>),
    /// With the connection.
    UntilClose,
}

/// Fields that may not come after a body whatever was announced (RFC 9110 section 6.5.1).
const NEVER: [HeaderName; 12] = [
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::HOST,
    header::MAX_FORWARDS,
    header::SET_COOKIE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
];

/// The trailers that a message announces.
pub fn announced(headers: &HeaderMap) -> Vec<HeaderName> {
    let names = headers.get_all(header::TRAILER).iter();
    names
        .flat_map(|names| names.as_bytes().split(|&byte| byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| !NEVER.contains(name))
        .collect()
}

impl Framing {
    pub fn put(&mut self, mut data: Bytes, out: &mut Out) {
        if data.is_empty() {
            return;
        }
        match self {
            Self::None => {}
            Self::UntilClose => out.push(data),
            Self::Length(left) => {
                // More than was announced would be read as the next message.
                data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= data.len() as u64;
                out.push(data);
            }
            Self::Chunked(_) => {
                // Writing to a Vec can't fail.
                let _ = write!(out.bytes(), "{:x}\r\n", data.len());
                out.push(data);
                out.bytes().extend_from_slice(b"\r\n");
            }
        }
    }

    /// Ends the body.
    ///
    /// # Errors
    /// It is not whole.
    pub fn end(&mut self, trailers: Option<&HeaderMap>, out: &mut Out) -> Result<(), Broken> {
        match self {
            Self::None | Self::UntilClose | Self::Length(0) => Ok(()),
            Self::Length(_) => Err(Broken::Short),
            Self::Chunked(announced) => {
                let bytes = out.bytes();
                bytes.extend_from_slice(b"0\r\n");
                for (name, value) in trailers.into_iter().flatten() {
                    if announced.contains(name) {
                        field(bytes, name.as_str().as_bytes(), value.as_bytes());
                    }
                }
                bytes.extend_from_slice(b"\r\n");
                Ok(())
            }
        }
    }
}

/// Writes one field.
pub fn field(bytes: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    bytes.reserve(name.len() + value.len() + 4);
    bytes.extend_from_slice(name);
    bytes.extend_from_slice(b": ");
    bytes.extend_from_slice(value);
    bytes.extend_from_slice(b"\r\n");
}
