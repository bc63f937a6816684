//! Cross-origin requests (the Fetch standard, 3.2): who may read the answers.
//!
//! A preflight is answered here, with 204 always. To an origin that is not allowed it says nothing
//! more: that silence is the standard's no, the browser then doesn't send the request, and the app
//! is not asked. A request itself goes on whatever its origin, because curl has none and a browser
//! keeps the answer from a page that it is not for. What the app says of origins is replaced: the
//! filter decides. With credentials a browser takes `*` for a name, so a list that says `*` becomes
//! what was asked for.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use std::sync::Arc;

use super::vary;
use crate::model;
use crate::route::head::split_port;

/// What an answer is to allow, kept between a request and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorsGrant {
    /// The request's own, or `*`.
    origin: HeaderValue,
}

/// A policy, ready to be asked.
#[derive(Debug)]
pub(super) struct Cors {
    any_origin: bool,
    origins: Vec<Origin>,
    credentials: bool,
    methods: List,
    headers: List,
    expose: List,
    max_age: HeaderValue,
}

/// A list of names, as a header has it.
#[derive(Debug)]
enum List {
    /// Nothing is said.
    Empty,
    Any,
    Names(HeaderValue),
}

/// An origin that is allowed.
#[derive(Debug)]
struct Origin {
    scheme: Box<str>,
    /// What follows the `*` if it is for every name that ends so.
    host: Box<str>,
    any_below: bool,
    port: Option<u16>,
}

const ANY: HeaderValue = HeaderValue::from_static("*");
const TRUE: HeaderValue = HeaderValue::from_static("true");

/// What an app might say of origins.
const SAID: [HeaderName; 3] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_EXPOSE_HEADERS,
];

/// Whether a browser asks if it may ask.
pub(super) fn is_preflight(parts: &Parts) -> bool {
    parts.method == Method::OPTIONS
        && parts.headers.contains_key(header::ORIGIN)
        && parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

impl Cors {
    pub fn new(of: &model::Cors) -> Self {
        Self {
            any_origin: of.allow_origins.iter().any(|origin| **origin == *"*"),
            origins: of.allow_origins.iter().filter_map(|origin| Origin::new(origin)).collect(),
            credentials: of.allow_credentials,
            methods: List::new(&of.allow_methods),
            headers: List::new(&of.allow_headers),
            expose: List::new(&of.expose_headers),
            max_age: HeaderValue::from(of.max_age.as_secs()),
        }
    }

    pub fn grant(&self, request: &HeaderMap) -> Option<CorsGrant> {
        let origin = request.get(header::ORIGIN)?;
        if self.any_origin {
            let origin = if self.credentials { origin.clone() } else { ANY };
            return Some(CorsGrant { origin });
        }
        let (scheme, host, port) = split(origin.to_str().ok()?)?;
        let allowed = self.origins.iter().any(|allowed| allowed.has(scheme, host, port));
        allowed.then(|| CorsGrant { origin: origin.clone() })
    }

    pub fn preflight(&self, request: &HeaderMap) -> Response<()> {
        let mut answer = Response::new(());
        *answer.status_mut() = StatusCode::NO_CONTENT;
        let headers = answer.headers_mut();
        let grant = self.grant(request);
        self.respond(headers, grant.as_ref());
        if grant.is_some() {
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
            self.allow_methods(request, headers);
            self.allow_headers(request, headers);
        }
        answer
    }

    fn allow_methods(&self, request: &HeaderMap, answer: &mut HeaderMap) {
        let asked = &header::ACCESS_CONTROL_REQUEST_METHOD;
        let allowed = match &self.methods {
            List::Empty => return,
            List::Names(names) => names.clone(),
            List::Any if !self.credentials => ANY,
            List::Any => {
                vary(answer, "access-control-request-method");
                request.get(asked).cloned().unwrap_or(ANY)
            }
        };
        answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, allowed);
    }

    /// Names what was asked for even without credentials: `*` does not have `Authorization`.
    fn allow_headers(&self, request: &HeaderMap, answer: &mut HeaderMap) {
        match &self.headers {
            List::Empty => {}
            List::Names(names) => {
                answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
            }
            List::Any => {
                vary(answer, "access-control-request-headers");
                for asked in request.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS) {
                    answer.append(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
                }
            }
        }
    }

    pub fn respond(&self, answer: &mut HeaderMap, grant: Option<&CorsGrant>) {
        for name in SAID {
            answer.remove(name);
        }
        // Also where nothing is allowed: a cache must not give that answer to one who is.
        if !self.any_origin || self.credentials {
            vary(answer, "origin");
        }
        let Some(grant) = grant else { return };
        if let Some(names) = self.exposed(answer) {
            answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, names);
        }
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, grant.origin.clone());
        if self.credentials {
            answer.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
        }
    }

    fn exposed(&self, answer: &HeaderMap) -> Option<HeaderValue> {
        match &self.expose {
            List::Empty => None,
            List::Names(names) => Some(names.clone()),
            List::Any if !self.credentials => Some(ANY),
            List::Any => joined(answer.keys().map(HeaderName::as_str)),
        }
    }
}

impl List {
    fn new(names: &[Arc<str>]) -> Self {
        if names.iter().any(|name| **name == *"*") {
            return List::Any;
        }
        joined(names.iter().map(|name| &**name)).map_or(List::Empty, List::Names)
    }
}

/// None if there are no names.
fn joined<'n>(names: impl Iterator<Item = &'n str>) -> Option<HeaderValue> {
    let names: Vec<&str> = names.collect();
    HeaderValue::from_str(&names.join(", ")).ok().filter(|joined| !joined.is_empty())
}

impl Origin {
    fn new(written: &str) -> Option<Self> {
        let (scheme, host, port) = split(written)?;
        let below = host.strip_prefix('*');
        Some(Self {
            scheme: scheme.into(),
            host: below.unwrap_or(host).into(),
            any_below: below.is_some(),
            port,
        })
    }

    fn has(&self, scheme: &str, host: &str, port: Option<u16>) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme) && self.port == port && self.has_host(host)
    }

    fn has_host(&self, host: &str) -> bool {
        if !self.any_below {
            return self.host.eq_ignore_ascii_case(host);
        }
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let split = host.len().checked_sub(self.host.len()).filter(|&split| split > 0);
        split.and_then(|split| host.split_at_checked(split)).is_some_and(|(left, right)| {
            right.eq_ignore_ascii_case(&self.host) && left.bytes().all(legal)
        })
    }
}

/// Scheme, host and port of an origin; a scheme's own port need not be written. None for `null`.
fn split(origin: &str) -> Option<(&str, &str, Option<u16>)> {
    let (scheme, rest) = origin.split_once("://")?;
    let (host, port) = split_port(rest);
    let own = || {
        let mut own = [("http", 80), ("https", 443)].into_iter();
        own.find(|(name, _)| name.eq_ignore_ascii_case(scheme)).map(|(_, port)| port)
    };
    Some((scheme, host, port.or_else(own)))
}
