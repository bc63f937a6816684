//! A tap that another replica hands on: what the sidecars that are connected here see, and nobody
//! else's, so that a tap never goes round.
//!
//! Something is said every second, if only how many sidecars are asked. It ends when the other replica
//! leaves or takes nothing for too long, in time, and with this process.

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tracing::info;

use super::Author;
use super::tap::{BYTES, PAUSE, RECORDS, STUCK};
use super::taps::{Begun, Held, Lookout};
use crate::runtime::clock::now_us;
use crate::telemetry::tap::{Drained, LeftOut};
use crate::wire::v1;

/// What goes to the other replica.
pub type Told = Result<v1::ReplicaTapped, Status>;

/// Begins to watch.
///
/// # Errors
/// As for a person's tap.
pub fn tap(
    lookout: &Lookout,
    who: &Author,
    request: v1::TapRequest,
) -> Result<ReceiverStream<Told>, Status> {
    let Begun { held, sidecars, count: _, length } = lookout.begin(request)?;
    info!(%who, target = %held.tap.target, sidecars, "another replica taps requests");
    let (reader, told) = mpsc::channel(2);
    let call = Handed { lookout: lookout.clone(), held, reader };
    // There is room: it is the first.
    let _ = call.reader.try_send(Ok(call.part(
        sidecars,
        0,
        Drained { items: Vec::new(), left_out: LeftOut::default(), is_over: false },
    )));
    tokio::spawn(call.follow(Instant::now() + length));
    Ok(ReceiverStream::new(told))
}

struct Handed {
    lookout: Lookout,
    held: Held,
    reader: mpsc::Sender<Told>,
}

impl Handed {
    async fn follow(mut self, until: Instant) {
        let mut leaving = self.lookout.leaving.clone();
        let mut looks = self.lookout.looks();
        loop {
            let is_news = tokio::select! {
                biased;
                () = self.reader.closed() => break,
                () = sleep_until(until) => break,
                _ = leaving.wait_for(|leaves| *leaves) => break,
                () = looks.next() => false,
                () = self.held.tap.queue.some() => true,
            };
            if !self.tell().await {
                break;
            }
            if is_news {
                sleep(PAUSE).await;
            }
        }
        info!(target = %self.held.tap.target, "another replica taps no more");
    }

    /// What there is; false when nobody takes it any more.
    async fn tell(&mut self) -> bool {
        let tap = &self.held.tap;
        let (sidecars, watching) = tap.sidecars();
        let part = self.part(sidecars, watching, tap.queue.drain(RECORDS, BYTES, now_us()));
        matches!(timeout(STUCK, self.reader.send(Ok(part))).await, Ok(Ok(())))
    }

    fn part(
        &self,
        sidecars: u32,
        watching: u32,
        drained: Drained<v1::TapRecord>,
    ) -> v1::ReplicaTapped {
        let Drained { items: records, left_out, is_over: _ } = drained;
        let LeftOut { over_rate, unread } = left_out;
        let replica = self.lookout.observer.memory.replica.to_string();
        v1::ReplicaTapped { replica, sidecars, watching, records, over_rate, unread }
    }
}
