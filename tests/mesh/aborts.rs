//! A broken message is never taken for a whole one, whichever side broke it.

use std::time::Duration;

use crate::harness::{App, Broken, Wire, each_way, eventually, get};

/// How an app ends its connection in the middle of its answer.
#[derive(Clone, Copy, Debug)]
enum End {
    Close,
    Reset,
}

fn breaking(head: &'static str, end: End) -> App {
    App::raw(move |mut wire: Wire| {
        let _ = wire.message(false);
        wire.send(head);
        // The head and the beginning of the body are on their way before the end is.
        std::thread::sleep(Duration::from_millis(50));
        match end {
            End::Close => drop(wire),
            End::Reset => wire.reset(),
        }
    })
}

#[test]
fn an_answer_that_breaks_off_is_an_error_for_the_caller() {
    let cases = [
        ("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf", End::Close),
        ("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf", End::Reset),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", End::Close),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", End::Reset),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\nhalf", End::Close),
        ("HTTP/1.1 200 OK\r\n\r\nhalf", End::Reset),
    ];
    for (head, end) in cases {
        each_way(
            || breaking(head, end),
            |mesh, _| {
                let mut wire = mesh.connect();
                wire.send(get("/"));
                let mut answer = wire.head().expect("the head came");
                let broken = wire.body(&mut answer, false);
                assert!(
                    matches!(broken, Err(Broken::Cut | Broken::Reset)),
                    "{head:?} {end:?} ended with {broken:?} after {:?}",
                    answer.text()
                );
                assert!(b"half".starts_with(&answer.body[..]), "{:?}", answer.text());
            },
        );
    }
}

#[test]
fn an_app_that_leaves_before_its_answer_is_upstream_reset() {
    for end in [End::Close, End::Reset] {
        each_way(
            || breaking("", end),
            |mesh, _| {
                let answer = mesh
                    .connect()
                    .ask("POST / HTTP/1.1\r\nHost: app.default\r\nContent-Length: 0\r\n\r\n");
                assert_eq!(
                    (answer.status(), answer.reason()),
                    (502, Some("upstream-reset")),
                    "{end:?}"
                );
            },
        );
    }
}

#[test]
fn an_answer_that_is_no_http_is_a_protocol_error() {
    for nonsense in [
        "220 ready\r\n\r\n",
        "HTTP/1.1 abc\r\n\r\n",
        "HTTP/1.1 200 OK\r\nbad header: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
    ] {
        each_way(
            || breaking(nonsense, End::Close),
            |mesh, _| {
                let answer = mesh
                    .connect()
                    .ask("POST / HTTP/1.1\r\nHost: app.default\r\nContent-Length: 0\r\n\r\n");
                assert_eq!(
                    (answer.status(), answer.reason()),
                    (502, Some("upstream-protocol-error")),
                    "{nonsense:?}"
                );
            },
        );
    }
}

#[test]
fn a_request_that_breaks_off_is_an_error_for_the_app() {
    let beginnings = [
        "POST /x HTTP/1.1\r\nHost: app.default\r\nContent-Length: 100\r\n\r\nhalf",
        "POST /x HTTP/1.1\r\nHost: app.default\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "POST /x HTTP/1.1\r\nHost: app.default\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf",
    ];
    for beginning in beginnings {
        for end in [End::Close, End::Reset] {
            each_way(App::ok, |mesh, app| {
                let mut wire = mesh.connect();
                wire.send(beginning);
                eventually("the app has the beginning", || app.begun() == 1);
                match end {
                    End::Close => drop(wire),
                    End::Reset => wire.reset(),
                }
                eventually("the app sees the end", || !app.broken().is_empty());
                assert!(
                    app.requests().is_empty(),
                    "{beginning:?} {end:?} passed for a whole request"
                );
                let broken = app.broken();
                assert!(matches!(broken[0], Broken::Cut | Broken::Reset), "{broken:?}");
            });
        }
    }
}

#[test]
fn a_caller_that_leaves_is_noticed_by_the_app_at_once() {
    let app = || {
        App::raw(|mut wire| {
            let _ = wire.message(false);
            // No answer: the connection must end from the other side.
            assert!(wire.is_over());
        })
    };
    for end in [End::Close, End::Reset] {
        each_way(app, |mesh, app| {
            let mut wire = mesh.connect();
            wire.send(get("/slow"));
            eventually("the app has the request", || app.open_connections() == 1);
            std::thread::sleep(Duration::from_millis(50));
            match end {
                End::Close => drop(wire),
                End::Reset => wire.reset(),
            }
            crate::harness::within(Duration::from_secs(2), "the app notices", || {
                app.open_connections() == 0
            });
        });
    }
}

#[test]
fn a_caller_that_leaves_in_mid_answer_stops_the_app() {
    let app = || {
        App::raw(|mut wire| {
            let _ = wire.message(false);
            wire.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            while wire.try_send("5\r\nagain\r\n").is_ok() {
                std::thread::sleep(Duration::from_millis(5));
            }
        })
    };
    each_way(app, |mesh, app| {
        let mut wire = mesh.connect();
        wire.send(get("/endless"));
        wire.head().expect("the answer begins");
        drop(wire);
        crate::harness::within(Duration::from_secs(2), "the app notices", || {
            app.open_connections() == 0
        });
    });
}
