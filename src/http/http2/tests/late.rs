//! What crosses the end of a stream or of its connection: nothing of it is an offence, and nothing is
//! lost by it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::sync::Notify;
use tokio::task::{spawn_local, yield_now};
use tokio::time::sleep;

use super::super::driver::DONE;
use super::super::frame::{self, MAX_FRAME, flag, kind};
use super::super::*;
use super::raw::{GET, Raw, fields};
use super::{echo, pattern, request, run, send, try_send, whole};
use crate::http::Body;
use crate::http::pipe;

fn data(stream: u32, flags: u8, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::head(&mut out, data.len(), kind::DATA, flags, stream);
    out.extend_from_slice(data);
    out
}

fn reset(stream: u32) -> Vec<u8> {
    let mut out = Vec::new();
    frame::reset(&mut out, stream, Code::CANCEL);
    out
}

fn wider(stream: u32, more: u32) -> Vec<u8> {
    let mut out = Vec::new();
    frame::window_update(&mut out, stream, more);
    out
}

#[test]
fn updates_and_resets_of_streams_that_are_over_are_let_be() {
    run(async {
        let (mut raw, hello) = Raw::client(echo);
        raw.say(&hello).await;
        raw.say(&fields(1, flag::END_STREAM, GET)).await;
        assert_eq!(raw.hear().await.expect("an answer").0.stream, 1);
        for _ in 0..5_000 {
            raw.say(&[wider(1, 4_096), reset(1)].concat()).await;
        }
        raw.say(&fields(3, flag::END_STREAM, GET)).await;
        let (head, _) = raw.hear().await.expect("an answer");
        assert_eq!((head.kind, head.stream), (kind::HEADERS, 3));
    });
}

#[test]
fn answers_to_requests_that_were_taken_back_are_let_be_however_late() {
    run(async {
        let (mut raw, client) = Raw::server(&[]).await;
        const REQUESTS: u32 = 2_000;
        for _ in 0..REQUESTS {
            drop(client.send(&request(Method::GET, "/"), true).expect("it is open"));
            yield_now().await;
        }
        for nth in 0..REQUESTS {
            let stream = 2 * nth + 1;
            let body = data(stream, 0, b"late");
            let end = fields(stream, flag::END_STREAM, &[0x88]);
            raw.say(&[fields(stream, 0, &[0x88]), body, end].concat()).await;
        }
        let asked = send(&client, request(Method::GET, "/"), Body::empty());
        let last = fields(2 * REQUESTS + 1, flag::END_STREAM, &[0x88]);
        let says = async {
            while raw.hear().await.expect("the request").0.stream <= 2 * REQUESTS {}
            raw.say(&last).await;
        };
        assert_eq!(tokio::join!(asked, says).0.status(), 200);
    });
}

#[test]
fn what_nobody_reads_of_a_stream_leaves_its_room_to_others() {
    run(async {
        // The request is taken back in the same breath.
        let (mut raw, hello) = Raw::client(echo);
        raw.say(&hello).await;
        let piece = data(0, 0, &[7; MAX_FRAME - 1]);
        for nth in 0..300u32 {
            let stream = 10 * nth + 1;
            let mut said = fields(stream, 0, GET);
            for _ in 0..4 {
                let at = said.len();
                said.extend_from_slice(&piece);
                said[at + 5..at + 9].copy_from_slice(&stream.to_be_bytes());
            }
            said.extend(reset(stream));
            raw.say(&said).await;
            // Others are answered, so that this is no flood.
            for other in 1..5 {
                raw.say(&fields(stream + 2 * other, flag::END_STREAM, GET)).await;
                while raw.hear().await.expect("it goes on").0.stream != stream + 2 * other {}
            }
        }
        // The answer comes whole before anybody asks for its head.
        let (mut raw, client) = Raw::server(&[]).await;
        let free = client.free();
        for nth in 0..3 {
            let handle = client.send(&request(Method::GET, "/"), true).expect("it is open");
            let stream = 2 * nth + 1;
            let body = data(stream, flag::END_STREAM, &[7; 9_000]);
            raw.say(&[fields(stream, 0, &[0x88]), body].concat()).await;
            sleep(Duration::from_millis(1)).await;
            drop(handle);
            assert_eq!(client.free(), free);
        }
    });
}

#[test]
fn who_takes_requests_back_or_spoils_them_faster_than_anybody_may_is_cut_off() {
    let never = |request: Request<Body>| -> super::Answer {
        Box::pin(async move {
            let body = request.into_body().collect().await.ok();
            if body.is_none() {
                std::future::pending::<()>().await;
            }
            Ok(Response::new(Body::empty()))
        })
    };
    let spoils: [fn(u32) -> Vec<u8>; 4] = [
        reset,
        // One of two is answered, which is no excuse.
        |stream| match stream % 4 {
            1 => reset(stream),
            _ => data(stream, flag::END_STREAM, b"x"),
        },
        |stream| wider(stream, 0),
        |stream| [wider(stream, i32::MAX as u32), wider(stream, 1)].concat(),
    ];
    for spoil in spoils {
        run(async move {
            let (mut raw, hello) = Raw::client(never);
            raw.say(&hello).await;
            // They have begun before they are spoilt.
            let mut is_cut = false;
            for nth in 0..100 {
                let streams = || (0..100).map(move |at| 200 * nth + 2 * at + 1);
                let asks = streams().flat_map(|stream| fields(stream, 0, GET)).collect::<Vec<_>>();
                is_cut |= raw.io.write_all(&asks).await.is_err();
                sleep(Duration::from_millis(1)).await;
                is_cut |=
                    raw.io.write_all(&streams().flat_map(spoil).collect::<Vec<_>>()).await.is_err();
                sleep(Duration::from_millis(1)).await;
                if is_cut {
                    break;
                }
            }
            assert_eq!(raw.goes_away().await, Some(Code::ENHANCE_YOUR_CALM));
        });
    }
}

#[test]
fn a_message_that_was_reset_before_it_was_read_is_not_whole() {
    run(async {
        let go = Rc::new(Notify::new());
        let seen = Rc::new(RefCell::new(None));
        let (wait, told) = (Rc::clone(&go), Rc::clone(&seen));
        let (mut raw, hello) = Raw::client(move |request| {
            let (wait, told) = (Rc::clone(&wait), Rc::clone(&told));
            Box::pin(async move {
                let body = request.into_body();
                spawn_local(async move {
                    wait.notified().await;
                    *told.borrow_mut() = Some(body.collect().await.is_ok());
                });
                std::future::pending().await
            })
        });
        raw.say(&hello).await;
        raw.say(&[fields(1, 0, GET), data(1, flag::END_STREAM, b"pay 100")].concat()).await;
        sleep(Duration::from_millis(1)).await;
        raw.say(&wider(1, 0)).await;
        assert_eq!(raw.hear().await.expect("a reset").0.kind, kind::RST_STREAM);
        go.notify_one();
        sleep(Duration::from_millis(1)).await;
        assert_eq!(*seen.borrow(), Some(false));
    });
}

#[test]
fn a_server_that_leaves_waits_until_its_answers_are_read() {
    run(async {
        let (io, far) = duplex(1 << 20);
        let leave = Rc::new(Notify::new());
        let told = Rc::clone(&leave);
        spawn_local(async move {
            let mut connection = Connection::new(far, echo, false);
            tokio::select! {
                _ = &mut connection => {}
                () = told.notified() => connection.leave(),
            }
            connection.await
        });
        let (mut raw, hello) = Raw::over(io);
        raw.say(&[hello, fields(1, 0, GET)].concat()).await;
        assert_eq!(raw.hear().await.expect("an answer").0.kind, kind::HEADERS);
        leave.notify_one();
        let mut asked = Vec::new();
        while asked.last() != Some(&DONE) {
            let (head, payload) = raw.hear().await.expect("it waits for the answer");
            if head.kind == kind::PING {
                let opaque = payload.try_into().expect("eight bytes");
                asked.push(opaque);
                let mut said = Vec::new();
                if opaque != DONE {
                    frame::ping(&mut said, flag::ACK, opaque);
                    said.extend(data(1, flag::END_STREAM, b"the rest"));
                }
                raw.say(&said).await;
            }
        }
        // What it reads of the answer shows that it lives.
        for _ in 0..5 {
            sleep(Duration::from_secs(4)).await;
            raw.say(&wider(1, 100)).await;
            let nothing = tokio::time::timeout(Duration::from_millis(1), raw.io.read_u8()).await;
            assert!(nothing.is_err(), "it waits");
        }
        let mut said = Vec::new();
        frame::ping(&mut said, flag::ACK, DONE);
        raw.say(&said).await;
        assert!(raw.hear().await.is_none());
    });
}

#[test]
fn a_server_that_leaves_waits_until_what_it_answered_early_is_read() {
    run(async {
        let (io, far) = duplex(1 << 20);
        spawn_local(async move {
            let early =
                |_| -> super::Answer { Box::pin(async { Ok(Response::new(Body::empty())) }) };
            let mut connection = Connection::new(far, early, false);
            connection.leave();
            connection.await
        });
        let (mut raw, hello) = Raw::over(io);
        raw.say(&[hello, fields(1, 0, GET)].concat()).await;
        let mut asked = Vec::new();
        while asked.last() != Some(&DONE) {
            let (head, payload) = raw.hear().await.expect("it waits for its answer to be read");
            // What was under way meanwhile.
            let mut said = data(1, 0, b"the rest");
            if head.kind == kind::PING {
                asked.push(payload.try_into().expect("eight bytes"));
                frame::ping(&mut said, flag::ACK, asked[asked.len() - 1]);
            }
            raw.say(&said).await;
        }
        assert!(raw.hear().await.is_none());
    });
}

#[test]
fn requests_of_which_nothing_was_written_were_not_taken() {
    run(async {
        let (mut raw, client) = Raw::server(&[]).await;
        let sent = client.send(&request(Method::POST, "/"), true).expect("it is open");
        while raw.hear().await.expect("the request").0.kind != kind::HEADERS {}
        drop(raw);
        let unsent = client.send(&request(Method::POST, "/"), true).expect("it looks open");
        let broken = poll_fn(|cx| unsent.poll_head(cx)).await.err();
        assert!(matches!(broken, Some(Broken::NotTaken)), "{broken:?}");
        let broken = poll_fn(|cx| sent.poll_head(cx)).await.err();
        assert!(matches!(broken, Some(Broken::Closed)), "{broken:?}");
    });
}

#[test]
fn an_answer_that_came_before_its_server_was_gone_is_whole() {
    run(async {
        let (mut raw, client) = Raw::server(&[]).await;
        let (mut writer, body) = pipe::duplex(Body::empty());
        let asked = try_send(&client, request(Method::POST, "/"), body);
        // More than is read in one turn of the runtime's.
        let others = (1..50).map(|_| client.send(&request(Method::GET, "/"), true));
        let others: Vec<_> = others.collect();
        let says = async {
            while raw.hear().await.expect("the request").0.stream != 99 {}
            let mut answer = Vec::new();
            for stream in (1..101).step_by(2).rev() {
                answer.extend(fields(stream, 0, &[0x8c]));
                for nth in 0..4 {
                    let end = if nth == 3 { flag::END_STREAM } else { 0 };
                    answer.extend(data(stream, end, &pattern(15_000)));
                }
            }
            // There is something to write when the rest of this is still to be read.
            writer.write_all(b"more, that nobody will read").await.expect("room");
            raw.say(&answer).await;
            drop(raw);
        };
        let (answer, ()) = tokio::join!(asked, says);
        let (body, _) = whole(answer.expect("an answer").into_body()).await;
        assert_eq!(body.len(), 60_000);
        drop(others);
    });
}

#[test]
fn who_does_not_say_that_it_knows_is_not_served_for_ever() {
    run(async {
        let (io, far) = duplex(1 << 20);
        spawn_local(async move {
            let mut connection = Connection::new(far, echo, false);
            connection.leave();
            connection.await
        });
        let (mut raw, hello) = Raw::over(io);
        raw.say(&hello).await;
        let mut served = 0;
        for stream in (1..).step_by(4) {
            if raw.io.write_all(&fields(stream, flag::END_STREAM, GET)).await.is_err() {
                break;
            }
            // Trailers of what is ignored are as well.
            let _ = raw.io.write_all(&fields(stream + 2, 0, GET)).await;
            let _ = raw.io.write_all(&fields(stream + 2, flag::END_STREAM, &[])).await;
            sleep(Duration::from_secs(1)).await;
            served += 1;
            assert!(served < 100, "it goes on");
        }
        let mut codes = Vec::new();
        while let Some((head, payload)) = raw.hear().await {
            if head.kind == kind::GOAWAY {
                codes.push(Code(frame::number(&payload, 4)));
            }
        }
        assert_eq!(codes, [Code::NO_ERROR; 2]);
    });
}

#[test]
fn settings_that_change_ever_again_are_a_flood() {
    run(async {
        let (mut raw, mut hello) = Raw::client(echo);
        for stream in 0..200 {
            hello.extend(fields(2 * stream + 1, 0, GET));
        }
        raw.say(&hello).await;
        let mut once = Vec::new();
        frame::settings(&mut once, &[(frame::setting::INITIAL_WINDOW_SIZE, 70_000)]);
        let _ = raw.io.write_all(&once.repeat(50_000)).await;
        assert_eq!(raw.goes_away().await, Some(Code::ENHANCE_YOUR_CALM));
    });
}

#[test]
fn a_request_that_goes_on_after_its_answer_keeps_its_place() {
    run(async {
        let (mut raw, client) = Raw::server(&[(frame::setting::MAX_CONCURRENT_STREAMS, 1)]).await;
        let (mut writer, body) = pipe::duplex(Body::empty());
        let asked = send(&client, request(Method::POST, "/"), body);
        let says = async {
            while raw.hear().await.expect("the request").0.kind != kind::HEADERS {}
            raw.say(&fields(1, flag::END_STREAM, &[0x88])).await;
        };
        let (answer, ()) = tokio::join!(asked, says);
        assert!(!client.has_room());
        writer.shutdown().await.expect("an end");
        sleep(Duration::from_millis(1)).await;
        assert!(client.has_room());
        drop((answer, client));
        // Its server may read the rest of it still.
        while raw.hear().await.expect("it waits").1 != DONE {}
    });
}

#[test]
fn only_who_is_to_be_known_to_live_is_pinged() {
    run(async {
        let (mut io, near) = duplex(1 << 20);
        let (client, connection) = start(near, false);
        spawn_local(connection);
        let handle = client.send(&request(Method::GET, "/"), true).expect("it is open");
        sleep(Duration::from_secs(300)).await;
        let mut said = vec![0; 1 << 16];
        let length = io.read(&mut said).await.expect("what it said");
        let mut said = &said[frame::PREFACE.len()..length];
        while let Some(head) = said.first_chunk().map(frame::Head::read) {
            assert_ne!(head.kind, kind::PING);
            said = &said[frame::HEAD + head.length..];
        }
        drop(handle);
    });
}
