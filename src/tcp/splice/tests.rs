//! The pipe pool, and that bulk really goes through it.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{BULK_BYTES, MAX_PIPES, MAX_POOLED, PIPES, POOL, Pipe};
use crate::tcp::{Counters, End, relay_tcp};

async fn wire() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = listener.local_addr().expect("bound");
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.expect("connects"), far.expect("accepts").0)
}

async fn carry(bytes: u64) -> End {
    let (mut client, mut a) = wire().await;
    let (mut b, mut server) = wire().await;
    let counters = Counters::default();
    let send = async {
        let sent = tokio::io::copy(&mut tokio::io::repeat(7).take(bytes), &mut client).await;
        assert_eq!(sent.expect("connected"), bytes);
        client.shutdown().await.expect("connected");
    };
    let receive = async {
        let mut all = Vec::new();
        server.read_to_end(&mut all).await.expect("an end");
        assert_eq!(all.len() as u64, bytes);
        assert!(all.iter().all(|byte| *byte == 7));
        server.shutdown().await.expect("connected");
    };
    tokio::join!(relay_tcp(&mut a, &mut b, &counters, None), send, receive).0.end
}

fn pooled() -> usize {
    POOL.with_borrow(Vec::len)
}

#[tokio::test]
async fn bulk_takes_a_pipe_and_gives_it_back() {
    assert!(matches!(carry(BULK_BYTES / 2).await, End::Clean));
    assert_eq!(PIPES.get(), 0, "too little to be bulk");
    assert!(matches!(carry(4 * BULK_BYTES).await, End::Clean));
    assert_eq!((PIPES.get(), pooled()), (1, 1));
    assert!(matches!(carry(4 * BULK_BYTES).await, End::Clean));
    assert_eq!((PIPES.get(), pooled()), (1, 1), "used again");
}

#[tokio::test]
async fn without_a_pipe_copying_goes_on() {
    let all: Vec<_> = (0..MAX_PIPES).map_while(|_| Pipe::take()).collect();
    assert_eq!(all.len(), MAX_PIPES);
    assert!(Pipe::take().is_none());
    assert!(matches!(carry(4 * BULK_BYTES).await, End::Clean));
    for pipe in all {
        pipe.put_back();
    }
    assert_eq!((PIPES.get(), pooled()), (MAX_POOLED, MAX_POOLED));
}
