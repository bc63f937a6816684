//! The policies of balancing that look at load, latency or nothing, and the weights of endpoints.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::yaml::{policy, service, workload, workload_with};
use crate::harness::{Afloat, App, Lone, Wire, get};

fn ok(count: usize) -> Vec<App> {
    (0..count).map(|_| App::ok()).collect()
}

/// Answers after a pause.
fn slow(ms: u64) -> App {
    App::http(move |_| {
        thread::sleep(Duration::from_millis(ms));
        App::answer("slow")
    })
}

/// `echo` before these apps, with a policy's `loadBalancing`.
fn balanced(apps: &[App], fields: &str) -> Afloat {
    weighted(apps, &vec![1; apps.len()], fields)
}

fn weighted(apps: &[App], weights: &[u16], fields: &str) -> Afloat {
    let instance = |(n, (app, weight)): (usize, (&App, &u16))| {
        workload_with(&format!("echo-{n}"), "echo", app.address, &format!("weight: {weight},"))
    };
    let instances: String = apps.iter().zip(weights).enumerate().map(instance).collect();
    let balancing = policy("echo", &format!("loadBalancing: {{{fields}}}"));
    Lone::with(&(service("echo") + &instances + &balancing)).start()
}

fn counts(apps: &[App]) -> Vec<usize> {
    apps.iter().map(|app| app.requests().len()).collect()
}

/// So many requests, one after the other.
#[track_caller]
fn ask(caller: &Afloat, count: usize) {
    let mut wire = caller.connect();
    for n in 0..count {
        assert_eq!(wire.ask(get("/")).status(), 200, "request {n}");
    }
}

/// Requests from several connections at once, as fast as they are answered, for so long.
fn press(to: SocketAddr, connections: usize, how_long: Duration) {
    let until = Instant::now() + how_long;
    let press = move |_| {
        thread::spawn(move || {
            let mut wire = Wire::connect(to);
            while Instant::now() < until {
                assert_eq!(wire.ask(get("/")).status(), 200);
            }
        })
    };
    let threads: Vec<_> = (0..connections).map(press).collect();
    threads.into_iter().for_each(|thread| thread.join().expect("all were answered"));
}

#[test]
fn round_robin_takes_turns() {
    let apps = ok(3);
    let caller = balanced(&apps, "policy: roundRobin");
    ask(&caller, 90);
    assert_eq!(counts(&apps), [30, 30, 30]);
}

#[test]
fn round_robin_takes_turns_by_weight() {
    let apps = ok(3);
    let caller = weighted(&apps, &[1, 2, 5], "policy: roundRobin");
    ask(&caller, 160);
    for (count, expected) in counts(&apps).into_iter().zip([20_usize, 40, 100]) {
        assert!(count.abs_diff(expected) <= 2, "{:?}", counts(&apps));
    }
}

#[test]
fn round_robin_does_not_look_at_latency() {
    let apps = [slow(10), App::ok()];
    let caller = balanced(&apps, "policy: roundRobin");
    ask(&caller, 60);
    assert_eq!(counts(&apps), [30, 30]);
}

#[test]
fn random_is_even_in_the_long_run_and_never_regular() {
    let apps = ok(3);
    let caller = balanced(&apps, "policy: random");
    ask(&caller, 600);
    // Five standard deviations of 11.5.
    assert!(counts(&apps).iter().all(|count| (142..=258).contains(count)), "{:?}", counts(&apps));
    assert_ne!(counts(&apps), [200, 200, 200]);
}

#[test]
fn random_does_not_look_at_latency() {
    let apps = [slow(10), App::ok()];
    let caller = balanced(&apps, "policy: random");
    ask(&caller, 60);
    assert!(counts(&apps).iter().all(|&count| count >= 10), "{:?}", counts(&apps));
}

#[test]
fn random_follows_weights() {
    let apps = ok(2);
    let caller = weighted(&apps, &[1, 3], "policy: random");
    ask(&caller, 400);
    // Five standard deviations of 8.7.
    assert!((57..=143).contains(&counts(&apps)[0]), "{:?}", counts(&apps));
}

#[test]
fn least_request_avoids_the_one_with_requests_under_way() {
    let apps = [slow(100), slow(1)];
    let caller = balanced(&apps, "policy: leastRequest");
    press(caller.echo(), 8, Duration::from_millis(800));
    let counts = counts(&apps);
    // In turns each would get half; the slow one can't answer more than 8 at once in 100 ms.
    assert!(counts[1] > 5 * counts[0], "{counts:?}");
}

#[test]
fn least_request_does_not_look_at_latency() {
    // One at a time: nothing is under way when the next is chosen.
    let apps = [slow(10), App::ok()];
    let caller = balanced(&apps, "policy: leastRequest");
    ask(&caller, 60);
    assert!(counts(&apps).iter().all(|&count| count >= 10), "{:?}", counts(&apps));
}

#[test]
fn least_request_follows_weights_under_load() {
    let apps = [slow(5), slow(5)];
    let caller = weighted(&apps, &[1, 4], "policy: leastRequest");
    press(caller.echo(), 10, Duration::from_millis(800));
    let counts = counts(&apps);
    assert!(counts[1] > 2 * counts[0] && counts[0] > 0, "{counts:?}");
}

#[test]
fn peak_ewma_prefers_the_faster_one() {
    let apps = [slow(300), App::ok()];
    let caller = balanced(&apps, "policy: peakEwma");
    ask(&caller, 100);
    let counts = counts(&apps);
    assert!(counts[1] >= 85, "{counts:?}");
    assert!(counts[0] >= 1, "the slow one was tried: {counts:?}");
}

#[test]
fn peak_ewma_is_the_default() {
    let apps = [slow(300), App::ok()];
    let instances =
        workload("a", "echo", apps[0].address) + &workload("b", "echo", apps[1].address);
    let caller = Lone::with(&(service("echo") + &instances)).start();
    ask(&caller, 100);
    assert!(counts(&apps)[1] >= 85, "{:?}", counts(&apps));
}

#[test]
fn peak_ewma_follows_weights() {
    let apps = [slow(2), slow(2)];
    let caller = weighted(&apps, &[1, 8], "policy: peakEwma");
    press(caller.echo(), 6, Duration::from_millis(800));
    let counts = counts(&apps);
    assert!(counts[1] > 2 * counts[0], "{counts:?}");
}

#[test]
fn each_policy_passes_over_an_endpoint_that_refuses() {
    for name in ["peakEwma", "leastRequest", "roundRobin", "random"] {
        let app = App::ok();
        let refused = crate::harness::refused_address();
        let instances = workload("a", "echo", refused) + &workload("b", "echo", app.address);
        let balancing = policy("echo", &format!("loadBalancing: {{policy: {name}}}"));
        let caller = Lone::with(&(service("echo") + &instances + &balancing)).start();
        ask(&caller, 20);
        assert_eq!(app.requests().len(), 20, "{name}");
    }
}

#[test]
fn a_policy_is_shown_with_where_it_came_from() {
    let apps = ok(1);
    let caller = balanced(&apps, "policy: leastRequest");
    let page = caller.sidecar.get("/policies").text();
    assert!(page.contains("leastRequest"), "{page}");
    assert!(page.contains("TrafficPolicy default/echo"), "{page}");
}

/// Four endpoints, of which three fail every request.
fn mostly_failing() -> [App; 4] {
    let failing = || App::http(|_| b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n".to_vec());
    [App::ok(), failing(), failing(), failing()]
}

/// Statuses of requests that are not retried.
fn posted(caller: &Afloat, count: usize) -> Vec<u16> {
    let mut wire = caller.connect();
    (0..count).map(|_| wire.ask(crate::harness::post("/", b"1")).status()).collect()
}

#[test]
fn below_the_panic_threshold_circuits_are_ignored_and_the_page_says_so() {
    let apps = mostly_failing();
    let caller = balanced(&apps, "policy: roundRobin, panicThreshold: 50");
    posted(&caller, 60);
    let failed = posted(&caller, 40).into_iter().filter(|&status| status == 503).count();
    // Two may be ejected before fewer than half are ready; then all of them are used again.
    assert!(failed >= 15, "{failed} of 40 failed");
    let page = caller.sidecar.get("/endpoints").text() + &caller.sidecar.get("/services").text();
    assert!(page.to_ascii_lowercase().contains("panic"), "{page}");
    let metrics = caller.sidecar.get("/metrics").text();
    assert!(
        metrics.lines().any(|line| line.contains("panic") && line.ends_with(" 1")),
        "{metrics}"
    );
}

#[test]
fn without_a_panic_threshold_failing_endpoints_stay_out() {
    let apps = mostly_failing();
    let caller = balanced(&apps, "policy: roundRobin");
    posted(&caller, 60);
    assert_eq!(posted(&caller, 40), [200; 40]);
    assert!(apps[0].requests().len() >= 40);
}
