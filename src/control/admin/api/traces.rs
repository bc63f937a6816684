//! `/api/traces` and `/api/trace`: requests that were kept, as a list and as a tree.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::replicas;
use crate::control::memory::part::Worth;

use crate::control::memory::report::Attempt;
use crate::control::memory::{Filter, Observer, Summary, Trace, TraceSpan};

pub fn traces(observer: &Observer, filter: &Filter, now: SystemTime) -> Value {
    let (traces, worth) = observer.traces(filter, now);
    json!({
        "replica": &*observer.memory.replica,
        "replicas": replicas(&worth),
        "traces": traces.iter().map(summary).collect::<Vec<_>>(),
    })
}

fn summary(of: &Summary) -> Value {
    json!({
        "traceId": format!("{:032x}", of.id),
        "startedMs": of.started_us / 1000,
        "durationMs": of.duration_us as f64 / 1000.0,
        "service": &*of.service,
        "method": some(&of.method),
        "path": some(&of.path),
        "spans": of.parts,
        "failed": of.failed,
        "reason": of.reason,
        "kept": of.why.as_str(),
    })
}

/// # Errors
/// Whom nobody could ask, when nothing was kept of it.
pub fn trace(observer: &Observer, id: u128, now: SystemTime) -> Result<Value, Worth> {
    let (found, worth) = observer.trace(id, now);
    let Some(Trace { summary: of, spans }) = found else { return Err(worth) };
    let mut value = summary(&of);
    value["parts"] = value["spans"].take();
    value["spans"] = spans.iter().map(span).collect::<Vec<_>>().into();
    value["replicas"] = replicas(&worth);
    Ok(value)
}

fn span(TraceSpan { seen, offset_us, depth }: &TraceSpan) -> Value {
    let kept = &seen.kept;
    let name = match (&*kept.method, &*kept.path) {
        ("", _) => kept.protocol.to_string(),
        (method, path) => format!("{method} {path}"),
    };
    let attempt = |of: &Attempt| {
        json!({
            "endpoint": of.endpoint.map(|endpoint| endpoint.to_string()),
            "offsetUs": offset_us.saturating_add(of.offset_us),
            "durationUs": of.duration_us,
            "status": (of.status > 0).then_some(of.status),
            "reason": some(&of.reason),
        })
    };
    json!({
        "spanId": format!("{:016x}", kept.span_id),
        "parentId": (kept.parent_id != 0).then(|| format!("{:016x}", kept.parent_id)),
        "depth": depth,
        "workload": &*seen.workload,
        "serviceOf": &*seen.node,
        "direction": if kept.inbound { "inbound" } else { "outbound" },
        "service": some(&kept.service),
        "route": some(&kept.route),
        "name": name,
        "protocol": &*kept.protocol,
        "offsetUs": offset_us,
        "durationUs": kept.duration_us,
        "status": (kept.status > 0).then_some(kept.status),
        "grpcStatus": kept.grpc,
        "reason": some(&kept.reason),
        "sentence": some(&kept.sentence),
        "endpoint": kept.endpoint.map(|endpoint| endpoint.to_string()),
        "peer": some(&kept.peer),
        "tls": some(&kept.tls),
        "failed": kept.failed(),
        "attempts": kept.attempts.iter().map(attempt).collect::<Vec<_>>(),
    })
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}
