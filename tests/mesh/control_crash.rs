//! A control plane that is killed again and again while much is asked of it: what it acknowledged is
//! there afterwards, whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use outrigger::identity::Svid;
use outrigger::wire::v1;
use outrigger::wire::v1::configuration_client::ConfigurationClient;
use outrigger::wire::v1::tokens_client::TokensClient;
use tonic::{Code, Status};

use crate::harness::ControlPlane;
use crate::harness::caller::{Applicant, Caller};

const ROUNDS: (u32, u32) = (15, 100);
/// Each writes its own set.
const WRITERS: usize = 3;
const JOINERS: usize = 2;
/// Resources in a set.
const SET: usize = 5;

/// What was acknowledged.
#[derive(Default)]
struct Acknowledged {
    /// The newest generation of each writer's set, and the one that it asked for since.
    sets: [(u64, u64); WRITERS],
    joined: Vec<Joined>,
}

/// A workload that joined and registered.
struct Joined {
    name: String,
    token: String,
    svid: Svid,
}

fn lock(acknowledged: &Mutex<Acknowledged>) -> MutexGuard<'_, Acknowledged> {
    acknowledged.lock().unwrap_or_else(PoisonError::into_inner)
}

fn set(writer: usize, generation: u64) -> String {
    let one = |number: usize| {
        format!(
            "---\napiVersion: v1\nkind: Service\n\
             metadata: {{name: set-{writer}-{number}, namespace: default, labels: {{generation: g{generation}}}}}\n\
             spec: {{selector: {{app: none}}, ports: [{{port: 80}}]}}\n"
        )
    };
    (0..SET).map(one).collect()
}

/// Applies one generation after another, whatever happens to the control plane.
fn write(writer: usize, operator: &Caller, acknowledged: &Mutex<Acknowledged>, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        let generation = lock(acknowledged).sets[writer].1 + 1;
        lock(acknowledged).sets[writer].1 = generation;
        let document = v1::Document { source: "set".into(), text: set(writer, generation) };
        let request = v1::ApplyRequest { documents: vec![document], ..Default::default() };
        let applied = operator.call(async |channel| {
            ConfigurationClient::new(channel).apply(operator.request(request)).await
        });
        match applied {
            Ok(answer) => {
                assert!(answer.faults.is_empty(), "{:?}", answer.faults);
                lock(acknowledged).sets[writer].0 = generation;
            }
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Makes tokens and joins with them, one workload after another.
fn join(
    joiner: usize,
    operator: &Caller,
    nobody: &Caller,
    all: &Mutex<Acknowledged>,
    stop: &AtomicBool,
) {
    for number in 0.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let name = format!("app-{joiner}-{number}");
        match joined(&name, operator, nobody) {
            Ok(joined) => lock(all).joined.push(joined),
            Err(_) => thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn joined(name: &str, operator: &Caller, nobody: &Caller) -> Result<Joined, Status> {
    let request = v1::CreateTokenRequest {
        namespace: "default".into(),
        service_account: "app".into(),
        labels: [("app".to_owned(), "app".to_owned())].into(),
        ttl_ms: 3_600_000,
        uses: 1,
        ..v1::CreateTokenRequest::default()
    };
    let token = operator
        .call(async |channel| TokensClient::new(channel).create(operator.request(request)).await)?;
    let (token, applicant) = (token.token, Applicant::new("app"));
    let svid = applicant.certified(nobody.enroll(&applicant.request, &token)?);
    let errors = nobody.clone().showing(&svid).register(name, "app")?;
    assert!(errors.is_empty(), "{errors:?}");
    Ok(Joined { name: name.to_owned(), token, svid })
}

/// The generations of each writer's set, as they are held.
fn held_sets(plane: &ControlPlane) -> Vec<BTreeSet<(u64, usize)>> {
    let operator = plane.operator();
    let request = v1::ListRequest { kind: "Service".into(), ..v1::ListRequest::default() };
    let list = operator.call(async |channel| {
        ConfigurationClient::new(channel).list(operator.request(request)).await
    });
    let mut counts: Vec<BTreeMap<u64, usize>> = vec![BTreeMap::new(); WRITERS];
    for resource in list.expect("it runs").resources {
        let manifest: serde_json::Value =
            serde_json::from_str(&resource.manifest).expect("a manifest in JSON");
        let name = manifest["metadata"]["name"].as_str().expect("a name").to_owned();
        let writer: usize = name.split('-').nth(1).and_then(|n| n.parse().ok()).expect("ours");
        let generation = manifest["metadata"]["labels"]["generation"].as_str();
        let generation = generation.and_then(|g| g[1..].parse().ok()).expect("a generation");
        *counts[writer].entry(generation).or_default() += 1;
    }
    counts.into_iter().map(|counts| counts.into_iter().collect()).collect()
}

/// Everything acknowledged is there, and no set in part. `from`: those who joined since the last
/// look; of the others a few are asked.
#[track_caller]
fn assert_whole(plane: &ControlPlane, before: &Acknowledged, from: usize) {
    for (writer, held) in held_sets(plane).into_iter().enumerate() {
        let (acknowledged, asked) = before.sets[writer];
        let generations: Vec<u64> = held.iter().map(|(generation, _)| *generation).collect();
        match generations[..] {
            [] => assert_eq!(acknowledged, 0, "set {writer} is gone"),
            [one] => {
                assert!(
                    (acknowledged..=asked).contains(&one),
                    "set {writer}: {one}, not {acknowledged} or what was asked after it"
                );
                assert_eq!(held, BTreeSet::from([(one, SET)]), "set {writer}");
            }
            _ => panic!("set {writer} is of several generations: {held:?}"),
        }
    }
    let registered: BTreeSet<String> = plane.registrations().into_iter().collect();
    for Joined { name, .. } in &before.joined {
        assert!(registered.contains(&format!("{name}.default")), "{name} is not registered");
    }
    let stranger = Applicant::new("app");
    let few = before.joined.iter().take(from).step_by(17).chain(before.joined.iter().skip(from));
    for Joined { name, token, svid } in few {
        let refused = plane.nobody().enroll(&stranger.request, token).expect_err("used up");
        assert!(
            refused.code() == Code::Unauthenticated && refused.message().contains("used up"),
            "{refused}"
        );
        let welcome = plane.nobody().showing(svid).welcome(name);
        assert!(welcome.is_ok(), "{name} has a certificate, and no session: {welcome:?}");
    }
}

#[test]
fn what_was_acknowledged_survives_any_crash_and_no_set_is_in_part() {
    let long = std::env::var_os("OUTRIGGER_LONG").is_some();
    let rounds = if long { ROUNDS.1 } else { ROUNDS.0 };
    // So long that nobody leaves who does not come back.
    let mut plane = ControlPlane::start(&["--lease", "1h"]);
    let all = Mutex::new(Acknowledged::default());
    let mut looked = 0;
    for round in 0..rounds {
        let (operator, nobody, stop) = (plane.operator(), plane.nobody(), AtomicBool::new(false));
        let (all, stop) = (&all, &stop);
        thread::scope(|scope| {
            for writer in 0..WRITERS {
                let operator = operator.clone();
                scope.spawn(move || write(writer, &operator, all, stop));
            }
            for joiner in 0..JOINERS {
                let (operator, nobody) = (operator.clone(), nobody.clone());
                let joiner = joiner + JOINERS * round as usize;
                scope.spawn(move || join(joiner, &operator, &nobody, all, stop));
            }
            // Each round ends elsewhere in what is under way.
            thread::sleep(Duration::from_millis(150 + u64::from(round * 37 % 101)));
            plane.kill();
            stop.store(true, Ordering::SeqCst);
        });
        plane.restart();
        let before = lock(all);
        assert_whole(&plane, &before, looked);
        looked = before.joined.len();
    }
    let all = lock(&all);
    eprintln!("{rounds} crashes; sets {:?}, {} workloads joined", all.sets, all.joined.len());
    assert!(all.sets.iter().all(|(acknowledged, _)| *acknowledged > 0) && !all.joined.is_empty());
}
