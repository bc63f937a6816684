//! Rows of requests and what becomes of them: who answers, what that app saw, what the caller sees.
//!
//! A table runs against one sidecar, each row from an HTTP/1 and from an HTTP/2 caller. All rows
//! run; those that went otherwise are shown together.

use std::net::SocketAddr;

use http::Request;

use super::grpc::{H2Client, Reply};
use super::{Echoes, Message, Wire};

/// A request and what should become of it.
#[derive(Clone, Debug)]
pub struct Row {
    line: &'static str,
    host: &'static str,
    headers: Vec<&'static str>,
    statuses: Vec<u16>,
    app: Option<&'static str>,
    reason: Option<&'static str>,
    target: Option<&'static str>,
    seen: Vec<(&'static str, Option<&'static str>)>,
    told: Vec<(&'static str, Option<&'static str>)>,
}

/// A request line without its version: `GET /path?query`. Nothing is expected of it yet.
pub fn row(line: &'static str) -> Row {
    Row {
        line,
        host: "echo.default",
        headers: Vec::new(),
        statuses: vec![200],
        app: None,
        reason: None,
        target: None,
        seen: Vec::new(),
        told: Vec::new(),
    }
}

impl Row {
    pub fn host(mut self, host: &'static str) -> Self {
        self.host = host;
        self
    }

    /// A header line of the request.
    pub fn with(mut self, line: &'static str) -> Self {
        self.headers.push(line);
        self
    }

    /// This app answers it.
    pub fn reaches(mut self, app: &'static str) -> Self {
        self.app = Some(app);
        self
    }

    /// The sidecar answers it with one of these.
    pub fn answered(mut self, statuses: &[u16]) -> Self {
        self.statuses = statuses.to_vec();
        self
    }

    /// The sidecar refuses it.
    pub fn refused(mut self, status: u16, reason: &'static str) -> Self {
        (self.statuses, self.reason) = (vec![status], Some(reason));
        self
    }

    /// The app is asked for this path and query.
    pub fn asked_for(mut self, target: &'static str) -> Self {
        self.target = Some(target);
        self
    }

    /// The app sees this header line; several of one name count as one.
    pub fn seen(mut self, line: &'static str) -> Self {
        self.seen.push(split(line));
        self
    }

    /// The app sees no header of this name.
    pub fn unseen(mut self, name: &'static str) -> Self {
        self.seen.push((name, None));
        self
    }

    /// The caller is told this header line.
    pub fn told(mut self, line: &'static str) -> Self {
        self.told.push(split(line));
        self
    }

    pub fn untold(mut self, name: &'static str) -> Self {
        self.told.push((name, None));
        self
    }

    fn method_and_target(&self) -> (&'static str, &'static str) {
        self.line.split_once(' ').expect("a method and a path")
    }

    fn http_1(&self, to: SocketAddr) -> Message {
        let lines: String = self.headers.iter().map(|line| format!("{line}\r\n")).collect();
        let mut wire = Wire::connect(to);
        wire.send(format!("{} HTTP/1.1\r\nHost: {}\r\n{lines}\r\n", self.line, self.host));
        let answer = wire.message(self.method_and_target().0 == "HEAD");
        answer.unwrap_or_else(|broken| panic!("{}: {broken:?}", self.line))
    }

    async fn http_2(&self, client: &H2Client) -> Message {
        let (method, target) = self.method_and_target();
        let uri = format!("http://{}{target}", self.host);
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in self.headers.iter().map(|line| split(line)) {
            request = request.header(name, value.unwrap_or_default());
        }
        let Reply { status, headers, body, .. } =
            client.ask(request.body(()).expect("a request"), b"").await;
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into();
        let headers = headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        Message { start: format!("HTTP/2 {status}"), headers, body, ..Message::default() }
    }

    /// What is not as it should be.
    fn check(&self, answer: &Message, echoes: &Echoes, came: usize) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut expect = |holds: bool, what: String| {
            if !holds {
                wrong.push(what);
            }
        };
        let status = answer.status();
        expect(self.statuses.contains(&status), format!("status {status}: {}", answer.text()));
        expect(answer.reason() == self.reason, format!("reason {:?}", answer.reason()));
        let app = answer.header("x-app");
        expect(app == self.app, format!("{app:?} answered"));
        let expected = usize::from(self.app.is_some());
        expect(came == expected, format!("{came} requests came to the apps"));
        unlike(&self.told, answer).for_each(|what| expect(false, format!("told {what}")));
        if let Some(app) = self.app.filter(|expected| app == Some(expected)) {
            let seen = echoes.app(app).requests().pop().expect("it answered");
            let target = self.target.unwrap_or(self.method_and_target().1);
            expect(seen.target() == target, format!("asked for {}", seen.target()));
            unlike(&self.seen, &seen).for_each(|what| expect(false, format!("saw {what}")));
        }
        wrong
    }
}

/// The headers of a message that are not as expected.
fn unlike<'a>(
    expected: &'a [(&'static str, Option<&'static str>)],
    message: &'a Message,
) -> impl Iterator<Item = String> + 'a {
    let listed = |value: &str| value.split(',').map(str::trim).collect::<Vec<_>>().join(", ");
    expected.iter().filter_map(move |(name, value)| {
        let found = Some(message.all(name)).filter(|all| !all.is_empty());
        let found = found.map(|all| listed(&all.join(",")));
        let is_as_expected = found == value.map(listed);
        (!is_as_expected).then(|| format!("{name}: {found:?} in place of {value:?}"))
    })
}

fn split(line: &'static str) -> (&'static str, Option<&'static str>) {
    let (name, value) = line.split_once(':').expect("a header line");
    (name, Some(value.trim()))
}

/// Runs the rows against a listener, one after the other.
#[track_caller]
pub fn table(to: SocketAddr, echoes: &Echoes, rows: &[Row]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let client = runtime.block_on(H2Client::connect(to));
    let mut wrong = Vec::new();
    for row in rows {
        let mut judge = |version: &str, ask: &dyn Fn() -> Message| {
            let before = echoes.requests();
            let answer = ask();
            let found = row.check(&answer, echoes, echoes.requests() - before);
            if !found.is_empty() {
                wrong.push(format!("{version} {row:?}\n    {}", found.join("\n    ")));
            }
        };
        judge("HTTP/1", &|| row.http_1(to));
        judge("HTTP/2", &|| runtime.block_on(row.http_2(&client)));
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len() * 2, wrong.join("\n"));
}
