//! HTTP/1 and HTTP/2 on one accepted connection, until it ends or the process drains.

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use http::{Request, Response};
use tokio::io::AsyncReadExt;
use tokio::time::{sleep, timeout};

use super::Near;
use super::tunnel::Tunnels;
use crate::http::http2::{Broken, Connection};
use crate::http::{Body, Gate, http1};
use crate::model::Reason;
use crate::runtime::{Open, Phase, Prefixed, socket};
use crate::tls::{OverSocket, Proof, Stream};

/// What every client of HTTP/2 sends at once: the preface, and the head of the SETTINGS frame that
/// belongs to it. It has a head's time.
const PREFACE: usize = 24 + 9;
const PREFACE_TIMEOUT: Duration = Duration::from_secs(10);
/// What is said of a connection that was cut off as a flood.
pub const FLOODED: &str = "it sent more resets, continuations or empty frames than any use has for \
    them";

/// What broke a connection.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub enum Fault {
    Http1(#[from] http1::Broken),
    Http2(#[from] Broken),
}

impl Fault {
    /// Whether we ended it ourselves to be left in peace, as RFC 9113 calls it: to enhance its calm.
    pub fn is_flood(&self) -> bool {
        matches!(self, Fault::Http2(broken) if broken.is_flood())
    }
}

/// Serves HTTP/1, and the tunnel that the connection may become; `keeps_case` keeps the letter case
/// of header names. `may_stay` is asked when what peers were proven by has changed: who may not is
/// cut off, as revoked.
///
/// # Errors
/// What broke the connection.
pub async fn http1<S, F, E>(
    io: Near,
    gate: Rc<Gate>,
    service: S,
    tunnels: &Tunnels,
    open: &Open,
    keeps_case: bool,
    may_stay: impl Fn() -> bool,
) -> Result<(), Fault>
where
    S: Fn(Request<Body>) -> F,
    F: Future<Output = Result<Response<Body>, E>> + Unpin,
{
    let (heard, io) = io.into_parts();
    let is_plain = matches!(io, Stream::Plain(_));
    let connection = http1::Connection::new(heard, io, Rc::clone(&gate), service, keeps_case);
    let mut connection = connection.in_plaintext(is_plain);
    let news = Cell::new(0);
    let is_cut = |cx: &mut Context<'_>| {
        let reason = if open.poll_reached(cx, Phase::Closing).is_ready() {
            Reason::DrainDeadline
        } else if open.is_renewed(&news) && !may_stay() {
            Reason::Revoked
        } else {
            return false;
        };
        tunnels.entry.cut(reason);
        true
    };
    let over = poll_fn(|cx| match is_cut(cx) {
        true => Poll::Ready(None),
        false => connection.poll(cx).map(Some),
    });
    match over.await {
        // An idle connection ends as any idle one does.
        None if tunnels.is_busy() => socket::reset_on_close(connection.io().socket()),
        None | Some(Ok(http1::Over::Closed)) => {}
        Some(Ok(http1::Over::Switched)) => {
            let (sent, io) = connection.into_parts();
            if let Some(tunnel) = tunnels.take() {
                Box::pin(tunnel.relay(Prefixed::new(sent, io), tunnels, open)).await;
            }
        }
        Some(Err(broken)) => {
            if gate.is_aborted() {
                socket::reset_on_close(connection.io().socket());
            }
            return Err(broken.into());
        }
    }
    Ok(())
}

/// Serves HTTP/2. Connections of the mesh, which have a `proof`, are pinged, and drained at its end or
/// when what peers were proven by has changed; who `may_stay` no longer is cut off, as is what is still
/// under way when the lifetime of what has ended has gone by once more.
///
/// # Errors
/// What broke the connection.
pub async fn http2<S, F, E>(
    io: Near,
    service: S,
    tunnels: &Tunnels,
    open: &Open,
    proof: Option<&Proof>,
    may_stay: impl Fn() -> bool,
) -> Result<(), Fault>
where
    S: Fn(Request<Body>) -> F,
    F: Future<Output = Result<Response<Body>, E>> + Unpin,
{
    let Some(io) = begun(io, open).await else { return Ok(()) };
    let mut connection = Connection::new(io, service, proof.is_some());
    let after = async |lifetime: Option<Duration>| match lifetime {
        Some(lifetime) => sleep(lifetime).await,
        None => pending().await,
    };
    let news = Cell::new(0);
    // News first: not a byte is taken of who may not stay.
    tokio::select! {
        biased;
        () = open.renewed(&news), if proof.is_some() => {}
        served = &mut connection => return told(served, tunnels),
        () = open.reached(Phase::Draining) => {}
        () = after(proof.map(Proof::left)) => {}
    }
    if !may_stay() {
        tunnels.entry.cut(Reason::Revoked);
        return Ok(());
    }
    connection.leave();
    let mut last = pin!(after(proof.map(|proof| proof.lifetime)));
    loop {
        tokio::select! {
            biased;
            () = open.reached(Phase::Closing) => {
                tunnels.entry.cut(Reason::DrainDeadline);
                return Ok(());
            }
            () = open.renewed(&news) => {}
            () = &mut last => {
                tunnels.entry.cut(Reason::PermissionWithdrawn);
                return Ok(());
            }
            served = &mut connection => return told(served, tunnels),
        }
        if !may_stay() {
            tunnels.entry.cut(Reason::Revoked);
            return Ok(());
        }
    }
}

/// What a flood takes with it was ended by us, not by its caller.
fn told(served: Result<(), Broken>, tunnels: &Tunnels) -> Result<(), Fault> {
    if served.as_ref().is_err_and(Broken::is_flood) {
        tunnels.entry.cut(Reason::Flood);
    }
    Ok(served?)
}

/// A connection whose client has begun to speak HTTP/2; `None` when it breaks off or takes too long, or
/// the process closes.
async fn begun(io: Near, open: &Open) -> Option<Near> {
    let (heard, mut io) = io.into_parts();
    let mut heard = BytesMut::from(heard);
    let preface = async {
        while heard.len() < PREFACE {
            heard.reserve(PREFACE);
            io.read_buf(&mut heard).await.ok().filter(|read| *read > 0)?;
        }
        Some(())
    };
    let come = tokio::select! {
        biased;
        come = timeout(PREFACE_TIMEOUT, preface) => come.ok().flatten(),
        () = open.reached(Phase::Closing) => None,
    };
    come.map(|()| Prefixed::new(heard.freeze(), io))
}
