//! What the chaos did in sum: restarts, kills, the control plane's absence, certificates replaced.
//!
//! Certificates are counted by the sidecars themselves; a count that goes with its process is read
//! before, so that nothing is lost but what happens in a sidecar's last moments.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::client::Client;

/// An admin port on this machine answers in milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);
const FAMILY: &str = "outrigger_certificate_rotations_total";

/// Everything that is added up.
#[derive(Debug, Default)]
pub(super) struct Toll {
    /// Drained, and started again.
    pub(super) restarts: u32,
    /// Apps whose sidecar stayed.
    pub(super) apps_killed: u32,
    /// Apps with their sidecars.
    pub(super) killed: u32,
    pub(super) outages: u32,
    away: Duration,
    away_since: Option<Instant>,
    /// Of certificates that replaced another, and of attempts that failed, by instance.
    rotations: Vec<(String, Rotations)>,
}

/// How often a certificate was replaced, and was not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rotations {
    pub(super) replaced: u64,
    pub(super) failed: u64,
}

impl Toll {
    /// The control plane answers nobody from now on.
    pub(super) fn control_plane_left(&mut self) {
        self.outages += 1;
        self.away_since = Some(Instant::now());
    }

    /// It answers again.
    pub(super) fn control_plane_is_back(&mut self) {
        let since = self.away_since.take();
        self.away += since.map(|since| since.elapsed()).unwrap_or_default();
    }

    /// How long it was away in sum.
    pub(super) fn away(&self) -> Duration {
        self.away + self.away_since.map(|since| since.elapsed()).unwrap_or_default()
    }

    /// Adds what one process of an instance's sidecar did.
    pub(super) fn add(&mut self, name: &str, more: Rotations) {
        let found = self.rotations.iter_mut().find(|(known, _)| known == name);
        match found {
            Some((_, sum)) => {
                sum.replaced += more.replaced;
                sum.failed += more.failed;
            }
            None => self.rotations.push((name.to_owned(), more)),
        }
    }

    /// By instance.
    pub(super) fn rotations(&self) -> &[(String, Rotations)] {
        &self.rotations
    }

    /// Of all instances.
    pub(super) fn all_rotations(&self) -> Rotations {
        self.rotations.iter().fold(Rotations::default(), |sum, (_, more)| Rotations {
            replaced: sum.replaced + more.replaced,
            failed: sum.failed + more.failed,
        })
    }
}

impl fmt::Display for Toll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Toll { restarts, apps_killed, killed, outages, .. } = self;
        let (rotations, away) = (self.all_rotations(), self.away().as_secs_f64());
        write!(
            f,
            "{restarts} instances restarted, {apps_killed} killed without their sidecars, {killed} \
             with them;\n{} certificates replaced, {} tries failed; \
             the control plane was away {outages} times, {away:.1} s in sum",
            rotations.replaced, rotations.failed
        )
    }
}

/// What a sidecar's process did until now; none when it does not answer.
pub(super) async fn read(admin: SocketAddr) -> Rotations {
    let client = Client::new(admin, &admin.to_string());
    match timeout(PATIENCE, client.get("/metrics")).await {
        Ok(Ok((_, body))) => rotations(&String::from_utf8_lossy(&body)),
        _ => Rotations::default(),
    }
}

/// The first certificate of a process replaces none.
fn rotations(metrics: &str) -> Rotations {
    let count = |result: &str| {
        let series = format!("{FAMILY}{{result=\"{result}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&series));
        line.and_then(|count| count.parse::<f64>().ok()).unwrap_or_default() as u64
    };
    Rotations { replaced: count("success").saturating_sub(1), failed: count("failure") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_certificate_is_no_rotation() {
        let text = |success, failure| {
            format!(
                "# HELP {FAMILY} x\n{FAMILY}{{result=\"success\"}} {success}\n{FAMILY}{{result=\"failure\"}} {failure}\n"
            )
        };
        let rows = [(0, 0, 0), (1, 0, 0), (5, 2, 4)];
        for (success, failed, replaced) in rows {
            let found = rotations(&text(success, failed));
            assert_eq!(found, Rotations { replaced, failed }, "{success}");
        }
        assert_eq!(rotations(""), Rotations::default());
    }

    #[test]
    fn processes_of_one_instance_add_up() {
        let mut toll = Toll::default();
        toll.add("web-1", Rotations { replaced: 2, failed: 0 });
        toll.add("web-2", Rotations { replaced: 1, failed: 1 });
        toll.add("web-1", Rotations { replaced: 3, failed: 0 });
        assert_eq!(toll.rotations()[0], ("web-1".into(), Rotations { replaced: 5, failed: 0 }));
        assert_eq!(toll.all_rotations(), Rotations { replaced: 6, failed: 1 });
    }

    #[tokio::test(start_paused = true)]
    async fn an_absence_that_has_not_ended_counts() {
        let mut toll = Toll::default();
        toll.control_plane_left();
        tokio::time::advance(Duration::from_secs(2)).await;
        toll.control_plane_is_back();
        tokio::time::advance(Duration::from_secs(5)).await;
        toll.control_plane_left();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!((toll.away(), toll.outages), (Duration::from_secs(3), 2));
    }
}
