//! Every rule by example ([`cases`]), and what must hold for any bytes ([`properties`]).
//!
//! Here: how a case is run, whole and in every cut, and the questions a connection asks the guard.

mod body_cases;
mod cases;
mod head_cases;
mod properties;

use super::{Guard, Rule, Then};

/// What a guard did with a whole input.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    passed: usize,
    requests: u64,
    then: Then,
    in_head: bool,
    in_body: bool,
}

/// Feeds `input` in pieces that end at `cuts` (ascending) and at its end, and checks on the way
/// that nothing passes after a stop.
fn run(input: &[u8], cuts: impl IntoIterator<Item = usize>) -> Run {
    let mut guard = Guard::new();
    let mut passed = 0;
    let mut then = Then::More;
    for end in cuts.into_iter().chain([input.len()]) {
        let verdict = guard.check(&input[passed..end]);
        if then != Then::More {
            assert_eq!((verdict.pass, verdict.then), (0, then), "changed its mind");
        }
        passed += verdict.pass;
        then = verdict.then;
    }
    let (in_head, in_body) = (guard.in_head(), guard.in_body());
    Run { passed, requests: guard.requests(), then, in_head, in_body }
}

fn refusal(guard: &mut Guard, buf: &[u8]) -> Option<Rule> {
    match guard.check(buf).then {
        Then::Refuse(violation) => Some(violation.rule()),
        Then::More | Then::Hold => None,
    }
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const CONNECT: &[u8] = b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n";
const UPGRADE: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nContent-Length: 3\r\n\r\nabc";

#[test]
fn a_tunnel_passes_everything() {
    for request in [CONNECT, UPGRADE] {
        let mut guard = Guard::new();
        let input = [request, b"\x16\x03\x01\0\n\n"].concat();
        let verdict = guard.check(&input);
        assert_eq!((verdict.pass, verdict.then), (request.len(), Then::Hold));
        guard.tunnel();
        let verdict = guard.check(&input[request.len()..]);
        assert_eq!((verdict.pass, verdict.then), (6, Then::More));
        assert_eq!(guard.requests(), 1);
    }
}

#[test]
fn a_refused_tunnel_goes_on_as_http() {
    for request in [CONNECT, UPGRADE] {
        let mut guard = Guard::new();
        let input = [request, GET].concat();
        assert_eq!(guard.check(&input).pass, request.len());
        assert_eq!(guard.check(GET).pass, 0);
        guard.resume();
        let verdict = guard.check(GET);
        assert_eq!((verdict.pass, verdict.then), (GET.len(), Then::More));
        assert_eq!(guard.requests(), 2);
        assert_eq!(refusal(&mut guard, b"\n"), Some(Rule::BareLf));
    }
}

#[test]
fn an_answer_before_the_body_ended_decides_what_follows_it() {
    let (early, late) = UPGRADE.split_at(UPGRADE.len() - 1);
    let mut guard = Guard::new();
    assert_eq!(guard.check(early).pass, early.len());
    guard.tunnel();
    assert_eq!(guard.check(&[late, b"\0\0"].concat()).pass, 3);

    let mut guard = Guard::new();
    assert_eq!(guard.check(early).pass, early.len());
    guard.resume();
    assert_eq!(guard.check(&[late, GET].concat()).pass, 1 + GET.len());
    assert_eq!(guard.requests(), 2);
}

#[test]
fn nothing_opens_a_tunnel_but_a_request_for_one() {
    for before in
        [&b""[..], b"GET / HT", GET, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n"]
    {
        let mut guard = Guard::new();
        let pass = guard.check(before).pass;
        guard.tunnel();
        let rest = [&before[pass..], b"x\n\0"].concat();
        assert!(refusal(&mut guard, &rest).is_some(), "{}", before.escape_ascii());
        guard.tunnel();
        guard.resume();
        assert!(refusal(&mut guard, GET).is_some(), "a refusal is final");
    }
}

#[test]
fn knows_where_in_a_message_it_is() {
    let rows: [(&[u8], bool, bool); 12] = [
        (b"", false, false),
        (b"\r", false, false),
        (b"\r\n", false, false),
        (b"\r\nG", true, false),
        (b"GET / HTTP/1.1\r\n", true, false),
        (GET, false, false),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n", false, false),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\r\nG", true, false),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na", false, true),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab", false, false),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", false, true),
        (CONNECT, false, false),
    ];
    for (input, in_head, in_body) in rows {
        let run = run(input, []);
        assert_eq!((run.in_head, run.in_body), (in_head, in_body), "{}", input.escape_ascii());
    }
}

#[test]
fn an_idle_connection_keeps_little() {
    // One a connection; 10,000 of them are to stay within a few MiB.
    assert!(size_of::<Guard>() <= 192, "{}", size_of::<Guard>());
}
