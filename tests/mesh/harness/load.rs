//! Steady traffic: so many requests a second, and what became of each that was not answered 200.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Wire, eventually, get};

/// Each has a connection of its own.
const THREADS: u32 = 4;

pub struct Load {
    begun: Instant,
    shared: Arc<Shared>,
    threads: Vec<thread::JoinHandle<Vec<String>>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    done: AtomicUsize,
    slowest_us: AtomicU64,
}

impl Load {
    /// GETs to a listener for one service.
    pub fn steady(to: SocketAddr, per_second: u32) -> Self {
        let (begun, shared) = (Instant::now(), Arc::new(Shared::default()));
        let gap = Duration::from_secs(1) * THREADS / per_second;
        let work = |_| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || run(to, gap, begun, &shared))
        };
        let threads = (0..THREADS).map(work).collect();
        Self { begun, shared, threads }
    }

    /// Requests that were answered 200.
    pub fn done(&self) -> usize {
        self.shared.done.load(Ordering::SeqCst)
    }

    /// Waits until this many more were answered.
    #[track_caller]
    pub fn goes_on(&self, more: usize) {
        let before = self.done();
        eventually(&format!("{more} more requests are answered"), || self.done() >= before + more);
    }

    /// Ends it: none may have been lost.
    #[track_caller]
    pub fn lost_nothing(mut self) {
        let failures = self.end();
        let done = self.shared.done.load(Ordering::SeqCst);
        let slowest = Duration::from_micros(self.shared.slowest_us.load(Ordering::SeqCst));
        eprintln!("{done} requests in {:?}, the slowest took {slowest:?}", self.begun.elapsed());
        assert!(failures.is_empty(), "of {done} requests: {failures:#?}");
        assert!(done > 0);
    }

    fn end(&mut self) -> Vec<String> {
        self.shared.stop.store(true, Ordering::SeqCst);
        let threads = std::mem::take(&mut self.threads).into_iter();
        threads.flat_map(|thread| thread.join().unwrap_or_default()).collect()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

fn run(to: SocketAddr, gap: Duration, begun: Instant, shared: &Shared) -> Vec<String> {
    let mut failures = Vec::new();
    let mut wire = Wire::connect(to);
    let mut next = Instant::now();
    while !shared.stop.load(Ordering::SeqCst) && failures.len() < 10 {
        let asked = Instant::now();
        let sent = wire.try_send(get("/load"));
        let answer = sent.map_err(Into::into).and_then(|()| wire.message(false));
        let took = asked.elapsed();
        shared.slowest_us.fetch_max(took.as_micros() as u64, Ordering::SeqCst);
        match answer {
            Ok(answer) if answer.status() == 200 => {
                shared.done.fetch_add(1, Ordering::SeqCst);
                if answer.closes() {
                    wire = Wire::connect(to);
                }
            }
            other => {
                failures.push(format!("{:?} after the start: {other:?}", begun.elapsed()));
                wire = Wire::connect(to);
            }
        }
        next = (next + gap).max(Instant::now());
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    failures
}
