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

/// A request, whoever it is sent to.
#[derive(Debug)]
pub struct Asked {
    pub parts: Parts,
    pub source: IpAddr,
}

const KEYS: [&str; 5] = ["method", "path", "header", "host", "source"];

/// What of it can be read, and what can't.
#[derive(Default)]
struct Reading {
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
    let (mut service, mut is_there) = (None, false);
    let asked = read_request(query, &["service"], |_, value| {
        is_there = true;
        let name = ServiceName::parse(value, namespace).map_err(|error| error.to_string())?;
        service = Some((value.to_owned(), name));
        Ok(())
    });
    let missing = "service: is missing; write service=name.namespace:port";
    let mut faults = asked.as_ref().err().cloned().unwrap_or_default();
    if !is_there {
        faults.push(missing.to_owned());
    }
    let (Ok(Asked { mut parts, source }), Some((written, service))) = (asked, service) else {
        return Err(faults);
    };
    if !parts.headers.contains_key(header::HOST) {
        parts.headers.extend(
            HeaderValue::from_str(usual_host(&written)).ok().map(|host| (header::HOST, host)),
        );
    }
    Ok(Question { service, parts, client: (source, 0).into() })
}

/// Reads a query; `take` is given the values of the keys `own`.
///
/// # Errors
/// Every fault.
pub fn read_request(
    query: &str,
    own: &[&str],
    mut take: impl FnMut(&str, &str) -> Result<(), String>,
) -> Result<Asked, Vec<String>> {
    let mut reading = Reading::default();
    let mut seen: Vec<&str> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, written) = pair.split_once('=').unwrap_or((pair, ""));
        if key != "header" && seen.contains(&key) {
            reading.faults.push(format!("{key}: stands twice; say it once"));
            continue;
        }
        seen.push(key);
        let read = match percent::text(written) {
            Some(value) if own.contains(&key) => take(key, &value),
            Some(value) => reading.take(key, &value, own),
            None => Err(format!("{written:?} is no percent-encoded text")),
        };
        if let Err(why) = read {
            reading.faults.push(format!("{key}: {why}"));
        }
    }
    reading.finish()
}

impl Reading {
    fn take(&mut self, key: &str, value: &str, own: &[&str]) -> Result<(), String> {
        match key {
            "method" => Method::from_bytes(value.as_bytes())
                .map(|method| self.method = Some(method))
                .map_err(|_| format!("{value:?} is no method such as GET")),
            "path" => uri(value).map(|uri| self.uri = Some(uri)),
            "header" => header(value).map(|line| self.headers.push(line)),
            "host" => host(value).map(|host| self.host = Some(host)),
            "source" => value
                .parse()
                .map(|source: IpAddr| self.source = Some(source.to_canonical()))
                .map_err(|_| format!("{value:?} is no IP address")),
            _ => {
                let all = || own.iter().copied().chain(KEYS);
                let known = || format!("; known are {}", all().collect::<Vec<_>>().join(", "));
                Err(format!("is not asked for{}", suggestion(key, all(), known)))
            }
        }
    }

    fn finish(mut self) -> Result<Asked, Vec<String>> {
        let lines = self.headers.iter().filter(|(name, _)| name == header::HOST).count();
        if lines + usize::from(self.host.is_some()) > 1 {
            self.faults.push("host: stands twice, also as a header; say it once".to_owned());
        }
        if !self.faults.is_empty() {
            return Err(self.faults);
        }
        let mut parts = Request::new(()).into_parts().0;
        parts.method = self.method.unwrap_or_default();
        parts.uri = self.uri.unwrap_or_default();
        parts.headers.extend(self.host.map(|host| (header::HOST, host)));
        for (name, value) in self.headers {
            parts.headers.append(name, value);
        }
        Ok(Asked { parts, source: self.source.unwrap_or(Ipv4Addr::LOCALHOST.into()) })
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
