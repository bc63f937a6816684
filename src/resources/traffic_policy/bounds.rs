//! `limits` and `timeouts`: how much at once, and how long.
//!
//! Zero is refused in both: a limit of nothing would be an outage, and a time of nothing is not the
//! way to have none.

use serde_json::{Value, json};

use super::words::{count, written};
use crate::model::{Limits, Timeouts};
use crate::resources::decode::{Decoder, Fields};
use crate::resources::manifest::object;
use crate::resources::node::Node;
use crate::resources::scalar::duration;

pub(super) fn limits(node: &Node, decoder: &mut Decoder) -> Option<Limits> {
    let usual = Limits::default();
    let mut fields = Fields::open(node, decoder)?;
    let max_connections = fields.optional("maxConnections", count);
    let max_requests = fields.optional("maxRequests", count);
    let max_pending_requests = fields.optional("maxPendingRequests", count);
    let queue_timeout = fields.optional("queueTimeout", duration);
    let max_requests_per_connection = fields.optional("maxRequestsPerConnection", count);
    fields.close();
    Some(Limits {
        max_connections: max_connections.unwrap_or(usual.max_connections),
        max_requests: max_requests.unwrap_or(usual.max_requests),
        max_pending_requests: max_pending_requests.unwrap_or(usual.max_pending_requests),
        queue_timeout: queue_timeout.unwrap_or(usual.queue_timeout),
        max_requests_per_connection: max_requests_per_connection
            .unwrap_or(usual.max_requests_per_connection),
    })
}

pub(super) fn print_limits(limits: &Limits) -> Value {
    let Limits {
        max_connections,
        max_requests,
        max_pending_requests,
        queue_timeout,
        max_requests_per_connection,
    } = limits;
    json!({
        "maxConnections": max_connections,
        "maxRequests": max_requests,
        "maxPendingRequests": max_pending_requests,
        "queueTimeout": written(*queue_timeout),
        "maxRequestsPerConnection": max_requests_per_connection,
    })
}

pub(super) fn timeouts(node: &Node, decoder: &mut Decoder) -> Option<Timeouts> {
    let usual = Timeouts::default();
    let mut fields = Fields::open(node, decoder)?;
    let request = fields.optional("request", duration);
    let response_headers = fields.optional("responseHeaders", duration);
    let idle = fields.optional("idle", duration);
    let connect = fields.optional("connect", duration);
    fields.refused(
        &["backendRequest"],
        "is a field of HTTPRoute; here responseHeaders, or retry.perTryTimeout, bounds an attempt",
    );
    fields.close();
    Some(Timeouts {
        request,
        backend_request: None,
        response_headers,
        connect: connect.unwrap_or(usual.connect),
        idle: idle.unwrap_or(usual.idle),
    })
}

pub(super) fn print_timeouts(timeouts: &Timeouts) -> Value {
    let Timeouts { request, backend_request: _, response_headers, connect, idle } = timeouts;
    object([
        ("request", request.map(|time| json!(written(time)))),
        ("responseHeaders", response_headers.map(|time| json!(written(time)))),
        ("idle", Some(json!(written(*idle)))),
        ("connect", Some(json!(written(*connect)))),
    ])
}
