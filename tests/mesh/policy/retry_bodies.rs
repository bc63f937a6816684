//! Requests with bodies: replayed whole, or not retried at all.

use super::table::{Outcome, play, play_each_way, row};
use crate::harness::{Script, Services, pattern};

/// Every call had the whole body.
fn whole(outcome: &Outcome) {
    for call in &outcome.calls {
        assert!(
            call.request.body == pattern(call.request.body.len()),
            "a body of {} bytes is not the one that was sent",
            call.request.body.len()
        );
    }
    let lengths: Vec<usize> = outcome.calls.iter().map(|call| call.request.body.len()).collect();
    assert!(lengths.windows(2).all(|pair| pair[0] == pair[1]), "{lengths:?}");
}

#[test]
fn a_body_is_replayed_as_it_was() {
    let any = "on: [5xx], methods: any";
    let mut rows = Vec::new();
    for bytes in [1, 100, 1000, 40_000, 65_536] {
        rows.push(
            row(format!("{bytes} bytes"))
                .retry(any)
                .script("503 503 ok")
                .method("POST")
                .body(bytes)
                .calls(3)
                .check(whole),
        );
    }
    rows.push(
        row("in chunks")
            .retry(any)
            .script("503 ok")
            .method("POST")
            .line("Transfer-Encoding: chunked")
            .body(500)
            .calls(2)
            .check(whole),
    );
    rows.push(row("of a GET").retry("on: [5xx]").script("503 ok").body(100).calls(2).check(whole));
    rows.push(
        row("after a reset")
            .retry(any)
            .script("reset ok")
            .method("PUT")
            .body(100)
            .calls(2)
            .check(whole),
    );
    rows.push(
        row("of a POST past an endpoint that refuses")
            .refusing(2)
            .method("POST")
            .body(30_000)
            .check(whole),
    );
    play_each_way(rows);
}

#[test]
fn a_body_beyond_the_limit_is_sent_once() {
    let limit = "on: [5xx], methods: any, bodyLimit: 1KiB";
    play(vec![
        row("just within").retry(limit).script("503 ok").method("POST").body(1024).calls(2),
        row("just beyond").retry(limit).script("503 ok").method("POST").body(1025).is(503),
        row("far beyond")
            .retry(limit)
            .script("503 ok")
            .method("POST")
            .body(300_000)
            .is(503)
            .check(|outcome| assert!(outcome.last().request.body == pattern(300_000))),
        row("in chunks")
            .retry(limit)
            .script("503 ok")
            .method("POST")
            .line("Transfer-Encoding: chunked")
            .body(2000)
            .is(503),
        row("64 KiB unless said")
            .retry("on: [5xx], methods: any")
            .script("503 ok")
            .method("POST")
            .body(65_537)
            .is(503),
    ]);
}

#[test]
fn a_body_that_has_not_come_whole_is_not_waited_for() {
    // The app refuses after the head; what follows of the body can still be sent again with it.
    let script = Script::new("ok");
    let backend = script.serve();
    let callers = Services::bare()
        .service("upload", &[backend.address])
        .policy("upload", "retry: {on: [5xx], methods: any}")
        .start();
    let mut wire = callers.begin("upload", "POST / HTTP/1.1\r\nContent-Length: 6\r\n\r\nabc");
    std::thread::sleep(std::time::Duration::from_millis(100));
    wire.send("def");
    assert_eq!(wire.response().status(), 200);
    assert_eq!(script.calls()[0].request.body, b"abcdef");
}
