//! One call that watches requests as they end, from the question to its last word.
//!
//! It hands on what the tap's queue holds, a few times a second: what sidecars see that are connected
//! here, and what other replicas say of theirs. It ends when the caller leaves or takes nothing for too
//! long, when it has told enough, in time, and with this process; the tap ends with it, and every
//! sidecar hears so.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tracing::info;

use super::Author;
use super::taps::{Begun, Held, Lookout};
use crate::control::replicas::{Elsewhere, State};
use crate::runtime::clock::now_us;
use crate::telemetry::tap::{Drained, LeftOut};
use crate::wire::v1;
use crate::wire::v1::tap_ended::Why;
use crate::wire::v1::tap_response::Message;

/// What goes to the caller.
pub type Told = Result<v1::TapResponse, Status>;

/// Between two messages.
pub(super) const PAUSE: Duration = Duration::from_millis(100);
/// In one message.
pub(super) const RECORDS: usize = 500;
pub(super) const BYTES: usize = 256 << 10;
/// How long a caller may take nothing.
pub(super) const STUCK: Duration = Duration::from_secs(60);
/// How long the caller waits to hear which other replicas take part: a little more than each of them
/// has to answer.
const ROUND: Duration = Duration::from_millis(1_500);

/// Begins to watch.
///
/// # Errors
/// INVALID_ARGUMENT, NOT_FOUND and RESOURCE_EXHAUSTED, as the protocol says.
pub fn tap(
    lookout: &Lookout,
    who: Author,
    request: v1::TapRequest,
) -> Result<ReceiverStream<Told>, Status> {
    let Begun { held, sidecars, count, length } = lookout.begin(request)?;
    let tap = &held.tap;
    let filter = tap.filter.to_string();
    info!(%who, target = %tap.target, filter, rate = tap.rate, sidecars, "taps requests");
    let observer = &lookout.observer;
    let (alone, nobody) = watch::channel(Elsewhere::new());
    let elsewhere = observer
        .others
        .as_ref()
        .map_or(nobody, |others| others.tap(&observer.catalog, tap.order(length), Arc::clone(tap)));
    let (reader, told) = mpsc::channel(2);
    let lookout = lookout.clone();
    tokio::spawn(async move {
        let left_out = LeftOut::default();
        let mut call =
            Call { lookout, held, reader, elsewhere, _alone: alone, left: count, left_out };
        call.follow(Instant::now() + length, sidecars).await;
        let (told, target) = (count - call.left, &call.held.tap.target);
        let left_out = call.left_out.total();
        info!(%who, %target, told, left_out, "taps no more");
    });
    Ok(ReceiverStream::new(told))
}

/// One call.
struct Call {
    lookout: Lookout,
    held: Held,
    reader: mpsc::Sender<Told>,
    /// How it goes at other replicas.
    elsewhere: watch::Receiver<Elsewhere>,
    /// So that nobody else to ask is no news either.
    _alone: watch::Sender<Elsewhere>,
    /// Requests that it still tells.
    left: u64,
    left_out: LeftOut,
}

impl Call {
    /// To its end.
    async fn follow(&mut self, until: Instant, sidecars: u32) {
        let mut leaving = self.lookout.leaving.clone();
        let mut looks = self.lookout.looks();
        let answered =
            self.elsewhere.wait_for(|all| all.values().all(|(_, state)| *state != State::Asked));
        // Who has not answered by then is told of later.
        drop(timeout(ROUND, answered).await);
        let mut others = reach(&self.elsewhere.borrow_and_update());
        if !self.say(Message::Begun(self.begun(sidecars, others.clone()))).await {
            return;
        }
        let why = loop {
            tokio::select! {
                biased;
                () = self.reader.closed() => return,
                () = sleep_until(until) => break Why::Time,
                () = async { drop(leaving.wait_for(|leaves| *leaves).await) } => {
                    break Why::Leaving;
                }
                () = looks.next() => continue,
                // Its sender is here or with what asks the others; that ends with the process.
                Ok(()) = self.elsewhere.changed() => {
                    let now = reach(&self.elsewhere.borrow_and_update());
                    let is_other = differ(&others, &now);
                    others = now;
                    if is_other && !self.say(Message::Replicas(others.clone())).await {
                        return;
                    }
                    continue;
                }
                () = self.held.tap.queue.some() => {}
            }
            if !self.tell().await {
                return;
            }
            if self.left == 0 {
                break Why::Count;
            }
            sleep(PAUSE).await;
        };
        if self.left > 0 && !self.tell().await {
            return;
        }
        let (mut sidecars, mut watching) = self.held.tap.sidecars();
        for (_, state) in self.elsewhere.borrow().values() {
            if let State::Shown { sidecars: theirs, watching: of_them } = state {
                sidecars = sidecars.saturating_add(*theirs);
                watching = watching.saturating_add(*of_them);
            }
        }
        self.say(Message::Ended(v1::TapEnded { why: why.into(), sidecars, watching })).await;
    }

    fn begun(&self, sidecars: u32, others: v1::TapReplicas) -> v1::TapBegun {
        let own = self.lookout.observer.memory.replica.to_string();
        let is_alone = others.shown.is_empty() && others.missing.is_empty();
        let us = v1::Replica { name: own.clone(), ..v1::Replica::default() };
        let unshown = [vec![us], others.missing.clone()].concat();
        v1::TapBegun {
            replica: own,
            sidecars,
            target: self.held.tap.target.to_string(),
            replicas: if is_alone { Vec::new() } else { unshown },
            others: (!is_alone).then_some(others),
        }
    }

    /// What there is; false when the caller takes it no more.
    async fn tell(&mut self) -> bool {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(RECORDS);
        let Drained { items: records, left_out, is_over: _ } =
            self.held.tap.queue.drain(most, BYTES, now_us());
        if records.is_empty() && left_out == LeftOut::default() {
            return true;
        }
        self.left -= records.len() as u64;
        self.left_out.add(left_out);
        let LeftOut { over_rate, unread } = left_out;
        self.say(Message::Requests(v1::TapRequests { records, over_rate, unread })).await
    }

    async fn say(&self, message: Message) -> bool {
        let told = self.reader.send(Ok(v1::TapResponse { message: Some(message) }));
        matches!(timeout(STUCK, told).await, Ok(Ok(())))
    }
}

/// Who is shown, and who is not and why.
fn reach(elsewhere: &Elsewhere) -> v1::TapReplicas {
    let mut reach = v1::TapReplicas::default();
    for (name, (address, state)) in elsewhere {
        let silent = |silence: &str| v1::Replica {
            name: name.clone(),
            address: SocketAddr::to_string(address),
            silence: silence.to_owned(),
        };
        match state {
            State::Asked => reach.missing.push(silent("it has not answered yet")),
            State::Silent(why) => reach.missing.push(silent(why)),
            State::Shown { sidecars, .. } => {
                reach.sidecars = reach.sidecars.saturating_add(*sidecars);
                reach.shown.push(silent(""));
            }
        }
    }
    reach
}

/// Whether others are shown than before; not why they aren't, which may be said in several ways.
fn differ(before: &v1::TapReplicas, now: &v1::TapReplicas) -> bool {
    let names = |all: &[v1::Replica]| all.iter().map(|of| of.name.clone()).collect::<Vec<_>>();
    names(&before.shown) != names(&now.shown) || names(&before.missing) != names(&now.missing)
}
