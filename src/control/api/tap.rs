//! One call that watches requests as they end, from the question to its last word.
//!
//! It hands on what the tap's queue holds, a few times a second. It ends when the caller leaves or
//! takes nothing for too long, when it has told enough, in time, and with this process; the tap ends
//! with it, and every sidecar hears so.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tracing::info;

use super::Author;
use super::convert::{TapOrder, Whose};
use super::taps::{Held, Sidecar, Target};
use crate::control::desk::Desk;
use crate::runtime::clock::now_us;
use crate::telemetry::tap::{Drained, LeftOut};
use crate::wire::v1;
use crate::wire::v1::tap_ended::Why;
use crate::wire::v1::tap_response::Message;

/// What goes to the caller.
pub type Told = Result<v1::TapResponse, Status>;

/// Between two messages.
const PAUSE: Duration = Duration::from_millis(100);
/// In one message.
const RECORDS: usize = 500;
const BYTES: usize = 256 << 10;
/// How long a caller may take nothing.
const STUCK: Duration = Duration::from_secs(60);
/// How often it is seen to whether others are concerned than before.
const LOOK: Duration = Duration::from_secs(1);

/// Begins to watch.
///
/// # Errors
/// INVALID_ARGUMENT, NOT_FOUND and RESOURCE_EXHAUSTED, as the protocol says.
pub fn tap(
    desk: &Arc<Desk>,
    who: Author,
    request: v1::TapRequest,
) -> Result<ReceiverStream<Told>, Status> {
    let order = TapOrder::try_from(request).map_err(Status::invalid_argument)?;
    let TapOrder { target, filter, rate, count, length } = order;
    let target = match target {
        Whose::Known(target) => target,
        Whose::Named(name) => named(desk, name).map_err(Status::not_found)?,
    };
    let directory = desk.observer.memory.directory(&desk.catalog);
    let sessions = desk.sessions.list();
    let concerned = sessions.iter().filter(|session| {
        let facts = &session.facts;
        let sidecar = Sidecar { workload: &facts.workload, identity: &facts.identity };
        !target.filters(&filter, sidecar, &directory).is_empty()
    });
    let others = desk.observer.others.as_ref();
    let replicas = others.map(|of| of.all(&desk.catalog)).unwrap_or_default();
    let replica = |(name, address): (String, std::net::SocketAddr)| v1::Replica {
        name,
        address: address.to_string(),
        silence: String::new(),
    };
    let begun = v1::TapBegun {
        replica: desk.observer.memory.replica.to_string(),
        sidecars: u32::try_from(concerned.count()).unwrap_or(u32::MAX),
        target: target.to_string(),
        replicas: replicas.into_iter().map(replica).collect(),
    };
    let shown = filter.to_string();
    let held = desk.taps.begin(target, filter, rate, now_us()).ok_or_else(|| {
        Status::resource_exhausted("too many watch requests already: end one of them first")
    })?;
    let tap = &held.tap;
    info!(%who, target = %tap.target, filter = shown, rate, sidecars = begun.sidecars, "taps requests");
    let (reader, told) = mpsc::channel(2);
    // There is room: it is the first.
    let _ = reader.try_send(Ok(v1::TapResponse { message: Some(Message::Begun(begun)) }));
    let desk = Arc::clone(desk);
    tokio::spawn(async move {
        let mut call = Call { desk, held, reader, left: count, left_out: LeftOut::default() };
        call.follow(Instant::now() + length).await;
        let (told, target) = (count - call.left, &call.held.tap.target);
        let left_out = call.left_out.total();
        info!(%who, %target, told, left_out, "taps no more");
    });
    Ok(ReceiverStream::new(told))
}

/// Who has the name.
fn named(desk: &Desk, name: String) -> Result<Target, String> {
    let directory = desk.observer.memory.directory(&desk.catalog);
    if directory.services.contains_key(name.as_str()) {
        return Ok(Target::Service(name.into()));
    }
    let is_it = |session: &crate::control::sessions::Session| {
        let facts = &session.facts;
        Sidecar { workload: &facts.workload, identity: &facts.identity }.name() == name
    };
    if desk.sessions.list().iter().any(is_it) {
        return Ok(Target::Workload(name.into()));
    }
    Err(format!(
        "neither a service nor the workload of a connected sidecar is called {name}; workload/{name} \
         waits for one"
    ))
}

/// One call.
struct Call {
    desk: Arc<Desk>,
    held: Held,
    reader: mpsc::Sender<Told>,
    /// Requests that it still tells.
    left: u64,
    left_out: LeftOut,
}

impl Call {
    /// To its end.
    async fn follow(&mut self, until: Instant) {
        let mut leaving = self.desk.leaving.clone();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut revision = 0;
        let why = loop {
            tokio::select! {
                biased;
                () = self.reader.closed() => return,
                () = sleep_until(until) => break Why::Time,
                _ = leaving.wait_for(|leaves| *leaves) => break Why::Leaving,
                _ = looks.tick() => {
                    // The directory may be older than the catalog when a session first looks.
                    let desk = &self.desk;
                    let now = desk.observer.memory.directory(&desk.catalog).revision;
                    if std::mem::replace(&mut revision, now) != now {
                        self.desk.taps.look_again();
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
        let (sidecars, watching) = self.held.tap.sidecars();
        let ended = v1::TapEnded { why: why.into(), sidecars, watching };
        self.say(Message::Ended(ended)).await;
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
