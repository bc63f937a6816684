//! What is open: on the edges and services that it is between, told once by whoever can tell.

use super::*;
use crate::control::memory::report::Opened;

fn open(service: &str, peer: &str, count: u64) -> Opened {
    Opened {
        inbound: false,
        service: service.into(),
        route: "default".into(),
        spoken: Spoken::Tcp,
        peer: peer.into(),
        count,
    }
}

fn held(peer: &str, count: u64) -> Opened {
    Opened { inbound: true, ..open("db.shop:8080", peer, count) }
}

fn says(open: Vec<Opened>) -> Report {
    Report { period: Duration::from_secs(5), open, ..Report::default() }
}

/// `from → to open`, and how it is secured.
fn edges(mesh: &Mesh, seconds: u64) -> Vec<String> {
    let graph = mesh.observer.graph(60, at(seconds));
    let line = |of: &Edge| format!("{} → {} {} {:?}", of.from, of.to, of.open, of.tls());
    let mut lines: Vec<String> = graph.edges.iter().map(line).collect();
    lines.sort();
    lines
}

#[test]
fn it_makes_edges_where_nothing_has_ended() {
    let mesh = Mesh::new(BUDGET, &[service("web", 2), service("db", 1)]);
    let [mut web, mut other] = [mesh.enter("web-0"), mesh.enter("web-1")];
    let mut db = mesh.enter("db-0");
    let id = identity("db");
    mesh.take(&mut web, says(vec![open("db.shop:80", &id, 3), open("unknown", "", 1)]), 20);
    mesh.take(&mut other, says(vec![open("db.shop:80", &id, 2)]), 21);
    // Of the first caller nothing is news; the others have no sidecar that tells.
    let told = vec![held(&identity("web"), 5), held(&identity("old"), 4), held("", 6)];
    mesh.take(&mut db, says(told), 22);
    let all = [
        "old.shop → db.shop 4 Some(\"mtls\")",
        "unmeshed → db.shop 6 Some(\"none\")",
        "web.shop → db.shop 5 Some(\"mtls\")",
        "web.shop → external 1 Some(\"none\")",
    ];
    assert_eq!(edges(&mesh, 23), all);
    // However long ago they began.
    assert_eq!(edges(&mesh, 2000), all);
    let graph = mesh.observer.graph(60, at(23));
    let db_node = graph.nodes.iter().find(|node| &*node.name == "db.shop").expect("it is there");
    assert_eq!((db_node.open, db_node.sums.requests), (15, 0));
    let edge = graph.edges.iter().find(|edge| edge.open == 5).expect("it is there");
    let ids = [&edge.from_identity, &edge.to_identity].map(|id| id.as_deref());
    assert_eq!(ids, [Some(&*identity("web")), Some(&*id)]);
    assert_eq!(edge.spoken, Some(Spoken::Tcp));
    let route = graph.routes.iter().find(|route| &*route.to == "db.shop").expect("it is there");
    assert_eq!((&*route.route, route.open), ("default", 5));
    let page = mesh.observer.service("db.shop", 60, 30, at(23)).expect("it is a service");
    assert_eq!((page.node.open, page.callers.len(), page.routes[0].open), (15, 3, 5));
}

#[test]
fn what_is_over_is_gone_and_who_was_killed_holds_nothing() {
    let mesh = Mesh::new(BUDGET, &[service("web", 1), service("db", 1)]);
    let [mut web, mut db] = [mesh.enter("web-0"), mesh.enter("db-0")];
    let now = |count| says(vec![open("db.shop:80", &identity("db"), count)]);
    mesh.take(&mut web, now(3), 20);
    mesh.take(&mut web, now(2), 25);
    assert_eq!(edges(&mesh, 26), ["web.shop → db.shop 2 Some(\"mtls\")"]);
    mesh.take(&mut web, says(vec![]), 30);
    assert_eq!(edges(&mesh, 31), [""; 0]);
    mesh.take(&mut web, now(4), 35);
    drop(web);
    assert_eq!(edges(&mesh, 49), ["web.shop → db.shop 4 Some(\"mtls\")"], "it may come back");
    let mut back = mesh.enter("web-0");
    mesh.take(&mut back, now(1), 40);
    assert_eq!(edges(&mesh, 41), ["web.shop → db.shop 1 Some(\"mtls\")"]);
    // The called one sees its end before anybody.
    mesh.take(&mut db, says(vec![]), 42);
    drop(back);
    assert_eq!(edges(&mesh, 55), [""; 0]);
    drop(db);
    mesh.observer.memory.sweep(at(60));
    let bytes = mesh.observer.memory.used().bytes;
    assert_eq!(bytes, Mesh::new(BUDGET, &[]).observer.memory.used().bytes);
}
