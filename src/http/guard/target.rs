//! The request line: a method, a target in the one form that fits the method, a version.
//!
//! What passes here, [`http::Uri`] and [`http::Method`] read too (a test keeps it), so that the
//! parser behind never refuses a request line on its own, without a reason.

use super::authority::Authority;
use super::section::{PATH, QUERY, TOKEN, control_rule, run};
use super::violation::Rule;
use memchr::memchr;
use std::ops::Range;

/// What the rest of the head is measured by.
#[derive(Clone, Debug)]
pub(super) struct RequestLine {
    pub http_10: bool,
    pub connect: bool,
    /// Where the two stand in the line.
    pub method: Range<usize>,
    pub whole_target: Range<usize>,
    pub target: Option<TargetHost>,
}

/// The host that a target names.
#[derive(Clone, Debug)]
pub(super) struct TargetHost {
    /// Where it stands in the line.
    pub at: Range<usize>,
    /// The port that a Host header without one means.
    pub default_port: u16,
}

impl RequestLine {
    /// Reads the line, given without its CRLF.
    pub(super) fn parse(line: &[u8]) -> Result<Self, Rule> {
        let Some(space) = memchr(b' ', line) else {
            return Err(bad_line(line));
        };
        if space == 0 {
            return Err(Rule::RequestLine);
        }
        if run(line, TOKEN) != space {
            return Err(bad_method(&line[..space]));
        }
        let http_10 = line.ends_with(b" HTTP/1.0");
        if !http_10 && !line.ends_with(b" HTTP/1.1") {
            return Err(bad_version(&line[space + 1..]));
        }
        let target_end = line.len() - b" HTTP/1.1".len();
        if target_end <= space + 1 {
            return Err(Rule::RequestLine);
        }
        let (method, target) = (&line[..space], &line[space + 1..target_end]);
        let connect = method == b"CONNECT";
        let host = target_host(method, target)?.map(|host| TargetHost {
            at: host.at.start + space + 1..host.at.end + space + 1,
            ..host
        });
        let (method, whole_target) = (0..space, space + 1..target_end);
        Ok(Self { http_10, connect, method, whole_target, target: host })
    }
}

/// Checks the target's form against the method; the host it names, if it names one.
fn target_host(method: &[u8], target: &[u8]) -> Result<Option<TargetHost>, Rule> {
    if method == b"CONNECT" {
        let port = Authority::parse(target).and_then(|authority| authority.port());
        let default_port = port.ok_or_else(|| bad_target(target, Rule::ConnectTarget))?;
        return Ok(Some(TargetHost { at: 0..target.len(), default_port }));
    }
    match target {
        [b'/', ..] => path_and_query(target).map(|()| None),
        b"*" if method == b"OPTIONS" => Ok(None),
        b"*" => Err(Rule::AsteriskForm),
        _ => absolute(target).map(Some),
    }
}

fn path_and_query(bytes: &[u8]) -> Result<(), Rule> {
    let path = run(bytes, PATH);
    let valid = match bytes.get(path) {
        None => true,
        Some(b'?') => run(&bytes[path + 1..], QUERY) == bytes.len() - path - 1,
        Some(_) => false,
    };
    if valid { Ok(()) } else { Err(bad_target(bytes, Rule::TargetByte)) }
}

/// `http://host:port/path`. Other schemes are refused: nothing behind could serve them.
fn absolute(target: &[u8]) -> Result<TargetHost, Rule> {
    let starts = |scheme: &[u8]| {
        target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    let (start, default_port) = match () {
        () if starts(b"http://") => (7, 80),
        () if starts(b"https://") => (8, 443),
        () if Authority::parse(target).is_some() => return Err(Rule::AuthorityForm),
        () => return Err(bad_target(target, Rule::TargetForm)),
    };
    let rest = &target[start..];
    let host = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    if Authority::parse(&rest[..host]).is_none() {
        return Err(bad_target(&rest[..host], Rule::TargetAuthority));
    }
    path_and_query(&rest[host..])?;
    Ok(TargetHost { at: start..start + host, default_port })
}

/// The rule that the first bad byte of a target breaks, or else `rule`.
#[cold]
fn bad_target(target: &[u8], rule: Rule) -> Rule {
    let broken = target.iter().find_map(|&byte| match byte {
        b' ' | b'\t' => Some(Rule::RequestLine),
        b'#' => Some(Rule::Fragment),
        0x80.. => Some(Rule::TargetByte),
        _ => control_rule(byte),
    });
    broken.unwrap_or(rule)
}

#[cold]
fn bad_method(method: &[u8]) -> Rule {
    match method.iter().find_map(|&byte| control_rule(byte)) {
        Some(rule) => rule,
        None if method.contains(&b'\t') => Rule::RequestLine,
        None => Rule::Method,
    }
}

/// For a line without a space.
#[cold]
fn bad_line(line: &[u8]) -> Rule {
    line.iter().find_map(|&byte| control_rule(byte)).unwrap_or(Rule::RequestLine)
}

/// For what follows the method when it doesn't end in a version that is served.
#[cold]
fn bad_version(rest: &[u8]) -> Rule {
    let blanks = rest.iter().filter(|byte| matches!(byte, b' ' | b'\t')).count();
    let three_parts = blanks == 1 && !rest.starts_with(b" ") && !rest.ends_with(b" ");
    match rest.iter().find_map(|&byte| control_rule(byte)) {
        Some(rule) => rule,
        None if three_parts && !rest.contains(&b'\t') => Rule::Version,
        None => Rule::RequestLine,
    }
}
