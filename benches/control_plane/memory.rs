//! What a session costs the control plane in memory, and whether the mesh's size matters to it.
//!
//! Resident memory of a fresh process before anybody connects, then with more and more sessions;
//! what the kernel keeps for the sockets is not in it.

use std::time::Duration;

use tokio::time::sleep;

use super::fleet::{FOLLOWED, Fleet};
use super::plane::Plane;
use super::table::{mib, ms, row, show};

/// Services, and the sessions at which to look.
const MESHES: [(usize, &[usize]); 3] =
    [(20, &[1_000]), (200, &[100, 1_000, 5_000]), (2_000, &[1_000])];
/// For what is freed late, and long enough for two heartbeats of each.
const SETTLE: Duration = Duration::from_secs(10);

/// Prints the table.
pub async fn measure() {
    let mut rows = vec![
        row(["", "", "RSS", "anonymous", "bytes a", "sent", "CPU ms a", "at rest, ms"]),
        row(["services", "sessions", "MiB", "MiB", "session", "away", "session", "CPU a second"]),
    ];
    for (services, steps) in MESHES {
        mesh(services, steps, &mut rows).await;
    }
    let title = format!(
        "Memory of the control plane; each session follows {FOLLOWED} services; bytes and CPU of a \
         session, and how often one was told to come back later, are against the line above"
    );
    show(&title, &rows);
}

async fn mesh(services: usize, steps: &[usize], rows: &mut Vec<Vec<String>>) {
    let plane = Plane::with_services(services).await;
    let mut fleet = Fleet::enroll(&plane, services).await;
    sleep(SETTLE).await;
    let (mut sessions, (resident, mut anonymous)) = (0, plane.process().memory());
    rows.push(row([services.to_string(), "0".into(), mib(resident), mib(anonymous)]));
    for &step in steps {
        fleet.board.sent_away.set(0);
        let begun = plane.process().cpu();
        fleet.grow(step, |index, nth| index * FOLLOWED + nth).await;
        let connected = plane.process().cpu();
        sleep(SETTLE).await;
        let rest = (plane.process().cpu() - connected).div_f64(SETTLE.as_secs_f64());
        let (resident, now) = plane.process().memory();
        let more = (step - sessions) as f64;
        rows.push(row([
            services.to_string(),
            step.to_string(),
            mib(resident),
            mib(now),
            format!("{:.0}", now.saturating_sub(anonymous) as f64 / more),
            fleet.board.sent_away.get().to_string(),
            format!("{:.2}", (connected - begun).as_secs_f64() * 1000.0 / more),
            ms(rest),
        ]));
        (anonymous, sessions) = (now, step);
    }
}
