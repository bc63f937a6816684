//! Which requests somebody wants to see: all that is said must hold, of what is listed one.
//!
//! Written in the same words wherever it is asked for: as a query of the admin port, as flags, on the
//! wire. What can't be read is refused with what would be right; it never lets everything through.

use std::fmt;
use std::time::Duration;

use super::record::without_query;
use crate::model::{Direction, Reason};
use crate::telemetry::access_log::Entry;
use crate::telemetry::span::has_failed;

/// Of methods, statuses and reasons, each.
const MOST: usize = 16;
/// Bytes of a path, a method or a service.
const LONGEST: usize = 256;

/// What is wanted; nothing said wants everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub methods: Vec<Box<str>>,
    pub path: Option<Path>,
    pub statuses: Vec<Statuses>,
    /// Only failures of the mesh or an app, as golden signals count them.
    pub failed: bool,
    pub direction: Option<Direction>,
    /// What was called, as records name it: `name.namespace`, of any port, or `name.namespace:port`.
    pub service: Option<Box<str>>,
    pub reasons: Vec<Reason>,
    /// What took at least as long, to the last byte.
    pub slower: Option<Duration>,
}

/// A path, without the query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Path {
    Exact(Box<str>),
    /// Whatever begins so.
    Prefix(Box<str>),
}

/// From the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statuses(pub u16, pub u16);

impl Filter {
    /// The fields that [`Filter::set`] takes.
    pub const FIELDS: [&str; 7] =
        ["method", "path", "status", "failed", "direction", "service", "reason"];

    /// Sets a field by its name; several values of `method`, `status` and `reason` are joined by
    /// commas.
    ///
    /// # Errors
    /// Why the value can't be it, and what could.
    pub fn set(&mut self, field: &str, value: &str) -> Result<(), String> {
        if value.len() > LONGEST {
            return Err(format!("has {} bytes; at most {LONGEST} are looked for", value.len()));
        }
        match field {
            "method" => self.methods = list(value, method)?,
            "path" => self.path = Some(path(value)?),
            "status" => self.statuses = list(value, statuses)?,
            "failed" => self.failed = flag(value)?,
            "direction" => self.direction = Some(direction(value)?),
            "service" => self.service = Some(service(value)?),
            "reason" => self.reasons = list(value, reason)?,
            _ => return Err(format!("is no filter; filters are {}", Self::FIELDS.join(", "))),
        }
        Ok(())
    }

    /// Whether a request is wanted. What it does not have is never what was asked for.
    pub fn matches(&self, entry: &Entry<'_>) -> bool {
        let is_method = |wanted: &str| entry.method.is_some_and(|m| m.eq_ignore_ascii_case(wanted));
        let within = |&Statuses(from, to): &Statuses| {
            entry.status.is_some_and(|status| (from..=to).contains(&status))
        };
        let path = || entry.path.map(without_query);
        self.direction.is_none_or(|direction| direction == entry.direction)
            && self
                .service
                .as_ref()
                .is_none_or(|wanted| entry.service.is_some_and(|of| is(of, wanted)))
            && (self.statuses.is_empty() || self.statuses.iter().any(within))
            && (self.methods.is_empty() || self.methods.iter().any(|wanted| is_method(wanted)))
            && (self.reasons.is_empty()
                || entry.reason.is_some_and(|of| self.reasons.contains(&of)))
            && self.slower.is_none_or(|slower| entry.duration >= slower)
            && self.path.as_ref().is_none_or(|wanted| path().is_some_and(|path| wanted.is(path)))
            && (!self.failed || failed(entry))
    }
}

fn failed(entry: &Entry<'_>) -> bool {
    let grpc = entry.grpc_status.and_then(|status| u8::try_from(status).ok());
    has_failed(entry.status.unwrap_or(0), grpc, entry.reason)
}

/// Whether a record's service is the one, of any port unless one is said.
fn is(service: &str, wanted: &str) -> bool {
    let rest = service.strip_prefix(wanted);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':') && !wanted.contains(':'))
}

impl Path {
    fn is(&self, path: &str) -> bool {
        match self {
            Path::Exact(wanted) => **wanted == *path,
            Path::Prefix(wanted) => path.starts_with(&**wanted),
        }
    }
}

fn list<T>(value: &str, read: fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    let all: Vec<T> = value.split(',').map(|one| read(one.trim())).collect::<Result<_, _>>()?;
    if all.len() > MOST {
        return Err(format!("lists {}; at most {MOST} are looked for", all.len()));
    }
    Ok(all)
}

fn method(text: &str) -> Result<Box<str>, String> {
    match http::Method::from_bytes(text.as_bytes()) {
        Ok(_) => Ok(text.to_ascii_uppercase().into()),
        Err(_) => Err(format!("{text:?} is no method; write GET, or several as GET,POST")),
    }
}

fn path(text: &str) -> Result<Path, String> {
    if text.contains('?') {
        return Err(format!("{text:?} has a query, which is not looked at; leave it out"));
    }
    if !text.starts_with('/') && text != "*" {
        return Err(format!("{text:?} does not begin with /; write /orders, or /orders*"));
    }
    Ok(match text.strip_suffix('*') {
        Some(prefix) if prefix.contains('*') => return Err(star(text)),
        Some(prefix) => Path::Prefix(prefix.into()),
        None if text.contains('*') => return Err(star(text)),
        None => Path::Exact(text.into()),
    })
}

fn star(text: &str) -> String {
    format!("{text:?} has a * before its end; it stands for the rest of a path, as in /orders*")
}

fn statuses(text: &str) -> Result<Statuses, String> {
    let wrong = || format!("{text:?} is no status; write 503 or 5xx, or several as 429,5xx");
    if let [class @ b'1'..=b'5', b'x' | b'X', b'x' | b'X'] = text.as_bytes() {
        let first = u16::from(class - b'0') * 100;
        return Ok(Statuses(first, first + 99));
    }
    let status: u16 = text.parse().map_err(|_| wrong())?;
    if (100..=999).contains(&status) { Ok(Statuses(status, status)) } else { Err(wrong()) }
}

fn flag(text: &str) -> Result<bool, String> {
    match text {
        "" | "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

fn direction(text: &str) -> Result<Direction, String> {
    let all = [Direction::Inbound, Direction::Outbound];
    let found = all.into_iter().find(|direction| direction.as_str() == text);
    found.ok_or_else(|| format!("{text:?} is no direction; write inbound or outbound"))
}

fn service(text: &str) -> Result<Box<str>, String> {
    let wrong =
        || Err(format!("{text:?} is no service; write name.namespace, or name.namespace:port"));
    let (name, port) =
        text.rsplit_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let is_name = |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace());
    match name.split_once('.') {
        Some((name, namespace)) if is_port && is_name(name) && is_name(namespace) => {
            Ok(text.into())
        }
        // What is passed through has no other name.
        None if name == "unknown" && port.is_none() => Ok(text.into()),
        _ => wrong(),
    }
}

fn reason(text: &str) -> Result<Reason, String> {
    Reason::parse(text.as_bytes()).ok_or_else(|| {
        format!("{text:?} is no reason; `outrigger explain --list` and the page /reasons name them")
    })
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Exact(path) => f.write_str(path),
            Path::Prefix(path) => write!(f, "{path}*"),
        }
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Statuses(from, to) if from == to => write!(f, "{from}"),
            Statuses(from, _) => write!(f, "{}xx", from / 100),
        }
    }
}

/// As people say it; empty when everything is wanted.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |all: Vec<String>| (!all.is_empty()).then(|| all.join(","));
        let statuses = joined(self.statuses.iter().map(ToString::to_string).collect());
        let reasons = joined(self.reasons.iter().map(ToString::to_string).collect());
        let methods = joined(self.methods.iter().map(ToString::to_string).collect());
        let parts = [
            ("method ", methods),
            ("path ", self.path.as_ref().map(ToString::to_string)),
            ("status ", statuses),
            ("failed", self.failed.then(String::new)),
            ("", self.direction.map(|direction| direction.as_str().to_owned())),
            ("to ", self.service.as_ref().map(ToString::to_string)),
            ("reason ", reasons),
            ("from ", self.slower.map(|slower| format!("{slower:?}"))),
        ];
        let said = parts.into_iter().filter_map(|(name, value)| Some(format!("{name}{}", value?)));
        f.write_str(&said.collect::<Vec<_>>().join(", "))
    }
}
