//! Before a sidecar is ready, and while it leaves together with its app.

use std::net::SocketAddr;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{App, Certs, Folder, Pair, Sidecar, eventually, free_address, get};

/// A sidecar whose control plane is nowhere.
fn lonely() -> Sidecar {
    let folder = Folder::new("lonely");
    let admin = free_address();
    folder.write("ca.pem", Certs::new().root_pem());
    folder.write("token", "a token");
    folder.write(
        "config.yaml",
        &format!(
            "controlPlane: {{address: \"{}\", trustAnchors: ca.pem, tokenFile: token}}\n\
             inbound: {{ports: [{{listen: \"{}\", app: \"127.0.0.1:1\"}}]}}\n\
             outbound: {{listen: \"{}\"}}\nadmin: {{listen: \"{admin}\"}}\nworkers: 1\n",
            free_address(),
            free_address(),
            free_address(),
        ),
    );
    Sidecar::start(folder, admin, None)
}

fn wait(admin: SocketAddr, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_outrigger-proxy"))
        .args(["wait", "--admin", &admin.to_string()])
        .args(arguments)
        .output()
        .expect("the program starts")
}

#[test]
fn what_is_missing_is_said_from_the_first_moment() {
    let mut sidecar = lonely();
    eventually("the admin port answers", || sidecar.try_admin("GET", "/live", "").is_some());
    let answer = sidecar.get("/ready");
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.text(), "not ready, still missing: certificate, registration, resources\n");
    // The drain would take 5 s, for nobody.
    let begun = Instant::now();
    sidecar.sigterm();
    assert_eq!(sidecar.exit(Duration::from_secs(3)).code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(sidecar.log().contains("bye"), "{}", sidecar.log());
}

#[test]
fn who_waits_in_vain_is_told_for_what() {
    let sidecar = lonely();
    eventually("the admin port answers", || sidecar.try_admin("GET", "/live", "").is_some());
    let output = wait(sidecar.admin, &["--for", "300ms", "--", "echo", "started"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("missing: certificate, registration, resources"), "{said}");
    assert!(output.stdout.is_empty(), "the command was held back");
    let output = wait(free_address(), &["--for", "300ms"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("refused"), "{said}");
}

#[test]
fn who_waits_goes_on_when_the_sidecar_is_ready() {
    let admin = free_address();
    // Before there is anything to ask.
    let waiting = thread::spawn(move || wait(admin, &["--for", "1m", "--", "echo", "started"]));
    let folder = Folder::new("late");
    folder.write("config.yaml", &format!("admin: {{listen: \"{admin}\"}}\nworkers: 1\n"));
    let _sidecar = Sidecar::start(folder, admin, None);
    let output = waiting.join().expect("no panic");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(output.stdout, b"started\n");
    assert_eq!(wait(admin, &[]).status.code(), Some(0));
    assert_eq!(wait(admin, &["--", "/no/such/program"]).status.code(), Some(1));
    assert_eq!(wait(admin, &["--for", "soon"]).status.code(), Some(2));
}

/// kubelet tells all containers of a pod at once; the app finishes its work while it leaves.
#[test]
fn both_directions_work_on_while_the_whole_pod_leaves() {
    let app = App::ok();
    let mut mesh = Pair::of(&app).drain("{minimum: 5s, deadline: 10s}").start();
    let begun = Instant::now();
    mesh.outbound.sigterm();
    mesh.inbound().sigterm();
    mesh.outbound.await_log("draining");
    mesh.inbound().await_log("draining");
    let mut answered = 0;
    while begun.elapsed() < Duration::from_millis(1500) {
        // A new connection each time, out through the one and in through the other.
        assert_eq!(mesh.ask(get("/")).status(), 200, "after {:?}", begun.elapsed());
        answered += 1;
    }
    assert!(answered > 10, "{answered} answers");
    for sidecar in [&mesh.outbound, mesh.inbound()] {
        assert_eq!(sidecar.get("/ready").status(), 503);
    }
    assert_eq!(mesh.outbound.exit(Duration::from_secs(15)).code(), Some(0));
    assert_eq!(mesh.inbound_mut(0).exit(Duration::from_secs(15)).code(), Some(0));
    assert_eq!(app.requests().len(), answered);
}
