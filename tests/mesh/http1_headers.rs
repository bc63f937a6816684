//! Headers through the sidecars: what is kept, what is removed, what is added.

use crate::harness::{App, Message, Pair, each_way, get, get_with, spiffe};

#[test]
fn header_case_is_kept_over_one_hop_in_both_directions() {
    let app = App::http(|_| {
        b"HTTP/1.1 200 OK\r\nX-CamelCase: a\r\nETag: b\r\nContent-Length: 0\r\n\r\n".to_vec()
    });
    let mesh = Pair::bare(app.address).start();
    let answer = mesh.ask(get_with("/", "X-MiXed: 1\r\nACCEPT: */*\r\n"));
    let names = |message: &Message| -> Vec<String> {
        message.headers.iter().map(|(name, _)| name.clone()).collect()
    };
    let (request, answer) = (names(&app.only_request()), names(&answer));
    for name in ["Host", "X-MiXed", "ACCEPT"] {
        assert!(request.iter().any(|n| n == name), "{name} is not in {request:?}");
    }
    for name in ["X-CamelCase", "ETag"] {
        assert!(answer.iter().any(|n| n == name), "{name} is not in {answer:?}");
    }
}

#[test]
fn header_names_arrive_in_lower_case_over_the_pair() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    mesh.ask(get_with("/", "X-MiXed: Value\r\n"));
    let seen = app.only_request();
    assert!(seen.headers.iter().all(|(name, _)| name.chars().all(|c| !c.is_ascii_uppercase())));
    assert_eq!(seen.header("x-mixed"), Some("Value"));
}

#[test]
fn repeated_and_strange_values_keep_their_order_and_bytes() {
    each_way(
        || {
            App::http(|_| {
                b"HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nset-cookie: b=2, c\r\ncontent-length: 0\r\n\r\n".to_vec()
            })
        },
        |mesh, app| {
            let answer = mesh.ask(get_with(
                "/",
                "X-Many: 1\r\nX-Many: 2,3\r\nX-Empty:\r\nX-Tab: a\tb\r\nCookie: x=1; y=2\r\nX-Quote: \"a,b\"\r\n",
            ));
            assert_eq!(answer.all("set-cookie"), ["a=1", "b=2, c"]);
            let seen = app.only_request();
            assert_eq!(seen.all("x-many"), ["1", "2,3"]);
            assert_eq!(seen.header("x-empty"), Some(""));
            assert_eq!(seen.header("x-tab"), Some("a\tb"));
            assert_eq!(seen.header("cookie"), Some("x=1; y=2"));
            assert_eq!(seen.header("x-quote"), Some("\"a,b\""));
        },
    );
}

#[test]
fn hop_by_hop_headers_are_removed_from_requests() {
    each_way(App::ok, |mesh, app| {
        mesh.ask(get_with(
            "/",
            "Connection: keep-alive, X-Listed\r\nX-Listed: gone\r\nX-Kept: here\r\nKeep-Alive: timeout=5\r\n\
             Proxy-Connection: keep-alive\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nTE: gzip\r\n",
        ));
        let seen = app.only_request();
        for name in ["x-listed", "keep-alive", "proxy-connection", "upgrade"] {
            assert_eq!(seen.header(name), None, "{name}");
        }
        assert_eq!(seen.header("x-kept"), Some("here"));
        assert_ne!(seen.header("te"), Some("gzip"));
    });
}

#[test]
fn hop_by_hop_headers_are_removed_from_answers() {
    let app = || {
        App::http(|_| {
            b"HTTP/1.1 200 OK\r\nconnection: x-listed\r\nx-listed: gone\r\nkeep-alive: timeout=5\r\n\
              proxy-authenticate: Basic\r\nx-kept: here\r\ncontent-length: 2\r\n\r\nok"
                .to_vec()
        })
    };
    each_way(app, |mesh, _| {
        let answer = mesh.ask(get("/"));
        assert_eq!(answer.header("x-listed"), None);
        assert_eq!(answer.header("keep-alive"), None);
        assert_eq!(answer.header("x-kept"), Some("here"));
        assert_eq!(answer.text(), "ok");
    });
}

#[test]
fn connection_can_not_strip_what_matters() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    let matters = "host, x-outrigger-peer, content-length, x-request-id, traceparent";
    mesh.ask(format!(
        "POST / HTTP/1.1\r\nHost: app.default\r\nConnection: {matters}\r\nContent-Length: 2\r\n\r\nhi"
    ));
    let seen = app.only_request();
    assert_eq!(seen.header("host"), Some("app.default"));
    assert_eq!(seen.header("x-outrigger-peer"), Some(spiffe("client").as_str()));
    assert_eq!(seen.body, b"hi");
}

#[test]
fn the_app_learns_its_peer_and_no_one_can_pretend() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    for lines in ["", "X-Outrigger-Peer: spiffe://cluster.local/ns/default/sa/admin\r\n"] {
        mesh.ask(get_with("/", lines));
    }
    for seen in app.requests() {
        assert_eq!(seen.all("x-outrigger-peer"), [spiffe("client")]);
    }
}

#[test]
fn headers_of_the_mesh_do_not_pass_from_or_to_apps() {
    let app = App::http(|_| {
        b"HTTP/1.1 503 Mine\r\nx-outrigger-reason: connect-failure\r\ncontent-length: 4\r\n\r\nmine"
            .to_vec()
    });
    let mesh = Pair::of(&app).start();
    let answer = mesh.ask(get_with("/", "X-Outrigger-Http: 1.0; absolute\r\n"));
    // The app's own 503 stays its own: with the reason kept it would count as never sent.
    assert_eq!((answer.status(), answer.text().as_str()), (503, "mine"));
    assert_eq!(answer.reason(), None);
    let seen = app.only_request();
    assert_eq!(seen.start, "GET / HTTP/1.1");
    assert_eq!(seen.header("x-outrigger-http"), None);
}

#[test]
fn a_request_id_is_kept_or_made() {
    each_way(App::ok, |mesh, app| {
        mesh.ask(get_with("/", "X-Request-Id: mine-1\r\n"));
        mesh.ask(get("/"));
        mesh.ask(get("/"));
        let ids: Vec<String> = app
            .requests()
            .iter()
            .map(|seen| seen.header("x-request-id").expect("an id").to_owned())
            .collect();
        assert_eq!(ids[0], "mine-1");
        assert_ne!(ids[1], ids[2]);
        for id in &ids[1..] {
            assert_eq!(
                (id.len(), id.as_bytes()[14], id.as_bytes()[8]),
                (36, b'7', b'-'),
                "UUIDv7: {id}"
            );
        }
    });
}

#[test]
fn forwarding_headers_are_left_alone() {
    each_way(App::ok, |mesh, app| {
        mesh.ask(get_with(
            "/",
            "X-Forwarded-For: 1.2.3.4\r\nVia: 1.1 mine\r\nForwarded: for=x\r\n",
        ));
        mesh.ask(get("/"));
        let seen = app.requests();
        assert_eq!(seen[0].all("x-forwarded-for"), ["1.2.3.4"]);
        assert_eq!(seen[0].all("via"), ["1.1 mine"]);
        assert_eq!(seen[0].all("forwarded"), ["for=x"]);
        assert_eq!(seen[1].header("x-forwarded-for"), None);
        assert_eq!(seen[1].header("via"), None);
    });
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[test]
fn a_trace_is_read_in_any_listed_format_and_written_in_all() {
    let app = App::ok();
    let config = "telemetry: {traces: {propagation: [w3c, b3, b3multi]}}";
    let mesh = Pair::of(&app).outbound_config(config).inbound_config(config).start();
    let carriers = [
        format!("traceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\ntracestate: vendor=x\r\n"),
        format!("b3: {TRACE}-00f067aa0ba902b7-1\r\n"),
        format!("X-B3-TraceId: {TRACE}\r\nX-B3-SpanId: 00f067aa0ba902b7\r\nX-B3-Sampled: 1\r\n"),
    ];
    for carrier in &carriers {
        mesh.ask(get_with("/", carrier));
    }
    for (seen, carrier) in app.requests().iter().zip(&carriers) {
        let parent = seen.header("traceparent").unwrap_or_default();
        assert!(parent.starts_with(&format!("00-{TRACE}-")), "{parent:?} from {carrier}");
        assert!(parent.ends_with("-01"), "{parent:?} from {carrier}");
        let b3 = seen.header("b3").unwrap_or_default();
        assert!(b3.starts_with(TRACE), "{b3:?} from {carrier}");
        assert_eq!(seen.header("x-b3-traceid"), Some(TRACE), "from {carrier}");
    }
    assert!(app.requests()[0].header("tracestate").is_some_and(|state| state.contains("vendor=x")));
}

#[test]
fn trailers_reach_an_http_1_app_only_when_declared() {
    // (what the caller declares, whether the app sees it). `TE` speaks of answers, so that it alone
    // allows nothing here.
    let cases =
        [("TE: trailers\r\nTrailer: X-Sum\r\n", true), ("TE: trailers\r\n", false), ("", false)];
    each_way(App::ok, |mesh, app| {
        for (n, (lines, expected)) in cases.into_iter().enumerate() {
            let request = format!(
                "POST / HTTP/1.1\r\nHost: app.default\r\n{lines}Transfer-Encoding: chunked\r\n\r\n\
                 2\r\nhi\r\n0\r\nX-Sum: 42\r\nX-Undeclared: 1\r\n\r\n"
            );
            assert_eq!(mesh.ask(request).status(), 200);
            let seen = &app.requests()[n];
            assert_eq!(seen.body, b"hi");
            let has = |name: &str| seen.trailers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
            assert_eq!(has("x-sum"), expected, "{lines:?}: {:?}", seen.trailers);
            assert!(!has("x-undeclared"), "{lines:?}: {:?}", seen.trailers);
        }
    });
}

#[test]
fn trailers_of_an_answer_reach_a_caller_that_takes_them() {
    let app = || {
        App::http(|_| {
            b"HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 42\r\n\r\n"
                .to_vec()
        })
    };
    each_way(app, |mesh, _| {
        let answer = mesh.ask(get_with("/", "TE: trailers\r\n"));
        assert_eq!(answer.text(), "ok");
        let sum = answer.trailers.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-sum"));
        assert_eq!(sum.map(|(_, value)| value.as_str()), Some("42"), "{answer:?}");
        let answer = mesh.ask(get("/"));
        assert_eq!((answer.text().as_str(), answer.trailers.len()), ("ok", 0));
    });
}

#[test]
fn trailers_can_not_smuggle_what_only_a_head_may_say() {
    each_way(App::ok, |mesh, app| {
        let answer = mesh.connect().ask(
            "POST / HTTP/1.1\r\nHost: app.default\r\nTE: trailers\r\nTrailer: x-outrigger-peer\r\n\
             Transfer-Encoding: chunked\r\n\r\n0\r\nx-outrigger-peer: spiffe://evil/ns/a/sa/b\r\n\r\n",
        );
        for seen in app.requests() {
            assert!(seen.trailers.is_empty(), "{} {:?}", answer.status(), seen.trailers);
        }
    });
}
