//! Tables: each row is a service with its policy and its backends' script, one request, and what is
//! expected of both ends.
//!
//! Rows run beside each other; a failing row says why on its own thread, and the table names all
//! that failed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;

use crate::harness::grpc::{H2Client, grpc_request};
use crate::harness::{
    Backend, Broken, Call, Callers, Message, Script, Services, chunked, pattern, refused_address,
};

/// So many rows run beside each other.
const AT_ONCE: usize = 16;

/// Retries without noticeable pauses; goes before the rest of `retry`.
pub const AT_ONCE_AGAIN: &str = "backoff: {strategy: fixed, base: 1ms, jitter: none}";

/// A service and one request to it.
pub struct Row {
    name: String,
    policy: String,
    route: String,
    script: String,
    endpoints: usize,
    refusing: usize,
    method: &'static str,
    lines: String,
    body: usize,
    grpc: Option<&'static str>,
    status: Option<u16>,
    code: Option<u8>,
    reason: Option<&'static str>,
    calls: usize,
    check: fn(&Outcome),
}

/// What became of a row's request.
#[derive(Debug)]
pub struct Outcome {
    /// A gRPC answer's trailers stand among its headers.
    pub answer: Result<Message, Broken>,
    pub took: Duration,
    pub calls: Vec<Call>,
}

/// A GET that is answered 200 by the first call, unless said otherwise.
pub fn row(name: impl Into<String>) -> Row {
    Row {
        name: name.into(),
        policy: String::new(),
        route: String::new(),
        script: "ok".to_owned(),
        endpoints: 1,
        refusing: 0,
        method: "GET",
        lines: String::new(),
        body: 0,
        grpc: None,
        status: Some(200),
        code: None,
        reason: None,
        calls: 1,
        check: |_| {},
    }
}

impl Row {
    /// The `TrafficPolicy` of the service, without `targetRefs`.
    pub fn policy(mut self, spec: impl Into<String>) -> Self {
        self.policy = spec.into();
        self
    }

    /// A policy whose `retry` has this, and no pauses.
    pub fn retry(self, fields: &str) -> Self {
        self.policy(format!("retry: {{{AT_ONCE_AGAIN}, {fields}}}"))
    }

    /// The rules of an `HTTPRoute` of the service; `SELF` stands for the service.
    pub fn route(mut self, rules: impl Into<String>) -> Self {
        self.route = rules.into();
        self
    }

    /// What the backends do, call by call; see [`Script`].
    pub fn script(mut self, steps: impl Into<String>) -> Self {
        self.script = steps.into();
        self
    }

    /// So many backends share the script.
    pub fn endpoints(mut self, count: usize) -> Self {
        self.endpoints = count;
        self
    }

    /// So many more endpoints refuse connections.
    pub fn refusing(mut self, count: usize) -> Self {
        self.refusing = count;
        self
    }

    pub fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    /// A header line of the request, without its end.
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push_str(&format!("{line}\r\n"));
        self
    }

    /// The request has a body of so many bytes.
    pub fn body(mut self, bytes: usize) -> Self {
        self.body = bytes;
        self
    }

    /// It is a gRPC call of this method, answered with code 0 unless said otherwise.
    pub fn grpc(mut self, path: &'static str) -> Self {
        (self.grpc, self.code) = (Some(path), Some(0));
        self
    }

    /// The answer's status.
    pub fn is(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// The answer's gRPC code.
    pub fn has_code(mut self, code: u8) -> Self {
        self.code = Some(code);
        self
    }

    /// The answer does not come whole.
    pub fn breaks(mut self) -> Self {
        self.status = None;
        self
    }

    /// The sidecar answers by itself, with this reason.
    pub fn because(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    /// How many calls reach the backends.
    pub fn calls(mut self, count: usize) -> Self {
        self.calls = count;
        self
    }

    /// What else must hold.
    pub fn check(mut self, check: fn(&Outcome)) -> Self {
        self.check = check;
        self
    }

    fn protocol(&self) -> &'static str {
        if self.grpc.is_some() { "grpc" } else { "http" }
    }

    fn request(&self) -> Vec<u8> {
        let bodiless = self.body == 0 && !matches!(self.method, "POST" | "PUT" | "PATCH");
        let length = if bodiless || self.lines.contains("chunked") {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", self.body)
        };
        let head = format!("{} /row HTTP/1.1\r\n{}{length}\r\n", self.method, self.lines);
        let body = pattern(self.body);
        let body = if self.lines.contains("chunked") { chunked(&body, &[7, 100, 1]) } else { body };
        [head.as_bytes(), &body].concat()
    }

    fn call(&self, callers: &Callers, service: &str, path: &str) -> Message {
        let mut request = grpc_request(path).uri(format!("http://{service}.default{path}"));
        for line in self.lines.lines() {
            let (name, value) = line.split_once(": ").expect("a header line");
            request = request.header(name.to_ascii_lowercase(), value);
        }
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let request = request.body(()).expect("a request");
        let reply = runtime.block_on(async {
            let client = H2Client::connect(callers.by_host).await;
            client.call(request, &[&pattern(self.body)[..]]).await
        });
        Message {
            start: format!("HTTP/2 {}", reply.status),
            headers: [fields(&reply.headers), fields(&reply.trailers)].concat(),
            body: reply.body,
            ..Message::default()
        }
    }

    /// Asks, and compares.
    fn play(&self, callers: &Callers, service: &str, script: &Script) {
        let begun = Instant::now();
        let answer = match self.grpc {
            Some(path) => Ok(self.call(callers, service, path)),
            None => callers.try_ask(service, self.request()),
        };
        let outcome = Outcome { answer, took: begun.elapsed(), calls: script.calls() };
        self.compare(&outcome);
        (self.check)(&outcome);
    }

    fn compare(&self, outcome: &Outcome) {
        let calls: Vec<&str> = outcome.calls.iter().map(|call| &*call.request.start).collect();
        match (&outcome.answer, self.status) {
            (Ok(answer), Some(status)) => {
                let found = (answer.status(), answer.reason());
                let text = answer.text();
                assert_eq!(found, (status, self.reason), "status and reason, {calls:?}, {text:?}");
                let code = answer.header("grpc-status").and_then(|code| code.parse().ok());
                assert_eq!(code, self.code, "gRPC code, {calls:?}, {answer:?}");
            }
            (Err(_), None) => {}
            (answer, expected) => panic!("{answer:?} instead of {expected:?}, {calls:?}"),
        }
        assert_eq!(calls.len(), self.calls, "calls: {calls:?}, {:?}", outcome.answer);
    }
}

impl Outcome {
    #[track_caller]
    pub fn answer(&self) -> &Message {
        self.answer.as_ref().expect("an answer")
    }

    #[track_caller]
    pub fn last(&self) -> &Call {
        self.calls.last().expect("a call")
    }

    /// The pause before each further call, in milliseconds.
    pub fn pauses(&self) -> Vec<u128> {
        let between = |pair: &[Call]| (pair[1].at - pair[0].at).as_millis();
        self.calls.windows(2).map(between).collect()
    }

    /// It was answered within these milliseconds, from and to.
    #[track_caller]
    pub fn took_between(&self, from: u64, to: u64) {
        let range = Duration::from_millis(from)..=Duration::from_millis(to);
        assert!(range.contains(&self.took), "it took {:?}, not {range:?}", self.took);
    }
}

/// Where a table's endpoints stand.
#[derive(Clone, Copy, Debug)]
enum Way {
    OneHop,
    Pair,
}

/// Plays a table over one plaintext hop.
#[track_caller]
pub fn play(rows: Vec<Row>) {
    over(Way::OneHop, &rows);
}

/// Plays a table over one plaintext hop, and over the pair with mutual TLS, at the same time.
#[track_caller]
pub fn play_each_way(rows: Vec<Row>) {
    let ways = [("one hop", Way::OneHop), ("the pair", Way::Pair)];
    let failed = beside_each_other(&ways, |(name, _)| name, |(_, way)| over(*way, &rows));
    assert!(failed.is_empty(), "over {failed:?}");
}

/// A row's service, as it runs.
struct Stage<'a> {
    row: &'a Row,
    name: String,
    script: Arc<Script>,
    endpoints: Vec<SocketAddr>,
    _backends: Vec<Backend>,
}

impl<'a> Stage<'a> {
    fn set(number: usize, row: &'a Row) -> Self {
        let script = Script::new(&row.script);
        let serve = |_| if row.grpc.is_some() { script.serve_grpc() } else { script.serve() };
        let backends: Vec<Backend> = (0..row.endpoints).map(serve).collect();
        let mut endpoints: Vec<SocketAddr> = backends.iter().map(|b| b.address).collect();
        endpoints.extend((0..row.refusing).map(|_| refused_address()));
        Self { row, name: format!("row-{number}"), script, endpoints, _backends: backends }
    }

    fn told(&self, services: Services) -> Services {
        let Row { policy, route, .. } = self.row;
        let mut services = services.speaks(self.row.protocol(), &self.name, &self.endpoints);
        if !policy.is_empty() {
            services = services.policy(&self.name, policy);
        }
        if !route.is_empty() {
            services = services.route(&self.name, route);
        }
        services
    }
}

#[track_caller]
fn over(way: Way, rows: &[Row]) {
    let services = match way {
        Way::OneHop => Services::bare(),
        Way::Pair => Services::paired(),
    };
    let stages: Vec<Stage<'_>> =
        rows.iter().enumerate().map(|(number, row)| Stage::set(number, row)).collect();
    let callers = stages.iter().fold(services, |services, stage| stage.told(services)).start();
    let play = |stage: &Stage<'_>| stage.row.play(&callers, &stage.name, &stage.script);
    let failed = beside_each_other(&stages, |stage| &stage.row.name, play);
    let many = rows.len();
    assert!(failed.is_empty(), "{way:?}: {} of {many} rows failed: {failed:#?}", failed.len());
}

/// Does something with all, some at a time, each on a thread of its name. The names of those that
/// panicked.
pub fn beside_each_other<T: Sync>(
    all: &[T],
    name: impl Fn(&T) -> &str,
    play: impl Fn(&T) + Sync,
) -> Vec<String> {
    let mut failed = Vec::new();
    for some in all.chunks(AT_ONCE) {
        std::thread::scope(|scope| {
            let begin = |one| {
                let thread = std::thread::Builder::new().name(name(one).to_owned());
                let play = &play;
                (one, thread.spawn_scoped(scope, move || play(one)).expect("a thread"))
            };
            let playing: Vec<_> = some.iter().map(begin).collect();
            for (one, thread) in playing {
                if thread.join().is_err() {
                    failed.push(name(one).to_owned());
                }
            }
        });
    }
    failed
}

fn fields(headers: &HeaderMap) -> Vec<(String, String)> {
    let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    headers.iter().map(field).collect()
}
