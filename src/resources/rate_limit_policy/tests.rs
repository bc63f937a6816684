//! What a policy may say, how it is printed, and what is said about one that can't be used.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::resources::{Origin, Resource, manifest, parse_documents};

fn read(spec: &str) -> Result<RateLimitPolicy, Vec<String>> {
    let head = "apiVersion: outrigger.dev/v1alpha1\nkind: RateLimitPolicy\nmetadata: {name: api}\n";
    let read = parse_documents(&format!("{head}spec: {spec}\n"), &Origin::file("f.yaml"), "shop");
    let read = read.map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    match <[Resource; 1]>::try_from(read) {
        Ok([Resource::RateLimitPolicy(policy)]) => Ok((*policy).clone()),
        other => panic!("{spec}: {other:?}"),
    }
}

fn again(policy: &RateLimitPolicy) -> Vec<Resource> {
    let written = manifest::of(&Resource::RateLimitPolicy(policy.clone().into())).to_string();
    parse_documents(&written, &Origin::file("again"), "other").expect(&written)
}

#[test]
fn everything_is_read_and_printed_back() {
    let spec = "
  selector: {matchLabels: {app: api}}
  ports: [9090, 8080]
  limits:
    - {key: total, requests: 100, per: 1s, burst: 20}
    - {key: identity, requests: 1, per: 1m, match: {methods: [POST], paths: ['/api/*', '/u/{id}']}}
    - {key: ip, requests: 5, per: 250ms}
    - {key: 'header:x-user', requests: 5, per: 24h}
    - {key: 'claim:realm.user', requests: 5, per: 1s}
    - {key: apiKey, requests: 5, per: 1s}
  concurrency:
    limit: adaptive
    min: 4
    priorities:
      - {match: {headers: {x-tier: [gold, 'pl*']}}, priority: high}
      - {match: {methods: [GET], paths: [/batch/*]}, priority: low}";
    let policy = read(spec).expect("sound");
    assert_eq!((&policy.ports[..], policy.limits.len()), (&[8080, 9090][..], 6));
    let [total, identity, ip, header, claim, key] = &policy.limits[..] else {
        panic!("{policy:?}")
    };
    assert_eq!((&total.key, total.requests, total.burst), (&Key::Total, 100, 20));
    assert_eq!((&identity.key, identity.per), (&Key::Identity, Duration::from_secs(60)));
    assert_eq!((identity.burst, identity.matches.paths.len()), (1, 2), "as many as requests");
    assert_eq!((&ip.key, ip.per), (&Key::Ip, Duration::from_millis(250)));
    let written = [header, claim, key].map(|limit| limit.key.to_string());
    assert_eq!(written, ["header:x-user", "claim:realm.user", "apiKey"]);
    let load = policy.concurrency.as_ref().expect("said");
    assert_eq!(load.most, Most::Adaptive { min: 4, max: 2_000 });
    let of: Vec<Priority> = load.priorities.iter().map(|rule| rule.priority).collect();
    assert_eq!(of, [Priority::High, Priority::Low]);
    assert_eq!(again(&policy), [Resource::RateLimitPolicy(policy.into())]);
    for (spec, most) in [
        ("{concurrency: {limit: 64}}", Most::Fixed(64)),
        ("{concurrency: {limit: adaptive}}", Most::Adaptive { min: 8, max: 2_000 }),
        ("{concurrency: {limit: adaptive, max: 3}}", Most::Adaptive { min: 3, max: 3 }),
        ("{concurrency: {limit: adaptive, min: 5000}}", Most::Adaptive { min: 5_000, max: 5_000 }),
    ] {
        let policy = read(spec).expect(spec);
        assert_eq!(policy.concurrency.as_ref().map(|load| load.most), Some(most), "{spec}");
        assert_eq!(again(&policy), [Resource::RateLimitPolicy(policy.into())]);
    }
}

#[test]
fn what_can_not_be_kept_is_refused_with_its_cure() {
    let limit = |rest: &str| format!("{{limits: [{{{rest}}}]}}");
    let rows = [
        ("{}".to_owned(), "spec.limits: is missing, and so is `concurrency`"),
        ("{limits: []}".to_owned(), "spec.limits: names no limit; leave out `limits`"),
        (limit("requests: 1, per: 1s"), "missing field `key`"),
        (limit("key: total, per: 1s"), "missing field `requests`"),
        (limit("key: total, requests: 1"), "missing field `per`"),
        (limit("key: user, requests: 1, per: 1s"), "expected one of total, identity, ip, header"),
        (limit("key: 'header:', requests: 1, per: 1s"), "\"\" is not the name of a header"),
        (limit("key: 'header:a b', requests: 1, per: 1s"), "is not the name of a header"),
        (limit("key: 'header:x-outrigger-peer', requests: 1, per: 1s"), "write identity"),
        (limit("key: 'claim:', requests: 1, per: 1s"), "names no claim: write claim:sub"),
        (limit("key: ip, requests: 0, per: 1s"), "requests: expected a number from 1 to"),
        (limit("key: ip, requests: 1, per: 1"), "add the unit"),
        (limit("key: ip, requests: 1, per: 0s"), "zero never means off"),
        (limit("key: ip, requests: 1, per: 25h"), "per: is longer than a day"),
        (limit("key: ip, requests: 100000000, per: 1s"), "which limits nobody"),
        (limit("key: ip, requests: 1, per: 1s, burst: 0"), "burst: expected a number from 1 to"),
        (limit("key: ip, requests: 1, per: 1s, match: {}"), "leave out `match` to mean every"),
        (limit("key: ip, requests: 1, per: 1s, match: {paths: [a]}"), "it must begin with `/`"),
        (limit("key: ip, requests: 1, per: 1s, match: {methods: [get]}"), "a method such as GET"),
        (limit("key: ip, requests: 1, per: 1s, match: {hosts: [a]}"), "unknown field `hosts`"),
        (limit("key: ip, requests: 1, per: 1s, brst: 2"), "did you mean `burst`?"),
        ("{concurrency: {}}".to_owned(), "missing field `limit`"),
        ("{concurrency: {limit: 0}}".to_owned(), "expected a number from 1 to 100000"),
        ("{concurrency: {limit: adaptiv}}".to_owned(), "did you mean `adaptive`?"),
        ("{concurrency: {limit: 5, max: 6}}".to_owned(), "max: is for `limit: adaptive`"),
        ("{concurrency: {limit: adaptive, min: 9, max: 4}}".to_owned(), "9 is more than `max`, 4"),
        (
            "{concurrency: {limit: 5, priorities: [{match: {}, priority: low}]}}".to_owned(),
            "says nothing of a request",
        ),
        (
            "{concurrency: {limit: 5, priorities: [{match: {methods: [GET]}, priority: probe}]}}"
                .to_owned(),
            "expected one of high, normal, low",
        ),
        (
            "{concurrency: {limit: 5, priorities: [{match: {headers: {'a b': c}}, priority: low}]}}"
                .to_owned(),
            "is not the name of a header",
        ),
        (
            "{selector: {}, limits: [{key: ip, requests: 1, per: 1s}]}".to_owned(),
            "spec.selector: missing field `matchLabels`",
        ),
        (
            "{ports: [80, 80], limits: [{key: ip, requests: 1, per: 1s}]}".to_owned(),
            "80 is taken by item 0",
        ),
    ];
    for (spec, part) in rows {
        let faults = read(&spec).expect_err(&spec);
        assert!(faults.len() == 1 && faults[0].contains(part), "{spec}: {faults:?}");
    }
    let many = "{key: ip, requests: 1, per: 1s}, ".repeat(51);
    let faults = read(&format!("{{limits: [{many}]}}")).expect_err("too many");
    assert!(faults[0].contains("has 51 limits; 50 is the most"), "{faults:?}");
}

proptest! {
    #[test]
    fn what_is_printed_reads_back_to_the_same(
        requests in 1u32..1_000_000,
        per_ms in 100u64..86_400_000,
        burst in proptest::option::of(1u32..1_000_000),
        key in prop_oneof![Just("total"), Just("identity"), Just("ip"), Just("header:x-a")],
    ) {
        let burst = burst.map(|burst| format!(", burst: {burst}")).unwrap_or_default();
        let (s, ms) = (per_ms / 1000, per_ms % 1000);
        let spec = format!(
            "{{limits: [{{key: '{key}', requests: {requests}, per: {s}s{ms}ms{burst}}}]}}"
        );
        if let Ok(policy) = read(&spec) {
            prop_assert_eq!(again(&policy), [Resource::RateLimitPolicy(policy.into())]);
        }
    }
}
