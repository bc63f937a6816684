//! Pods that come and go while others call: no request is lost, and nobody stays who has nothing
//! left to do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::pod::Pod;
use crate::harness::{App, Family, Load, Pods, eventually, get, within};

/// An instance whose app says its name; `/slow` takes some seconds.
fn instance(pods: &Pods, number: usize) -> (Pod, App) {
    let pod = pods.pod(&format!("web-{number}")).drain("{minimum: 1s, deadline: 20s}").start();
    let app = pod.app(8080, move |at| {
        App::http_at(at, move |request| {
            if request.target() == "/slow" {
                thread::sleep(Duration::from_secs(3));
            }
            App::answer(format!("web-{number}"))
        })
    });
    (pod, app)
}

struct Rolling {
    pods: Pods,
    client: Pod,
    service: SocketAddr,
    instances: Vec<(Pod, App)>,
}

impl Rolling {
    fn start() -> Option<Rolling> {
        let pods = Pods::new(Family::V4)?;
        let service = SocketAddr::new(pods.service("web", 10, "{port: 8080}"), 8080);
        let instances: Vec<_> = (0..3).map(|number| instance(&pods, number)).collect();
        let client = pods.pod("client-1").start();
        let all_serve = || instances.iter().all(|(_, app)| !app.requests().is_empty());
        eventually("all serve", || client.ask(service, &get("/")).status() == 200 && all_serve());
        Some(Rolling { pods, client, service, instances })
    }
}

#[test]
fn every_instance_is_replaced_under_load_and_no_request_is_lost() {
    let Some(mut rolling) = Rolling::start() else { return };
    let Rolling { pods, client, service, instances } = &mut rolling;
    let load = client.on(|| Load::steady(*service, 200));
    load.goes_on(50);
    // Its answer is under way all the while.
    let slow = Arc::new(AtomicUsize::new(0));
    for number in 3..6 {
        let (fresh, app) = instance(pods, number);
        eventually("the new one serves", || !app.requests().is_empty());
        let (mut old, old_app) = instances.remove(0);
        let mut wire = client.connect(*service);
        wire.send(get("/slow"));
        let done = Arc::clone(&slow);
        let waiting = thread::spawn(move || {
            assert_eq!(wire.response().status(), 200);
            done.fetch_add(1, Ordering::SeqCst);
        });
        let asked = old_app.requests().len();
        let begun = Instant::now();
        old.sidecar().terminate();
        assert_eq!(old.sidecar_mut().exit(Duration::from_secs(22)).code(), Some(0));
        eprintln!("{} left after {:?}, asked {asked} times", old.name, begun.elapsed());
        waiting.join().expect("its answer came");
        load.goes_on(50);
        instances.push((fresh, app));
    }
    load.lost_nothing();
    assert_eq!(slow.load(Ordering::SeqCst), 3);
}

#[test]
fn an_instance_that_hangs_for_seconds_loses_no_request_that_may_be_repeated() {
    let Some(rolling) = Rolling::start() else { return };
    rolling.pods.apply(
        "apiVersion: outrigger.dev/v1alpha1\nkind: TrafficPolicy\n\
         metadata: {name: web, namespace: default}\n\
         spec:\n  targetRefs: [{kind: Service, name: web}]\n  \
         retry: {perTryTimeout: 500ms, on: [connect-failure, reset, gateway-error]}\n  \
         circuitBreaker: {openFor: 1s, maxOpenFor: 1s}\n",
    );
    eventually("the policy is there", || {
        rolling.client.page("/policies").is_some_and(|page| page.text().contains("500"))
    });
    let load = rolling.client.on(|| Load::steady(rolling.service, 100));
    load.goes_on(100);
    let (hung, app) = &rolling.instances[0];
    hung.sidecar().signal(libc::SIGSTOP);
    load.goes_on(300);
    hung.sidecar().signal(libc::SIGCONT);
    let before = app.requests().len();
    // It was slow: the others are preferred until that is forgotten.
    within(Duration::from_secs(40), "it serves again", || app.requests().len() > before);
    load.lost_nothing();
}

#[test]
fn the_sidecar_of_a_job_leaves_soon_after_it() {
    let Some(pods) = Pods::new(Family::V4) else { return };
    let service = SocketAddr::new(pods.service("web", 10, "{port: 8080}"), 8080);
    let _web = instance(&pods, 0);
    let mut job = pods.pod("job-1").drain("{minimum: 500ms, deadline: 25s}").start();
    // One call, on a connection that its sidecar's own outlives.
    let answer = job.ask(service, &get("/"));
    assert_eq!(answer.text(), "web-0");
    let begun = Instant::now();
    job.sidecar().terminate();
    assert_eq!(job.sidecar_mut().exit(Duration::from_secs(12)).code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // While it drains its app may still ask; then it is closed.
    job.on(|| std::net::TcpStream::connect(service)).expect_err("nobody gets around it");
}
