//! Which headers go, which stay, and how many there may be: tables of what came and what is left.
//!
//! HTTP/2 requests that an HTTP/1 parser would read in another way are among them.

use super::*;

fn map(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).expect("a name"),
            HeaderValue::from_str(value).expect("a value"),
        );
    }
    headers
}

#[test]
fn hop_by_hop_headers_go_and_the_rest_stays() {
    for (given, left, upgrade) in [
        (vec![("accept", "*/*")], vec!["accept"], None),
        (vec![("connection", "close"), ("keep-alive", "5"), ("a", "1")], vec!["a"], None),
        (
            vec![("connection", "x-a, X-B"), ("x-a", "1"), ("x-b", "1"), ("x-c", "1")],
            vec!["x-c"],
            None,
        ),
        (
            vec![
                ("connection", "host, x-outrigger-peer"),
                ("host", "a"),
                ("x-outrigger-peer", "p"),
            ],
            vec!["host", "x-outrigger-peer"],
            None,
        ),
        (vec![("te", "trailers"), ("a", "1")], vec!["a", "te"], None),
        (vec![("te", "gzip;q=0.5, trailers")], vec!["te"], None),
        (vec![("te", "gzip")], vec![], None),
        (vec![("connection", "Upgrade"), ("upgrade", "websocket")], vec![], Some("websocket")),
        (
            vec![
                ("connection", "upgrade, http2-settings"),
                ("upgrade", "h2c"),
                ("http2-settings", "AA"),
            ],
            vec![],
            None,
        ),
        (vec![("upgrade", "websocket")], vec![], None),
        (
            vec![("connection", "content-length"), ("content-length", "3")],
            vec!["content-length"],
            None,
        ),
    ] {
        let mut headers = map(&given);
        let seen = Seen::scan(&headers);
        let asked = strip_hop_by_hop(&mut headers, seen);
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, left, "{given:?}");
        assert_eq!(asked.as_ref().and_then(|v| v.to_str().ok()), upgrade, "{given:?}");
    }
}

#[test]
fn names_that_pass_for_ours_go() {
    let ours = ["x_outrigger_peer", "x-outrigger_peer", "x_outrigger-http", "x-outrigger-a_b"];
    let others = ["x-outrigger-peer", "x_outrigger", "x_outrigger_", "x_outriggers_peer", "a_b"];
    for (names, is_gone) in [(&ours[..], true), (&others[..], false)] {
        for name in names {
            let mut headers = map(&[(name, "1"), (name, "2"), ("a", "3")]);
            assert_eq!(Seen::scan(&headers).has(Seen::ALIAS), is_gone, "{name}");
            strip_aliases(&mut headers);
            assert_eq!(headers.get(*name).is_none(), is_gone, "{name}");
            assert_eq!(headers["a"], "3");
        }
    }
}

#[test]
fn http2_requests_have_so_many_headers_and_a_cookie() {
    let many = |name: &str, count| vec![(name.to_owned(), "a=b"); count];
    let rows = [
        (many("x", 100), 0, Some(100)),
        (many("x", 101), 0, None),
        (many("x", 101), 1, Some(101)),
        (many("cookie", 1_500), 0, Some(1)),
        ([many("x", 99), many("cookie", 1_500)].concat(), 0, Some(100)),
        ([many("x", 100), many("cookie", 2)].concat(), 0, None),
        ([many("x", 50), many("cookie", 50)].concat(), 0, Some(100)),
    ];
    for (lines, added, left) in rows {
        let lines: Vec<(&str, &str)> = lines.iter().map(|(n, v)| (n.as_str(), *v)).collect();
        let mut parts = http::Request::new(()).into_parts().0;
        parts.headers = map(&lines);
        let bound = bound_http2(&mut parts, added).map(|()| parts.headers.len());
        assert_eq!(bound.ok(), left, "{} lines", lines.len());
    }
}

#[test]
fn http2_requests_that_http1_would_read_otherwise_are_refused() {
    for (uri, method, host, fine) in [
        ("http://a.b/x", "GET", None, true),
        ("http://a.b/x", "GET", Some("a.b"), true),
        ("http://a.b/x", "GET", Some("A.B"), true),
        ("http://a.b/x", "GET", Some("c"), false),
        ("http://u@a.b/x", "GET", None, false),
        ("http://a.b:80/x", "GET", None, true),
        ("http://a.b:8x/x", "GET", None, false),
        ("http://a.b,c/x", "GET", None, false),
    ] {
        let mut builder = http::Request::builder().method(method).uri(uri);
        if let Some(host) = host {
            builder = builder.header("host", host);
        }
        let (parts, ()) = builder.body(()).expect("a request").into_parts();
        let seen = Seen::scan(&parts.headers);
        assert_eq!(check_http2(&parts, seen).is_ok(), fine, "{uri} {host:?}");
    }
}
