//! Streams in memory: order, ends, faults, bounds and the idle time.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream, DuplexStream, ReadBuf, duplex,
};
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance};

use super::super::{Counters, End, Fault, Outcome, relay};
use super::{counted, expect, expect_end, send, settle};
use crate::runtime::turns::TURN_BYTES;

/// A client and a server with a running relay between them.
struct Scene {
    client: DuplexStream,
    server: DuplexStream,
    counters: Arc<Counters>,
    relay: JoinHandle<Outcome>,
    polls: Arc<AtomicU32>,
}

fn scene(capacity: usize, idle: Option<Duration>) -> Scene {
    let (client, a) = duplex(capacity);
    let (b, server) = duplex(capacity);
    let counters = Arc::new(Counters::default());
    let polls = Arc::new(AtomicU32::new(0));
    let (live, count) = (counters.clone(), polls.clone());
    let relay = async move { relay(a, b, &live, idle).await };
    Scene { client, server, counters, relay: tokio::spawn(counted(relay, count)), polls }
}

#[tokio::test]
async fn every_byte_arrives_in_order_at_any_capacity() {
    for (capacity, bytes) in [(1, 2_000), (7, 20_000), (64, 100_000), (300_000, 3_000_000)] {
        let Scene { client, server, counters, relay, .. } = scene(capacity, None);
        let talk = |stream| async move {
            let (mut source, mut sink) = tokio::io::split(stream);
            let up = async {
                send(&mut sink, 0, bytes).await;
                sink.shutdown().await.expect("a stream in memory shuts down");
            };
            let down = async {
                expect(&mut source, 0, bytes).await;
                expect_end(&mut source).await;
            };
            tokio::join!(up, down);
        };
        tokio::join!(talk(client), talk(server));
        let outcome = relay.await.expect("the relay ends");
        assert_eq!((outcome.a_to_b, outcome.b_to_a), (bytes, bytes), "{capacity}");
        assert_eq!(counters.a_to_b.load(Ordering::Relaxed), bytes);
        assert_eq!(counters.b_to_a.load(Ordering::Relaxed), bytes);
        assert!(matches!(outcome.end, End::Clean), "{capacity}: {:?}", outcome.end);
    }
}

#[tokio::test]
async fn a_half_close_ends_one_direction_alone() {
    for client_first in [true, false] {
        let Scene { client, server, relay, .. } = scene(16, None);
        let (mut first, mut second) =
            if client_first { (client, server) } else { (server, client) };
        send(&mut first, 0, 3).await;
        first.shutdown().await.expect("open");
        expect(&mut second, 0, 3).await;
        expect_end(&mut second).await;
        tokio::join!(send(&mut second, 0, 1000), expect(&mut first, 0, 1000));
        assert!(!relay.is_finished(), "one direction is still open");
        second.shutdown().await.expect("open");
        expect_end(&mut first).await;
        let outcome = relay.await.expect("the relay ends");
        let (there, back) = if client_first { (3, 1000) } else { (1000, 3) };
        assert_eq!((outcome.a_to_b, outcome.b_to_a), (there, back));
        assert!(matches!(outcome.end, End::Clean), "{:?}", outcome.end);
    }
}

/// Without this a TLS stream would sit on the last record until the next byte came.
#[tokio::test]
async fn a_buffering_sink_is_flushed_before_waiting() {
    let (mut client, a) = duplex(1024);
    let (b, mut server) = duplex(1024);
    tokio::spawn(async move { relay(a, BufStream::new(b), &Counters::default(), None).await });
    for position in 0..100 {
        send(&mut client, position, position + 1).await;
        expect(&mut server, position, position + 1).await;
    }
}

#[tokio::test]
async fn a_stalled_reader_stops_the_writer_within_a_chunk() {
    let Scene { mut client, mut server, relay, polls, .. } = scene(1024, None);
    let mut taken = 0;
    loop {
        tokio::select! {
            biased;
            () = send(&mut client, taken, taken + 1) => taken += 1,
            () = settle() => break,
        }
    }
    // Both wires and what was kept: no more than the first chunk, as reads never filled one.
    assert!((2048..=2048 + 4096).contains(&taken), "{taken}");
    let before = polls.load(Ordering::Relaxed);
    settle().await;
    assert_eq!(polls.load(Ordering::Relaxed), before, "polled with nothing to do");
    expect(&mut server, 0, taken).await;
    drop(client);
    expect_end(&mut server).await;
    drop(server);
    assert!(matches!(relay.await.expect("the relay ends").end, End::Clean));
}

#[tokio::test]
async fn an_idle_relay_is_not_polled_and_a_trickle_costs_few() {
    let Scene { mut client, mut server, polls, .. } = scene(1024, None);
    settle().await;
    let before = polls.load(Ordering::Relaxed);
    for position in 0..50 {
        settle().await;
        send(&mut client, position, position + 1).await;
        expect(&mut server, position, position + 1).await;
    }
    let cost = polls.load(Ordering::Relaxed) - before;
    assert!((50..=150).contains(&cost), "{cost} polls for 50 bytes");
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_relay_and_any_byte_puts_it_off() {
    let Scene { mut client, mut server, relay, polls, .. } =
        scene(16, Some(Duration::from_secs(10)));
    let start = Instant::now();
    for position in 0..4 {
        advance(Duration::from_secs(8)).await;
        send(&mut server, position, position + 1).await;
        expect(&mut client, position, position + 1).await;
    }
    assert!(!relay.is_finished());
    let outcome = relay.await.expect("the relay ends");
    assert!(matches!(outcome.end, End::Idle), "{:?}", outcome.end);
    let took = start.elapsed().as_secs();
    assert_eq!(took, 4 * 8 + 10, "ten seconds after the last byte");
    assert!(polls.load(Ordering::Relaxed) < 20, "the timer is not re-armed per byte");
}

#[tokio::test(start_paused = true)]
async fn no_idle_time_means_for_ever_and_the_longest_does_not_overflow() {
    for idle in [None, Some(Duration::MAX)] {
        let Scene { client, relay, .. } = scene(16, idle);
        advance(Duration::from_secs(30 * 24 * 3600)).await;
        settle().await;
        assert!(!relay.is_finished());
        drop(client);
    }
}

/// Reads what it is given, then fails, ends or waits; refuses writes if told to.
struct Faulty {
    text: &'static [u8],
    ends: bool,
    read_fault: bool,
    write_fault: bool,
}

impl AsyncRead for Faulty {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let text = std::mem::take(&mut self.text);
        buf.put_slice(text);
        match (text.is_empty(), self.read_fault) {
            (false, _) => Poll::Ready(Ok(())),
            (true, true) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            (true, false) if self.ends => Poll::Ready(Ok(())),
            (true, false) => Poll::Pending,
        }
    }
}

impl AsyncWrite for Faulty {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.write_fault {
            true => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            false => Poll::Ready(Ok(bytes.len())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn the_side_that_breaks_is_named_and_the_other_is_not_shut_down() {
    for (read_fault, write_fault, ends, at_a) in [
        (true, false, false, true),
        (true, false, false, false),
        (false, true, false, true),
        (false, true, false, false),
        (false, true, true, false), // the end that follows a failed write is not one to pass on
    ] {
        let mut faulty = Faulty { text: b"last words", ends, read_fault, write_fault };
        // Room for less than the last words: they take several turns.
        let (mut near, mut far) = duplex(4);
        far.write_all(b"x").await.expect("open");
        let counters = Counters::default();
        let mut heard = [0; 10];
        let relayed = async {
            match at_a {
                true => relay(&mut faulty, &mut near, &counters, None).await.end,
                false => relay(&mut near, &mut faulty, &counters, None).await.end,
            }
        };
        let listening = async {
            tokio::select! {
                biased;
                read = far.read_exact(&mut heard) => read.is_ok(),
                () = settle() => false,
            }
        };
        let (end, delivered) = tokio::join!(relayed, listening);
        let case =
            format!("{end:?}, read {read_fault}, write {write_fault}, ends {ends}, at a {at_a}");
        let fault = match (end, at_a) {
            (End::A(fault), true) | (End::B(fault), false) => fault,
            _ => panic!("{case}"),
        };
        assert_eq!(matches!(fault, Fault::Read(_)), read_fault, "{case}");
        assert!(delivered && &heard == b"last words", "{case}");
        tokio::select! {
            biased;
            read = far.read(&mut heard) => panic!("{case}: {read:?}"),
            () = settle() => {}
        }
    }
}

/// What a connection costs while it does nothing, apart from its sockets. A change here is paid per
/// open connection: 10,000 of them are a usual sidecar's worst hour.
#[tokio::test]
async fn an_idle_relay_is_small() {
    let (a, b) = (duplex(1).0, duplex(1).0);
    let counters = Counters::default();
    let future = relay(a, b, &counters, Some(Duration::from_secs(1)));
    let bytes = size_of_val(&future);
    assert!(bytes <= 640, "{bytes} bytes");
}

#[tokio::test]
async fn an_endless_stream_moves_a_turn_between_two_looks_at_the_sockets() {
    let counters = Arc::new(Counters::default());
    let count = Arc::clone(&counters);
    let (silent, _other) = duplex(1);
    let relay = tokio::spawn(async move {
        let source = tokio::io::join(tokio::io::repeat(b'x'), tokio::io::sink());
        let sink = tokio::io::join(silent, tokio::io::sink());
        relay(source, sink, &count, None).await
    });
    let mut turns = 0;
    for _ in 0..100 {
        let before = counters.read().0;
        // It goes on after such a look.
        tokio::task::yield_now().await;
        let between = counters.read().0 - before;
        assert!(between <= TURN_BYTES as u64 + 64 * 1024, "{between} bytes");
        turns += u32::from(between > 0);
    }
    assert!(turns >= 50, "it goes on: {turns}");
    relay.abort();
}
