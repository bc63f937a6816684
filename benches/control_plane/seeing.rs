//! What it costs to remember the traffic of a large mesh, and how fast that is told: 200 services,
//! 2,000 sidecars that report every five seconds, half an hour of it.
//!
//! The first report of each says that it took half an hour to come together, so that nobody has to
//! wait for it.

use std::net::SocketAddr;
use std::time::Duration;

use outrigger::wire::v1::from_sidecar::Message as Say;
use outrigger::wire::v1::{Latencies, RequestCount, Traffic};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until};

use super::NAMESPACE;
use super::fleet::{FOLLOWED, Fleet};
use super::plane::{Plane, service};
use super::table::{mib, ms, percentile, row, show};

const SERVICES: usize = 200;
const SIDECARS: usize = 2_000;
const PERIOD: Duration = Duration::from_secs(5);
/// Rounds that are measured.
const ROUNDS: u32 = 6;
/// Requests a second of each sidecar to each service that it calls.
const RATE: u64 = 10;
const ASKED: usize = 20;

/// Prints the tables.
pub async fn measure() {
    let plane = Plane::with_services(SERVICES).await;
    let mut fleet = Fleet::enroll(&plane, SERVICES).await;
    fleet.grow(SIDECARS, |index, nth| index * FOLLOWED + nth).await;
    sleep(Duration::from_secs(3)).await;
    let (quiet, cpu) = (plane.process().memory().1, plane.process().cpu());
    sleep(PERIOD).await;
    let idle = (plane.process().cpu() - cpu) / PERIOD.as_secs() as u32;
    round(&fleet, 30 * 60 * 1000).await;
    sleep(Duration::from_secs(1)).await;
    let cpu = plane.process().cpu();
    for _ in 0..ROUNDS {
        round(&fleet, PERIOD.as_millis() as u64).await;
    }
    let busy = (plane.process().cpu() - cpu) / (ROUNDS * PERIOD.as_secs() as u32);
    let full = plane.process().memory().1;
    show(
        &format!("Memory and CPU of the control plane, {SERVICES} services, {SIDECARS} sidecars"),
        &[
            row(["", "anonymous MiB", "CPU ms a second"]),
            row(["sessions alone".into(), mib(quiet), ms(idle)]),
            row(["all report every 5 s, half an hour of it held".into(), mib(full), ms(busy)]),
        ],
    );
    let mut rows = vec![row(["page", "KiB", "p50 ms", "longest ms"])];
    let one = format!("/api/service?name={}.{NAMESPACE}", service(7));
    for page in ["/api/graph?window=60", "/api/graph?window=1800", "/api/services", &one] {
        let (mut took, mut size) = (Vec::new(), 0);
        for _ in 0..ASKED {
            let begun = Instant::now();
            size = fetch(plane.admin(), page).await.expect("an answer");
            took.push(begun.elapsed());
            // The answer of the last second would be given again.
            sleep(Duration::from_millis(1_050)).await;
        }
        let kib = (size / 1024).to_string();
        rows.push(row([page.into(), kib, ms(percentile(&took, 0.5)), ms(percentile(&took, 1.0))]));
    }
    show("How long its pages take meanwhile", &rows);
}

/// All report once, spread over the period.
async fn round(fleet: &Fleet, period_ms: u64) {
    let begun = Instant::now();
    for index in 0..SIDECARS {
        fleet.say(index, Say::Traffic(traffic(index, period_ms)));
        sleep_until(begun + PERIOD.mul_f64((index + 1) as f64 / SIDECARS as f64)).await;
    }
}

/// Ten requests a second to each service that it follows; one in fifty fails.
fn traffic(index: usize, period_ms: u64) -> Traffic {
    let mut words = vec!["default".to_owned(), "http/1.1".to_owned()];
    let (mut requests, mut latencies) = (Vec::new(), Vec::new());
    let count = RATE * period_ms / 1000;
    for nth in 0..FOLLOWED {
        let name = service((index * FOLLOWED + nth) % SERVICES);
        words.push(format!("{name}.{NAMESPACE}:80"));
        words.push(format!("spiffe://cluster.local/ns/{NAMESPACE}/sa/{name}"));
        let at = words.len() as u32;
        let row = RequestCount {
            service: at - 1,
            route: 1,
            protocol: 2,
            peer: at,
            code: 200,
            count: count * 49 / 50,
            ..RequestCount::default()
        };
        requests.push(RequestCount { code: 503, count: count / 50, ..row });
        requests.push(row);
        let counts = vec![0, count / 2, count / 4, count / 4];
        latencies.push(Latencies { service: at - 1, route: 1, counts, ..Latencies::default() });
    }
    let bounds_us = vec![500, 1_000, 2_500, 5_000];
    Traffic { period_ms, words, requests, latencies, bounds_us, ..Traffic::default() }
}

/// The size of a page.
async fn fetch(admin: SocketAddr, path: &str) -> std::io::Result<usize> {
    let mut stream = TcpStream::connect(admin).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    Ok(answer.len())
}
