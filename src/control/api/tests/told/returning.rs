//! What a sidecar that was away is told, and what it may begin with.

use std::sync::Arc;

use super::{Mesh, NAMESPACE};
use crate::agent::session::Want;
use crate::control::api::convert::Wanted;
use crate::control::api::subscriptions::{MOST, Subscriptions};
use crate::model::ServiceName;

fn service(name: &str, ports: u16) -> String {
    let ports: Vec<String> =
        (80..80 + ports).map(|port| format!("{{name: p{port}, port: {port}}}")).collect();
    let ports = ports.join(", ");
    format!(
        "
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec: {{selector: {{app: {name}}}, ports: [{ports}]}}
"
    )
}

fn name(number: usize) -> ServiceName {
    ServiceName::new(&format!("s{number}"), "shop", 80).expect("a name")
}

#[test]
fn a_service_that_went_while_so_many_did_that_it_was_forgotten_is_gone() {
    let mut mesh = Mesh::new();
    mesh.put(&service("web", 1), false);
    mesh.ask(Want::Service(ServiceName::new("web", "shop", 80).expect("a name")));
    mesh.settle();
    assert_eq!(mesh.known.picture().services.len(), 1);

    mesh.put(&service("web", 1), true);
    mesh.put(&service("crowd", 200), false);
    mesh.put(&service("crowd", 200), true);
    mesh.reconnect(true);
    mesh.settle();
    assert_eq!(mesh.known.picture().services.len(), 0);

    // Who was told after that builds on it.
    mesh.reconnect(true);
    assert_eq!(mesh.down.back().map(|update| update.services.len()), Some(0));
    mesh.check();
}

#[test]
fn what_was_asked_for_is_bounded_and_what_that_leads_to_leaves_room() {
    let catalog = Arc::clone(&Mesh::new().catalog);
    let fresh = || Subscriptions::new(Arc::clone(&catalog), "0".into(), NAMESPACE);
    let wanted = |numbers: std::ops::Range<usize>| Wanted {
        services: numbers.map(name).collect(),
        addresses: Vec::new(),
    };
    let implied = |many: usize| (MOST..MOST + many).map(name).collect();

    let mut session = fresh();
    session.begin(&wanted(0..MOST - 1), implied(MOST + 1), "").expect("as much as may be");
    session.subscribe(&wanted(0..MOST)).expect("one more, however many are led to");
    session.subscribe(&wanted(0..MOST)).expect("what it has, once more");
    let refused = session.subscribe(&wanted(MOST..MOST + 1)).expect_err("too much");
    assert!(refused.contains("this one has 10000 and asks for 1 more"), "{refused}");

    let refused = fresh().begin(&wanted(0..1), implied(2 * MOST), "").expect_err("too much");
    assert!(refused.contains("this one names 20001"), "{refused}");
    let refused = fresh().begin(&wanted(0..MOST + 1), Vec::new(), "").expect_err("too much");
    assert!(refused.contains("at most 10000"), "{refused}");
}

/// Its first answer comes when it was let go and asked for once more, and the session ends before
/// that is heard.
#[test]
fn an_answer_from_before_it_was_let_go_is_not_built_on() {
    let mut mesh = Mesh::new();
    let of = |name: &str| Want::Service(ServiceName::new(name, "shop", 80).expect("a name"));
    mesh.ask(of("s1"));
    mesh.ask(of("s2"));
    mesh.listen();
    mesh.tell();
    mesh.put(&service("s1", 1), false);
    mesh.sweep(0b0100);
    mesh.listen();
    mesh.ask(of("s1"));
    mesh.put(&service("s2", 1), false);
    mesh.tell();
    mesh.hear(false);
    mesh.reconnect(true);
    mesh.check();
}
