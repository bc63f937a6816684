//! The data plane's threads: each a current-thread runtime with state of its own.
//!
//! A connection is born, served and finished on one worker, so its tasks need neither locks nor
//! `Send`. What reaches a worker from outside is a job in a bounded queue; the least loaded worker
//! is the one with the fewest open connections.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::mpsc;

use super::rehearsal::{self, At};
use super::supervise::vital_thread;

/// A piece of work that runs on a worker's thread, inside its runtime.
pub type Job<S> = Box<dyn FnOnce(&Rc<S>) + Send>;

/// Accepted sockets on their way to another worker; beyond this the acceptor waits.
const QUEUE: usize = 1024;

/// The workers of a process, each with its own state `S`.
pub struct Workers<S> {
    workers: Arc<[Worker<S>]>,
}

struct Worker<S> {
    jobs: mpsc::Sender<Job<S>>,
    load: Arc<AtomicUsize>,
}

impl<S> Clone for Workers<S> {
    fn clone(&self) -> Self {
        Self { workers: Arc::clone(&self.workers) }
    }
}

/// One unit of a worker's load; given back on drop.
#[derive(Debug)]
pub struct Load(Arc<AtomicUsize>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A runtime for one thread, whose tasks may hold `Rc`.
///
/// # Errors
/// The system's, when it refuses epoll or a timer.
pub fn local_runtime() -> io::Result<LocalRuntime> {
    // Sockets are looked at after 61 polls of tasks, as is tokio's default: what moves many bytes in
    // one ends its turn (`turns`).
    Builder::new_current_thread().enable_all().build_local(LocalOptions::default())
}

impl<S: 'static> Workers<S> {
    /// Starts `count` threads; `make` builds each one's state on its own thread.
    ///
    /// # Errors
    /// When the system refuses a thread or a runtime.
    pub fn start<F>(count: usize, make: F) -> io::Result<Self>
    where
        F: Fn(usize) -> S + Send + Clone + 'static,
    {
        let mut workers = Vec::with_capacity(count);
        for index in 0..count {
            let (jobs, queue) = mpsc::channel(QUEUE);
            let (ready, is_ready) = std::sync::mpsc::channel();
            let make = make.clone();
            thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
                // Its connections are gone with it, and no other thread has its state.
                vital_thread("a worker", || run(queue, ready, move || make(index)));
            })?;
            is_ready.recv().map_err(io::Error::other)??;
            workers.push(Worker { jobs, load: Arc::default() });
        }
        Ok(Self { workers: workers.into() })
    }

    pub fn count(&self) -> usize {
        self.workers.len()
    }

    /// The open connections of all.
    pub fn connections(&self) -> usize {
        self.workers.iter().map(|worker| worker.load.load(Ordering::Relaxed)).sum()
    }

    /// The worker with the fewest connections, and its load one higher.
    pub fn least_loaded(&self) -> (usize, Load) {
        // One that is gone would be the least loaded of all.
        let here = self.workers.iter().enumerate().filter(|(_, worker)| !worker.jobs.is_closed());
        let loads = here.map(|(index, worker)| (index, worker.load.load(Ordering::Relaxed)));
        let index = loads.min_by_key(|&(_, load)| load).map_or(0, |(index, _)| index);
        let load = Arc::clone(&self.workers[index].load);
        load.fetch_add(1, Ordering::Relaxed);
        (index, Load(load))
    }

    /// Hands a job to one worker, waiting while its queue is full. A worker that is gone (the
    /// process is leaving) drops it.
    pub async fn send(&self, index: usize, job: Job<S>) {
        let _ = self.workers[index].jobs.send(job).await;
    }

    /// Runs a job on every worker, as soon as each one's queue has room: none misses it. To be
    /// called on a [`local_runtime`].
    pub fn on_each(&self, job: impl Fn(&Rc<S>) + Clone + Send + 'static) {
        for index in 0..self.count() {
            let (workers, job) = (self.clone(), job.clone());
            tokio::task::spawn_local(async move { workers.send(index, Box::new(job)).await });
        }
    }

    /// Hands a job to one worker now; false when its queue is full or it is gone.
    pub fn try_send(&self, index: usize, job: Job<S>) -> bool {
        self.workers[index].jobs.try_send(job).is_ok()
    }
}

fn run<S: 'static>(
    mut queue: mpsc::Receiver<Job<S>>,
    ready: std::sync::mpsc::Sender<io::Result<()>>,
    make: impl FnOnce() -> S,
) {
    let runtime = match local_runtime() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    runtime.block_on(async move {
        let state = Rc::new(make());
        let _ = ready.send(Ok(()));
        while let Some(job) = queue.recv().await {
            rehearsal::pass(At::Worker);
            // A job that panics must not take the worker and all its connections with it.
            let state = Rc::clone(&state);
            tokio::task::spawn_local(async move { job(&state) });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_are_to_hear_waits_where_a_queue_is_full() {
        let workers = Workers::start(1, |_| ()).expect("threads can be had");
        let (begun, has_begun) = std::sync::mpsc::channel();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let busy = move |_: &Rc<()>| {
            let _ = begun.send(());
            let _ = released.recv();
        };
        assert!(workers.try_send(0, Box::new(busy)));
        has_begun.recv().expect("the worker is busy");
        while workers.try_send(0, Box::new(|_| {})) {}
        let (tell, mut told) = mpsc::channel(1);
        local_runtime().expect("a runtime").block_on(async {
            workers.on_each(move |_| tell.try_send(()).expect("there is room for one"));
            tokio::task::yield_now().await;
            drop(release);
            assert_eq!(told.recv().await, Some(()), "the job was lost");
        });
    }
}
