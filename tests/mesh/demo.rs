//! `outrigger demo`: the whole mesh as a newcomer meets it, with its real control plane, as one
//! process that leaves nothing behind.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::harness::{Folder, eventually};

/// Whose identity each called service saw.
const EDGES: [(&str, &str, &str, &str); 4] = [
    ("shopper", "web", "http", "shopper"),
    ("web", "orders", "http", "web"),
    ("web", "prices", "grpc", "web"),
    ("orders", "ledger", "tcp", "orders"),
];

/// A demo, everything that it started, and the folder that it has for temporary files.
struct Demo {
    child: Child,
    folder: Folder,
    /// Everybody who was seen beside it.
    seen: BTreeSet<u32>,
}

impl Demo {
    fn start(arguments: &str) -> Demo {
        let folder = Folder::new("demo");
        fs::create_dir(folder.path("tmp")).expect("the folder is writable");
        let output = |name| File::create(folder.path(name)).expect("the folder is writable");
        let child = Command::new(env!("CARGO_BIN_EXE_outrigger"))
            .arg("demo")
            .args(arguments.split_whitespace())
            .env_clear()
            .env("TMPDIR", folder.path("tmp"))
            .stdin(Stdio::null())
            .stdout(output("out"))
            .stderr(output("err"))
            .spawn()
            .expect("the program starts");
        Demo { child, folder, seen: BTreeSet::new() }
    }

    fn look(&mut self) {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let children = children.unwrap_or_default();
        self.seen.extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
    }

    /// Waits for its end, and looks on meanwhile.
    fn finish(&mut self, limit: Duration) -> ExitStatus {
        let until = Instant::now() + limit;
        loop {
            self.look();
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            let err = self.folder.read("err");
            assert!(Instant::now() < until, "it does not end within {limit:?}:\n{err}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn signal(&self, signal: libc::c_int) {
        let id = libc::pid_t::try_from(self.child.id()).expect("a process id");
        // SAFETY: the child has not been waited for, so that the id is still its own.
        assert_eq!(unsafe { libc::kill(id, signal) }, 0);
    }

    /// Its report, checked for what every run must show.
    fn report(&self, status: ExitStatus) -> Value {
        let (out, err) = (self.folder.read("out"), self.folder.read("err"));
        let report: Value =
            serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}"));
        assert!(status.success(), "{status}: {out}{err}");
        assert_eq!(report["failed"], 0, "{out}");
        assert!(report["requests"].as_u64() > Some(100), "{out}");
        let edges = report["edges"].as_array().expect("edges");
        assert_eq!(edges.len(), EDGES.len());
        for (edge, (from, to, protocol, peer)) in edges.iter().zip(EDGES) {
            assert_eq!((&edge["from"], &edge["to"]), (&from.into(), &to.into()));
            assert_eq!(edge["protocol"], protocol);
            assert_eq!((&edge["failed"], &edge["mtls"]), (&0.into(), &true.into()), "{out}");
            assert_eq!(edge["peer"], format!("spiffe://cluster.local/ns/shop/sa/{peer}"));
            assert!(edge["requests"].as_u64() > Some(10), "{out}");
        }
        report
    }

    /// No process and no file.
    fn left_nothing(&self) {
        assert!(self.seen.len() >= 10, "only {:?} were seen", self.seen);
        eventually("every process of the demo is gone", || self.seen.iter().all(|id| is_gone(*id)));
    }

    fn left_no_file(&self) {
        let left = fs::read_dir(self.folder.path("tmp")).expect("it is ours");
        let left: Vec<_> = left.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Its processes go with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One that waits to be reaped is gone.
fn is_gone(id: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_none_or(|rest| rest.is_empty() || rest.starts_with(" Z"))
}

fn events(report: &Value) -> Vec<&str> {
    let events = report["events"].as_array().expect("events");
    events.iter().map(|event| event["what"].as_str().expect("a sentence")).collect()
}

#[test]
fn a_short_demo_is_flawless_and_leaves_nothing() {
    let mut demo = Demo::start("--for 3s --json");
    let status = demo.finish(Duration::from_secs(60));
    let report = demo.report(status);
    let events = events(&report);
    for expected in ["the control plane is ready", "9 sidecars are ready", "the load has ended"] {
        assert!(events.contains(&expected), "{expected}: {events:?}");
    }
    demo.left_nothing();
    demo.left_no_file();
}

#[test]
fn nothing_fails_while_instances_and_control_plane_come_and_go() {
    let mut demo = Demo::start("--chaos --seed 1 --for 20s --json");
    let status = demo.finish(Duration::from_secs(90));
    let report = demo.report(status);
    let events = events(&report);
    let count = |part: &str| events.iter().filter(|event| event.contains(part)).count();
    assert!(count(" drained in ") >= 2, "{events:?}");
    assert!(count("the control plane was killed") >= 1, "{events:?}");
    assert!(count("the control plane is back") >= 1, "{events:?}");
    // Each way to leave has its turn.
    let chaos = &report["chaos"];
    for way in ["restarted", "apps_killed", "killed_with_sidecar"] {
        assert!(chaos[way].as_u64() >= Some(1), "{way}: {chaos}");
    }
    assert!(count("and its sidecar were killed") >= 1, "{events:?}");
    assert!(count("the app of ") >= 1, "{events:?}");
    // Nobody restarts this one, and its certificates last less than the run.
    assert_eq!(count("shopper-1's certificate was replaced"), 1, "{events:?}");
    assert_eq!(count("shopper-1's certificate was replaced 0 times"), 0, "{events:?}");
    // Restarts leave nothing behind either.
    assert!(demo.seen.len() > 12, "{:?}", demo.seen);
    demo.left_nothing();
    demo.left_no_file();
}

#[test]
fn one_that_is_told_to_end_in_the_midst_of_it_leaves_nothing() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGKILL] {
        let mut demo = Demo::start("--chaos --keep");
        eventually("the shop opens", || demo.folder.read("err").contains("The shop is open"));
        demo.look();
        demo.signal(signal);
        demo.finish(Duration::from_secs(30));
        demo.left_nothing();
        if signal != libc::SIGKILL {
            demo.left_no_file();
        }
    }
}
