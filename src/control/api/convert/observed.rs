//! The mesh's memory as the protocol writes it.

use std::time::SystemTime;

use crate::control::desk::unix_ms;
use crate::control::memory::part::{Asked as Replica, Worth};
use crate::control::memory::report::Attempt;
use crate::control::memory::{
    Edge, Filter, Graph, Measured, Node, Observer, Route, Summary, Sums, Trace, TraceSpan,
};
use crate::wire::v1;

/// Rows of one answer.
const ROWS: usize = 2_000;
/// Seconds that are asked about: unless said, and at most.
const WINDOW_S: u32 = 60;
const LONGEST_S: u32 = 1800;
/// Traces of one answer.
const TRACES: u32 = 50;
const MOST_TRACES: u32 = 500;

/// # Errors
/// When it is longer than anything is remembered, or shorter than anything is told apart.
pub fn window_s(asked: u32) -> Result<u32, String> {
    match asked {
        0 => Ok(WINDOW_S),
        10..=LONGEST_S => Ok(asked),
        _ => Err(format!("the window must be from 10 to {LONGEST_S} seconds")),
    }
}

/// # Errors
/// When more is wanted than one answer holds.
pub fn filter(from: v1::TracesRequest) -> Result<Filter, String> {
    let v1::TracesRequest { service, failed, slower_than_ms, limit } = from;
    let limit = match limit {
        0 => TRACES,
        1..=MOST_TRACES => limit,
        _ => return Err(format!("at most {MOST_TRACES} traces may be asked for at once")),
    };
    Ok(Filter {
        service: (!service.is_empty()).then_some(service),
        failed,
        slower_than_us: slower_than_ms.saturating_mul(1000),
        limit: limit as usize,
    })
}

/// Who answers, and what that is worth.
pub fn seen(
    observer: &Observer,
    worth: Worth,
    seconds: f64,
    now: SystemTime,
    more: usize,
) -> v1::Seen {
    let Worth { replicas, sidecars, left_out } = worth;
    let replica = |Replica { replica, address, silence }: Replica| v1::Replica {
        name: replica.to_string(),
        address,
        silence: silence.unwrap_or_default(),
    };
    v1::Seen {
        replica: observer.memory.replica.to_string(),
        at_ms: unix_ms(now),
        window_s: seconds.round() as u32,
        sidecars,
        left_out: left_out.saturating_add(more as u64),
        replicas: replicas.into_iter().map(replica).collect(),
    }
}

fn signals(sums: &Sums, seconds: f64) -> Option<v1::Signals> {
    let Measured { requests, failures, rate, failure_rate: _, p50_ms, p95_ms, p99_ms } =
        Measured::of(sums, seconds);
    Some(v1::Signals { requests, failures, rate, p50_ms, p95_ms, p99_ms })
}

/// What is asked about.
struct Asked<'a> {
    service: &'a str,
    namespace: &'a str,
}

impl<'a> Asked<'a> {
    fn of(request: &'a v1::TrafficRequest) -> Self {
        let v1::TrafficRequest { service, namespace, window_s: _ } = request;
        Self { service, namespace }
    }

    fn has(&self, names: &[&str]) -> bool {
        let within = |name: &&&str| {
            let account = name.split(' ').next().unwrap_or_default();
            account.split_once('.').is_some_and(|(_, of)| of == self.namespace)
        };
        (self.service.is_empty() || names.contains(&self.service))
            && (self.namespace.is_empty() || names.iter().any(|name| within(&name)))
    }
}

pub fn stat(
    request: &v1::TrafficRequest,
    graph: Graph,
    observer: &Observer,
    now: SystemTime,
) -> v1::StatResponse {
    let (asked, seconds) = (Asked::of(request), graph.seconds);
    let all: Vec<Node> = graph.nodes.into_iter().filter(|of| asked.has(&[&of.name])).collect();
    let node = |of: &Node| v1::Node {
        name: of.name.to_string(),
        namespace: of.namespace.to_string(),
        kind: of.kind.to_owned(),
        signals: signals(&of.sums, seconds),
        sidecars: of.sidecars,
        ready: of.ready,
        ejected: of.ejected,
        half_open: of.half_open,
        routes: of.routes,
        open: of.open,
    };
    v1::StatResponse {
        seen: Some(seen(observer, graph.worth, seconds, now, all.len().saturating_sub(ROWS))),
        nodes: all.iter().take(ROWS).map(node).collect(),
    }
}

pub fn edges(
    request: &v1::TrafficRequest,
    graph: Graph,
    observer: &Observer,
    now: SystemTime,
) -> v1::EdgesResponse {
    let (asked, seconds) = (Asked::of(request), graph.seconds);
    let all: Vec<Edge> =
        graph.edges.into_iter().filter(|of| asked.has(&[&of.from, &of.to])).collect();
    let edge = |of: &Edge| v1::Edge {
        from: of.from.to_string(),
        to: of.to.to_string(),
        from_identity: of.from_identity.as_deref().unwrap_or_default().to_owned(),
        to_identity: of.to_identity.as_deref().unwrap_or_default().to_owned(),
        signals: signals(&of.sums, seconds),
        tls: of.tls().unwrap_or_default().to_owned(),
        protocol: of.spoken.map(|spoken| spoken.as_str()).unwrap_or_default().to_owned(),
        open: of.open,
    };
    v1::EdgesResponse {
        seen: Some(seen(observer, graph.worth, seconds, now, all.len().saturating_sub(ROWS))),
        edges: all.iter().take(ROWS).map(edge).collect(),
    }
}

pub fn top(
    request: &v1::TrafficRequest,
    graph: Graph,
    observer: &Observer,
    now: SystemTime,
) -> v1::TopResponse {
    let (asked, seconds) = (Asked::of(request), graph.seconds);
    let all: Vec<Route> =
        graph.routes.into_iter().filter(|of| asked.has(&[&of.from, &of.to])).collect();
    let route = |of: &Route| v1::Route {
        from: of.from.to_string(),
        to: of.to.to_string(),
        route: of.route.to_string(),
        protocol: of.spoken.map(|spoken| spoken.as_str()).unwrap_or_default().to_owned(),
        signals: signals(&of.sums, seconds),
        open: of.open,
    };
    v1::TopResponse {
        seen: Some(seen(observer, graph.worth, seconds, now, all.len().saturating_sub(ROWS))),
        routes: all.iter().take(ROWS).map(route).collect(),
    }
}

pub fn traces(
    all: &[Summary],
    worth: Worth,
    observer: &Observer,
    now: SystemTime,
) -> v1::TracesResponse {
    v1::TracesResponse {
        seen: Some(seen(observer, worth, f64::from(LONGEST_S), now, 0)),
        traces: all.iter().map(summary).collect(),
    }
}

fn summary(of: &Summary) -> v1::TraceSummary {
    v1::TraceSummary {
        trace_id: format!("{:032x}", of.id),
        started_ms: of.started_us / 1000,
        duration_us: of.duration_us,
        service: of.service.to_string(),
        method: of.method.to_string(),
        path: of.path.to_string(),
        spans: u32::try_from(of.parts).unwrap_or(u32::MAX),
        failed: of.failed,
        reason: of.reason.as_deref().unwrap_or_default().to_owned(),
        kept: of.why.as_str().to_owned(),
    }
}

pub fn trace(of: &Trace, worth: Worth, observer: &Observer, now: SystemTime) -> v1::TraceResponse {
    let left_out = of.summary.parts.saturating_sub(of.spans.len());
    v1::TraceResponse {
        seen: Some(seen(observer, worth, f64::from(LONGEST_S), now, left_out)),
        trace: Some(summary(&of.summary)),
        spans: of.spans.iter().map(span).collect(),
    }
}

fn span(TraceSpan { seen, offset_us, depth }: &TraceSpan) -> v1::Span {
    let kept = &seen.kept;
    let endpoint = |of: Option<std::net::SocketAddr>| of.map(|of| of.to_string());
    let attempt = |of: &Attempt| v1::Try {
        endpoint: endpoint(of.endpoint).unwrap_or_default(),
        offset_us: offset_us.saturating_add(of.offset_us),
        duration_us: of.duration_us,
        status: of.status.into(),
        reason: of.reason.to_string(),
    };
    v1::Span {
        span_id: format!("{:016x}", kept.span_id),
        parent_id: match kept.parent_id {
            0 => String::new(),
            id => format!("{id:016x}"),
        },
        workload: seen.workload.to_string(),
        service_of: seen.node.to_string(),
        inbound: kept.inbound,
        service: kept.service.to_string(),
        route: kept.route.to_string(),
        offset_us: *offset_us,
        duration_us: kept.duration_us,
        protocol: kept.protocol.to_string(),
        method: kept.method.to_string(),
        path: kept.path.to_string(),
        status: kept.status.into(),
        grpc: kept.grpc.map_or(0, |status| u32::from(status) + 1),
        reason: kept.reason.to_string(),
        sentence: kept.sentence.to_string(),
        endpoint: endpoint(kept.endpoint).unwrap_or_default(),
        peer: kept.peer.to_string(),
        tls: kept.tls.to_string(),
        failed: kept.failed(),
        tries: kept.attempts.iter().map(attempt).collect(),
        depth: *depth,
    }
}
