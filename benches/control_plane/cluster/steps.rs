//! One size of the fleet: what it costs at rest, how fast it is told, how it comes back.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::super::fleet::{Change, Fleet};
use super::super::plane::{Plane, service};
use super::super::table::{mib, ms, percentile, row, say};
use super::api::Api;
use super::{PODS_EACH, SETTLE, STEPS, TEAM, followed, join, others};

/// Changes of services that a team follows, and of the one that all do.
const CHANGES: usize = 200;
const CHANGES_FOR_ALL: usize = 20;
/// How long only heartbeats are looked at.
const REST: Duration = Duration::from_secs(30);
/// Between two changes, for what the last one left to do.
const PAUSE: Duration = Duration::from_millis(100);

/// What was measured.
pub struct Step {
    sessions: usize,
    resident: u64,
    /// Beyond what it has without any, each.
    bytes_each: f64,
    /// Of CPU, each.
    joining: Duration,
    connecting: Duration,
    /// CPU in [`REST`].
    rest: Load,
    team: Told,
    all: Told,
    restarts: Vec<Restart>,
}

/// CPU of everybody here.
#[derive(Clone, Copy)]
struct Load {
    plane: Duration,
    api: Duration,
    sidecars: Duration,
    /// All programs of the machine, and what there is of its processors.
    machine: (Duration, Duration),
}

/// How fast a change was known.
pub struct Told {
    /// Until the API answered.
    answers: Vec<Duration>,
    /// Until the last one knew.
    last: Vec<Duration>,
    /// Without what it takes at rest.
    cpu: Duration,
}

struct Restart {
    how: &'static str,
    /// Until each was told everything.
    back: Vec<Duration>,
    sent_away: usize,
    cpu: Duration,
    peak: u64,
    resident: u64,
}

impl Load {
    fn now(plane: &Plane) -> Self {
        Self { plane: plane.process().cpu(), ..Self::begun() }
    }

    /// As [`Load::now`], of a control plane that was just started.
    fn begun() -> Self {
        let (api, sidecars) = (others::api_server(), others::sidecars());
        Self { plane: Duration::ZERO, api, sidecars, machine: others::machine() }
    }

    fn since(self, before: Self) -> Self {
        Self {
            plane: self.plane - before.plane,
            api: self.api - before.api,
            sidecars: self.sidecars - before.sidecars,
            machine: (self.machine.0 - before.machine.0, self.machine.1 - before.machine.1),
        }
    }

    /// The part of the processors that others than us took.
    fn elsewhere(self) -> f64 {
        let ours = self.plane + self.api + self.sidecars;
        self.machine.0.saturating_sub(ours).as_secs_f64() / self.machine.1.as_secs_f64()
    }
}

/// Adds sidecars until there are `sessions`, and measures.
pub async fn take(
    plane: &mut Plane,
    fleet: &mut Fleet,
    api: &Api,
    sessions: usize,
    empty: u64,
) -> Step {
    let more = sessions - fleet.len();
    let begun = plane.process().cpu();
    let pods = join(plane, api, fleet.len()..sessions).await;
    let joined = plane.process().cpu();
    fleet.equip(pods);
    fleet.grow(sessions, followed).await;
    let connected = plane.process().cpu();
    sleep(SETTLE).await;
    let (resident, anonymous) = plane.process().memory();
    let before = Load::now(plane);
    sleep(REST).await;
    let rest = Load::now(plane).since(before);
    let each = |cpu: Duration| cpu / u32::try_from(more).expect("few");
    say(&format!(
        "\n{sessions} are connected; other programs took {:.0} % of the processors then",
        rest.elsewhere() * 100.0
    ));
    let before = Load::now(plane);
    let teams = sessions / TEAM;
    let team = changes(plane, fleet, api, rest, CHANGES, TEAM, |round| 1 + round / 2 % teams).await;
    let all = changes(plane, fleet, api, rest, CHANGES_FOR_ALL, sessions, |_| 0).await;
    let elsewhere = Load::now(plane).since(before).elsewhere();
    say(&format!("and {:.0} % of them during the changes", elsewhere * 100.0));
    let mut restarts = vec![restart(plane, fleet, "SIGKILL").await];
    if sessions == STEPS[STEPS.len() - 1] {
        restarts.push(restart(plane, fleet, "SIGTERM").await);
    }
    Step {
        sessions,
        resident,
        bytes_each: anonymous.saturating_sub(empty) as f64 / sessions as f64,
        joining: each(joined - begun),
        connecting: each(connected - joined),
        rest,
        team,
        all,
        restarts,
    }
}

/// The last member of a service goes and comes again; `which` follows `followers`.
async fn changes(
    plane: &Plane,
    fleet: &Fleet,
    api: &Api,
    rest: Load,
    rounds: usize,
    followers: usize,
    which: impl Fn(usize) -> usize,
) -> Told {
    let (mut answers, mut last) = (Vec::new(), Vec::new());
    let (begun, before) = (Instant::now(), plane.process().cpu());
    for round in 0..rounds {
        sleep(PAUSE).await;
        let (index, comes) = (which(round), round % 2 == 1);
        fleet.board.await_change(Change { service: service(index), comes });
        let called = Instant::now();
        api.serve_with(index, if comes { PODS_EACH } else { PODS_EACH - 1 }).await;
        answers.push(called.elapsed());
        let all = |board: &super::super::fleet::Board| board.told.borrow().len() >= followers;
        fleet.board.until("all know", all).await;
        let told = fleet.board.told.borrow();
        assert_eq!(told.len(), followers, "each is told once");
        last.extend(told.iter().max().map(|latest| *latest - called));
    }
    let beats = rest.plane.mul_f64(begun.elapsed().as_secs_f64() / REST.as_secs_f64());
    let cpu = (plane.process().cpu() - before).saturating_sub(beats);
    let rounds = u32::try_from(rounds).expect("few");
    Told { answers, last, cpu: cpu / rounds }
}

async fn restart(plane: &mut Plane, fleet: &Fleet, how: &'static str) -> Restart {
    let board = &fleet.board;
    let sessions = fleet.len();
    board.forget();
    let mut left = Duration::ZERO;
    match how {
        "SIGTERM" => left = plane.replace().await,
        _ => plane.kill_and_restart(),
    }
    let (started, before) = (Instant::now(), Load::begun());
    let all = |board: &super::super::fleet::Board| {
        board.informed.borrow().len() >= sessions && board.standing.get() == sessions
    };
    board.until("all are back", all).await;
    let took = Load::now(plane).since(before);
    let cpu = took.plane;
    let back: Vec<Duration> =
        board.informed.borrow().iter().map(|at| at.saturating_duration_since(started)).collect();
    let (peak, sent_away) = (plane.process().peak(), board.sent_away.get());
    let again = back.len() - sessions;
    say(&format!(
        "after {how} all {sessions} are back; it took {:.1} s to leave; {again} sessions broke once \
         more; CPU: API server {:.1} s, sidecars {:.1} s, others {:.0} % of the processors",
        left.as_secs_f64(),
        took.api.as_secs_f64(),
        took.sidecars.as_secs_f64(),
        took.elsewhere() * 100.0,
    ));
    sleep(SETTLE).await;
    let resident = plane.process().memory().0;
    Restart { how, back, sent_away, cpu, peak, resident }
}

impl Step {
    pub fn at_rest(&self) -> Vec<String> {
        let minute = 60.0 / REST.as_secs_f64();
        let seconds = |cpu: Duration| format!("{:.1}", cpu.as_secs_f64() * minute);
        row([
            self.sessions.to_string(),
            mib(self.resident),
            format!("{:.1}", self.bytes_each / 1024.0),
            format!("{:.2}", self.joining.as_secs_f64() * 1000.0),
            format!("{:.2}", self.connecting.as_secs_f64() * 1000.0),
            seconds(self.rest.plane),
            seconds(self.rest.api),
            seconds(self.rest.sidecars),
        ])
    }

    pub fn told(&self) -> Vec<String> {
        let (team, all) = (&self.team, &self.all);
        row([
            self.sessions.to_string(),
            ms(percentile(&team.answers, 0.5)),
            ms(percentile(&team.last, 0.5)),
            ms(percentile(&team.last, 0.99)),
            ms(percentile(&team.last, 1.0)),
            ms(team.cpu),
            ms(percentile(&all.last, 0.5)),
            ms(percentile(&all.last, 1.0)),
            format!("{:.0}", all.cpu.as_secs_f64() * 1e6 / self.sessions as f64),
        ])
    }

    pub fn restarts(&self) -> impl Iterator<Item = Vec<String>> {
        self.restarts.iter().map(|restart| {
            let seconds = |time: Duration| format!("{:.1}", time.as_secs_f64());
            let back = |share| seconds(percentile(&restart.back, share));
            row([
                self.sessions.to_string(),
                restart.how.to_owned(),
                seconds(restart.back.iter().min().copied().unwrap_or_default()),
                back(0.5),
                back(1.0),
                restart.sent_away.to_string(),
                seconds(restart.cpu),
                mib(restart.peak),
                mib(restart.resident),
            ])
        })
    }
}
