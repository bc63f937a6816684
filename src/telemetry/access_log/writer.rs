//! The thread that writes the access log, and the bounded queue before it.
//!
//! The queue never holds more than [`QUEUE_BYTES`]; what does not fit is dropped and counted, as is
//! what the output refuses. Workers only push under a lock that is never held across a write. The
//! thread outlives any error of its output: a broken pipe may be followed by nothing else, but it
//! must not cost a request.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::telemetry::Error;
use crate::telemetry::metrics::{Counter, Registry};

/// What may wait to be written: some 8,000 entries. Arbitrary; it bridges a pause of the reader of
/// a second or so and stays small beside the proxy.
const QUEUE_BYTES: usize = 4 * 1024 * 1024;

/// How long to wait for an output that takes nothing now (somebody made it non-blocking).
const WOULD_BLOCK_PAUSE: Duration = Duration::from_millis(10);

/// The writer thread. One per process.
pub struct Writer {
    queue: Arc<Queue>,
}

/// Where workers put their batches; goes to any thread.
#[derive(Clone)]
pub struct Feed(Arc<Queue>);

struct Queue {
    state: Mutex<State>,
    /// Signalled on a new batch, on closing and on the end.
    changed: Condvar,
    dropped: Counter,
}

#[derive(Default)]
struct State {
    batches: VecDeque<Batch>,
    bytes: usize,
    closing: bool,
    ended: bool,
}

struct Batch {
    lines: Box<[u8]>,
    entries: u64,
}

impl Writer {
    /// Starts a writer to standard output.
    ///
    /// # Errors
    /// When the process has no standard output or no room for a thread.
    pub fn stdout(registry: &Registry) -> Result<Self, Error> {
        // A descriptor of our own: std's handle would look for line ends and buffer once more.
        let out = io::stdout().as_fd().try_clone_to_owned().map_err(Error::AccessLog)?;
        Self::spawn(File::from(out), registry)
    }

    /// Starts a writer to `out`.
    ///
    /// # Errors
    /// When there is no room for a thread.
    pub fn spawn(out: impl Write + Send + 'static, registry: &Registry) -> Result<Self, Error> {
        let dropped = registry.counter(
            "outrigger_access_log_dropped_total",
            "Access log entries lost: the queue was full or the output failed.",
        );
        let (state, changed) = (Mutex::default(), Condvar::new());
        let queue = Arc::new(Queue { state, changed, dropped });
        let theirs = Arc::clone(&queue);
        thread::Builder::new()
            .name("access-log".to_owned())
            .stack_size(128 * 1024)
            .spawn(move || theirs.run(out))
            .map_err(Error::AccessLog)?;
        Ok(Self { queue })
    }

    /// An entrance for a worker's [`super::AccessLog`].
    pub fn feed(&self) -> Feed {
        Feed(Arc::clone(&self.queue))
    }

    /// Writes what is queued and ends the thread. False when the output did not take everything
    /// `within` that time; the thread is then left to itself. Workers flush theirs before.
    pub fn close(self, within: Duration) -> bool {
        let mut state = self.queue.lock();
        state.closing = true;
        self.queue.changed.notify_all();
        let waited = self.queue.changed.wait_timeout_while(state, within, |state| !state.ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.ended
    }
}

impl Feed {
    /// Queues a batch, or drops and counts it. Never waits for the output.
    pub(super) fn offer(&self, lines: Box<[u8]>, entries: u64) {
        let mut state = self.0.lock();
        if state.ended || state.bytes + lines.len() > QUEUE_BYTES {
            drop(state);
            self.0.dropped.add(entries);
            return;
        }
        state.bytes += lines.len();
        state.batches.push_back(Batch { lines, entries });
        drop(state);
        self.0.changed.notify_all();
    }
}

impl Queue {
    fn run(&self, mut out: impl Write) {
        while let Some(batch) = self.next() {
            // Nobody else reads what is queued: whatever an output does, the next batch has its turn.
            let writing = AssertUnwindSafe(|| write_all(&mut out, &batch.lines));
            if !matches!(catch_unwind(writing), Ok(Ok(_))) {
                self.dropped.add(batch.entries);
            }
            self.lock().bytes -= batch.lines.len();
        }
    }

    /// Waits for a batch; its bytes count against the bound until they are written. None at the
    /// end.
    fn next(&self) -> Option<Batch> {
        let idle = |state: &mut State| state.batches.is_empty() && !state.closing;
        let waited = self.changed.wait_while(self.lock(), idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        let batch = state.batches.pop_front();
        if batch.is_none() {
            state.ended = true;
            self.changed.notify_all();
        }
        batch
    }

    /// A panic under the lock is impossible short of running out of memory.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Like `Write::write_all`, but patient with a non-blocking output, where that would give up in the
/// middle of a line.
fn write_all(out: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => thread::sleep(WOULD_BLOCK_PAUSE),
                _ => return Err(error),
            },
        }
    }
    out.flush()
}
