//! What a mesh has to live with, while the load runs: instances leave or are killed and come back,
//! the control plane dies or freezes, certificates end within seconds.
//!
//! Two courses run beside each other, each in an order that a seed decides, so that restarts meet
//! absences of the control plane in every combination. Invariant: one instance is away at a time,
//! and the control plane stays until everybody has found it again, because certificates that can't
//! be replaced in time end, as they should. `instances` has what happens to an instance.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::client::Client;
use super::fleet::{Fleet, Who, ready};
use super::operator::Operator;
use super::process::Process;
use super::tally::Tally;
use super::toll::Toll;
use super::{Error, explain};
use crate::runtime::clock::Rng;
use instances::Way;

mod instances;

/// How long certificates last. A third of it is left when the next is due; that must be more than
/// the longest absence of the control plane and what it takes to find it again.
pub(super) const LIFETIME: Duration = Duration::from_secs(18);
/// The longest absence; arbitrary beyond that.
const AWAY_MS: usize = 3000;
/// Between two things that a course does: from this to twice this. Arbitrary.
const CALM: Duration = Duration::from_millis(500);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Both courses, and what they share.
pub(super) struct Chaos<'a> {
    fleet: &'a RefCell<Fleet>,
    toll: &'a RefCell<Toll>,
    tally: &'a Arc<Tally>,
    operator: Operator,
    restarts: RefCell<Rng>,
    absences: RefCell<Rng>,
    /// Nothing new is begun.
    is_over: Cell<bool>,
}

impl<'a> Chaos<'a> {
    pub(super) fn new(
        seed: u64,
        fleet: &'a RefCell<Fleet>,
        toll: &'a RefCell<Toll>,
        tally: &'a Arc<Tally>,
    ) -> Chaos<'a> {
        tally.happened(format!("the chaos begins, with seed {seed}"));
        let operator = fleet.borrow().operator();
        let (restarts, absences) = (Rng::seeded(seed), Rng::seeded(!seed));
        let (restarts, absences) = (RefCell::new(restarts), RefCell::new(absences));
        Chaos { fleet, toll, tally, operator, restarts, absences, is_over: Cell::new(false) }
    }

    /// Until [`Chaos::end`]; then everything runs again. What goes wrong ends its course.
    pub(super) async fn run(&self) {
        let (restarts, absences) = tokio::join!(self.restart_each(), self.absences());
        for error in [restarts.err(), absences.err()].into_iter().flatten() {
            self.fault(&error);
        }
    }

    /// Begins nothing new.
    pub(super) fn end(&self) {
        self.is_over.set(true);
    }

    fn fault(&self, error: &Error) {
        self.tally.happened(explain(error));
        self.fleet.borrow_mut().faults += 1;
    }

    /// All instances but the shopper in turn, in another order each time, each in another way than
    /// the last.
    async fn restart_each(&self) -> Result<(), Error> {
        let members = self.fleet.borrow().members.len();
        let mut ways = Way::ALL.into_iter().cycle();
        loop {
            for index in shuffled(1..members, &self.restarts) {
                self.calm(&self.restarts).await;
                if self.is_over.get() {
                    return Ok(());
                }
                let way = ways.next().unwrap_or(Way::Drained);
                self.restart(index, way).await?;
            }
        }
    }

    async fn calm(&self, rng: &RefCell<Rng>) {
        let share = rng.borrow_mut().unit();
        sleep(CALM.mul_f64(1.0 + share)).await;
    }

    /// Before somebody takes the place of one that left by itself.
    fn notice_lost(&self) {
        let lost = self.fleet.borrow_mut().newly_lost();
        lost.into_iter().for_each(|what| self.tally.happened(what));
    }

    /// Does something with a process, if it is there.
    fn with<T>(&self, who: Who, act: impl FnOnce(&mut Process) -> T) -> Option<T> {
        self.fleet.borrow_mut().process(who).map(act)
    }

    /// The control plane dies or freezes, and comes back; the next time when all have found it.
    async fn absences(&self) -> Result<(), Error> {
        loop {
            for _ in 0..4 {
                self.calm(&self.absences).await;
            }
            if self.is_over.get() {
                return Ok(());
            }
            let (is_death, away) = {
                let mut rng = self.absences.borrow_mut();
                (rng.below(3) > 0, Duration::from_millis(rng.below(AWAY_MS) as u64))
            };
            self.toll.borrow_mut().control_plane_left();
            let begun = Instant::now();
            let what = if is_death { self.kill(away).await? } else { self.freeze(away).await };
            self.toll.borrow_mut().control_plane_is_back();
            let away = begun.elapsed().as_secs_f64();
            self.tally.happened(format!("the control plane {what}, after {away:.1} s"));
            self.found_again().await;
        }
    }

    async fn kill(&self, away: Duration) -> Result<&'static str, Error> {
        self.notice_lost();
        self.with(Who::ControlPlane, Process::kill);
        self.tally.happened("the control plane was killed".into());
        sleep(away).await;
        self.fleet.borrow_mut().start_control_plane()?;
        ready(self.fleet, Who::ControlPlane).await?;
        Ok("is back")
    }

    async fn freeze(&self, away: Duration) -> &'static str {
        self.with(Who::ControlPlane, |process| process.signal(libc::SIGSTOP));
        self.tally.happened("the control plane was frozen".into());
        sleep(away).await;
        self.with(Who::ControlPlane, |process| process.signal(libc::SIGCONT));
        "goes on"
    }

    /// Until every sidecar that runs has a session again.
    async fn found_again(&self) {
        let count = self.fleet.borrow().members.len();
        for index in 0..count {
            let who = Who::Sidecar(index);
            loop {
                let runs = self.with(who, |process| process.poll().is_none()).unwrap_or(false);
                let admin = self.fleet.borrow().admin(who);
                if !runs || is_connected(admin).await {
                    break;
                }
                sleep(5 * LOOK).await;
            }
        }
    }
}

/// Whether a sidecar says that it has a session.
async fn is_connected(admin: SocketAddr) -> bool {
    const CONNECTED: &str = "outrigger_control_plane_connected 1";
    let client = Client::new(admin, &admin.to_string());
    match client.get("/metrics").await {
        Ok((_, body)) => String::from_utf8_lossy(&body).lines().any(|line| line == CONNECTED),
        Err(_) => false,
    }
}

/// All of them, in an order that the numbers decide (Fisher and Yates).
fn shuffled(all: Range<usize>, rng: &RefCell<Rng>) -> Vec<usize> {
    let mut order: Vec<usize> = all.collect();
    let mut rng = rng.borrow_mut();
    for last in (1..order.len()).rev() {
        order.swap(last, rng.below(last + 1));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_turn_and_the_order_is_the_seeds() {
        let orders = |seed| {
            let rng = RefCell::new(Rng::seeded(seed));
            (0..3).map(|_| shuffled(1..9, &rng)).collect::<Vec<_>>()
        };
        for order in orders(7) {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (1..9).collect::<Vec<_>>(), "{order:?}");
        }
        assert_eq!(orders(7), orders(7));
        assert_ne!(orders(7), orders(8));
        assert_ne!(orders(7)[0], orders(7)[1]);
    }

    #[test]
    fn certificates_outlast_the_longest_absence() {
        let left = LIFETIME / 3;
        assert!(left > Duration::from_millis(AWAY_MS as u64) + Duration::from_secs(2));
    }
}
