//! Routes as resources say them, made ready for compiling: which requests a rule is for, what is
//! changed in them, and where they go.

use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::{Policy, ServiceName, Share};

/// Which requests a route resource is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RouteKind {
    Http,
    /// gRPC requests only.
    Grpc,
}

/// One rule of a route resource that has a service as its parent.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub kind: RouteKind,
    /// What metrics, logs and pages call it: `name.namespace`, with `/rule` where the rule has a
    /// name, else `/0`, `/1` … where the route has several.
    pub name: Arc<str>,
    /// Lower case; empty: every host.
    pub hostnames: Vec<Hostname>,
    /// One of them must match; empty: every request does.
    pub matches: Vec<Match>,
    pub filters: Vec<Filter>,
    /// Empty: requests end with `no-backends`, unless a filter answers them.
    pub backends: Vec<Backend>,
    /// Everything that holds for it; balancing, limits, circuit and TLS are those of each backend.
    pub policy: Arc<Policy>,
}

/// A host name, or every name below one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Hostname {
    Exact(Arc<str>),
    /// What follows the `*` of `*.example.com`, with its dot: `.example.com`.
    Below(Arc<str>),
}

/// What a request must have; all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Match {
    pub path: Option<PathMatch>,
    /// At most one a name.
    pub headers: Vec<HeaderMatch>,
    /// At most one a name.
    pub query: Vec<QueryMatch>,
    pub method: Option<Method>,
}

/// A condition on the path as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    Exact(Arc<str>),
    /// By whole segments: `/a` has `/a` and `/a/b`, not `/ab`.
    Prefix(Arc<str>),
    /// Of the whole path; syntax of the crate `regex`.
    Regex(Arc<str>),
}

/// A condition on a header; several lines of one name count as one, joined by commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderMatch {
    pub name: HeaderName,
    pub value: ValueMatch,
}

/// A condition on a query parameter; of several of one name the first counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryMatch {
    pub name: Arc<str>,
    pub value: ValueMatch,
}

/// A condition on a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueMatch {
    Exact(Arc<str>),
    /// Of the whole value; checked when it was read.
    Regex(Arc<str>),
}

/// What is done to a request or its answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    RequestHeaders(HeaderEdit),
    ResponseHeaders(HeaderEdit),
    Redirect(Redirect),
    Rewrite(Rewrite),
    Mirror(Mirror),
    Cors(Cors),
}

/// Applied in this order: set, add, remove.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderEdit {
    pub set: Vec<(HeaderName, HeaderValue)>,
    pub add: Vec<(HeaderName, HeaderValue)>,
    pub remove: Vec<HeaderName>,
}

/// Answers with another place to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    pub scheme: Option<Scheme>,
    /// Without port.
    pub hostname: Option<Arc<str>>,
    pub path: Option<PathChange>,
    pub port: Option<u16>,
    pub status: StatusCode,
}

/// Changes what is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    pub authority: Option<Authority>,
    pub path: Option<PathChange>,
}

/// Another path; the query stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathChange {
    Full(Arc<str>),
    /// In the place of the matched prefix.
    Prefix(Arc<str>),
}

/// A copy of some requests goes to another service, whose answers nobody sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    pub service: ServiceName,
    pub share: Share,
}

/// Cross-origin resource sharing (the Fetch standard).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cors {
    /// Origins as they are written (`https://example.com`, `https://*.example.com`, `*`).
    pub allow_origins: Vec<Arc<str>>,
    pub allow_credentials: bool,
    /// Names of methods, or `*`.
    pub allow_methods: Vec<Arc<str>>,
    /// Names of headers, or `*`.
    pub allow_headers: Vec<Arc<str>>,
    /// Names of headers, or `*`.
    pub expose_headers: Vec<Arc<str>>,
    pub max_age: Duration,
}

/// A service that takes a share of a rule's requests.
#[derive(Clone, Debug, PartialEq)]
pub struct Backend {
    pub service: ServiceName,
    /// Relative to the others; 0 takes none.
    pub weight: u32,
    pub filters: Vec<Filter>,
}
