//! Loopback sockets: bulk, resets and bounds, copied (`relay`) and spliced (`relay_tcp`).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::super::{Counters, End, Fault, Outcome, relay, relay_tcp, reset};
use super::{expect, expect_end, send, settle};

const MIB: u64 = 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Copied,
    Spliced,
}

const WAYS: [Way; 2] = [Way::Copied, Way::Spliced];

struct Scene {
    client: TcpStream,
    server: TcpStream,
    relay: JoinHandle<Outcome>,
}

async fn wire() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = listener.local_addr().expect("bound");
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (near, far) = (near.expect("connects"), far.expect("accepts").0);
    near.set_nodelay(true).and_then(|()| far.set_nodelay(true)).expect("a TCP option");
    (near, far)
}

async fn scene(way: Way) -> Scene {
    let (client, a) = wire().await;
    let (b, server) = wire().await;
    let relay = tokio::spawn(serve(way, a, b));
    Scene { client, server, relay }
}

/// As a caller relays: the streams are dropped, and so closed or reset, when it is over.
async fn serve(way: Way, mut a: TcpStream, mut b: TcpStream) -> Outcome {
    let counters = Counters::default();
    if way == Way::Spliced {
        return relay_tcp(&mut a, &mut b, &counters, Some(Duration::from_secs(60))).await;
    }
    let outcome = relay(&mut a, &mut b, &counters, None).await;
    match outcome.end {
        End::A(_) => reset(&b).expect("a TCP option"),
        End::B(_) => reset(&a).expect("a TCP option"),
        End::Clean | End::Idle => {}
    }
    outcome
}

async fn expect_reset(stream: &mut TcpStream) {
    let error = stream.read(&mut [0; 1]).await.expect_err("a reset, not an end");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn bulk_crosses_both_ways_at_once() {
    for way in WAYS {
        let bytes = 64 * MIB;
        let Scene { client, server, relay } = scene(way).await;
        let talk = |mut stream: TcpStream| async move {
            let (mut source, mut sink) = stream.split();
            let up = async {
                send(&mut sink, 0, bytes).await;
                sink.shutdown().await.expect("connected");
            };
            let down = async {
                expect(&mut source, 0, bytes).await;
                expect_end(&mut source).await;
            };
            tokio::join!(up, down);
        };
        tokio::join!(talk(client), talk(server));
        let outcome = relay.await.expect("the relay ends");
        assert_eq!((outcome.a_to_b, outcome.b_to_a), (bytes, bytes), "{way:?}");
        assert!(matches!(outcome.end, End::Clean), "{way:?}: {:?}", outcome.end);
    }
}

#[tokio::test]
async fn a_half_close_passes_before_and_after_bulk() {
    for (way, before) in WAYS.into_iter().flat_map(|way| [(way, 10), (way, 3 * MIB)]) {
        for client_first in [true, false] {
            let Scene { client, server, relay } = scene(way).await;
            let (mut first, mut second) =
                if client_first { (client, server) } else { (server, client) };
            let ask = async {
                send(&mut first, 0, before).await;
                first.shutdown().await.expect("connected");
            };
            tokio::join!(ask, expect(&mut second, 0, before));
            expect_end(&mut second).await;
            tokio::join!(send(&mut second, 0, before), expect(&mut first, 0, before));
            assert!(!relay.is_finished());
            drop(second);
            expect_end(&mut first).await;
            let outcome = relay.await.expect("the relay ends");
            assert!(matches!(outcome.end, End::Clean), "{way:?}: {:?}", outcome.end);
        }
    }
}

#[tokio::test]
async fn a_reset_passes_before_and_after_bulk() {
    for (way, before) in WAYS.into_iter().flat_map(|way| [(way, 10), (way, 3 * MIB)]) {
        for client_breaks in [true, false] {
            let Scene { client, server, relay } = scene(way).await;
            let (mut breaking, mut other) =
                if client_breaks { (client, server) } else { (server, client) };
            tokio::join!(send(&mut breaking, 0, before), expect(&mut other, 0, before));
            reset(&breaking).expect("a TCP option");
            drop(breaking);
            expect_reset(&mut other).await;
            let outcome = relay.await.expect("the relay ends");
            let named = match outcome.end {
                End::A(Fault::Read(_)) => client_breaks,
                End::B(Fault::Read(_)) => !client_breaks,
                _ => false,
            };
            assert!(named, "{way:?}: {:?}", outcome.end);
        }
    }
}

/// A client that resets while its reader stalls is noticed by the write that waits for it.
#[tokio::test]
async fn a_reset_passes_to_a_side_that_is_being_held_up() {
    for way in WAYS {
        let Scene { client, mut server, relay } = scene(way).await;
        let flood = async {
            let block = vec![0; 100_000];
            loop {
                if let Err(error) = server.write_all(&block).await {
                    return error;
                }
            }
        };
        let breaking = async {
            settle().await;
            reset(&client).expect("a TCP option");
            drop(client);
        };
        let (error, ()) = tokio::join!(flood, breaking);
        assert!(
            matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe),
            "{error}"
        );
        let end = relay.await.expect("the relay ends").end;
        assert!(matches!(end, End::A(_)), "{way:?}: {end:?}");
    }
}

/// A server that answers early and closes resets its client's upload; the answer comes first.
#[tokio::test]
async fn an_early_answer_arrives_before_the_reset_that_follows() {
    for (way, before) in WAYS.into_iter().flat_map(|way| [(way, 10), (way, 3 * MIB)]) {
        let Scene { mut client, mut server, relay } = scene(way).await;
        tokio::join!(send(&mut client, 0, before), expect(&mut server, 0, before));
        server.write_all(b"too large").await.expect("connected");
        // Unread bytes make the kernel answer the close with a reset.
        client.write_all(&[0; 1000]).await.expect("connected");
        server.readable().await.expect("connected");
        drop(server);
        let mut answer = [0; 9];
        client.read_exact(&mut answer).await.expect("the answer");
        assert_eq!(&answer, b"too large");
        let mut upload = Ok(());
        while upload.is_ok() {
            upload = client.write_all(&[0; 1000]).await;
            tokio::task::yield_now().await;
        }
        let end = relay.await.expect("the relay ends").end;
        assert!(matches!(end, End::B(_)), "{way:?}: {end:?}");
    }
}

#[tokio::test]
async fn a_stalled_reader_holds_the_writer_back() {
    for way in WAYS {
        let Scene { mut client, mut server, relay } = scene(way).await;
        for stream in [&client, &server] {
            let socket = SockRef::from(stream);
            socket.set_recv_buffer_size(64 * 1024).expect("a TCP option");
            socket.set_send_buffer_size(64 * 1024).expect("a TCP option");
        }
        let before = 2 * MIB;
        tokio::join!(send(&mut client, 0, before), expect(&mut server, 0, before));
        let mut sent = before;
        loop {
            tokio::select! {
                biased;
                () = send(&mut client, sent, sent + 1000) => sent += 1000,
                () = settle() => break,
            }
        }
        // Kernel buffers, one chunk or one pipe; the relay's own sockets tune themselves up to MiB.
        assert!(sent - before < 24 * MIB, "{way:?}: {sent}");
        expect(&mut server, before, sent).await;
        drop((client, server));
        relay.await.expect("the relay ends");
    }
}

#[tokio::test]
async fn a_trickle_after_bulk_arrives_byte_by_byte() {
    for way in WAYS {
        let Scene { mut client, mut server, .. } = scene(way).await;
        tokio::join!(send(&mut client, 0, 2 * MIB), expect(&mut server, 0, 2 * MIB));
        for position in 0..200 {
            send(&mut client, position, position + 1).await;
            expect(&mut server, position, position + 1).await;
            send(&mut server, position, position + 1).await;
            expect(&mut client, position, position + 1).await;
        }
    }
}

#[tokio::test]
async fn counters_are_live() {
    let (mut client, mut a) = wire().await;
    let (mut b, mut server) = wire().await;
    let counters = Arc::new(Counters::default());
    let live = counters.clone();
    tokio::spawn(async move { relay_tcp(&mut a, &mut b, &live, None).await });
    tokio::join!(send(&mut client, 0, 3 * MIB), expect(&mut server, 0, 3 * MIB));
    send(&mut server, 0, 5).await;
    expect(&mut client, 0, 5).await;
    assert_eq!(counters.a_to_b.load(std::sync::atomic::Ordering::Relaxed), 3 * MIB);
    assert_eq!(counters.b_to_a.load(std::sync::atomic::Ordering::Relaxed), 5);
}
