//! The memory as a whole: what sidecars report and what people are told of it, lies and floods
//! included.

mod hostile;
mod merged;
mod open;
mod scale;
mod told;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::report::{Latencies, Outcome, Report, Requests, Spoken};
use super::*;
use crate::control::catalog::{StoredResource, resource_name};
use crate::control::plaintext::Plaintext;
use crate::control::store::{Key as StoreKey, Record, Shelf};
use crate::model::{SpiffeId, TrustDomain};
use crate::resources::{Origin, manifest, parse_documents};

/// A service of a namespace, with workloads of the account of the same name.
fn service(name: &str, workloads: u32) -> String {
    let mut text = format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: shop}}, spec: \
         {{selector: {{app: {name}}}, ports: [{{port: 80, targetPort: 8080}}]}}}}\n"
    );
    for n in 0..workloads {
        text += &format!(
            "---\n{{apiVersion: outrigger.dev/v1alpha1, kind: Workload, metadata: {{name: {name}-{n}, \
             namespace: shop, labels: {{app: {name}}}}}, spec: {{address: 10.0.0.{n}, \
             serviceAccount: {name}, ports: [{{port: 8080}}]}}}}\n"
        );
    }
    text
}

fn catalog(documents: &[String]) -> Catalog {
    let text = documents.join("---\n");
    let read = parse_documents(&text, &Origin::file("test"), "shop").expect("sound");
    let record = |resource: &crate::resources::Resource| {
        let metadata = resource.metadata();
        let name = resource_name(resource.kind(), &metadata.namespace, &metadata.name);
        let stored =
            StoredResource { manifest: manifest::of(resource), created_ms: 0, enrollment: None };
        let key = StoreKey { shelf: Shelf::Resources, name };
        Record { key, version: 1, value: stored.encode() }
    };
    let records: Vec<Record> = read.iter().map(record).collect();
    Catalog::new(TrustDomain::default(), 1, &records)
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs((1 << 30) + seconds)
}

struct Mesh {
    observer: Observer,
}

fn observer(memory: Arc<Memory>, catalog: Arc<Catalog>) -> Observer {
    let plaintext = Arc::new(Plaintext::new(at(0)));
    Observer { memory, catalog, sessions: Arc::default(), plaintext, others: None }
}

impl Mesh {
    fn new(budget: usize, documents: &[String]) -> Self {
        let memory = Arc::new(Memory::new(budget, "one", at(0)));
        Self { observer: observer(memory, Arc::new(catalog(documents))) }
    }

    /// A session of a workload, under the account that its name begins with.
    fn enter(&self, workload: &str) -> Source {
        let account = workload.rsplit_once('-').map_or(workload, |(account, _)| account);
        self.enter_as(account, workload)
    }

    fn enter_as(&self, account: &str, workload: &str) -> Source {
        let id = SpiffeId::new(&TrustDomain::default(), "shop", account).expect("a legal id");
        self.observer.memory.enter(&id, workload)
    }

    fn take(&self, source: &mut Source, report: Report, seconds: u64) {
        if let Some(turn) = source.admit(at(seconds)) {
            turn.take(report, &self.observer.catalog);
        }
    }

    /// `from → to requests/failures`, of the last minute.
    fn edges(&self, seconds: u64) -> Vec<String> {
        let graph = self.observer.graph(60, at(seconds));
        let line = |edge: &Edge| {
            let Sums { requests, failed, .. } = edge.sums;
            format!("{} → {} {requests}/{failed} {:?}", edge.from, edge.to, edge.tls())
        };
        let mut lines: Vec<String> = graph.edges.iter().map(line).collect();
        lines.sort();
        lines
    }
}

fn identity(account: &str) -> String {
    format!("spiffe://cluster.local/ns/shop/sa/{account}")
}

fn called(service: &str, peer: &str, failed: bool, count: u64) -> Requests {
    let (proved, plain) = (!peer.is_empty(), peer.is_empty());
    Requests {
        inbound: false,
        service: service.into(),
        route: "default".into(),
        spoken: Spoken::Http,
        peer: peer.into(),
        outcome: Outcome { failed, proved, plain },
        count,
    }
}

fn served(peer: &str, count: u64) -> Requests {
    Requests { inbound: true, ..called("web.shop:8080", peer, false, count) }
}

fn counts(requests: Vec<Requests>) -> Report {
    Report { period: Duration::from_secs(5), requests, ..Report::default() }
}

#[test]
fn a_call_is_told_once_by_its_caller_and_by_the_called_where_it_has_none() {
    let mesh = Mesh::new(BUDGET, &[service("web", 2), service("api", 1)]);
    let [mut web, mut api] = [mesh.enter("web-0"), mesh.enter("api-0")];
    let mut client = mesh.enter("client-7");
    let api_id = identity("api");
    mesh.take(&mut client, counts(vec![called("web.shop:80", &identity("web"), false, 5)]), 21);
    let calls = vec![
        called("api.shop:80", &api_id, false, 30),
        called("api.shop:80", &api_id, true, 4),
        called("unknown", "", false, 2),
        served(&identity("client"), 5),
        served("", 7),
    ];
    mesh.take(&mut web, counts(calls), 22);
    // What nobody else tells of: a caller of an account that reports nothing here.
    let calls = vec![served(&identity("web"), 34), served(&identity("old"), 3)];
    mesh.take(&mut api, counts(calls), 23);
    assert_eq!(
        mesh.edges(25),
        [
            "client.shop → web.shop 5/0 Some(\"mtls\")",
            "old.shop → api.shop 3/0 Some(\"mtls\")",
            "unmeshed → web.shop 7/0 Some(\"none\")",
            "web.shop → api.shop 34/4 Some(\"mtls\")",
            "web.shop → external 2/0 Some(\"none\")",
        ]
    );
    let graph = mesh.observer.graph(60, at(25));
    let node = |name: &str| {
        let found = graph.nodes.iter().find(|node| &*node.name == name).expect("it is there");
        (found.kind, found.sums.requests, found.ready)
    };
    assert_eq!(node("api.shop"), ("service", 37, 1));
    assert_eq!(node("web.shop"), ("service", 12, 2));
    assert_eq!(node("client.shop"), ("workload", 0, 0));
    assert_eq!(node("external"), ("external", 2, 0));
    assert_eq!(node("unmeshed"), ("unmeshed", 0, 0));
    assert_eq!(mesh.edges(120), [""; 0], "a minute later nothing is new");
    let service = mesh.observer.service("api.shop", 60, 30, at(40)).expect("it is there");
    assert_eq!(service.points.iter().map(|point| point.sums.requests).sum::<u64>(), 37);
    assert!(mesh.observer.service("nobody.shop", 60, 30, at(40)).is_none());
}

#[test]
fn what_came_together_in_a_long_time_is_not_of_the_last_seconds() {
    let mesh = Mesh::new(BUDGET, &[service("web", 1)]);
    let mut client = mesh.enter("client-1");
    let mut report = counts(vec![called("web.shop:80", "", false, 603)]);
    report.period = Duration::from_secs(600);
    let mut counts = [0; 17];
    counts[3] = 603;
    let (service, route) = ("web.shop:80".into(), "default".into());
    report.latencies.push(Latencies { inbound: false, service, route, counts });
    mesh.take(&mut client, report, 1200);
    assert_eq!(mesh.edges(1205), ["client.shop → web.shop 60/0 Some(\"none\")"]);
    let all = mesh.observer.graph(1800, at(1205));
    assert_eq!(all.edges[0].sums.requests, 603);
    assert_eq!(all.edges[0].sums.buckets[3], 603);
}

#[test]
fn half_an_hour_is_kept_and_no_more() {
    let mesh = Mesh::new(BUDGET, &[service("web", 1)]);
    let mut client = mesh.enter("client-1");
    for minute in 0..60 {
        let report = counts(vec![called("web.shop:80", "", false, 1)]);
        mesh.take(&mut client, report, minute * 60);
        mesh.observer.memory.sweep(at(minute * 60));
    }
    let now = 59 * 60;
    assert_eq!(mesh.observer.graph(1800, at(now)).edges[0].sums.requests, 30);
    mesh.observer.memory.sweep(at(now + 1800));
    assert_eq!(mesh.observer.memory.used(), Use { budget: BUDGET, ..Use::default() });
}

#[test]
fn a_workload_that_drains_still_counts_as_what_it_was() {
    let mesh = Mesh::new(BUDGET, &[service("web", 1), service("api", 1)]);
    let mut web = mesh.enter("web-0");
    mesh.take(&mut web, counts(vec![called("api.shop:80", "", false, 1)]), 10);
    let gone = Mesh {
        observer: observer(
            Arc::clone(&mesh.observer.memory),
            Arc::new(catalog(&[service("web", 0), service("api", 1)])),
        ),
    };
    gone.observer.memory.directory.store(Arc::new(Directory::of(&gone.observer.catalog)));
    gone.take(&mut web, counts(vec![called("api.shop:80", "", false, 2)]), 15);
    assert_eq!(gone.edges(16), ["web.shop → api.shop 3/0 Some(\"none\")"]);
    // Another of that account was never anybody's endpoint, and is not the service.
    let mut job = gone.enter_as("web", "job-1");
    gone.take(&mut job, counts(vec![called("api.shop:80", "", false, 4)]), 15);
    assert_eq!(gone.edges(16)[0], "web.shop (account) → api.shop 4/0 Some(\"none\")");
}
