//! Deadlines: relative, only ever reduced, never forwarded when they have passed.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{App, Pair, each_way, get, get_with};

fn left(value: Option<&str>) -> u64 {
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no deadline: {value:?}"))
}

#[test]
fn a_deadline_is_passed_on_reduced() {
    each_way(App::ok, |mesh, app| {
        assert_eq!(mesh.ask(get_with("/", "X-Outrigger-Deadline-Ms: 5000\r\n")).status(), 200);
        let left = left(app.only_request().header("x-outrigger-deadline-ms"));
        assert!((1..=5000).contains(&left), "{left}");
        assert!(left > 2000, "{left} ms of 5000 are left after one hop");
    });
}

#[test]
fn without_a_deadline_none_is_made() {
    each_way(App::ok, |mesh, app| {
        mesh.ask(get("/"));
        assert_eq!(app.only_request().header("x-outrigger-deadline-ms"), None);
    });
}

#[test]
fn a_passed_deadline_is_not_forwarded() {
    each_way(App::ok, |mesh, app| {
        let answer = mesh.ask(get_with("/", "X-Outrigger-Deadline-Ms: 0\r\n"));
        assert_eq!((answer.status(), answer.reason()), (504, Some("deadline-passed")));
        assert_eq!(app.connections(), 0);
    });
}

#[test]
fn an_app_that_exceeds_the_deadline_is_not_waited_for() {
    let app = || {
        App::http(|_| {
            thread::sleep(Duration::from_secs(3));
            App::answer("late")
        })
    };
    each_way(app, |mesh, _| {
        let begun = Instant::now();
        let answer = mesh.ask(get_with("/", "X-Outrigger-Deadline-Ms: 300\r\n"));
        assert_eq!(answer.status(), 504, "{:?}", answer);
        assert!(
            matches!(answer.reason(), Some("request-timeout" | "deadline-passed")),
            "{:?}",
            answer.reason()
        );
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(250) && took < Duration::from_secs(2), "{took:?}");
    });
}

#[test]
fn nonsense_is_no_deadline() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    for value in ["soon", "-1", "99999999999999999999", ""] {
        let answer = mesh.ask(get_with("/", &format!("X-Outrigger-Deadline-Ms: {value}\r\n")));
        assert_eq!(answer.status(), 200, "{value:?}: {}", answer.text());
    }
}
