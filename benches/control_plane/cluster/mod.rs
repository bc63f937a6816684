//! The control plane of a cluster: 1,000 services of ten pods each in a real API server, and more and
//! more of the pods' sidecars.
//!
//! Where `KUBEBUILDER_ASSETS` names a folder with `kube-apiserver` and `etcd`. Each pod joins with
//! its own token and follows five services: one that all follow, one that a hundred follow, and
//! three of its own. Everything runs on this machine: memory and CPU are those of the control plane's
//! process alone unless said, the times are what is left of the processors beside an API server and
//! all the sidecars.

mod api;
mod others;
mod steps;

use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::iter;
use outrigger::agent::session::{Settings, enroll};
use outrigger::identity::Svid;
use outrigger::model::{SpiffeId, TrustDomain};
use tokio::time::{Instant, sleep};

use super::NAMESPACE;
use super::fleet::Fleet;
use super::harness;
use super::plane::{Plane, service};
use super::table::{mib, row, say, show};
use api::Api;
use steps::Step;

const SERVICES: usize = 1_000;
const PODS_EACH: usize = 10;
const STEPS: [usize; 4] = [1_000, 2_500, 5_000, 10_000];
/// Sidecars that follow one service together.
const TEAM: usize = 100;
/// Calls under way at once.
const AT_ONCE: usize = 24;
/// For what is left to do after a start.
const SETTLE: Duration = Duration::from_secs(5);

/// Starts the API server, blocking; `None`, and a line that says so, without its programs.
pub fn begin() -> Option<harness::Cluster> {
    harness::Cluster::own()
}

/// Prints the tables, for the steps up to `most` sidecars.
pub async fn measure(kubeconfig: PathBuf, most: usize) {
    let api = Api::connect(&kubeconfig).await;
    let begun = Instant::now();
    api.populate().await;
    let took = begun.elapsed().as_secs_f64();
    say(&format!("{SERVICES} services of {PODS_EACH} pods written in {took:.0} s"));
    let begun = Instant::now();
    let mut plane = Plane::of_cluster(kubeconfig).await;
    let (up, cpu) = (begun.elapsed(), plane.process().cpu());
    sleep(SETTLE).await;
    let (resident, empty) = plane.process().memory();
    say(&format!(
        "the control plane has seen them after {:.1} s, with {:.1} s of CPU; {} MiB resident then, \
         {} at most",
        up.as_secs_f64(),
        cpu.as_secs_f64(),
        mib(resident),
        mib(plane.process().peak()),
    ));
    let mut fleet = Fleet::of_pods(&plane, SERVICES);
    let mut done = Vec::new();
    for sessions in STEPS.into_iter().filter(|sessions| *sessions <= most) {
        done.push(steps::take(&mut plane, &mut fleet, &api, sessions, empty).await);
        print(&done);
    }
}

/// Which service the nth of a sidecar is.
fn followed(index: usize, nth: usize) -> usize {
    let teams = STEPS[STEPS.len() - 1] / TEAM;
    match nth {
        0 => 0,
        1 => 1 + index / TEAM,
        _ => 1 + teams + (index * 3 + nth) % (SERVICES - 1 - teams),
    }
}

/// The certificates of some pods, each with a token of its own.
async fn join(plane: &Plane, api: &Api, numbers: std::ops::Range<usize>) -> Vec<(String, Svid)> {
    let one = |number: usize| async move {
        let file = plane.path(&format!("token.{number}"));
        std::fs::write(&file, api.token(number).await).expect("the folder is ours");
        let settings = Settings { token_file: Some(file.clone()), ..plane.settings() };
        let trust_domain = TrustDomain::default();
        let account = service(number % SERVICES);
        let id = SpiffeId::new(&trust_domain, NAMESPACE, &account).expect("a legal id");
        let enrolled = enroll(&settings, &trust_domain, &id, &None, &mut None).await;
        let _ = std::fs::remove_file(file);
        (api.pod(number), enrolled.expect("the token is good").svid)
    };
    iter(numbers).map(one).buffered(AT_ONCE).collect().await
}

fn print(done: &[Step]) {
    let mut rows = vec![
        row(["", "RSS", "KiB a", "CPU ms:", "", "at rest, CPU s a minute:", "", ""]),
        row(["streams", "MiB", "stream", "join", "connect", "control plane", "API", "sidecars"]),
    ];
    rows.extend(done.iter().map(Step::at_rest));
    show("Sidecars that are connected; each one's enrolment and session; heartbeats alone", &rows);
    let mut rows = vec![
        row(["", &format!("one of {TEAM} follows:"), "", "", "", "", "all follow:", "", ""]),
        row([
            "streams",
            "API",
            "last p50",
            "p99",
            "max",
            "CPU ms",
            "last p50",
            "max",
            "\u{b5}s each",
        ]),
    ];
    rows.extend(done.iter().map(Step::told));
    show(
        "A slice changes by one endpoint: ms from the call of the API until it answers, and until \
         the last of the subscribed sidecars knows; CPU of a change",
        &rows,
    );
    let mut rows = vec![
        row(["", "", "back, s:", "", "", "sent", "CPU", "peak", "RSS after"]),
        row(["streams", "", "first", "half", "all", "away", "s", "MiB", "MiB"]),
    ];
    rows.extend(done.iter().flat_map(Step::restarts));
    show("The control plane ends and is started again; from that start", &rows);
}
