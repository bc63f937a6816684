//! Filters one by one and together; what a queue and the taps hold, leave out and let go.

use std::time::{Duration, SystemTime};

use super::*;
use crate::model::{Direction, Reason};

fn entry() -> Entry<'static> {
    Entry {
        time: SystemTime::UNIX_EPOCH,
        direction: Direction::Outbound,
        request_id: Some(b"id-1"),
        trace_id: Some(7),
        method: Some("GET"),
        authority: Some("ann:s3cret@web.shop"),
        path: Some("/orders/7?access_token=s3cret"),
        protocol: "http/1.1",
        status: Some(503),
        grpc_status: None,
        reason: Some(Reason::ConnectFailure),
        service: Some("web.shop:80"),
        route: Some("default"),
        endpoint: None,
        peer: Some("spiffe://cluster.local/ns/shop/sa/web"),
        attempts: 2,
        duration: Duration::from_millis(250),
        upstream: None,
        bytes_in: 1,
        bytes_out: 2,
        user_agent: Some(b"tester/1"),
        tls: "none",
        access: Some("deny shop/web 2"),
    }
}

fn filter(fields: &[(&str, &str)]) -> Filter {
    let mut filter = Filter::default();
    for (field, value) in fields {
        filter.set(field, value).unwrap_or_else(|why| panic!("{field}: {why}"));
    }
    filter
}

#[test]
fn each_field_lets_through_what_it_names_and_nothing_else() {
    let rows = [
        ("method", "GET", true),
        ("method", "post,get", true),
        ("method", "POST", false),
        ("path", "/orders/7", true),
        ("path", "/orders", false),
        ("path", "/orders*", true),
        ("path", "/orders/7*", true),
        ("path", "/orders/77*", false),
        ("path", "/", false),
        ("status", "503", true),
        ("status", "5xx", true),
        ("status", "200, 503", true),
        ("status", "4xx,500", false),
        ("failed", "true", true),
        ("failed", "false", true),
        ("direction", "outbound", true),
        ("direction", "inbound", false),
        ("service", "web.shop", true),
        ("service", "web.shop:80", true),
        ("service", "web.shop:8080", false),
        ("service", "web.shop:8", false),
        ("service", "web.sho", false),
        ("service", "api.shop", false),
        ("service", "unknown", false),
        ("reason", "connect-failure", true),
        ("reason", "denied,connect-failure", true),
        ("reason", "denied", false),
    ];
    for (field, value, expected) in rows {
        assert_eq!(filter(&[(field, value)]).matches(&entry()), expected, "{field}={value}");
    }
    let slower = |millis| Filter { slower: Some(Duration::from_millis(millis)), ..filter(&[]) };
    assert!(slower(250).matches(&entry()) && !slower(251).matches(&entry()));
    assert!(filter(&[]).matches(&entry()), "nothing said wants everything");
    let all = [("method", "GET"), ("status", "5xx"), ("service", "web.shop")];
    assert!(filter(&all).matches(&entry()));
    let all = [("method", "GET"), ("status", "5xx"), ("service", "api.shop")];
    assert!(!filter(&all).matches(&entry()), "all of them must hold");
}

#[test]
fn what_a_connection_does_not_have_is_not_what_was_asked_for() {
    let tcp = || Entry { method: None, path: None, status: None, reason: None, ..entry() };
    for (field, value) in
        [("method", "GET"), ("path", "*"), ("status", "5xx"), ("reason", "denied"), ("failed", "")]
    {
        assert!(!filter(&[(field, value)]).matches(&tcp()), "{field}");
    }
    assert!(filter(&[("service", "web.shop")]).matches(&tcp()));
    let broken = Entry { reason: Some(Reason::UpstreamReset), ..tcp() };
    assert!(filter(&[("failed", "true")]).matches(&broken));
}

#[test]
fn failed_is_what_golden_signals_count() {
    let failed = filter(&[("failed", "true")]);
    let ended = |status, grpc_status, reason| {
        failed.matches(&Entry { status: Some(status), grpc_status, reason, ..entry() })
    };
    assert!(ended(500, None, None) && ended(403, None, Some(Reason::Denied)));
    assert!(ended(200, Some(14), None) && !ended(200, Some(5), None));
    assert!(!ended(404, None, None) && !ended(499, None, Some(Reason::ClientClosed)));
}

#[test]
fn what_can_not_be_read_is_refused_with_what_would_be_right() {
    for (field, value, parts) in [
        ("method", "G T", ["\"G T\" is no method", "GET,POST"]),
        ("method", "GET,", ["\"\" is no method", "GET"]),
        ("path", "orders", ["does not begin with /", "/orders*"]),
        ("path", "/a*b", ["a * before its end", "/orders*"]),
        ("path", "/a?b=1", ["has a query", "leave it out"]),
        ("status", "5x", ["\"5x\" is no status", "503 or 5xx"]),
        ("status", "600xx", ["is no status", "5xx"]),
        ("status", "42", ["is no status", "5xx"]),
        ("failed", "yes", ["neither true", "false"]),
        ("direction", "in", ["is no direction", "inbound or outbound"]),
        ("service", "web", ["is no service", "name.namespace"]),
        ("service", "web.shop:0", ["is no service", "name.namespace:port"]),
        ("reason", "odd", ["is no reason", "explain --list"]),
        ("colour", "red", ["is no filter", "method, path"]),
    ] {
        let why = Filter::default().set(field, value).expect_err(field);
        assert!(parts.iter().all(|part| why.contains(part)), "{field}={value}: {why}");
    }
    let many = ["GET"; 17].join(",");
    assert!(Filter::default().set("method", &many).expect_err("many").contains("at most 16"));
    assert!(Filter::default().set("path", &"/".repeat(257)).is_err());
}

#[test]
fn a_filter_reads_as_people_say_it() {
    let mut all = filter(&[
        ("method", "get,POST"),
        ("path", "/orders*"),
        ("status", "429,5xx"),
        ("failed", "true"),
        ("direction", "inbound"),
        ("service", "web.shop:80"),
        ("reason", "denied"),
    ]);
    all.slower = Some(Duration::from_millis(1500));
    assert_eq!(
        all.to_string(),
        "method GET,POST, path /orders*, status 429,5xx, failed, inbound, to web.shop:80, reason \
         denied, from 1.5s"
    );
    assert_eq!(Filter::default().to_string(), "");
}

#[test]
fn what_may_be_secret_stays_behind() {
    let record = Record::of(&entry());
    assert_eq!(record.path.as_deref(), Some("/orders/7"));
    assert_eq!(record.authority.as_deref(), Some("web.shop"));
    assert!(!format!("{record:?}").contains("s3cret"));
    let long = "ä".repeat(40_000);
    let record = Record::of(&Entry { path: Some(&long), ..entry() });
    assert!(record.size() < 1_000 && record.path.is_some_and(|path| path.ends_with('…')));
}

#[test]
fn nobody_is_told_while_nobody_taps() {
    let taps = Taps::default();
    assert!(!taps.is_watched());
    taps.offer(&entry(), 0);
    let all = || vec![Filter::default()];
    let one = taps.begin(all(), RATE, 0).expect("the first");
    assert!(taps.is_watched());
    taps.offer(&entry(), 0);
    let two = taps.begin(vec![filter(&[("method", "POST")])], RATE, 0).expect("the second");
    taps.offer(&entry(), 0);
    let count = |watcher: &Watcher| watcher.queue().drain(99, 1 << 20, 0).items.len();
    assert_eq!((count(&one), count(&two)), (2, 0));
    drop(one);
    assert!(taps.is_watched());
    drop(two);
    assert!(!taps.is_watched());
    let many: Vec<Watcher> = (0..8).map(|_| taps.begin(all(), RATE, 0).expect("a tap")).collect();
    let refused = taps.begin(all(), RATE, 0).err().expect("the ninth").to_string();
    assert_eq!(refused, "8 taps are open already: end one of them first");
    drop(many);
    assert!(taps.begin(all(), RATE, 0).is_ok());
}

#[test]
fn any_of_several_filters_is_enough() {
    let taps = Taps::default();
    let filters = vec![filter(&[("direction", "inbound")]), filter(&[("service", "web.shop")])];
    let tap = taps.begin(filters, RATE, 0).expect("a tap");
    taps.offer(&entry(), 0);
    taps.offer(&Entry { service: Some("api.shop:80"), ..entry() }, 0);
    taps.offer(&Entry { direction: Direction::Inbound, service: None, ..entry() }, 0);
    assert_eq!(tap.queue().drain(9, 1 << 20, 0).items.len(), 2);
}

#[test]
fn what_is_beyond_the_rate_is_counted_and_told() {
    let taps = Taps::default();
    let tap = taps.begin(vec![Filter::default()], 10, 0).expect("a tap");
    (0..25).for_each(|_| taps.offer(&entry(), 1));
    let drained = tap.queue().drain(99, 1 << 20, 1);
    assert_eq!((drained.items.len(), drained.left_out.over_rate), (10, 15));
    taps.offer(&entry(), 1_000_001);
    let drained = tap.queue().drain(99, 1 << 20, 1);
    assert_eq!((drained.items.len(), drained.left_out), (1, LeftOut::default()), "told once");
}

#[test]
fn a_reader_that_never_comes_costs_a_bounded_queue_and_is_forgotten() {
    let taps = Taps::default();
    let tap = taps.begin(vec![Filter::default()], MOST_RATE, 0).expect("a tap");
    let long = "x".repeat(500);
    let large = Entry { path: Some(&long), user_agent: Some(long.as_bytes()), ..entry() };
    let mut now_us = 0;
    for _ in 0..5_000 {
        now_us += 1_000;
        taps.offer(&large, now_us);
    }
    assert!(taps.is_watched(), "five seconds are not long");
    let drained = tap.queue().drain(usize::MAX, usize::MAX, 0);
    let bytes: usize = drained.items.iter().map(Record::size).sum();
    assert!(bytes < (512 << 10) + 2_000, "{bytes}");
    assert_eq!(drained.items.len() as u64 + drained.left_out.unread, 5_000);
    assert!(!drained.is_over);
    for _ in 0..70_000 {
        now_us += 1_000;
        taps.offer(&large, now_us);
    }
    assert!(!taps.is_watched(), "a minute is");
    let drained = tap.queue().drain(usize::MAX, usize::MAX, now_us);
    assert!(drained.is_over && drained.left_out.unread > 0);
}

#[test]
fn a_drain_keeps_to_its_bounds_and_to_the_order() {
    let queue = Queue::new(100, 0);
    (1..=5).for_each(|nth: u32| queue.offer(0, || (nth, 100)));
    let items = |most, bytes| queue.drain(most, bytes, 0).items;
    assert_eq!(items(2, 1_000), [1, 2]);
    assert_eq!(items(9, 150), [3]);
    assert_eq!(items(9, 1), [4], "one comes through whatever its size");
    assert_eq!(items(9, 1_000), [5]);
}

#[tokio::test(start_paused = true)]
async fn a_reader_waits_until_there_is_something_or_nothing_will_be() {
    let queue: Queue<u32> = Queue::new(1, 0);
    let waits = async |queue: &Queue<u32>| {
        tokio::time::timeout(Duration::from_secs(1), queue.some()).await.is_err()
    };
    assert!(waits(&queue).await);
    queue.offer(0, || (1, 1));
    assert!(!waits(&queue).await);
    queue.drain(9, 9, 0);
    assert!(waits(&queue).await);
    queue.offer(0, || (2, 1));
    assert!(!waits(&queue).await, "what was left out is news too");
    queue.drain(9, 9, 0);
    queue.leave_out(LeftOut { over_rate: 1, unread: 2 });
    assert!(!waits(&queue).await);
    assert_eq!(queue.drain(9, 9, 0).left_out.total(), 3);
    queue.close();
    assert!(!waits(&queue).await && queue.drain(9, 9, 0).is_over);
}
