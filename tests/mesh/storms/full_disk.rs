//! The control plane's disk is full: it says so to whoever changes something, forgets nothing, and
//! goes on with all that needs no room. Certificates that it gives need some, and are asked for
//! again; with room, all is as it was.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::time::{Duration, Instant};

use crate::harness::{App, ControlPlane, Load, Member, eventually, service, within};

const WEB: &str = "web.default:80";

/// Takes all the room that is left.
fn fill(file: &mut File) {
    for size in [64 << 10, 4 << 10, 1] {
        let bytes = vec![b'x'; size];
        loop {
            match file.write(&bytes) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// A service with half a megabyte of words about it.
fn wordy(number: usize) -> String {
    let words: String =
        (0..8).map(|n| format!("word-{n}: {}\n      ", "x".repeat(60_000))).collect();
    format!(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: wordy-{number}\n  namespace: default\n  \
         annotations:\n      {words}\nspec: {{selector: {{app: wordy}}, ports: [{{port: 80}}]}}\n"
    )
}

#[test]
fn a_full_disk_stops_changes_and_nothing_else() {
    // Certificates are due after 9 to 10 s.
    let arguments = ["--cert-lifetime", "15s"];
    let Some(plane) = ControlPlane::on_a_small_disk(16, &arguments) else { return };
    plane.apply(&service("web"));
    let app = App::ok();
    let web = plane.instance("web-1", app.address);
    let caller = plane.caller("client-1", &[WEB]);
    eventually("the instance is known", || caller.endpoints(WEB) == Some(1));
    let token = plane.token("late", &["--label", "app=late"]);
    let load = Load::steady(caller.upstreams[0], 100);
    load.goes_on(20);

    let at = plane.data().join("filler");
    let mut filler = File::create(&at).expect("there is room yet");
    let mut applied = 0;
    let mut refused = || {
        for _ in 0..64 {
            // What the store has to spare inside is used up, too.
            fill(&mut filler);
            let said = plane.try_apply(&wordy(applied));
            if said.code != Some(0) {
                return said.err;
            }
            applied += 1;
        }
        panic!("it never was full");
    };
    let words = refused();
    let full = Instant::now();
    eprintln!("{}", words.trim());
    assert!(words.contains("No space left on device"), "{words}");
    let serials = || [web.serial(), caller.serial()];
    let (first, done) = (serials(), load.done());
    let is_told =
        |member: &Member| member.sidecar.log().contains("the certificate was not renewed");
    within(Duration::from_secs(12), "certificates are due", || {
        is_told(&web) || serials().iter().zip(&first).any(|(now, first)| now != first)
    });
    assert!(load.done() > done + 100, "traffic stands still");
    assert_eq!(refused(), words, "still full");
    assert_eq!(plane.registrations(), ["web-1.default"]);
    assert!(caller.is_connected() && web.is_connected());
    let was_full = full.elapsed();

    std::fs::remove_file(&at).expect("it is ours");
    drop(filler);
    let room = Instant::now();
    eventually("changes are taken", || plane.try_apply(&service("late")).code == Some(0));
    let taken = room.elapsed();
    eventually("certificates are renewed", || {
        serials().iter().zip(&first).all(|(now, first)| now != first)
    });
    let late_app = App::ok();
    let late: Member = plane.plan("late-1").token(&token).app(late_app.address).start();
    assert!(late.is_connected());
    eprintln!(
        "| the disk is full for {was_full:.1?} | {} requests, none lost | changes again after \
         {taken:.1?}, certificates and joins after {:.1?} |",
        load.done(),
        room.elapsed()
    );
    let listed = plane.done(&["get", "services", "-n", "default", "-o", "json"]);
    for name in (0..applied).map(|number| format!("\"wordy-{number}\"")) {
        assert!(listed.contains(&name), "{name} was promised and is gone");
    }
    assert!(!listed.contains(&format!("\"wordy-{applied}\"")), "what was refused is there");
    load.lost_nothing();
}
