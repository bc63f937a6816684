//! What people see of the mesh's traffic, from its own memory: the control plane's commands and its
//! `/api`, with sidecars that report by themselves.

mod kept;
mod open;
mod told;

use std::time::Duration;

use serde_json::Value;

use crate::harness::{App, ControlPlane, within};

/// Until what happened is told. Sidecars report every few seconds: on a machine that has nothing
/// else to do it takes 7 s at most.
const TOLD: Duration = Duration::from_secs(30);

/// Answers 500 below `/fail`, else 200.
fn app() -> App {
    App::http(|request| match request.start.contains(" /fail") {
        true => b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n".to_vec(),
        false => App::answer("ok"),
    })
}

/// The answer of a command, as JSON.
#[track_caller]
fn asked(plane: &ControlPlane, arguments: &[&str]) -> Value {
    let said = plane.done(&[arguments, &["-o", "json"]].concat());
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {said}"))
}

/// One of a list, by a field.
fn one<'a>(list: &'a Value, field: &str, value: &str) -> Option<&'a Value> {
    list.as_array()?.iter().find(|row| row[field] == value)
}

/// Requests to a service within the last half hour, and how many of them failed.
#[track_caller]
fn counted(plane: &ControlPlane, service: &str) -> (u64, u64) {
    let told = asked(plane, &["stat", "--window", "30m"]);
    let row = one(&told["services"], "name", service);
    let number = |field: &str| row.and_then(|row| row[field].as_u64()).unwrap_or_default();
    (number("requests"), number("failures"))
}

/// Waits until just so many requests to a service were told, and so many of them as failed.
#[track_caller]
fn await_counted(plane: &ControlPlane, service: &str, expected: (u64, u64)) {
    let mut last = None;
    within(TOLD, &format!("{expected:?} of {service} are told"), || {
        let now = counted(plane, service);
        if last.replace(now) != Some(now) {
            eprintln!("told of {service}: {now:?}");
        }
        now == expected
    });
}
