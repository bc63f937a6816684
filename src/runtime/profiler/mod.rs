//! Where the process spends its CPU time, for as long as somebody wants to know; else it costs nothing.
//!
//! Each thread is interrupted a hundred times in a second of its own CPU time. What runs in the signal
//! copies a piece of the stack and returns (`sampler`): no allocation, no lock, nothing of the
//! program's own state. A thread beside the others reads the calls out of the copies (`calls`), by
//! the tables that unwinding uses, and writes them as pprof has them (`format`).

mod calls;
mod format;
mod sampler;

use std::collections::HashMap;
use std::io;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::oneshot;

use calls::Calls;
use sampler::Sampler;

/// Time between two looks at what was sampled.
const PAUSE: Duration = Duration::from_millis(50);
/// Time between two looks at which threads there are.
const THREADS: Duration = Duration::from_secs(1);

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    #[error("a profile is being taken already")]
    Busy,
    #[error("the system does not let threads be sampled: {0}")]
    System(#[from] io::Error),
}

/// What was sampled: threads, and where they were, the innermost call first.
type Samples = HashMap<(i32, Vec<u64>), u64>;

/// Samples for that long; the profile as pprof reads it, not compressed. Who stops waiting stops it.
///
/// # Errors
/// Why nothing was sampled.
pub async fn profile(lasts: Duration) -> Result<Vec<u8>, ProfileError> {
    let sampler = Sampler::begin()?;
    let (sender, receiver) = oneshot::channel();
    let run = move || {
        let taken = take(sampler, lasts, || sender.is_closed());
        // Nobody may be waiting any longer.
        let _ = sender.send(taken);
    };
    thread::Builder::new().name("profiler".to_owned()).spawn(run)?;
    receiver.await.map_err(|_| io::Error::other("the profiler ended early"))?
}

fn take(
    mut sampler: Sampler,
    lasts: Duration,
    is_unwanted: impl Fn() -> bool,
) -> Result<Vec<u8>, ProfileError> {
    let (wall, began) = (SystemTime::now(), Instant::now());
    let mut calls = Calls::of_this_process();
    let mut samples = Samples::new();
    let mut looked = began;
    sampler.watch_threads()?;
    while began.elapsed() < lasts && !is_unwanted() {
        thread::sleep(PAUSE.min(lasts.saturating_sub(began.elapsed())));
        if looked.elapsed() >= THREADS {
            looked = Instant::now();
            sampler.watch_threads()?;
        }
        sampler.drain(|sample| {
            *samples.entry((sample.thread, calls.read(sample))).or_default() += 1;
        });
    }
    let names = sampler.thread_names();
    let lost = sampler.lost();
    drop(sampler);
    let taken = format::Taken { samples, names, lost, wall, took: began.elapsed() };
    Ok(format::write(taken, &calls))
}
