//! Requests that somebody watches: what people ask for, and what sidecars tell, cut to what may be
//! told. A sidecar's words go to a person's screen and nowhere else.

use std::time::Duration;

use super::reported::cut;
use crate::control::api::taps::Target;
use crate::resources::names::is_dns_subdomain;
use crate::telemetry::tap::{Filter, LeftOut, MOST_RATE, RATE};
use crate::wire::v1;

/// Of one message.
const REQUESTS: usize = 200;
const DEFAULT: Duration = Duration::from_secs(10 * 60);
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// What a person wants to watch.
pub struct TapOrder {
    pub target: Whose,
    pub filter: Filter,
    pub rate: u32,
    pub count: u64,
    pub length: Duration,
}

/// Whose requests those are.
pub enum Whose {
    Known(Target),
    /// The service of this name, else the workload.
    Named(String),
}

impl TryFrom<v1::TapRequest> for TapOrder {
    type Error = String;

    /// # Errors
    /// The first field that can't be, and what could.
    fn try_from(from: v1::TapRequest) -> Result<Self, String> {
        use v1::tap_request::Target as Asked;
        let v1::TapRequest { target, filter, rate, count, duration_ms } = from;
        let target = match target {
            None => Whose::Known(Target::Everybody),
            Some(Asked::Name(name)) => Whose::Named(full(name)?),
            Some(Asked::Service(name)) => Whose::Known(Target::Service(full(name)?.into())),
            Some(Asked::Workload(name)) => Whose::Known(Target::Workload(full(name)?.into())),
            Some(Asked::Namespace(name)) => Whose::Known(Target::Namespace(legal(name)?.into())),
        };
        let filter = Filter::try_from(filter.unwrap_or_default())?;
        let rate = match rate {
            0 => RATE,
            1..=MOST_RATE => rate,
            _ => return Err(format!("rate: {rate} is more than {MOST_RATE} a second")),
        };
        let length = match Duration::from_millis(duration_ms) {
            Duration::ZERO => DEFAULT,
            length if length <= LONGEST => length,
            length => return Err(format!("duration: {length:?} is more than {LONGEST:?}")),
        };
        let count = if count == 0 { u64::MAX } else { count };
        Ok(Self { target, filter, rate, count, length })
    }
}

fn full(name: String) -> Result<String, String> {
    if !name.contains('.') {
        return Err(format!("target: {name:?} is not of the form name.namespace"));
    }
    legal(name)
}

fn legal(name: String) -> Result<String, String> {
    let wrong = "target: a name has lower-case letters, digits, - and .";
    if is_dns_subdomain(&name) { Ok(name) } else { Err(wrong.to_owned()) }
}

/// What a sidecar saw, and left out.
pub fn tapped(
    requests: Vec<v1::TappedRequest>,
    over_rate: u64,
    unread: u64,
) -> (Vec<v1::TappedRequest>, LeftOut) {
    let more = requests.len().saturating_sub(REQUESTS) as u64;
    let left_out = LeftOut { over_rate, unread: unread.saturating_add(more) };
    (requests.into_iter().take(REQUESTS).map(request).collect(), left_out)
}

fn request(from: v1::TappedRequest) -> v1::TappedRequest {
    let v1::TappedRequest {
        time_us,
        inbound,
        request_id,
        mut trace_id,
        method,
        authority,
        path,
        protocol,
        status,
        grpc,
        reason,
        service,
        route,
        endpoint,
        peer,
        attempts,
        duration_us,
        upstream_us,
        bytes_in,
        bytes_out,
        user_agent,
        tls,
        access,
    } = from;
    if trace_id.len() != 16 {
        trace_id = Vec::new();
    }
    v1::TappedRequest {
        time_us,
        inbound,
        request_id: cut(request_id),
        trace_id,
        method: cut(method),
        authority: cut(authority),
        path: cut(path),
        protocol: cut(protocol),
        status,
        grpc,
        reason: cut(reason),
        service: cut(service),
        route: cut(route),
        endpoint: cut(endpoint),
        peer: cut(peer),
        attempts,
        duration_us,
        upstream_us,
        bytes_in,
        bytes_out,
        user_agent: cut(user_agent),
        tls: cut(tls),
        access: cut(access),
    }
}
