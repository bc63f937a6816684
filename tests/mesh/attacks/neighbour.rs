//! Another client of the sidecar, on a connection of its own: asks all the time, and takes note of
//! what it met with, before the danger and in it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Wire, get, within};

/// Between an answer and the next request.
const PAUSE: Duration = Duration::from_millis(2);

pub struct Neighbour {
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<Vec<Request>>>,
}

#[derive(Default)]
struct Shared {
    is_danger: AtomicBool,
    is_over: AtomicBool,
    done: AtomicUsize,
}

struct Request {
    in_danger: bool,
    took: Duration,
    failure: Option<String>,
}

/// What became of its requests.
pub struct Met {
    pub failures: Vec<String>,
    /// Requests that were under way in the danger.
    pub endangered: usize,
    /// The 99th percentile before the danger, and in it.
    quiet_p99: Duration,
    pub p99: Duration,
}

impl Neighbour {
    pub fn at(to: SocketAddr) -> Self {
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        Self { shared, thread: Some(thread::spawn(move || run(to, &own))) }
    }

    pub fn danger_begins(&self) {
        self.shared.is_danger.store(true, Ordering::SeqCst);
    }

    /// Waits until it was answered so many times more.
    #[track_caller]
    pub fn goes_on(&self, more: usize) {
        let done = || self.shared.done.load(Ordering::SeqCst);
        let before = done();
        within(Duration::from_secs(20), "the neighbour is answered", || done() >= before + more);
    }

    pub fn end(mut self) -> Met {
        self.shared.is_over.store(true, Ordering::SeqCst);
        let thread = self.thread.take().expect("it ends once");
        let requests = thread.join().expect("it does not panic");
        let endangered = requests.iter().filter(|request| request.in_danger).count();
        let p99 = |in_danger: bool| {
            let of = requests.iter().filter(|request| request.in_danger == in_danger);
            let mut times: Vec<Duration> = of.map(|request| request.took).collect();
            times.sort_unstable();
            let at = (times.len() * 99).div_ceil(100).saturating_sub(1);
            times.get(at).copied().unwrap_or_default()
        };
        let (quiet_p99, p99) = (p99(false), p99(true));
        let failures = requests.into_iter().filter_map(|request| request.failure).collect();
        Met { failures, endangered, quiet_p99, p99 }
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
    }
}

impl fmt::Display for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lost = self.failures.len().min(self.endangered);
        let rate = 100.0 * (self.endangered - lost) as f64 / self.endangered.max(1) as f64;
        write!(
            f,
            "neighbour {rate:.2} % of {}, p99 {:.1?}, without {:.1?}",
            self.endangered, self.p99, self.quiet_p99
        )
    }
}

fn run(to: SocketAddr, shared: &Shared) -> Vec<Request> {
    let mut requests = Vec::new();
    let mut wire = Wire::connect(to);
    while !shared.is_over.load(Ordering::SeqCst) {
        let asked = Instant::now();
        let sent = wire.try_send(get("/neighbour"));
        let answer = sent.map_err(Into::into).and_then(|()| wire.message(false));
        let failure = match answer {
            Ok(answer) if answer.status() == 200 => None,
            other => Some(format!("{other:?}")),
        };
        if failure.is_some() {
            wire = Wire::connect(to);
        }
        shared.done.fetch_add(1, Ordering::SeqCst);
        let in_danger = shared.is_danger.load(Ordering::SeqCst);
        requests.push(Request { in_danger, took: asked.elapsed(), failure });
        thread::sleep(PAUSE);
    }
    requests
}
