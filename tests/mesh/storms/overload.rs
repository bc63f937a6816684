//! Three times what an app can answer: it goes on answering what it can, those who matter most are
//! answered first, and when the crowd has gone nothing is left of it.
//!
//! The apps have four places in all and take 10 ms in each, so that the most is some 400 a second;
//! the load is an open loop, which does not care. What is best is measured in the same run, just
//! before. A machine that is busy with other things makes the one or the other look worse, so that
//! whoever falls short may show it twice more.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::alone;
use super::open_loop::{self, Asked, Kind, percentile};
use crate::harness::yaml::{access, limits};
use crate::harness::{App, Mesh, Pair};

const EACH: Duration = Duration::from_millis(10);
/// Requests a second that four places can answer.
const CAPACITY: f64 = 400.0;
/// Of all requests; in the storm they need 0.6 of the capacity.
const GOLD: f64 = 0.2;

const PRIORITIES: &str = "priorities: [{match: {headers: {x-tier: gold}}, priority: high}]";

/// Answers so many at once, each after a while; whoever comes besides waits.
fn app(places: usize) -> App {
    let places = Arc::new((Mutex::new(places), Condvar::new()));
    App::http(move |_| {
        let (free, freed) = &*places;
        let waited = freed.wait_while(lock(free), |free| *free == 0);
        *waited.unwrap_or_else(PoisonError::into_inner) -= 1;
        thread::sleep(EACH);
        *lock(free) += 1;
        freed.notify_one();
        App::answer("ok")
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a stretch of load came to.
struct Stretch {
    /// Answers a second, until the last came.
    goodput: f64,
    /// Percent that were answered, of gold and of the others.
    well: [f64; 2],
    p99: Duration,
}

struct Overload {
    mesh: Mesh,
    to: SocketAddr,
    name: &'static str,
}

impl Overload {
    fn stretch(&self, name: &str, times: f64, time: Duration) -> Stretch {
        let all = CAPACITY * times;
        let kind = |lines, share| Kind { host: "app.default", lines, per_second: all * share };
        let [gold, other] = [kind("x-tier: gold\r\n", GOLD), kind("", 1.0 - GOLD)];
        let asked = open_loop::run(self.to, &[gold, other], time, 7);
        let strange = asked.iter().find(|one| !one.is_well() && one.end != "overloaded");
        assert!(strange.is_none(), "neither answered nor shed: {strange:?}");
        let well = [0, 1].map(|kind| {
            let of = asked.iter().filter(|one| one.kind == kind);
            100.0 * of.clone().filter(|one| one.is_well()).count() as f64 / of.count() as f64
        });
        let answered = asked.iter().filter(|one| one.is_well());
        let took: Vec<Duration> = answered.map(|one| one.took).collect();
        let ended = asked.iter().map(|one: &Asked| one.due + one.took).max().unwrap_or_default();
        let goodput = took.len() as f64 / ended.max(time).as_secs_f64();
        let [p50, p99] = [50, 99].map(|percent| percentile(took.clone(), percent));
        let limit = self.mesh.inbound().metric("outrigger_concurrency", &["of=\"limit\""]);
        eprintln!(
            "| {}, {name} | {times:.1} | {} | {goodput:.0} | {:.1} | {:.1} | {:.1} | {:.1} | {limit} |",
            self.name,
            asked.len(),
            well[0],
            well[1],
            p50.as_secs_f64() * 1e3,
            p99.as_secs_f64() * 1e3,
        );
        Stretch { goodput, well, p99 }
    }

    /// Everything that it falls short of.
    fn blow(&self) -> Vec<String> {
        eprintln!(
            "| | load | requests | answered/s | gold % | others % | p50 ms | p99 ms | limit |"
        );
        let second = Duration::from_secs(1);
        let rising = [0.8, 1.0, 1.2].map(|times| self.stretch("before", times, second).goodput);
        let best = rising.into_iter().fold(0.0, f64::max);
        let storm = self.stretch("storm", 3.0, 4 * second);
        let mut seconds = 0;
        let calm = loop {
            seconds += 1;
            let after = self.stretch("after", 0.5, second);
            if after.well == [100.0; 2] || seconds == 5 {
                break after;
            }
        };
        let kept = 100.0 * storm.goodput / best;
        eprintln!("{}: {kept:.0} % of the best rate; all well after {seconds} s", self.name);
        let faults = [
            (kept < 90.0, format!("{kept:.0} % of the best rate")),
            // Measured: four of the app's own times. Without a limit it would be seconds.
            (storm.p99 > 15 * EACH, format!("who is let in waits {:?}", storm.p99)),
            (storm.well[0] < 95.0, format!("{:.1} % of gold is answered", storm.well[0])),
            (calm.well != [100.0; 2], format!("after 5 s: {:?} % are answered", calm.well)),
            (calm.p99 > 15 * EACH, format!("after the storm it takes {:?}", calm.p99)),
        ];
        faults.into_iter().filter_map(|(is_so, fault)| is_so.then_some(fault)).collect()
    }

    #[track_caller]
    fn is_survived(&self) {
        let mut all = Vec::new();
        for _ in 0..3 {
            let faults = self.blow();
            if faults.is_empty() {
                return;
            }
            eprintln!("{}: {faults:?}", self.name);
            all.push(faults);
        }
        panic!("{}: {all:#?}", self.name);
    }
}

/// With this limit at each instance; in plaintext, unless there are several.
fn start(name: &'static str, concurrency: &str, apps: &[App]) -> Overload {
    let concurrency = format!("concurrency: {{{concurrency}, {PRIORITIES}}}");
    let resources = access("name: open", "mtls: permissive") + &limits("name: api", &concurrency);
    let mut pair = Pair::empty().declared("http").inbound_resources(&resources);
    for app in apps {
        pair = pair.and(app.address);
    }
    let mesh = pair.start();
    let to = if apps.len() == 1 { mesh.mesh_ports[0] } else { mesh.service };
    Overload { mesh, to, name }
}

#[test]
fn an_adaptive_limit_keeps_the_app_busy_and_gold_served() {
    let _alone = alone();
    let apps = [app(4)];
    start("adaptive", "limit: adaptive, min: 2, max: 200", &apps).is_survived();
}

#[test]
fn a_fixed_limit_does_so_too() {
    let _alone = alone();
    let apps = [app(4)];
    start("a limit of 6", "limit: 6", &apps).is_survived();
}

/// What instances shed is no failure of theirs: no circuit opens, and nothing is sent again.
#[test]
fn a_callers_sidecar_goes_on_using_instances_that_shed() {
    let _alone = alone();
    let apps = [app(2), app(2)];
    let overload = start("two instances", "limit: adaptive, min: 2, max: 200", &apps);
    overload.is_survived();
    let outbound = &overload.mesh.outbound;
    assert_eq!(outbound.metric("outrigger_circuit_transitions_total", &[]), 0.0);
    assert_eq!(outbound.metric("outrigger_retries_total", &["outcome=\"retried\""]), 0.0);
    let served = apps.each_ref().map(|app| app.begun());
    assert!(served[0].min(served[1]) * 3 > served[0].max(served[1]), "{served:?}");
}
