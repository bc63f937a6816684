//! What holds for any bytes: cuts don't matter, heads pass whole, valid requests pass, and what
//! passes the parser behind can read.

use super::super::section::Section;
use super::super::{Guard, Then};
use super::run;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// A second, simple reading of what was passed: how many requests it holds. Panics where it ends
/// inside a head.
fn count_requests(mut passed: &[u8]) -> u64 {
    let mut requests = 0;
    while !passed.is_empty() {
        passed = passed.strip_prefix(b"\r\n").unwrap_or(passed);
        let head = find(passed, b"\r\n\r\n").expect("a part of a head was passed");
        let text = String::from_utf8_lossy(&passed[..head]).to_ascii_lowercase();
        let value = |name: &str| {
            let line = text.split("\r\n").find(|line| line.starts_with(name))?;
            Some(line[name.len()..].trim().to_owned())
        };
        let body = &passed[head + 4..];
        requests += 1;
        passed = match (value("content-length:"), value("transfer-encoding:")) {
            (Some(length), None) => {
                let length = length.parse().expect("a length");
                body.get(length..).unwrap_or_default()
            }
            (None, Some(_)) => after_chunks(body),
            (None, None) => body,
            (Some(_), Some(_)) => panic!("two framings were passed"),
        };
    }
    requests
}

fn after_chunks(mut body: &[u8]) -> &[u8] {
    loop {
        let Some(line) = find(body, b"\r\n") else {
            return b"";
        };
        let text = std::str::from_utf8(&body[..line]).expect("a size");
        let size = text.split(';').next().expect("split gives one");
        let size = usize::from_str_radix(size, 16).expect("a size");
        if size == 0 {
            let end = find(&body[line..], b"\r\n\r\n");
            return end.map_or(b"", |end| &body[line + end + 4..]);
        }
        let Some(rest) = body.get(line + 2 + size..) else {
            return b"";
        };
        body = rest.strip_prefix(b"\r\n").unwrap_or_default();
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn cuts(len: usize, cuts: &[Index]) -> Vec<usize> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(len + 1)).collect();
    cuts.sort_unstable();
    cuts
}

/// Pieces of requests in any order, now and then a random byte.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let piece = select(vec![
        "GET / HTTP/1.1\r\nHost: a\r\n",
        "GET / HTTP/1.0\r\n",
        "POST http://a/ HTTP/1.1\r\n",
        "OPTIONS * HTTP/1.1\r\n",
        "Host: a\r\n",
        "Content-Length: 3\r\n",
        "Content-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\n",
        "X-Y: z\r\n",
        "\r\n",
        "\r\n",
        "abc",
        "3\r\nabc\r\n",
        "0\r\n\r\n",
        "0;a\r\n",
        "X: ",
        " ",
        "\n",
        "\r",
    ]);
    let piece = piece.prop_map(|piece| piece.as_bytes().to_vec());
    let pieces = prop_oneof![20 => piece, 1 => vec(any::<u8>(), 1..3)];
    vec(pieces, 0..24).prop_map(|pieces| pieces.concat())
}

fn field() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9-]{0,5}-[A-Z]{1,8}: {0,2}[!-~]{0,20}[ \t]?"
}

fn chunk() -> impl Strategy<Value = Vec<u8>> {
    let extension = "(;[a-z]{1,4}(=([a-z]{1,4}|\"[ a-z]{0,4}\"))?){0,2}";
    (vec(any::<u8>(), 1..40), extension).prop_map(|(data, extension)| {
        [format!("{:x}{extension}\r\n", data.len()).as_bytes(), &data, b"\r\n"].concat()
    })
}

/// The framing field and the body of a request.
fn body() -> impl Strategy<Value = (String, Vec<u8>)> {
    let plain = vec(any::<u8>(), 0..60)
        .prop_map(|body| (format!("content-length:{}\r\n", body.len()), body));
    let chunked = (vec(chunk(), 0..4), vec(field(), 0..3)).prop_map(|(chunks, trailers)| {
        let trailers: String = trailers.iter().map(|field| format!("{field}\r\n")).collect();
        let end = format!("0\r\n{trailers}\r\n");
        ("Transfer-Encoding: Chunked\r\n".to_owned(), [&chunks.concat(), end.as_bytes()].concat())
    });
    prop_oneof![Just((String::new(), Vec::new())), plain, chunked]
}

fn valid_request() -> impl Strategy<Value = Vec<u8>> {
    let target = "(/[a-zA-Z0-9%._~!$&'()*+,;=:@|-]{0,20}){1,3}([?][a-z0-9=&/?%]{0,20})?";
    let line = ("(\r\n)?", "[A-Z]{1,6}", "(http://a:80)?", target);
    (line, vec(field(), 0..6), vec(field(), 0..6), body()).prop_map(
        |((empty, method, origin, target), before, after, (framing, body))| {
            let lines = |fields: Vec<String>| {
                fields.join("\r\n") + if fields.is_empty() { "" } else { "\r\n" }
            };
            let head = format!(
                "{empty}X{method} {origin}{target} HTTP/1.1\r\n{}Host: A\r\n{framing}{}\r\n",
                lines(before),
                lines(after)
            );
            [head.as_bytes(), &body].concat()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn random_bytes_never_pass_a_part_of_a_head(input in vec(any::<u8>(), 0..200)) {
        let run = run(&input, []);
        prop_assert_eq!(count_requests(&input[..run.passed]), run.requests);
    }

    #[test]
    fn soup_never_passes_a_part_of_a_head(input in soup(), at in vec(any::<Index>(), 0..6)) {
        let whole = run(&input, []);
        prop_assert_eq!(run(&input, cuts(input.len(), &at)), whole);
        let whole = run(&input, []);
        prop_assert_eq!(count_requests(&input[..whole.passed]), whole.requests);
    }

    #[test]
    fn valid_requests_pass_whole(
        requests in vec(valid_request(), 1..4),
        at in vec(any::<Index>(), 0..6),
    ) {
        let input = requests.concat();
        let run = run(&input, cuts(input.len(), &at));
        prop_assert_eq!(run.then, Then::More);
        prop_assert_eq!((run.passed, run.requests), (input.len(), requests.len() as u64));
        prop_assert!(!run.in_head && !run.in_body);
    }
}

/// The parser behind reads methods, targets and names with these types; where they refused
/// something, it would answer by itself.
#[test]
fn what_passes_the_parser_can_read() {
    let passes = |head: &[u8]| Guard::new().check(head).pass == head.len();
    let mut passed = 0;
    for byte in 0..=u8::MAX {
        for (before, after) in [("/a", "b"), ("/?a", "b"), ("http://a", "/"), ("/", ""), ("", "")] {
            let target = [before.as_bytes(), &[byte], after.as_bytes()].concat();
            if passes(&[b"GET ", &target[..], b" HTTP/1.0\r\n\r\n"].concat()) {
                passed += 1;
                assert!(::http::Uri::try_from(&target[..]).is_ok(), "{}", target.escape_ascii());
            }
        }
        let connect = [b"a", &[byte][..], b"b:80"].concat();
        if Guard::new().check(&[b"CONNECT ", &connect[..], b" HTTP/1.0\r\n\r\n"].concat()).then
            == Then::Hold
        {
            assert!(::http::Uri::try_from(&connect[..]).is_ok(), "{}", connect.escape_ascii());
        }
        if passes(&[&[byte], &b" / HTTP/1.0\r\n\r\n"[..]].concat()) {
            assert!(::http::Method::from_bytes(&[byte]).is_ok(), "{byte}");
        }
        if passes(&[&b"GET / HTTP/1.0\r\n"[..], &[byte], &b": \r\n\r\n"[..]].concat()) {
            assert!(::http::HeaderName::from_bytes(&[byte]).is_ok(), "{byte}");
        }
        if passes(&[&b"GET / HTTP/1.0\r\na: "[..], &[byte], &b"\r\n\r\n"[..]].concat()) {
            assert!(::http::HeaderValue::from_bytes(&[byte]).is_ok(), "{byte}");
        }
    }
    assert!(passed > 300, "{passed}");
}

/// Were it to look at a byte twice, a head sent byte by byte would cost the square of its length.
#[test]
fn looks_for_a_line_end_once() {
    let mut section = Section::default();
    assert_eq!(section.line(b"xxxx"), Ok(None));
    assert_eq!(section.line(b"\n\n\n\nx"), Ok(None), "looked back");
    assert_eq!(section.line(b"xxxxx\r\ny"), Ok(Some(0..5)));
    assert_eq!(section.line(b"\n\n\n\n\n\n\nyy"), Ok(None), "looked back");
}
