//! The question, read from a query: a request that nobody sent.
//!
//! `+` stays what it is, so that a path can be written as it stands; everything else that would end
//! a value is percent-encoded. Every fault is named at once.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::Authority;
use http::{Method, Request, Uri};

use crate::http::percent;
use crate::model::ServiceName;
use crate::resources::suggestion;

/// What is asked about.
#[derive(Debug)]
pub struct Question {
    pub service: ServiceName,
    pub parts: Parts,
    pub client: SocketAddr,
}

const KEYS: [&str; 6] = ["service", "method", "path", "header", "host", "source"];

/// What of it can be read, and what can't.
#[derive(Default)]
struct Reading {
    service: Option<(String, ServiceName)>,
    method: Option<Method>,
    uri: Option<Uri>,
    headers: Vec<(HeaderName, HeaderValue)>,
    host: Option<HeaderValue>,
    source: Option<IpAddr>,
    faults: Vec<String>,
}

/// Reads a query; a bare service is one of `namespace`.
///
/// # Errors
/// Every fault.
pub fn read(query: &str, namespace: &str) -> Result<Question, Vec<String>> {
    let mut reading = Reading::default();
    let mut seen: Vec<&str> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, written) = pair.split_once('=').unwrap_or((pair, ""));
        if key != "header" && seen.contains(&key) {
            reading.faults.push(format!("{key}: stands twice; say it once"));
            continue;
        }
        seen.push(key);
        match decoded(written) {
            Some(value) => reading.take(key, &value, namespace),
            None => reading.faults.push(format!("{key}: {written:?} is no percent-encoded text")),
        }
    }
    if !seen.contains(&"service") {
        reading.faults.push("service: is missing; write service=name.namespace:port".to_owned());
    }
    reading.finish()
}

impl Reading {
    fn take(&mut self, key: &str, value: &str, namespace: &str) {
        let read = match key {
            "service" => ServiceName::parse(value, namespace)
                .map(|name| self.service = Some((value.to_owned(), name)))
                .map_err(|error| error.to_string()),
            "method" => Method::from_bytes(value.as_bytes())
                .map(|method| self.method = Some(method))
                .map_err(|_| format!("{value:?} is no method such as GET")),
            "path" => uri(value).map(|uri| self.uri = Some(uri)),
            "header" => header(value).map(|line| self.headers.push(line)),
            "host" => host(value).map(|host| self.host = Some(host)),
            "source" => value
                .parse()
                .map(|source| self.source = Some(source))
                .map_err(|_| format!("{value:?} is no IP address")),
            _ => {
                let known = || format!("; known are {}", KEYS.join(", "));
                Err(format!("is not asked for{}", suggestion(key, KEYS, known)))
            }
        };
        if let Err(why) = read {
            self.faults.push(format!("{key}: {why}"));
        }
    }

    fn finish(mut self) -> Result<Question, Vec<String>> {
        let lines = self.headers.iter().filter(|(name, _)| name == header::HOST).count();
        if lines + usize::from(self.host.is_some()) > 1 {
            self.faults.push("host: stands twice, also as a header; say it once".to_owned());
        }
        let (Some((written, service)), []) = (self.service, &self.faults[..]) else {
            return Err(self.faults);
        };
        let mut parts = Request::new(()).into_parts().0;
        parts.method = self.method.unwrap_or_default();
        parts.uri = self.uri.unwrap_or_default();
        if lines == 0 {
            let usual = || HeaderValue::from_str(usual_host(&written)).ok();
            parts.headers.extend(self.host.or_else(usual).map(|host| (header::HOST, host)));
        }
        for (name, value) in self.headers {
            parts.headers.append(name, value);
        }
        let source = self.source.unwrap_or(Ipv4Addr::LOCALHOST.into());
        Ok(Question { service, parts, client: (source, 0).into() })
    }
}

/// What a client would write that was told to ask for a service.
fn usual_host(service: &str) -> &str {
    service.strip_suffix(":80").unwrap_or(service)
}

fn uri(value: &str) -> Result<Uri, String> {
    let wrong = || format!("{value:?} is no path such as /a?b=c");
    let uri: Uri = value.parse().map_err(|_| wrong())?;
    if value.starts_with('/') || value == "*" { Ok(uri) } else { Err(wrong()) }
}

fn header(value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let wrong = || format!("{value:?} is no header; write name:value");
    let (name, value) = value.split_once(':').ok_or_else(wrong)?;
    let name = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| wrong())?;
    let value = HeaderValue::from_str(value.trim()).map_err(|_| wrong())?;
    Ok((name, value))
}

fn host(value: &str) -> Result<HeaderValue, String> {
    let wrong = || format!("{value:?} is no host such as api.example.com");
    let authority = Authority::try_from(value).map_err(|_| wrong())?;
    HeaderValue::from_str(authority.as_str()).map_err(|_| wrong())
}

/// Without its percent-encoding; `None` where that is broken or no UTF-8.
fn decoded(written: &str) -> Option<String> {
    let byte = |(byte, escaped): (u8, bool)| (byte != b'%' || escaped).then_some(byte);
    let bytes = percent::bytes(written.as_bytes()).map(byte).collect::<Option<Vec<u8>>>()?;
    String::from_utf8(bytes).ok()
}
