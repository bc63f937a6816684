//! Traffic while the control plane is away, restarts, freezes or becomes another: not a request may
//! be lost, and everybody can see how old the picture is.

use std::collections::HashSet;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use outrigger::wire::Channel;
use outrigger::wire::v1;
use outrigger::wire::v1::from_sidecar::Message as Say;
use outrigger::wire::v1::mesh_client::MeshClient;
use tonic::{Code, Response, Status};

use crate::harness::caller::{Applicant, Caller};
use crate::harness::{App, ControlPlane, Load, Member, eventually, service, within};

const WEB: &str = "web.default:80";

/// Connecting again takes at most 15 s, and up to 5 s for an attempt.
const BACK: Duration = Duration::from_secs(25);

fn is_long() -> bool {
    std::env::var_os("OUTRIGGER_LONG").is_some()
}

/// A control plane, two instances of `web`, their caller, and 200 requests a second.
struct Scene {
    /// First, so that it ends before what it goes through.
    load: Load,
    plane: ControlPlane,
    instances: Vec<Member>,
    caller: Member,
    _apps: [App; 2],
}

impl Scene {
    #[track_caller]
    fn set(arguments: &[&str]) -> Self {
        let plane = ControlPlane::start(arguments);
        plane.apply(&service("web"));
        let apps = [App::ok(), App::ok()];
        let instances = vec![
            plane.instance("web-1", apps[0].address),
            plane.instance("web-2", apps[1].address),
        ];
        let caller = plane.caller("client-1", &[WEB]);
        eventually("both instances are known", || caller.endpoints(WEB) == Some(2));
        let load = Load::steady(caller.upstreams[0], 200);
        load.goes_on(20);
        Self { load, plane, instances, caller, _apps: apps }
    }

    fn members(&self) -> impl Iterator<Item = &Member> {
        self.instances.iter().chain([&self.caller])
    }

    #[track_caller]
    fn all_connected(&self, connected: bool) {
        within(BACK, &format!("connected: {connected}"), || {
            self.members().all(|member| member.is_connected() == connected)
        });
    }

    /// The whole time, the caller must know both instances.
    #[track_caller]
    fn nothing_leaves_for(&self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            assert_eq!(self.caller.endpoints(WEB), Some(2));
            thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn a_control_plane_that_is_killed_and_restarted_is_not_missed() {
    let mut scene = Scene::set(&["--lease", "30s"]);
    for _ in 0..3 {
        scene.plane.kill();
        scene.all_connected(false);
        let link = scene.caller.link();
        assert!(link["connected"] == false && link["error"].is_string(), "{link}");
        scene.plane.restart();
        let mut registered = scene.plane.registrations();
        registered.sort_unstable();
        assert_eq!(registered, ["web-1.default", "web-2.default"], "before anybody is back");
        let services = scene.plane.json("/services");
        let endpoints = services["services"][0]["endpoints"].as_array().map(Vec::len);
        assert_eq!(endpoints, Some(2), "{services}");
        scene.all_connected(true);
        scene.nothing_leaves_for(Duration::from_millis(200));
        assert!(scene.caller.link()["error"].is_null());
    }
    // What was known is not said again: the picture is the one of before.
    scene.load.goes_on(20);
    scene.load.lost_nothing();
}

#[test]
fn a_control_plane_that_is_frozen_withdraws_nobody() {
    // Longer than a heartbeat and than the lease; in the long run, longer than anybody's patience.
    let (frozen, lease) = if is_long() { (40, "15s") } else { (7, "3s") };
    let scene = Scene::set(&["--lease", lease]);
    scene.plane.freeze();
    scene.nothing_leaves_for(Duration::from_secs(frozen));
    let age = scene.caller.link()["ageMs"].as_u64().unwrap_or_default();
    assert!(age > 1_500, "the page tells how old the picture is: {age}");
    if is_long() {
        scene.all_connected(false);
    }
    scene.plane.thaw();
    scene.nothing_leaves_for(Duration::from_secs(if is_long() { 20 } else { 5 }));
    scene.all_connected(true);
    assert_eq!(scene.plane.registrations().len(), 2);
    assert!(!scene.plane.log().contains("did not come back"), "{}", scene.plane.log());
    scene.load.lost_nothing();
}

#[test]
fn a_control_plane_that_is_frozen_before_its_sidecars_are_back_withdraws_nobody() {
    let mut scene = Scene::set(&["--lease", "3s"]);
    scene.plane.restart();
    // Leases run from here; time that the control plane did not see is no part of them.
    scene.plane.freeze();
    scene.nothing_leaves_for(Duration::from_secs(4));
    scene.plane.thaw();
    scene.all_connected(true);
    scene.nothing_leaves_for(Duration::from_millis(500));
    assert!(!scene.plane.log().contains("did not come back"), "{}", scene.plane.log());
    scene.load.lost_nothing();
}

#[test]
fn without_a_control_plane_the_last_state_serves() {
    let away = Duration::from_secs(if is_long() { 60 } else { 8 });
    let mut scene = Scene::set(&["--lease", "30s"]);
    let serials: Vec<String> = scene.members().map(Member::serial).collect();
    scene.plane.kill();
    scene.all_connected(false);
    // The world goes on changing: an instance leaves, and nobody can tell the caller.
    let gone = scene.instances.remove(1);
    gone.sidecar.sigterm();
    let mut gone = gone;
    assert!(gone.sidecar.exit(Duration::from_secs(12)).success(), "it waits for no control plane");
    let before = scene.caller.link()["ageMs"].as_u64().expect("an age");
    scene.nothing_leaves_for(away);
    let link = scene.caller.link();
    let age = link["ageMs"].as_u64().expect("an age");
    assert!(u128::from(age - before) >= away.as_millis(), "{link}");
    let error = link["error"].as_str().expect("a sentence");
    assert!(error.contains("can't be reached") && error.contains("refused"), "{error}");
    assert_eq!(scene.caller.sidecar.get("/ready").status(), 200);
    let kept: Vec<String> = scene.members().map(Member::serial).collect();
    assert_eq!(kept, [serials[0].as_str(), serials[2].as_str()]);
    scene.plane.restart();
    scene.all_connected(true);
    if is_long() {
        within(Duration::from_secs(45), "who left meanwhile leaves with its lease", || {
            scene.caller.endpoints(WEB) == Some(1)
        });
    }
    let app = App::ok();
    let _new = scene.plane.instance("web-3", app.address);
    eventually("news comes again", || app.begun() > 0);
    scene.load.lost_nothing();
}

#[test]
fn another_mesh_at_the_same_address_is_refused() {
    let mut scene = Scene::set(&["--lease", "2s"]);
    let before = scene.caller.sidecar.json("/services")["version"].clone();
    scene.plane.forget();
    scene.plane.restart();
    within(BACK, "everybody says that it is another", || {
        scene
            .members()
            .all(|member| member.sidecar.log().contains("did not prove to be the control plane"))
    });
    scene.nothing_leaves_for(Duration::from_secs(3));
    assert!(scene.members().all(|member| !member.is_connected()));
    let page = scene.caller.sidecar.json("/services");
    assert_eq!(page["version"], before, "no new picture");
    let link = &page["controlPlane"];
    assert!(link["connected"] == false && link["ageMs"].as_u64() > Some(1_000), "{link}");
    let error = link["error"].as_str().expect("a sentence");
    assert!(error.contains("did not prove to be"), "{error}");
    assert!(scene.plane.registrations().is_empty() && scene.plane.enrolled() == 0.0);
    scene.load.lost_nothing();
}

/// What identifies a sidecar's certificates so far: serial numbers from its page, public keys from
/// what it presents.
#[derive(Default)]
struct Rotations {
    serials: HashSet<String>,
    keys: HashSet<Vec<u8>>,
}

impl Rotations {
    fn look(&mut self, member: &Member) {
        self.serials.insert(member.serial());
        self.keys.extend(presented_key(member));
    }
}

/// The public key in the certificate that a sidecar presents to callers.
fn presented_key(member: &Member) -> Option<Vec<u8>> {
    use crate::harness::tls;
    use x509_parser::prelude::{FromDer, X509Certificate};
    let end = tls::connect(member.mesh_port, tls::client(None, &["outrigger-h1"])).ok()?;
    let chain = end.stream.conn.peer_certificates()?;
    let (_, leaf) = X509Certificate::from_der(chain.first()?).ok()?;
    Some(leaf.public_key().raw.to_vec())
}

#[test]
fn certificates_are_renewed_under_load_each_with_a_new_key() {
    let time = Duration::from_secs(if is_long() { 120 } else { 30 });
    let scene = Scene::set(&["--cert-lifetime", "10s"]);
    let began = Instant::now();
    let mut seen: Vec<Rotations> = scene.instances.iter().map(|_| Rotations::default()).collect();
    while began.elapsed() < time {
        for (member, rotations) in scene.instances.iter().zip(&mut seen) {
            rotations.look(member);
        }
        thread::sleep(Duration::from_millis(100));
    }
    // Due between 6 s and 6.7 s after the last.
    let expected = (time.as_secs_f64() / 8.0) as usize;
    for (number, Rotations { serials, keys }) in seen.iter().enumerate() {
        eprintln!("web-{}: {} certificates, {} keys", number + 1, serials.len(), keys.len());
        assert!(serials.len() > expected, "{} certificates in {time:?}", serials.len());
        // A page and a handshake that straddle a rotation may see one more or less.
        assert!(keys.len().abs_diff(serials.len()) <= 1, "{} keys", keys.len());
    }
    let renewed = scene.plane.metric("outrigger_control_certificates_issued_total", &["renewed"]);
    assert!(renewed > 3.0 * expected as f64, "{renewed}");
    assert_eq!((scene.plane.enrolled(), scene.plane.refused()), (3.0, 0.0));
    assert!(scene.members().all(Member::is_connected));
    let next = scene.caller.sidecar.json("/certs")["nextRotation"].to_string();
    assert!(next.starts_with("\"20"), "a time: {next}");
    scene.load.lost_nothing();
}

#[test]
fn a_control_plane_that_is_away_for_a_renewal_is_not_missed() {
    if !is_long() {
        return;
    }
    let mut scene = Scene::set(&["--cert-lifetime", "40s", "--lease", "30s"]);
    let serials: Vec<String> = scene.members().map(Member::serial).collect();
    // Renewal is due after 24 to 27 s; whoever tries again does so within 8 s.
    thread::sleep(Duration::from_secs(23));
    scene.plane.kill();
    thread::sleep(Duration::from_secs(5));
    scene.plane.restart();
    within(Duration::from_secs(12), "everybody has a new certificate", || {
        scene.members().zip(&serials).all(|(member, old)| member.serial() != *old)
    });
    // Longer than the first ones lasted.
    thread::sleep(Duration::from_secs(10));
    scene.load.goes_on(50);
    assert_eq!(scene.plane.enrolled(), 0.0, "nobody had to join again");
    scene.load.lost_nothing();
}

#[test]
fn roots_that_the_control_plane_sent_are_kept_beside_the_anchors() {
    let scene = Scene::set(&[]);
    for member in scene.members() {
        let kept = fs::read_to_string(member.sidecar.folder.path("ca.pem.newest"));
        assert_eq!(kept.ok().as_deref(), Some(scene.plane.anchors_pem().as_str()));
    }
    scene.load.lost_nothing();
}

/// More than one member may take of the places that all share.
const MANY: usize = 40;

/// Opens a session, and says hello in a way that is refused; why.
async fn knock(channel: &Channel) -> Status {
    let hello = v1::FromSidecar { message: Some(Say::Hello(v1::Hello::default())) };
    let said = tokio_stream::iter([hello]);
    let heard = match MeshClient::new(channel.clone()).session(said).await {
        Ok(heard) => heard.into_inner().message().await.map(drop),
        Err(status) => Err(status),
    };
    heard.expect_err("such a hello is refused")
}

/// Knocks until `time` is over; how often it was told that too many come.
async fn knock_for(channel: Channel, time: Duration) -> Result<Response<usize>, Status> {
    let (until, mut told) = (Instant::now() + time, 0);
    while Instant::now() < until {
        let status = knock(&channel).await;
        if status.code() == Code::InvalidArgument {
            continue;
        }
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        assert!(status.metadata().contains_key("grpc-retry-pushback-ms"), "{status:?}");
        told += usize::from(status.message().starts_with("too many"));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(Response::new(told))
}

#[test]
fn nobody_is_taken_out_while_sidecars_are_told_to_wait() {
    // All that come back after a long absence are not let in within one lease.
    let plane = ControlPlane::start(&["--lease", "6s"]);
    let token = plane.token("app", &["-l", "app=app", "--uses", &(MANY + 1).to_string()]);
    let join = || {
        let applicant = Applicant::new("app");
        let joined = plane.nobody().enroll(&applicant.request, &token).expect("it has uses left");
        plane.nobody().showing(&applicant.certified(joined))
    };
    let others: Vec<Caller> = (0..MANY).map(|_| join()).collect();
    let caller = join();
    assert_eq!(caller.register("app-1", "app").ok(), Some(Vec::new()));
    let time = Duration::from_secs(8);
    let knock = |caller: &Caller| caller.call(async |channel| knock_for(channel, time).await);
    let told: usize = thread::scope(|scope| {
        let knocking: Vec<_> = others.iter().map(|other| scope.spawn(|| knock(other))).collect();
        let told = knocking.into_iter().map(|one| one.join().expect("it does not panic"));
        told.map(|told| told.expect("it is answered")).sum()
    });
    assert!(told > 10, "{told}");
    assert_eq!(plane.registrations(), ["app-1.default"], "its sidecar may be among those who wait");
    let leaves = || plane.registrations().is_empty();
    within(Duration::from_secs(30), "it leaves when nobody waits", leaves);
}

#[test]
fn one_member_keeps_nobody_out() {
    let plane = ControlPlane::start(&["--lease", "3s"]);
    let [hoarder, other] = ["hoarder", "app"].map(|account| {
        let labels = format!("app={account}");
        plane.nobody().showing(&plane.joined_with(account, &["-l", &labels]))
    });
    let held = hoarder.call(async |channel| {
        let mut held = Vec::new();
        while held.len() < 4 {
            let silent = tokio_stream::pending();
            held.push(MeshClient::new(channel.clone()).session(silent).await?);
        }
        let own = knock(&channel).await;
        assert_eq!(own.code(), Code::ResourceExhausted, "{own}");
        assert!(own.message().starts_with("this workload begins too many"), "{own}");
        let registered = tokio::task::spawn_blocking(move || other.register("app-1", "app")).await;
        assert_eq!(registered.expect("it does not panic").ok(), Some(Vec::new()));
        // Whoever is refused for its own sake spares nobody.
        while !plane.registrations().is_empty() {
            knock(&channel).await;
        }
        Ok(Response::new(held.len()))
    });
    assert_eq!(held.ok(), Some(4));
}
