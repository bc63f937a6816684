//! A root replaced under load, with twenty sidecars, one of them restarted in each phase, and with a
//! connection that lasts longer than all of it.

use std::time::{Duration, Instant};

use crate::harness::{App, ControlPlane, Load, Member, Wire, eventually, service, within};

use super::WEB;

const DB: &str = "db.default:5432";

/// Ten instances and ten callers, on two cores with whatever else runs.
const PATIENCE: Duration = Duration::from_secs(120);

/// A connection that says something again and again.
fn talks(mut wire: Wire, stop: std::sync::mpsc::Receiver<()>) -> usize {
    let mut told = 0;
    while stop.try_recv().is_err() {
        wire.send("ping");
        assert_eq!(wire.take(4), b"ping", "after {told} words");
        told += 1;
        std::thread::sleep(Duration::from_millis(100));
    }
    told
}

fn roots(member: &Member) -> usize {
    let page = member.sidecar.json("/certs");
    page["trustBundle"].as_array().map_or(0, Vec::len)
}

#[test]
fn a_root_is_replaced_with_twenty_sidecars_under_load() {
    let plane = ControlPlane::start(&["--cert-lifetime", "20s", "--lease", "4s"]);
    plane.apply(&service("web"));
    plane.apply(&service("db").replace("port: 80", "port: 5432"));
    let apps: Vec<App> = (0..9).map(|_| App::ok()).collect();
    let (db, _ends) = App::fours("none");
    let mut instances: Vec<Member> =
        (0..9).map(|at| plane.plan(&format!("web-{at}")).app(apps[at].address).spawn()).collect();
    let db_sidecar = plane.plan("db-1").app(db.address).start();
    // All have the root of the beginning in their trustAnchors.
    let callers: Vec<Member> = (0..10)
        .map(|at| plane.plan(&format!("client-{at}")).calls(WEB).calls(DB).spawn())
        .collect();
    for member in instances.iter_mut() {
        member.sidecar.wait_ready();
    }
    within(PATIENCE, "everybody is there", || {
        callers.iter().all(|caller| {
            caller.sidecar.try_admin("GET", "/ready", "").is_some_and(|a| a.status() == 200)
                && caller.endpoints(WEB) == Some(9)
        })
    });
    let loads: Vec<Load> =
        callers.iter().map(|caller| Load::steady(caller.upstreams[0], 20)).collect();
    let (hang_up, stop) = std::sync::mpsc::channel();
    let wire = Wire::connect(callers[0].upstreams[1]);
    let talking = std::thread::spawn(move || talks(wire, stop));
    let first_root = plane.anchors_pem();
    let late: Vec<_> = ["web-a", "web-b"].map(|name| plane.plan(name)).into();
    let mut late = late.into_iter();

    let begun = Instant::now();
    let said = plane.done(&["ca", "rotate", "root"]);
    assert!(said.contains("distribute for "), "{said}");
    let mut restart = |plane: &ControlPlane, phase: &str| {
        within(PATIENCE, phase, || plane.phase() == phase);
        let mut leaves = instances.pop().expect("one is left");
        leaves.sidecar.sigterm();
        assert!(leaves.sidecar.exit(Duration::from_secs(20)).success());
        let name = format!("web-{phase}");
        instances.insert(0, plane.plan(&name).app(apps[8].address).start());
        eprintln!("{name} took another's place, {:?} after the beginning", begun.elapsed());
    };
    restart(&plane, "distribute");
    restart(&plane, "use");
    // A machine that knows the old root alone comes in as long as that is trusted.
    let joins = late.next().expect("planned").app(apps[0].address).start();
    let status = plane.ca();
    assert_eq!(status["roots"].as_array().map(Vec::len), Some(2), "{status}");
    let waits = status["rotation"]["waitsFor"][0].as_str().unwrap_or_default();
    assert!(waits.contains("the last certificate below the old root ends at"), "{status}");
    within(PATIENCE, "the old root has left", || plane.phase().is_empty());
    eprintln!("the root was replaced in {:?}", begun.elapsed());
    let mut gone = instances.pop().expect("one is left");
    gone.sidecar.sigterm();
    gone.sidecar.exit(Duration::from_secs(20));
    instances.push(plane.plan("web-new").app(apps[8].address).start());

    assert_ne!(plane.anchors_pem(), first_root, "the file for those who join");
    for member in instances.iter().chain(&callers).chain([&db_sidecar, &joins]) {
        eventually("it trusts the new root alone", || roots(member) == 1);
    }
    for load in &loads {
        load.goes_on(20);
    }
    hang_up.send(()).expect("it talks");
    let told = talking.join().expect("the connection lasted");
    assert!(told > 50, "{told} words");
    for load in loads {
        load.lost_nothing();
    }
    // Who has only the old root does not take us for the control plane any more.
    let stranger = late.next().expect("planned").app(apps[0].address).spawn();
    stranger.sidecar.await_log("did not prove to be the control plane");
}

#[test]
fn a_control_plane_killed_in_each_phase_goes_on_and_force_does_not_wait() {
    let mut plane = ControlPlane::start(&["--lease", "3s"]);
    plane.apply(&service("web"));
    let app = App::ok();
    let web = plane.instance("web-1", app.address);
    let client = plane.caller("client-1", &[WEB]);
    eventually("it is served", || client.ask("web").status() == 200);
    let forced = plane.run(&["ca", "rotate", "root", "--force"]);
    assert!(forced.code == Some(1) && forced.err.contains("no root is being"), "{forced:?}");
    // One that is away is waited for, by name.
    web.sidecar.signal(libc::SIGSTOP);
    plane.done(&["ca", "rotate", "root"]);
    let waits = |plane: &ControlPlane| plane.ca()["rotation"]["waitsFor"].to_string();
    eventually("it waits for it", || {
        waits(&plane).contains("web-1.default has not said that it trusts the new root")
    });
    plane.restart();
    assert_eq!(plane.phase(), "distribute", "{}", plane.ca());
    web.sidecar.signal(libc::SIGCONT);
    within(PATIENCE, "it is used", || plane.phase() == "use");
    plane.restart();
    let status = plane.ca();
    assert_eq!(status["rotation"]["phase"], "use", "{status}");
    assert!(status["rotation"]["next"].as_str().is_some_and(|text| text.contains("ca.pem")));
    // Whoever is away when it leaves is told nothing more.
    eventually("both are back", || plane.metric("outrigger_control_sessions", &[]) == 2.0);
    // Leaves of a day are left, unless somebody decides otherwise.
    plane.done(&["ca", "rotate", "root", "--force"]);
    within(PATIENCE, "the old root has left", || plane.phase().is_empty());
    assert_eq!(plane.ca()["roots"].as_array().map(Vec::len), Some(1));
    eventually("both know", || roots(&web) == 1 && roots(&client) == 1);
    assert!(plane.metric("outrigger_control_root_rotation_phase", &[]) == 0.0);
    assert!(plane.metric("outrigger_control_roots", &[]) == 1.0);
}
