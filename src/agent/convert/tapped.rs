//! Requests that the control plane watches: what it asks for, and what it is told.

use super::traffic::{micros, unix_us};
use crate::model::Direction;
use crate::telemetry::tap::{Filter, Record};
use crate::wire::v1;

/// Filters of one tap.
const FILTERS: usize = 4;

/// Which requests it wants.
///
/// # Errors
/// What can't be read; a tap without a filter would show what nobody asked for.
pub fn filters(from: Vec<v1::TapFilter>) -> Result<Vec<Filter>, String> {
    if from.is_empty() || from.len() > FILTERS {
        return Err(format!("{} filters; a tap has 1 to {FILTERS}", from.len()));
    }
    from.into_iter().map(Filter::try_from).collect()
}

/// One of them.
pub fn tapped(record: &Record) -> v1::TappedRequest {
    let Record {
        time,
        direction,
        request_id,
        trace_id,
        method,
        authority,
        path,
        protocol,
        status,
        grpc_status,
        reason,
        service,
        route,
        endpoint,
        peer,
        attempts,
        duration,
        upstream,
        bytes_in,
        bytes_out,
        user_agent,
        tls,
        access,
    } = record;
    let text = |text: &Option<Box<str>>| text.as_deref().unwrap_or_default().to_owned();
    v1::TappedRequest {
        time_us: unix_us(*time),
        inbound: *direction == Direction::Inbound,
        request_id: text(request_id),
        trace_id: trace_id.map(|id| id.to_be_bytes().to_vec()).unwrap_or_default(),
        method: text(method),
        authority: text(authority),
        path: text(path),
        protocol: (*protocol).to_owned(),
        status: status.map_or(0, u32::from),
        grpc: grpc_status.map_or(0, |status| u32::from(status) + 1),
        reason: reason.map(|reason| reason.to_string()).unwrap_or_default(),
        service: text(service),
        route: text(route),
        endpoint: endpoint.map(|endpoint| endpoint.to_string()).unwrap_or_default(),
        peer: text(peer),
        attempts: *attempts,
        duration_us: micros(*duration),
        upstream_us: upstream.map(micros),
        bytes_in: *bytes_in,
        bytes_out: *bytes_out,
        user_agent: text(user_agent),
        tls: (*tls).to_owned(),
        access: text(access),
    }
}
