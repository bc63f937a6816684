//! What happens when the control plane is killed: who comes back when, and at what price.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::fleet::{FOLLOWED, Fleet};
use super::plane::Plane;
use super::table::{row, say, show};

const SESSIONS: usize = 1_000;
const SERVICES: usize = 200;
const SLOT: Duration = Duration::from_millis(500);

/// Prints the histogram.
pub async fn measure() {
    let mut plane = Plane::with_services(SERVICES).await;
    let mut fleet = Fleet::enroll(&plane, SERVICES).await;
    fleet.grow(SESSIONS, |index, nth| index * FOLLOWED + nth).await;
    sleep(Duration::from_secs(3)).await;
    let board = &fleet.board;
    board.welcomed.borrow_mut().clear();
    board.sent_away.set(0);
    let killed = Instant::now();
    plane.kill_and_restart();
    board.until("all are back", |board| board.welcomed.borrow().len() >= SESSIONS).await;
    let cpu = plane.process().cpu();
    let back: Vec<Duration> =
        board.welcomed.borrow().iter().map(|welcomed| *welcomed - killed).collect();
    print(&back);
    let last = back.iter().max().copied().unwrap_or_default();
    say(&format!(
        "\nall back after {:.1} s; {} times one was told to come back later; {:.2} s of the new \
         process's CPU, {:.2} ms a session",
        last.as_secs_f64(),
        board.sent_away.get(),
        cpu.as_secs_f64(),
        cpu.as_secs_f64() * 1000.0 / SESSIONS as f64,
    ));
}

fn print(back: &[Duration]) {
    let slot = |time: &Duration| (time.as_secs_f64() / SLOT.as_secs_f64()) as usize;
    let slots = back.iter().map(slot).max().unwrap_or_default() + 1;
    let mut counts = vec![0usize; slots];
    back.iter().for_each(|time| counts[slot(time)] += 1);
    let mut rows = vec![row(["from", "sessions", ""])];
    rows.extend(counts.iter().enumerate().map(|(slot, count)| {
        let from = SLOT * u32::try_from(slot).unwrap_or(u32::MAX);
        let bar = format!("{:<60}", "#".repeat(count / 5));
        vec![format!("{:.1} s", from.as_secs_f64()), count.to_string(), bar]
    }));
    let title = format!(
        "Reconnects: the control plane is killed with {SESSIONS} sessions and started again at \
         once; when each stands again"
    );
    show(&title, &rows);
}
