//! What is asked: who wants to call what.
//!
//! Everything is borrowed from the connection and the request, and read once. [`Held`] is the same
//! for those who stay, so that they are judged again by what they asked for.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::net::IpAddr;

use http::header;
use http::request::Parts;
use http::{HeaderMap, Method};

use super::credentials::{self, Credentials};
use super::tokens::{Fault, Known};
use crate::http::path::{self, BadEscape};
use crate::model::SpiffeId;

/// Who wants to call what.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The app's.
    pub port: u16,
    /// Of the connection; an IPv4 address is never written as an IPv6 one.
    pub source: IpAddr,
    /// Whom the caller has proven to be; `None`: it came in plaintext.
    pub id: Option<&'a SpiffeId>,
    pub what: What<'a>,
}

/// What is called.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    Request(&'a Request<'a>),
    /// Opaque bytes. `is_declared`: the port's protocol is said to be TCP, so that nobody expects
    /// HTTP there.
    Stream {
        is_declared: bool,
    },
}

/// A request as rules see it.
#[derive(Debug)]
pub struct Request<'a> {
    pub method: &'a Method,
    /// As it was sent.
    written: &'a str,
    /// Normalised; `None`: it has none, or one that can't be read.
    pub path: Option<Cow<'a, str>>,
    others: OnceCell<Vec<String>>,
    /// The path can't be normalised.
    pub bad_escape: Option<BadEscape>,
    /// In any letter case, without port.
    pub host: Option<&'a str>,
    pub headers: &'a HeaderMap,
    /// What it has shown beside its connection's identity.
    pub(super) shown: &'a Credentials,
    /// What is wrong with that.
    pub(super) fault: Option<Fault>,
}

impl<'a> Request<'a> {
    /// `reads_path` where a rule asks for one; else it is not even looked at.
    pub fn of(parts: &'a Parts, reads_path: bool) -> Self {
        let written = Some(parts.uri.path()).filter(|path| reads_path && path.starts_with('/'));
        let (path, bad_escape) = match written.map(path::normal) {
            Some(Ok(path)) => (Some(path), None),
            Some(Err(bad)) => (None, Some(bad)),
            None => (None, None),
        };
        Self {
            method: method(parts),
            written: parts.uri.path(),
            others: OnceCell::new(),
            path,
            bad_escape,
            host: host(parts),
            headers: &parts.headers,
            shown: &credentials::NONE,
            fault: None,
        }
    }

    /// What servers may make of the path beside what it says; made when it is first asked for.
    pub fn others(&self) -> &[String] {
        let made = || self.path.as_deref().map(path::other_readings).unwrap_or_default();
        self.others.get_or_init(made)
    }

    /// The same, by somebody who has shown this.
    #[must_use]
    pub fn showing(self, known: &'a Known) -> Self {
        Self { shown: &known.credentials, fault: known.fault, ..self }
    }

    /// The path as the app is to get it, without the query.
    pub fn shown_path(&self) -> &str {
        self.path.as_deref().unwrap_or(self.written)
    }

    /// The path that the app is to get, where it is another than was sent.
    pub fn changed_path(&self) -> Option<String> {
        match &self.path {
            Some(Cow::Owned(path)) => Some(path.clone()),
            _ => None,
        }
    }
}

/// As the app sees it: a WebSocket over HTTP/2 (RFC 8441) is a CONNECT that has a path, and becomes a
/// GET.
fn method(parts: &Parts) -> &Method {
    let is_extended = parts.extensions.get::<hyper::ext::Protocol>().is_some();
    if parts.method == Method::CONNECT && is_extended { &Method::GET } else { &parts.method }
}

/// `:authority`, else Host, without port and final dots. The guard saw to it that there is one, and
/// that both say the same.
fn host(parts: &Parts) -> Option<&str> {
    let written = || parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = parts.uri.authority().map(|authority| authority.as_str()).or_else(written)?;
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    Some(name.trim_end_matches('.')).filter(|name| !name.is_empty())
}

/// What somebody asked for who stays.
#[derive(Debug)]
pub struct Held {
    pub port: u16,
    pub source: IpAddr,
    pub id: Option<SpiffeId>,
    pub what: HeldWhat,
}

#[derive(Debug)]
pub enum HeldWhat {
    /// A request that became a tunnel, and what it has shown.
    Request(Box<Parts>, Credentials),
    Stream {
        is_declared: bool,
    },
}
