//! The calls, and their answers as JSON in the words of the control plane's `/api`.

use std::time::Duration;

use serde_json::{Value, json};

use super::super::calls::MAX_ANSWER_BYTES;
use super::super::error::Error;
use super::super::session::{Session, answer};
use crate::wire::Channel;
use crate::wire::v1::{self, observe_client::ObserveClient};

impl Session {
    pub(super) fn observe(&self) -> ObserveClient<Channel> {
        ObserveClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// How services fare: of one, of a namespace, or (both empty) all.
    pub(super) async fn stat(
        &self,
        about: (String, String),
        window: Duration,
    ) -> Result<Value, Error> {
        let request = self.request(traffic(about, window));
        let v1::StatResponse { seen: worth, nodes } = answer(self.observe().stat(request)).await?;
        Ok(with(worth, "services", nodes.into_iter().map(node).collect()))
    }

    /// Who calls whom.
    pub(super) async fn edges(
        &self,
        about: (String, String),
        window: Duration,
    ) -> Result<Value, Error> {
        let request = self.request(traffic(about, window));
        let v1::EdgesResponse { seen: worth, edges } =
            answer(self.observe().edges(request)).await?;
        Ok(with(worth, "edges", edges.into_iter().map(edge).collect()))
    }

    /// The same by route.
    pub(super) async fn top(
        &self,
        about: (String, String),
        window: Duration,
    ) -> Result<Value, Error> {
        let request = self.request(traffic(about, window));
        let v1::TopResponse { seen: worth, routes } = answer(self.observe().top(request)).await?;
        Ok(with(worth, "routes", routes.into_iter().map(route).collect()))
    }

    /// Traces, the newest first; an empty service: of all; no limit: the control plane's own.
    pub(super) async fn traces(
        &self,
        service: String,
        failed: bool,
        slower_than: Option<Duration>,
        limit: u32,
    ) -> Result<Value, Error> {
        let slower_than = slower_than.unwrap_or_default().as_millis();
        let slower_than_ms = u64::try_from(slower_than).unwrap_or(u64::MAX);
        let request = self.request(v1::TracesRequest { service, failed, slower_than_ms, limit });
        let v1::TracesResponse { seen: worth, traces } =
            answer(self.observe().traces(request)).await?;
        Ok(with(worth, "traces", traces.into_iter().map(summary).collect()))
    }

    /// All that was kept of one.
    pub(super) async fn trace(&self, id: &str) -> Result<Value, Error> {
        let request = self.request(v1::TraceRequest { trace_id: id.to_owned() });
        let v1::TraceResponse { seen: worth, trace, spans } =
            answer(self.observe().trace(request)).await?;
        let mut told = summary(trace.unwrap_or_default());
        told["replicas"] = replicas(worth.unwrap_or_default().replicas);
        told["spans"] = spans.into_iter().map(span).collect::<Vec<_>>().into();
        Ok(told)
    }
}

fn traffic((service, namespace): (String, String), window: Duration) -> v1::TrafficRequest {
    let window_s = u32::try_from(window.as_secs()).unwrap_or(u32::MAX);
    v1::TrafficRequest { service, namespace, window_s }
}

fn with(worth: Option<v1::Seen>, list: &str, rows: Vec<Value>) -> Value {
    let v1::Seen { replica, at_ms, window_s, sidecars, left_out, replicas: all } =
        worth.unwrap_or_default();
    json!({
        "replica": replica,
        "replicas": replicas(all),
        "atMs": at_ms,
        "windowS": window_s,
        "sidecars": sidecars,
        "leftOut": left_out,
        list: rows,
    })
}

fn replicas(all: Vec<v1::Replica>) -> Value {
    let replica = |v1::Replica { name, address, silence }| json!({"replica": name, "address": address, "silence": some(silence)});
    all.into_iter().map(replica).collect()
}

fn signals(row: &mut Value, of: Option<v1::Signals>) {
    let v1::Signals { requests, failures, rate, p50_ms, p95_ms, p99_ms } = of.unwrap_or_default();
    let failure_rate = if requests > 0 { failures as f64 / requests as f64 } else { 0.0 };
    row["requests"] = requests.into();
    row["failures"] = failures.into();
    row["rate"] = rate.into();
    row["failureRate"] = failure_rate.into();
    row["p50Ms"] = p50_ms.into();
    row["p95Ms"] = p95_ms.into();
    row["p99Ms"] = p99_ms.into();
}

fn node(from: v1::Node) -> Value {
    let v1::Node {
        name,
        namespace,
        kind,
        signals: of,
        sidecars,
        ready,
        ejected,
        half_open,
        routes,
        open,
    } = from;
    let mut row = json!({"name": name, "namespace": namespace, "kind": kind});
    signals(&mut row, of);
    row["open"] = open.into();
    row["sidecars"] = sidecars.into();
    row["endpoints"] = json!({"ready": ready, "ejected": ejected, "halfOpen": half_open});
    row["routes"] = routes.into();
    row
}

fn edge(from: v1::Edge) -> Value {
    let v1::Edge { from, to, from_identity, to_identity, signals: of, tls, protocol, open } = from;
    let mut row = json!({"from": from, "to": to});
    signals(&mut row, of);
    row["open"] = open.into();
    row["tls"] = some(tls);
    row["protocol"] = some(protocol);
    row["fromIdentity"] = some(from_identity);
    row["toIdentity"] = some(to_identity);
    row
}

fn route(from: v1::Route) -> Value {
    let v1::Route { from, to, route, protocol, signals: of, open } = from;
    let mut row = json!({"from": from, "to": to, "route": route, "protocol": some(protocol)});
    signals(&mut row, of);
    row["open"] = open.into();
    row
}

fn summary(from: v1::TraceSummary) -> Value {
    let v1::TraceSummary {
        trace_id,
        started_ms,
        duration_us,
        service,
        method,
        path,
        spans,
        failed,
        reason,
        kept,
    } = from;
    json!({
        "traceId": trace_id,
        "startedMs": started_ms,
        "durationMs": duration_us as f64 / 1000.0,
        "service": service,
        "method": some(method),
        "path": some(path),
        "spans": spans,
        "failed": failed,
        "reason": some(reason),
        "kept": kept,
    })
}

fn span(from: v1::Span) -> Value {
    let v1::Span {
        span_id,
        parent_id,
        workload,
        service_of,
        inbound,
        service,
        route,
        offset_us,
        duration_us,
        protocol,
        method,
        path,
        status,
        grpc,
        reason,
        sentence,
        endpoint,
        peer,
        tls,
        failed,
        tries,
        depth,
    } = from;
    let name = match (method.as_str(), path.as_str()) {
        ("", _) => protocol.clone(),
        (method, path) => format!("{method} {path}"),
    };
    json!({
        "spanId": span_id,
        "parentId": some(parent_id),
        "depth": depth,
        "workload": workload,
        "serviceOf": service_of,
        "direction": if inbound { "inbound" } else { "outbound" },
        "service": some(service),
        "route": some(route),
        "name": name,
        "protocol": protocol,
        "offsetUs": offset_us,
        "durationUs": duration_us,
        "status": (status > 0).then_some(status),
        "grpcStatus": grpc.checked_sub(1),
        "reason": some(reason),
        "sentence": some(sentence),
        "endpoint": some(endpoint),
        "peer": some(peer),
        "tls": some(tls),
        "failed": failed,
        "attempts": tries.into_iter().map(attempt).collect::<Vec<_>>(),
    })
}

fn attempt(from: v1::Try) -> Value {
    let v1::Try { endpoint, offset_us, duration_us, status, reason } = from;
    json!({
        "endpoint": some(endpoint),
        "offsetUs": offset_us,
        "durationUs": duration_us,
        "status": (status > 0).then_some(status),
        "reason": some(reason),
    })
}

/// Nothing where there is no text.
fn some(text: String) -> Value {
    if text.is_empty() { Value::Null } else { text.into() }
}
