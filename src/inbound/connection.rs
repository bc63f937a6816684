//! A connection from elsewhere: who it is, what it speaks, and who serves it.
//!
//! Each of these is a [stage] of its own.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::caller::Caller;
use super::handshake::{HANDSHAKE, shake_hands};
use super::port::AppPort;
use super::serve::serve;
use super::settings::Mode;
use super::stream;
use super::worker::Inbound;
use crate::http::Gate;
use crate::http::respond::{Failure, chain};
use crate::intercept::Found;
use crate::model::{Direction, Protocol, Reason};
use crate::runtime::exempt::is_source;
use crate::runtime::{Open, Prefixed, socket};
use crate::serve::accept::Accepted;
use crate::serve::hear::{self, Heard, QUIET, Race};
use crate::serve::ledger::{Entry, Speaks};
use crate::serve::stage::{self, Next};
use crate::serve::tunnel::Tunnels;
use crate::serve::{Near, http as serve_http, near};
use crate::telemetry::traffic::Spoken;
use crate::tls::{Alpn, OverSocket, Proof};

/// A sidecar's hello that a busy machine held up may come so long after the app's first bytes. Who
/// comes in plaintext to an app that speaks first waits so much longer for them. Arbitrary.
const LATE: Duration = Duration::from_millis(30);

/// The listener that a connection came in by.
#[derive(Clone, Debug)]
pub enum Entrance {
    /// The original destination names the app's port.
    Transparent(SocketAddr),
    /// One port of the app.
    Port(SocketAddr, Arc<AppPort>),
}

/// An HTTP connection under way.
pub struct Conn {
    pub caller: Caller,
    pub spoken: Spoken,
    pub gate: Rc<Gate>,
    pub tunnels: Tunnels,
    /// What peers were proven by has changed since.
    pub is_old: Cell<bool>,
}

impl Conn {
    /// Whether the peer, who was proven by what counted before, may stay; to come back it has to
    /// prove itself anew.
    fn may_stay(&self, worker: &Inbound) -> bool {
        let Some(proof) = &self.caller.proof else { return true };
        self.is_old.set(true);
        let newest = worker.shared.credentials.load();
        let is_revoked = newest.as_ref().is_some_and(|newest| proof.is_revoked(newest));
        if is_revoked {
            warn!(client = %self.caller.client, reason = %Reason::Revoked, "a caller is cut off: its identity was revoked");
        }
        !is_revoked
    }
}

/// Serves one accepted connection to its end.
pub fn accept(worker: &Rc<Inbound>, entrance: Entrance, accepted: Accepted) {
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        let Accepted { stream, client, load } = accepted;
        let open = worker.doorway.enter();
        let (listener, port) = match entrance {
            Entrance::Port(listener, port) => (listener, Some(port)),
            Entrance::Transparent(listener) => {
                (listener, original(&worker, &stream, client, listener))
            }
        };
        let Some(port) = port else {
            let why = "it was not redirected here, or its destination is this sidecar itself";
            stream::note_stray(&worker, client, Reason::LoopDetected, why);
            socket::reset_on_close(&stream);
            return;
        };
        let entry = worker.shared.ledger.open(Direction::Inbound, client, listener);
        let first = stage::then(hear(&worker, stream, client, port, entry, open));
        if let Err(error) = stage::run(first).await {
            debug!(%client, %error, "inbound connection broke");
        }
        drop(load);
    });
}

/// The app's port that an intercepted connection was going to; never one of our own, and never what
/// we sent to the app ourselves.
fn original(
    worker: &Inbound,
    stream: &TcpStream,
    client: SocketAddr,
    listener: SocketAddr,
) -> Option<Arc<AppPort>> {
    let address = match worker.shared.original_dst.of(stream) {
        Found::Original(address) => address,
        Found::Direct => handed_over(worker.shared.mode, stream, listener)?,
    };
    let is_ours = worker.shared.own_ports.contains(&address.port()) || is_source(client.ip());
    (!is_ours).then(|| worker.port(address, client.ip()))
}

/// Under TPROXY the local address is where the connection was going, unless it came on purpose.
fn handed_over(mode: Mode, stream: &TcpStream, listener: SocketAddr) -> Option<SocketAddr> {
    let local = stream.local_addr().ok().filter(|_| mode == Mode::Tproxy)?;
    (local.port() != listener.port()).then(|| socket::canonical(local))
}

/// What comes first says who may be there.
async fn hear(
    worker: &Rc<Inbound>,
    mut stream: TcpStream,
    client: SocketAddr,
    port: Arc<AppPort>,
    entry: Entry,
    open: Open,
) -> Next<'_> {
    let mut heard = BytesMut::new();
    let meter = worker.meter(&port);
    let caller = Caller { client, peer: None, proof: None, peer_header: None, port, meter };
    // Only where plaintext is let in may somebody wait for the app to speak first.
    if worker.admits_stream(&caller)
        && !caller.port.protocol.is_http()
        && !hear::spoke_soon(&mut stream, &mut heard, QUIET).await?
    {
        return stage::then(silent(worker, caller, stream, entry, open));
    }
    let what = timeout(HANDSHAKE, hear::what(&mut stream, &mut heard));
    match what.await.unwrap_or(Ok(Heard::Unfinished))? {
        Heard::Unfinished => {
            stream::note_late(worker, &caller);
            Ok(None)
        }
        // A port that was looked at, and not spoken to.
        Heard::Nothing if caller.port.protocol.is_http() => Ok(None),
        Heard::Nothing if !worker.admits_stream(&caller) => Ok(None),
        Heard::Nothing => {
            worker.note_plaintext(&caller);
            let near = near::plain(Bytes::new(), stream);
            stage::last(stream::opaque(worker, caller, near, None, entry, open))
        }
        Heard::MeshTls => {
            let stream = Prefixed::new(heard.freeze(), stream);
            stage::then(mesh(worker, caller, stream, entry, open))
        }
        _ => {
            worker.note_plaintext(&caller);
            let near = near::plain(heard.freeze(), stream);
            stage::then(converse(worker, caller, near, None, entry, open))
        }
    }
}

/// A client that says nothing, where plaintext is let in: it waits for the app, or it is a sidecar
/// whose hello is late. Whoever speaks first shows which, but for a hello that crosses the app's
/// first bytes: these are held back for it a little.
async fn silent(
    worker: &Rc<Inbound>,
    caller: Caller,
    mut stream: TcpStream,
    entry: Entry,
    open: Open,
) -> Next<'_> {
    let mut heard = BytesMut::new();
    let dial = stream::dial(worker, &caller);
    let race = hear::race(&mut stream, &mut heard, dial);
    let held = caller.held_stream();
    let race = tokio::select! {
        race = Box::pin(hear::patiently(&open, caller.idle(), race)) => match race {
            Ok(race) => race?,
            Err(reason) => {
                stream::give_up(worker, &caller, reason, &stream);
                return Ok(None);
            }
        },
        reason = worker.shared.access.withdrawn(&held) => {
            Race::NotDialled(Failure::plain(reason))
        }
    };
    let (far, app_spoke) = match race {
        Race::Client(far) => (far.map(|far| (far, Ok(Bytes::new()))), false),
        Race::Far(far, first) => {
            hear::spoke_soon(&mut stream, &mut heard, LATE).await?;
            (Some((far, first)), true)
        }
        Race::NotDialled(failure) => {
            let near = near::plain(heard.freeze(), stream);
            stream::refuse(worker, &caller, &failure, &near);
            return Ok(None);
        }
    };
    let what = match app_spoke && heard.is_empty() {
        true => Heard::Opaque,
        false => hear::what(&mut stream, &mut heard).await?,
    };
    let near = |heard: BytesMut, stream| near::plain(heard.freeze(), stream);
    match what {
        Heard::Unfinished => {
            stream::note_late(worker, &caller);
            Ok(None)
        }
        Heard::MeshTls => {
            drop(far);
            let stream = Prefixed::new(heard.freeze(), stream);
            stage::then(mesh(worker, caller, stream, entry, open))
        }
        _ if app_spoke || what == Heard::Nothing => {
            worker.note_plaintext(&caller);
            let near = near(heard, stream);
            stage::last(stream::opaque(worker, caller, near, far, entry, open))
        }
        _ => {
            worker.note_plaintext(&caller);
            let dialled = far.map(|(far, _)| far);
            stage::then(converse(worker, caller, near(heard, stream), dialled, entry, open))
        }
    }
}

/// Mutual TLS: the peer proves its identity, and its ALPN says what is inside.
async fn mesh(
    worker: &Rc<Inbound>,
    mut caller: Caller,
    stream: Prefixed<TcpStream>,
    entry: Entry,
    open: Open,
) -> Next<'_> {
    let shaken = Box::pin(shake_hands(worker, &caller, stream)).await;
    let Some((session, peer, alpn)) = shaken else { return Ok(None) };
    entry.set_peer(peer.id.clone());
    caller.peer_header = HeaderValue::from_str(peer.id.as_str()).ok();
    caller.peer = Some(peer);
    let ours = worker.shared.credentials.load();
    caller.proof = Proof::of(session.chain(), ours.as_deref()).map(Rc::new);
    drop(ours);
    let near = near::tls(Bytes::new(), session);
    match alpn {
        Alpn::H2 => stage::last(http(worker, caller, near, Spoken::Http2, entry, open)),
        Alpn::H1 => stage::last(http(worker, caller, near, Spoken::Http1, entry, open)),
        Alpn::Tcp => stage::then(converse(worker, caller, near, None, entry, open)),
    }
}

/// A stream whose protocol is declared, or to be heard: plaintext, or opaque bytes in TLS. The app
/// may have been dialled already.
async fn converse(
    worker: &Rc<Inbound>,
    caller: Caller,
    near: Near,
    mut dialled: Option<crate::dial::Stream>,
    entry: Entry,
    open: Open,
) -> Next<'_> {
    let (heard, mut io) = near.into_parts();
    let mut heard = BytesMut::from(heard);
    let opaque = |heard: BytesMut, io| Prefixed::new(heard.freeze(), io);
    if caller.port.protocol == Protocol::Tcp {
        let far = dialled.map(|far| (far, Ok(Bytes::new())));
        let near = opaque(heard, io);
        return stage::last(stream::opaque(worker, caller, near, far, entry, open));
    }
    let may_come = worker.admits_stream(&caller);
    if heard.is_empty() && caller.port.protocol == Protocol::Auto && may_come {
        // The caller's own sidecar has waited already for a client that is silent.
        let dial = stream::dial(worker, &caller);
        let race = hear::race(&mut io, &mut heard, dial);
        let race = stream::patiently(worker, &caller, &entry, &open, race);
        let race = match Box::pin(race).await {
            Ok(race) => race?,
            Err(reason) => {
                stream::give_up(worker, &caller, reason, io.socket());
                return Ok(None);
            }
        };
        match race {
            Race::Client(far) => dialled = far,
            Race::Far(far, first) => {
                let (near, far) = (opaque(heard, io), Some((far, first)));
                return stage::last(stream::opaque(worker, caller, near, far, entry, open));
            }
            Race::NotDialled(failure) => {
                stream::refuse(worker, &caller, &failure, &opaque(heard, io));
                return Ok(None);
            }
        }
    }
    let what = hear::what(&mut io, &mut heard);
    let what = match stream::patiently(worker, &caller, &entry, &open, what).await {
        Ok(what) => what?,
        Err(reason) => {
            stream::give_up(worker, &caller, reason, io.socket());
            return Ok(None);
        }
    };
    let spoken = match what {
        Heard::Nothing if caller.port.protocol.is_http() => return Ok(None),
        Heard::Unfinished => {
            stream::note_late(worker, &caller);
            return Ok(None);
        }
        Heard::Http1 => Spoken::Http1,
        Heard::Http2 => Spoken::Http2,
        Heard::MeshTls | Heard::AppTls | Heard::Opaque if caller.port.protocol.is_http() => {
            let why = "it does not speak HTTP, which its port declares";
            let failure = Failure::new(Reason::BadRequest, why);
            stream::refuse(worker, &caller, &failure, &opaque(heard, io));
            return Ok(None);
        }
        Heard::Nothing | Heard::MeshTls | Heard::AppTls | Heard::Opaque => {
            let far = dialled.map(|far| (far, Ok(Bytes::new())));
            let near = opaque(heard, io);
            return stage::last(stream::opaque(worker, caller, near, far, entry, open));
        }
    };
    drop(dialled);
    stage::last(http(worker, caller, opaque(heard, io), spoken, entry, open))
}

async fn http(
    worker: &Rc<Inbound>,
    caller: Caller,
    near: Near,
    spoken: Spoken,
    entry: Entry,
    open: Open,
) -> io::Result<()> {
    let (speaks, label) = match spoken {
        Spoken::Http2 => (Speaks::Http2, "http2"),
        _ => (Speaks::Http1, "http1"),
    };
    entry.set_speaks(speaks);
    let client = caller.client;
    let (total, active) =
        worker.shared.metrics.connection(Direction::Inbound, label, caller.secured());
    total.inc();
    active.inc();
    let (tunnels, gate) = (Tunnels::new(entry), Rc::default());
    let conn = Rc::new(Conn { caller, spoken, gate, tunnels, is_old: Cell::new(false) });
    let service = {
        let (worker, conn) = (Rc::clone(worker), Rc::clone(&conn));
        move |request| serve(&worker, &conn, request)
    };
    let (tunnels, may_stay) = (&conn.tunnels, || conn.may_stay(worker));
    let served = match spoken {
        Spoken::Http2 => {
            let proof = conn.caller.proof.as_deref();
            Box::pin(serve_http::http2(near, service, tunnels, &open, proof, may_stay)).await
        }
        _ => {
            let gate = Rc::clone(&conn.gate);
            Box::pin(serve_http::http1(near, gate, service, tunnels, &open, true, may_stay)).await
        }
    };
    if let Err(error) = served {
        if error.is_flood() {
            let (what, why) = ("connection cut off", serve_http::FLOODED);
            stream::note_refused(worker, &conn.caller, what, Reason::Flood, why);
        }
        debug!(%client, error = %chain(&error), "HTTP connection ended with an error");
    }
    active.dec();
    Ok(())
}
