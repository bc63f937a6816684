//! Endpoints of the caller's own zone come first, as long as they are well and not overloaded.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::yaml::{policy, service, workload_with};
use crate::harness::{Afloat, App, Lone, Wire, get, post, refused_address};

const LOCAL: &str = "eu-1a";
const REMOTE: &str = "eu-1b";

/// `echo` before instances in these zones, called from a zone, with a policy's `loadBalancing`.
fn zoned(instances: &[(std::net::SocketAddr, &str)], zone: &'static str, fields: &str) -> Afloat {
    let one = |(n, (at, zone)): (usize, &(std::net::SocketAddr, &str))| {
        let zone = if zone.is_empty() { String::new() } else { format!("zone: {zone},") };
        workload_with(&format!("echo-{n}"), "echo", *at, &zone)
    };
    let instances: String = instances.iter().enumerate().map(one).collect();
    let balancing = policy("echo", &format!("loadBalancing: {{{fields}}}"));
    Lone::with(&(service("echo") + &instances + &balancing)).zone(zone).start()
}

#[track_caller]
fn ask(caller: &Afloat, count: usize) {
    let mut wire = caller.connect();
    for n in 0..count {
        assert_eq!(wire.ask(get("/")).status(), 200, "request {n}");
    }
}

const POLICIES: [&str; 4] = ["peakEwma", "leastRequest", "roundRobin", "random"];

#[test]
fn with_every_policy_the_own_zone_takes_everything() {
    for name in POLICIES {
        let apps = [App::ok(), App::ok(), App::ok()];
        let zones = [(apps[0].address, LOCAL), (apps[1].address, REMOTE), (apps[2].address, LOCAL)];
        let caller = zoned(&zones, LOCAL, &format!("policy: {name}, locality: preferZone"));
        ask(&caller, 40);
        let counts = apps.each_ref().map(|app| app.requests().len());
        assert_eq!(counts[1], 0, "{name}: {counts:?}");
        assert!(counts[0] > 0 && counts[2] > 0, "{name}: {counts:?}");
    }
}

#[test]
fn it_is_so_unless_said_otherwise() {
    let apps = [App::ok(), App::ok()];
    let zones = [(apps[0].address, LOCAL), (apps[1].address, REMOTE)];
    ask(&zoned(&zones, LOCAL, "policy: roundRobin"), 20);
    assert_eq!(apps.each_ref().map(|app| app.requests().len()), [20, 0]);
}

#[test]
fn switched_off_zones_mean_nothing() {
    let apps = [App::ok(), App::ok()];
    let zones = [(apps[0].address, LOCAL), (apps[1].address, REMOTE)];
    ask(&zoned(&zones, LOCAL, "policy: roundRobin, locality: off"), 20);
    assert_eq!(apps.each_ref().map(|app| app.requests().len()), [10, 10]);
}

#[test]
fn without_an_endpoint_in_its_zone_a_caller_takes_any() {
    let apps = [App::ok(), App::ok()];
    let zones = [(apps[0].address, REMOTE), (apps[1].address, "")];
    ask(&zoned(&zones, LOCAL, "policy: roundRobin"), 20);
    assert_eq!(apps.each_ref().map(|app| app.requests().len()), [10, 10]);
}

#[test]
fn a_zone_whose_endpoints_refuse_spills_over_without_an_error() {
    let app = App::ok();
    let zones = [(refused_address(), LOCAL), (app.address, REMOTE)];
    ask(&zoned(&zones, LOCAL, "policy: roundRobin"), 30);
    assert_eq!(app.requests().len(), 30);
}

#[test]
fn a_zone_whose_endpoint_was_ejected_spills_over_and_the_rest_of_it_does_not() {
    let failing = App::http(|_| b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n".to_vec());
    let (near, far) = (App::ok(), App::ok());
    let alone = [(failing.address, LOCAL), (far.address, REMOTE)];
    let caller = zoned(&alone, LOCAL, "policy: roundRobin");
    let mut wire = caller.connect();
    let statuses: Vec<u16> = (0..30).map(|_| wire.ask(post("/", b"1")).status()).collect();
    assert_eq!(statuses.iter().filter(|&&status| status == 503).count(), 5, "{statuses:?}");
    assert_eq!(far.requests().len(), 25);

    let with_another = [(failing.address, LOCAL), (near.address, LOCAL), (far.address, REMOTE)];
    let caller = zoned(&with_another, LOCAL, "policy: roundRobin");
    let mut wire = caller.connect();
    let before = far.requests().len();
    for _ in 0..40 {
        wire.ask(post("/", b"1"));
    }
    // Three of ten are drawn to leave a zone of which half is gone: 9 of 31, give or take 3.
    let came = near.requests().len();
    let spilled = far.requests().len() - before;
    assert!(spilled <= 20, "{spilled} left a zone that still has an endpoint");
    assert!(came >= 15, "{came}");
}

#[test]
fn a_zone_that_is_overloaded_spills_over() {
    let near = App::http(|_| {
        thread::sleep(Duration::from_millis(100));
        App::answer("near")
    });
    let far = App::ok();
    let zones = [(near.address, LOCAL), (far.address, REMOTE)];
    let caller = zoned(&zones, LOCAL, "policy: leastRequest");
    let (to, until) = (caller.echo(), Instant::now() + Duration::from_millis(1200));
    let press = move |_| {
        thread::spawn(move || {
            let mut wire = Wire::connect(to);
            while Instant::now() < until {
                assert_eq!(wire.ask(get("/")).status(), 200);
            }
        })
    };
    let threads: Vec<_> = (0..48).map(press).collect();
    threads.into_iter().for_each(|thread| thread.join().expect("all were answered"));
    let (near, far) = (near.requests().len(), far.requests().len());
    assert!(near > 0 && far > near / 10, "{near} near and {far} far");
}
