//! How many requests an app answers at once, who waits and who is shed.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;

use super::{meshed, pair, plain, under};
use crate::harness::{App, Mesh, eventually, get, get_with, within};

/// An app that answers nobody before it is told to.
fn held() -> (App, Arc<AtomicBool>) {
    let is_open = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&is_open);
    let app = App::http(move |_| {
        within(std::time::Duration::from_secs(60), "it is opened", || gate.load(SeqCst));
        App::answer("at last")
    });
    (app, is_open)
}

fn at_once(mesh: &Mesh, of: &str) -> f64 {
    mesh.inbound().metric("outrigger_concurrency", &[&format!("of=\"{of}\"")])
}

const SPEC: &str = "concurrency: {limit: 2, priorities: [\
                    {match: {headers: {x-tier: gold}}, priority: high}, \
                    {match: {paths: ['/batch/*']}, priority: low}]}";

/// Who waits is shed after a second, so that everything here has to be done by then; a machine that
/// is too busy for that begins again.
fn play(mesh: &Mesh, is_open: &AtomicBool) -> bool {
    let mut busy = [meshed(mesh, "web"), meshed(mesh, "web")];
    for wire in &mut busy {
        wire.send(get("/busy"));
    }
    eventually("two are under way", || at_once(mesh, "under-way") == 2.0);
    let begun = std::time::Instant::now();
    let (mut low, mut normal) = (meshed(mesh, "web"), meshed(mesh, "web"));
    low.send(get("/batch/a"));
    eventually("one waits", || at_once(mesh, "waiting") == 1.0);
    normal.send(get("/normal"));
    eventually("two wait", || at_once(mesh, "waiting") == 2.0);
    let newest = meshed(mesh, "web").ask(get("/batch/b"));
    let mut gold = meshed(mesh, "web");
    gold.send(get_with("/gold", "x-tier: gold\r\n"));
    let displaced = low.response();
    let mut probe = plain(mesh);
    probe.send(get_with("/well", "user-agent: kube-probe/1.33\r\n"));
    let is_in_time = begun.elapsed() < std::time::Duration::from_millis(700);
    if is_in_time {
        eventually("the probe is beside the limit", || at_once(mesh, "under-way") == 3.0);
    }
    is_open.store(true, SeqCst);
    let ends = [busy[0].response(), busy[1].response(), probe.response()];
    assert!(ends.iter().all(|answer| answer.status() == 200), "{ends:?}");
    let waited = [gold.response().status(), normal.response().status()];
    if !is_in_time {
        is_open.store(false, SeqCst);
        return false;
    }
    for shed in [&newest, &displaced] {
        assert_eq!((shed.status(), shed.reason()), (503, Some("overloaded")));
        assert_eq!(shed.header("retry-after"), Some("1"));
        assert!(shed.text().contains("as many requests under way"), "{}", shed.text());
    }
    assert_eq!(waited, [200, 200], "who waited has its turn");
    true
}

#[test]
fn over_the_limit_the_lowest_are_shed_and_probes_last() {
    let (app, is_open) = held();
    let mesh = under(pair(app.address), SPEC);
    let mut rounds = 0;
    while !play(&mesh, &is_open) {
        rounds += 1;
        assert!(rounds < 20, "the machine is too busy");
        eventually("all is over", || at_once(&mesh, "under-way") == 0.0);
    }
    let shed = |of: &str| mesh.inbound().metric("outrigger_shed_total", &[of]);
    assert!(shed("priority=\"low\"") >= 2.0);
    assert_eq!(shed("priority=\"probe\""), 0.0);
    eventually("places are given back", || at_once(&mesh, "under-way") == 0.0);
    assert_eq!(at_once(&mesh, "limit"), 2.0);
    let page = mesh.inbound().json("/policies")["limits"]["concurrency"].clone();
    assert_eq!(
        (&page[0]["policy"], &page[0]["says"]),
        (&"default/api".into(), &2.into()),
        "{page}"
    );
}

#[test]
fn an_adaptive_limit_is_found_and_shown() {
    let app = App::ok();
    let mesh = under(pair(app.address), "concurrency: {limit: adaptive, min: 4, max: 50}");
    let mut wire = plain(&mesh);
    for _ in 0..60 {
        assert_eq!(wire.ask(get("/")).status(), 200);
    }
    let limit = at_once(&mesh, "limit");
    assert!((4.0..=50.0).contains(&limit), "{limit}");
    let page = mesh.inbound().json("/policies")["limits"]["concurrency"][0].clone();
    assert_eq!(page["says"], "adaptive, 4 to 50", "{page}");
}
