//! Whoever is at the other end of an inbound connection, and what it asks access for.
//!
//! Who it is does not change while the connection lasts; whether it may come in is asked anew for each
//! request, and for those who stay whenever policies change.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use http::request::Parts;

use super::port::AppPort;
use crate::access::{self, Ask, Credentials, Held, HeldWhat, What};
use crate::http::headers;
use crate::model::{Protocol, SpiffeId};
use crate::telemetry::traffic::RouteMeter;
use crate::tls::{Peer, Proof};

/// Who a connection is, and where it goes.
pub struct Caller {
    pub client: SocketAddr,
    pub peer: Option<Peer>,
    /// What shows that it is this peer.
    pub proof: Option<Rc<Proof>>,
    /// `x-outrigger-peer` for every request of the connection.
    pub peer_header: Option<HeaderValue>,
    pub port: Arc<AppPort>,
    pub meter: Rc<RouteMeter>,
}

/// The caller's sidecar has its own limit, which its policy says; this one only sees that nothing
/// stays for ever.
const MESHED_IDLE: Duration = Duration::from_secs(86_400);

impl Caller {
    /// How long nothing may move.
    pub fn idle(&self) -> Duration {
        if self.peer.is_some() { MESHED_IDLE } else { self.port.timeouts.idle }
    }

    /// Who it proved to be.
    pub fn id(&self) -> Option<&SpiffeId> {
        self.peer.as_ref().map(|peer| &peer.id)
    }

    /// What access is asked for by whoever is in this connection.
    pub fn ask<'a>(&'a self, what: What<'a>) -> Ask<'a> {
        Ask { port: self.port.number(), source: self.source(), id: self.id(), what }
    }

    /// What a request asks for; opaque bytes where the port's protocol is said to be TCP, in whatever
    /// form the caller's sidecar carries them.
    pub fn request<'a>(&self, request: &'a access::Request<'a>) -> What<'a> {
        if self.port.protocol == Protocol::Tcp { self.stream() } else { What::Request(request) }
    }

    /// A request that became a tunnel, to be judged again by what it has shown.
    pub fn held_request(&self, parts: &Parts, shown: Credentials) -> Held {
        if self.port.protocol == Protocol::Tcp {
            return self.held_stream();
        }
        self.held(HeldWhat::Request(headers::copy(parts).into(), shown))
    }

    /// As long as nobody spoke HTTP.
    pub fn stream(&self) -> What<'static> {
        What::Stream { is_declared: self.port.protocol == Protocol::Tcp }
    }

    /// The same ask, to be judged again.
    pub fn held(&self, what: HeldWhat) -> Held {
        let id = self.id().cloned();
        Held { port: self.port.number(), source: self.source(), id, what }
    }

    /// Opaque bytes, to be judged again.
    pub fn held_stream(&self) -> Held {
        self.held(HeldWhat::Stream { is_declared: self.port.protocol == Protocol::Tcp })
    }

    /// Of the connection; an IPv4 address is never written as an IPv6 one.
    pub fn source(&self) -> IpAddr {
        self.client.ip().to_canonical()
    }

    /// `mtls` or `none`, as logs and metrics have it.
    pub fn secured(&self) -> &'static str {
        if self.peer.is_some() { "mtls" } else { "none" }
    }
}
