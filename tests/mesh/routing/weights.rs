//! Shares of several backends, and backends that can't take theirs.

use crate::harness::yaml::{http_route, service};
use crate::harness::{Echoes, Lone, get, row, table};

/// Weighted backends of one rule.
fn split(backends: &[(&str, u32)]) -> String {
    let one =
        |(name, weight): &(&str, u32)| format!("{{name: {name}, port: 80, weight: {weight}}}");
    let all: Vec<String> = backends.iter().map(one).collect();
    http_route("echo", &format!("- backendRefs: [{}]", all.join(", ")))
}

/// How often each of 100 requests in a row, from every beginning, went to `name`.
fn shares<'a>(names: &'a [String], name: &'a str) -> impl Iterator<Item = usize> + 'a {
    names.windows(100).map(move |some| some.iter().filter(|one| *one == name).count())
}

#[test]
fn weights_are_exact_in_any_hundred_requests() {
    let echoes = Echoes::four();
    let splits: [&[(&str, u32)]; 5] = [
        &[("v1", 90), ("v2", 10)],
        &[("v1", 70), ("v2", 20), ("v3", 10)],
        &[("v1", 1), ("v2", 2), ("v3", 4)],
        &[("v1", 1), ("v2", 1)],
        &[("v1", 9_000), ("v2", 1_000)],
    ];
    for backends in splits {
        let caller = Lone::with(&echoes.with(&split(backends))).start();
        let names = caller.names("/", 300);
        let sum: u32 = backends.iter().map(|(_, weight)| weight).sum();
        for (name, weight) in backends {
            let exact = 100.0 * f64::from(*weight) / f64::from(sum);
            for share in shares(&names, name) {
                // Where it is no whole number, the nearest one.
                let off = (share as f64 - exact.round()).abs();
                assert!(off <= 1.0, "{name} of {backends:?}: {share} in place of {exact}");
            }
        }
    }
}

#[test]
fn shares_are_mixed_and_not_in_blocks() {
    let echoes = Echoes::four();
    let caller = Lone::with(&echoes.with(&split(&[("v1", 50), ("v2", 50)]))).start();
    let names = caller.names("/", 100);
    let longest = names.chunk_by(|a, b| a == b).map(<[String]>::len).max();
    assert!(longest <= Some(4), "{longest:?} in a row");
}

#[test]
fn a_weight_is_one_unless_said_and_zero_takes_nothing() {
    let echoes = Echoes::four();
    let rules = "
- matches: [{path: {value: /even}}]
  backendRefs: [{name: v1, port: 80}, {name: v2, port: 80}]
- matches: [{path: {value: /zero}}]
  backendRefs: [{name: v1, port: 80, weight: 0}, {name: v2, port: 80}]
- matches: [{path: {value: /none}}]
  backendRefs: [{name: v1, port: 80, weight: 0}, {name: v2, port: 80, weight: 0}]
";
    let caller = Lone::with(&echoes.with(&http_route("echo", rules))).start();
    let count = |path, name| caller.names(path, 100).iter().filter(|one| *one == name).count();
    assert!((49..=51).contains(&count("/even", "v1")));
    assert_eq!(count("/zero", "v2"), 100);
    table(caller.echo(), &echoes, &[row("GET /none").refused(500, "no-backends")]);
}

#[test]
fn without_backends_and_with_such_as_do_not_exist_the_answer_is_500() {
    let echoes = Echoes::four();
    let rules = "
- matches: [{path: {value: /empty}}]
- matches: [{path: {value: /unknown}}]
  backendRefs: [{name: nobody, port: 80}]
- matches: [{path: {value: /port}}]
  backendRefs: [{name: v1, port: 81}]
- matches: [{path: {value: /namespace}}]
  backendRefs: [{name: v1, namespace: elsewhere, port: 80}]
- backendRefs: [{name: v1, port: 80}]
";
    let caller = Lone::with(&echoes.with(&http_route("echo", rules))).start();
    let refused = |line| row(line).refused(500, "no-backends");
    let rows = [
        refused("GET /empty"),
        refused("GET /unknown"),
        refused("GET /port"),
        refused("GET /namespace"),
        row("GET /").reaches("v1"),
    ];
    table(caller.echo(), &echoes, &rows);
    let answer = caller.ask(get("/unknown"));
    assert!(answer.text().contains("nobody"), "it says which: {:?}", answer.text());
}

#[test]
fn a_backend_that_does_not_exist_keeps_its_share() {
    let echoes = Echoes::four();
    let yaml = echoes.with(&split(&[("v1", 3), ("nobody", 1)]));
    let caller = Lone::with(&yaml).start();
    let mut wire = caller.connect();
    let answers: Vec<_> = (0..100).map(|_| wire.ask(get("/"))).collect();
    let refused = answers.iter().filter(|answer| answer.reason() == Some("no-backends")).count();
    assert!((24..=26).contains(&refused), "{refused} of 100");
    assert!((74..=76).contains(&echoes.app("v1").requests().len()));
}

#[test]
fn a_backend_without_endpoints_is_answered_with_503() {
    let echoes = Echoes::four();
    let rules = "- backendRefs: [{name: idle, port: 80}]";
    let yaml = echoes.with(&(service("idle") + &http_route("echo", rules)));
    let caller = Lone::with(&yaml).start();
    table(caller.echo(), &echoes, &[row("GET /").refused(503, "no-endpoints")]);
    let answer = caller.ask(get("/"));
    assert!(answer.text().contains("idle"), "it says which: {:?}", answer.text());
}

#[test]
fn each_rule_counts_its_own_shares() {
    let echoes = Echoes::four();
    let rule = |path: &str| {
        format!(
            "- matches: [{{path: {{value: {path}}}}}]\n  \
             backendRefs: [{{name: v1, port: 80}}, {{name: v2, port: 80}}]\n"
        )
    };
    let rules = rule("/a") + &rule("/b");
    let caller = Lone::with(&echoes.with(&http_route("echo", &rules))).start();
    let mut wire = caller.connect();
    // In turn: with one count for both, each rule would see one backend only.
    let names: Vec<String> =
        (0..100).map(|n| wire.ask(get(if n % 2 == 0 { "/a" } else { "/b" })).text()).collect();
    for first in [0, 1] {
        let v1 = names.iter().skip(first).step_by(2).filter(|name| *name == "v1").count();
        assert!((24..=26).contains(&v1), "{v1} of 50");
    }
}
