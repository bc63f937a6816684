//! Callers that come at their own times, whatever became of those before them: an open loop.
//!
//! Gaps are random with a given mean, as those of many callers who don't know of each other. Each
//! request waits for its answer on a connection that nobody else uses meanwhile, and its time runs
//! from when it was due, so that a load that lags behind is seen as waiting.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep_until, timeout};

use crate::harness::SOON;

/// One kind of GET.
#[derive(Clone, Copy)]
pub struct Kind {
    pub host: &'static str,
    /// Header lines, each with its CRLF.
    pub lines: &'static str,
    /// On average.
    pub per_second: f64,
}

/// What became of one request.
#[derive(Debug)]
pub struct Asked {
    /// Its kind's number.
    pub kind: usize,
    /// From the beginning of the load.
    pub due: Duration,
    pub took: Duration,
    /// Its status, the sidecar's reason where it answered itself, or how the connection failed.
    pub end: String,
}

impl Asked {
    pub fn is_well(&self) -> bool {
        self.end == "200"
    }
}

/// Connections that wait for their next request.
type Idle = Rc<RefCell<Vec<TcpStream>>>;

/// All requests that are due within the time, each with its end.
pub fn run(to: SocketAddr, kinds: &[Kind], time: Duration, seed: u64) -> Vec<Asked> {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let (idle, begun) = (Idle::default(), Instant::now());
        let mut asking = JoinSet::new();
        for (due, kind) in schedule(kinds, time, seed) {
            sleep_until(begun + due).await;
            let Kind { host, lines, .. } = kinds[kind];
            let request = format!("GET /load HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n");
            let idle = Rc::clone(&idle);
            asking.spawn_local(async move {
                let end = end_of(to, &idle, &request).await;
                Asked { kind, due, took: (begun + due).elapsed(), end }
            });
        }
        asking.join_all().await
    })
}

/// The same by so many callers, of which each waits for its answer before it asks again, and sooner or
/// later for its time: a load that cannot grow beyond what it is given.
pub fn paced(to: SocketAddr, kind: Kind, callers: u32, time: Duration) -> Vec<Asked> {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let gap = Duration::from_secs_f64(f64::from(callers) / kind.per_second);
    LocalSet::new().block_on(&runtime, async {
        let (idle, begun) = (Idle::default(), Instant::now());
        let mut asking = JoinSet::new();
        for caller in 0..callers {
            let idle = Rc::clone(&idle);
            let Kind { host, lines, .. } = kind;
            asking.spawn_local(async move {
                let request = format!("GET /load HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n");
                let (mut asked, mut next) = (Vec::new(), begun + gap * caller / callers);
                loop {
                    sleep_until(next).await;
                    let at = Instant::now();
                    if at >= begun + time {
                        return asked;
                    }
                    let end = end_of(to, &idle, &request).await;
                    asked.push(Asked { kind: 0, due: at - begun, took: at.elapsed(), end });
                    next = (next + gap).max(Instant::now());
                }
            });
        }
        asking.join_all().await.into_iter().flatten().collect()
    })
}

/// When each is due, in order, with its kind.
fn schedule(kinds: &[Kind], time: Duration, seed: u64) -> Vec<(Duration, usize)> {
    let mut all = Vec::new();
    for (number, kind) in kinds.iter().enumerate() {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (number as u64 + 1);
        let mut due = 0.0;
        loop {
            for (left, shift) in [(true, 13), (false, 7), (true, 17)] {
                state ^= if left { state << shift } else { state >> shift };
            }
            // Above 0 and at most 1.
            let unit = ((state >> 11) + 1) as f64 / (1_u64 << 53) as f64;
            due -= unit.ln() / kind.per_second;
            if due >= time.as_secs_f64() {
                break;
            }
            all.push((Duration::from_secs_f64(due), number));
        }
    }
    all.sort_unstable();
    all
}

async fn end_of(to: SocketAddr, idle: &Idle, request: &str) -> String {
    match timeout(SOON, ask(to, idle, request)).await {
        Ok(Ok(end)) => end,
        Ok(Err(error)) => format!("{:?}", error.kind()),
        Err(_) => "no answer".to_owned(),
    }
}

async fn ask(to: SocketAddr, idle: &Idle, request: &str) -> io::Result<String> {
    let kept = idle.borrow_mut().pop();
    let mut stream = match kept {
        Some(stream) => stream,
        None => {
            let stream = TcpStream::connect(to).await?;
            stream.set_nodelay(true)?;
            stream
        }
    };
    stream.write_all(request.as_bytes()).await?;
    let mut read = Vec::with_capacity(1024);
    let end = loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        more(&mut stream, &mut read).await?;
    };
    let head = String::from_utf8_lossy(&read[..end]).into_owned();
    let length = field(&head, "content-length").and_then(|length| length.parse().ok());
    let length: usize = length.ok_or(io::ErrorKind::InvalidData)?;
    while read.len() < end + length {
        more(&mut stream, &mut read).await?;
    }
    if field(&head, "connection").is_none_or(|value| !value.eq_ignore_ascii_case("close")) {
        idle.borrow_mut().push(stream);
    }
    let status = head.split(' ').nth(1).unwrap_or_default();
    Ok(field(&head, "x-outrigger-reason").unwrap_or(status).to_owned())
}

async fn more(stream: &mut TcpStream, into: &mut Vec<u8>) -> io::Result<()> {
    match stream.read_buf(into).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
    lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// The longest that so many in a hundred took at most; zero of none.
pub fn percentile(mut times: Vec<Duration>, percent: usize) -> Duration {
    times.sort_unstable();
    let at = (times.len() * percent).div_ceil(100).saturating_sub(1);
    times.get(at).copied().unwrap_or_default()
}
