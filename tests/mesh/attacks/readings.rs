//! What came to the app, byte for byte, as parsers of different minds would read it.
//!
//! Written apart from the sidecar's own parser, and from the harness's: it forgives what servers in
//! the wild forgive. Where two readings of the same bytes differ, somebody could smuggle.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, PoisonError};

use crate::harness::{App, Wire};

/// The bytes of each connection, in their order.
#[derive(Clone, Default)]
pub struct Record(Arc<Mutex<Vec<Vec<u8>>>>);

struct Recorded {
    stream: TcpStream,
    record: Record,
    number: usize,
}

impl Record {
    /// An app that answers 200 to whatever it takes for a request.
    pub fn app(&self) -> App {
        let record = self.clone();
        App::raw(move |wire| {
            let number = record.with(|all| {
                all.push(Vec::new());
                all.len() - 1
            });
            let stream = Recorded { stream: wire.stream, record: record.clone(), number };
            let mut wire = Wire::over(stream);
            while wire.message(false).is_ok() && wire.try_send(App::answer("ok")).is_ok() {}
        })
    }

    pub fn all(&self) -> Vec<Vec<u8>> {
        self.with(|all| all.clone())
    }

    fn with<T>(&self, work: impl FnOnce(&mut Vec<Vec<u8>>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Read for Recorded {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.stream.read(into)?;
        self.record.with(|all| all[self.number].extend_from_slice(&into[..n]));
        Ok(n)
    }
}

impl Write for Recorded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// What a parser believes of a body's length, where more than one is said. A GET's body is one to all
/// of them, as RFC 9112 has it.
#[derive(Clone, Copy, Debug)]
pub enum Believes {
    Length,
    LastLength,
    Chunked,
}

pub const MINDS: [Believes; 3] = [Believes::Length, Believes::LastLength, Believes::Chunked];

/// The request lines that a parser of this mind finds.
pub fn lines(mut bytes: &[u8], believes: Believes) -> Vec<String> {
    let mut found = Vec::new();
    while let Some((head, rest)) = head(bytes) {
        let mut lines = head.iter().map(String::as_str);
        let Some(line) = lines.next() else { break };
        let fields: Vec<(String, &str)> = lines.filter_map(field).collect();
        found.push(line.to_owned());
        bytes = rest.get(body(&fields, rest, believes)..).unwrap_or_default();
    }
    found
}

/// A head's lines, whatever they end in, and what follows.
fn head(bytes: &[u8]) -> Option<(Vec<String>, &[u8])> {
    let mut lines = Vec::new();
    let mut rest = bytes;
    loop {
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let line = String::from_utf8_lossy(&rest[..end]).trim_end_matches('\r').to_owned();
        rest = &rest[end + 1..];
        match (line.is_empty(), lines.is_empty()) {
            (true, true) => {}
            (true, false) => return Some((lines, rest)),
            (false, _) => lines.push(line),
        }
    }
}

/// A name without what is around it, in lower case.
fn field(line: &str) -> Option<(String, &str)> {
    let (name, value) = line.split_once(':')?;
    Some((name.trim().to_ascii_lowercase(), value.trim()))
}

fn body(fields: &[(String, &str)], rest: &[u8], believes: Believes) -> usize {
    let of = |wanted: &str| {
        let wanted = wanted.to_owned();
        fields.iter().filter(move |(name, _)| *name == wanted).map(|(_, value)| *value)
    };
    let is_chunked = of("transfer-encoding").any(|v| v.to_ascii_lowercase().contains("chunked"));
    let length = |value: &str| value.split(',').next()?.trim().trim_start_matches('+').parse().ok();
    let first: Option<usize> = of("content-length").next().and_then(length);
    let last: Option<usize> = of("content-length").next_back().and_then(length);
    match believes {
        Believes::Length if first.is_some() => first.unwrap_or_default(),
        Believes::LastLength if last.is_some() => last.unwrap_or_default(),
        _ if is_chunked => chunks(rest),
        _ => first.unwrap_or_default(),
    }
}

/// How long a chunked body is; all, where it has no end.
fn chunks(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let Some(end) = bytes[at..].iter().position(|byte| *byte == b'\n') else {
            return bytes.len();
        };
        let line = String::from_utf8_lossy(&bytes[at..at + end]).into_owned();
        let digits = line.split(';').next().unwrap_or_default().trim();
        at += end + 1;
        match usize::from_str_radix(digits, 16) {
            Ok(0) => break,
            Ok(size) => at = (at + size + 2).min(bytes.len()),
            Err(_) => return bytes.len(),
        }
    }
    // The trailers, to an empty line.
    while let Some(end) = bytes[at..].iter().position(|byte| *byte == b'\n') {
        let is_last = matches!(&bytes[at..at + end], b"" | b"\r");
        at += end + 1;
        if is_last {
            break;
        }
    }
    at
}

#[test]
fn minds_differ_where_a_request_may_be_read_in_two_ways() {
    let smuggled = "GET /admin HTTP/1.1\r\nhost: a\r\n\r\n";
    let clear = format!(
        "POST /a HTTP/1.1\r\ncontent-length: {}\r\n\r\n{smuggled}GET /b HTTP/1.1\r\n\r\n",
        smuggled.len()
    );
    for mind in MINDS {
        let found = lines(clear.as_bytes(), mind);
        assert_eq!(found, ["POST /a HTTP/1.1", "GET /b HTTP/1.1"], "{mind:?}");
    }
    let two_ways = format!(
        "POST /a HTTP/1.1\r\ncontent-length: {}\r\ntransfer-encoding : xchunked\r\n\r\n0\r\n\r\n{smuggled}",
        smuggled.len() + 5
    );
    assert_eq!(lines(two_ways.as_bytes(), Believes::Length).len(), 1);
    assert_eq!(lines(two_ways.as_bytes(), Believes::Chunked).len(), 2);
}
