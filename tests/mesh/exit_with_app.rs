//! A sidecar that is an ordinary container leaves when the app beside it has.

use std::time::{Duration, Instant};

use crate::harness::processes::Pod;
use crate::harness::{Wire, eventually};

#[test]
fn the_sidecar_leaves_when_the_app_has() {
    // An app of another user, whose namespaces can't be read; one of the sidecar's own user, whom
    // only its namespaces tell apart.
    for user in [0, 2102] {
        eprintln!("an app of user {user}:");
        let Some(mut pod) = Pod::start(user) else { return };
        pod.await_log("sees the app");
        assert!(pod.is_running());
        let begun = Instant::now();
        pod.folder.write("gone", "");
        let status = pod.exit(Duration::from_secs(15));
        assert_eq!(status.code(), Some(0), "user {user}");
        assert!(begun.elapsed() >= Duration::from_secs(2), "one process may follow another");
        assert!(pod.log().contains("no process of the app is left"), "user {user}");
    }
}

#[test]
fn a_container_that_is_restarted_is_not_the_next_one() {
    let Some(mut pod) = Pod::of_two() else { return };
    pod.await_log("seen=1");
    pod.folder.write("gone1", "");
    eventually("it runs again", || pod.folder.path("runs2").exists());
    pod.folder.write("gone2", "");
    std::fs::write(pod.folder.path("image"), "is there\n").expect("a pipe that is read");
    eventually("the other one runs", || pod.folder.path("runs3").exists());
    pod.await_log("seen=2");
    assert_eq!(pod.log().matches("sees the app").count(), 2, "{}", pod.log());
    assert!(pod.is_running());
    pod.folder.write("gone3", "");
    assert_eq!(pod.exit(Duration::from_secs(15)).code(), Some(0));
    assert!(!pod.log().contains("not every container"), "{}", pod.log());
}

#[test]
fn a_sidecar_that_cannot_see_the_app_says_so_and_stays() {
    let Some(mut pod) = Pod::unshared() else { return };
    pod.await_log("shareProcessNamespace");
    let mut ready = false;
    eventually("it serves", || {
        ready |= std::net::TcpStream::connect(pod.admin).is_ok();
        ready
    });
    assert!(pod.is_running());
    let told = Wire::connect(pod.admin)
        .ask("POST /shutdown HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(told.status(), 202);
    assert_eq!(pod.exit(Duration::from_secs(10)).code(), Some(0), "an app can end it");
}
