//! Services that are applied, workloads that register, callers that are told: traffic between
//! sidecars that know of each other from the control plane alone.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    App, ControlPlane, Load, Member, Wire, eventually, get, service, spiffe, within,
};

const WEB: &str = "web.default:80";

#[track_caller]
fn await_endpoints(member: &Member, service: &str, count: u64) {
    eventually(&format!("{count} endpoints of {service}"), || {
        member.endpoints(service) == Some(count)
    });
}

#[test]
fn what_is_applied_and_registered_is_reached_over_mutual_tls() {
    let plane = ControlPlane::start(&[]);
    let app = App::ok();
    let caller = plane.caller("client-1", &[WEB]);
    let mut wire = Wire::connect(caller.upstreams[0]);
    assert_eq!(wire.ask(get("/early")).reason(), Some("no-route"));
    plane.apply(&service("web"));
    await_endpoints(&caller, WEB, 0);
    assert_eq!(wire.ask(get("/empty")).reason(), Some("no-endpoints"));
    let _one = plane.instance("web-1", app.address);
    await_endpoints(&caller, WEB, 1);
    assert_eq!(wire.ask(get("/served")).status(), 200);
    assert_eq!(app.only_request().header("x-outrigger-peer"), Some(spiffe("client").as_str()));
    let other = App::ok();
    let two = plane.instance("web-2", other.address);
    await_endpoints(&caller, WEB, 2);
    eventually("the new instance is used", || {
        assert_eq!(wire.ask(get("/balanced")).status(), 200);
        !other.requests().is_empty()
    });
    two.sidecar.sigterm();
    await_endpoints(&caller, WEB, 1);
    assert_eq!(plane.registrations(), ["web-1.default"]);
    plane.done(&["delete", "service", "web"]);
    eventually("the service is gone", || wire.ask(get("/")).reason() == Some("no-route"));
    plane.apply(&service("web"));
    eventually("the service is back", || wire.ask(get("/")).status() == 200);
}

#[test]
fn a_draining_instance_is_withdrawn_at_once_and_no_request_is_lost() {
    let plane = ControlPlane::start(&[]);
    plane.apply(&service("web"));
    let (app, other) = (App::ok(), App::ok());
    let _one = plane.instance("web-1", app.address);
    let mut two = plane.instance("web-2", other.address);
    let caller = plane.caller("client-1", &[WEB]);
    await_endpoints(&caller, WEB, 2);
    let load = Load::steady(caller.upstreams[0], 200);
    eventually("both are used", || app.begun() > 20 && other.begun() > 20);
    two.sidecar.sigterm();
    within(Duration::from_secs(5), "the endpoint is withdrawn", || {
        caller.endpoints(WEB) == Some(1)
    });
    assert!(two.sidecar.exit(Duration::from_secs(12)).success());
    load.goes_on(50);
    load.lost_nothing();
    plane.await_log("withdrawn workload=default/web-2");
}

#[test]
fn an_instance_that_died_leaves_with_its_lease_and_not_before() {
    const LEASE: Duration = Duration::from_secs(2);
    let plane = ControlPlane::start(&["--lease", "2s"]);
    plane.apply(&service("web"));
    let (app, other) = (App::ok(), App::ok());
    let _one = plane.instance("web-1", app.address);
    let two = plane.instance("web-2", other.address);
    let caller = plane.caller("client-1", &[WEB]);
    await_endpoints(&caller, WEB, 2);
    two.sidecar.signal(libc::SIGKILL);
    let died = Instant::now();
    loop {
        let known = caller.endpoints(WEB);
        let since = died.elapsed();
        if since >= LEASE {
            break;
        }
        assert_eq!(known, Some(2), "{since:?} after its end");
        // Circuit and retries leave the dead one out meanwhile.
        assert_eq!(Wire::connect(caller.upstreams[0]).ask(get("/")).status(), 200);
        thread::sleep(Duration::from_millis(50));
    }
    await_endpoints(&caller, WEB, 1);
    plane.await_log("did not come back within the lease");
    assert_eq!(plane.registrations(), ["web-1.default"]);
}

#[test]
fn an_instance_that_comes_back_within_its_lease_was_never_away() {
    let plane = ControlPlane::start(&["--lease", "30s"]);
    plane.apply(&service("web"));
    let app = App::ok();
    let plan = plane.plan("web-1").token(&plane.token("web", &["-l", "app=web", "--uses", "2"]));
    let one = plan.clone().app(app.address).start();
    let caller = plane.caller("client-1", &[WEB]);
    await_endpoints(&caller, WEB, 1);
    one.sidecar.signal(libc::SIGKILL);
    let again = plan.app(app.address).listen(one.mesh_port).start();
    assert_eq!(caller.endpoints(WEB), Some(1));
    assert_eq!(Wire::connect(caller.upstreams[0]).ask(get("/")).status(), 200);
    again.sidecar.sigterm();
    await_endpoints(&caller, WEB, 0);
}

#[test]
fn a_service_is_asked_for_when_it_is_first_used() {
    let plane = ControlPlane::start(&[]);
    plane.apply(&service("web"));
    let app = App::ok();
    let _one = plane.instance("web-1", app.address);
    let caller = plane.caller("client-1", &[]);
    assert_eq!(caller.endpoints(WEB), None, "nothing is known that nobody uses");
    assert_eq!(caller.ask("web.default").status(), 200);
    assert_eq!(caller.endpoints(WEB), Some(1));
    assert_eq!(caller.ask("web").status(), 200);
    // An answer that there is none is remembered, and corrected by itself.
    let answer = caller.ask("late.default");
    assert_eq!((answer.status(), answer.reason()), (404, Some("no-route")));
    let late = App::ok();
    let _late = plane.instance("late-1", late.address);
    plane.apply(&service("late"));
    eventually("what was unknown is served", || caller.ask("late.default").status() == 200);
}

#[test]
fn an_address_is_a_service_an_instance_or_nothing() {
    use outrigger::wire::v1::{self, address_answer::Answer};
    let plane = ControlPlane::start(&[]);
    plane.apply(&service("web").replace("spec: {", "spec: {clusterIP: 10.9.8.7, "));
    let app = App::ok();
    let one = plane.instance("web-1", app.address);
    let asked = ["10.9.8.7:80".to_owned(), app.address.to_string(), "10.9.8.8:80".to_owned()];
    let subscription = v1::Subscription { addresses: asked.to_vec(), services: Vec::new() };
    let asker = plane.nobody().showing(&plane.joined("asker"));
    let update = asker.discover(subscription).expect("a session");
    let answer = |address: &str| {
        let found = update.addresses.iter().find(|answer| answer.address == address);
        found.and_then(|found| found.answer.clone())
    };
    let Some(Answer::Service(name)) = answer(&asked[0]) else { panic!("{update:?}") };
    assert_eq!((name.name.as_str(), name.port), ("web", 80));
    assert!(update.services.iter().any(|answer| answer.name.as_ref() == Some(&name)));
    let Some(Answer::Instance(instance)) = answer(&asked[1]) else { panic!("{update:?}") };
    let endpoint = instance.endpoint.expect("an endpoint");
    assert_eq!(endpoint.identity, spiffe("web"));
    assert_eq!(endpoint.mesh_port, u32::from(one.mesh_port.port()));
    assert!(matches!(answer(&asked[2]), Some(Answer::Unknown(_))), "{update:?}");
}

#[test]
fn a_request_is_held_until_the_control_plane_has_answered() {
    let plane = ControlPlane::start(&[]);
    plane.apply(&service("web"));
    let app = App::ok();
    let _one = plane.instance("web-1", app.address);
    let caller = plane.caller("client-1", &[]);
    plane.freeze();
    let mut held = Wire::connect(caller.by_host);
    held.send("GET /held HTTP/1.1\r\nHost: web.default\r\n\r\n");
    // Not for long: it is held a second at most.
    thread::sleep(Duration::from_millis(50));
    assert!(app.requests().is_empty());
    plane.thaw();
    assert_eq!(held.response().status(), 200);
    plane.freeze();
    let begun = Instant::now();
    let answer = caller.ask("other.default");
    assert_eq!((answer.status(), answer.reason()), (503, Some("not-ready")));
    assert!((0.9..8.0).contains(&begun.elapsed().as_secs_f32()), "{:?}", begun.elapsed());
    // What is known already waits for nobody.
    assert_eq!(caller.ask("web.default").status(), 200);
    plane.thaw();
    eventually("it is known not to be there", || {
        caller.ask("other.default").reason() == Some("no-route")
    });
}

#[test]
fn a_resource_that_is_wrong_changes_nothing() {
    let plane = ControlPlane::start(&[]);
    plane.apply(&service("web"));
    let app = App::ok();
    let _one = plane.instance("web-1", app.address);
    let caller = plane.caller("client-1", &[WEB]);
    let before = plane.json("/services");
    let typo = service("web").replace("selector", "selecter");
    let said = plane.try_apply(&format!("{}---\n{typo}", service("other")));
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("selecter") && said.err.contains("selector"), "{said:?}");
    assert_eq!(plane.json("/services"), before);
    assert_eq!(plane.run(&["get", "service", "other"]).code, Some(1));
    assert_eq!(Wire::connect(caller.upstreams[0]).ask(get("/")).status(), 200);
    let shadow = "apiVersion: outrigger.dev/v1alpha1\nkind: Workload\n\
                  metadata: {name: web-1, namespace: default}\n\
                  spec: {address: 127.0.0.9, ports: [{port: 80}]}\n";
    let said = plane.try_apply(shadow);
    assert!(said.code == Some(2) && said.err.contains("registered by its sidecar"), "{said:?}");
    let said = plane.run(&["delete", "workload", "web-1"]);
    assert!(said.code == Some(2) && said.err.contains("registered by its sidecar"), "{said:?}");
}

/// What a watch has printed so far, line by line.
fn watching(plane: &ControlPlane) -> (std::process::Child, std::sync::mpsc::Receiver<String>) {
    let mut command = plane.command(&["get", "services", "--watch", "-o", "json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("started");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
    (child, receiver)
}

#[test]
fn people_see_and_change_what_there_is() {
    let mut plane = ControlPlane::start(&[]);
    plane.apply(&service("web"));
    let app = App::ok();
    let _one = plane.instance("web-1", app.address);
    let (mut watch, lines) = watching(&plane);
    let mut seen = String::new();
    let mut sees = |words: &str| {
        eventually(&format!("the watch shows {words}"), || {
            seen.extend(lines.try_iter());
            seen.contains(words)
        });
        seen.clear();
    };
    sees("\"web\"");
    let table = plane.done(&["get", "all"]);
    assert!(table.contains("registered") && table.contains("applied"), "{table}");
    let held: serde_json::Value =
        serde_json::from_str(&plane.done(&["get", "service", "web", "-o", "json"])).expect("JSON");
    let version = held["metadata"]["resourceVersion"].as_str().expect("a version").to_owned();
    let versioned = service("web").replace(
        "name: web,",
        &format!("name: web, resourceVersion: \"{version}\", labels: {{team: a}},"),
    );
    plane.apply(&versioned);
    sees("\"team\"");
    let said = plane.try_apply(&versioned.replace("team: a", "team: b"));
    assert!(said.code == Some(2) && said.err.contains("resourceVersion"), "{said:?}");
    assert!(plane.done(&["get", "service", "web", "-o", "yaml"]).contains("team: a"));
    let commits = |result: &str| plane.metric("outrigger_control_commits_total", &[result]);
    let revision = plane.metric("outrigger_control_revision", &[]);
    assert!(commits("made") >= 5.0 && commits("made") <= revision, "of {revision}");
    // A watch outlives the control plane.
    plane.restart();
    plane.apply(&service("late"));
    sees("\"late\"");
    plane.done(&["delete", "service", "late"]);
    let said = plane.run(&["delete", "service", "late"]);
    assert!(said.code == Some(2) && said.err.contains("late"), "{said:?}");
    sees("late");
    watch.kill().expect("it runs");
    watch.wait().expect("it is our child");
}
