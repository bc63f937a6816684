//! Heads of messages: between fields as they come and go, and requests and answers as the rest of the
//! proxy has them (RFC 9113, 8).

use http::header::{self, HeaderName};
use http::uri::{self, Authority, PathAndQuery, Scheme, Uri};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::ext::Protocol;

use super::HEADER_LIST;
use super::hpack::{Encoder, Field};

/// Headers of a message, at most: twice what any request may have that is served.
const HEADERS: usize = 200;

/// A head as it comes, field by field.
#[derive(Default)]
pub struct Heard {
    method: Option<Method>,
    scheme: Option<Scheme>,
    authority: Option<Authority>,
    path: Option<PathAndQuery>,
    protocol: Option<HeaderValue>,
    status: Option<StatusCode>,
    headers: HeaderMap,
    crumbs: usize,
    size: usize,
    malformed: Option<&'static str>,
}

/// Of a request whose head is larger than anybody may send, and not all there.
#[derive(Clone, Copy, Debug)]
pub struct TooLarge;

/// Why a head is none.
pub enum Unheard {
    Malformed(&'static str),
    /// More fields than anybody may send.
    TooLarge,
}

impl Heard {
    /// Room for so many headers.
    pub fn with_capacity(headers: usize) -> Self {
        Self { headers: HeaderMap::with_capacity(headers), ..Self::default() }
    }

    pub fn take(&mut self, field: &Field, size: usize) {
        fn once<T: Clone>(slot: &mut Option<T>, value: &T) -> Result<(), &'static str> {
            match slot.replace(value.clone()) {
                Some(_) => Err("a pseudo-header comes twice"),
                None => Ok(()),
            }
        }
        self.size += size;
        if self.malformed.is_some() || self.is_too_large() {
            return;
        }
        let taken = match field {
            Field::Header(name, value) => self.header(name, value),
            _ if !self.headers.is_empty() => Err("a pseudo-header comes after a header"),
            Field::Method(method) => once(&mut self.method, method),
            Field::Scheme(scheme) => once(&mut self.scheme, scheme),
            Field::Authority(authority) => once(&mut self.authority, authority),
            Field::Path(path) => once(&mut self.path, path),
            Field::Protocol(protocol) => once(&mut self.protocol, protocol),
            Field::Status(status) => once(&mut self.status, status),
            Field::Malformed => Err("a field's name or value is none of HTTP's"),
        };
        self.malformed = taken.err();
    }

    fn header(&mut self, name: &HeaderName, value: &HeaderValue) -> Result<(), &'static str> {
        if is_of_connection(name.as_str()) {
            return Err("a header concerns the connection, as none of HTTP/2 may");
        }
        if *name == header::TE && !value.as_bytes().eq_ignore_ascii_case(b"trailers") {
            return Err("TE says something else than \"trailers\"");
        }
        // A cookie may come in as many pieces as there is room for (RFC 9113, 8.2.3).
        self.crumbs += usize::from(*name == header::COOKIE);
        self.headers.append(name, value.clone());
        Ok(())
    }

    fn sound(&self) -> Result<(), Unheard> {
        match self.malformed {
            Some(why) => Err(Unheard::Malformed(why)),
            None if self.is_too_large() => Err(Unheard::TooLarge),
            None => Ok(()),
        }
    }

    /// Whether it has a pseudo-header that only requests have.
    fn says_of_a_request(&self) -> bool {
        self.method.is_some()
            || self.scheme.is_some()
            || self.authority.is_some()
            || self.path.is_some()
            || self.protocol.is_some()
    }

    fn is_too_large(&self) -> bool {
        self.size > HEADER_LIST || self.headers.len() > HEADERS + self.crumbs
    }

    /// Whether nobody means it: far more than anybody may send, said in few bytes.
    pub fn is_bomb(&self) -> bool {
        self.size > 16 * HEADER_LIST
    }

    /// How many headers there are.
    pub fn len(&self) -> usize {
        self.headers.len()
    }

    /// One that is too large is only good for being refused: it has what came before it was.
    ///
    /// # Errors
    /// It is none.
    pub fn request(mut self) -> Result<Request<()>, &'static str> {
        let malformed = Err;
        let is_too_large = self.is_too_large();
        if let Some(why) = self.malformed {
            return malformed(why);
        }
        if is_too_large {
            self.method.get_or_insert(Method::GET);
            self.scheme.get_or_insert(Scheme::HTTP);
            self.path.get_or_insert(PathAndQuery::from_static("/"));
        }
        let Some(method) = self.method else { return malformed("a request has no :method") };
        let is_tunnel = method == Method::CONNECT && self.protocol.is_none();
        if self.status.is_some() {
            return malformed("a request has a :status");
        }
        if self.protocol.is_some() && method != Method::CONNECT {
            return malformed("a request that is no CONNECT has a :protocol");
        }
        if is_tunnel && (self.scheme.is_some() || self.path.is_some() || self.authority.is_none()) {
            return malformed("a CONNECT has an :authority, and neither :scheme nor :path");
        }
        if !is_tunnel && (self.scheme.is_none() || self.path.is_none()) {
            return malformed("a request has no :scheme or no :path");
        }
        let mut of_uri = uri::Parts::default();
        // A scheme without an authority can't be written as an address.
        of_uri.scheme = self.scheme.filter(|_| self.authority.is_some());
        of_uri.authority = self.authority;
        of_uri.path_and_query = self.path;
        let Ok(uri) = Uri::from_parts(of_uri) else { return malformed("its address is none") };
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = self.headers;
        if let Some(protocol) = self.protocol {
            let Ok(protocol) = protocol.to_str() else { return malformed(":protocol is none") };
            request.extensions_mut().insert(Protocol::from(protocol));
        }
        if is_too_large {
            request.extensions_mut().insert(TooLarge);
        }
        Ok(request)
    }

    /// # Errors
    /// It is none.
    pub fn response(self) -> Result<Response<()>, Unheard> {
        self.sound()?;
        let is_request = self.says_of_a_request();
        let Some(status) = self.status.filter(|_| !is_request) else {
            return Err(Unheard::Malformed("an answer has one :status and nothing of a request"));
        };
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.version_mut() = Version::HTTP_2;
        *response.headers_mut() = self.headers;
        Ok(response)
    }

    /// # Errors
    /// They are none.
    pub fn trailers(self) -> Result<HeaderMap, Unheard> {
        self.sound()?;
        match self.says_of_a_request() || self.status.is_some() {
            true => Err(Unheard::Malformed("trailers have a pseudo-header")),
            false => Ok(self.headers),
        }
    }
}

/// What a message's length says; an error where it says two things, or none.
pub fn length(headers: &HeaderMap) -> Result<Option<u64>, &'static str> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else { return Ok(None) };
    let digits = first.as_bytes();
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let length = first.to_str().ok().filter(|_| is_number);
    // Many would read a larger one as negative.
    match length.and_then(|digits| digits.parse::<i64>().ok()) {
        Some(length) if lengths.next().is_none() => Ok(Some(length.cast_unsigned())),
        _ => Err("its content-length is none, or more than one"),
    }
}

/// RFC 9113, 8.2.2.
fn is_of_connection(name: &str) -> bool {
    matches!(
        name,
        "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade"
    )
}

/// Writes a request's fields.
pub fn write_request(request: &http::request::Parts, encoder: &mut Encoder, out: &mut Vec<u8>) {
    let mut pseudo = |name, value: &str| encoder.field(out, name, value.as_bytes(), false);
    pseudo(":method", request.method.as_str());
    let protocol = request.extensions.get::<Protocol>();
    let is_tunnel = request.method == Method::CONNECT && protocol.is_none();
    if !is_tunnel {
        pseudo(":scheme", request.uri.scheme_str().unwrap_or("http"));
        pseudo(":path", request.uri.path_and_query().map_or("/", PathAndQuery::as_str));
    }
    if let Some(authority) = request.uri.authority() {
        pseudo(":authority", authority.as_str());
    }
    if let Some(protocol) = protocol {
        pseudo(":protocol", protocol.as_str());
    }
    write_headers(&request.headers, encoder, out);
}

/// Writes an answer's fields.
pub fn write_response(response: &http::response::Parts, encoder: &mut Encoder, out: &mut Vec<u8>) {
    encoder.field(out, ":status", response.status.as_str().as_bytes(), false);
    write_headers(&response.headers, encoder, out);
}

/// Writes headers or trailers, but for those that concern a connection.
pub fn write_headers(headers: &HeaderMap, encoder: &mut Encoder, out: &mut Vec<u8>) {
    for (name, value) in headers {
        let name = name.as_str();
        if !is_of_connection(name) {
            encoder.field(out, name, value.as_bytes(), value.is_sensitive());
        }
    }
}
