//! Steady traffic while endpoints fail in every way they know; each storm prints a line of a table.
//!
//! Five endpoints unless said; 300 requests a second. What is asserted is what a caller would call
//! being left alone: how many requests succeed, how long three of four took at most, and how often
//! the one that fails was called.

mod chain;
mod chaos;
mod descriptors;
mod flood;
mod full_disk;
mod half_open;
mod memory;
mod neighbours;
mod open_loop;
mod overload;
mod soak;
mod traffic;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::harness::{Backend, Callers, Script, Services, refused_address};
use traffic::{Told, Traffic};

/// What measures rates and times wants the processors to itself, as far as the others leave them.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

const WELL: usize = 4;
/// How long each blows.
const STORM: Duration = Duration::from_secs(1);

/// A service of which one endpoint fails.
struct Storm {
    callers: Callers,
    well: [Arc<Script>; WELL],
    failing: Arc<Script>,
    _backends: Vec<Backend>,
}

impl Storm {
    /// The failing one follows a script; `None`: nobody is there.
    fn start(services: Services, failing: Option<&str>, policy: &str) -> Self {
        let well = [(); WELL].map(|()| Script::new("ok"));
        let mut backends: Vec<Backend> = well.iter().map(Script::serve).collect();
        let script = Script::new(failing.unwrap_or("hang"));
        let bad = match failing {
            Some(_) => {
                let backend = script.serve();
                let address = backend.address;
                backends.push(backend);
                address
            }
            None => refused_address(),
        };
        let mut endpoints: Vec<SocketAddr> =
            backends[..WELL].iter().map(|backend| backend.address).collect();
        endpoints.push(bad);
        let services = services.service("five", &endpoints);
        let services = if policy.is_empty() { services } else { services.policy("five", policy) };
        Self { callers: services.start(), well, failing: script, _backends: backends }
    }

    /// Three hundred requests in a second.
    fn blow(&self, name: &str) -> Told {
        let traffic = Traffic { to: self.callers.by_host, host: "five.default", per_second: 300 };
        let told = traffic.run(STORM);
        let calls: Vec<usize> = self.well.iter().map(|script| script.count()).collect();
        eprintln!(
            "| {name} | {told} | calls of the others {calls:?} | of the failing one {} |",
            self.failing.count()
        );
        told
    }

    /// Nobody who is well is forgotten.
    #[track_caller]
    fn is_spread(&self) {
        let calls: Vec<usize> = self.well.iter().map(|script| script.count()).collect();
        assert!(calls.iter().all(|one| *one > 0), "{calls:?}");
    }
}

#[test]
fn all_are_well() {
    let storm = Storm::start(Services::bare(), Some("ok"), "");
    let told = storm.blow("five that are well");
    told.succeeded(100.0).within(Duration::from_millis(250));
    storm.is_spread();
}

#[test]
fn one_is_gone() {
    for (way, services) in [("bare", Services::bare()), ("meshed", Services::paired())] {
        let storm = Storm::start(services, None, "");
        let told = storm.blow(&format!("one refuses connections ({way})"));
        told.succeeded(100.0).within(Duration::from_millis(400));
        storm.is_spread();
    }
}

#[test]
fn one_answers_503() {
    for (way, services) in [("bare", Services::bare()), ("meshed", Services::paired())] {
        let storm = Storm::start(services, Some("503"), "");
        let told = storm.blow(&format!("one answers 503 ({way})"));
        // Five failures open its circuit; some more were on their way by then.
        told.succeeded(96.0).within(Duration::from_millis(400));
        assert!(storm.failing.count() <= 5 + 16, "{} calls", storm.failing.count());
    }
}

#[test]
fn one_answers_503_and_is_retried() {
    let storm = Storm::start(Services::bare(), Some("503"), "retry: {on: [5xx]}");
    let told = storm.blow("one answers 503, 5xx is retried");
    told.succeeded(100.0).within(Duration::from_millis(400));
}

#[test]
fn one_never_answers() {
    for (way, services) in [("bare", Services::bare()), ("meshed", Services::paired())] {
        let storm = Storm::start(services, Some("hang"), "timeouts: {responseHeaders: 200ms}");
        let told = storm.blow(&format!("one never answers, 200 ms for the head ({way})"));
        told.succeeded(94.0).within(Duration::from_millis(600));
        assert!(storm.failing.count() <= 5 + 16, "{} calls", storm.failing.count());
    }
}

#[test]
fn one_never_answers_and_is_hedged() {
    let policy = "hedge: {after: 50ms, maxExtra: 1}\ntimeouts: {request: 2s}";
    let storm = Storm::start(Services::bare(), Some("hang"), policy);
    storm.blow("one never answers, hedged after 50 ms").succeeded(97.0);
}

#[test]
fn one_is_slow() {
    let storm = Storm::start(Services::bare(), Some("ok~150"), "");
    let told = storm.blow("one is slow (150 ms)");
    told.succeeded(100.0);
    let all = told.requests;
    assert!(storm.failing.count() * 10 < all, "{} of {all} calls", storm.failing.count());
}

#[test]
fn one_resets_before_its_answer() {
    for (way, services) in [("bare", Services::bare()), ("meshed", Services::paired())] {
        let storm = Storm::start(services, Some("reset"), "");
        let told = storm.blow(&format!("one resets before its answer ({way})"));
        told.succeeded(100.0).within(Duration::from_millis(400));
        assert!(storm.failing.count() <= 5 + 16, "{} calls", storm.failing.count());
    }
}

#[test]
fn one_resets_in_the_middle_of_its_body() {
    // A balancer that looks at times would pass it over without a circuit: its answers are slow.
    let turns = "loadBalancing: {policy: roundRobin}";
    for (way, services) in [("bare", Services::bare()), ("meshed", Services::paired())] {
        let storm = Storm::start(services, Some("cut"), turns);
        let told = storm.blow(&format!("one resets in the middle of its body ({way})"));
        told.succeeded(90.0);
        assert!(storm.failing.count() <= 5 + 16, "{} calls", storm.failing.count());
    }
}

#[test]
fn all_are_overloaded() {
    let script = Script::new("ok~100");
    let backends: [Backend; 5] = [(); 5].map(|()| script.serve());
    let free = Script::new("ok").serve();
    let callers = Services::bare()
        .service("five", &backends.each_ref().map(|backend| backend.address))
        .policy("five", "limits: {maxRequests: 10}")
        .service("free", &[free.address])
        .start();
    let told = std::thread::scope(|scope| {
        let (five, free) = ("five.default", "free.default");
        let to = callers.by_host;
        let storm = Traffic { to, host: five, per_second: 300 };
        let calm = Traffic { to, host: free, per_second: 100 };
        let calm = scope.spawn(move || calm.run(STORM));
        let storm = storm.run(STORM);
        let calm = calm.join().expect("it ran");
        eprintln!(
            "| all are overloaded: ten at a time, 100 ms each | {storm} | another service {calm} |"
        );
        calm.succeeded(100.0).within(Duration::from_millis(300));
        storm
    });
    // Ten at a time of 100 ms are a hundred a second of the three hundred.
    let served = told.count("200");
    assert!((50..=130).contains(&served), "{served} of {}", told.requests);
    assert_eq!(served + told.count("overflow-requests"), told.requests, "{told}");
    told.within(Duration::from_millis(500));
}

#[test]
fn all_answer_503() {
    let script = Script::new("503");
    let backends: [Backend; 5] = [(); 5].map(|()| script.serve());
    let callers = Services::bare()
        .service("five", &backends.each_ref().map(|backend| backend.address))
        .policy("five", "retry: {on: [5xx], maxRetries: 5}")
        .start();
    let traffic = Traffic { to: callers.by_host, host: "five.default", per_second: 300 };
    let told = traffic.run(STORM);
    eprintln!("| all answer 503, 5xx is retried five times | {told} | calls {} |", script.count());
    // A fifth more, or the floor of a hundred in ten seconds.
    let most = told.requests + (told.requests / 5).max(100);
    assert!(script.count() <= most, "{} calls of {} requests", script.count(), told.requests);
    assert_eq!(told.count("200"), 0);
}
