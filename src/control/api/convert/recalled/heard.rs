//! From the wire.

use std::net::IpAddr;
use std::sync::Arc;

use super::super::observed;
use super::super::reported::{Words, kept, most, unready};
use super::{HOLDERS, ROWS, STEPS, TELLERS, TRACES};
use crate::control::memory::part::{
    Caller, Holder, Open, Part, Question, Sidecar, Slots, Stepped, Steps, Teller,
};
use crate::control::memory::report::{Buckets, Unready};
use crate::control::memory::{Beginning, Key, Kind, Row, Seen, Sums};
use crate::control::plaintext;
use crate::model::SpiffeId;
use crate::wire::v1;

/// What another replica asks.
///
/// # Errors
/// When more is wanted than anything is remembered of.
pub fn question(from: v1::RecallRequest) -> Result<Question, String> {
    let v1::RecallRequest {
        rows,
        steps,
        sidecars,
        endpoints,
        failures_of,
        traces,
        trace_ids,
        plaintext,
        open,
    } = from;
    most("traces", trace_ids.len(), TRACES)?;
    let steps = steps.map(|v1::Steps { service, first, each, count }| {
        let is_legal = (1..=STEPS).contains(&each) && count <= STEPS;
        is_legal.then_some(Steps { service, first, each, count }).ok_or("steps that can't be")
    });
    Ok(Question {
        rows: rows.map(|v1::Slots { first, last }| Slots { first, last }),
        steps: steps.transpose()?,
        sidecars,
        endpoints,
        failures_of: (!failures_of.is_empty()).then_some(failures_of),
        traces: traces.map(observed::filter).transpose()?,
        spans: trace_ids.into_iter().map(trace_id).collect::<Result<_, _>>()?,
        plaintext: plaintext.map(|v1::PlaintextRequest { namespace }| namespace),
        open,
    })
}

impl TryFrom<v1::RecallResponse> for Part {
    type Error = String;

    fn try_from(from: v1::RecallResponse) -> Result<Self, String> {
        let v1::RecallResponse {
            replica,
            began_ms,
            connected,
            words,
            rows,
            steps,
            sidecars,
            tellers,
            traces,
            spans,
            plaintext,
            left_out,
            holders,
            trust_revision,
        } = from;
        most("rows", rows.len(), ROWS)?;
        most("tellers", tellers.len(), TELLERS)?;
        most("holders", holders.len(), HOLDERS)?;
        let words = Words::of(words);
        let sidecars = sidecars.into_iter().map(|of| sidecar(&words, of));
        let tellers = tellers.into_iter().map(|of| teller(&words, of));
        let holders = holders.into_iter().map(|of| holder(&words, of));
        let traces = traces.into_iter().map(|of| beginning(&words, of));
        let spans = spans.into_iter().map(|of| span(&words, of));
        Ok(Self {
            replica: replica.into(),
            began_ms,
            connected,
            rows: rows.into_iter().map(|of| row(&words, of)).collect::<Result<_, _>>()?,
            steps: stepped(&words, steps.unwrap_or_default())?,
            sidecars: sidecars.collect::<Result<_, _>>()?,
            tellers: tellers.collect::<Result<_, _>>()?,
            holders: holders.collect::<Result<_, _>>()?,
            traces: traces.collect::<Result<_, _>>()?,
            spans: spans.collect::<Result<_, _>>()?,
            plaintext: plaintext.map(seen).transpose()?,
            left_out,
            trust_revision,
        })
    }
}

fn trace_id(bytes: Vec<u8>) -> Result<u128, String> {
    let bytes: [u8; 16] = bytes.try_into().map_err(|_| "a trace id has 16 bytes")?;
    Ok(u128::from_be_bytes(bytes))
}

fn row(words: &Words, from: v1::RecalledRow) -> Result<Row, String> {
    let kind = kind(from.kind())?;
    let v1::RecalledRow { kind: _, owner, from, to, route, peer, spoken, sums: of } = from;
    let [from, to, route] = [words.word(from)?, words.word(to)?, words.word(route)?];
    Ok(Row {
        owner: words.word(owner)?,
        key: Key { kind, from, to, route },
        sums: sums(of)?,
        spoken: (spoken > 0).then(|| words.spoken(spoken)).transpose()?,
        peer: Some(words.word(peer)?).filter(|peer| !peer.is_empty()),
    })
}

fn kind(said: v1::recalled_row::Kind) -> Result<Kind, String> {
    use v1::recalled_row::Kind as Said;
    match said {
        Said::Flow => Ok(Kind::Flow),
        Said::Received => Ok(Kind::Received),
        Said::Caller => Ok(Kind::Caller),
        Said::Unspecified => Err("a row of no kind".into()),
    }
}

/// Replicas of one mesh have the same buckets, but while it is upgraded.
fn sums(from: Option<v1::RecalledSums>) -> Result<Sums, String> {
    let v1::RecalledSums { requests, failed, proved, plain, buckets: from } =
        from.unwrap_or_default();
    let mut buckets = Buckets::default();
    most("buckets", from.len(), buckets.len())?;
    buckets[..from.len()].copy_from_slice(&from);
    Ok(Sums { requests, failed, proved, plain, buckets })
}

fn stepped(words: &Words, from: v1::RecalledSteps) -> Result<Stepped, String> {
    let v1::RecalledSteps { asked, received, told, callers } = from;
    let all = |list: Vec<v1::RecalledSums>| -> Result<Vec<Sums>, String> {
        list.into_iter().map(|of| sums(Some(of))).collect()
    };
    let caller = |v1::RecalledCaller { from, owner, steps }| {
        let step = |v1::RecalledStep { at, sums: of }| Ok::<_, String>((at, sums(of)?));
        let steps = steps.into_iter().map(step).collect::<Result<_, _>>()?;
        Ok::<_, String>(Caller { from: words.word(from)?, owner: words.word(owner)?, steps })
    };
    let pair = |pair: &[u32; 2]| Ok::<_, String>((words.word(pair[0])?, words.word(pair[1])?));
    let (pairs, _) = told.as_chunks();
    Ok(Stepped {
        asked: all(asked)?,
        received: all(received)?,
        told: pairs.iter().map(pair).collect::<Result<_, _>>()?,
        callers: callers.into_iter().map(caller).collect::<Result<_, _>>()?,
    })
}

fn sidecar(words: &Words, from: v1::RecalledSidecar) -> Result<Sidecar, String> {
    let v1::RecalledSidecar {
        workload,
        identity,
        since_ms,
        certificate_began_ms,
        certificate_ends_ms,
        is_behind,
        refused,
        ungoverned,
        bundle,
        acknowledges_bundles,
    } = from;
    let identity = words.word(identity)?;
    let some = |text: String| (!text.is_empty()).then_some(text);
    Ok(Sidecar {
        workload: words.word(workload)?,
        identity: SpiffeId::parse(&identity).map_err(|error| error.to_string())?,
        since_ms,
        certificate_began_ms,
        certificate_ends_ms,
        bundle,
        acknowledges_bundles,
        is_behind,
        refused: some(refused),
        ungoverned: some(ungoverned),
    })
}

fn teller(words: &Words, from: v1::RecalledTeller) -> Result<Teller, String> {
    let v1::RecalledTeller { owner, workload, at_ms, services } = from;
    let service = |from| {
        let Unready { service, endpoints, is_used: _ } = unready(from)?;
        Ok::<_, String>((service, endpoints.into()))
    };
    Ok(Teller {
        owner: words.word(owner)?,
        workload: words.word(workload)?,
        at_ms,
        services: services.into_iter().map(service).collect::<Result<_, _>>()?,
    })
}

fn holder(words: &Words, from: v1::RecalledHolder) -> Result<Holder, String> {
    let v1::RecalledHolder { owner, workload, at_ms, open } = from;
    let one = |of: v1::RecalledOpen| {
        let kind = kind(of.kind())?;
        let v1::RecalledOpen { kind: _, from, to, route, peer, spoken, count } = of;
        let [from, to, route] = [words.word(from)?, words.word(to)?, words.word(route)?];
        Ok::<_, String>(Open {
            key: Key { kind, from, to, route },
            spoken: words.spoken(spoken)?,
            peer: Some(words.word(peer)?).filter(|peer| !peer.is_empty()),
            count: count.min(u32::MAX.into()),
        })
    };
    Ok(Holder {
        owner: words.word(owner)?,
        workload: words.word(workload)?,
        at_ms,
        open: open.into_iter().map(one).collect::<Result<_, _>>()?,
    })
}

fn beginning(words: &Words, from: v1::RecalledTrace) -> Result<Beginning, String> {
    let v1::RecalledTrace { trace_id: id, started_us, owner } = from;
    Ok(Beginning { id: trace_id(id)?, started_us, owner: words.word(owner)? })
}

fn span(words: &Words, from: v1::RecalledSpan) -> Result<Arc<Seen>, String> {
    let v1::RecalledSpan { span, owner, workload, node, at_ms } = from;
    let kept = kept(span.unwrap_or_default())?;
    let [owner, workload, node] = [words.word(owner)?, words.word(workload)?, words.word(node)?];
    Ok(Arc::new(Seen { kept, owner, workload, node, at_ms }))
}

fn seen(from: v1::PlaintextResponse) -> Result<plaintext::Seen, String> {
    let v1::PlaintextResponse {
        watching_since_ms,
        sidecars: _,
        paths,
        left_out,
        replica: _,
        replicas: _,
        seen: _,
    } = from;
    let path = |from| {
        let v1::PlaintextPath { workload, port, address, caller, connections, first_ms, last_ms } =
            from;
        let address: IpAddr = address.parse().map_err(|_| format!("{address:?} is no address"))?;
        let port = u16::try_from(port).map_err(|_| format!("{port} is no port"))?;
        let caller = (!caller.is_empty()).then_some(caller);
        Ok(plaintext::Path { workload, port, address, caller, connections, first_ms, last_ms })
    };
    let paths = paths.into_iter().map(path).collect::<Result<_, String>>()?;
    Ok(plaintext::Seen { since_ms: watching_since_ms, paths, left_out })
}
