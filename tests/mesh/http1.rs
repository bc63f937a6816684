//! HTTP/1 through the sidecars: methods, bodies, versions, forms of target.

use std::thread;
use std::time::Duration;

use crate::harness::{App, Broken, Pair, Wire, chunked, each_way, get, pattern, post};

/// Answers with the request's body in the request's framing.
fn echo() -> App {
    App::http(|request| {
        if request.header("content-length").is_some() {
            return App::answer(&request.body);
        }
        let mut answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        answer.extend(chunked(&request.body, &[3, 1, 4096, 70_001]));
        answer
    })
}

#[test]
fn bodies_with_a_length_arrive_byte_for_byte() {
    each_way(echo, |mesh, app| {
        let mut wire = mesh.connect();
        for (n, len) in [0, 1, 64 * 1024, 1024 * 1024].into_iter().enumerate() {
            let body = pattern(len);
            let answer = wire.ask(post("/echo", &body));
            assert_eq!(answer.status(), 200);
            assert!(answer.body == body, "{len} bytes came back as {}", answer.body.len());
            assert_eq!(answer.header("content-length"), Some(len.to_string().as_str()));
            let seen = &app.requests()[n];
            assert!(seen.body == body, "{len} bytes reached the app as {}", seen.body.len());
            assert_eq!(seen.header("content-length"), Some(len.to_string().as_str()));
            assert_eq!(seen.header("transfer-encoding"), None);
        }
    });
}

#[test]
fn chunked_bodies_arrive_byte_for_byte_whatever_their_chunks() {
    each_way(echo, |mesh, app| {
        let mut wire = mesh.connect();
        let shapes: [(usize, &[usize]); 6] = [
            (0, &[1]),
            (1, &[1]),
            (1000, &[1]),
            (64 * 1024, &[64 * 1024]),
            (64 * 1024, &[1, 2, 3, 16_383, 16_385]),
            (1024 * 1024, &[65_537, 1]),
        ];
        for (n, (len, sizes)) in shapes.into_iter().enumerate() {
            let body = pattern(len);
            wire.send(
                "POST /echo HTTP/1.1\r\nHost: app.default\r\nTransfer-Encoding: chunked\r\n\r\n",
            );
            let answer = wire.send(chunked(&body, sizes)).response();
            assert!(answer.body == body, "{len} bytes came back as {}", answer.body.len());
            let seen = &app.requests()[n];
            assert!(seen.body == body, "{len} bytes reached the app as {}", seen.body.len());
            if len > 0 {
                assert_eq!(seen.header("transfer-encoding"), Some("chunked"));
                assert_eq!(seen.header("content-length"), None);
            }
        }
    });
}

#[test]
fn a_get_keeps_its_body() {
    each_way(echo, |mesh, app| {
        let mut wire = mesh.connect();
        wire.send(
            "GET /search HTTP/1.1\r\nHost: app.default\r\nTransfer-Encoding: chunked\r\n\r\n",
        );
        let answer = wire.send(chunked(b"what", &[4])).response();
        assert_eq!(answer.body, b"what");
        assert_eq!(app.requests()[0].body, b"what");
    });
}

#[test]
fn chunks_are_forwarded_as_they_come() {
    let app = || {
        App::raw(|mut wire| {
            let mut request = wire.head().expect("a request");
            wire.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            // One chunk back for each that came: nobody may wait for the end of either body.
            for word in ["one", "two", "six"] {
                assert_eq!(String::from_utf8_lossy(&wire.take(8)), format!("3\r\n{word}\r\n"));
                wire.send(format!("3\r\n{word}\r\n"));
            }
            wire.send("0\r\n\r\n");
            let _ = wire.body(&mut request, false);
        })
    };
    each_way(app, |mesh, _| {
        let mut wire = mesh.connect();
        wire.send("POST / HTTP/1.1\r\nHost: app.default\r\nTransfer-Encoding: chunked\r\n\r\n");
        wire.send("3\r\none\r\n");
        let mut head = wire.head().expect("an answer before the body is over");
        assert_eq!(head.status(), 200);
        assert_eq!(wire.take(8), b"3\r\none\r\n");
        for word in ["two", "six"] {
            wire.send(format!("3\r\n{word}\r\n"));
            assert_eq!(wire.take(8), format!("3\r\n{word}\r\n").as_bytes());
        }
        wire.send("0\r\n\r\n");
        wire.body(&mut head, false).expect("the end of the body");
        assert!(head.body.is_empty());
    });
}

#[test]
fn head_has_a_length_and_no_body() {
    let app = || {
        App::http(|request| match request.method() {
            "HEAD" => b"HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n".to_vec(),
            _ => App::answer("after"),
        })
    };
    each_way(app, |mesh, _| {
        let mut wire = mesh.connect();
        wire.send("HEAD /x HTTP/1.1\r\nHost: app.default\r\n\r\n");
        let answer = wire.message(true).expect("an answer");
        assert_eq!(answer.header("content-length"), Some("1234"));
        assert_eq!(wire.ask(get("/next")).text(), "after");
    });
}

#[test]
fn answers_that_have_no_body_leave_the_connection_usable() {
    let app = || {
        App::http(|request| match request.target() {
            "/204" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
            "/304" => b"HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\n\r\n".to_vec(),
            _ => App::answer("after"),
        })
    };
    each_way(app, |mesh, _| {
        let mut wire = mesh.connect();
        assert_eq!(wire.ask(get("/204")).status(), 204);
        let unmodified = wire.ask(get("/304"));
        assert_eq!((unmodified.status(), unmodified.header("etag")), (304, Some("\"x\"")));
        assert_eq!(wire.ask(get("/next")).text(), "after");
    });
}

#[test]
fn an_answer_without_length_ends_with_the_apps_connection() {
    let app = || {
        App::raw(|mut wire| {
            let _ = wire.message(false);
            wire.send("HTTP/1.0 200 OK\r\nserver: old\r\n\r\n").send(pattern(100_000));
        })
    };
    each_way(app, |mesh, _| {
        let answer = mesh.ask(get("/"));
        assert!(answer.body == pattern(100_000), "{} bytes", answer.body.len());
    });
}

#[test]
fn http_1_0_stays_1_0_for_the_app_and_closes() {
    each_way(App::ok, |mesh, app| {
        let mut wire = mesh.connect();
        let answer = wire.ask("GET /old HTTP/1.0\r\nHost: app.default\r\n\r\n");
        assert_eq!(answer.text(), "ok");
        assert!(wire.is_over(), "1.0 without keep-alive ends with its answer");
        assert_eq!(app.only_request().start, "GET /old HTTP/1.0");
    });
}

#[test]
fn http_1_0_needs_no_host() {
    each_way(App::ok, |mesh, app| {
        assert_eq!(mesh.ask("GET /old HTTP/1.0\r\n\r\n").status(), 200);
        assert_eq!(app.only_request().start, "GET /old HTTP/1.0");
    });
}

#[test]
fn http_1_0_with_keep_alive_is_kept() {
    each_way(App::ok, |mesh, app| {
        let mut wire = mesh.connect();
        for _ in 0..2 {
            let answer = wire
                .ask("GET /old HTTP/1.0\r\nHost: app.default\r\nConnection: keep-alive\r\n\r\n");
            assert_eq!(answer.text(), "ok");
            assert!(!answer.closes(), "kept: {answer:?}");
        }
        assert!(app.requests().iter().all(|seen| seen.start == "GET /old HTTP/1.0"));
    });
}

#[test]
fn a_1_0_caller_gets_no_chunks() {
    let app = || {
        App::http(|_| {
            let mut answer =
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
                    .to_vec();
            answer.extend(chunked(&pattern(70_000), &[1000]));
            answer
        })
    };
    each_way(app, |mesh, _| {
        let answer = mesh.ask("GET / HTTP/1.0\r\nHost: app.default\r\n\r\n");
        assert_eq!(answer.header("transfer-encoding"), None);
        assert!(answer.body == pattern(70_000), "{} bytes", answer.body.len());
    });
}

#[test]
fn targets_reach_the_app_as_they_were_sent() {
    each_way(App::ok, |mesh, app| {
        let mut wire = mesh.connect();
        let lines = [
            "GET / HTTP/1.1",
            "GET /a/../b//c%2Fd;e=1/%41?x=%20&y=a/b?c HTTP/1.1",
            "GET http://app.default/absolute?x HTTP/1.1",
            "OPTIONS * HTTP/1.1",
            "PROPFIND /dav HTTP/1.1",
            "M-SEARCH /x HTTP/1.1",
        ];
        for (n, line) in lines.into_iter().enumerate() {
            let answer = wire.ask(format!("{line}\r\nHost: app.default\r\n\r\n"));
            assert_eq!(answer.status(), 200, "{line}: {}", answer.text());
            let seen = &app.requests()[n];
            assert_eq!(seen.start, line);
            assert_eq!(seen.header("host"), Some("app.default"), "{line}");
        }
    });
}

#[test]
fn hosts_reach_the_app_as_they_were_sent() {
    each_way(App::ok, |mesh, app| {
        let hosts = ["app.default", "App.Default:80", "example.org:8080", "[::1]:80", "10.0.0.1"];
        for (n, host) in hosts.into_iter().enumerate() {
            assert_eq!(mesh.ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).status(), 200);
            assert_eq!(app.requests()[n].header("host"), Some(host));
        }
    });
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    each_way(
        || App::http(|request| App::answer(request.target())),
        |mesh, _| {
            let mut wire = mesh.connect();
            let paths: Vec<String> = (0..20).map(|n| format!("/{n}")).collect();
            let mut all = String::new();
            for path in &paths {
                all.push_str(&get(path));
            }
            wire.send(all);
            for path in &paths {
                assert_eq!(wire.response().text(), *path);
            }
        },
    );
}

#[test]
fn a_pipelined_post_does_not_bleed_into_the_next_request() {
    each_way(echo, |mesh, app| {
        let mut wire = mesh.connect();
        let inner = get("/smuggled");
        wire.send([post("/1", inner.as_bytes()), post("/2", b"two")].concat());
        assert_eq!(wire.response().text(), inner);
        assert_eq!(wire.response().text(), "two");
        let targets: Vec<_> = app.requests().iter().map(|seen| seen.target().to_owned()).collect();
        assert_eq!(targets, ["/1", "/2"]);
    });
}

#[test]
fn the_sidecar_answers_100_continue() {
    each_way(echo, |mesh, app| {
        let mut wire = mesh.connect();
        wire.send(
            "POST /big HTTP/1.1\r\nHost: app.default\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        );
        assert_eq!(wire.response().status(), 100);
        assert_eq!(wire.send("hello").response().text(), "hello");
        assert_eq!(app.only_request().body, b"hello");
    });
}

#[test]
fn what_can_not_be_served_is_told_instead_of_100_continue() {
    let mesh = Pair::empty().start();
    let mut wire = mesh.connect();
    let answer = wire.ask(
        "POST /big HTTP/1.1\r\nHost: app.default\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    );
    assert_eq!((answer.status(), answer.reason()), (503, Some("no-endpoints")));
}

#[test]
fn early_hints_of_the_app_do_not_disturb_the_answer() {
    let app = || {
        App::http(|_| {
            let mut answer = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".to_vec();
            answer.extend(App::answer("final"));
            answer
        })
    };
    each_way(app, |mesh, _| {
        let mut wire = mesh.connect();
        for _ in 0..2 {
            assert_eq!(wire.ask(get("/")).text(), "final");
        }
    });
}

#[test]
fn an_early_answer_arrives_while_its_upload_still_runs() {
    let app = || {
        App::raw(|mut wire| {
            let mut request = wire.head().expect("a request");
            wire.send("HTTP/1.1 413 Content Too Large\r\ncontent-length: 4\r\n\r\nfull");
            let _ = wire.body(&mut request, false);
        })
    };
    each_way(app, |mesh, _| {
        let mut wire = mesh.connect();
        wire.send("POST / HTTP/1.1\r\nHost: app.default\r\nContent-Length: 1000000\r\n\r\nfirst");
        let answer = wire.response();
        assert_eq!((answer.status(), answer.text().as_str()), (413, "full"));
    });
}

#[test]
fn a_caller_that_does_not_read_stalls_no_neighbour() {
    const BIG: usize = 32 * 1024 * 1024;
    let app = || {
        App::http(|request| match request.target() {
            "/big" => App::answer(vec![b'x'; BIG]),
            _ => App::answer("small"),
        })
    };
    each_way(app, |mesh, app| {
        let mut stalled: Vec<Wire> = (0..4).map(|_| mesh.connect()).collect();
        for wire in &mut stalled {
            wire.send(get("/big"));
        }
        app.await_requests(4);
        let mut wire = mesh.connect();
        for _ in 0..50 {
            assert_eq!(wire.ask(get("/small")).text(), "small");
        }
        assert!(mesh.outbound.rss_kib() < 128 * 1024, "{} KiB", mesh.outbound.rss_kib());
        assert_eq!(stalled[0].response().body.len(), BIG);
    });
}

#[test]
fn a_kept_connection_serves_after_a_pause() {
    each_way(App::ok, |mesh, _| {
        let mut wire = mesh.connect();
        assert_eq!(wire.ask(get("/1")).text(), "ok");
        // Above the 2 s after which connections to the app leave the pool.
        thread::sleep(Duration::from_millis(2500));
        assert_eq!(wire.ask(get("/2")).text(), "ok");
    });
}

#[test]
fn connection_close_of_the_caller_ends_only_its_own_connection() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    let mut other = mesh.connect();
    assert_eq!(other.ask(get("/other")).status(), 200);
    let mut wire = mesh.connect();
    let answer = wire.ask(crate::harness::get_with("/", "Connection: close\r\n"));
    assert!(answer.closes());
    assert_eq!(wire.message(false), Err(Broken::Closed));
    assert_eq!(other.ask(get("/other")).status(), 200);
}
