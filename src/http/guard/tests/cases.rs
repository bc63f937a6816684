//! Runs the case tables: whole, cut in two at every byte, and byte by byte.

use super::super::{Rule, Then};
use super::{Run, body_cases, head_cases, run};
use Outcome::{Holds, Passes, Refuses, Waits};

/// What must become of a case's bytes. Each says first how many requests' heads pass.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    /// Everything passes, and nothing is unfinished.
    Passes(u64),
    /// Something is unfinished.
    Waits(u64),
    /// Everything passes, and the connection may change its protocol.
    Holds(u64),
    Refuses(u64, Rule),
}

/// A case: its name, its bytes, its outcome.
pub(super) struct Case {
    name: &'static str,
    input: Vec<u8>,
    outcome: Outcome,
}

impl Case {
    pub(super) fn new(name: &'static str, input: impl Into<Vec<u8>>, outcome: Outcome) -> Self {
        Self { name, input: input.into(), outcome }
    }

    fn check(&self, run: &Run) {
        let Self { name, input, outcome } = self;
        let whole = run.passed == input.len();
        let unfinished = run.in_head || run.in_body;
        let found = match run.then {
            Then::More if whole && !unfinished => Passes(run.requests),
            Then::More => Waits(run.requests),
            Then::Hold => Holds(run.requests),
            Then::Refuse(violation) => Refuses(run.requests, violation.rule()),
        };
        let same = format!("{found:?}") == format!("{outcome:?}");
        assert!(same, "{name}: {found:?}, not {outcome:?}, after {} bytes", run.passed);
    }
}

fn cases() -> Vec<Case> {
    let mut cases = head_cases::cases();
    cases.append(&mut body_cases::cases());
    cases
}

#[test]
fn every_case_comes_out_as_written() {
    let cases = cases();
    assert!(cases.len() >= 120, "{}", cases.len());
    for case in &cases {
        case.check(&run(&case.input, []));
    }
}

#[test]
fn every_cut_gives_the_same() {
    for Case { name, input, .. } in cases().iter().filter(|case| case.input.len() < 2_000) {
        let whole = run(input, []);
        for cut in 0..=input.len() {
            assert_eq!(run(input, [cut]), whole, "{name}, cut at {cut}");
        }
        assert_eq!(run(input, 0..input.len()), whole, "{name}, byte by byte");
    }
}

#[test]
fn large_cases_byte_by_byte() {
    for Case { name, input, .. } in cases().iter().filter(|case| case.input.len() >= 2_000) {
        assert_eq!(run(input, 0..input.len()), run(input, []), "{name}");
    }
}

#[test]
fn every_case_comes_out_the_same_behind_a_request() {
    let good = b"GET / HTTP/1.1\r\nHost: first\r\n\r\n";
    for case in cases() {
        let run = run(&[good, &case.input[..]].concat(), []);
        let outcome = match case.outcome {
            Passes(n) => Passes(n + 1),
            Waits(n) => Waits(n + 1),
            Holds(n) => Holds(n + 1),
            Refuses(n, rule) => Refuses(n + 1, rule),
        };
        let input = [good, &case.input[..]].concat();
        Case { input, outcome, ..case }.check(&run);
    }
}

#[test]
fn a_refused_head_is_kept_back_whole() {
    for Case { name, input, outcome } in cases() {
        let Refuses(requests, _) = outcome else {
            continue;
        };
        let run = run(&input, []);
        let Then::Refuse(violation) = run.then else { panic!("{name}") };
        assert_eq!(violation.in_body(), run.in_body, "{name}");
        if requests == 0 {
            assert_eq!((run.passed, violation.in_body()), (0, false), "{name}");
        }
        assert!(violation.sentence().len() > 20, "{name}");
    }
}

#[test]
fn only_bounds_on_fields_are_too_large() {
    for Case { name, input, outcome } in cases() {
        let Refuses(_, rule) = outcome else { continue };
        let Then::Refuse(violation) = run(&input, []).then else { panic!("{name}") };
        let bound = matches!(rule, Rule::SectionTooLarge | Rule::TooManyFields);
        assert_eq!(violation.too_large(), bound, "{name}");
    }
}
