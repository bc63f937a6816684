//! The relay over streams in memory and over loopback sockets, copied and spliced.

mod sockets;
mod streams;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The byte at `position` of test traffic: differs from that of a neighbour, a swapped block, or a
/// block sent twice.
fn pattern(position: u64) -> u8 {
    (position.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

async fn send(sink: &mut (impl AsyncWrite + Unpin), from: u64, to: u64) {
    let mut block = Vec::with_capacity(100_000);
    for position in from..to {
        block.push(pattern(position));
        if block.len() == block.capacity() || position + 1 == to {
            sink.write_all(&block).await.expect("the relay takes bytes");
            block.clear();
        }
    }
}

async fn expect(source: &mut (impl AsyncRead + Unpin), from: u64, to: u64) {
    let mut block = vec![0; 100_000];
    let mut at = from;
    while at < to {
        let room = block.len().min((to - at) as usize);
        let read = source.read(&mut block[..room]).await.expect("the relay brings bytes");
        assert_ne!(read, 0, "ended at {at} of {to}");
        for byte in &block[..read] {
            assert_eq!(*byte, pattern(at), "at {at}");
            at += 1;
        }
    }
}

async fn expect_end(source: &mut (impl AsyncRead + Unpin)) {
    let read = source.read(&mut [0; 1]).await.expect("an end, not an error");
    assert_eq!(read, 0, "a byte instead of the end");
}

/// Counts how often `future` is polled.
async fn counted<F: Future>(future: F, polls: Arc<AtomicU32>) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        polls.fetch_add(1, Ordering::Relaxed);
        future.as_mut().poll(cx)
    })
    .await
}

/// Lets everything that can run do so.
async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}
