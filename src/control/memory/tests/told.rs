//! Who means whom: callers name services, and those who are called go by one of theirs. Every request
//! counts once, whichever it was called by.

use super::*;

/// A service beside that of the same workloads: of those that have a label.
fn beside(name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: shop}}, spec: \
         {{{spec}, ports: [{{port: 80, targetPort: 8080}}]}}}}\n"
    )
}

fn workload(name: &str, labels: &str, address: &str) -> String {
    format!(
        "{{apiVersion: outrigger.dev/v1alpha1, kind: Workload, metadata: {{name: {name}, \
         namespace: shop, labels: {{{labels}}}}}, spec: {{address: {address}, \
         serviceAccount: web, ports: [{{port: 8080}}]}}}}\n"
    )
}

fn points(mesh: &Mesh, name: &str) -> u64 {
    let service = mesh.observer.service(name, 60, 30, at(60)).expect("it is there");
    service.points.iter().map(|point| point.sums.requests).sum()
}

#[test]
fn a_canary_that_is_called_by_its_own_name_counts_once() {
    let canary = beside("web-canary", "selector: {track: canary}");
    let [stable, new] = [
        workload("web-0", "app: web", "10.0.1.1"),
        workload("web-1", "app: web, track: canary", "10.0.1.2"),
    ];
    let mesh = Mesh::new(BUDGET, &[service("web", 0), canary, stable, new]);
    let mut client = mesh.enter("client-1");
    let web = identity("web");
    let calls = vec![
        called("web.shop:80", &web, false, 90),
        called("web-canary.shop:80", &web, false, 10),
        called("web-canary.shop:80", "", true, 1),
    ];
    mesh.take(&mut client, counts(calls), 20);
    for (workload, count) in [("web-0", 80), ("web-1", 20)] {
        let mut web = mesh.enter(workload);
        let calls = vec![served(&identity("client"), count), served(&identity("old"), 3)];
        mesh.take(&mut web, counts(calls), 21);
    }
    let told = [
        "client.shop → web-canary.shop 11/1 Some(\"none\")",
        "client.shop → web.shop 90/0 Some(\"mtls\")",
        "old.shop → web.shop 6/0 Some(\"mtls\")",
    ];
    assert_eq!(mesh.edges(25), told);
    assert_eq!((points(&mesh, "web.shop"), points(&mesh, "web-canary.shop")), (96, 11));
    // A caller of the canary alone: that the stable one tells of it too is news.
    let mut other = mesh.enter("other-1");
    mesh.take(&mut other, counts(vec![called("web-canary.shop:80", &web, false, 5)]), 22);
    let mut callee = mesh.enter("web-1");
    mesh.take(&mut callee, counts(vec![served(&identity("other"), 5)]), 23);
    let edges = mesh.edges(25);
    assert!(edges.contains(&"other.shop → web-canary.shop 5/0 Some(\"mtls\")".to_owned()));
    assert_eq!(edges.len(), 4, "{edges:?}");
    assert_eq!(points(&mesh, "web.shop"), 96);
}

#[test]
fn a_service_without_an_address_is_told_once_beside_one_with() {
    let headless = beside("web-headless", "selector: {app: web}, clusterIP: None");
    let mesh = Mesh::new(
        BUDGET,
        &[service("web", 0), headless, workload("web-0", "app: web", "10.0.1.1")],
    );
    let [mut client, mut web] = [mesh.enter("client-1"), mesh.enter("web-0")];
    let calls = vec![
        called("web-headless.shop:80", &identity("web"), false, 7),
        // By the address of its workload, at a port of its own and at another.
        called("10.0.1.1.instance:8080", &identity("web"), false, 2),
        called("10.0.1.1.instance:9090", &identity("web"), false, 1),
        called("10.0.1.9.instance:8080", "", false, 1),
    ];
    mesh.take(&mut client, counts(calls), 20);
    mesh.take(&mut web, counts(vec![served(&identity("client"), 10)]), 21);
    assert_eq!(
        mesh.edges(25),
        [
            "client.shop → external 1/0 Some(\"none\")",
            "client.shop → web-headless.shop 7/0 Some(\"mtls\")",
            "client.shop → web.shop 3/0 Some(\"mtls\")",
        ]
    );
    assert_eq!(points(&mesh, "web.shop"), 3);
}

#[test]
fn workloads_of_one_machine_are_told_apart_by_their_ports() {
    let shared = |name: &str, port: u16| {
        format!(
            "{{apiVersion: outrigger.dev/v1alpha1, kind: Workload, metadata: {{name: {name}-0, \
             namespace: shop, labels: {{app: {name}}}}}, spec: {{address: 127.0.0.1, \
             serviceAccount: {name}, ports: [{{name: http, port: {port}}}]}}}}\n"
        )
    };
    let named =
        |name: &str| beside(name, &format!("selector: {{app: {name}}}")).replace("8080", "http");
    let documents = [named("api"), named("web"), shared("api", 8001), shared("web", 8002)];
    let mesh = Mesh::new(BUDGET, &documents);
    let mut client = mesh.enter("client-1");
    let ports = [8001, 8002, 8003];
    let call = |port| called(&format!("127.0.0.1.instance:{port}"), "", false, 1);
    mesh.take(&mut client, counts(ports.map(call).into()), 20);
    assert_eq!(
        mesh.edges(25),
        [
            "client.shop → api.shop 1/0 Some(\"none\")",
            "client.shop → external 1/0 Some(\"none\")",
            "client.shop → web.shop 1/0 Some(\"none\")",
        ]
    );
}

#[test]
fn what_happened_before_the_memory_began_is_not_of_its_rates() {
    let mut mesh = Mesh::new(BUDGET, &[service("web", 1)]);
    mesh.observer.memory = Arc::new(Memory::new(BUDGET, "one", at(1000)));
    let mut client = mesh.enter("client-1");
    let mut report = counts(vec![called("web.shop:80", "", false, 600)]);
    report.period = Duration::from_secs(600);
    mesh.take(&mut client, report, 1006);
    let graph = mesh.observer.graph(60, at(1006));
    let rate = Measured::of(&graph.edges[0].sums, graph.seconds).rate;
    assert!(rate > 0.5 && rate < 5.0, "one a second was told, not {rate}");
}

#[test]
fn who_invents_callers_has_them_counted_together() {
    let mesh = Mesh::new(BUDGET, &[service("web", 1)]);
    let mut liar = mesh.enter("web-0");
    for at in 0..6u64 {
        let row = |n: u64| served(&identity(&format!("nobody-{at}-{n}")), 1);
        mesh.take(&mut liar, counts((0..1000).map(row).collect()), 10 + at);
    }
    let graph = mesh.observer.graph(60, at(17));
    assert!(graph.edges.len() < 5000, "{}", graph.edges.len());
    let other = graph.edges.iter().find(|edge| &*edge.from == "other").expect("the rest");
    assert!(other.sums.requests > 1000 && other.from_identity.is_none());
    assert_eq!(graph.edges.iter().map(|edge| edge.sums.requests).sum::<u64>(), 6000);
    assert_eq!(points(&mesh, "web.shop"), 6000);
}
