//! Peers that say what they should not.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::super::frame::{self, HEAD, Head, PREFACE, flag, kind};
use super::super::*;
use super::{Answer, ask, echo, pattern, request, run, send, serve, try_send, whole};
use crate::http::Body;

/// A peer that says what it is told to, and hears frames.
pub(super) struct Raw {
    pub io: DuplexStream,
    buf: BytesMut,
    /// Of a client's first words, still to be heard.
    preface: usize,
}

impl Raw {
    pub fn client(service: impl Fn(Request<Body>) -> Answer + 'static) -> (Self, Vec<u8>) {
        let (io, far) = duplex(1 << 20);
        serve(far, service);
        Self::over(io)
    }

    /// A client, and what it says first.
    pub fn over(io: DuplexStream) -> (Self, Vec<u8>) {
        let mut hello = PREFACE.to_vec();
        frame::settings(&mut hello, &[]);
        (Self { io, buf: BytesMut::new(), preface: 0 }, hello)
    }

    pub async fn server(settings: &[(u16, u32)]) -> (Self, Client) {
        let (io, near) = duplex(1 << 20);
        let mut server = Self { io, buf: BytesMut::new(), preface: PREFACE.len() };
        let mut hello = Vec::new();
        frame::settings(&mut hello, settings);
        server.say(&hello).await;
        (server, ask(near))
    }

    pub async fn say(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.expect("room");
    }

    /// The next frame that is not about the connection as such.
    pub async fn hear(&mut self) -> Option<(Head, Vec<u8>)> {
        loop {
            let preface = self.preface.min(self.buf.len());
            let _ = self.buf.split_to(preface);
            self.preface -= preface;
            if let Some(bytes) = self.buf.first_chunk::<HEAD>() {
                let head = Head::read(bytes);
                if self.buf.len() >= HEAD + head.length {
                    let payload = self.buf.split_to(HEAD + head.length)[HEAD..].to_vec();
                    if !matches!(head.kind, kind::SETTINGS | kind::WINDOW_UPDATE) {
                        return Some((head, payload));
                    }
                    continue;
                }
            }
            if self.io.read_buf(&mut self.buf).await.ok()? == 0 {
                return None;
            }
        }
    }

    /// With what the connection is ended.
    pub async fn goes_away(&mut self) -> Option<Code> {
        while let Some((head, payload)) = self.hear().await {
            if head.kind == kind::GOAWAY {
                return Some(Code(frame::number(&payload, 4)));
            }
        }
        None
    }
}

pub(super) fn fields(stream: u32, flags: u8, block: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::head(&mut out, block.len(), kind::HEADERS, flags | flag::END_HEADERS, stream);
    out.extend_from_slice(block);
    out
}

/// GET http://a/ by the static table.
pub(super) const GET: &[u8] = &[0x82, 0x86, 0x84, 0x01, 0x01, b'a'];

#[test]
fn what_no_client_may_say_ends_the_connection_with_a_reason() {
    let frame = |kind, flags, stream, payload: &[u8]| {
        let mut out = Vec::new();
        frame::head(&mut out, payload.len(), kind, flags, stream);
        out.extend_from_slice(payload);
        out
    };
    let cases: Vec<(&str, Vec<u8>, Code)> = vec![
        ("an even stream", fields(2, flag::END_STREAM, GET), Code::PROTOCOL_ERROR),
        ("no stream", fields(0, flag::END_STREAM, GET), Code::PROTOCOL_ERROR),
        ("data before a request", frame(kind::DATA, 0, 3, b"x"), Code::PROTOCOL_ERROR),
        ("a large frame", frame(kind::DATA, 0, 1, &[0; 16_385]), Code::FRAME_SIZE_ERROR),
        ("a short PING", frame(kind::PING, 0, 0, &[0; 7]), Code::FRAME_SIZE_ERROR),
        ("a PING on a stream", frame(kind::PING, 0, 1, &[0; 8]), Code::PROTOCOL_ERROR),
        ("a push", frame(kind::PUSH_PROMISE, 4, 1, &[0; 8]), Code::PROTOCOL_ERROR),
        (
            "a header block in two",
            [frame(kind::HEADERS, 0, 1, GET), frame(kind::PING, 0, 0, &[0; 8])].concat(),
            Code::PROTOCOL_ERROR,
        ),
        ("fields from nowhere", frame(kind::CONTINUATION, 4, 1, GET), Code::PROTOCOL_ERROR),
        ("a broken block", fields(1, 1, &[0xff, 0xff]), Code::COMPRESSION_ERROR),
        ("half a setting", frame(kind::SETTINGS, 0, 0, &[0; 5]), Code::FRAME_SIZE_ERROR),
        (
            "a huge window",
            frame(kind::WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
            Code::FLOW_CONTROL_ERROR,
        ),
        ("a window of nothing", frame(kind::WINDOW_UPDATE, 0, 0, &[0; 4]), Code::PROTOCOL_ERROR),
        ("too much padding", frame(kind::DATA, 8, 1, &[9, 0, 0]), Code::PROTOCOL_ERROR),
    ];
    for (what, said, code) in cases {
        run(async move {
            let (mut raw, mut hello) = Raw::client(echo);
            hello.extend_from_slice(&said);
            raw.say(&hello).await;
            assert_eq!(raw.goes_away().await, Some(code), "{what}");
        });
    }
    run(async {
        let (mut raw, _) = Raw::client(echo);
        raw.say(&[PREFACE, &fields(1, 1, GET)].concat()).await;
        assert_eq!(raw.goes_away().await, Some(Code::PROTOCOL_ERROR), "no SETTINGS");
        let (mut raw, _) = Raw::client(echo);
        raw.say(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(raw.goes_away().await, Some(Code::PROTOCOL_ERROR), "no HTTP/2");
    });
}

#[test]
fn what_is_wrong_with_one_request_is_its_own_affair() {
    let field = |name: &str, value: &str| {
        let mut out = vec![0x00, name.len() as u8];
        out.extend(name.bytes());
        out.push(value.len() as u8);
        out.extend(value.bytes());
        out
    };
    let with = |name, value| [GET, &field(name, value)].concat();
    let malformed = [
        ("no path", GET[..2].to_vec()),
        ("a method twice", [&[0x82], GET].concat()),
        ("a pseudo-header at the end", [GET, &field("x", "y"), &[0x84]].concat()),
        ("a status", [GET, &[0x88]].concat()),
        ("a header of the connection", with("connection", "close")),
        ("chunks", with("transfer-encoding", "chunked")),
        ("a name in capitals", with("X-Y", "z")),
        ("a line break", with("x", "a\r\nb: c")),
        ("a length of an empty body", with("content-length", "3")),
        ("no length", with("content-length", "-1")),
        ("a length that overflows", with("content-length", "9223372036854775808")),
        (
            "the same length twice",
            [with("content-length", "0"), field("content-length", "0")].concat(),
        ),
        ("another TE", with("te", "gzip")),
    ];
    run(async move {
        let (mut raw, hello) = Raw::client(echo);
        raw.say(&hello).await;
        for (nth, (what, block)) in malformed.iter().enumerate() {
            let stream = 2 * nth as u32 + 1;
            raw.say(&fields(stream, flag::END_STREAM, block)).await;
            let (head, payload) = raw.hear().await.expect("a reset");
            assert_eq!((head.kind, head.stream), (kind::RST_STREAM, stream), "{what}");
            assert_eq!(Code(frame::number(&payload, 0)), Code::PROTOCOL_ERROR, "{what}");
        }
        raw.say(&fields(1_001, flag::END_STREAM, GET)).await;
        let (head, _) = raw.hear().await.expect("an answer");
        assert_eq!((head.kind, head.stream), (kind::HEADERS, 1_001), "the others go on");
    });
}

#[test]
fn a_body_of_another_length_than_it_says_is_no_body() {
    for (length, data) in [("3", "four"), ("5", "four")] {
        run(async move {
            let seen = Rc::new(RefCell::new(None));
            let told = Rc::clone(&seen);
            let (mut raw, hello) = Raw::client(move |request| {
                let told = Rc::clone(&told);
                Box::pin(async move {
                    let whole = request.into_body().collect().await;
                    *told.borrow_mut() = Some(whole.is_ok());
                    Ok(Response::new(Body::empty()))
                })
            });
            raw.say(&hello).await;
            let block = [GET, b"\x0f\x0d\x01", length.as_bytes()].concat();
            raw.say(&fields(1, 0, &block)).await;
            // The app has begun to read.
            tokio::time::sleep(Duration::from_millis(1)).await;
            let mut body = Vec::new();
            frame::head(&mut body, 4, kind::DATA, flag::END_STREAM, 1);
            body.extend_from_slice(data.as_bytes());
            raw.say(&body).await;
            let (head, _) = raw.hear().await.expect("a reset");
            assert_eq!((head.kind, head.stream), (kind::RST_STREAM, 1));
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert_ne!(*seen.borrow(), Some(true));
        });
    }
}

#[test]
fn one_who_waits_for_a_word_gets_it_when_the_body_is_wanted() {
    run(async {
        let (mut raw, hello) = Raw::client(|request| {
            Box::pin(
                async move { Ok(Response::new(Body::full(whole(request.into_body()).await.0))) },
            )
        });
        raw.say(&hello).await;
        let expect = b"\x0f\x14\x0c100-continue";
        raw.say(&fields(1, 0, &[GET, expect].concat())).await;
        let mut statuses = Vec::new();
        let mut data = Vec::new();
        while data != b"hello" {
            let (head, payload) = raw.hear().await.expect("a frame");
            match head.kind {
                kind::HEADERS => statuses.push(payload[0]),
                _ => data.extend_from_slice(&payload),
            }
            if statuses == [0x08] && data.is_empty() {
                let mut body = Vec::new();
                frame::head(&mut body, 5, kind::DATA, flag::END_STREAM, 1);
                body.extend_from_slice(b"hello");
                raw.say(&body).await;
            }
        }
        // A literal of :status, and then 200 by the static table.
        assert_eq!(statuses, [0x08, 0x88]);
    });
}

#[test]
fn answers_that_are_none_break_their_request_only() {
    run(async {
        let (mut raw, client) = Raw::server(&[(frame::setting::MAX_CONCURRENT_STREAMS, 7)]).await;
        let cases: [(&str, &[u8], Option<StatusCode>); 7] = [
            ("200", &[0x88], Some(StatusCode::OK)),
            ("no status", &[0x0f, 0x0d, 0x01, b'0'], None),
            ("two", &[0x88, 0x88], None),
            ("a path", &[0x88, 0x84], None),
            ("no number", &[0x08, 0x02, b'2', b'0'], None),
            ("only 100", &[0x08, 0x03, b'1', b'0', b'0'], None),
            ("404", &[0x8d], Some(StatusCode::NOT_FOUND)),
        ];
        for (nth, (what, block, status)) in cases.into_iter().enumerate() {
            let asked = try_send(&client, request(Method::GET, "/"), Body::empty());
            let stream = 2 * nth as u32 + 1;
            let says = async {
                loop {
                    let (head, _) = raw.hear().await.expect("a request");
                    if head.kind == kind::HEADERS {
                        assert_eq!(head.stream, stream);
                        break;
                    }
                }
                // Heads that are not the last come before it.
                let first = fields(stream, 0, &[0x08, 0x03, b'1', b'0', b'3']);
                raw.say(&[first, fields(stream, flag::END_STREAM, block)].concat()).await;
            };
            let (answer, ()) = tokio::join!(asked, says);
            match (answer, status) {
                (Ok(answer), Some(status)) => assert_eq!(answer.status(), status, "{what}"),
                (Err(broken), None) => {
                    assert!(matches!(broken, Broken::Malformed(_)), "{what}: {broken}");
                }
                (answer, _) => panic!("{what}: {:?}", answer.map(|answer| answer.status())),
            }
        }
        assert!(client.has_room());
        let asked: Vec<_> = (0..7).map(|_| client.send(&request(Method::GET, "/"), true)).collect();
        assert!(!client.has_room());
        drop(asked);
    });
}

#[test]
fn a_server_that_leaves_says_which_requests_it_has_not_taken() {
    run(async {
        let (mut raw, client) = Raw::server(&[]).await;
        let taken = try_send(&client, request(Method::GET, "/"), Body::empty());
        let other = try_send(&client, request(Method::GET, "/"), Body::empty());
        let says = async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let mut bye = Vec::new();
            frame::go_away(&mut bye, 1, Code::NO_ERROR);
            bye.extend(fields(1, flag::END_STREAM, &[0x88]));
            raw.say(&bye).await;
        };
        let (taken, other, ()) = tokio::join!(taken, other, says);
        assert_eq!(taken.expect("an answer").status(), 200);
        assert!(matches!(other, Err(Broken::NotTaken)));
    });
}

#[test]
fn an_early_answer_is_read_although_the_rest_of_the_request_is_not_wanted() {
    run(async {
        let (mut raw, client) = Raw::server(&[]).await;
        let asked = send(&client, request(Method::POST, "/"), Body::full(pattern(1 << 20)));
        let says = async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let mut early = fields(1, 0, &[0x8c]);
            frame::head(&mut early, 3, kind::DATA, flag::END_STREAM, 1);
            early.extend_from_slice(b"no!");
            frame::reset(&mut early, 1, Code::NO_ERROR);
            raw.say(&early).await;
        };
        let (answer, ()) = tokio::join!(asked, says);
        assert_eq!(answer.status(), 400);
        assert_eq!(whole(answer.into_body()).await.0, b"no!");
        assert!(client.core_is_idle());
    });
}

/// Whatever a peer says, in whatever pieces: it is answered, refused or let be, and nothing panics.
mod noise {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn is_borne(
            frames in prop::collection::vec(
                (0u8..11, any::<u8>(), 0u32..9, prop::collection::vec(any::<u8>(), 0..40)),
                0..40,
            ),
            piece in 1usize..200,
        ) {
            run(async move {
                let (mut raw, mut said) = Raw::client(echo);
                for (kind, flags, stream, payload) in frames {
                    // Some are requests, so that there are streams to speak of.
                    match kind {
                        10 => said.extend(fields(stream, flags & flag::END_STREAM, GET)),
                        kind => {
                            frame::head(&mut said, payload.len(), kind, flags, stream);
                            said.extend_from_slice(&payload);
                        }
                    }
                }
                for piece in said.chunks(piece) {
                    if raw.io.write_all(piece).await.is_err() {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                let _ = raw.io.shutdown().await;
                while raw.hear().await.is_some() {}
            });
        }
    }
}
