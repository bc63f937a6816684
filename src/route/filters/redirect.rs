//! Redirects: where else to ask, as a whole URI.
//!
//! What the redirect does not name is the request's own. Ports go by the Gateway API: the one that
//! is given; else with a given scheme that scheme's own; else the one that the request was sent to;
//! and 80 for http and 443 for https are never written.

use http::request::Parts;
use http::{HeaderValue, Response, header};

use super::path::PathEdit;
use crate::model;
use crate::route::head::{host, split_port};

/// A redirect, ready to answer with.
#[derive(Debug)]
pub(super) struct Redirect {
    to: model::Redirect,
    path: Option<PathEdit>,
}

impl Redirect {
    pub fn new(to: &model::Redirect) -> Self {
        Self { to: to.clone(), path: to.path.as_ref().map(PathEdit::new) }
    }

    pub fn answer(&self, parts: &Parts, prefix: usize, scheme: &str) -> Response<()> {
        let mut answer = Response::new(());
        *answer.status_mut() = self.to.status;
        answer.headers_mut().insert(header::LOCATION, self.location(parts, prefix, scheme));
        answer
    }

    fn location(&self, parts: &Parts, prefix: usize, scheme: &str) -> HeaderValue {
        let mut place = Vec::with_capacity(128);
        let (named, sent_to) = split_port(host(parts));
        let hostname = self.to.hostname.as_deref().unwrap_or(named);
        // Only HTTP/1.0 has requests without a host; they are told a path alone.
        if !hostname.is_empty() {
            let own_scheme = self.to.scheme.as_ref().map(|scheme| scheme.as_str());
            let scheme = own_scheme.unwrap_or(scheme);
            place.extend_from_slice(scheme.as_bytes());
            place.extend_from_slice(b"://");
            place.extend_from_slice(hostname.as_bytes());
            let port = self.to.port.or_else(|| sent_to.filter(|_| own_scheme.is_none()));
            if let Some(port) = port.filter(|&port| !is_own(scheme, port)) {
                place.push(b':');
                place.extend_from_slice(itoa::Buffer::new().format(port).as_bytes());
            }
        }
        self.write_path(parts, prefix, &mut place);
        header_value(place)
    }

    fn write_path(&self, parts: &Parts, prefix: usize, place: &mut Vec<u8>) {
        let (alone, begin) = (place.is_empty(), place.len());
        // `OPTIONS *` and CONNECT ask for no path.
        let path = Some(parts.uri.path()).filter(|path| path.starts_with('/')).unwrap_or("/");
        match &self.path {
            Some(edit) => edit.write(path, prefix, place),
            None => place.extend_from_slice(path.as_bytes()),
        }
        if alone {
            // Two slashes in front would make the first segment a host.
            let more = place[begin..].iter().take_while(|&&byte| byte == b'/').count() - 1;
            place.drain(begin..begin + more);
        }
        if let Some(query) = parts.uri.query() {
            place.push(b'?');
            place.extend_from_slice(query.as_bytes());
        }
    }
}

/// Whether a port goes without saying.
fn is_own(scheme: &str, port: u16) -> bool {
    matches!((scheme, port), ("http", 80) | ("https", 443))
}

/// Escapes what a request's target may have and a header may not.
fn header_value(place: Vec<u8>) -> HeaderValue {
    let escape = |byte: u8| match byte {
        0x21..=0x7e => vec![byte],
        _ => format!("%{byte:02X}").into_bytes(),
    };
    let legal = place.iter().all(u8::is_ascii_graphic);
    let place = if legal { place } else { place.into_iter().flat_map(escape).collect() };
    HeaderValue::from_maybe_shared(bytes::Bytes::from(place)).expect("visible ASCII only")
}
