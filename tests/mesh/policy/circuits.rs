//! What opens a circuit: of two endpoints one is well, the other follows a script.

use std::net::SocketAddr;
use std::sync::Arc;

use super::table::{AT_ONCE_AGAIN, beside_each_other};
use crate::harness::grpc::{H2Client, grpc_request};
use crate::harness::{Backend, Callers, Script, Services, refused_address};

/// A service with an endpoint that fails, and what becomes of that one.
struct Case {
    name: String,
    policy: String,
    script: String,
    grpc: bool,
    requests: usize,
    /// How many calls reach it; `None`: half of all.
    calls: Option<usize>,
}

/// Twenty requests, turn by turn; it is never ejected unless said.
fn case(name: &str, circuit: &str) -> Case {
    Case {
        name: name.to_owned(),
        policy: format!(
            "loadBalancing: {{policy: roundRobin}}\nretry: {{on: [connect-failure], {AT_ONCE_AGAIN}}}\n{circuit}"
        ),
        script: "ok".to_owned(),
        grpc: false,
        requests: 20,
        calls: None,
    }
}

/// A case with these fields of `circuitBreaker`, and time to look at it.
fn breaker(name: &str, fields: &str) -> Case {
    case(name, &format!("circuitBreaker: {{openFor: 30s, {fields}}}"))
}

impl Case {
    fn script(mut self, steps: &str) -> Self {
        self.script = steps.to_owned();
        self
    }

    fn more(mut self, policy: &str) -> Self {
        self.policy.push_str(&format!("\n{policy}"));
        self
    }

    fn grpc(mut self) -> Self {
        self.grpc = true;
        self
    }

    fn requests(mut self, count: usize) -> Self {
        self.requests = count;
        self
    }

    /// It is ejected after so many calls.
    fn ejected_after(mut self, calls: usize) -> Self {
        self.calls = Some(calls);
        self
    }

    fn ask(&self, callers: &Callers, service: &str) {
        if !self.grpc {
            for _ in 0..self.requests {
                let _ = callers.try_ask(service, "POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\n1");
            }
            return;
        }
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let client = H2Client::connect(callers.by_host).await;
            for _ in 0..self.requests {
                let request = grpc_request("/t.T/Write")
                    .uri(format!("http://{service}.default/t.T/Write"))
                    .body(());
                client.call(request.expect("a request"), &[b"1"]).await;
            }
        });
    }

    fn compare(&self, callers: &Callers, bad: &Script, at: SocketAddr) {
        let (name, state) = (&self.name, callers.state(at));
        let (calls, state_expected) = match self.calls {
            Some(calls) => (calls, "ejected"),
            None => (self.requests / 2, "ready"),
        };
        assert_eq!((bad.count(), &*state), (calls, state_expected), "{name}: calls and state");
    }
}

fn play(cases: Vec<Case>) {
    over(Services::bare(), &cases);
}

fn play_each_way(cases: Vec<Case>) {
    over(Services::bare(), &cases);
    over(Services::paired(), &cases);
}

/// A case's service, as it runs.
struct Stage<'a> {
    case: &'a Case,
    name: String,
    bad: Arc<Script>,
    backends: [Backend; 2],
}

impl<'a> Stage<'a> {
    fn set(number: usize, case: &'a Case) -> Self {
        let (good, bad) = (Script::new("ok"), Script::new(&case.script));
        let backends = [&good, &bad]
            .map(|script| if case.grpc { script.serve_grpc() } else { script.serve() });
        Self { case, name: format!("case-{number}"), bad, backends }
    }

    fn told(&self, services: Services) -> Services {
        let protocol = if self.case.grpc { "grpc" } else { "http" };
        let endpoints = self.backends.each_ref().map(|backend| backend.address);
        services.speaks(protocol, &self.name, &endpoints).policy(&self.name, &self.case.policy)
    }
}

/// All cases behind one sidecar.
fn over(services: Services, cases: &[Case]) {
    let stages: Vec<Stage<'_>> =
        cases.iter().enumerate().map(|(number, case)| Stage::set(number, case)).collect();
    let services = stages.iter().fold(services, |told, stage| stage.told(told));
    let callers = services.start();
    let failed = beside_each_other(
        &stages,
        |stage| &stage.case.name,
        |stage| {
            stage.case.ask(&callers, &stage.name);
            stage.case.compare(&callers, &stage.bad, stage.backends[1].address);
        },
    );
    assert!(failed.is_empty(), "{} of {} cases failed: {failed:#?}", failed.len(), cases.len());
}

#[test]
fn failures_in_a_row_open_it() {
    let flaky = "503 503 ok ".repeat(10);
    play_each_way(vec![
        case("five unless said", "").script("503").ejected_after(5),
        breaker("two", "consecutiveFailures: 2").script("503").ejected_after(2),
        breaker("one", "consecutiveFailures: 1").script("503").ejected_after(1),
        breaker("nine", "consecutiveFailures: 9").script("503").ejected_after(9),
        breaker("a success begins the row anew", "consecutiveFailures: 3").script(&flaky),
        breaker("two of three are two", "consecutiveFailures: 2").script(&flaky).ejected_after(2),
        breaker("too many requests are no failure", "consecutiveFailures: 2").script("429"),
        breaker("nor is what the caller did wrong", "consecutiveFailures: 2").script("400"),
    ]);
}

#[test]
fn workers_share_a_circuit() {
    let bad = Script::new("503");
    let backends = [Script::new("ok").serve(), bad.serve()];
    let callers = Services::bare()
        .service("two", &backends.each_ref().map(|backend| backend.address))
        .policy("two", "loadBalancing: {policy: roundRobin}\ncircuitBreaker: {openFor: 30s}")
        .workers(3)
        .start();
    for _ in 0..60 {
        callers.post("two");
    }
    assert_eq!(bad.count(), 5);
    assert_eq!(callers.state(backends[1].address), "ejected");
}

#[test]
fn each_word_of_on_names_its_failures() {
    let two = |name: &str, on: &str| breaker(name, &format!("consecutiveFailures: 2, on: [{on}]"));
    play_each_way(vec![
        two("gateway-error has 502", "gateway-error").script("502").ejected_after(2),
        two("gateway-error has 503", "gateway-error").script("503").ejected_after(2),
        two("gateway-error has 504", "gateway-error").script("504").ejected_after(2),
        two("gateway-error has no 500", "gateway-error").script("500"),
        two("5xx has 500", "5xx").script("500").ejected_after(2),
        two("5xx has 503", "5xx").script("503").ejected_after(2),
        two("5xx has no 404", "5xx").script("404"),
        two("connect-failure has no 503", "connect-failure").script("503"),
        two("reset has a reset", "reset").script("reset").ejected_after(2),
        two("reset has a clean end", "reset").script("close").ejected_after(2),
        two("reset has no 503", "reset").script("503"),
        two("connect-failure has no reset", "connect-failure").script("reset"),
        two("a body that is reset", "reset").script("cut").ejected_after(2),
        two("per-try-timeout has no answer in time", "per-try-timeout")
            .more("timeouts: {responseHeaders: 100ms}")
            .script("hang")
            .ejected_after(2),
        two("connect-failure has time", "connect-failure")
            .more("timeouts: {responseHeaders: 100ms}")
            .script("hang")
            .requests(6),
    ]);
}

#[test]
fn grpc_codes_are_words_too() {
    let two =
        |name: &str, on: &str| breaker(name, &format!("consecutiveFailures: 2, on: [{on}]")).grpc();
    play_each_way(vec![
        two("unavailable is 14", "unavailable").script("grpc:14").ejected_after(2),
        two("internal is 13", "internal").script("grpc:13").ejected_after(2),
        two("unavailable has no internal", "unavailable").script("grpc:13"),
        two("gateway-error has no code", "gateway-error").script("grpc:14"),
        two("resource-exhausted is overload", "resource-exhausted").script("grpc:8"),
    ]);
}

#[test]
fn a_rate_of_failures_opens_it() {
    let half = "503 ok ".repeat(30);
    let never = "consecutiveFailures: 1000";
    let rate = |name: &str, rate: &str| {
        breaker(name, &format!("{never}, failureRate: {{{rate}}}")).requests(40)
    };
    play_each_way(vec![
        rate("half of ten", "threshold: 50, minimumRequests: 10").script(&half).ejected_after(10),
        rate("half of sixteen", "threshold: 50, minimumRequests: 16")
            .script(&half)
            .ejected_after(16),
        rate("less than the threshold", "threshold: 60, minimumRequests: 10").script(&half),
        rate("too few to say", "threshold: 50, minimumRequests: 30").script(&half),
        rate("overload counts in the rate", "threshold: 50, minimumRequests: 10")
            .script(&"429 ok ".repeat(30))
            .ejected_after(10),
        breaker("without a rate, none", never).script(&half).requests(40),
    ]);
}

#[test]
fn a_rate_is_that_of_its_window() {
    let bad = Script::new("503");
    let backends = [Script::new("ok").serve(), bad.serve()];
    let callers = Services::bare()
        .service("two", &backends.each_ref().map(|backend| backend.address))
        .policy(
            "two",
            "loadBalancing: {policy: roundRobin}\n\
             circuitBreaker: {consecutiveFailures: 1000, openFor: 30s, \
             failureRate: {threshold: 50, window: 4s, minimumRequests: 8}}",
        )
        .start();
    for failures in [6, 12] {
        while bad.count() < failures {
            callers.post("two");
        }
        assert_eq!(callers.state(backends[1].address), "ready", "after {failures} failures");
        std::thread::sleep(std::time::Duration::from_millis(4500));
    }
    for _ in 0..24 {
        callers.post("two");
    }
    assert_eq!((bad.count(), &*callers.state(backends[1].address)), (12 + 8, "ejected"));
}

#[test]
fn slow_answers_open_it() {
    let slow = |name: &str, slow: &str| {
        let rate = "failureRate: {threshold: 100, minimumRequests: 6}";
        let fields = format!("consecutiveFailures: 1000, {rate}, slowCalls: {{{slow}}}");
        breaker(name, &fields).requests(16)
    };
    play(vec![
        slow("all of six", "threshold: 80, slowerThan: 60ms").script("ok~150").ejected_after(6),
        slow("none so slow", "threshold: 80, slowerThan: 5s").script("ok~150"),
        slow("half of them", "threshold: 80, slowerThan: 60ms").script(&"ok~150 ok ".repeat(10)),
        slow("half suffices", "threshold: 50, slowerThan: 60ms")
            .script(&"ok~150 ok ".repeat(10))
            .ejected_after(6),
        breaker(
            "to the head, not to the end",
            "consecutiveFailures: 1000, failureRate: {threshold: 100, minimumRequests: 2}, \
             slowCalls: {threshold: 80, slowerThan: 300ms}",
        )
        .script("drip")
        .requests(6),
    ]);
}

#[test]
fn an_endpoint_that_refuses_is_ejected_where_that_counts() {
    let (counts, does_not) = (refused_address(), refused_address());
    let backends = [Script::new("ok").serve(), Script::new("ok").serve()];
    for services in [Services::bare(), Services::paired()] {
        let policy = |on: &str| {
            format!(
                "loadBalancing: {{policy: roundRobin}}\nretry: {{{AT_ONCE_AGAIN}}}\n\
                 circuitBreaker: {{on: [{on}], consecutiveFailures: 3, openFor: 30s}}"
            )
        };
        let callers = services
            .service("counts", &[backends[0].address, counts])
            .policy("counts", &policy("connect-failure"))
            .service("not", &[backends[1].address, does_not])
            .policy("not", &policy("reset"))
            .start();
        for _ in 0..20 {
            assert_eq!(callers.post("counts").status(), 200);
            assert_eq!(callers.post("not").status(), 200);
        }
        assert_eq!(callers.state(counts), "ejected");
        assert_eq!(callers.endpoint(counts)["consecutiveFailures"], 3);
        let other = callers.state(does_not);
        assert_ne!(other, "ejected");
    }
}

#[test]
fn a_caller_that_leaves_says_nothing_of_the_endpoint() {
    let hangs = Script::new("hang");
    let backends = [Script::new("ok").serve(), hangs.serve()];
    let callers = Services::bare()
        .service("slow", &backends.each_ref().map(|backend| backend.address))
        .policy(
            "slow",
            "loadBalancing: {policy: roundRobin}\n\
             circuitBreaker: {on: [connect-failure, reset, per-try-timeout, 5xx], consecutiveFailures: 2, openFor: 30s}",
        )
        .start();
    for _ in 0..12 {
        let mut wire = callers.begin("slow", "GET / HTTP/1.1\r\n\r\n");
        wire.patience(std::time::Duration::from_millis(60));
        let _ = wire.message(false);
    }
    crate::harness::eventually("the app sees them leave", || hangs.left() == hangs.count());
    assert!(hangs.count() >= 5, "{} of 12 went there", hangs.count());
    assert_eq!(callers.state(backends[1].address), "ready");
}
