//! Where a scenario is played: before a real API server, with a recorder between, or before a
//! transcript.
//!
//! Scenarios don't know which: they have a client for our own code, people who do what nobody of us
//! does, and a way between our code and the server that can be cut.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kube::Client;
use outrigger::control::kube::{Settings, connect};
use outrigger::control::webhook::Tls;

use super::call::relay;
use super::compare::OfTheDay;
use super::door::kubeconfig;
use super::people::People;
use super::record::Recorder;
use super::replay::Replay;
use super::transcript::{Line, Who, load, store};
use super::way::{Fault, Way, sound};
use crate::harness::{Cluster, Folder, SOON};

/// A scenario, by the name of its transcript.
#[derive(Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    /// Fields of what is written that differ from run to run.
    pub of_the_day: OfTheDay,
}

pub struct Stage {
    /// Our code's way.
    pub mesh: Client,
    pub people: People,
    pub way: Way,
    backing: Backing,
    patience: Duration,
}

/// What is behind it.
enum Backing {
    Server(Arc<Mutex<Cluster>>),
    Recorded(Arc<Mutex<Cluster>>, Recorder),
    Transcript(Replay),
}

/// Plays it: where there is a real server before that, and in any case before the transcript.
///
/// # Panics
/// When it fails.
pub fn play(scenario: Scenario, act: impl AsyncFn(&Stage)) {
    let has_server = std::env::var_os("KUBEBUILDER_ASSETS").is_some();
    let records = match std::env::var("TRANSCRIPTS").as_deref() {
        Ok("record") => true,
        Ok(other) => panic!("TRANSCRIPTS={other}: expected `record`, or nothing"),
        Err(_) => false,
    };
    assert!(has_server || !records, "KUBEBUILDER_ASSETS names no folder to record from");
    if has_server {
        live(scenario, records, &act);
    }
    replay(scenario, load(scenario.name), sound, SOON, &act);
}

/// Plays it before these lines, with a fault in our code's way.
///
/// # Panics
/// When it fails, with what was asked for otherwise than it was recorded.
pub fn replay(
    scenario: Scenario,
    lines: Vec<Line>,
    fault: Fault,
    patience: Duration,
    act: &impl AsyncFn(&Stage),
) {
    runtime().block_on(async {
        let (replay, address) = Replay::start(lines, scenario.of_the_day, patience).await;
        let backing = Backing::Transcript(replay.clone());
        let stage = Stage::at_door(backing, address, fault, patience).await;
        let whole = async {
            act(&stage).await;
            stage.eventually("all was asked for that was recorded", async || !stage.misses()).await;
        };
        tokio::select! {
            // Whatever the scenario makes of the refusal, the cause is said first.
            biased;
            objections = replay.objections() => panic!("{}", said(&objections)),
            () = whole => {}
        }
        let objections = replay.objections_so_far();
        assert!(objections.is_empty(), "{}", said(&objections));
    });
}

fn said(objections: &[String]) -> String {
    let list = objections.join("\n");
    format!("not as it was recorded (record anew if it should be otherwise):\n{list}")
}

fn live(scenario: Scenario, records: bool, act: &impl AsyncFn(&Stage)) {
    let cluster = Cluster::own().expect("its folder is known");
    let kubeconfig = cluster.kubeconfig();
    // It has a runtime of its own, which may not end within another.
    let cluster = Arc::new(Mutex::new(cluster));
    // Whatever is started here is in the cluster's network, as this thread is.
    runtime().block_on(async {
        let server = client(&kubeconfig).await;
        let people = People(server.clone());
        for namespace in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            let path = format!("/api/v1/namespaces/{namespace}");
            wait(SOON, &path, async || people.0.request_text(get(&path)).await.is_ok()).await;
        }
        if records {
            let (recorder, address) = Recorder::start(server).await;
            let backing = Backing::Recorded(Arc::clone(&cluster), recorder.clone());
            let stage = Stage::at_door(backing, address, sound, SOON).await;
            act(&stage).await;
            store(scenario.name, recorder.lines());
        } else {
            let (way, backing) = (Way::new(), Backing::Server(Arc::clone(&cluster)));
            let mesh = way.over(server, sound);
            let stage = Stage { mesh, people, way, backing, patience: SOON };
            act(&stage).await;
        }
    });
}

fn runtime() -> tokio::runtime::Runtime {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().expect("a runtime")
}

fn get(path: &str) -> http::Request<Vec<u8>> {
    http::Request::get(path).body(Vec::new()).expect("a request")
}

async fn client(kubeconfig: &std::path::Path) -> Client {
    let settings = Settings {
        kubeconfig: Some(kubeconfig.to_owned()),
        namespace: "outrigger-system".into(),
        replica: "one".into(),
        copies: None,
        webhook: None,
    };
    connect(&settings).await.expect("a client")
}

/// Waits until `condition` holds.
async fn wait(patience: Duration, what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + patience;
    while !condition().await {
        assert!(Instant::now() < until, "not within {patience:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Stage {
    async fn at_door(
        backing: Backing,
        address: SocketAddr,
        fault: Fault,
        patience: Duration,
    ) -> Self {
        let folder = Folder::new("door");
        let mut clients = Vec::new();
        for who in [Who::Mesh, Who::People] {
            let text = kubeconfig(address, who).to_string();
            clients.push(client(&folder.write(who.token(), text)).await);
        }
        let (people, mesh) = (clients.pop().expect("two"), clients.pop().expect("two"));
        let way = Way::new();
        let mesh = way.over(mesh, fault);
        Self { mesh, people: People(people), way, backing, patience }
    }

    /// Waits until `condition` holds.
    ///
    /// # Panics
    /// When it does not hold soon.
    pub async fn eventually(&self, what: &str, mut condition: impl AsyncFnMut() -> bool) {
        let until = Instant::now() + self.patience;
        loop {
            if condition().await {
                return;
            }
            let missing = self.missing();
            assert!(Instant::now() < until, "not within {:?}: {what}{missing}", self.patience);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Does with the server what no request does; a transcript shows what followed from it.
    pub async fn aside(&self, act: impl AsyncFnOnce(&Mutex<Cluster>)) {
        match &self.backing {
            Backing::Server(cluster) | Backing::Recorded(cluster, _) => act(cluster).await,
            Backing::Transcript(_) => {}
        }
    }

    /// A point from which on the server may say other things.
    pub fn mark(&self, name: &str) {
        match &self.backing {
            Backing::Server(_) => {}
            Backing::Recorded(_, recorder) => recorder.mark(name),
            Backing::Transcript(replay) => replay.mark(name),
        }
    }

    /// Where the API server is to call the webhook at `behind`.
    pub async fn door(&self, tls: &Tls, behind: SocketAddr, roots: &str) -> SocketAddr {
        match &self.backing {
            Backing::Recorded(_, recorder) => {
                relay(recorder.clone(), Tls::clone(tls), behind, roots).await
            }
            Backing::Server(_) | Backing::Transcript(_) => behind,
        }
    }

    fn misses(&self) -> bool {
        matches!(&self.backing, Backing::Transcript(replay) if !replay.missing().is_empty())
    }

    fn missing(&self) -> String {
        let Backing::Transcript(replay) = &self.backing else { return String::new() };
        let missing = replay.missing();
        let list = if missing.is_empty() { "nothing".to_owned() } else { missing.join("\n  ") };
        format!("\nasked for when it was recorded, and not now:\n  {list}")
    }
}
