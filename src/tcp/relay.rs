//! Both directions of a relay in one future: their ends, their faults and the idle timeout.
//!
//! Each direction is a [`Pump`], polled to a standstill in turn. Invariant: the first side to break
//! names the outcome. When a write to it failed, what it had sent before is still delivered (the
//! early answer of a server that then closes on its client's upload), and never as a clean end.
//! Cancel-safe: between polls no byte is anywhere but in a pump. Called through `relay` and
//! `relay_tcp` only.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use super::copy::Copy;
use super::splice::Bulk;
use super::{Counters, End, Fault, Outcome, Tally, reset};

/// The longest idle time, so that no deadline leaves the clock's range.
const MAX_IDLE: Duration = Duration::from_secs(365 * 24 * 3600);

/// Carries bytes between `a` and `b` until both directions ended, one side broke, or nothing moved
/// for `idle` (never, if `None`).
///
/// The streams may be lent as `&mut`, which is how a caller keeps the sockets under them to
/// [`reset`] after [`End::A`] and [`End::B`]. `b` is shut down for writing when `a` ends, and the
/// other way around.
pub async fn relay<A, B>(mut a: A, mut b: B, counters: &Counters, idle: Option<Duration>) -> Outcome
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    drive::<A, B, Copy>(&mut a, &mut b, counters, idle).await
}

/// [`relay`] for two sockets: a direction that has carried 1 MiB is moved within the kernel from
/// then on. When a side broke, dropping either socket resets it: nothing is left for the caller.
pub async fn relay_tcp(
    a: &mut TcpStream,
    b: &mut TcpStream,
    counters: &Counters,
    idle: Option<Duration>,
) -> Outcome {
    let outcome = drive::<TcpStream, TcpStream, Bulk>(a, b, counters, idle).await;
    if outcome.end.is_broken() {
        // Fails only on a socket that is no longer connected, which has no one to tell.
        let _ = (reset(a), reset(b));
    }
    outcome
}

/// One direction of a relay.
pub(super) trait Pump<R, W>: Gated + Default {
    /// Moves bytes from `source` to `sink` until one of them has to be waited for, the turn is
    /// over, or the end of `source` was passed on by shutting `sink` down.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
        sink: &mut W,
        tally: &mut Tally<'_>,
    ) -> Poll<Result<(), Broken>>;
}

pub(super) trait Gated {
    fn gate(&mut self) -> &mut Gate;
}

/// What the relay and a pump tell each other.
#[derive(Default)]
pub(super) struct Gate {
    pub(super) phase: Phase,
    /// The pump holds nothing and waits for the source alone.
    pub(super) starved: bool,
    /// The source broke: its end must not reach the sink as a shutdown.
    pub(super) severed: bool,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Open,
    /// The source ended, the sink is yet to be shut down.
    Ending,
    Done,
}

/// The side of a direction that failed.
pub(super) enum Broken {
    Source(io::Error),
    Sink(io::Error),
}

async fn drive<A, B, P: Pump<A, B> + Pump<B, A>>(
    a: &mut A,
    b: &mut B,
    counters: &Counters,
    idle: Option<Duration>,
) -> Outcome {
    let mut flow = Flow {
        forth: P::default(),
        back: P::default(),
        a_to_b: Tally::new(&counters.a_to_b),
        b_to_a: Tally::new(&counters.b_to_a),
        broken: None,
    };
    let mut last_move = Instant::now();
    let idle = idle.map(|idle| idle.min(MAX_IDLE));
    let mut timer = pin!(idle.map(sleep));
    let end = poll_fn(|cx| {
        let before = flow.moved();
        if let Poll::Ready(end) = flow.poll(cx, a, b) {
            return Poll::Ready(end);
        }
        let Some((idle, timer)) = idle.zip(timer.as_mut().as_pin_mut()) else {
            return Poll::Pending;
        };
        if flow.moved() != before {
            last_move = Instant::now();
        }
        poll_idle(cx, timer, last_move, idle).map(|()| End::Idle)
    })
    .await;
    Outcome { a_to_b: flow.a_to_b.sent, b_to_a: flow.b_to_a.sent, end }
}

/// The timer is set forward only when it fires early, not at every byte.
fn poll_idle(
    cx: &mut Context<'_>,
    mut timer: Pin<&mut Sleep>,
    last_move: Instant,
    idle: Duration,
) -> Poll<()> {
    while timer.as_mut().poll(cx).is_ready() {
        let deadline = last_move + idle;
        if deadline <= Instant::now() {
            return Poll::Ready(());
        }
        timer.as_mut().reset(deadline);
    }
    Poll::Pending
}

struct Flow<'a, P> {
    forth: P,
    back: P,
    a_to_b: Tally<'a>,
    b_to_a: Tally<'a>,
    /// A side that takes no more writes; what it still has to say is being delivered.
    broken: Option<End>,
}

impl<P: Gated> Flow<'_, P> {
    /// Changes whenever a byte was delivered.
    fn moved(&self) -> u64 {
        self.a_to_b.sent + self.b_to_a.sent
    }

    fn poll<A, B>(&mut self, cx: &mut Context<'_>, a: &mut A, b: &mut B) -> Poll<End>
    where
        P: Pump<A, B> + Pump<B, A>,
    {
        if !matches!(self.broken, Some(End::B(_))) {
            self.forth.gate().severed = self.broken.is_some();
            let result = self.forth.poll(cx, a, b, &mut self.a_to_b);
            if let Some(end) = self.judge(result, End::A, End::B) {
                return self.end(end);
            }
        }
        if !matches!(self.broken, Some(End::A(_))) {
            self.back.gate().severed = self.broken.is_some();
            let result = self.back.poll(cx, b, a, &mut self.b_to_a);
            if let Some(end) = self.judge(result, End::B, End::A) {
                return self.end(end);
            }
        }
        self.settle()
    }

    /// What a direction's failure means: at once the end if its source failed or nothing is left to
    /// deliver to, else a broken side that is still read.
    fn judge(
        &mut self,
        result: Poll<Result<(), Broken>>,
        source: fn(Fault) -> End,
        sink: fn(Fault) -> End,
    ) -> Option<End> {
        match result {
            Poll::Ready(Err(Broken::Source(error))) => Some(source(Fault::Read(error))),
            Poll::Ready(Err(Broken::Sink(error))) if self.broken.is_some() => {
                Some(sink(Fault::Write(error)))
            }
            Poll::Ready(Err(Broken::Sink(error))) => {
                self.broken = Some(sink(Fault::Write(error)));
                None
            }
            Poll::Ready(Ok(())) | Poll::Pending => None,
        }
    }

    fn settle(&mut self) -> Poll<End> {
        let (forth, back) = (self.forth.gate(), self.back.gate());
        let (forth_done, back_done) = (forth.phase == Phase::Done, back.phase == Phase::Done);
        let over = match self.broken {
            None => forth_done && back_done,
            // A broken side has nothing more to come: what could be read has been.
            Some(End::A(_)) => forth_done || forth.starved,
            Some(_) => back_done || back.starved,
        };
        if over { self.end(End::Clean) } else { Poll::Pending }
    }

    /// The side that broke first stands.
    fn end(&mut self, end: End) -> Poll<End> {
        Poll::Ready(self.broken.take().unwrap_or(end))
    }
}
