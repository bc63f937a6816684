//! How entries look: one JSON object a line, or one line for people.
//!
//! A record lists its fields once, in the order of the documentation; both forms render that list.
//! Whatever a client sent, an entry stays one line and shows no control characters: JSON escapes
//! them by its own rules, text by Rust's.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use super::{Audit, Entry};
use crate::telemetry::hex;

/// A field's value.
pub(super) enum Value<'a> {
    /// May hold anything.
    Text(&'a str),
    /// May hold anything, text or not.
    Bytes(&'a [u8]),
    Number(u64),
    /// Milliseconds with up to three decimals.
    Millis(Duration),
    TraceId(u128),
    Address(SocketAddr),
}

/// Something that becomes a line.
pub(super) trait Record {
    fn time(&self) -> SystemTime;

    /// Calls `put` for each field that has a value, `time` excepted.
    fn fields(&self, put: impl FnMut(&'static str, Value<'_>));
}

impl Record for Entry<'_> {
    fn time(&self) -> SystemTime {
        self.time
    }

    fn fields(&self, mut put: impl FnMut(&'static str, Value<'_>)) {
        use Value::{Address, Bytes, Millis, Number, Text, TraceId};
        let mut put = |name, value: Option<Value<'_>>| {
            if let Some(value) = value {
                put(name, value);
            }
        };
        put("direction", Some(Text(self.direction.as_str())));
        put("request_id", self.request_id.map(Bytes));
        put("trace_id", self.trace_id.map(TraceId));
        put("method", self.method.map(Text));
        put("authority", self.authority.map(Text));
        put("path", self.path.map(Text));
        put("protocol", Some(Text(self.protocol)));
        put("status", self.status.map(|status| Number(status.into())));
        put("grpc_status", self.grpc_status.map(|status| Number(status.into())));
        put("reason", self.reason.map(|reason| Text(reason.as_str())));
        put("service", self.service.map(Text));
        put("route", self.route.map(Text));
        put("endpoint", self.endpoint.map(Address));
        put("peer", self.peer.map(Text));
        put("attempts", Some(Number(self.attempts.into())));
        put("duration_ms", Some(Millis(self.duration)));
        put("upstream_ms", self.upstream.map(Millis));
        put("bytes_in", Some(Number(self.bytes_in)));
        put("bytes_out", Some(Number(self.bytes_out)));
        put("user_agent", self.user_agent.map(Bytes));
        put("tls", Some(Text(self.tls)));
        put("access", self.access.map(Text));
    }
}

impl Record for Audit<'_> {
    fn time(&self) -> SystemTime {
        self.time
    }

    fn fields(&self, mut put: impl FnMut(&'static str, Value<'_>)) {
        let fields = [
            ("kind", Some("audit")),
            ("principal", self.principal),
            ("action", Some(self.action)),
            ("resource", Some(self.resource)),
            ("decision", Some(self.decision)),
            ("policy", self.policy),
            ("rule", self.rule),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                put(name, Value::Text(value));
            }
        }
    }
}

/// Appends `{"time":"…",…}` and a line feed.
pub(super) fn json(out: &mut Vec<u8>, time: &str, record: &impl Record) {
    out.extend_from_slice(b"{\"time\":\"");
    out.extend_from_slice(time.as_bytes());
    out.push(b'"');
    record.fields(|name, value| {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        match value {
            Value::Text(text) => json_string(out, text),
            Value::Bytes(bytes) => json_string(out, &String::from_utf8_lossy(bytes)),
            Value::Number(value) => number(out, value),
            Value::Millis(duration) => millis(out, duration),
            Value::TraceId(id) => quoted(out, |out| trace_id(out, id)),
            Value::Address(at) => quoted(out, |out| address(out, at)),
        }
    });
    out.extend_from_slice(b"}\n");
}

fn json_string(out: &mut Vec<u8>, text: &str) {
    // Nearly all are clean, and a branch-free look at every byte beats an escaper's table.
    let dirty = |byte: u8| (byte < b' ') | (byte == b'"') | (byte == b'\\');
    if !text.bytes().fold(false, |any, byte| any | dirty(byte)) {
        return quoted(out, |out| out.extend_from_slice(text.as_bytes()));
    }
    serde_json::to_writer(out, text).expect("a string always has a JSON form and a Vec grows");
}

/// These explain themselves and stand without their name in a text line.
const UNNAMED: [&str; 7] =
    ["kind", "direction", "method", "authority", "path", "protocol", "status"];

/// Appends `time inbound GET web.default /path http/2 200 name=value …` and a line feed.
pub(super) fn text(out: &mut Vec<u8>, time: &str, record: &impl Record) {
    out.extend_from_slice(time.as_bytes());
    record.fields(|name, value| {
        out.push(b' ');
        if !UNNAMED.contains(&name) {
            out.extend_from_slice(name.as_bytes());
            out.push(b'=');
        }
        match value {
            Value::Text(text) => word(out, text),
            Value::Bytes(bytes) => word(out, &String::from_utf8_lossy(bytes)),
            Value::Number(value) => number(out, value),
            Value::Millis(duration) => millis(out, duration),
            Value::TraceId(id) => trace_id(out, id),
            Value::Address(at) => address(out, at),
        }
    });
    out.push(b'\n');
}

/// As it is if that is one plain word, else in quotes with escapes.
fn word(out: &mut Vec<u8>, text: &str) {
    let is_word = |c: char| {
        c.is_ascii_graphic() && !matches!(c, '"' | '\\')
            || !c.is_ascii() && shown(c) && !c.is_whitespace()
    };
    if !text.is_empty() && text.chars().all(is_word) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    for c in text.chars() {
        if shown(c) {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            print(out, format_args!("{}", c.escape_debug()));
        }
    }
    out.push(b'"');
}

/// True unless Rust escapes it: control characters, direction marks, quotes and backslashes are.
fn shown(c: char) -> bool {
    c == '\'' || c.escape_debug().len() == 1
}

/// `12`, `12.5`, `0.043`: no trailing zeros, so that it is short and valid JSON.
fn millis(out: &mut Vec<u8>, duration: Duration) {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    number(out, micros / 1_000);
    let rest = micros % 1_000;
    if rest != 0 {
        let digits = [rest / 100, rest / 10 % 10, rest % 10].map(|digit| b'0' + digit as u8);
        out.push(b'.');
        out.extend_from_slice(&digits);
        while out.last() == Some(&b'0') {
            out.pop();
        }
    }
}

// What follows avoids `write!`, which costs several times as much for these, on every request.

fn number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn trace_id(out: &mut Vec<u8>, id: u128) {
    let mut digits = [0; 32];
    hex::write(&mut digits, id);
    out.extend_from_slice(&digits);
}

fn address(out: &mut Vec<u8>, address: SocketAddr) {
    let SocketAddr::V4(v4) = address else {
        return print(out, format_args!("{address}"));
    };
    for (octet, end) in v4.ip().octets().into_iter().zip(*b"...:") {
        number(out, octet.into());
        out.push(end);
    }
    number(out, v4.port().into());
}

fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    write(out);
    out.push(b'"');
}

fn print(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a Vec grows");
}
