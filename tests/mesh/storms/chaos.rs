//! Trouble in the network: lost packets, a pulled plug, resets, a peer that is frozen, a control
//! plane out of reach. Pods with real interception; GETs under the default policy.
//!
//! Each prints a line of a table. Where another instance, or patience, can save a request, none may
//! be lost.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::traffic::{Told, Traffic};
use crate::harness::pod::Pod;
use crate::harness::{App, Broken, Family, Pods, eventually, get, within};

/// Requests a second.
const RATE: u32 = 160;
/// Before trouble begins.
const CALM: Duration = Duration::from_secs(1);
/// Callers don't like to wait for longer.
const SLOW: Duration = Duration::from_millis(500);
/// Noise of a busy machine.
const ROOM: Duration = Duration::from_secs(3);

/// A caller, and two instances of what it calls.
struct Scene {
    client: Pod,
    instances: [Pod; 2],
    _apps: [App; 2],
    service: SocketAddr,
    pods: Pods,
    _alone: MutexGuard<'static, ()>,
}

/// Each is five processes: they run one after the other.
static ALONE: Mutex<()> = Mutex::new(());

impl Scene {
    fn set() -> Option<Scene> {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let pods = Pods::new(Family::V4)?;
        let ports = "{port: 80, targetPort: 8080, appProtocol: http}";
        let service = SocketAddr::new(pods.service("web", 10, ports), 80);
        let instances = ["web-1", "web-2"].map(|name| pods.pod(name).start());
        let apps = instances
            .each_ref()
            .map(|pod| pod.app(8080, |at| App::http_at(at, |_| App::answer("app"))));
        let client = pods.pod("client-1").start();
        let all_serve = || apps.iter().all(|app| !app.requests().is_empty());
        eventually("both serve", || client.ask(service, &get("/")).status() == 200 && all_serve());
        Some(Scene { client, instances, _apps: apps, service, pods, _alone: alone })
    }

    /// Traffic for so long, and trouble in it after [`CALM`]; when that had begun, and was over.
    #[track_caller]
    fn blow(&self, time: Duration, trouble: impl FnOnce()) -> (Told, Instant, Instant) {
        let traffic = Traffic { to: self.service, host: "web.default", per_second: RATE };
        let client = &self.client;
        thread::scope(|scope| {
            let told = scope.spawn(move || client.on(|| traffic.run(CALM + time)));
            thread::sleep(CALM);
            let begun = Instant::now();
            trouble();
            let over = Instant::now();
            (told.join().expect("callers run to their end"), begun, over)
        })
    }

    /// What comes to a pod from outside falls under this rule, as nft has it.
    #[track_caller]
    fn rule(pod: &Pod, rule: &str) {
        pod.host.shell(&format!(
            "nft add table inet chaos\n\
             nft add chain inet chaos input '{{ type filter hook input priority -300; }}'\n\
             nft add rule inet chaos input 'iifname eth0 {rule}'"
        ));
    }

    #[track_caller]
    fn no_rule(pod: &Pod) {
        pod.host.shell("nft delete table inet chaos");
    }
}

fn line(name: &str, told: &Told, begun: Instant, over: Instant) {
    eprintln!(
        "| {name} | {told} | slowest {:.1?} | lost {} | {} served in {:.1?} of trouble | calm \
         again {:.1?} after it |",
        told.slowest(),
        told.lost(),
        told.served_between(begun, over),
        over - begun,
        told.recovered_after(over, SLOW),
    );
}

#[test]
fn lost_packets_lose_no_request() {
    let Some(scene) = Scene::set() else { return };
    let pods = || scene.instances.iter().chain([&scene.client]);
    let (told, begun, over) = scene.blow(Duration::from_secs(6), || {
        pods().for_each(|pod| Scene::rule(pod, "numgen random mod 100 < 5 drop"));
        thread::sleep(Duration::from_secs(4));
        pods().for_each(Scene::no_rule);
    });
    line("one packet of twenty is lost, each way", &told, begun, over);
    assert_eq!(told.lost(), 0, "{told}");
    // Half of what is asked for comes through, in the midst of it.
    let wanted = RATE as f64 * (over - begun).as_secs_f64() / 2.0;
    assert!(told.served_between(begun, over) as f64 > wanted, "{told}");
    assert!(told.recovered_after(over, SLOW) < ROOM, "{told}");
}

#[test]
fn a_link_that_is_down_for_3_s_loses_no_request() {
    let Some(scene) = Scene::set() else { return };
    for (name, pod) in [("an instance's", &scene.instances[0]), ("the caller's", &scene.client)] {
        let (told, begun, over) = scene.blow(Duration::from_secs(6), || {
            scene.pods.plug(pod, false);
            thread::sleep(Duration::from_secs(3));
            scene.pods.plug(pod, true);
        });
        line(&format!("{name} link is down for 3 s"), &told, begun, over);
        assert_eq!(told.lost(), 0, "{told}");
        // TCP tries again after as long as it has tried.
        assert!(told.recovered_after(over, SLOW) < Duration::from_secs(4) + ROOM, "{told}");
    }
}

#[test]
fn a_storm_of_resets_at_one_instance_loses_no_request() {
    let Some(scene) = Scene::set() else { return };
    let reset = format!("ip saddr {} meta l4proto tcp reject with tcp reset", scene.client.ip);
    let storm = |pods: &[Pod]| {
        pods.iter().for_each(|pod| Scene::rule(pod, &reset));
        thread::sleep(Duration::from_secs(2));
        pods.iter().for_each(Scene::no_rule);
    };
    let (told, begun, over) = scene.blow(Duration::from_secs(4), || storm(&scene.instances[..1]));
    line("resets from one of two for 2 s", &told, begun, over);
    assert_eq!(told.lost(), 0, "{told}");
    // All of it is reset: whoever asks is told at once, and afterwards all is well.
    let (told, begun, over) = scene.blow(Duration::from_secs(5), || storm(&scene.instances));
    line("resets from both for 2 s", &told, begun, over);
    assert_eq!(told.lost(), told.count("connect-failure") + told.count("upstream-reset"), "{told}");
    assert!(told.recovered_after(over, SLOW) < ROOM, "{told}");
    assert!(told.slowest() < Duration::from_secs(2) + ROOM, "{told}");
}

#[test]
fn while_one_peer_is_frozen_the_other_one_serves() {
    let Some(scene) = Scene::set() else { return };
    let (told, begun, over) = scene.blow(Duration::from_secs(7), || {
        scene.instances[0].sidecar().signal(libc::SIGSTOP);
        thread::sleep(Duration::from_secs(5));
        scene.instances[0].sidecar().signal(libc::SIGCONT);
    });
    line("one of two sidecars is frozen for 5 s", &told, begun, over);
    assert_eq!(told.lost(), 0, "{told}");
    // Some wait for the frozen one; the most of the others' go on.
    let wanted = RATE as f64 * (over - begun).as_secs_f64() / 3.0;
    assert!(told.served_between(begun, over) as f64 > wanted, "{told}");
    assert!(told.recovered_after(over, SLOW) < ROOM, "{told}");
}

#[test]
fn a_control_plane_out_of_reach_stops_only_who_has_just_begun() {
    let Some(mut scene) = Scene::set() else { return };
    let drop = format!("ip saddr {} drop", scene.pods.address().ip());
    // Later: those who know the mesh go on, all of them.
    let (told, begun, over) = scene.blow(Duration::from_secs(5), || {
        let pods = || scene.instances.iter().chain([&scene.client]);
        pods().for_each(|pod| Scene::rule(pod, &drop));
        thread::sleep(Duration::from_secs(4));
        pods().for_each(Scene::no_rule);
    });
    line("the control plane is out of reach for 4 s", &told, begun, over);
    assert_eq!(told.lost(), 0, "{told}");
    assert!(told.recovered_after(over, SLOW) < ROOM, "{told}");

    // At the start: it can't know anybody, says so at once, and joins as soon as it can.
    scene.client.sidecar_mut().kill();
    Scene::rule(&scene.client, &drop);
    scene.client.launch();
    eventually("its pages answer", || scene.client.page("/live").is_some());
    let asked = Instant::now();
    let answer = scene.client.on(|| {
        let mut wire = crate::harness::Wire::connect(scene.service);
        wire.send(get("/early"));
        wire.message(false)
    });
    let answered = asked.elapsed();
    let ready = scene.client.page("/ready").expect("it answers");
    assert_eq!(ready.status(), 503, "{}", ready.text());
    eprintln!("asked before it has joined: {answer:?} in {answered:.1?}; /ready: {}", ready.text());
    assert!(answered < Duration::from_secs(2) + ROOM, "{answered:?}");
    match answer {
        Ok(answer) => assert_eq!((answer.status(), answer.reason()), (503, Some("not-ready"))),
        Err(broken) => assert!(matches!(broken, Broken::Closed | Broken::Reset), "{broken:?}"),
    }
    thread::sleep(Duration::from_secs(2));
    Scene::no_rule(&scene.client);
    let reachable = Instant::now();
    within(Duration::from_secs(25), "it joins", || scene.client.is_ready());
    assert_eq!(scene.client.ask(scene.service, &get("/")).status(), 200);
    eprintln!(
        "| a sidecar starts while the control plane is out of reach | ready {:.1?} after it came \
         back |",
        reachable.elapsed()
    );
}
