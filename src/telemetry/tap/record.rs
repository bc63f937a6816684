//! A request that somebody is told of: what the access log says of it, kept for a moment.
//!
//! It goes to people's screens and to the control plane, so what may be secret stays behind: the query,
//! and a user's name and password before a host. Texts are cut to what can be read.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use crate::model::{Direction, Reason};
use crate::telemetry::access_log::Entry;
use crate::telemetry::span;

/// Bytes of one text.
const TEXT: usize = 512;

/// What one sidecar saw of one request or opaque connection; each field as in [`Entry`].
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub time: SystemTime,
    pub direction: Direction,
    pub request_id: Option<Box<str>>,
    pub trace_id: Option<u128>,
    pub method: Option<Box<str>>,
    pub authority: Option<Box<str>>,
    /// Without its query.
    pub path: Option<Box<str>>,
    pub protocol: &'static str,
    pub status: Option<u16>,
    pub grpc_status: Option<u16>,
    pub reason: Option<Reason>,
    pub service: Option<Box<str>>,
    pub route: Option<Box<str>>,
    pub endpoint: Option<SocketAddr>,
    pub peer: Option<Box<str>>,
    pub attempts: u32,
    pub duration: Duration,
    pub upstream: Option<Duration>,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub user_agent: Option<Box<str>>,
    pub tls: &'static str,
    pub access: Option<Box<str>>,
}

impl Record {
    pub fn of(entry: &Entry<'_>) -> Self {
        let bytes = |bytes: Option<&[u8]>| bytes.map(|bytes| cut(&String::from_utf8_lossy(bytes)));
        Self {
            time: entry.time,
            direction: entry.direction,
            request_id: bytes(entry.request_id),
            trace_id: entry.trace_id,
            method: entry.method.map(cut),
            authority: entry.authority.map(|authority| {
                cut(authority.rsplit_once('@').map_or(authority, |(_, host)| host))
            }),
            path: entry.path.map(|path| cut(without_query(path))),
            protocol: entry.protocol,
            status: entry.status,
            grpc_status: entry.grpc_status,
            reason: entry.reason,
            service: entry.service.map(cut),
            route: entry.route.map(cut),
            endpoint: entry.endpoint,
            peer: entry.peer.map(cut),
            attempts: entry.attempts,
            duration: entry.duration,
            upstream: entry.upstream,
            bytes_in: entry.bytes_in,
            bytes_out: entry.bytes_out,
            user_agent: bytes(entry.user_agent),
            tls: entry.tls,
            access: entry.access.map(cut),
        }
    }

    /// As the access log writes it.
    pub fn entry(&self) -> Entry<'_> {
        Entry {
            time: self.time,
            direction: self.direction,
            request_id: self.request_id.as_deref().map(str::as_bytes),
            trace_id: self.trace_id,
            method: self.method.as_deref(),
            authority: self.authority.as_deref(),
            path: self.path.as_deref(),
            protocol: self.protocol,
            status: self.status,
            grpc_status: self.grpc_status,
            reason: self.reason,
            service: self.service.as_deref(),
            route: self.route.as_deref(),
            endpoint: self.endpoint,
            peer: self.peer.as_deref(),
            attempts: self.attempts,
            duration: self.duration,
            upstream: self.upstream,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            user_agent: self.user_agent.as_deref().map(str::as_bytes),
            tls: self.tls,
            access: self.access.as_deref(),
        }
    }

    /// About how many bytes it takes to tell it.
    pub fn size(&self) -> usize {
        let texts = [
            &self.request_id,
            &self.method,
            &self.authority,
            &self.path,
            &self.service,
            &self.route,
            &self.peer,
            &self.user_agent,
            &self.access,
        ];
        160 + texts.into_iter().flatten().map(|text| text.len()).sum::<usize>()
    }
}

pub(super) fn without_query(path: &str) -> &str {
    path.split_once('?').map_or(path, |(path, _)| path)
}

fn cut(text: &str) -> Box<str> {
    span::cut(text, TEXT)
}
