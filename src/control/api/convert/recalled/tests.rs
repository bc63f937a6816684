//! What can't be is refused, whoever says it; what is too much is cut and counted. That a part comes
//! out as it went in is shown where parts are put together, beside the memory.

use super::*;
use crate::control::memory::part::{Part, Question, Teller};
use crate::control::memory::{Filter, Key, Kind, Row, Sums};
use crate::wire::v1;

#[test]
fn a_question_comes_out_as_it_went_in() {
    use crate::control::memory::part::{Slots, Steps};
    let filter =
        Filter { service: Some("web.shop".into()), failed: true, slower_than_us: 7000, limit: 9 };
    let steps = Steps { service: "web.shop".into(), first: 3, each: 3, count: 60 };
    let full = Question {
        rows: Some(Slots { first: 3, last: 9 }),
        steps: Some(steps),
        sidecars: true,
        endpoints: true,
        failures_of: Some("web.shop".into()),
        traces: Some(filter),
        spans: vec![1, u128::MAX],
        plaintext: Some(String::new()),
        open: true,
    };
    for asked in [Question::default(), full] {
        assert_eq!(question(asking(&asked)), Ok(asked));
    }
}

#[test]
fn what_can_not_be_is_refused() {
    let asked = v1::RecallRequest::default;
    let steps = |each, count| v1::Steps { each, count, ..v1::Steps::default() };
    for wrong in [
        v1::RecallRequest { trace_ids: vec![vec![1; 8]], ..asked() },
        v1::RecallRequest { trace_ids: vec![vec![1; 16]; TRACES + 1], ..asked() },
        v1::RecallRequest { steps: Some(steps(0, 1)), ..asked() },
        v1::RecallRequest { steps: Some(steps(1, STEPS + 1)), ..asked() },
    ] {
        assert!(question(wrong.clone()).is_err(), "{wrong:?}");
    }
    let told = v1::RecallResponse::default;
    let row = v1::RecalledRow { kind: 1, ..v1::RecalledRow::default() };
    let sums = v1::RecalledSums { buckets: vec![1; 99], ..v1::RecalledSums::default() };
    assert!(Part::try_from(v1::RecallResponse { rows: vec![row.clone()], ..told() }).is_ok());
    for wrong in [
        v1::RecallResponse { rows: vec![v1::RecalledRow::default()], ..told() },
        v1::RecallResponse { rows: vec![v1::RecalledRow { to: 1, ..row.clone() }], ..told() },
        v1::RecallResponse {
            rows: vec![v1::RecalledRow { sums: Some(sums), ..row.clone() }],
            ..told()
        },
        v1::RecallResponse { sidecars: vec![v1::RecalledSidecar::default()], ..told() },
        v1::RecallResponse { spans: vec![v1::RecalledSpan::default()], ..told() },
        v1::RecallResponse { traces: vec![v1::RecalledTrace::default()], ..told() },
    ] {
        assert!(Part::try_from(wrong.clone()).is_err(), "{wrong:?}");
    }
}

#[test]
fn an_answer_has_room_for_so_much_and_counts_the_rest() {
    let row = |n: usize| Row {
        owner: format!("owner-{n}").into(),
        key: Key {
            kind: Kind::Flow,
            from: "a".into(),
            to: "b".into(),
            route: "x".repeat(400).into(),
        },
        sums: Sums { requests: n as u64, ..Sums::default() },
        spoken: None,
        peer: None,
    };
    let rows: Vec<Row> = (0..ROWS + 7).map(row).collect();
    let told = part(Part { rows, ..Part::default() });
    assert_eq!((told.rows.len(), told.left_out), (ROWS, 7));
    let fewest = told.rows.iter().filter_map(|row| Some(row.sums.as_ref()?.requests)).min();
    assert_eq!(fewest, Some(7), "the busiest are told");
    let teller = |n: usize| Teller {
        owner: "o".into(),
        workload: format!("w-{n}").into(),
        at_ms: 1,
        services: vec![("s".repeat(500).into(), [].into())],
    };
    let told = part(Part { tellers: (0..40_000).map(teller).collect(), ..Part::default() });
    assert!(prost::Message::encoded_len(&told) <= MOST_BYTES);
    assert_eq!(told.tellers.len() as u64 + told.left_out, 40_000);
}
