//! Where a request goes: the connection's own target, or the one that its Host names.

use std::net::IpAddr;
use std::rc::Rc;

use http::request::Parts;
use http::{Method, Uri, Version, header};

use super::connection::{Conn, Destination, find};
use super::discovery::{Place, place, unanswered};
use super::worker::{Outbound, Resolved};
use crate::agent::session::Want;
use crate::http::respond::Failure;
use crate::model::{Reason, ServiceName};
use crate::route::split_port;
use crate::telemetry::traffic::RouteMeter;

/// Why a request has no target.
pub enum Miss {
    /// Nobody has said yet whether there is one.
    Unanswered(Want),
    /// There is none.
    Refused(Failure),
}

/// The target: the connection's own, unless each request names it.
pub fn target(worker: &Outbound, conn: &Conn, parts: &Parts) -> Result<Rc<Resolved>, Miss> {
    if let Some(resolved) = &*conn.resolved.borrow()
        && resolved.revision == worker.revision()
        && !matches!(conn.destination, Destination::ByHost)
    {
        return Ok(Rc::clone(resolved));
    }
    let resolved = match &conn.destination {
        Destination::ByHost => by_host(worker, parts)?,
        known => find(worker, known).ok_or_else(|| match unanswered(worker, known) {
            Some(want) => Miss::Unanswered(want),
            None => Miss::Refused(unknown(known)),
        })?,
    };
    *conn.resolved.borrow_mut() = Some(Rc::clone(&resolved));
    Ok(resolved)
}

fn unknown(destination: &Destination) -> Failure {
    match destination {
        Destination::Service(name) => {
            Failure::new(Reason::NoRoute, format!("the mesh has no service {name}"))
        }
        Destination::Instance(address) => {
            Failure::new(Reason::NoRoute, format!("the mesh has no workload at {address}"))
        }
        Destination::ByHost => Failure::plain(Reason::NoRoute),
    }
}

/// We were the proxy that the absolute form was meant for (RFC 9112 3.2.2).
pub fn to_origin_form(parts: &mut Parts) {
    if parts.version == Version::HTTP_2 || parts.method == Method::CONNECT {
        return;
    }
    if let Some(path) = parts.uri.path_and_query().filter(|_| parts.uri.scheme().is_some()) {
        parts.uri = Uri::from(path.clone());
    }
}

/// Where a request counts that was refused before it had a route.
pub fn unrouted(worker: &Outbound, destination: &Destination) -> Rc<RouteMeter> {
    match find(worker, destination) {
        Some(resolved) => worker.meter(&resolved.target.backend.label, &"none".into()),
        None => worker.stray_meter(),
    }
}

/// An explicit proxy request names its service in `:authority` or Host.
fn by_host(worker: &Outbound, parts: &Parts) -> Result<Rc<Resolved>, Miss> {
    let refuse = |sentence: String| Miss::Refused(Failure::new(Reason::NoRoute, sentence));
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let authority = parts.uri.authority().map(http::uri::Authority::as_str).or(host);
    let Some(authority) = authority.filter(|authority| !authority.is_empty()) else {
        return Err(refuse("the request names no host to go to".into()));
    };
    let (host, port) = named(authority).map_err(refuse)?;
    let destination = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(ip) => place(worker, (ip.to_canonical(), port).into()),
        Err(_) => ServiceName::from_host(host, port, &worker.shared.namespace)
            .map_or(Place::Unknown, |name| Place::Known(Destination::Service(name))),
    };
    let missing = || refuse(format!("the mesh has no service {host} on port {port}"));
    match destination {
        Place::Known(destination) => find(worker, &destination)
            .ok_or_else(|| unanswered(worker, &destination).map_or_else(missing, Miss::Unanswered)),
        Place::Unanswered(want) => Err(Miss::Unanswered(want)),
        Place::Unknown => Err(missing()),
    }
}

/// The host, and its port or that of HTTP; the brackets of an IPv6 address stay.
///
/// # Errors
/// What is wrong with the port.
fn named(authority: &str) -> Result<(&str, u16), String> {
    let (host, port) = split_port(authority);
    match (port, &authority[host.len()..]) {
        (None, "" | ":") if !host.contains(':') || host.ends_with(']') => Ok((host, 80)),
        (Some(port @ 1..), _) => Ok((host, port)),
        _ => Err(format!("{authority} names no port from 1 to 65535 that a service may have")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_names_a_host_and_a_port() {
        for (authority, expected) in [
            ("web", Some(("web", 80))),
            ("web:", Some(("web", 80))),
            ("web.shop:8080", Some(("web.shop", 8080))),
            ("10.0.0.7:443", Some(("10.0.0.7", 443))),
            ("[fd00::7]", Some(("[fd00::7]", 80))),
            ("[fd00::7]:", Some(("[fd00::7]", 80))),
            ("[fd00::7]:8080", Some(("[fd00::7]", 8080))),
            ("web:0", None),
            ("web:65536", None),
            ("web:http", None),
            ("[fd00::7]:http", None),
        ] {
            assert_eq!(named(authority).ok(), expected, "{authority}");
        }
    }
}
