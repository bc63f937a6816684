//! What happens to an instance: it drains and leaves, its app is killed, or both are killed at once.
//!
//! A sidecar is killed by SIGKILL. An app, which is no process of its own, is dropped with its
//! listener and all its connections wherever it stands, which is what the kernel does to one that
//! is killed. Whether callers trust an instance again that is back is not waited for: the next one
//! may leave while its sibling's circuit is still open.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{Chaos, LOOK};
use crate::demo::fleet::{Who, ready};
use crate::demo::process::Process;
use crate::demo::toll::{self, Toll};
use crate::demo::{Error, doing};

/// A sidecar leaves within its drain's deadline; this is more.
const LEFT_WITHIN: Duration = Duration::from_secs(15);
/// A token may be lost with the control plane that took it: so long without success, and there is
/// another.
const TOKEN_AFTER: Duration = Duration::from_secs(5);
/// The longest that a killed app stays away by our will; arbitrary.
const AWAY_MS: usize = 2000;

/// How an instance leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Drained,
    /// Its sidecar stays.
    AppKilled,
    /// Both at once.
    Killed,
}

impl Way {
    pub(super) const ALL: [Way; 3] = [Way::Drained, Way::AppKilled, Way::Killed];

    /// Where it is counted.
    fn count(self, toll: &mut Toll) {
        match self {
            Way::Drained => toll.restarts += 1,
            Way::AppKilled => toll.apps_killed += 1,
            Way::Killed => toll.killed += 1,
        }
    }
}

impl Chaos<'_> {
    /// Has an instance leave, and come back.
    pub(super) async fn restart(&self, index: usize, way: Way) -> Result<(), Error> {
        let name = self.fleet.borrow().members[index].instance.name.clone();
        let begun = Instant::now();
        match way {
            Way::Drained => self.leave(index, &name).await?,
            Way::AppKilled => self.stop_app(index).await,
            Way::Killed => self.kill_both(index, &name).await,
        }
        let left = begun.elapsed();
        match way {
            Way::Drained => self.come_back(index).await?,
            Way::AppKilled => {
                self.stay_away().await;
                self.start_app(index, true)?;
            }
            Way::Killed => {
                self.stay_away().await;
                self.come_back(index).await?;
            }
        }
        way.count(&mut self.toll.borrow_mut());
        let back = (begun.elapsed() - left).as_secs_f64();
        let left = left.as_secs_f64();
        self.tally.happened(match way {
            Way::Drained => format!("{name} drained in {left:.1} s and restarted in {back:.1} s"),
            Way::AppKilled => format!("the app of {name} was killed; back after {back:.1} s"),
            Way::Killed => format!("{name} and its sidecar were killed; back after {back:.1} s"),
        });
        Ok(())
    }

    /// The sidecar drains, and then its app goes with it.
    async fn leave(&self, index: usize, name: &str) -> Result<(), Error> {
        let who = self.read_rotations(index, name).await;
        self.with(who, Process::ask_to_leave);
        let left = async {
            while self.with(who, |process| process.poll().is_none()).unwrap_or(false) {
                sleep(LOOK).await;
            }
        };
        if timeout(LEFT_WITHIN, left).await.is_err() {
            let stays = self.with(who, |process| process.late(LEFT_WITHIN, "it drains".into()));
            return Err(stays.unwrap_or(Error::Interrupted));
        }
        self.stop_app(index).await;
        Ok(())
    }

    /// Nothing is polled in between: the app does not live to see that its sidecar is gone.
    async fn kill_both(&self, index: usize, name: &str) {
        let who = self.read_rotations(index, name).await;
        self.with(who, Process::kill);
        self.stop_app(index).await;
    }

    /// Before its process is gone with its counts.
    async fn read_rotations(&self, index: usize, name: &str) -> Who {
        self.notice_lost();
        let who = Who::Sidecar(index);
        let admin = self.fleet.borrow().admin(who);
        let rotations = toll::read(admin).await;
        self.toll.borrow_mut().add(name, rotations);
        who
    }

    async fn stop_app(&self, index: usize) {
        let app = self.fleet.borrow_mut().members[index].take_app();
        if let Some(app) = app {
            app.stop().await;
        }
    }

    async fn stay_away(&self) {
        let away = self.restarts.borrow_mut().below(AWAY_MS) as u64;
        sleep(Duration::from_millis(away)).await;
    }

    /// On the same port or another.
    async fn come_back(&self, index: usize) -> Result<(), Error> {
        let again = self.restarts.borrow_mut().below(2) == 0;
        self.start_app(index, again)?;
        self.join(index).await
    }

    fn start_app(&self, index: usize, again: bool) -> Result<(), Error> {
        let mut fleet = self.fleet.borrow_mut();
        fleet.resettle(index, again).map_err(doing("find free ports"))?;
        fleet.start_app(index, self.tally)
    }

    /// Starts the sidecar with a token of its own, and waits until it is ready.
    async fn join(&self, index: usize) -> Result<(), Error> {
        let token = self.token(index).await;
        self.fleet.borrow_mut().start_sidecar(index, &token)?;
        let another = async {
            loop {
                sleep(TOKEN_AFTER).await;
                let token = self.token(index).await;
                if let Err(error) = self.fleet.borrow().hand_over(index, &token) {
                    return error;
                }
            }
        };
        tokio::select! {
            ready = ready(self.fleet, Who::Sidecar(index)) => ready,
            error = another => Err(error),
        }
    }

    /// Asks until the control plane is there.
    async fn token(&self, index: usize) -> String {
        let labels = self.fleet.borrow().members[index].instance.labels();
        loop {
            match self.operator.token(&labels).await {
                Ok(token) => return token,
                Err(_) => sleep(5 * LOOK).await,
            }
        }
    }
}
