//! Whole lives of certificates, with the control plane away for part of the time.

use std::time::{Duration, Instant};

use super::Scene;
use crate::harness::{ControlPlane, Wire, get, within};

fn is_long() -> bool {
    std::env::var_os("OUTRIGGER_LONG").is_some()
}

/// In the long run certificates of 5 s, which are replaced after some 3 s. A control plane that is back
/// within a second is not missed; one that stays away for longer than they last is, and everything
/// comes back by itself.
#[test]
fn certificates_last_a_whole_life() {
    let (length, lifetime) = if is_long() { (120, "5s") } else { (15, "15s") };
    let length = Duration::from_secs(length);
    let plane = ControlPlane::start(&["--cert-lifetime", lifetime, "--lease", "30s"]);
    let mut scene = Scene::set(plane);
    let begun = Instant::now();
    let (mut restarts, mut serials) = (0, vec![scene.serials()]);
    while begun.elapsed() < length {
        let before = serials.last().cloned().unwrap_or_default();
        within(Duration::from_secs(20), "everybody has another certificate", || {
            scene.serials().iter().zip(&before).all(|(now, before)| now != before)
        });
        scene.plane.kill();
        scene.plane.restart();
        restarts += 1;
        serials.push(scene.serials());
        scene.load.goes_on(50);
    }
    let lives = serials.len() - 1;
    eprintln!("{lives} certificates each, {restarts} restarts in {:?}", begun.elapsed());
    let Scene { load, mut plane, members, _apps } = scene;
    load.lost_nothing();

    plane.kill();
    let to = members[2].upstreams[0];
    let status = || Wire::connect(to).ask(get("/")).status();
    let away = Instant::now();
    assert_eq!(status(), 200, "certificates last without it");
    within(Duration::from_secs(30), "they have ended", || status() >= 500);
    eprintln!("refused {:?} after the control plane went", away.elapsed());
    plane.restart();
    let back = Instant::now();
    // Whoever has no certificate left tries again within 15 s, and an attempt takes up to 5 s.
    let patience = Duration::from_secs(30);
    within(patience, "it is served again, and nobody did anything", || status() == 200);
    eprintln!("served {:?} after it came back", back.elapsed());
    let load = crate::harness::Load::steady(to, 100);
    let more = if is_long() { 1_000 } else { 200 };
    within(Duration::from_secs(60), "it goes on", || load.done() >= more);
    load.lost_nothing();
}
