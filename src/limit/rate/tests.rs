//! Limits with given moments: what they admit, what a refusal costs, whose bucket is whose.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, Request};
use proptest::prelude::*;

use super::gcra::Pace;
use super::table::{MOST_KEYS, Table};
use super::*;
use crate::jwt::Claims;
use crate::model::SpiffeId;
use crate::resources::{Origin, RateLimitPolicy, Resource, parse_documents};
use crate::telemetry::metrics::Registry;
use crate::telemetry::traffic::TrafficMetrics;

const SECOND_US: u64 = 1_000_000;

fn policy(name: &str, spec: &str) -> Arc<RateLimitPolicy> {
    let text = format!(
        "{{apiVersion: outrigger.dev/v1alpha1, kind: RateLimitPolicy, metadata: {{name: {name}}}, \
         spec: {{{spec}}}}}"
    );
    let read = parse_documents(&text, &Origin::file("test"), "shop").expect(spec);
    let [Resource::RateLimitPolicy(policy)] = &read[..] else { panic!("{read:?}") };
    Arc::clone(policy)
}

fn rates(limits: &str) -> Rates {
    let rates = Rates::new(TrafficMetrics::register(&Registry::default()));
    rates.publish(&[policy("api", &format!("limits: [{limits}]"))]);
    rates
}

fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request").into_parts().0
}

fn ask(parts: &Parts) -> Ask<'_> {
    let source = IpAddr::from([10, 0, 0, 1]);
    Ask { port: 80, source, id: None, claims: None, api_key: None, parts }
}

/// How many of a thousand requests at one moment are admitted.
fn admitted(rates: &Rates, ask: &Ask<'_>, now_us: u64) -> usize {
    (0..1000).filter(|_| rates.take(ask, now_us).is_ok()).count()
}

#[test]
fn a_burst_comes_at_once_and_the_rest_evenly() {
    let rates = rates("{key: total, requests: 10, per: 1s, burst: 3}");
    let parts = request("GET", "/", &[]);
    let ask = ask(&parts);
    let start = 7 * SECOND_US;
    assert_eq!(admitted(&rates, &ask, start), 3);
    let quota = rates.take(&ask, start).expect_err("nothing is left");
    assert_eq!((quota.left, quota.wait_ns), (0, Some(100_000_000)));
    assert_eq!(quota.full_in_ns, 300_000_000);
    assert_eq!(admitted(&rates, &ask, start + 99_999), 0);
    assert_eq!(admitted(&rates, &ask, start + 100_000), 1);
    assert_eq!(admitted(&rates, &ask, start + 300_000), 2);
    assert_eq!(admitted(&rates, &ask, start + 60 * SECOND_US), 3, "no more than it holds");
    let quota = rates.take(&ask, start + 61 * SECOND_US).expect("room").expect("it is about it");
    assert_eq!((quota.left, quota.full_in_ns, quota.wait_ns), (2, 100_000_000, None));
}

#[test]
fn each_key_has_its_bucket_and_those_without_share_one() {
    let id = SpiffeId::parse("spiffe://cluster.local/ns/shop/sa/web").expect("an id");
    let other = SpiffeId::parse("spiffe://cluster.local/ns/shop/sa/job").expect("an id");
    let plain = request("GET", "/", &[]);
    let named = request("GET", "/", &[("x-user", "ann")]);
    let twice = request("GET", "/", &[("x-user", "ann"), ("x-user", "bob")]);
    let joined = request("GET", "/", &[("x-user", "annbob")]);
    let empty = request("GET", "/", &[("x-user", "")]);
    let claims = |sub: &str| {
        let map = serde_json::from_str(&format!("{{\"sub\": \"{sub}\"}}")).expect("JSON");
        Claims::new(map, u64::MAX)
    };
    let (ann, bob) = (claims("ann"), claims("bob"));
    let far = IpAddr::from([10, 0, 0, 2]);
    let six: IpAddr = "fd00::1".parse().expect("an address");
    let basic = ask(&plain);
    let with = |parts| Ask { parts, ..basic };
    let rows: [(&str, Vec<Ask<'_>>); 6] = [
        (
            "identity",
            vec![Ask { id: Some(&id), ..basic }, Ask { id: Some(&other), ..basic }, basic],
        ),
        ("ip", vec![basic, Ask { source: far, ..basic }, Ask { source: six, ..basic }]),
        (
            "'header:x-user'",
            vec![with(&named), with(&twice), with(&joined), with(&empty), with(&plain)],
        ),
        (
            "'claim:sub'",
            vec![Ask { claims: Some(&ann), ..basic }, Ask { claims: Some(&bob), ..basic }, basic],
        ),
        ("apiKey", vec![Ask { api_key: Some("a"), ..basic }, Ask { api_key: Some("b"), ..basic }]),
        ("total", vec![basic]),
    ];
    for (key, asks) in rows {
        let rates = rates(&format!("{{key: {key}, requests: 2, per: 1s}}"));
        for ask in &asks {
            assert_eq!(admitted(&rates, ask, SECOND_US), 2, "{key} {ask:?}");
        }
        for ask in &asks {
            assert_eq!(admitted(&rates, ask, SECOND_US), 0, "{key} {ask:?}");
        }
    }
    let rates = rates("{key: 'header:x-user', requests: 2, per: 1s}");
    let near = Ask { id: Some(&id), ..basic };
    assert_eq!(admitted(&rates, &near, SECOND_US) + admitted(&rates, &basic, SECOND_US), 2);
}

#[test]
fn only_what_matches_counts_and_a_doubt_matches() {
    let limit = "{key: total, requests: 1, per: 1s, \
                 match: {methods: [POST], paths: ['/api/*', '/users/{id}']}}";
    let counted = [
        ("POST", "/api/x"),
        ("POST", "/users/7?x=y"),
        ("post", "/api/x"),
        ("POST", "//x/..//%61pi/x"),
        ("POST", "/api%2Fx"),
        ("POST", "/users;v=1/7"),
        ("POST", "/api/%"),
        ("POST", "/zzz%zz"),
    ];
    let passed = [("GET", "/api/x"), ("POST", "/api"), ("POST", "/users/7/x"), ("PUT", "/api/x")];
    for (method, path) in counted {
        let rates = rates(limit);
        let parts = request(method, path, &[]);
        assert_eq!(admitted(&rates, &ask(&parts), SECOND_US), 1, "{method} {path}");
    }
    let rates = rates(limit);
    for (method, path) in passed {
        let parts = request(method, path, &[]);
        assert_eq!(admitted(&rates, &ask(&parts), SECOND_US), 1000, "{method} {path}");
    }
    let mut extended = request("CONNECT", "/ws", &[]);
    extended.extensions.insert(hyper::ext::Protocol::from_static("websocket"));
    assert!(is_method(&extended, &[http::Method::GET]));
}

#[test]
fn ports_have_the_limits_of_the_policies_about_them() {
    let rates = Rates::new(TrafficMetrics::register(&Registry::default()));
    let one = "limits: [{key: total, requests: 1, per: 1h}]";
    let of_port = policy("p", &format!("ports: [80], {one}"));
    rates.publish(&[of_port, policy("all", "limits: [{key: total, requests: 3, per: 1h}]")]);
    let parts = request("GET", "/", &[]);
    assert_eq!(admitted(&rates, &ask(&parts), 1), 1);
    assert_eq!(admitted(&rates, &Ask { port: 81, ..ask(&parts) }, 1), 2, "one port took one");
    assert!(!rates.newest().at(80).expects_http());
    rates.publish(&[policy("h", "limits: [{key: 'header:a', requests: 1, per: 1s}]")]);
    assert!(rates.newest().at(80).expects_http());
    rates.publish(&[]);
    assert_eq!(admitted(&rates, &ask(&parts), 1), 1000);
}

#[test]
fn what_stays_as_it_was_keeps_what_it_counted() {
    let rates = rates("{key: total, requests: 2, per: 1h}");
    let parts = request("GET", "/", &[]);
    assert_eq!(admitted(&rates, &ask(&parts), 1), 2);
    let republish = |limits: &str| rates.publish(&[policy("api", &format!("limits: [{limits}]"))]);
    republish("{key: ip, requests: 500, per: 1h}, {key: total, requests: 2, per: 1h}");
    assert_eq!(admitted(&rates, &ask(&parts), 1), 0, "it moved, and says the same");
    republish("{key: total, requests: 3, per: 1h}");
    assert_eq!(admitted(&rates, &ask(&parts), 1), 3, "it is another");
    republish("{key: total, requests: 3, per: 1h}, {key: total, requests: 3, per: 1h}");
    assert_eq!(admitted(&rates, &ask(&parts), 1), 0, "two that say the same are two");
    rates.publish(&[policy("b", "limits: [{key: total, requests: 3, per: 1h}]")]);
    assert_eq!(admitted(&rates, &ask(&parts), 1), 3, "another policy's is another");
}

#[test]
fn the_answer_says_how_it_stands_with_the_tightest() {
    let rates = rates(
        "{key: ip, requests: 100, per: 1m}, {key: 'header:x-user', requests: 3, per: 1500ms}",
    );
    let parts = request("GET", "/", &[("x-user", "ann")]);
    let written = |quota: &Quota| {
        let mut headers = HeaderMap::new();
        quota.write(&mut headers);
        let of = |name: &str| headers[name].to_str().expect("text").to_owned();
        ["limit", "remaining", "reset", "policy"]
            .map(|name| of(&format!("ratelimit-{name}")))
            .join(" ")
            + " "
            + &of("ratelimit")
    };
    let quota = rates.take(&ask(&parts), 1).expect("room").expect("two are about it");
    let expected = "3 2 1 \"header:x-user\";q=4;w=2 \"header:x-user\";r=2;t=1";
    assert_eq!(written(&quota), expected);
    assert_eq!(admitted(&rates, &ask(&parts), 1), 2);
    let quota = rates.take(&ask(&parts), 1).expect_err("nothing is left");
    assert!(written(&quota).starts_with("3 0 2 "), "{}", written(&quota));
    assert_eq!(quota.rule.to_string(), "3 requests in 1.5s for each header:x-user");
    let mut own = HeaderMap::new();
    own.insert("ratelimit-limit", 7.into());
    quota.write(&mut own);
    assert_eq!(own.len(), 1, "the app's own stay");
    let seen = rates.look(ask(&parts), 1);
    assert_eq!(seen.iter().map(|quota| quota.left).collect::<Vec<_>>(), [97, 0]);
}

#[test]
fn a_flood_of_keys_has_a_bound_and_flushes_nobody() {
    let rates = rates("{key: 'header:x-user', requests: 1, per: 1h}");
    let known = request("GET", "/", &[("x-user", "known")]);
    assert_eq!(admitted(&rates, &ask(&known), 1), 1);
    let mut let_in = 0;
    for n in 0..150_000u32 {
        let parts = request("GET", "/", &[("x-user", &n.to_string())]);
        let_in += usize::from(rates.take(&ask(&parts), 1 + u64::from(n)).is_ok());
    }
    let (held, most) = rates.keys();
    assert!(held <= most && held > most * 95 / 100, "{held} of {most}");
    assert_eq!(
        let_in, held,
        "each held one once, and all newcomers together once, but for `known`"
    );
    assert_eq!(admitted(&rates, &ask(&known), SECOND_US), 0, "it is still known");
    rates.sweep(3_700 * SECOND_US);
    assert_eq!(rates.keys().0, 0);
    assert_eq!(admitted(&rates, &ask(&known), 3_700 * SECOND_US), 1);
}

#[test]
fn full_buckets_leave_first_and_memory_is_given_back() {
    let table = Table::new(1_600);
    let (shared, pace) = (AtomicU64::new(0), Pace::new(1, Duration::from_secs(1), 1));
    let token = |n: u32| table.token(0, std::iter::once(&n.to_be_bytes()[..]));
    let slow = Pace::new(1, Duration::from_secs(3600), 1);
    for n in 0..400 {
        table.take(token(n), slow, &shared, 1).expect("new");
    }
    for n in 400..20_000 {
        let _ = table.take(token(n), pace, &shared, 1);
    }
    let held = table.held();
    assert!((1_400..=1_600).contains(&held), "{held}");
    // A second on, those of a second make room; the slow ones stay.
    let later = 2_000_000_000;
    // Few enough for chance to leave room in each shard.
    for n in 20_000..20_400 {
        table.take(token(n), pace, &shared, later).expect("there is room again");
    }
    assert!(table.held() <= 1_600);
    for n in 0..400 {
        assert!(table.take(token(n), slow, &shared, later).is_err(), "{n} is not forgotten");
    }
    let room = table.room();
    table.sweep(5_000_000_000_000);
    assert_eq!(table.held(), 0);
    assert!(table.room() < room / 2, "{} of {room}", table.room());
}

/// Several workers at once, of two limits that refuse now and then.
#[test]
fn workers_together_are_never_admitted_too_often() {
    let rates = rates(
        "{key: total, requests: 1000, per: 1h, burst: 500}, \
         {key: 'header:x-user', requests: 100, per: 1h, burst: 100}",
    );
    let admitted = AtomicU64::new(0);
    thread::scope(|scope| {
        for worker in 0..4 {
            let (rates, admitted) = (&rates, &admitted);
            scope.spawn(move || {
                for n in 0..2_000 {
                    let user = ((n + worker) % 10).to_string();
                    let parts = request("GET", "/", &[("x-user", &user)]);
                    admitted.fetch_add(u64::from(rates.take(&ask(&parts), 5).is_ok()), Relaxed);
                }
            });
        }
    });
    assert_eq!(admitted.load(Relaxed), 500, "what one refuses costs nothing at the other");
}

fn limits() -> impl Strategy<Value = Vec<(u32, u64, u32, bool)>> {
    proptest::collection::vec((1u32..6, 1u64..4, 1u32..6, any::<bool>()), 1..5)
}

fn written(limits: &[(u32, u64, u32, bool)]) -> Vec<String> {
    let one = |(requests, per, burst, keyed): &(u32, u64, u32, bool)| {
        let key = if *keyed { "'header:x-user'" } else { "total" };
        format!("{{key: {key}, requests: {requests}, per: {per}s, burst: {burst}}}")
    };
    limits.iter().map(one).collect()
}

proptest! {
    #[test]
    fn no_window_has_more_than_burst_and_rate(
        requests in 1u32..50,
        per_ms in 1u64..5_000,
        burst in 1u32..50,
        steps in proptest::collection::vec(0u64..2_000_000_000, 1..400),
    ) {
        let per = Duration::from_millis(per_ms);
        let pace = Pace::new(requests, per, burst);
        let (mut until, mut now, mut taken) = (0, 1, Vec::new());
        for step in steps {
            now += step / 100;
            if let Ok(next) = pace.take(until, now) {
                until = next;
                taken.push(now);
            }
        }
        for (nth, from) in taken.iter().enumerate() {
            for (count, to) in taken[nth..].iter().enumerate() {
                let span = u128::from(to - from);
                let most = u128::from(burst) + span * u128::from(requests) / per.as_nanos();
                let count = count as u128 + 1;
                prop_assert!(count <= most, "{count} in {span} ns");
            }
        }
    }

    /// Each request is admitted if and only if every limit by itself, which has seen those that were
    /// admitted and no other, has room: so refused ones cost nothing, and order means nothing.
    #[test]
    fn all_or_none_in_any_order(
        limits in limits(),
        turn in 0usize..5,
        steps in proptest::collection::vec((0u64..700_000, 0u8..3), 1..120),
    ) {
        let mut turned = written(&limits);
        let all = rates(&turned.join(", "));
        let by = turn % turned.len();
        turned.rotate_left(by);
        turned.reverse();
        let reversed = rates(&turned.join(", "));
        let paces: Vec<(Pace, bool)> = limits
            .iter()
            .map(|(n, per, burst, keyed)| {
                (Pace::new(*n, Duration::from_secs(*per), *burst), *keyed)
            })
            .collect();
        let mut model: std::collections::HashMap<(usize, u8), u64> = Default::default();
        let mut now = SECOND_US;
        for (step, user) in steps {
            now += step;
            let parts = request("GET", "/", &[("x-user", &user.to_string())]);
            let place = |nth: usize, keyed: bool| (nth, if keyed { user } else { 9 });
            let next: Option<Vec<_>> = paces.iter().enumerate().map(|(nth, (pace, keyed))| {
                let at = place(nth, *keyed);
                let until = model.get(&at).copied().unwrap_or_default();
                pace.take(until, now * 1_000).ok().map(|next| (at, next))
            }).collect();
            prop_assert_eq!(all.take(&ask(&parts), now).is_ok(), next.is_some());
            prop_assert_eq!(reversed.take(&ask(&parts), now).is_ok(), next.is_some());
            model.extend(next.into_iter().flatten());
        }
        prop_assert!(all.keys().0 <= MOST_KEYS);
    }

    #[test]
    fn what_is_given_back_was_never_taken(
        until in 0u64..5_000_000_000, now in 0u64..5_000_000_000, burst in 1u32..9,
    ) {
        let pace = Pace::new(3, Duration::from_secs(1), burst);
        if let Ok(next) = pace.take(until, now) {
            prop_assert_eq!(pace.give_back(next), until.max(now));
        }
    }
}
