//! A mesh of 200 services and 2,000 sidecars, all talking: it fits, and is put together in time.

use std::time::Instant;

use super::*;
use crate::control::api::recalled;

const SERVICES: u64 = 200;
const EACH: u64 = 10;
const CALLED: u64 = 5;

fn report(of: u64) -> Report {
    let mut report = Report { period: Duration::from_secs(5), ..Report::default() };
    for n in 0..CALLED {
        let to = (of + 1 + n * 7) % SERVICES;
        let label = format!("s{to}.shop:80");
        report.requests.push(called(&label, &identity(&format!("s{to}")), false, 50));
        report.requests.push(called(&label, &identity(&format!("s{to}")), true, 1));
        let from = (of + SERVICES - 1 - n * 7) % SERVICES;
        report.requests.push(served(&identity(&format!("s{from}")), 51));
        let mut counts = [0; 17];
        (counts[1], counts[3], counts[9]) = (25, 24, 2);
        let (service, route) = (label.as_str().into(), "default".into());
        report.latencies.push(Latencies { inbound: false, service, route, counts });
    }
    report
}

#[test]
fn half_an_hour_of_two_thousand_sidecars_fits() {
    let documents: Vec<String> =
        (0..SERVICES).map(|n| service(&format!("s{n}"), EACH as u32)).collect();
    let mesh = Mesh::new(BUDGET, &documents);
    let mut sidecars: Vec<(u64, Source)> = (0..SERVICES * EACH)
        .map(|n| (n / EACH, mesh.enter(&format!("s{}-{}", n / EACH, n % EACH))))
        .collect();
    // What the second sidecar of a service says changes numbers, and no sizes: all of them speak in
    // the last slots.
    let mut reports = 0;
    for slot in 0..180 {
        let speaks = if slot < 178 { EACH as usize } else { 1 };
        for (of, source) in sidecars.iter_mut().step_by(speaks) {
            mesh.take(source, report(*of), slot * 10);
            reports += 1;
        }
    }
    let now = 179 * 10 + 5;
    let used = mesh.observer.memory.used();
    assert!(used.bytes <= BUDGET, "{used:?}");
    assert_eq!(used.left_out, 0, "all of it fits: {used:?}");
    let graph = mesh.observer.graph(1800, at(now));
    assert_eq!(graph.nodes.len() as u64, SERVICES);
    assert_eq!(graph.edges.len() as u64, SERVICES * CALLED);
    let all: u64 = graph.edges.iter().map(|edge| edge.sums.requests).sum();
    assert_eq!(all, reports * CALLED * 51, "every request is there, and once");
    let slots = part::Slots { first: 0, last: slot_of(unix_ms(at(now))) };
    let question = part::Question { rows: Some(slots), ..part::Question::default() };
    let told = recalled::part(mesh.observer.recall(&question, at(now)));
    assert_eq!(told.left_out, 0, "another replica is told all of it");
    let told = prost::Message::encoded_len(&told);
    let begun = Instant::now();
    mesh.observer.graph(60, at(now));
    let minute = begun.elapsed();
    mesh.observer.service("s7.shop", 60, 30, at(now)).expect("it is there");
    println!(
        "{} MiB, {} KiB for another replica; a minute's graph took {minute:?}, with a service {:?}",
        used.bytes >> 20,
        told >> 10,
        begun.elapsed()
    );
}
