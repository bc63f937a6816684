//! What holds for any policies and any request, and that the oracle says the same.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::oracle::{self, Http, Question, Told};
use super::{Asked, Asker, compiled, policy};
use crate::model::SpiffeId;
use crate::resources::AccessPolicy;
use crate::telemetry::metrics::Registry;
use std::sync::Arc;

fn pick<T: Clone + std::fmt::Debug + 'static>(of: &'static [T]) -> impl Strategy<Value = T> {
    prop::sample::select(of)
}

fn some(of: &'static [&'static str], most: usize) -> impl Strategy<Value = Value> {
    prop::sample::subsequence(of, 0..=most).prop_map(|all| json!(all))
}

const IDS: &[&str] = &[
    "spiffe://cluster.local/ns/shop/sa/web",
    "spiffe://cluster.local/ns/shop/sa/db",
    "spiffe://cluster.local/ns/far/sa/web",
    "*",
];
const NAMESPACES: &[&str] = &["shop", "far"];
const BLOCKS: &[&str] = &["10.0.0.0/8", "10.0.0.1", "192.168.0.0/16", "fd00::/8", "0.0.0.0/0"];
const METHODS: &[&str] = &["GET", "POST", "CONNECT"];
const SENT: &[&str] = &["GET", "POST", "CONNECT", "post"];
const PATTERNS: &[&str] = &[
    "/", "/*", "/a", "/a/", "/a/*", "/a/b", "/a/{x}", "/a/{x}/c", "/{x}/b", "/a/b/*", "/a%2Fb",
    "/a;b", "/{x}", "/a/{x}/*", "/a@b", "/a%40b/*", "/a%3Bb",
];
const HOSTS: &[&str] = &["api.example", "*.example", "*.api.example"];
const VALUES: &[&str] = &["a", "a*", "*b", "*", "b"];

fn entry_from() -> impl Strategy<Value = Value> {
    let token = prop::bool::weighted(0.05);
    (some(IDS, 2), some(NAMESPACES, 1), some(BLOCKS, 2), token).prop_map(
        |(identities, namespaces, blocks, token)| {
            let keys = if token { json!(["key"]) } else { json!([]) };
            json!({"identities": identities, "namespaces": namespaces, "ipBlocks": blocks,
                   "apiKeys": keys})
        },
    )
}

fn entry_to() -> impl Strategy<Value = Value> {
    let header = prop::option::weighted(0.2, pick(VALUES));
    let hosts = prop_oneof![3 => Just(json!([])), 1 => some(HOSTS, 2)];
    let methods = prop_oneof![2 => Just(json!([])), 1 => some(METHODS, 2)];
    (methods, some(PATTERNS, 3), hosts, header).prop_map(|(methods, paths, hosts, header)| {
        let headers = header.map_or(json!({}), |value| json!({"x-a": value}));
        json!({"methods": methods, "paths": paths, "hosts": hosts, "headers": headers})
    })
}

/// An entry that says nothing is no entry.
fn entries(all: Vec<Value>) -> Vec<Value> {
    let says = |value: &Value| match value {
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => false,
    };
    let fields = |entry: &Value| entry.as_object().is_some_and(|of| of.values().any(says));
    all.into_iter().filter(fields).collect()
}

fn rule() -> impl Strategy<Value = Value> {
    let from = prop::collection::vec(entry_from(), 0..3);
    let to = prop::collection::vec(entry_to(), 0..3);
    (pick(&["allow", "deny"]), from, to).prop_map(|(action, from, to)| {
        let (from, to) = (entries(from), entries(to));
        let mut rule = json!({"action": action});
        if !from.is_empty() {
            rule["from"] = json!(from);
        }
        if !to.is_empty() {
            rule["to"] = json!(to);
        }
        rule
    })
}

fn told() -> impl Strategy<Value = (u8, Value)> {
    let word = |of: &'static [&'static str]| prop::option::weighted(0.3, pick(of));
    let words = (
        word(&["strict", "permissive"]),
        word(&["enforce", "observe"]),
        word(&["allow", "deny"]),
        prop::bool::weighted(0.3),
    );
    (0..3u8, words, prop::collection::vec(rule(), 0..4)).prop_map(
        |(level, (mtls, mode, default, port), rules)| {
            let mut spec = json!({});
            let said = [("mtls", mtls), ("mode", mode), ("default", default)];
            for (field, said) in said.into_iter().filter_map(|(f, said)| Some((f, said?))) {
                spec[field] = json!(said);
            }
            if port {
                spec["ports"] = json!([80]);
            }
            if level == 2 {
                spec["selector"] = json!({"matchLabels": {"app": "api"}});
            }
            if !rules.is_empty() {
                spec["rules"] = json!(rules);
            }
            (level, spec)
        },
    )
}

fn policies() -> impl Strategy<Value = Vec<Told>> {
    prop::collection::vec(told(), 0..5).prop_map(|all| {
        let named = |(nth, (level, spec)): (usize, (u8, Value))| {
            let namespace = if level == 0 { "outrigger-system" } else { "shop" };
            (namespace.to_owned(), format!("p{nth}"), spec)
        };
        all.into_iter().enumerate().map(named).collect()
    })
}

fn question() -> impl Strategy<Value = Question> {
    let caller = prop::option::weighted(0.8, (pick(&["shop", "far", "x"]), pick(&["web", "db"])));
    let steps = pick(&[
        "/a", "/a", "/b", "/b", "/c", "/", "/.", "/..", "/%2e%2E", "%2F", "%2fb", "/%61", ";b",
        "@b", "%40b", "%3bb", ";x=1", "%5Cb", "\\", "/..;", "%", "/x",
    ]);
    let path = prop::collection::vec(steps, 1..6).prop_map(|steps| {
        let path = steps.concat();
        if path.starts_with('/') { path } else { format!("/{path}") }
    });
    let path = prop_oneof![9 => path, 1 => Just("*".to_owned())];
    let host = prop::option::weighted(
        0.9,
        pick(&["api.example", "API.example:80", "v1.api.example.", "other", "x.example"]),
    );
    let values = prop::collection::vec(pick(&["a", "ab", "b", "c, a", "c"]), 0..3);
    let http = (pick(SENT), path, host, values).prop_map(|(method, path, host, values)| Http {
        method: method.to_owned(),
        path,
        host: host.map(str::to_owned),
        headers: values.into_iter().map(|value| ("X-A".to_owned(), value.to_owned())).collect(),
    });
    let source = pick(&["10.0.0.1", "10.9.0.1", "192.168.3.4", "172.16.0.1", "fd00::1"]);
    (pick(&[80u16, 81]), source, caller, prop::option::weighted(0.9, http), any::<bool>()).prop_map(
        |(port, source, caller, http, is_declared)| Question {
            port,
            source: source.parse().expect("an address"),
            caller: caller.map(|(of, account)| (of.to_owned(), account.to_owned())),
            http,
            is_declared,
        },
    )
}

/// What the engine is asked, for a question.
pub fn asker(question: &Question) -> Asker {
    let what = match &question.http {
        None if question.is_declared => Asked::Declared,
        None => Asked::Heard,
        Some(http) => {
            let mut request = http::Request::builder().method(&*http.method).uri(&*http.path);
            if let Some(host) = &http.host {
                request = request.header("host", host);
            }
            for (name, value) in &http.headers {
                request = request.header(name, value);
            }
            Asked::Request(request.body(()).expect("a request").into_parts().0.into())
        }
    };
    let id = question.caller.as_ref().map(|(of, account)| {
        SpiffeId::parse(&format!("spiffe://cluster.local/ns/{of}/sa/{account}")).expect("an id")
    });
    Asker { port: question.port, source: question.source, id, what }
}

pub fn read(told: &[Told]) -> Vec<Arc<AccessPolicy>> {
    told.iter()
        .map(|(namespace, name, spec)| policy(&format!("{namespace}/{name}"), &spec.to_string()))
        .collect()
}

fn word(policies: &[Arc<AccessPolicy>], question: &Question) -> &'static str {
    let policy = compiled(policies, &Registry::default());
    asker(question).ask(&policy, |decision, _| decision.word())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn the_oracle_decides_alike(told in policies(), questions in prop::collection::vec(question(), 8)) {
        let policy = compiled(&read(&told), &Registry::default());
        for question in &questions {
            let found = asker(question).ask(&policy, |decision, _| decision.word());
            prop_assert_eq!(found, oracle::verdict(&told, question), "{:?} {:?}", told, question);
        }
    }
}

proptest! {
    #[test]
    fn order_and_repetition_change_nothing(told in policies(), question in question(), turn in 0..5usize) {
        let mut policies = read(&told);
        let before = word(&policies, &question);
        let named = asker(&question).verdict(&compiled(&policies, &Registry::default()));
        policies.reverse();
        let turn = turn.min(policies.len());
        policies.rotate_left(turn);
        let again = asker(&question).verdict(&compiled(&policies, &Registry::default()));
        prop_assert_eq!(&again, &named);
        let twice: Vec<_> = policies.iter().chain(&policies).cloned().collect();
        prop_assert_eq!(word(&twice, &question), before);
    }

    #[test]
    fn a_rule_that_denies_never_lets_anybody_in(told in policies(), question in question(), more in rule()) {
        let before = word(&read(&told), &question);
        let mut deny = more;
        deny["action"] = json!("deny");
        let mut with = told;
        with.push(("shop".into(), "more".into(), json!({"rules": [deny]})));
        let after = word(&read(&with), &question);
        prop_assert!(before == after || before == "allow", "{before} {after}");
    }

    #[test]
    fn a_policy_that_may_be_about_a_workload_lets_in_no_more_than_with_and_without_it(
        told in policies(),
        may_be in told(),
        question in question(),
    ) {
        let certain = read(&told);
        let may_be = read(&[("shop".into(), "may-be".into(), {
            let mut spec = may_be.1;
            spec["selector"] = json!({"matchLabels": {"app": "api"}});
            spec
        })]);
        let cautious = may_be[0].cautious().map(Arc::new);
        let with: Vec<_> = certain.iter().chain(&may_be).cloned().collect();
        let judged: Vec<_> = certain.iter().cloned().chain(cautious).collect();
        let refused = |policies: &[Arc<AccessPolicy>]| {
            asker(&question).refusal(&compiled(policies, &Registry::default())).is_some()
        };
        if !refused(&judged) {
            prop_assert!(!refused(&certain) && !refused(&with));
        }
    }

    #[test]
    fn the_forwarded_path_is_judged_as_the_sent_one(told in policies(), question in question()) {
        let policy = compiled(&read(&told), &Registry::default());
        let asker = asker(&question);
        let (sent, changed) = asker.ask(&policy, |decision, path| (decision.word(), path));
        if let (Some(path), Asked::Request(parts)) = (changed, &asker.what) {
            let mut parts = parts.clone();
            parts.uri = path.parse().expect("a path");
            let again = Asker { what: Asked::Request(parts), ..asker.clone() };
            let (forwarded, changed) = again.ask(&policy, |decision, path| (decision.word(), path));
            prop_assert_eq!(sent, forwarded);
            prop_assert_eq!(changed, None, "normalising is done once");
        }
    }
}
