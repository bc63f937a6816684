//! What a panic costs: one connection, one call or one step of a task, and never a neighbour.
//!
//! The programs are those of every other scenario; built for tests they have a page that makes the
//! next one to pass a place panic (`POST /panic?at=…`), which a release has not.
#![cfg(debug_assertions)]

mod control;
mod data;
mod lasting;

use crate::harness::{Sidecar, eventually};

/// Has the next one at this place panic.
#[track_caller]
fn arm(sidecar: &Sidecar, at: &str) {
    let answer = sidecar.post(&format!("/panic?at={at}"));
    assert_eq!(answer.status(), 202, "{}", answer.text());
}

fn panics(sidecar: &Sidecar) -> f64 {
    sidecar.metric("outrigger_task_panics_total", &[])
}

/// It is counted, and told once with its place.
#[track_caller]
fn told_once(sidecar: &Sidecar, at: &str) {
    eventually("the panic is counted", || panics(sidecar) == 1.0);
    let log = sidecar.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("rehearsed")).collect();
    assert!(told.len() == 1 && told[0].contains(at), "{told:?}");
}
