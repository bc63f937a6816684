//! Towards the wire.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use prost::Message;

use super::{HOLDERS, MOST_BYTES, ROWS, TELLERS};
use crate::control::memory::part::{
    Caller, Holder, Open, Part, Question, Sidecar, Slots, Stepped, Steps, Teller,
};
use crate::control::memory::report::{Attempt, Kept, State, Why};
use crate::control::memory::{Beginning, Filter, Kind, Row, Seen, Sums};
use crate::wire::v1;

/// A question as it is asked.
pub fn asking(question: &Question) -> v1::RecallRequest {
    let Question { rows, steps, sidecars, endpoints, failures_of, traces, spans, plaintext, open } =
        question.clone();
    let steps_of =
        |Steps { service, first, each, count }| v1::Steps { service, first, each, count };
    let traces_of = |of: Filter| {
        let Filter { service, failed, slower_than_us, limit } = of;
        v1::TracesRequest {
            service: service.unwrap_or_default(),
            failed,
            slower_than_ms: slower_than_us / 1000,
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
        }
    };
    v1::RecallRequest {
        rows: rows.map(|Slots { first, last }| v1::Slots { first, last }),
        steps: steps.map(steps_of),
        sidecars,
        endpoints,
        failures_of: failures_of.unwrap_or_default(),
        traces: traces.map(traces_of),
        trace_ids: spans.iter().map(|id| id.to_be_bytes().to_vec()).collect(),
        plaintext: plaintext.map(|namespace| v1::PlaintextRequest { namespace }),
        open,
    }
}

/// A part as it is told. The busiest rows come first; what has no room is left out and counted.
pub fn part(from: Part) -> v1::RecallResponse {
    let Part {
        replica,
        began_ms,
        connected,
        mut rows,
        steps,
        sidecars,
        mut tellers,
        traces,
        mut spans,
        plaintext,
        mut holders,
        mut left_out,
        trust_revision,
    } = from;
    rows.sort_by_key(|row| std::cmp::Reverse(row.sums.requests));
    left_out += cut(&mut rows, ROWS) + cut(&mut tellers, TELLERS);
    left_out += cut(&mut holders, HOLDERS);
    let mut words = Words::default();
    let mut told = v1::RecallResponse {
        replica: replica.to_string(),
        began_ms,
        connected,
        words: Vec::new(),
        rows: rows.iter().map(|row| words.row(row)).collect(),
        steps: Some(words.stepped(&steps)),
        sidecars: sidecars.iter().map(|of| words.sidecar(of)).collect(),
        tellers: tellers.iter().map(|of| words.teller(of)).collect(),
        traces: traces.iter().map(|of| words.trace(of)).collect(),
        spans: spans.drain(..).map(|of| words.span(&of)).collect(),
        plaintext: plaintext.map(|seen| super::super::plaintext(seen, connected)),
        holders: holders.iter().map(|of| words.holder(of)).collect(),
        left_out: 0,
        trust_revision,
    };
    told.words = words.all;
    while told.encoded_len() > MOST_BYTES {
        let [rows, tellers] = [told.rows.len(), told.tellers.len()];
        let most = rows.max(tellers).max(told.spans.len()).max(told.holders.len());
        if most == 0 {
            break;
        }
        left_out += cut(&mut told.rows, most / 2);
        left_out += cut(&mut told.tellers, most / 2);
        left_out += cut(&mut told.spans, most / 2);
        left_out += cut(&mut told.holders, most / 2);
    }
    told.left_out = left_out;
    told
}

fn cut<T>(list: &mut Vec<T>, most: usize) -> u64 {
    let over = list.len().saturating_sub(most);
    list.truncate(most);
    over as u64
}

/// From 1; 0 is none.
#[derive(Default)]
struct Words {
    all: Vec<String>,
    known: HashMap<Arc<str>, u32>,
}

impl Words {
    fn word(&mut self, text: &Arc<str>) -> u32 {
        if text.is_empty() {
            return 0;
        }
        if let Some(number) = self.known.get(text) {
            return *number;
        }
        self.all.push(text.to_string());
        let number = u32::try_from(self.all.len()).unwrap_or_default();
        self.known.insert(Arc::clone(text), number);
        number
    }

    fn row(&mut self, row: &Row) -> v1::RecalledRow {
        let Row { owner, key, sums: of, spoken, peer } = row;
        v1::RecalledRow {
            kind: kind(key.kind).into(),
            owner: self.word(owner),
            from: self.word(&key.from),
            to: self.word(&key.to),
            route: self.word(&key.route),
            peer: peer.as_ref().map_or(0, |peer| self.word(peer)),
            spoken: spoken.map_or(0, |spoken| self.word(&spoken.as_str().into())),
            sums: Some(sums(of)),
        }
    }

    fn stepped(&mut self, of: &Stepped) -> v1::RecalledSteps {
        let Stepped { asked, received, told, callers } = of;
        let caller = |words: &mut Self, Caller { from, owner, steps }: &Caller| {
            let step = |(at, of): &(u32, Sums)| v1::RecalledStep { at: *at, sums: Some(sums(of)) };
            let steps = steps.iter().map(step).collect();
            v1::RecalledCaller { from: words.word(from), owner: words.word(owner), steps }
        };
        v1::RecalledSteps {
            asked: asked.iter().map(sums).collect(),
            received: received.iter().map(sums).collect(),
            told: told.iter().flat_map(|(a, b)| [self.word(a), self.word(b)]).collect(),
            callers: callers.iter().map(|of| caller(self, of)).collect(),
        }
    }

    fn sidecar(&mut self, of: &Sidecar) -> v1::RecalledSidecar {
        let Sidecar {
            workload,
            identity,
            since_ms,
            certificate_began_ms,
            certificate_ends_ms,
            bundle,
            acknowledges_bundles,
            is_behind,
            refused,
            ungoverned,
        } = of;
        v1::RecalledSidecar {
            workload: self.word(workload),
            identity: self.word(&identity.as_str().into()),
            since_ms: *since_ms,
            certificate_began_ms: *certificate_began_ms,
            certificate_ends_ms: *certificate_ends_ms,
            bundle: *bundle,
            acknowledges_bundles: *acknowledges_bundles,
            is_behind: *is_behind,
            refused: refused.clone().unwrap_or_default(),
            ungoverned: ungoverned.clone().unwrap_or_default(),
        }
    }

    fn teller(&mut self, of: &Teller) -> v1::RecalledTeller {
        use v1::endpoint_state::State as Said;
        let Teller { owner, workload, at_ms, services } = of;
        let state = |(address, state): &(SocketAddr, State)| {
            let state = match state {
                State::Ready => return None,
                State::Connecting => Said::Connecting,
                State::HalfOpen => Said::HalfOpen,
                State::Ejected => Said::Ejected,
            };
            Some(v1::EndpointState { address: address.to_string(), state: state.into() })
        };
        let services = services.iter().map(|(service, endpoints)| v1::EndpointStates {
            service: service.to_string(),
            endpoints: endpoints.iter().filter_map(state).collect(),
            unused: false,
        });
        v1::RecalledTeller {
            services: services.collect(),
            owner: self.word(owner),
            workload: self.word(workload),
            at_ms: *at_ms,
        }
    }

    fn holder(&mut self, of: &Holder) -> v1::RecalledHolder {
        let Holder { owner, workload, at_ms, open } = of;
        let open = open.iter().map(|of| {
            let Open { key, spoken, peer, count } = of;
            v1::RecalledOpen {
                kind: kind(key.kind).into(),
                from: self.word(&key.from),
                to: self.word(&key.to),
                route: self.word(&key.route),
                peer: peer.as_ref().map_or(0, |peer| self.word(peer)),
                spoken: self.word(&spoken.as_str().into()),
                count: *count,
            }
        });
        v1::RecalledHolder {
            open: open.collect(),
            owner: self.word(owner),
            workload: self.word(workload),
            at_ms: *at_ms,
        }
    }

    fn trace(&mut self, of: &Beginning) -> v1::RecalledTrace {
        let Beginning { id, started_us, owner } = of;
        let owner = self.word(owner);
        v1::RecalledTrace { trace_id: id.to_be_bytes().to_vec(), started_us: *started_us, owner }
    }

    fn span(&mut self, seen: &Seen) -> v1::RecalledSpan {
        let Seen { kept: of, owner, workload, node, at_ms } = seen;
        v1::RecalledSpan {
            span: Some(kept(of)),
            owner: self.word(owner),
            workload: self.word(workload),
            node: self.word(node),
            at_ms: *at_ms,
        }
    }
}

fn kind(of: Kind) -> v1::recalled_row::Kind {
    use v1::recalled_row::Kind as Said;
    match of {
        Kind::Flow => Said::Flow,
        Kind::Received => Said::Received,
        Kind::Caller => Said::Caller,
    }
}

fn sums(of: &Sums) -> v1::RecalledSums {
    let Sums { requests, failed, proved, plain, buckets } = *of;
    let used = buckets.iter().rposition(|count| *count > 0).map_or(0, |at| at + 1);
    let buckets = buckets[..used].to_vec();
    v1::RecalledSums { requests, failed, proved, plain, buckets }
}

fn kept(of: &Kept) -> v1::KeptSpan {
    use v1::kept_span::Kept as Said;
    let why = match of.why {
        Why::Sampled => Said::Sampled,
        Why::Failed => Said::Failed,
        Why::Slow => Said::Slow,
    };
    let endpoint = |of: Option<SocketAddr>| of.map(|of| of.to_string());
    let attempt = |of: &Attempt| v1::SpanAttempt {
        endpoint: endpoint(of.endpoint).unwrap_or_default(),
        offset_us: of.offset_us,
        duration_us: of.duration_us,
        status: of.status.into(),
        reason: of.reason.to_string(),
    };
    v1::KeptSpan {
        trace_id: of.trace_id.to_be_bytes().to_vec(),
        span_id: of.span_id,
        parent_id: of.parent_id,
        kept: why.into(),
        inbound: of.inbound,
        started_us: of.started_us,
        duration_us: of.duration_us,
        protocol: of.protocol.to_string(),
        method: of.method.to_string(),
        path: of.path.to_string(),
        status: of.status.into(),
        grpc: of.grpc.map_or(0, |status| u32::from(status) + 1),
        reason: of.reason.to_string(),
        sentence: of.sentence.to_string(),
        service: of.service.to_string(),
        route: of.route.to_string(),
        endpoint: endpoint(of.endpoint).unwrap_or_default(),
        peer: of.peer.to_string(),
        tls: of.tls.to_string(),
        attempts: of.attempts.iter().map(attempt).collect(),
    }
}
