//! Our member of `tracestate`: `or=a:<n>` says that the request is attempt `n` of a caller.
//! It keeps retries from multiplying along a chain whose apps pass trace headers on: a request that
//! carries it is not retried again. Others' members are kept as they are, within the limits of
//! <https://www.w3.org/TR/trace-context-2/#tracestate-limits>; `outbound` calls this on retries.

use http::{HeaderMap, HeaderName, HeaderValue};

pub(super) static TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

const MEMBERS: usize = 32;
const CHARACTERS: usize = 512;
/// Members longer than this go first where something must.
const LONG_MEMBER: usize = 128;

/// The attempt that `tracestate` speaks of, if it does.
pub fn attempt(headers: &HeaderMap) -> Option<u32> {
    let ours = members(headers).find_map(|member| member.strip_prefix("or="))?;
    ours.split(';').find_map(|part| part.strip_prefix("a:"))?.parse().ok()
}

/// Puts `or=a:<n>` in front of all members, in place of an earlier one, in one header line. Where
/// the limits are exceeded long members leave first, then the rightmost.
pub fn set_attempt(headers: &mut HeaderMap, n: u32) {
    let mut text = format!("or=a:{n}");
    let others = || members(headers).filter(|member| !member.starts_with("or="));
    let length = |all: usize, member: &str| all + 1 + member.len();
    let too_long = others().fold(text.len(), length) > CHARACTERS;
    for member in
        others().filter(|member| !too_long || member.len() <= LONG_MEMBER).take(MEMBERS - 1)
    {
        if text.len() + 1 + member.len() > CHARACTERS {
            break;
        }
        text.push(',');
        text.push_str(member);
    }
    let value = HeaderValue::try_from(text).expect("its parts were header text");
    headers.insert(&TRACESTATE, value);
}

/// The members of all lines, in order; empty ones, which are legal, and malformed ones left out.
fn members(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(&TRACESTATE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|member| member.trim_matches([' ', '\t']))
        .filter(|member| member.split_once('=').is_some_and(|(key, _)| !key.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::trace_context::tests::{headers, lines};

    #[test]
    fn attempts_are_put_in_front_and_read_back() {
        let table: [(&[&str], &str); 7] = [
            (&[], "or=a:2"),
            (&["a=1"], "or=a:2,a=1"),
            (&["a=1,b=2", " c=3\t"], "or=a:2,a=1,b=2,c=3"),
            (&["a=1,or=a:7,b=2"], "or=a:2,a=1,b=2"),
            (&["or=a:7", "or=a:8"], "or=a:2"),
            (&[",a=1,, ,junk,=x"], "or=a:2,a=1"),
            (&["ora=1,orr@or=2"], "or=a:2,ora=1,orr@or=2"),
        ];
        for (before, after) in table {
            let pairs: Vec<_> = before.iter().map(|text| ("tracestate", *text)).collect();
            let mut map = headers(&pairs);
            set_attempt(&mut map, 2);
            assert_eq!(lines(&map), [("tracestate", after)]);
            assert_eq!(attempt(&map), Some(2));
        }
    }

    #[test]
    fn attempts_of_others() {
        let table = [
            ("a=1", None),
            ("a=1,or=a:3", Some(3)),
            ("or=x:1;a:4", Some(4)),
            ("or=a:", None),
            ("or=a:-1", None),
            ("or=3", None),
            ("xor=a:3", None),
            ("a=or=a:3", None),
        ];
        for (text, expected) in table {
            assert_eq!(attempt(&headers(&[("tracestate", text)])), expected, "{text}");
        }
        assert_eq!(attempt(&HeaderMap::new()), None);
    }

    #[test]
    fn tracestate_limits() {
        let many = |count: usize, length: usize| -> Vec<String> {
            (0..count).map(|n| format!("k{n:02}={}", "x".repeat(length - 4))).collect()
        };
        let fat = format!("fat={}", "x".repeat(125)); // 129
        let table = [
            // 32 members at most, ours included.
            (many(31, 5), 31),
            (many(32, 5), 31),
            // 6 + n × 23 ≤ 512.
            (many(22, 22), 22),
            (many(23, 22), 22),
            // One long member stays where there is room, and is the first to go where there is not.
            ([vec![fat.clone()], many(15, 22)].concat(), 16),
            ([vec![fat.clone()], many(17, 22)].concat(), 17),
        ];
        for (members, kept) in table {
            let mut map = headers(&[("tracestate", &members.join(","))]);
            set_attempt(&mut map, 2);
            let text = lines(&map)[0].1.to_owned();
            let left: Vec<_> = text.split(',').skip(1).collect();
            let skip = usize::from(members[0] == fat && kept == members.len() - 1);
            assert_eq!(left, members[skip..skip + kept], "{text}");
            assert!(text.len() <= 512);
        }
    }
}
