//! Backends that follow a script: one step a call, the last step for all that follow.
//!
//! A script is steps with spaces between. Several backends may share one: then it doesn't matter
//! which of them is called. A step is a word, and may go on with `~300` (it waits so many
//! milliseconds first) and `{name:value}` (a header of the answer; `date+2` stands for the date two
//! seconds from then).
//!
//! | word | the backend |
//! |---|---|
//! | `ok` `503` | answers so, with a body that names the call |
//! | `reset` `close` | ends the connection without an answer, with an RST or cleanly |
//! | `half-head` | ends the connection in the middle of the answer's head |
//! | `cut` `stall` | resets, or says nothing more, in the middle of the body |
//! | `drip` `drip:200` | sends its body byte by byte, one each 100 ms, or as often as said |
//! | `hang` | never answers |
//! | `grpc:14` `late:14` | answers with a gRPC code: trailers only, or after a message |
//! | `refused` | refuses the stream (HTTP/2) |

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::h2_app::H2App;
use super::{App, Message, Wire};

mod play;

/// What backends do, and what came to them.
#[derive(Debug)]
pub struct Script {
    steps: Vec<Step>,
    calls: Mutex<Vec<Call>>,
}

/// A request that came whole.
#[derive(Clone, Debug)]
pub struct Call {
    pub at: Instant,
    pub endpoint: SocketAddr,
    pub request: Message,
    /// When the caller left before it was answered.
    pub left: Option<Instant>,
}

/// A backend that runs.
pub struct Backend {
    pub address: SocketAddr,
    server: Server,
}

enum Server {
    Http(App),
    Grpc(#[allow(dead_code, reason = "held while it serves")] H2App),
}

#[derive(Clone, Debug)]
struct Step {
    act: Act,
    after: Duration,
    headers: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Status(u16),
    Reset,
    Close,
    HalfHead,
    Cut,
    Stall,
    /// Milliseconds between the ten bytes.
    Drip(u64),
    Hang,
    Grpc(u8),
    Late(u8),
    Refused,
}

impl Script {
    #[track_caller]
    pub fn new(text: &str) -> Arc<Self> {
        let steps: Vec<Step> = text.split(' ').filter(|s| !s.is_empty()).map(Step::parse).collect();
        assert!(!steps.is_empty(), "a script without a step");
        Arc::new(Self { steps, calls: Mutex::default() })
    }

    /// A backend that follows it over HTTP/1.
    pub fn serve(self: &Arc<Self>) -> Backend {
        let script = Arc::clone(self);
        let app = App::raw(move |wire| play::http(wire, &script));
        Backend { address: app.address, server: Server::Http(app) }
    }

    /// A backend that follows it over HTTP/2.
    pub fn serve_grpc(self: &Arc<Self>) -> Backend {
        let script = Arc::clone(self);
        let address = Arc::new(Mutex::new(None));
        let own = Arc::clone(&address);
        let app = H2App::start(move |request, respond| {
            let at = *lock(&own);
            play::grpc(request, respond, Arc::clone(&script), at)
        });
        *lock(&address) = Some(app.address);
        Backend { address: app.address, server: Server::Grpc(app) }
    }

    /// What came, in its order.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.calls).clone()
    }

    pub fn count(&self) -> usize {
        lock(&self.calls).len()
    }

    /// Calls whose caller left before they were answered.
    pub fn left(&self) -> usize {
        lock(&self.calls).iter().filter(|call| call.left.is_some()).count()
    }

    /// Notes a call; its number from 1, and what is done with it.
    fn take(&self, endpoint: SocketAddr, request: Message) -> (usize, Step) {
        let mut calls = lock(&self.calls);
        calls.push(Call { at: Instant::now(), endpoint, request, left: None });
        let number = calls.len();
        (number, self.steps[(number - 1).min(self.steps.len() - 1)].clone())
    }

    fn was_left(&self, number: usize) {
        lock(&self.calls)[number - 1].left = Some(Instant::now());
    }
}

impl Backend {
    /// Connections that it had so far.
    #[track_caller]
    pub fn connections(&self) -> usize {
        match &self.server {
            Server::Http(app) => app.connections(),
            Server::Grpc(_) => panic!("connections of an HTTP/2 backend aren't counted"),
        }
    }
}

impl Call {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.request.header(name)
    }
}

impl Step {
    #[track_caller]
    fn parse(text: &str) -> Self {
        let (rest, headers) = text.split_once('{').unwrap_or((text, ""));
        let headers = headers.trim_end_matches('}').split(',').filter_map(|field| {
            let (name, value) = field.split_once(':')?;
            Some((name.to_owned(), value.to_owned()))
        });
        let (word, after) = rest.split_once('~').unwrap_or((rest, "0"));
        let after = after.parse().unwrap_or_else(|_| panic!("a pause in milliseconds: {text}"));
        Self {
            act: Act::parse(word),
            after: Duration::from_millis(after),
            headers: headers.collect(),
        }
    }

    /// The headers of the answer, as they are now.
    fn headers(&self) -> impl Iterator<Item = (&str, String)> {
        self.headers.iter().map(|(name, value)| {
            let from_now = value.strip_prefix("date+").and_then(|seconds| seconds.parse().ok());
            (name.as_str(), from_now.map_or_else(|| value.clone(), date))
        })
    }
}

impl Act {
    #[track_caller]
    fn parse(word: &str) -> Self {
        let code = |code: &str| code.parse().unwrap_or_else(|_| panic!("no gRPC code: {word}"));
        let pause = |ms: &str| ms.parse().unwrap_or_else(|_| panic!("no milliseconds: {word}"));
        match word {
            "ok" => Act::Status(200),
            "reset" => Act::Reset,
            "close" => Act::Close,
            "half-head" => Act::HalfHead,
            "cut" => Act::Cut,
            "stall" => Act::Stall,
            "drip" => Act::Drip(100),
            "hang" => Act::Hang,
            "refused" => Act::Refused,
            _ => match word.split_once(':') {
                Some(("grpc", number)) => Act::Grpc(code(number)),
                Some(("late", number)) => Act::Late(code(number)),
                Some(("drip", ms)) => Act::Drip(pause(ms)),
                _ => Act::Status(word.parse().unwrap_or_else(|_| panic!("no step: {word:?}"))),
            },
        }
    }
}

/// As in HTTP, so many seconds from now.
fn date(seconds: i64) -> String {
    let then = Timestamp::now() + Duration::from_secs(seconds.unsigned_abs());
    then.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
