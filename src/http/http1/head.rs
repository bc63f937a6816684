//! Heads of messages: from their bytes, and to them.

use std::cell::RefCell;
use std::io::Write as _;
use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::{self, Request};
use http::response::{self, Response};
use http::{Method, StatusCode, Uri, Version};

use super::FIELDS;
use super::broken::Broken;
use super::coding::{is_bodiless, length};
use super::frame::{Framing, announced, field};
use super::spelling::{Phrase, Spelling};
use crate::http::Body;
use crate::http::guard::{FieldAt, Line};

/// Header maps of this many fields and less are used again.
const KEPT_FIELDS: usize = 64;
/// As many of them.
const KEPT_MAPS: usize = 64;

thread_local! {
    /// Header maps of messages that were written, for those that come.
    static MAPS: RefCell<Vec<HeaderMap>> = const { RefCell::new(Vec::new()) };
}

fn map(fields: usize) -> HeaderMap {
    // Some are added on the way.
    MAPS.with_borrow_mut(Vec::pop).unwrap_or_else(|| HeaderMap::with_capacity(fields + 8))
}

fn give_back(mut headers: HeaderMap) {
    if headers.capacity() <= KEPT_FIELDS && headers.capacity() > 0 {
        headers.clear();
        MAPS.with_borrow_mut(|maps| {
            if maps.len() < KEPT_MAPS {
                maps.push(headers);
            }
        });
    }
}

/// What a server must know of a request to answer it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    pub http_10: bool,
    pub is_head: bool,
    pub is_connect: bool,
    /// The connection may serve another.
    pub keeps: bool,
    /// The client waits for word before it sends the body.
    pub expects: bool,
    /// It takes trailers.
    pub trailers: bool,
}

/// What a client must know of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    pub version: Version,
    pub keeps: bool,
}

/// Whether one of a list's items is `token`.
fn lists(value: &HeaderValue, token: &[u8]) -> bool {
    let mut items = value.as_bytes().split(|&byte| byte == b',');
    items.any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
}

/// What `Connection` says: to close counts for more.
#[derive(Default)]
struct Stay {
    close: bool,
    keep_alive: bool,
}

impl Stay {
    fn hear(&mut self, value: &HeaderValue) {
        self.close |= lists(value, b"close");
        self.keep_alive |= lists(value, b"keep-alive");
    }

    fn keeps(&self, http_10: bool) -> bool {
        !self.close && (!http_10 || self.keep_alive)
    }
}

/// Reads a request's head, which the guard has passed.
///
/// # Errors
/// `http` takes less than the guard.
pub fn request(
    head: &[u8],
    line: &Line,
    fields: &[FieldAt],
    keeps_case: bool,
) -> Result<(Request<()>, Asked), http::Error> {
    let head = Bytes::copy_from_slice(head);
    let mut headers = map(fields.len());
    let (mut stay, mut expects, mut trailers) = (Stay::default(), false, false);
    for at in fields {
        let name = HeaderName::from_bytes(&head[at.name()])?;
        let value = HeaderValue::from_maybe_shared(head.slice(at.value()))?;
        match name {
            header::CONNECTION => stay.hear(&value),
            header::EXPECT => {
                expects = value.as_bytes().eq_ignore_ascii_case(b"100-continue");
            }
            header::TE => trailers |= lists(&value, b"trailers"),
            _ => {}
        }
        headers.try_append(name, value).map_err(http::Error::from)?;
    }
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(&head[line.method.clone()])?;
    *request.uri_mut() = Uri::from_maybe_shared(head.slice(line.target.clone()))?;
    *request.version_mut() = if line.http_10 { Version::HTTP_10 } else { Version::HTTP_11 };
    *request.headers_mut() = headers;
    if keeps_case {
        let names = fields.iter().map(|at| head.slice(at.name()));
        keep(request.extensions_mut(), Spelling::of(names));
    }
    let asked = Asked {
        http_10: line.http_10,
        is_head: request.method() == Method::HEAD,
        is_connect: request.method() == Method::CONNECT,
        keeps: stay.keeps(line.http_10),
        expects: expects && !line.http_10,
        trailers,
    };
    Ok((request, asked))
}

fn keep(extensions: &mut http::Extensions, spelling: Option<Spelling>) {
    if let Some(spelling) = spelling {
        extensions.insert(spelling);
    }
}

/// Reads an answer's head, and says how long it is; `None` while it is unfinished.
///
/// # Errors
/// It is none.
pub fn response(
    buf: &[u8],
    keeps_case: bool,
) -> Result<Option<(Response<()>, Told, usize)>, Broken> {
    let mut places = [const { MaybeUninit::uninit() }; FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let status = config.parse_response_with_uninit_headers(&mut parsed, buf, &mut places);
    let bytes = match status {
        Ok(httparse::Status::Complete(bytes)) => bytes,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(Broken::Malformed(said(error))),
    };
    let malformed = |_| Broken::Malformed("its head can't be read");
    let head = Bytes::copy_from_slice(&buf[..bytes]);
    let within = |part: &[u8]| {
        let at = part.as_ptr().addr() - buf.as_ptr().addr();
        head.slice(at..at + part.len())
    };
    let mut headers = map(parsed.headers.len());
    let mut stay = Stay::default();
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes())
            .map_err(http::Error::from)
            .map_err(malformed)?;
        let value = HeaderValue::from_maybe_shared(within(field.value))
            .map_err(http::Error::from)
            .map_err(malformed)?;
        if name == header::CONNECTION {
            stay.hear(&value);
        }
        headers.try_append(name, value).map_err(http::Error::from).map_err(malformed)?;
    }
    let mut response = Response::new(());
    let http_10 = parsed.version == Some(0);
    let code = parsed.code.unwrap_or_default();
    let status = StatusCode::from_u16(code).map_err(http::Error::from).map_err(malformed)?;
    *response.status_mut() = status;
    let version = if http_10 { Version::HTTP_10 } else { Version::HTTP_11 };
    *response.version_mut() = version;
    *response.headers_mut() = headers;
    // Not a part of `buf` where it is empty, or has what it may not have.
    let reason = parsed.reason.filter(|reason| !reason.is_empty());
    if reason.is_some() && reason != status.canonical_reason() {
        let reason = reason.map(|reason| within(reason.as_bytes())).unwrap_or_default();
        response.extensions_mut().insert(Phrase(reason));
    }
    if keeps_case {
        let names = parsed.headers.iter().map(|field| within(field.name.as_bytes()));
        keep(response.extensions_mut(), Spelling::of(names));
    }
    Ok(Some((response, Told { version, keeps: stay.keeps(http_10) }, bytes)))
}

fn said(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName => "a header's name is none",
        httparse::Error::HeaderValue => "a header's value has a control character",
        httparse::Error::NewLine => "a line does not end in CRLF",
        httparse::Error::Status => "its status is no number of three digits",
        httparse::Error::TooManyHeaders => "it has more than 100 headers",
        httparse::Error::Version => "its version is neither HTTP/1.0 nor HTTP/1.1",
        httparse::Error::Token => "its status line is none",
    }
}

/// Writes a request's head; gives how its body is to be delimited.
pub fn write_request(mut parts: request::Parts, body: &Body, bytes: &mut Vec<u8>) -> Framing {
    bytes.extend_from_slice(parts.method.as_str().as_bytes());
    bytes.push(b' ');
    match (parts.uri.authority(), parts.uri.path_and_query()) {
        (None, Some(path)) if path.as_str().starts_with(['/', '*']) => {
            bytes.extend_from_slice(path.as_str().as_bytes());
        }
        // Writing to a Vec can't fail.
        _ => drop(write!(bytes, "{}", parts.uri)),
    }
    let http_10 = parts.version == Version::HTTP_10;
    bytes.extend_from_slice(if http_10 { b" HTTP/1.0\r\n" } else { b" HTTP/1.1\r\n" });
    let framing = request_framing(&mut parts.headers, body, http_10);
    write_fields(&parts.headers, parts.extensions.get(), bytes);
    if let Framing::Chunked(_) = framing {
        bytes.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    give_back(parts.headers);
    framing
}

fn request_framing(headers: &mut HeaderMap, body: &Body, http_10: bool) -> Framing {
    use http_body::Body as _;
    let length = said_length(headers);
    if body.is_empty() {
        // Whoever waited for more would take the next request for it.
        if length.is_some_and(|length| length > 0) {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        return Framing::None;
    }
    match length {
        Some(length) => Framing::Length(length),
        None if !http_10 => Framing::Chunked(announced(headers)),
        None => match body.size_hint().exact() {
            Some(length) => {
                headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
                Framing::Length(length)
            }
            // HTTP/1.0 has no other way.
            None => Framing::None,
        },
    }
}

/// What `content-length` says; where that is not to be understood, it is not passed on.
fn said_length(headers: &mut HeaderMap) -> Option<u64> {
    length(headers).unwrap_or_else(|_| {
        headers.remove(header::CONTENT_LENGTH);
        None
    })
}

/// Writes an answer's head; gives how its body is to be delimited, and whether the connection stays.
pub fn write_response(
    mut parts: response::Parts,
    body: &Body,
    asked: Asked,
    bytes: &mut Vec<u8>,
) -> (Framing, bool) {
    let status = parts.status;
    let phrase = parts.extensions.get::<Phrase>();
    if status == StatusCode::OK && phrase.is_none() && !asked.http_10 {
        bytes.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    } else {
        bytes.extend_from_slice(if asked.http_10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
        bytes.extend_from_slice(status.as_str().as_bytes());
        bytes.push(b' ');
        let reason = phrase.map_or_else(
            || status.canonical_reason().unwrap_or_default().as_bytes(),
            |phrase| &phrase.0[..],
        );
        bytes.extend_from_slice(reason);
        bytes.extend_from_slice(b"\r\n");
    }
    let framing = response_framing(&mut parts.headers, status, body, asked);
    let mut stay = Stay::default();
    parts.headers.get_all(header::CONNECTION).iter().for_each(|value| stay.hear(value));
    let keeps = asked.keeps && !stay.close && !matches!(framing, Framing::UntilClose);
    write_fields(&parts.headers, parts.extensions.get(), bytes);
    let word: &[u8] = match (keeps, asked.http_10) {
        (false, _) if !stay.close && !is_switch(status, asked) => b"connection: close\r\n",
        (true, true) if !stay.keep_alive => b"connection: keep-alive\r\n",
        _ => b"",
    };
    bytes.extend_from_slice(word);
    if let Framing::Chunked(_) = framing {
        bytes.extend_from_slice(b"transfer-encoding: chunked\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    give_back(parts.headers);
    (framing, keeps)
}

/// Whether the connection leaves HTTP with this answer.
pub fn is_switch(status: StatusCode, asked: Asked) -> bool {
    status == StatusCode::SWITCHING_PROTOCOLS || asked.is_connect && status.is_success()
}

fn response_framing(
    headers: &mut HeaderMap,
    status: StatusCode,
    body: &Body,
    asked: Asked,
) -> Framing {
    use http_body::Body as _;
    // RFC 9110 section 8.6: these can't have had one.
    if is_switch(status, asked) || status.is_informational() || status == StatusCode::NO_CONTENT {
        headers.remove(header::CONTENT_LENGTH);
        return Framing::None;
    }
    if is_bodiless(status, asked.is_head) {
        return Framing::None;
    }
    let said = said_length(headers);
    if body.is_end_stream() {
        if said != Some(0) {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        return Framing::None;
    }
    match (said, body.size_hint().exact()) {
        (Some(length), _) => Framing::Length(length),
        (None, Some(length)) => {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
            Framing::Length(length)
        }
        (None, None) if asked.http_10 => Framing::UntilClose,
        (None, None) => {
            Framing::Chunked(if asked.trailers { announced(headers) } else { Vec::new() })
        }
    }
}

/// Writes the fields but what frames the message, which is written anew.
fn write_fields(headers: &HeaderMap, spelling: Option<&Spelling>, bytes: &mut Vec<u8>) {
    let mut spelling = spelling.map(Spelling::reader);
    for (name, value) in headers {
        if name == header::TRANSFER_ENCODING {
            continue;
        }
        let spelt = spelling.as_mut().and_then(|spelling| spelling.find(name));
        field(bytes, spelt.unwrap_or_else(|| name.as_str().as_bytes()), value.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(lengths: &[&str], body: Body) -> (String, Framing) {
        let mut request = Request::post("/").body(()).expect("a request");
        for length in lengths {
            let length = HeaderValue::from_str(length).expect("a value");
            request.headers_mut().append(header::CONTENT_LENGTH, length);
        }
        let mut bytes = Vec::new();
        let framing = write_request(request.into_parts().0, &body, &mut bytes);
        (String::from_utf8(bytes).expect("text"), framing)
    }

    #[test]
    fn no_head_says_another_length_than_its_body_has() {
        let full = || Body::full(Bytes::from_static(b"hello"));
        let (head, framing) = written(&["5"], Body::empty());
        assert!(head.contains("content-length: 0\r\n") && !head.contains('5'), "{head}");
        assert!(matches!(framing, Framing::None), "{framing:?}");
        for unclear in [&["5", "6"][..], &["five"], &["+5"]] {
            let (head, framing) = written(unclear, full());
            assert!(!head.contains("content-length"), "{head}");
            assert!(head.contains("transfer-encoding: chunked\r\n"), "{head}");
            assert!(matches!(framing, Framing::Chunked(_)), "{framing:?}");
        }
        let (head, framing) = written(&["5"], full());
        assert!(head.contains("content-length: 5\r\n") && !head.contains("chunked"), "{head}");
        assert!(matches!(framing, Framing::Length(5)), "{framing:?}");
    }
}
