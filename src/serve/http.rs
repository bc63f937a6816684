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
use hyper::server::conn::{http1, http2};
use hyper::service::{HttpService, Service};
use tokio::io::AsyncReadExt;
use tokio::time::{sleep, timeout};

use super::Near;
use super::rest::Rest;
use super::tunnel::Tunnels;
use crate::http::{Body, Gate, Guarded};
use crate::model::Reason;
use crate::runtime::hyper_io::{HyperIo, WorkerTimer};
use crate::runtime::{Open, Phase, Prefixed, allocator, socket};
use crate::tls::OverSocket;

/// Streams of one HTTP/2 connection at a time; clients wait with more.
const STREAMS: u32 = 256;
const STREAM_WINDOW: u32 = 64 * 1024;
/// Room for every stream to be stalled at once without stalling another.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS;
const SEND_BUFFER: usize = 64 * 1024;
/// Above the guard's own bound of 64 KiB, which comes first.
const MAX_HEADERS: usize = 72 * 1024;
const HEADER_LIST: u32 = 64 * 1024;
/// Of an HTTP/1 connection whose client does not read, at most.
const BUFFER: usize = 128 * 1024;
/// What every client of HTTP/2 sends at once: the preface, and the head of the SETTINGS frame that
/// belongs to it. It has a head's time.
const PREFACE: usize = 24 + 9;
const PREFACE_TIMEOUT: Duration = Duration::from_secs(10);
/// Between sidecars a dead peer is noticed within 15 s.
const PING: Duration = Duration::from_secs(10);
const PONG: Duration = Duration::from_secs(5);

/// What is said of a connection that was cut off as a flood.
pub const FLOODED: &str = "it sent more resets, continuations or empty frames than any use has for \
    them";

/// Whether we ended it ourselves to be left in peace, as RFC 9113 calls it: to enhance its calm.
pub fn is_flood(error: &hyper::Error) -> bool {
    let h2 = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    h2.is_some_and(|h2| h2.is_library() && h2.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM))
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
pub async fn http1<S>(
    io: Near,
    gate: Rc<Gate>,
    service: S,
    tunnels: &Tunnels,
    open: &Open,
    keeps_case: bool,
    may_stay: impl Fn() -> bool,
) -> Result<(), hyper::Error>
where
    S: Service<Request<Incoming>, Response = Response<Body>>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
{
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
        })
        .await;
        let is_busy = tunnels.is_busy();
        let parts = connection.into_parts();
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
                return Err(error);
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

/// Serves HTTP/2. Connections of the mesh, which have a `lifetime`, are pinged, and drained at its
/// end or when what peers were proven by has changed; who `may_stay` no longer is cut off.
///
/// # Errors
/// What broke the connection.
pub async fn http2<S>(
    io: Near,
    service: S,
    tunnels: &Tunnels,
    open: &Open,
    lifetime: Option<Duration>,
    may_stay: impl Fn() -> bool,
) -> Result<(), hyper::Error>
where
    S: HttpService<Incoming, ResBody = Body>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    S::Future: 'static,
{
    let Some(io) = begun(io, open).await else { return Ok(()) };
    let mut builder = http2::Builder::new(tunnels.executor());
    builder
        .timer(WorkerTimer)
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(HEADER_LIST)
        .auto_date_header(false)
        .enable_connect_protocol();
    if lifetime.is_some() {
        builder.keep_alive_interval(PING).keep_alive_timeout(PONG);
    }
    let mut connection = pin!(builder.serve_connection(HyperIo(io), service));
    let end = async {
        match lifetime {
            Some(lifetime) => sleep(lifetime).await,
            None => pending().await,
        }
    };
    let news = Cell::new(0);
    // News first: not a byte is taken of who may not stay.
    tokio::select! {
        biased;
        () = open.renewed(&news), if lifetime.is_some() => {}
        served = connection.as_mut() => return told(served, tunnels),
        () = open.reached(Phase::Draining) => {}
        () = end => {}
    }
    if !may_stay() {
        tunnels.entry.cut(Reason::Revoked);
        return Ok(());
    }
    connection.as_mut().graceful_shutdown();
    loop {
        tokio::select! {
            biased;
            () = open.reached(Phase::Closing) => {
                tunnels.entry.cut(Reason::DrainDeadline);
                return Ok(());
            }
            () = open.renewed(&news) => {}
            served = connection.as_mut() => return told(served, tunnels),
        }
        if !may_stay() {
            tunnels.entry.cut(Reason::Revoked);
            return Ok(());
        }
    }
}

/// What a flood takes with it was ended by us, not by its caller.
fn told(served: Result<(), hyper::Error>, tunnels: &Tunnels) -> Result<(), hyper::Error> {
    if served.as_ref().is_err_and(is_flood) {
        tunnels.entry.cut(Reason::Flood);
    }
    served
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
