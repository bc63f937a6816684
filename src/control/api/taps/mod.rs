//! Who watches requests as they end, and what sidecars tell them.
//!
//! Each session follows the list of taps and asks its sidecar for what concerns it; nobody asks on a
//! session's behalf, so a tap makes no session wait. What comes goes into the tap's own bounded queue,
//! at no more than its rate, and the call that it belongs to hands it on. A tap ends with its call.

mod lookout;
mod target;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::watch;

use crate::telemetry::tap::{Filter, LeftOut, Queue};
use crate::wire::v1;

pub use lookout::{Begun, Lookout};
pub use target::{Sidecar, Target};

/// Taps at once: as many as a sidecar has places for.
const MOST: usize = 8;

/// All of them.
#[derive(Default)]
pub struct Taps {
    live: watch::Sender<Vec<Arc<Tap>>>,
    begun: AtomicU64,
}

/// What somebody watches.
pub struct Tap {
    /// Another one for each.
    pub id: u64,
    pub target: Target,
    pub filter: Filter,
    /// Requests a second, of all sidecars together.
    pub rate: u32,
    pub queue: Queue<v1::TapRecord>,
    sidecars: AtomicU32,
    watching: AtomicU32,
}

/// A tap, for as long as its call lasts.
pub struct Held {
    taps: Arc<Taps>,
    pub tap: Arc<Tap>,
}

/// A sidecar that was asked, for as long as it is.
pub struct Asked {
    pub tap: Arc<Tap>,
    is_watching: bool,
}

impl Taps {
    /// Begins one; `None`: there are too many.
    pub fn begin(
        self: &Arc<Self>,
        target: Target,
        filter: Filter,
        rate: u32,
        now_us: u64,
    ) -> Option<Held> {
        let id = self.begun.fetch_add(1, Relaxed) + 1;
        let queue = Queue::new(rate, now_us);
        let (sidecars, watching) = Default::default();
        let tap = Arc::new(Tap { id, target, filter, rate, queue, sidecars, watching });
        let is_taken = self.live.send_if_modified(|live| {
            let has_room = live.len() < MOST;
            if has_room {
                live.push(Arc::clone(&tap));
            }
            has_room
        });
        is_taken.then(|| Held { taps: Arc::clone(self), tap })
    }

    /// The list, and word of each change of it.
    pub fn follow(&self) -> watch::Receiver<Vec<Arc<Tap>>> {
        self.live.subscribe()
    }

    /// Who is concerned may have changed.
    pub fn look_again(&self) {
        self.live.send_modify(|_| {});
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.taps.live.send_modify(|live| live.retain(|tap| tap.id != self.tap.id));
    }
}

impl Tap {
    /// What a sidecar saw for it.
    pub fn take(
        &self,
        workload: &str,
        requests: Vec<v1::TappedRequest>,
        left_out: LeftOut,
        now_us: u64,
    ) {
        for request in requests {
            self.queue.offer(now_us, || {
                let size = size(workload, &request);
                let workload = workload.to_owned();
                (v1::TapRecord { workload, request: Some(request) }, size)
            });
        }
        self.queue.leave_out(left_out);
    }

    /// The same, as another replica is asked for it.
    pub fn order(&self, length: Duration) -> v1::TapRequest {
        use v1::tap_request::Target as Asked;
        let target = match &self.target {
            Target::Everybody => None,
            Target::Namespace(name) => Some(Asked::Namespace(name.to_string())),
            Target::Workload(name) => Some(Asked::Workload(name.to_string())),
            Target::Service(name) => Some(Asked::Service(name.to_string())),
        };
        v1::TapRequest {
            target,
            filter: Some((&self.filter).into()),
            rate: self.rate,
            count: 0,
            duration_ms: u64::try_from(length.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// How many sidecars are asked now, and how many of them watch.
    pub fn sidecars(&self) -> (u32, u32) {
        (self.sidecars.load(Relaxed), self.watching.load(Relaxed))
    }
}

/// About how many bytes it takes.
fn size(workload: &str, request: &v1::TappedRequest) -> usize {
    let texts = [
        &request.request_id,
        &request.method,
        &request.authority,
        &request.path,
        &request.protocol,
        &request.reason,
        &request.service,
        &request.route,
        &request.endpoint,
        &request.peer,
        &request.user_agent,
        &request.tls,
    ];
    200 + workload.len() + texts.iter().map(|text| text.len()).sum::<usize>()
}

impl Asked {
    pub fn of(tap: &Arc<Tap>) -> Self {
        tap.sidecars.fetch_add(1, Relaxed);
        Self { tap: Arc::clone(tap), is_watching: false }
    }

    /// It said so.
    pub fn watches(&mut self) {
        if !std::mem::replace(&mut self.is_watching, true) {
            self.tap.watching.fetch_add(1, Relaxed);
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.tap.sidecars.fetch_sub(1, Relaxed);
        if self.is_watching {
            self.tap.watching.fetch_sub(1, Relaxed);
        }
    }
}
