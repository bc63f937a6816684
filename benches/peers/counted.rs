//! Callers that do one thing over and over.

use std::cell::Cell;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::load::alone;

/// Does it for so long, so many at once, each with a buffer of its own; returns how often.
pub fn counted(at_once: usize, how_long: Duration, each: impl AsyncFn(&mut Vec<u8>)) -> f64 {
    let count = Cell::new(0.0);
    let until = Instant::now() + how_long;
    let repeat = async || {
        let mut buf = Vec::new();
        while Instant::now() < until {
            each(&mut buf).await;
            count.set(count.get() + 1.0);
        }
    };
    alone(async {
        join_all((0..at_once).map(|_| repeat())).await;
    });
    count.get()
}
