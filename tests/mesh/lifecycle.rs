//! Starting, reloading, leaving: nothing accepted is lost on the way.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    App, Broken, Message, Pair, Sidecar, Wire, eventually, free_address, get, within,
};

fn slow_app(takes: Duration) -> App {
    App::http(move |request| {
        if request.target() == "/slow" {
            thread::sleep(takes);
        }
        App::answer("done")
    })
}

/// Asks without a pause until told to stop.
fn load(
    service: std::net::SocketAddr,
    stop: Arc<AtomicBool>,
) -> thread::JoinHandle<(usize, Vec<Result<Message, Broken>>)> {
    thread::spawn(move || {
        let (mut answered, mut lost) = (0, Vec::new());
        let mut wire = Wire::connect(service);
        while !stop.load(Ordering::SeqCst) {
            wire.send("POST /pay HTTP/1.1\r\nHost: app.default\r\nContent-Length: 1\r\n\r\nx");
            let answer = wire.message(false);
            let close = answer.as_ref().map_or(true, Message::closes);
            match answer {
                Ok(answer) if answer.status() == 200 => answered += 1,
                other => lost.push(other),
            }
            if close {
                wire = Wire::connect(service);
            }
            thread::sleep(Duration::from_millis(1));
        }
        (answered, lost)
    })
}

#[test]
fn an_instance_leaves_under_load_and_no_request_is_lost() {
    let apps = [App::ok(), App::ok()];
    let mut mesh = Pair::of(&apps[0]).and(apps[1].address).workers(2).start();
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..4).map(|_| load(mesh.service, Arc::clone(&stop))).collect();
    let served = |n: usize| apps[n].requests().len();
    eventually("requests flow", || served(0) + served(1) > 200);
    // The one that has the most to lose.
    let (leaves, stays) = if served(0) > served(1) { (0, 1) } else { (1, 0) };
    mesh.inbound_mut(leaves).sigterm();
    let status = mesh.inbound_mut(leaves).exit(Duration::from_secs(12));
    let before = served(stays);
    eventually("the other one serves on", || served(stays) > before + 100);
    stop.store(true, Ordering::SeqCst);
    let (mut answered, mut lost) = (0, Vec::new());
    for thread in threads {
        let (n, failures) = thread.join().expect("no panic");
        answered += n;
        lost.extend(failures);
    }
    assert!(lost.is_empty(), "{} of {answered} lost: {lost:#?}", lost.len());
    assert_eq!(status.code(), Some(0));
    assert_eq!(served(0) + served(1), answered, "every POST reached exactly one app, once");
}

#[test]
fn the_callers_sidecar_leaves_without_cutting_anyone() {
    let app = slow_app(Duration::from_secs(2));
    let mut mesh = Pair::of(&app).start();
    let mut slow = mesh.connect();
    slow.send(get("/slow"));
    app.await_requests(1);
    let mut idle = mesh.connect();
    idle.ask(get("/before"));
    mesh.outbound.sigterm();
    eventually("it is not ready", || {
        mesh.outbound.try_admin("GET", "/ready", "").is_none_or(|answer| answer.status() == 503)
    });
    let answer = idle.ask(get("/during"));
    assert_eq!(
        (answer.status(), answer.closes()),
        (200, true),
        "an idle connection is answered once"
    );
    assert!(idle.is_over());
    let answer = slow.response();
    assert_eq!(answer.text(), "done");
    assert!(answer.closes(), "answers say Connection: close while draining");
    assert_eq!(mesh.outbound.exit(Duration::from_secs(11)).code(), Some(0));
}

#[test]
fn new_connections_are_served_for_the_minimum() {
    let app = App::ok();
    let mut mesh = Pair::of(&app).drain("{minimum: 5s, deadline: 10s}").start();
    let begun = Instant::now();
    mesh.outbound.sigterm();
    eventually("it drains", || {
        mesh.outbound.try_admin("GET", "/ready", "").is_none_or(|answer| answer.status() == 503)
    });
    while begun.elapsed() < Duration::from_millis(1500) {
        assert_eq!(mesh.ask(get("/")).status(), 200, "after {:?}", begun.elapsed());
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(mesh.outbound.exit(Duration::from_secs(15)).code(), Some(0));
    assert!(begun.elapsed() >= Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn a_long_download_and_a_tcp_connection_finish_while_draining() {
    let app = App::raw(|mut wire| {
        let _ = wire.message(false);
        wire.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        for _ in 0..30 {
            wire.send("3\r\nabc\r\n");
            thread::sleep(Duration::from_millis(100));
        }
        wire.send("0\r\n\r\n");
    });
    let mut mesh = Pair::of(&app).start();
    let mut wire = mesh.connect();
    wire.send(get("/"));
    let mut answer = wire.head().expect("it begins");
    mesh.outbound.sigterm();
    mesh.inbound().sigterm();
    wire.body(&mut answer, false).expect("it ends whole");
    assert_eq!(answer.body.len(), 90);
    assert_eq!(mesh.inbound_mut(0).exit(Duration::from_secs(8)).code(), Some(0));
    assert_eq!(mesh.outbound.exit(Duration::from_secs(8)).code(), Some(0));
}

#[test]
fn the_deadline_ends_what_does_not_end() {
    let app = slow_app(Duration::from_secs(60));
    let mut mesh = Pair::of(&app).drain("{minimum: 200ms, deadline: 2s}").start();
    let mut wire = mesh.connect();
    wire.send(get("/slow"));
    app.await_requests(1);
    let begun = Instant::now();
    mesh.outbound.sigterm();
    mesh.outbound.exit(Duration::from_secs(5));
    assert!(begun.elapsed() >= Duration::from_millis(1900), "{:?}", begun.elapsed());
    match wire.message(false) {
        Ok(answer) => assert_eq!(answer.reason(), Some("drain-deadline")),
        Err(broken) => assert_ne!(broken, Broken::TimedOut),
    }
}

#[test]
fn a_second_sigterm_leaves_at_once() {
    let app = slow_app(Duration::from_secs(60));
    // It takes spans, and never says so: nobody waits for it now.
    let collector = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let at = collector.local_addr().expect("it listens");
    let traces = format!("{{traces: {{otlpEndpoint: \"http://{at}\", sampleRatio: 1.0}}}}");
    let mut mesh = Pair::of(&app).outbound_config(&format!("telemetry: {traces}")).start();
    assert_eq!(mesh.ask(get("/")).status(), 200);
    mesh.connect().send(get("/slow"));
    let mut wire = mesh.connect();
    wire.send(get("/slow"));
    app.await_requests(2);
    mesh.outbound.sigterm();
    mesh.outbound.await_log("rain");
    assert!(mesh.outbound.is_running());
    mesh.outbound.sigterm();
    mesh.outbound.exit(Duration::from_secs(5));
}

#[test]
fn an_idle_sidecar_leaves_after_its_minimum() {
    let app = App::ok();
    let mut mesh = Pair::of(&app).start();
    let begun = Instant::now();
    mesh.outbound.sigterm();
    assert_eq!(mesh.outbound.exit(Duration::from_secs(4)).code(), Some(0));
    assert!(begun.elapsed() >= Duration::from_millis(500));
}

#[test]
fn an_invalid_configuration_lists_every_fault_and_exits_with_2() {
    let config = "trustDomain: \"not a domain\"\nworkers: many\ncolour: blue\n\
                  outbound: {listen: \"nowhere\", unknown: perhaps}\ndrain: {minimum: 5 parsecs}\n";
    for command in ["run", "validate"] {
        let output = Sidecar::once(&[command], config);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{command}: {stderr}");
        for path in [
            "trustDomain",
            "workers",
            "colour",
            "outbound.listen",
            "outbound.unknown",
            "drain.minimum",
        ] {
            assert!(stderr.contains(path), "{command} does not name {path}:\n{stderr}");
        }
        assert!(stderr.contains("config.yaml:3"), "{command} names file and line:\n{stderr}");
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    for args in [&["run", "--nonsense"][..], &["frobnicate"]] {
        assert_eq!(Sidecar::once(args, "").status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn validate_prints_the_effective_configuration_and_where_each_value_came_from() {
    let config = "workload: {namespace: default, name: web-1, serviceAccount: web}\n\
                  outbound: {unknown: deny}\n";
    let output = Sidecar::once(&["validate"], config);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{stdout}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let line = |word: &str| stdout.lines().find(|line| line.contains(word)).unwrap_or_default();
    assert!(
        line("unknown").contains("deny") && line("unknown").contains("config.yaml:2"),
        "{stdout}"
    );
    assert!(line("deadline").contains("25s") && line("deadline").contains("default"), "{stdout}");
}

#[test]
fn a_taken_address_is_an_error_that_says_so() {
    let taken = TcpListener::bind(free_address()).expect("it was free");
    let address = taken.local_addr().expect("it listens");
    let output = Sidecar::once(
        &["run"],
        &format!(
            "outbound: {{listen: \"{address}\"}}\nadmin: {{listen: \"{}\"}}\n",
            free_address()
        ),
    );
    assert_ne!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&address.to_string()));
}

#[test]
fn sighup_reloads_what_may_change_and_refuses_the_rest() {
    let app = App::ok();
    let mesh = Pair::of(&app).start();
    let config = mesh.outbound.folder.read("config.yaml");
    mesh.outbound.folder.write("config.yaml", &config.replace("level: debug", "level: warn"));
    mesh.outbound.signal(libc::SIGHUP);
    eventually("the level changes", || mesh.outbound.get("/log").text().contains("warn"));
    mesh.outbound.folder.write("config.yaml", &config.replace("workers: 1", "workers: 2"));
    mesh.outbound.signal(libc::SIGHUP);
    mesh.outbound.await_log("workers");
    mesh.outbound.folder.write("config.yaml", "nonsense: true\n");
    mesh.outbound.signal(libc::SIGHUP);
    mesh.outbound.await_log("nonsense");
    assert_eq!(mesh.ask(get("/")).status(), 200);
}

#[test]
fn changed_resource_files_move_traffic_within_3_s() {
    let (old, new) = (App::ok(), App::ok());
    let mesh = Pair::bare(old.address).start();
    let mut kept = mesh.connect();
    assert_eq!(kept.ask(get("/")).status(), 200);
    mesh.replace_endpoints(&[new.address]);
    within(Duration::from_secs(4), "the new endpoint is used", || {
        assert_eq!(kept.ask(get("/")).status(), 200);
        !new.requests().is_empty()
    });
    let before = old.requests().len();
    for _ in 0..20 {
        assert_eq!(mesh.ask(get("/")).status(), 200);
    }
    assert_eq!(old.requests().len(), before, "an endpoint that left gets no new request");
}

#[test]
fn broken_resource_files_leave_the_last_good_ones() {
    let app = App::ok();
    let mesh = Pair::bare(app.address).start();
    mesh.outbound.folder.write("mesh/mesh.yaml", "kind: Service\nspec: [\n");
    mesh.outbound.await_log("mesh.yaml");
    assert_eq!(mesh.ask(get("/")).status(), 200);
}

#[test]
fn the_first_answer_comes_soon_after_the_start() {
    let app = App::ok();
    // The best of three: a busy machine starts nothing soon.
    let took = [(); 3].map(|()| {
        let begun = Instant::now();
        let mesh = Pair::of(&app).start();
        assert_eq!(mesh.ask(get("/")).status(), 200);
        let took = begun.elapsed();
        assert!(mesh.outbound.rss_kib() < 40 * 1024, "{} KiB", mesh.outbound.rss_kib());
        took
    });
    assert!(took.iter().min() < Some(&Duration::from_secs(3)), "{took:?}");
}
