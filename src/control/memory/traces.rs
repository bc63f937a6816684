//! Traces, put together of the requests that were kept: found by whom they concern, shown as a tree.
//!
//! A trace is what sidecars happened to keep of it: parts may be missing, and a part whose caller is
//! missing begins a tree of its own. Whatever ids say, each part is shown once.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::report::Why;
use super::spans::Seen;

/// Parts of one trace that are shown.
const PARTS: usize = 500;

/// Which traces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    /// `name.namespace`; it called or was called.
    pub service: Option<String>,
    pub failed: bool,
    pub slower_than_us: u64,
    pub limit: usize,
}

/// That something was kept of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beginning {
    pub id: u128,
    pub started_us: i64,
    /// Whose report it is.
    pub owner: Arc<str>,
}

/// A trace at a glance.
#[derive(Clone, Debug)]
pub struct Summary {
    pub id: u128,
    pub started_us: i64,
    pub duration_us: u64,
    /// Of its first part.
    pub service: Arc<str>,
    pub method: Box<str>,
    pub path: Box<str>,
    pub parts: usize,
    pub failed: bool,
    /// Of the last part that has one.
    pub reason: Option<Box<str>>,
    pub why: Why,
}

/// All that was kept of a trace.
#[derive(Clone, Debug)]
pub struct Trace {
    pub summary: Summary,
    /// Callers before those they called, by their beginning.
    pub spans: Vec<TraceSpan>,
}

/// A part of a trace.
#[derive(Clone, Debug)]
pub struct TraceSpan {
    pub seen: Arc<Seen>,
    /// After the trace's beginning.
    pub offset_us: u64,
    /// Parts above it.
    pub depth: u32,
}

/// 32 hexadecimal digits.
pub fn trace_id(text: &str) -> Option<u128> {
    let legal = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    legal.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

/// Those that a filter lets through as far as one replica knows them; in no order.
pub fn beginnings(all: &[Arc<Seen>], filter: &Filter) -> Vec<Beginning> {
    let found = found(all, filter).into_iter();
    let beginning = |(owner, of): (Arc<str>, Summary)| Beginning {
        id: of.id,
        started_us: of.started_us,
        owner,
    };
    newest(found.map(beginning).collect(), filter.limit)
}

/// Of traces that several may have begun to tell of, the newest of everybody; in no order.
pub fn newest(all: Vec<Beginning>, limit: usize) -> Vec<Beginning> {
    let mut earliest: HashMap<u128, Beginning> = HashMap::new();
    for of in all {
        match earliest.get_mut(&of.id) {
            Some(known) if known.started_us <= of.started_us => {}
            Some(known) => *known = of,
            None => drop(earliest.insert(of.id, of)),
        }
    }
    let mut all: Vec<Beginning> = earliest.into_values().collect();
    all.sort_by_key(|of| std::cmp::Reverse((of.started_us, of.id)));
    in_turns(all.into_iter().map(|of| (Arc::clone(&of.owner), of)).collect(), limit)
}

/// Those that a filter lets through, newest first.
pub fn summaries(all: &[Arc<Seen>], filter: &Filter) -> Vec<Summary> {
    let mut found = in_turns(found(all, filter), filter.limit);
    found.sort_by_key(|of| std::cmp::Reverse((of.started_us, of.id)));
    found
}

/// And whose report each is; newest first.
fn found(all: &[Arc<Seen>], filter: &Filter) -> Vec<(Arc<str>, Summary)> {
    let mut traces: HashMap<u128, Vec<&Arc<Seen>>> = HashMap::new();
    for seen in all {
        traces.entry(seen.kept.trace_id).or_default().push(seen);
    }
    let concerned = |parts: &[&Arc<Seen>]| match &filter.service {
        Some(name) => parts.iter().any(|part| concerns(part, name)),
        None => true,
    };
    let parts = traces.values().filter(|parts| concerned(parts));
    let mut found: Vec<(Arc<str>, Summary)> = parts
        .filter_map(|parts| summary(parts))
        .filter(|(_, of)| (of.failed || !filter.failed) && of.duration_us >= filter.slower_than_us)
        .collect();
    found.sort_by_key(|(_, of)| std::cmp::Reverse((of.started_us, of.id)));
    found
}

/// So many of a list, of each owner as many as of any other as far as it has them: nobody who tells
/// much pushes others out. The first of each; in no order.
pub fn in_turns<T>(all: Vec<(Arc<str>, T)>, limit: usize) -> Vec<T> {
    let mut turns: HashMap<Arc<str>, usize> = HashMap::new();
    let mut ranked: Vec<(usize, T)> = Vec::with_capacity(all.len());
    for (owner, one) in all {
        let turn = turns.entry(owner).or_default();
        ranked.push((*turn, one));
        *turn += 1;
    }
    // Keeps the order of those of one turn.
    ranked.sort_by_key(|(turn, _)| *turn);
    ranked.truncate(limit);
    ranked.into_iter().map(|(_, one)| one).collect()
}

/// Whether a service called or was called.
pub fn concerns(part: &Seen, name: &str) -> bool {
    *part.node == *name || called(part) == Some(name)
}

/// The service that was called, without its port.
pub fn called(part: &Seen) -> Option<&str> {
    let (name, _) = part.kept.service.rsplit_once(':')?;
    (!part.kept.inbound).then_some(name)
}

/// And whose report its beginning is.
fn summary(parts: &[&Arc<Seen>]) -> Option<(Arc<str>, Summary)> {
    let known: HashSet<u64> = parts.iter().map(|part| part.kept.span_id).collect();
    let is_root = |part: &&&Arc<Seen>| begins(part, &known);
    let earliest = |part: &&&Arc<Seen>| (part.kept.started_us, part.kept.inbound);
    let root = parts.iter().filter(is_root).min_by_key(earliest);
    let root = root.or_else(|| parts.iter().min_by_key(earliest))?;
    let started_us = parts.iter().map(|part| part.kept.started_us).min()?;
    let ended = |part: &&Arc<Seen>| {
        let since = part.kept.started_us.saturating_sub(started_us);
        u64::try_from(since).unwrap_or_default().saturating_add(part.kept.duration_us)
    };
    let failed = parts.iter().any(|part| part.kept.failed());
    let reasons = parts.iter().filter(|part| !part.kept.reason.is_empty());
    let reason = reasons.max_by_key(|part| part.kept.started_us);
    let slow = parts.iter().any(|part| part.kept.why == Why::Slow);
    let summary = Summary {
        id: root.kept.trace_id,
        started_us,
        duration_us: parts.iter().map(ended).max()?,
        service: Arc::clone(&root.node),
        method: root.kept.method.clone(),
        path: root.kept.path.clone(),
        parts: parts.len(),
        failed,
        reason: reason.map(|part| part.kept.reason.clone()),
        why: match (failed, slow) {
            (true, _) => Why::Failed,
            (false, true) => Why::Slow,
            (false, false) => Why::Sampled,
        },
    };
    Some((Arc::clone(&root.owner), summary))
}

/// All that was kept of one.
pub fn trace(all: &[Arc<Seen>], id: u128) -> Option<Trace> {
    let mut parts: Vec<&Arc<Seen>> = all.iter().filter(|part| part.kept.trace_id == id).collect();
    // A call before its being taken, where both began at once.
    parts.sort_by_key(|part| (part.kept.started_us, part.kept.inbound, part.kept.span_id));
    let (_, summary) = summary(&parts)?;
    parts.truncate(PARTS);
    let spans = tree(&parts).into_iter().map(|(at, depth)| TraceSpan {
        seen: Arc::clone(parts[at]),
        offset_us: parts[at].kept.started_us.abs_diff(summary.started_us),
        depth,
    });
    Some(Trace { spans: spans.collect(), summary })
}

/// Whether a part begins a trace, or what is known of it.
fn begins(part: &Seen, known: &HashSet<u64>) -> bool {
    part.kept.parent_id == 0 || !known.contains(&part.kept.parent_id)
}

/// The order of a tree, by index, with depths. What leads in a circle is begun somewhere.
fn tree(parts: &[&Arc<Seen>]) -> Vec<(usize, u32)> {
    let known: HashSet<u64> = parts.iter().map(|part| part.kept.span_id).collect();
    let mut children: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (at, part) in parts.iter().enumerate() {
        children.entry(part.kept.parent_id).or_default().push(at);
    }
    let is_root = |at: &usize| begins(parts[*at], &known);
    let roots: Vec<usize> = (0..parts.len()).filter(is_root).collect();
    let (mut order, mut shown) = (Vec::new(), vec![false; parts.len()]);
    for begin in roots.into_iter().chain(0..parts.len()) {
        let mut next = vec![(begin, 0)];
        while let Some((at, depth)) = next.pop() {
            if std::mem::replace(&mut shown[at], true) {
                continue;
            }
            order.push((at, depth));
            let below = children.get(&parts[at].kept.span_id).into_iter().flatten().rev();
            next.extend(below.map(|&child| (child, depth + 1)));
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::memory::spans::tests::kept;

    fn seen(trace: u128, span: u64, parent: u64, started_us: i64, node: &str) -> Arc<Seen> {
        let mut kept = kept(trace, span, parent);
        kept.started_us = started_us;
        let [owner, workload, node] = [node; 3].map(Arc::from);
        Arc::new(Seen { kept, owner, workload, node, at_ms: 0 })
    }

    #[test]
    fn a_trace_is_a_tree_whatever_order_its_parts_came_in() {
        let all = [
            seen(7, 4, 3, 300, "db"),
            seen(7, 2, 1, 100, "web"),
            seen(7, 1, 0, 50, "gate"),
            seen(7, 3, 2, 200, "api"),
            seen(7, 9, 2, 150, "auth"),
            seen(8, 1, 0, 0, "other"),
        ];
        let trace = trace(&all, 7).expect("it is there");
        let line =
            |span: &TraceSpan| format!("{}{} {}", span.depth, span.seen.node, span.offset_us);
        let lines: Vec<String> = trace.spans.iter().map(line).collect();
        assert_eq!(lines, ["0gate 0", "1web 50", "2auth 100", "2api 150", "3db 250"]);
        assert_eq!(trace.summary.duration_us, 1250);
        assert_eq!(&*trace.summary.service, "gate");
        assert!(super::trace(&all, 9).is_none());
    }

    #[test]
    fn circles_and_gaps_are_shown_too() {
        let all = [seen(1, 1, 2, 0, "a"), seen(1, 2, 1, 1, "b"), seen(1, 3, 77, 2, "c")];
        let trace = trace(&all, 1).expect("it is there");
        let nodes: Vec<&str> = trace.spans.iter().map(|span| &*span.seen.node).collect();
        assert_eq!(nodes, ["c", "a", "b"]);
        let own = [seen(1, 5, 5, 0, "a")];
        assert_eq!(super::trace(&own, 1).expect("it is there").spans.len(), 1);
    }

    #[test]
    fn nobody_who_tells_much_pushes_others_out() {
        let mut all: Vec<Arc<Seen>> =
            (0..100).map(|n| seen(1000 + n, 1, 0, 1000, "flood")).collect();
        all.extend((0..3).map(|n| seen(n, 1, 0, i64::from(n as u32), "honest")));
        let found = summaries(&all, &Filter { limit: 10, ..Filter::default() });
        let honest: Vec<u128> = found.iter().map(|of| of.id).filter(|id| *id < 1000).collect();
        assert_eq!((found.len(), honest), (10, vec![2, 1, 0]));
    }

    #[test]
    fn what_has_no_parent_begins_whatever_else_is_there() {
        let all = [seen(1, 1, 0, 5, "a"), seen(1, 0, 9, 6, "b")];
        let trace = trace(&all, 1).expect("it is there");
        let parts: Vec<(u32, &str)> =
            trace.spans.iter().map(|span| (span.depth, &*span.seen.node)).collect();
        assert_eq!(parts[0], (0, "a"));
    }

    #[test]
    fn filters_hold_for_whole_traces() {
        let mut failed = kept(1, 2, 1);
        (failed.status, failed.reason) = (503, "connect-failure".into());
        failed.service = "db.shop:80".into();
        let mut of_api = Seen { kept: failed, ..Seen::clone(&seen(1, 2, 1, 0, "api")) };
        of_api.workload = "a".into();
        let all = [Arc::new(of_api), seen(1, 1, 0, 0, "gate"), seen(2, 1, 0, 5, "gate")];
        let ids = |filter: Filter| -> Vec<u128> {
            summaries(&all, &Filter { limit: 10, ..filter }).iter().map(|of| of.id).collect()
        };
        assert_eq!(ids(Filter::default()), [2, 1]);
        assert_eq!(ids(Filter { failed: true, ..Filter::default() }), [1]);
        let of = |name: &str| Filter { service: Some(name.into()), ..Filter::default() };
        assert_eq!((ids(of("db.shop")), ids(of("gate"))), (vec![1], vec![2, 1]));
        assert_eq!(ids(Filter { slower_than_us: 5000, ..Filter::default() }), []);
        let one = summaries(&all, &Filter { failed: true, limit: 1, ..Filter::default() });
        assert_eq!(one[0].reason.as_deref(), Some("connect-failure"));
    }
}
