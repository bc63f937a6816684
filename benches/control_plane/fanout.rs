//! How long it takes until everybody who follows a service knows of a new endpoint, or of one that
//! went.
//!
//! A commit is synced to disk before anybody hears of it; the last columns show how long that takes
//! alone. Some hear of it before its author does: from the acknowledgement that counts as nothing.

use std::time::Duration;

use outrigger::wire::v1::from_sidecar::Message as Say;
use outrigger::wire::v1::{self};
use tokio::time::{Instant, sleep};

use super::fleet::Fleet;
use super::plane::{Plane, service, workload};
use super::table::{ms, percentile, row, say, show, spread};

const SESSIONS: usize = 500;
const SERVICES: usize = 200;
/// Of the first service, beside those that every service has.
const ENDPOINTS: usize = 20;
const ROUNDS: usize = 50;
/// Between two rounds, for what the last one left to do.
const PAUSE: Duration = Duration::from_millis(50);

/// The times of one kind of change.
#[derive(Default)]
struct Times {
    from_call: Vec<Duration>,
    from_answer: Vec<Duration>,
    answers: Vec<Duration>,
    /// Until the last session knew, one a round.
    last: Vec<Duration>,
}

impl Times {
    fn take(&mut self, called: Instant, answered: Instant, told: &[Instant]) {
        self.answers.push(answered - called);
        self.from_call.extend(told.iter().map(|told| *told - called));
        self.from_answer.extend(told.iter().map(|told| told.saturating_duration_since(answered)));
        self.last.extend(told.iter().max().map(|last| *last - called));
    }

    fn row(&self, name: &str) -> Vec<String> {
        let mut cells = vec![name.to_owned()];
        cells.extend(spread(&self.from_call));
        cells.extend(spread(&self.from_answer));
        cells.extend([&self.last, &self.answers].map(|values| ms(percentile(values, 0.5))));
        cells
    }
}

/// Prints the table.
pub async fn measure() {
    let plane = Plane::with_services(SERVICES).await;
    let more = (0..ENDPOINTS).map(|index| workload(&format!("hot-{index}"), 0, "10.9.9.8"));
    plane.apply(more.collect::<Vec<_>>().join("---\n")).await;
    let mut fleet = Fleet::enroll(&plane, SERVICES).await;
    // The first service, and four others each.
    let choose = |index: usize, nth| if nth == 0 { 0 } else { 1 + (index * 4 + nth) % 199 };
    fleet.grow(SESSIONS, choose).await;
    sleep(Duration::from_secs(1)).await;
    let mut times: [Times; 4] = Default::default();
    let (begun, before) = (Instant::now(), plane.process().cpu());
    for round in 0..ROUNDS {
        let name = format!("new-{round}");
        let document = workload(&name, 0, "10.9.9.9");
        let [applied, deleted, registered, withdrawn] = &mut times;
        changed(&fleet, applied, plane.apply(document)).await;
        changed(&fleet, deleted, plane.delete_workload(&name)).await;
        changed(&fleet, registered, said(&fleet, registration())).await;
        changed(&fleet, withdrawn, said(&fleet, Say::Withdraw(v1::Withdrawal {}))).await;
    }
    let (took, cpu) = (begun.elapsed(), plane.process().cpu() - before);
    print(&times);
    let updates = (4 * ROUNDS * SESSIONS) as f64;
    say(&format!(
        "\n{updates} updates, each with a verdict: {:.0} µs of the control plane's CPU each, {:.1} s \
         in all ({:.0} s with pauses and heartbeats)",
        cpu.as_secs_f64() * 1e6 / updates,
        cpu.as_secs_f64(),
        took.as_secs_f64(),
    ));
}

fn print(times: &[Times; 4]) {
    let names = ["applied", "deleted", "registered", "withdrawn"];
    let mut rows = vec![
        row(["", "call:", "", "", "", "answer:", "", "", "", "last:", "ack:"]),
        row(["endpoint", "p50", "p90", "p99", "max", "p50", "p90", "p99", "max", "p50", "p50"]),
    ];
    rows.extend(times.iter().zip(names).map(|(times, name)| times.row(name)));
    let title = format!(
        "Fan-out: ms until each of {SESSIONS} sessions knows, {ROUNDS} times each; from the call and \
         from its answer; until the last one knows; until the answer"
    );
    show(&title, &rows);
}

/// Makes a change and waits until all know.
async fn changed(fleet: &Fleet, times: &mut Times, change: impl Future<Output = ()>) {
    sleep(PAUSE).await;
    fleet.board.told.borrow_mut().clear();
    let called = Instant::now();
    change.await;
    let answered = fleet.board.answered.take().unwrap_or_else(Instant::now);
    let all = |board: &super::fleet::Board| board.told.borrow().len() == SESSIONS;
    fleet.board.until("all know", all).await;
    times.take(called, answered, &fleet.board.told.borrow());
}

/// The first sidecar says something that is answered.
async fn said(fleet: &Fleet, message: Say) {
    fleet.say(0, message);
    // Whoever waits for the bell sees each ring of it; the others' moments are kept.
    fleet.board.until("an answer", |board| board.is_answered()).await;
}

fn registration() -> Say {
    Say::Register(v1::Registration {
        address: String::new(),
        labels: [("app".to_owned(), service(0))].into(),
        zone: String::new(),
        ports: vec![v1::Port { name: "http".into(), port: 8080, mesh_port: 18080, protocol: 0 }],
    })
}
