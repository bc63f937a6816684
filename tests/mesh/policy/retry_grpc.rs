//! gRPC calls: which codes are tried again, for which methods, and how the server has its say.

use std::net::SocketAddr;

use super::table::{Outcome, play, play_each_way, row};
use crate::harness::{App, Script, Services};

/// The method that may be repeated.
const READ: &str = "/t.T/Read";
const OPTED: &str = "methods: [t.T/Read]";

#[test]
fn codes_are_judged_in_answers_without_messages() {
    let names = [
        (1, "cancelled"),
        (4, "deadline-exceeded"),
        (8, "resource-exhausted"),
        (10, "aborted"),
        (13, "internal"),
        (14, "unavailable"),
        (15, "data-loss"),
    ];
    let mut rows: Vec<_> = names
        .map(|(code, name)| {
            row(format!("{name} is {code}"))
                .retry(&format!("grpcCodes: [{name}], {OPTED}"))
                .script(format!("grpc:{code} ok"))
                .grpc(READ)
                .calls(2)
        })
        .into();
    let unavailable = format!("grpcCodes: [unavailable], {OPTED}");
    rows.extend([
        row("another code").retry(&unavailable).script("grpc:13 ok").grpc(READ).has_code(13),
        row("unasked, none").script("grpc:14 ok").grpc(READ).has_code(14),
        row("several")
            .retry(&format!("grpcCodes: [unavailable, internal], {OPTED}"))
            .script("grpc:14 grpc:13 ok")
            .grpc(READ)
            .calls(3),
        row("after a message it is too late")
            .retry(&unavailable)
            .script("late:14 ok")
            .grpc(READ)
            .has_code(14),
        row("the last code counts")
            .retry(&unavailable)
            .script("grpc:14 grpc:14 grpc:5 ok")
            .grpc(READ)
            .has_code(5)
            .calls(3),
    ]);
    play_each_way(rows);
}

#[test]
fn methods_opt_in() {
    let codes = "grpcCodes: [unavailable]";
    play_each_way(vec![
        row("none does unasked").retry(codes).script("grpc:14 ok").grpc(READ).has_code(14),
        row("another one did")
            .retry(&format!("{codes}, methods: [t.T/Read]"))
            .script("grpc:14 ok")
            .grpc("/t.T/Write")
            .has_code(14),
        row("any is all")
            .retry(&format!("{codes}, methods: any"))
            .script("grpc:14 ok")
            .grpc("/t.T/Write")
            .calls(2),
        row("a broken stream needs it")
            .script("reset ok")
            .grpc(READ)
            .because("upstream-reset")
            .has_code(14),
        row("a broken stream has it")
            .retry(&format!("on: [reset], {OPTED}"))
            .script("reset ok")
            .grpc(READ)
            .calls(2),
    ]);
}

#[test]
fn a_refused_stream_is_retried_for_every_method() {
    play(vec![
        row("unasked").script("refused ok").grpc("/t.T/Write").body(100).calls(2).check(
            |outcome| {
                assert_eq!(outcome.calls[0].request.body, outcome.last().request.body);
            },
        ),
        row("twice").script("refused refused ok").grpc("/t.T/Write").calls(3),
        row("but not when it is left out")
            .retry("on: [connect-failure]")
            .script("refused ok")
            .grpc("/t.T/Write")
            .because("upstream-reset")
            .has_code(14),
    ]);
}

#[test]
fn the_server_says_when() {
    let unavailable = format!("grpcCodes: [unavailable], {OPTED}");
    let push = |ms: &str| {
        row(format!("pushback {ms}"))
            .retry(&unavailable)
            .script(format!("grpc:14{{grpc-retry-pushback-ms:{ms}}} ok"))
            .grpc(READ)
    };
    let at_once = |outcome: &Outcome| outcome.took_between(0, 2500);
    play_each_way(vec![
        push("400").calls(2).check(|outcome| {
            let pauses = outcome.pauses();
            assert!(pauses[0] >= 399, "{pauses:?}");
        }),
        push("0").calls(2),
        push("-1").has_code(14).check(at_once),
        push("6000").has_code(14).check(at_once),
        // As gRPC's proposal A6 has it: what can't be read means no.
        push("soon").has_code(14).check(at_once),
        push("4000").line("Grpc-Timeout: 3S").has_code(14).check(at_once),
    ]);
}

#[test]
fn a_repeated_call_says_so() {
    play_each_way(vec![
        row("to the app")
            .retry(&format!("grpcCodes: [unavailable], {OPTED}"))
            .script("grpc:14 ok")
            .grpc(READ)
            .line("traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
            .body(100)
            .calls(2)
            .check(|outcome| {
                assert_eq!(outcome.calls[0].header("x-outrigger-attempt"), None);
                assert_eq!(outcome.last().header("x-outrigger-attempt"), Some("2"));
                let state = outcome.last().header("tracestate").unwrap_or_default();
                assert!(state.contains("or=a:2"), "{state:?}");
                assert_eq!(outcome.calls[0].request.body, outcome.last().request.body);
            }),
        row("and is not repeated by the next")
            .retry(&format!("grpcCodes: [unavailable], {OPTED}"))
            .script("grpc:14 ok")
            .grpc(READ)
            .line("x-outrigger-attempt: 2")
            .has_code(14),
    ]);
}

/// Takes no stream: a GOAWAY below the first one answers every request.
fn going_away() -> App {
    App::raw(|mut wire| {
        // The preface and its settings.
        if wire.try_take(24 + 9).is_err() {
            return;
        }
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        let go_away = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let _ = wire.try_send(settings);
        // Whatever comes first: a request is on its way by then.
        let _ = wire.try_take(9);
        std::thread::sleep(std::time::Duration::from_millis(20));
        let _ = wire.try_send(go_away);
        let mut rest = Vec::new();
        let _ = wire.patience(std::time::Duration::from_millis(500)).read_to_end(&mut rest);
    })
}

#[test]
fn what_a_server_that_goes_away_did_not_take_is_sent_elsewhere() {
    let script = Script::new("ok");
    let (gone, backend) = (going_away(), script.serve_grpc());
    let endpoints: [SocketAddr; 2] = [gone.address, backend.address];
    let callers = Services::bare()
        .speaks("grpc", "t", &endpoints)
        .policy("t", "loadBalancing: {policy: roundRobin}")
        .start();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let client = crate::harness::grpc::H2Client::connect(callers.by_host).await;
        for n in 0..4 {
            let request = http::Request::post("http://t.default/t.T/Write")
                .header("content-type", "application/grpc")
                .header("te", "trailers");
            let request = request.body(()).expect("a request");
            let reply = client.call(request, &[b"once"]).await;
            assert_eq!(reply.grpc_status(), Some("0"), "call {n}: {:?}", reply.grpc_message());
        }
    });
    assert_eq!(script.count(), 4);
    assert!(gone.connections() > 0, "it was never asked");
}
