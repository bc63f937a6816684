//! Hostile neighbours: services behind the same caller's sidecar that are slow, fail or flood, and
//! an app that floods them. Whoever calls the one that is well does not notice.
//!
//! The one that is well is measured with them and alone, turn by turn, since the machine may be
//! busy with other things as well: what is compared are medians of the turns. All share one worker.

use std::fmt;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::alone;
use super::open_loop::{self, Kind, percentile};
use crate::harness::{App, Callers, Services, Wire};

const TURNS: usize = 3;
/// How long each half of a turn is measured.
const HALF: Duration = Duration::from_millis(1_200);
const SLOW: Duration = Duration::from_secs(2);
/// Connections on which the app asks the flooding one without a pause.
const FLOODERS: usize = 2;
/// Endless answers that nobody reads.
const UNREAD: usize = 8;
/// Of an endless answer.
const CHUNK: usize = 64 * 1024;

const WELL: Kind = Kind { host: "well.default", lines: "", per_second: 300.0 };

/// Answers 500, or ends the connection with an RST, in turns.
fn failing() -> App {
    let calls = AtomicUsize::new(0);
    App::raw(move |mut wire| {
        while wire.message(false).is_ok() {
            if calls.fetch_add(1, Ordering::SeqCst) % 2 == 1 {
                return wire.reset();
            }
            if wire.try_send("HTTP/1.1 500 Failed\r\ncontent-length: 0\r\n\r\n").is_err() {
                return;
            }
        }
    })
}

/// Answers `/endless` without an end, and everything else at once.
fn flooding() -> App {
    App::raw(|mut wire| {
        while let Ok(request) = wire.message(false) {
            if request.target() != "/endless" {
                if wire.try_send(App::answer("ok")).is_err() {
                    return;
                }
                continue;
            }
            let chunk = [b"10000\r\n", &[b'x'; CHUNK][..], b"\r\n"].concat();
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            let mut sent = wire.try_send(head);
            while sent.is_ok() {
                sent = wire.try_send(&chunk);
            }
            return;
        }
    })
}

/// What the neighbours did in one half of a turn.
#[derive(Debug, Default)]
struct Did {
    slow: usize,
    failed: usize,
    flooded: AtomicUsize,
    bytes: AtomicUsize,
}

impl Did {
    fn is_hostile(&self) -> bool {
        let counts = [&self.flooded, &self.bytes].map(|count| count.load(Ordering::SeqCst));
        self.slow > 0 && self.failed > 0 && counts.iter().all(|count| *count > 0)
    }
}

impl fmt::Display for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [flooded, bytes] =
            [&self.flooded, &self.bytes].map(|count| count.load(Ordering::SeqCst));
        write!(f, "{} | {} | {flooded} | {}", self.slow, self.failed, bytes >> 20)
    }
}

/// All of them at once, until it is over; then the slow ones get their answers.
fn storm(to: SocketAddr, is_over: &AtomicBool) -> Did {
    let mut did = Did::default();
    let (flooded, bytes) = (&did.flooded, &did.bytes);
    let asked = thread::scope(|scope| {
        let endless = || {
            let mut wire = Wire::connect(to);
            wire.send("GET /endless HTTP/1.1\r\nHost: flooding.default\r\n\r\n");
            wire
        };
        let unread: Vec<Wire> = (0..UNREAD).map(|_| endless()).collect();
        scope.spawn(move || {
            let (mut wire, mut buffer) = (endless(), [0; CHUNK]);
            while !is_over.load(Ordering::SeqCst) {
                bytes.fetch_add(wire.stream.read(&mut buffer).unwrap_or(0), Ordering::SeqCst);
            }
        });
        for _ in 0..FLOODERS {
            scope.spawn(move || {
                let mut wire = Wire::connect(to);
                while !is_over.load(Ordering::SeqCst) {
                    let answer = wire.ask("GET /flood HTTP/1.1\r\nHost: flooding.default\r\n\r\n");
                    assert_eq!(answer.status(), 200, "{answer:?}");
                    flooded.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let kinds = [
            Kind { host: "slow.default", lines: "", per_second: 100.0 },
            Kind { host: "failing.default", lines: "", per_second: 100.0 },
        ];
        let asked = open_loop::run(to, &kinds, HALF, 7);
        drop(unread);
        asked
    });
    did.slow = asked.iter().filter(|one| one.kind == 0 && one.is_well()).count();
    did.failed = asked.iter().filter(|one| one.kind == 1).count();
    assert!(did.is_hostile(), "{did}");
    did
}

/// How the one that is well did.
#[derive(Clone, Copy, Debug)]
struct Met {
    p50: Duration,
    p99: Duration,
}

impl fmt::Display for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99] = [self.p50, self.p99].map(|time| time.as_secs_f64() * 1e3);
        write!(f, "{p50:.1} | {p99:.1}")
    }
}

/// Not one request may be lost.
fn measure(to: SocketAddr) -> Met {
    let asked = open_loop::run(to, &[WELL], HALF, 11);
    let lost: Vec<_> = asked.iter().filter(|one| !one.is_well()).collect();
    assert!(lost.is_empty(), "{} of {} were lost: {lost:?}", lost.len(), asked.len());
    let took: Vec<Duration> = asked.iter().map(|one| one.took).collect();
    Met { p50: percentile(took.clone(), 50), p99: percentile(took, 99) }
}

fn medians(turns: &[Met]) -> Met {
    let median = |of: fn(&Met) -> Duration| percentile(turns.iter().map(of).collect(), 50);
    Met { p50: median(|met| met.p50), p99: median(|met| met.p99) }
}

/// Alone, and with the neighbours.
fn turns(name: &str, callers: &Callers, storm: &(impl Fn(&AtomicBool) -> Did + Sync)) -> [Met; 2] {
    let to = callers.by_host;
    eprintln!(
        "| | alone: p50 ms | p99 | beside them: p50 | p99 | slow | failed | flood | MiB endless |"
    );
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for turn in 1..=TURNS {
        let quiet = measure(to);
        let is_over = AtomicBool::new(false);
        let (met, did) = thread::scope(|scope| {
            let storm = scope.spawn(|| storm(&is_over));
            let met = measure(to);
            is_over.store(true, Ordering::SeqCst);
            (met, storm.join().expect("it blows to its end"))
        });
        eprintln!("| {name}, turn {turn} | {quiet} | {met} | {did} |");
        alone.push(quiet);
        beside.push(met);
    }
    let both = [medians(&alone), medians(&beside)];
    eprintln!("| {name}, medians | {} | {} |", both[0], both[1]);
    both
}

fn are_not_noticed(name: &str, services: Services) {
    let _alone = alone();
    let slow = App::http(|_| {
        thread::sleep(SLOW);
        App::answer("at last")
    });
    let (well, failing, flooding) = (App::ok(), failing(), flooding());
    let callers = services
        .service("well", &[well.address])
        .service("slow", &[slow.address])
        .service("failing", &[failing.address])
        .service("flooding", &[flooding.address])
        .start();
    compare(name, &callers, |is_over| storm(callers.by_host, is_over));
}

fn compare(name: &str, callers: &Callers, storm: impl Fn(&AtomicBool) -> Did + Sync) {
    measure(callers.by_host);
    let before = callers.outbound.rss_kib();
    let mut rounds = 0;
    loop {
        let [alone, beside] = turns(name, callers, &storm);
        // On two processors, which it shares with all neighbours and their callers.
        let is_calm = beside.p50 <= alone.p50 * 3 + Duration::from_millis(5)
            && beside.p99 <= alone.p99 * 5 + Duration::from_millis(100);
        if is_calm {
            break;
        }
        rounds += 1;
        assert!(rounds < 3, "{name}: alone {alone:?}, beside its neighbours {beside:?}");
    }
    let grown = callers.outbound.rss_kib().saturating_sub(before);
    eprintln!("{name}: the caller's sidecar had {before} KiB, and {grown} more");
    assert!(grown < 32 * 1024, "it has grown by {grown} KiB");
}

#[test]
fn in_plaintext() {
    are_not_noticed("in plaintext", Services::bare());
}

#[test]
fn through_the_mesh() {
    are_not_noticed("through the mesh", Services::paired());
}

/// Opaque bytes without an end, as fast as they are read.
#[test]
fn beside_an_opaque_stream() {
    let _alone = alone();
    let well = App::ok();
    let stream = App::raw(|mut wire| while wire.try_send([b'x'; CHUNK]).is_ok() {});
    let callers = Services::bare()
        .service("well", &[well.address])
        .speaks("tcp", "stream", &[stream.address])
        .upstream("stream")
        .start();
    compare("beside an opaque stream", &callers, |is_over| {
        let did = Did::default();
        let (mut wire, mut buffer) = (Wire::connect(callers.upstreams[0]), [0; CHUNK]);
        while !is_over.load(Ordering::SeqCst) {
            did.bytes.fetch_add(wire.stream.read(&mut buffer).unwrap_or(0), Ordering::SeqCst);
        }
        assert!(did.bytes.load(Ordering::SeqCst) > 0);
        did
    });
}
