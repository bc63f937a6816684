//! Whatever the rules, the table finds what a scan of all of them finds.
//!
//! The scan is written from the Gateway API's words and shares no code with the table: it compares
//! strings that it made for the purpose, and takes the greatest of all that match.

use std::cmp::Reverse;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// What makes one match better than another, the greatest best.
type Rank = (bool, u8, usize, u8, usize, bool, usize, usize, Reverse<usize>, Reverse<usize>);

fn scan(rules: &[Rule], parts: &Parts, is_grpc: bool) -> Option<usize> {
    let mut best: Option<(Rank, usize)> = None;
    for (index, rule) in rules.iter().enumerate() {
        let is_call = rule.kind == RouteKind::Grpc;
        let Some((nearness, name)) = host_rank(rule, parts).filter(|_| is_grpc || !is_call) else {
            continue;
        };
        let every = vec![Match::default()];
        let matches = if rule.matches.is_empty() { &every } else { &rule.matches };
        for (place, of) in matches.iter().enumerate() {
            let Some((kind, length)) = path_rank(of, parts.uri.path()) else { continue };
            if !rest_holds(of, parts) {
                continue;
            }
            let (method, headers, query) = (of.method.is_some(), of.headers.len(), of.query.len());
            let ages = (Reverse(index), Reverse(place));
            let rank =
                (is_call, nearness, name, kind, length, method, headers, query, ages.0, ages.1);
            if best.is_none_or(|(other, _)| rank > other) {
                best = Some((rank, index));
            }
        }
    }
    best.map(|(_, index)| index)
}

fn host_rank(rule: &Rule, parts: &Parts) -> Option<(u8, usize)> {
    if rule.hostnames.is_empty() {
        return Some((0, 0));
    }
    let host = parts.headers["host"].to_str().expect("text").to_lowercase();
    let host = host.split(':').next().expect("one");
    let ranks = rule.hostnames.iter().filter_map(|hostname| match hostname {
        Hostname::Exact(name) => (**name == *host).then(|| (2, name.len())),
        Hostname::Below(domain) => {
            let labels = host.strip_suffix(&**domain).unwrap_or_default();
            (!labels.is_empty()).then(|| (1, domain.len()))
        }
    });
    ranks.max()
}

fn path_rank(of: &Match, path: &str) -> Option<(u8, usize)> {
    let segments = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
    match of.path.as_ref() {
        None => Some((0, 0)),
        Some(PathMatch::Prefix(prefix)) => {
            let prefix = prefix.trim_end_matches('/');
            segments(path).starts_with(&segments(prefix)).then_some((0, prefix.len()))
        }
        Some(PathMatch::Regex(pattern)) => whole(pattern, path).then_some((1, pattern.len())),
        Some(PathMatch::Exact(exact)) => (**exact == *path).then_some((2, exact.len())),
    }
}

fn whole(pattern: &str, text: &str) -> bool {
    regex::Regex::new(&format!("^({pattern})$")).expect("a pattern").is_match(text)
}

fn rest_holds(of: &Match, parts: &Parts) -> bool {
    let holds = |value: &ValueMatch, text: Option<String>| match (value, text) {
        (ValueMatch::Exact(wanted), Some(text)) => **wanted == *text,
        (ValueMatch::Regex(pattern), Some(text)) => whole(pattern, &text),
        (_, None) => false,
    };
    let header = |name: &HeaderName| {
        let lines = parts.headers.get_all(name).iter().map(|line| line.to_str().expect("text"));
        let lines: Vec<&str> = lines.collect();
        (!lines.is_empty()).then(|| lines.join(","))
    };
    let query = parts.uri.query().unwrap_or_default().replace('+', " ").replace("%61", "a");
    let parameter = |name: &str| {
        let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).next()
    };
    of.method.as_ref().is_none_or(|method| *method == parts.method)
        && of.headers.iter().all(|h| holds(&h.value, header(&h.name)))
        && of.query.iter().all(|q| holds(&q.value, parameter(&q.name)))
}

const PATHS: [&str; 9] = ["/", "/a", "/a/", "/a/b", "/a/b/", "/a/b/a", "/b", "/ab", "/a//b"];
const PATTERNS: [&str; 10] = [
    "/.*",
    "/a.*",
    "/a/[ab]",
    "/(a|b)",
    "/[^/]*/b.*",
    "/a|/b",
    "/ab?",
    "/a/*b",
    "/ab{0}",
    "/(?i)A",
];
const VALUES: [&str; 5] = ["a", "a,b", "~[ab]", "~a.*", "~.*"];

fn any_path() -> impl Strategy<Value = Option<PathMatch>> {
    option::weighted(
        0.7,
        prop_oneof![
            select(&PATHS[..]).prop_map(|path| PathMatch::Exact(path.into())),
            select(&PATHS[..]).prop_map(|path| PathMatch::Prefix(path.into())),
            select(&PATTERNS[..]).prop_map(|pattern| PathMatch::Regex(pattern.into())),
        ],
    )
}

fn any_match() -> impl Strategy<Value = Match> {
    let method = option::weighted(0.2, select(vec![Method::GET, Method::PUT]));
    let named = || {
        let one = |name: &'static str| {
            option::weighted(0.4, select(&VALUES[..])).prop_map(move |value| (name, value))
        };
        (one("x"), one("y"))
    };
    (any_path(), method, named(), named()).prop_map(|(path, method, headers, query)| {
        let mut of = Match { path, method, ..Match::default() };
        for (name, value) in [headers.0, headers.1] {
            of = value.into_iter().fold(of, |of, value| of.header(name, value));
        }
        for (name, value) in [query.0, query.1] {
            of = value.into_iter().fold(of, |of, value| of.query(name, value));
        }
        of
    })
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let hosts = vec(select(vec!["a.com", "b.a.com", "*.com", "*.a.com"]), 0..2);
    (hosts, vec(any_match(), 0..4), prop::bool::weighted(0.3)).prop_map(
        |(hosts, matches, is_call)| {
            let rule = on_hosts(&hosts, rule(matches));
            if is_call { grpc(rule) } else { rule }
        },
    )
}

fn any_request() -> impl Strategy<Value = Parts> {
    let host = select(vec!["a.com", "B.a.com:80", "c.b.a.com", "com", "other"]);
    let words = || vec(select(vec!["x=a", "y=a", "x=b", "y=%61", "y=a,b", "x", "z=+"]), 1..5);
    (select(vec!["GET", "PUT"]), host, select(&PATHS[..]), words(), words()).prop_map(
        |(method, host, path, query, headers)| {
            let headers = headers.iter().filter_map(|word| word.split_once('='));
            let mut lines: Vec<String> = headers.map(|(n, v)| format!("{n}: {v}")).collect();
            lines.push(format!("host: {host}"));
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            request(method, &format!("{path}?{}", query.join("&")), &lines)
        },
    )
}

proptest! {
    #[test]
    fn the_table_finds_what_a_scan_finds(
        rules in vec(any_rule(), 1..12),
        requests in vec((any_request(), any::<bool>()), 24),
    ) {
        let table = table(rules.clone());
        for (parts, is_grpc) in requests {
            let found = table.find(&Head::of(&parts, is_grpc)).map(|found| found.rule);
            prop_assert_eq!(found, scan(&rules, &parts, is_grpc), "{:?}", parts);
        }
    }
}
