//! Sidecars that lie: they lie about themselves, and take no more than their share.

use super::*;
use crate::control::memory::report::{Kept, State, Unready};
use crate::control::memory::spans::tests::kept;

const SMALL: usize = 4 << 20;

fn timed(mut span: Kept, seconds: u64) -> Kept {
    span.started_us = unix_ms(at(seconds)) * 1000;
    span
}

#[test]
fn a_name_that_somebody_chose_makes_nobody_else() {
    let mesh = Mesh::new(BUDGET, &[service("web", 1), service("api", 1)]);
    let mut liar = mesh.enter_as("liar", "web-0");
    mesh.take(&mut liar, counts(vec![called("api.shop:80", "", true, 9)]), 10);
    assert_eq!(mesh.edges(11), ["liar.shop → api.shop 9/9 Some(\"none\")"]);
    // Nor do callers that it makes up count for those whose sidecars speak for themselves.
    let mut web = mesh.enter("web-0");
    mesh.take(&mut web, counts(vec![called("api.shop:80", &identity("api"), false, 1)]), 10);
    mesh.take(&mut liar, counts(vec![served(&identity("web"), 1000)]), 15);
    let edges = mesh.edges(16);
    assert!(edges.contains(&"web.shop → api.shop 1/0 Some(\"mtls\")".to_owned()), "{edges:?}");
    assert!(edges.iter().all(|edge| !edge.contains("→ web.shop")), "{edges:?}");
}

#[test]
fn numbers_and_times_beyond_all_bounds_stay_within_some() {
    let mesh = Mesh::new(BUDGET, &[service("web", 1)]);
    let mut liar = mesh.enter("liar-1");
    let mut report = counts(vec![called("web.shop:80", "", false, u64::MAX)]);
    report.period = Duration::MAX;
    report.now_us = unix_ms(at(100)) * 1000;
    let mut span = kept(1, 1, 0);
    (span.started_us, span.duration_us) = (i64::MAX, u64::MAX);
    let mut other = kept(1, 2, 1);
    other.started_us = i64::MIN;
    let mut endless = kept(1, 3, 1);
    (endless.started_us, endless.duration_us) = (unix_ms(at(100)) * 1000, u64::MAX);
    report.spans = vec![span, other, endless];
    let counts = [u64::MAX; 17];
    let (service, route) = ("web.shop:80".into(), "default".into());
    report.latencies.push(Latencies { inbound: false, service, route, counts });
    mesh.take(&mut liar, report, 100);
    let graph = mesh.observer.graph(1800, at(105));
    assert!(graph.edges[0].sums.requests <= u64::from(track::SLOTS) * source::MOST);
    let trace = mesh.observer.trace(1, at(105)).0.expect("it was kept");
    assert_eq!((trace.spans.len(), trace.spans[0].seen.kept.duration_us), (1, 2_000_000));
    assert!(mesh.observer.service("web.shop", 60, 30, at(105)).is_some());
}

#[test]
fn a_flood_of_names_takes_nothing_from_others() {
    let mesh = Mesh::new(SMALL, &[service("web", 1), service("api", 1)]);
    let mut web = mesh.enter("web-0");
    let mut honest = counts(vec![called("api.shop:80", &identity("api"), false, 11)]);
    honest.spans = vec![timed(kept(7, 1, 0), 10)];
    honest.now_us = unix_ms(at(10)) * 1000;
    mesh.take(&mut web, honest, 10);
    let mut flood = mesh.enter("flood-1");
    for n in 0..200u64 {
        // Each as large as one may be, and one second apart.
        let row = |at: u64| Requests {
            route: format!("{}-{n}-{at}", "r".repeat(400)).into(),
            ..called("api.shop:80", &format!("p-{n}-{at}"), false, 1)
        };
        let mut report = counts((0..500).map(row).collect());
        let seconds = 11 + n / 5;
        report.spans =
            (0..50).map(|at| timed(kept(u128::from(1000 + n * 50 + at), 1, 0), seconds)).collect();
        let endpoint = |port: u16| (([10, 0, 0, 1], port).into(), State::Ejected);
        let unready = |at: u64| Unready {
            service: format!("s-{n}-{at}.shop:80").into(),
            endpoints: (0..10).map(endpoint).collect(),
            is_used: true,
        };
        report.now_us = unix_ms(at(seconds)) * 1000;
        report.endpoints = (0..100).map(unready).collect();
        mesh.take(&mut flood, report, 11 + n / 5);
        mesh.take(&mut flood, Report::default(), 11 + n / 5);
        let Use { bytes, .. } = mesh.observer.memory.used();
        assert!(bytes <= SMALL, "{bytes}");
    }
    let edges = mesh.edges(52);
    assert!(edges.contains(&"web.shop → api.shop 11/0 Some(\"mtls\")".to_owned()), "{edges:?}");
    assert!(mesh.observer.trace(7, at(52)).0.is_some());
    assert!(mesh.observer.memory.used().left_out > 1000);
    drop(flood);
    let told = mesh.observer.memory.lock().states.bytes();
    assert_eq!(told, 0, "what it said of endpoints went with it");
}

#[test]
fn who_reports_without_a_pause_is_not_heard_more_often() {
    let mesh = Mesh::new(BUDGET, &[service("web", 1)]);
    let mut hasty = mesh.enter("hasty-1");
    for _ in 0..100 {
        mesh.take(&mut hasty, counts(vec![called("web.shop:80", "", false, 1)]), 10);
    }
    assert_eq!(mesh.edges(11), ["hasty.shop → web.shop 8/0 Some(\"none\")"]);
    assert_eq!(mesh.observer.memory.used().left_out, 92);
    // A stall is over: it is heard again, and once in half a second.
    for _ in 0..2 {
        mesh.take(&mut hasty, counts(vec![called("web.shop:80", "", false, 1)]), 11);
    }
    assert_eq!(mesh.edges(12), ["hasty.shop → web.shop 10/0 Some(\"none\")"]);
    // A clock that is set back takes nobody's turn for good.
    mesh.take(&mut hasty, Report::default(), 5);
    mesh.take(&mut hasty, counts(vec![called("web.shop:80", "", false, 1)]), 6);
    assert_eq!(mesh.edges(12), ["hasty.shop → web.shop 11/0 Some(\"none\")"]);
}
