//! A control plane that is killed: what it acknowledged is there, and every commit is whole.
//!
//! The test runs itself as a child that commits in a loop and says which commits were
//! acknowledged, and kills it after a random number of them.

use std::io::{BufRead, BufReader, Write as _};
use std::process::{Command, Stdio};

use super::*;
use crate::runtime::clock::Rng;

const DATA: &str = "OUTRIGGER_TEST_STORE";
const LANES: usize = 4;
const KEYS: usize = 3;

/// The same number under several keys, again and again, from several tasks at once.
async fn commit_for_ever(store: Arc<Embedded>, lane: usize, begin: u64) {
    for number in begin.. {
        let write = |n| put(&format!("{lane}/{n}"), Expect::Any, &number.to_string());
        store.commit((0..KEYS).map(write).collect()).await.expect("made");
        // One call a line, past the capture of the test's output.
        let line = format!("{lane} {number}\n");
        std::io::stdout().lock().write_all(line.as_bytes()).expect("the parent reads");
    }
}

/// Does nothing unless the other test runs it.
#[test]
fn child() {
    let Ok(data) = std::env::var(DATA) else { return };
    let store = Arc::new(Embedded::open(data.as_ref()).expect("sound after a kill"));
    let (_, held) = held(&store);
    // The harness may have begun a line.
    std::io::stdout().lock().write_all(b"\n").expect("the parent reads");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let mut lanes = tokio::task::JoinSet::new();
        for lane in 0..LANES {
            let begin = held.get(&format!("{lane}/0")).map_or(0, |held| held.1.parse().expect("n"));
            lanes.spawn(commit_for_ever(Arc::clone(&store), lane, begin + 1));
        }
        lanes.join_next().await.expect("lanes").expect("no panic");
    });
}

/// Runs the child until it acknowledged `count` commits, then kills it; the newest of each lane.
fn run_and_kill(folder: &Folder, count: usize, newest: &mut [u64; LANES]) {
    let mut child = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "--nocapture", "control::store::embedded::tests::crash::child"])
        .env(DATA, &folder.0)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("spawned");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut take = |line: &str| {
        let (lane, number) = line.split_once(' ')?;
        let (lane, number) = (lane.parse::<usize>().ok()?, number.parse().ok()?);
        newest[lane] = number;
        Some(())
    };
    let mut taken = 0;
    while taken < count {
        let line = lines.next().expect("it never ends by itself").expect("readable");
        taken += usize::from(take(&line).is_some());
    }
    child.kill().expect("killed");
    // What it said before it died counts too.
    for line in lines.map_while(Result::ok) {
        take(&line);
    }
    child.wait().expect("dead");
}

#[test]
fn what_was_acknowledged_survives_a_kill() {
    let folder = Folder::new();
    let mut rng = Rng::seeded(11);
    let mut newest = [0; LANES];
    for round in 0..20 {
        run_and_kill(&folder, 1 + rng.below(60), &mut newest);
        let (_, held) = held(&folder.open());
        for (lane, acknowledged) in newest.iter_mut().enumerate() {
            let found: Vec<_> = (0..KEYS).map(|n| held.get(&format!("{lane}/{n}"))).collect();
            assert!(found.iter().all(|held| *held == found[0]), "round {round}: {found:?}");
            let number = found[0].map_or(0, |held| held.1.parse().expect("a number"));
            // One commit may have been made whose answer was not heard.
            let allowed = *acknowledged..=*acknowledged + 1;
            assert!(allowed.contains(&number), "round {round}: {acknowledged} became {number}");
            // The next run begins from here, even if it is killed before this lane says a word.
            *acknowledged = number;
        }
    }
    assert!(newest.iter().all(|number| *number > 20), "{newest:?}");
}
