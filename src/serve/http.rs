//! HTTP/1 and HTTP/2 on one accepted connection, until it ends or the process drains.

use std::cell::Cell;
use std::error::Error;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::io::AsyncReadExt;
use tokio::time::{sleep, timeout};

use super::Near;
use super::rest::Rest;
use super::tunnel::Tunnels;
use crate::http::http2::{Broken, Connection};
use crate::http::{Body, Gate, Guarded};
use crate::model::Reason;
use crate::runtime::{Open, Phase, Prefixed, allocator, socket};
use crate::tls::{OverSocket, Proof};

/// Above the guard's own bound of 64 KiB, which comes first.
const MAX_HEADERS: usize = 72 * 1024;
/// Of an HTTP/1 connection whose client does not read, at most.
const BUFFER: usize = 128 * 1024;
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
    Http1(#[from] hyper::Error),
    Http2(#[from] Broken),
}

impl Fault {
    /// Whether we ended it ourselves to be left in peace, as RFC 9113 calls it: to enhance its calm.
    pub fn is_flood(&self) -> bool {
        matches!(self, Fault::Http2(broken) if broken.is_flood())
    }
}

/// What came of a connection for now.
enum Came {
    Over(Result<(), hyper::Error>),
    /// The process closes, or who is at its other end may not stay.
    Cut,
    /// It has been at rest for a while.
    Rests,
}

/// Serves HTTP/1, and the tunnel that the connection may become; `keeps_case` keeps the letter case
/// of header names. `may_stay` is asked when what peers were proven by has changed: who may not is
/// cut off, as revoked.
///
/// A connection at rest gives the parser and its buffers back, and gets them anew with the next byte.
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
    F: Future<Output = Result<Response<Body>, E>>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let service = service_fn(|request: Request<Incoming>| service(request.map(Body::incoming)));
    let (heard, io) = io.into_parts();
    let mut io = Guarded::new(heard, io, Rc::clone(&gate));
    let mut builder = http1::Builder::new();
    // The guard has its own time limit for heads, and a proxy dates no one else's answers.
    builder
        .header_read_timeout(None)
        .preserve_header_case(keeps_case)
        .auto_date_header(false)
        .max_header_size(MAX_HEADERS)
        .max_buf_size(BUFFER);
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
    let parts = loop {
        // On the heap: a connection at rest has none.
        let (came, is_busy, parts) = Box::pin(async {
            let mut connection = builder.serve_connection(io, &service);
            let mut rest = Rest::default();
            let came = poll_fn(|cx| {
                if is_cut(cx) {
                    return Poll::Ready(Came::Cut);
                }
                if let Poll::Ready(served) = Pin::new(&mut connection).poll(cx) {
                    return Poll::Ready(Came::Over(served));
                }
                let is_at_rest = || gate.is_at_rest() && !tunnels.is_busy();
                let rests = rest.has_lasted(cx, gate.served(), is_at_rest);
                if rests { Poll::Ready(Came::Rests) } else { Poll::Pending }
            });
            (came.await, tunnels.is_busy(), connection.into_parts())
        })
        .await;
        match came {
            // What nobody read of the last request's body is no other request.
            Came::Rests if !parts.read_buf.is_empty() => return Ok(()),
            Came::Rests => {
                // Empty, it holds its memory still.
                drop(parts.read_buf);
                io = parts.io;
            }
            Came::Over(Ok(())) => break parts,
            Came::Over(Err(error)) => {
                if gate.is_aborted() {
                    socket::reset_on_close(parts.io.io().socket());
                }
                return Err(error.into());
            }
            Came::Cut => {
                // An idle connection ends as any idle one does.
                if is_busy {
                    socket::reset_on_close(parts.io.io().socket());
                }
                return Ok(());
            }
        }
        allocator::freed_connection();
        let is_over = poll_fn(|cx| match is_cut(cx) {
            true => Poll::Ready(true),
            false => io.io().socket().poll_read_ready(cx).map(|_| false),
        });
        if is_over.await {
            return Ok(());
        }
    };
    let Some(tunnel) = tunnels.take() else {
        return Ok(());
    };
    let (held, io) = parts.io.into_parts();
    let sent = [parts.read_buf, held].into_iter().filter(|bytes| !bytes.is_empty());
    let sent = sent.reduce(|a, b| [a, b].concat().into()).unwrap_or_default();
    Box::pin(tunnel.relay(Prefixed::new(sent, io), tunnels, open)).await;
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
