//! A circuit's life once it opened: how long, who probes, what closes it, and who is never ejected.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::harness::{Backend, Callers, Script, Services, eventually, within};

/// A service with a backend that is well and one that follows a script, turn by turn.
struct Two {
    callers: Callers,
    good: Arc<Script>,
    bad: Arc<Script>,
    backends: [Backend; 2],
    documents: String,
}

impl Two {
    /// `circuit`: the fields of `circuitBreaker`; it opens after two failures.
    fn start(script: &str, circuit: &str) -> Self {
        Self::start_as(Services::bare(), script, circuit)
    }

    fn start_as(services: Services, script: &str, circuit: &str) -> Self {
        let (good, bad) = (Script::new("ok"), Script::new(script));
        let backends = [good.serve(), bad.serve()];
        let services =
            services.service("two", &backends.each_ref().map(|backend| backend.address)).policy(
                "two",
                &format!(
                    "loadBalancing: {{policy: roundRobin}}\n\
                     circuitBreaker: {{consecutiveFailures: 2, {circuit}}}"
                ),
            );
        let documents = services.documents().to_owned();
        Self { callers: services.start(), good, bad, backends, documents }
    }

    fn at(&self) -> SocketAddr {
        self.backends[1].address
    }

    fn state(&self) -> String {
        self.callers.state(self.at())
    }

    /// Asks until the failing one was ejected, however short.
    #[track_caller]
    fn eject(&self) {
        let before = self.transitions("open");
        for _ in 0..10 {
            self.callers.post("two");
            if self.transitions("open") > before {
                return;
            }
        }
        panic!("not ejected: {}", self.callers.endpoint(self.at()));
    }

    #[track_caller]
    fn await_state(&self, state: &str) {
        within(Duration::from_secs(15), state, || self.state() == state);
    }

    /// Milliseconds until it may be asked again; none once they are over.
    fn left(&self) -> u64 {
        self.callers.endpoint(self.at())["readmitInMs"].as_u64().unwrap_or(0)
    }

    fn transitions(&self, to: &str) -> f64 {
        let to = format!("to=\"{to}\"");
        self.callers.outbound.metric("outrigger_circuit_transitions_total", &["two.default", &to])
    }
}

#[test]
fn an_open_circuit_lets_nothing_through_until_its_time() {
    let two = Two::start("503 503 ok", "openFor: 4s");
    two.eject();
    let left = two.callers.readmit_in(two.at());
    assert!((1..=4000).contains(&left), "{left} ms");
    assert_eq!(two.transitions("open"), 1.0);
    let until = Instant::now() + Duration::from_millis(300);
    while Instant::now() < until {
        assert_eq!(two.callers.get("two").status(), 200);
    }
    assert_eq!(two.bad.count(), 2, "calls while it was open");
    two.await_state("half-open");
    for _ in 0..4 {
        assert_eq!(two.callers.get("two").status(), 200);
    }
    assert_eq!(two.state(), "ready");
    assert!(two.bad.count() > 2);
    assert_eq!(two.transitions("closed"), 1.0);
    assert_eq!(two.callers.endpoint(two.at())["consecutiveFailures"], 0);
    assert!(two.callers.endpoint(two.at())["readmitInMs"].is_null());
}

#[test]
fn a_probe_that_fails_opens_it_for_twice_as_long() {
    let two = Two::start("503", "openFor: 400ms");
    two.eject();
    assert!(two.left() <= 400, "{} ms", two.left());
    // Jitter takes a quarter at most.
    for (least, most) in [(600, 800), (1200, 1600)] {
        two.await_state("half-open");
        let calls = two.bad.count();
        let since = Instant::now();
        eventually("a probe", || {
            two.callers.get("two");
            two.bad.count() > calls
        });
        let left = two.left();
        let whole = u128::from(left) + since.elapsed().as_millis();
        assert!(left <= most && whole >= least, "{left} ms, {least} to {most}");
    }
    assert_eq!(two.transitions("open"), 3.0);
}

#[test]
fn it_is_open_no_longer_than_the_longest() {
    let two = Two::start("503", "openFor: 200ms, maxOpenFor: 300ms");
    two.eject();
    for n in 0..4 {
        two.await_state("half-open");
        let calls = two.bad.count();
        eventually("a probe", || {
            two.callers.get("two");
            two.bad.count() > calls
        });
        let left = two.left();
        assert!(left <= 300, "{left} ms the {n}th time");
    }
}

/// How long it is open again, once it had opened twice and closed, and was well for `well`: from
/// when it is looked at, and from before it opened; in milliseconds.
fn open_again_after(well: Duration) -> (u64, u128) {
    let two = Two::start("503 503 503 ok 503 503", "openFor: 300ms, maxOpenFor: 3s");
    two.eject();
    eventually("it closed", || {
        two.callers.get("two");
        two.state() == "ready"
    });
    sleep(well);
    let since = Instant::now();
    two.eject();
    let left = two.left();
    (left, u128::from(left) + since.elapsed().as_millis())
}

#[test]
fn a_circuit_that_stayed_well_begins_anew() {
    let (left, _) = open_again_after(Duration::from_millis(3050));
    assert!(left <= 300, "{left} ms, after as long a time as it may be open");
    // Twice as long again, of which jitter takes a quarter at most.
    let (_, whole) = open_again_after(Duration::ZERO);
    assert!(whole >= 900, "{whole} ms, at once");
}

/// How many requests a half-open circuit lets through beside each other.
fn probes(fields: &str) -> usize {
    let two = Two::start("503 503 ok~1200", &format!("openFor: 300ms, {fields}"));
    two.eject();
    two.await_state("half-open");
    let calls = two.bad.count();
    let wires: Vec<_> =
        (0..16).map(|_| two.callers.begin("two", "GET / HTTP/1.1\r\n\r\n")).collect();
    sleep(Duration::from_millis(250));
    let probes = two.bad.count() - calls;
    for mut wire in wires {
        assert_eq!(wire.response().status(), 200);
    }
    probes
}

#[test]
fn so_many_probes_find_out_and_no_more() {
    assert_eq!(probes("halfOpenRequests: 1"), 1);
    assert_eq!(probes("halfOpenRequests: 3"), 3);
    assert_eq!(probes("maxOpenFor: 9s"), 1, "one unless said");
}

#[test]
fn what_may_not_be_repeated_does_not_probe_while_there_is_a_choice() {
    let two = Two::start("503 503 ok", "openFor: 200ms");
    two.eject();
    two.await_state("half-open");
    for _ in 0..10 {
        assert_eq!(two.callers.post("two").status(), 200);
    }
    assert_eq!((two.bad.count(), two.state().as_str()), (2, "half-open"));
    for _ in 0..4 {
        two.callers.get("two");
    }
    assert_eq!(two.state(), "ready");
}

#[test]
fn a_probe_whose_caller_leaves_gives_its_place_back() {
    let two = Two::start("503 503 hang ok", "openFor: 200ms");
    two.eject();
    two.await_state("half-open");
    eventually("a probe hangs", || {
        let mut wire = two.callers.begin("two", "GET / HTTP/1.1\r\n\r\n");
        wire.patience(Duration::from_millis(80));
        let _ = wire.message(false);
        two.bad.count() >= 3
    });
    eventually("another one finds it well", || {
        two.callers.get("two");
        two.state() == "ready"
    });
}

/// One endpoint that always fails.
fn single(circuit: &str) -> (Callers, Arc<Script>, Backend) {
    let script = Script::new("503");
    let backend = script.serve();
    let callers = Services::bare()
        .service("one", &[backend.address])
        .policy("one", &format!("circuitBreaker: {{consecutiveFailures: 3, {circuit}}}"))
        .start();
    (callers, script, backend)
}

#[test]
fn with_no_endpoint_to_keep_it_refuses_at_once() {
    let (callers, script, backend) = single("minReadyEndpoints: 0, openFor: 4s");
    for _ in 0..3 {
        let answer = callers.post("one");
        assert_eq!((answer.status(), answer.reason()), (503, None));
    }
    assert_eq!(callers.state(backend.address), "ejected");
    let begun = Instant::now();
    let answer = callers.post("one");
    assert_eq!((answer.status(), answer.reason()), (503, Some("circuit-open")));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(answer.text().contains("one.default"), "to whom: {:?}", answer.text());
    assert_eq!(script.count(), 3);
    // There is no choice: a POST probes too.
    eventually("it is asked again", || {
        callers.post("one");
        script.count() > 3
    });
}

#[test]
fn the_floor_holds_an_ejection_back_and_says_so() {
    let (callers, script, backend) = single("minReadyEndpoints: 1, openFor: 30s");
    for _ in 0..8 {
        assert_eq!(callers.post("one").reason(), None);
    }
    assert_eq!(script.count(), 8);
    assert_eq!(callers.state(backend.address), "ready");
    let page = callers.endpoint(backend.address).to_string().to_lowercase();
    assert!(page.contains("held") || page.contains("floor"), "the page does not say so: {page}");
    let metrics = callers.outbound.get("/metrics").text().to_lowercase();
    let says = |line: &&str| {
        !line.starts_with('#')
            && line.contains("one.default")
            && (line.contains("held") || line.contains("floor"))
            && !line.ends_with(" 0")
    };
    assert!(metrics.lines().any(|line| says(&line)), "no metric says so");
}

#[test]
fn the_floor_may_be_higher() {
    let two = Two::start("503", "minReadyEndpoints: 2, openFor: 30s");
    for _ in 0..20 {
        two.callers.post("two");
    }
    assert_eq!((two.bad.count(), two.state().as_str()), (10, "ready"));
    assert_eq!(two.good.count(), 10);
    assert_eq!(two.transitions("open"), 0.0);
}

#[test]
fn two_that_fail_leave_one_of_three() {
    let scripts = [Script::new("503"), Script::new("503"), Script::new("503")];
    let backends = scripts.each_ref().map(Script::serve);
    let callers = Services::bare()
        .service("three", &backends.each_ref().map(|backend| backend.address))
        .policy(
            "three",
            "loadBalancing: {policy: roundRobin}\ncircuitBreaker: {consecutiveFailures: 2, openFor: 30s}",
        )
        .start();
    for _ in 0..20 {
        assert_eq!(callers.post("three").reason(), None);
    }
    let states = backends.each_ref().map(|backend| callers.state(backend.address));
    assert_eq!(states.iter().filter(|state| *state == "ejected").count(), 2, "{states:?}");
    assert_eq!(scripts.iter().map(|script| script.count()).sum::<usize>(), 20);
}

#[test]
fn below_the_panic_threshold_circuits_are_ignored() {
    let calls_of = |balancing: &str| {
        let scripts = [Script::new("503"), Script::new("503"), Script::new("ok")];
        let backends = scripts.each_ref().map(Script::serve);
        let callers = Services::bare()
            .service("three", &backends.each_ref().map(|backend| backend.address))
            .policy(
                "three",
                &format!(
                    "loadBalancing: {{policy: roundRobin{balancing}}}\n\
                     circuitBreaker: {{consecutiveFailures: 2, openFor: 30s}}"
                ),
            )
            .start();
        for _ in 0..30 {
            callers.post("three");
        }
        let metrics = callers.outbound.get("/metrics").text().to_lowercase();
        let page = callers.outbound.get("/endpoints").text().to_lowercase()
            + &callers.outbound.get("/services").text().to_lowercase();
        let says = metrics.contains("panic") && page.contains("panic");
        (scripts[0].count() + scripts[1].count(), says)
    };
    assert_eq!(calls_of("").0, 4);
    let (calls, says) = calls_of(", panicThreshold: 50");
    assert!(calls >= 15, "{calls} of 30 calls to the two that fail");
    assert!(says, "page or metric don't say so");
}

#[test]
fn changed_resources_do_not_reset_a_circuit() {
    let two = Two::start("503", "openFor: 60s");
    two.eject();
    let at = two.at();
    let port = format!("port: {}", at.port());
    let heavier = two.documents.replace(
        &format!("ports: [{{name: app, {port}}}]"),
        &format!("weight: 5, ports: [{{name: app, {port}}}]"),
    );
    let more = Script::new("ok").serve();
    let heavier = format!(
        "{}\n---\napiVersion: outrigger.dev/v1alpha1\nkind: Workload\n\
         metadata: {{name: two-9, namespace: default, labels: {{app: two, track: new}}}}\n\
         spec: {{address: 127.0.0.1, ports: [{{name: app, port: {}}}]}}\n",
        heavier.replace("labels: {app: two}", "labels: {app: two, track: changed}"),
        more.address.port()
    );
    two.callers.rewrite(&heavier);
    eventually("the new endpoint is known", || {
        two.callers.outbound.get("/endpoints").text().contains(&more.address.to_string())
    });
    assert_eq!(two.callers.endpoint(at)["weight"], 5);
    assert_eq!(two.state(), "ejected");
    assert!(two.callers.readmit_in(at) > 30_000);
    let calls = two.bad.count();
    for _ in 0..20 {
        assert_eq!(two.callers.post("two").status(), 200);
    }
    assert_eq!(two.bad.count(), calls);
}

#[test]
fn a_pair_keeps_its_circuits_as_a_hop_does() {
    let two = Two::start_as(Services::paired(), "reset reset ok", "openFor: 400ms");
    two.eject();
    assert_eq!(two.bad.count(), 2);
    two.await_state("half-open");
    for _ in 0..4 {
        assert_eq!(two.callers.get("two").status(), 200);
    }
    assert_eq!(two.state(), "ready");
}
