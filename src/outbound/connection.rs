//! A connection of the workload: where it goes, what it speaks, and who serves it.
//!
//! Each of these is a [stage] of its own.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::BytesMut;
use tokio::net::TcpStream;
use tracing::debug;

use super::destination::unrouted;
use super::discovery::{Place, answered, place, unanswered};
use super::serve::serve;
use super::stream::{self, Opaque};
use super::worker::{Outbound, Resolved};
use crate::http::Gate;
use crate::http::respond::Failure;
use crate::intercept::Found;
use crate::model::{Direction, Protocol, Reason, ServiceName, Timeouts};
use crate::outbound::Unknown;
use crate::runtime::Open;
use crate::serve::accept::Accepted;
use crate::serve::hear::{self, Heard, QUIET, Race};
use crate::serve::ledger::{Entry, Speaks};
use crate::serve::stage::{self, Next};
use crate::serve::tunnel::Tunnels;
use crate::serve::{Near, http as serve_http, near};
use crate::telemetry::traffic::Spoken;
use crate::tls::OverSocket;

/// The listener that a connection came in by.
#[derive(Clone, Debug)]
pub enum Entrance {
    /// The original destination says where it goes; without one it is an HTTP proxy.
    Transparent(SocketAddr),
    /// One service.
    Upstream(SocketAddr, ServiceName),
}

/// Where a connection goes.
#[derive(Clone, Debug)]
pub enum Destination {
    Service(ServiceName),
    Instance(SocketAddr),
    /// Each request says so by its Host.
    ByHost,
}

/// An HTTP connection under way.
pub struct Conn {
    pub destination: Destination,
    pub spoken: Spoken,
    pub client: SocketAddr,
    pub gate: Rc<Gate>,
    pub tunnels: Tunnels,
    /// What the destination meant under the newest snapshot seen.
    pub resolved: RefCell<Option<Rc<Resolved>>>,
}

/// Serves one accepted connection to its end.
pub fn accept(worker: &Rc<Outbound>, entrance: Entrance, accepted: Accepted) {
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        let Accepted { stream, client, load } = accepted;
        let open = worker.doorway.enter();
        let listener = match &entrance {
            Entrance::Transparent(listener) | Entrance::Upstream(listener, _) => *listener,
        };
        let entry = worker.shared.ledger.open(Direction::Outbound, client, listener);
        let destination = match entrance {
            Entrance::Upstream(_, service) => Some(Destination::Service(service)),
            Entrance::Transparent(_) => match worker.shared.original_dst.of(&stream) {
                Found::Direct => Some(Destination::ByHost),
                Found::Original(address) => match destination(&worker, address, client).await {
                    Ok(destination) => destination,
                    Err(reason) => {
                        let failure = Failure::new(reason, refused_way(reason, address));
                        let meter = worker.stray_meter();
                        stream::refuse_stray(&worker, meter, &failure, client, &stream);
                        return;
                    }
                },
            },
        };
        let first = match destination {
            Some(to) => stage::then(hear(&worker, to, stream, client, entry, open)),
            None => stage::last(pass_unknown(&worker, stream, entry, open)),
        };
        if let Err(error) = stage::run(first).await {
            debug!(%client, %error, "outbound connection broke");
        }
        drop(load);
    });
}

/// Where an original destination goes; `None` is unknown to the mesh and may pass.
async fn destination(
    worker: &Outbound,
    address: SocketAddr,
    client: SocketAddr,
) -> Result<Option<Destination>, Reason> {
    // Who calls its own pod has the address that it calls.
    let is_here = address.ip().is_loopback() || address.ip() == client.ip();
    if worker.shared.own_ports.contains(&address.port()) && is_here {
        return Err(Reason::LoopDetected);
    }
    let mut found = place(worker, address);
    if let Place::Unanswered(want) = &found {
        answered(worker, want).await.map_err(|failure| failure.reason)?;
        found = place(worker, address);
    }
    match found {
        Place::Known(destination) => Ok(Some(destination)),
        // It was said and taken back in one breath.
        Place::Unanswered(_) => Err(Reason::NotReady),
        Place::Unknown => match worker.shared.unknown {
            Unknown::Pass => Ok(None),
            Unknown::Deny => Err(Reason::DestinationDenied),
        },
    }
}

/// Why nothing goes to an address.
fn refused_way(reason: Reason, address: SocketAddr) -> String {
    match reason {
        Reason::LoopDetected => format!("{address} is this sidecar itself"),
        Reason::DestinationDenied => {
            format!("{address} is not part of the mesh, and others are denied")
        }
        _ => format!("the control plane was asked about {address} and has not answered yet"),
    }
}

/// A destination that the mesh does not know: untouched bytes to where the workload wanted them.
async fn pass_unknown(
    worker: &Rc<Outbound>,
    stream: TcpStream,
    entry: Entry,
    open: Open,
) -> io::Result<()> {
    if let Found::Original(address) = worker.shared.original_dst.of(&stream) {
        entry.set_speaks(Speaks::Tcp);
        stream::pass(worker, near::plain(bytes::Bytes::new(), stream), address, &entry, open).await;
    }
    Ok(())
}

/// What comes first says what is spoken.
async fn hear(
    worker: &Rc<Outbound>,
    destination: Destination,
    mut stream: TcpStream,
    client: SocketAddr,
    entry: Entry,
    open: Open,
) -> Next<'_> {
    if find(worker, &destination).is_none()
        && let Some(want) = unanswered(worker, &destination)
    {
        // Held until it is answered; what is missing then, each protocol says in its own way.
        let _ = answered(worker, &want).await;
    }
    let resolved = find(worker, &destination);
    let protocol = resolved.as_ref().map_or(Protocol::Auto, |r| r.target.backend.service.protocol);
    let mut heard = BytesMut::new();
    let mut dialled = None;
    if protocol == Protocol::Tcp {
        let opaque = Opaque::new(near::plain(heard.freeze(), stream), resolved);
        return stage::last(stream::opaque(worker, opaque, entry, open));
    }
    let idle = resolved.as_ref().map(|r| r.target.backend.policy().timeouts.idle);
    let idle = idle.unwrap_or(Timeouts::default().idle);
    let may_race = protocol == Protocol::Auto && !matches!(destination, Destination::ByHost);
    if may_race && !hear::spoke_soon(&mut stream, &mut heard, QUIET).await? {
        // No endpoint yet is no reason to cut a client that may be about to speak HTTP.
        if let Some(resolved) =
            resolved.as_ref().filter(|r| !r.target.backend.service.endpoints.is_empty())
        {
            let dial = stream::dial(worker, resolved, client);
            let race = hear::race(&mut stream, &mut heard, dial);
            let race = match Box::pin(hear::patiently(&open, idle, race)).await {
                Ok(race) => race?,
                Err(reason) => {
                    stream::give_up(worker, Some(resolved), reason, &stream);
                    return Ok(None);
                }
            };
            match race {
                Race::Client(far) => dialled = far,
                Race::Far(far, first) => {
                    let near = near::plain(heard.freeze(), stream);
                    let opaque =
                        Opaque { near, resolved: Some(Rc::clone(resolved)), far: Some(far), first };
                    return stage::last(stream::opaque(worker, opaque, entry, open));
                }
                Race::NotDialled(unreached) => {
                    stream::refuse(worker, resolved, &unreached, client, &stream);
                    return Ok(None);
                }
            }
        }
    }
    let what = hear::what(&mut stream, &mut heard);
    let what = match hear::patiently(&open, idle, what).await {
        Ok(what) => what?,
        Err(reason) => {
            stream::give_up(worker, resolved.as_ref(), reason, &stream);
            return Ok(None);
        }
    };
    let spoken = match what {
        Heard::Nothing if !may_race => return Ok(None),
        Heard::Unfinished => {
            let why = "nothing that could be understood began within 10 s";
            let meter = unrouted(worker, &destination);
            let (what, reason) = ("connection closed", Reason::HeaderTimeout);
            stream::note_closed(worker, meter, what, reason, client, why);
            return Ok(None);
        }
        Heard::Http1 => Spoken::Http1,
        Heard::Http2 => Spoken::Http2,
        Heard::Nothing | Heard::MeshTls | Heard::AppTls | Heard::Opaque => {
            let opaque_allowed = may_race;
            let near = near::plain(heard.freeze(), stream);
            if !opaque_allowed {
                let reason = match destination {
                    Destination::ByHost => Reason::LoopDetected,
                    _ => Reason::BadRequest,
                };
                let why = "it does not speak HTTP, which its listener or service declares";
                let (meter, failure) = (unrouted(worker, &destination), Failure::new(reason, why));
                stream::refuse_stray(worker, meter, &failure, client, near.socket());
                return Ok(None);
            }
            let opaque = Opaque { far: dialled, ..Opaque::new(near, resolved) };
            return stage::last(stream::opaque(worker, opaque, entry, open));
        }
    };
    drop(dialled);
    let near = near::plain(heard.freeze(), stream);
    // It may have been silent for long.
    let resolved = resolved.filter(|resolved| resolved.revision == worker.revision());
    let resolved = resolved.or_else(|| find(worker, &destination));
    let served = http(worker, destination, resolved, near, client, spoken, entry, open);
    stage::last(served)
}

/// Whether an endpoint could be reached over HTTP/1, where the letter case of header names is kept.
fn may_keep_case(resolved: &Resolved) -> bool {
    let takers = resolved.target.rules.iter().flat_map(|rule| &rule.takers);
    takers.filter_map(|taker| taker.backend.as_ref()).any(|backend| backend.may_keep_case())
}

/// The target of a destination that does not depend on the request.
pub fn find(worker: &Outbound, destination: &Destination) -> Option<Rc<Resolved>> {
    match destination {
        Destination::Service(name) => worker.resolve(name),
        Destination::Instance(address) => worker.resolve_instance(*address),
        Destination::ByHost => None,
    }
}

async fn http(
    worker: &Rc<Outbound>,
    destination: Destination,
    resolved: Option<Rc<Resolved>>,
    near: Near,
    client: SocketAddr,
    spoken: Spoken,
    entry: Entry,
    open: Open,
) -> io::Result<()> {
    let keeps_case = resolved.as_deref().is_none_or(may_keep_case);
    let (speaks, label) = match spoken {
        Spoken::Http2 => (Speaks::Http2, "http2"),
        _ => (Speaks::Http1, "http1"),
    };
    entry.set_speaks(speaks);
    let (total, active) = worker.shared.metrics.connection(Direction::Outbound, label, "none");
    total.inc();
    active.inc();
    let conn = Rc::new(Conn {
        destination,
        spoken,
        client,
        gate: Rc::default(),
        tunnels: Tunnels::new(entry),
        resolved: RefCell::new(resolved),
    });
    let service = {
        let (worker, conn) = (Rc::clone(worker), Rc::clone(&conn));
        move |request| serve(&worker, &conn, request)
    };
    // Who comes from the workload itself proves nothing.
    let (tunnels, may_stay) = (&conn.tunnels, || true);
    let served = match spoken {
        Spoken::Http2 => {
            Box::pin(serve_http::http2(near, service, tunnels, &open, None, may_stay)).await
        }
        _ => {
            let gate = Rc::clone(&conn.gate);
            let served =
                serve_http::http1(near, gate, service, tunnels, &open, keeps_case, may_stay);
            Box::pin(served).await
        }
    };
    if let Err(error) = served {
        if error.is_flood() {
            let (what, why) = ("connection cut off", serve_http::FLOODED);
            let meter = unrouted(worker, &conn.destination);
            stream::note_closed(worker, meter, what, Reason::Flood, client, why);
        }
        debug!(%client, error = %crate::http::respond::chain(&error), "HTTP connection ended with an error");
    }
    active.dec();
    Ok(())
}
