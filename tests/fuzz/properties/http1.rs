//! The guard of HTTP/1: how the bytes were cut changes nothing, and what it passes is framed by a
//! second parser, httparse, exactly as it was framed here.

use outrigger::http::guard::{Guard, Then, Verdict};

pub fn hold(data: &[u8]) {
    let whole = Read::of(data, data.len().max(1));
    for step in [1, 7] {
        let cut = Read::of(data, step);
        assert_eq!(cut.passed, whole.passed, "what passes depends on the cuts");
        assert_eq!(cut.end, whole.end, "the verdict depends on the cuts");
        assert_eq!(cut.requests, whole.requests, "the count depends on the cuts");
    }
    assert_eq!(count(&whole.passed), whole.requests, "a second parser frames it otherwise");
}

/// What became of a connection's bytes.
struct Read {
    passed: Vec<u8>,
    end: Then,
    requests: u64,
}

impl Read {
    /// As they come `step` at a time; what is held behind an Upgrade stays HTTP.
    fn of(data: &[u8], step: usize) -> Self {
        let mut guard = Guard::new();
        let (mut passed, mut held) = (Vec::new(), Vec::new());
        let mut end = Then::More;
        for piece in data.chunks(step) {
            held.extend_from_slice(piece);
            loop {
                let Verdict { pass, then } = guard.check(&held);
                passed.extend(held.drain(..pass));
                end = then;
                match then {
                    Then::Hold => guard.resume(),
                    Then::More | Then::Refuse(_) => break,
                }
            }
        }
        Self { passed, end, requests: guard.requests() }
    }
}

/// How many requests httparse finds in what was passed.
fn count(mut passed: &[u8]) -> u64 {
    let mut requests = 0;
    while !passed.is_empty() {
        let mut fields = [httparse::EMPTY_HEADER; 128];
        let mut request = httparse::Request::new(&mut fields);
        let head = match request.parse(passed) {
            Ok(httparse::Status::Complete(head)) => head,
            // The empty line that may stand before a head.
            Ok(httparse::Status::Partial) if passed == b"\r\n" => break,
            other => panic!("a head was passed that is none: {other:?}"),
        };
        requests += 1;
        let value = |name: &str| {
            let mut found = request.headers.iter().filter(|h| h.name.eq_ignore_ascii_case(name));
            let first = found.next().map(|field| field.value);
            assert!(found.next().is_none(), "two fields {name} were passed");
            first
        };
        let (length, coding) = (value("content-length"), value("transfer-encoding"));
        assert!(length.is_none() || coding.is_none(), "two framings were passed");
        assert!(request.version != Some(1) || value("host").is_some(), "no host was passed");
        let body = &passed[head..];
        passed = match (length, coding) {
            (Some(length), _) => {
                let length = std::str::from_utf8(length).expect("digits").trim();
                body.get(length.parse().expect("a length")..).unwrap_or_default()
            }
            (_, Some(_)) => after_chunks(body),
            _ => body,
        };
    }
    requests
}

/// What follows a chunked body; empty where it does not end.
fn after_chunks(mut body: &[u8]) -> &[u8] {
    loop {
        match httparse::parse_chunk_size(body) {
            Ok(httparse::Status::Complete((line, 0))) => return after_trailers(&body[line..]),
            Ok(httparse::Status::Complete((line, size))) => {
                let size = usize::try_from(size).unwrap_or(usize::MAX);
                let Some(rest) = body[line..].get(size..) else { return b"" };
                match rest {
                    [b'\r', b'\n', after @ ..] => body = after,
                    [] | [b'\r'] => return b"",
                    _ => panic!("a chunk was passed that does not end"),
                }
            }
            Ok(httparse::Status::Partial) => return b"",
            Err(error) => panic!("a chunk size was passed that is none: {error}"),
        }
    }
}

fn after_trailers(body: &[u8]) -> &[u8] {
    let mut fields = [httparse::EMPTY_HEADER; 128];
    match httparse::parse_headers(body, &mut fields) {
        Ok(httparse::Status::Complete((bytes, _))) => &body[bytes..],
        Ok(httparse::Status::Partial) => b"",
        Err(error) => panic!("trailers were passed that are none: {error}"),
    }
}
