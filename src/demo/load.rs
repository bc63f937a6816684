//! The load: requests at a steady rate, as the workload `shopper`.
//!
//! A request is due at its time whether or not others have been answered, and its latency counts
//! from then, so that a stall shows in the numbers instead of thinning them out. What is in flight
//! is bounded; at the end every request is waited for.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};
use tokio::sync::Semaphore;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::client::{CallError, Client};
use super::tally::{Edge, Tally};

/// A caller's patience; nothing on this machine should take as long.
const PATIENCE: Duration = Duration::from_secs(5);
/// In flight at most: far more than a working mesh ever has, and fewer than the streams of one
/// HTTP/2 connection (256). What waited inside an app for a place on a connection that leaves would
/// be lost with it.
const IN_FLIGHT: u32 = 200;
/// What is asked for, in turn: each shape of gRPC, and HTTP that leads to TCP.
const PATHS: [&str; 6] =
    ["/checkout/rope", "/catalogue", "/checkout/paddle", "/basket", "/checkout/sail", "/follow"];

/// Who asks, and how often.
pub(super) struct Load {
    client: Client,
    edge: Arc<Edge>,
    rate: u32,
    places: Semaphore,
}

impl Load {
    pub(super) fn new(client: Client, tally: &Tally, rate: u32) -> Load {
        let places = Semaphore::new(IN_FLIGHT as usize);
        Load { client, edge: tally.to("web"), rate: rate.max(1), places }
    }

    /// Asks until `end`, waits for the last answer, and says how long that took.
    pub(super) async fn run(self: Rc<Self>, end: impl Future<Output = ()>) -> Duration {
        let begun = Instant::now();
        let mut end = pin!(end);
        let mut ticks = interval(Duration::from_secs(1) / self.rate);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut paths = PATHS.iter().cycle();
        loop {
            let next = async {
                let due = ticks.tick().await;
                if let Ok(place) = self.places.acquire().await {
                    place.forget();
                }
                due
            };
            tokio::select! {
                due = next => {
                    let path = paths.next().copied().unwrap_or("/");
                    tokio::task::spawn_local(Rc::clone(&self).ask(path, due));
                }
                () = &mut end => break,
            }
        }
        // Each of them gives up by itself, so that this ends.
        let _ = self.places.acquire_many(IN_FLIGHT).await;
        begun.elapsed()
    }

    async fn ask(self: Rc<Self>, path: &'static str, due: Instant) {
        let headers = HeaderMap::new();
        let call = timeout(PATIENCE, self.client.call(Method::GET, path, &headers));
        let answer = call.await.unwrap_or(Err(CallError::Timeout(PATIENCE)));
        self.edge.record(due.elapsed(), answer.err().as_ref());
        self.places.add_permits(1);
    }
}
