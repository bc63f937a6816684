//! The services as their callers see them, over a store in memory.

use std::future::Future;
use std::sync::Arc;

use proptest::prelude::*;
use tonic::{Code, Request, Status};

use super::configuration::Configuration;
use super::tokens::{Mint, Tokens};
use crate::control::catalog::{Catalog, StoredResource};
use crate::control::store::memory::Memory;
use crate::control::store::{Expect, Key, Shelf, Store, Write};
use crate::model::TrustDomain;
use crate::resources::{Origin, manifest, parse_documents};
use crate::wire::v1;
use crate::wire::v1::change::Action;
use crate::wire::v1::configuration_server::Configuration as _;

mod created;
mod given_back;
mod properties;
mod tokens;
mod told;
mod watch;

const WEB: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, clusterIP: 10.0.0.7, ports: [{port: 80}]}
";

struct Bench {
    store: Arc<Memory>,
    catalog: Arc<Catalog>,
    configuration: Configuration,
}

impl Bench {
    fn new() -> Self {
        let store = Arc::new(Memory::default());
        let catalog = Arc::new(Catalog::new(TrustDomain::default(), 0, &[]));
        let follower = Arc::clone(&catalog);
        store.follow(Box::new(move |committed| follower.absorb(committed))).expect("readable");
        let held: Arc<dyn Store> = Arc::clone(&store) as _;
        let configuration = Configuration::new(Arc::clone(&catalog), held, false);
        Self { store, catalog, configuration }
    }

    async fn send(&self, request: v1::ApplyRequest) -> Result<v1::ApplyResponse, Status> {
        self.configuration.apply(Request::new(request)).await.map(|answer| answer.into_inner())
    }

    async fn apply(&self, text: &str) -> v1::ApplyResponse {
        self.send(call(&[("a.yaml", text)])).await.expect("an answer")
    }

    /// Applies what must be in order.
    async fn applied(&self, text: &str) -> Vec<Action> {
        let answer = self.apply(text).await;
        assert_eq!(answer.faults, []);
        actions(&answer.changes)
    }

    async fn delete(&self, request: v1::DeleteRequest) -> Result<v1::DeleteResponse, Status> {
        self.configuration.delete(Request::new(request)).await.map(|answer| answer.into_inner())
    }

    async fn list(&self, kind: &str, namespace: &str) -> Result<Vec<v1::Resource>, Status> {
        let answer = self.configuration.list(Request::new(listing(kind, namespace))).await?;
        Ok(answer.into_inner().resources)
    }

    async fn find(&self, kind: &str, namespace: &str, name: &str) -> Result<v1::Resource, Status> {
        let request = v1::GetRequest { key: Some(key(kind, namespace, name)) };
        self.configuration.get(Request::new(request)).await.map(|answer| answer.into_inner())
    }

    async fn register(&self, name: &str) {
        let write = registering(name, Expect::Absent);
        self.store.commit(vec![write]).await.expect("free");
    }
}

fn listing(kind: &str, namespace: &str) -> v1::ListRequest {
    v1::ListRequest { kind: kind.into(), namespace: namespace.into() }
}

fn key(kind: &str, namespace: &str, name: &str) -> v1::ResourceKey {
    v1::ResourceKey { kind: kind.into(), namespace: namespace.into(), name: name.into() }
}

fn call(documents: &[(&str, &str)]) -> v1::ApplyRequest {
    let document = |(source, text): &(&str, &str)| v1::Document {
        source: (*source).into(),
        text: (*text).into(),
    };
    v1::ApplyRequest {
        documents: documents.iter().map(document).collect(),
        ..v1::ApplyRequest::default()
    }
}

fn service(name: &str, ip: &str, port: u16) -> String {
    format!(
        "---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec: {{clusterIP: {ip}, ports: [{{port: {port}}}]}}
"
    )
}

fn workload(name: &str) -> String {
    format!(
        "---
apiVersion: outrigger.dev/v1alpha1
kind: Workload
metadata: {{name: {name}, namespace: shop}}
spec: {{address: 10.0.1.1}}
"
    )
}

fn written(shelf: Shelf, name: String, text: &str, expect: Expect) -> Write {
    let read = parse_documents(text, &Origin::file("test"), "default").expect("sound");
    let stored =
        StoredResource { manifest: manifest::of(&read[0]), created_ms: 7, enrollment: Some(1) };
    Write { key: Key { shelf, name: name.into() }, expect, value: Some(stored.encode()) }
}

fn registering(name: &str, expect: Expect) -> Write {
    written(Shelf::Registrations, format!("shop/{name}"), &workload(name), expect)
}

/// Somebody else's way past this service.
fn overwriting(text: &str) -> Write {
    written(Shelf::Resources, "Service/shop/web".to_owned(), text, Expect::Any)
}

fn actions(changes: &[v1::Change]) -> Vec<Action> {
    changes.iter().map(v1::Change::action).collect()
}

fn names(resources: &[v1::Resource]) -> Vec<String> {
    let name = |resource: &v1::Resource| {
        let key = resource.key.clone().expect("a key");
        format!("{}/{}/{}", key.kind, key.namespace, key.name)
    };
    resources.iter().map(name).collect()
}

fn with_version(text: &str, version: &str) -> String {
    text.replace("namespace: shop", &format!("namespace: shop, resourceVersion: \"{version}\""))
}

#[tokio::test]
async fn what_is_applied_is_there_with_its_version_and_stays_as_old_as_it_is() {
    let bench = Bench::new();
    assert_eq!(bench.applied(WEB).await, [Action::Created]);
    let made = bench.find("Service", "shop", "web").await.expect("there");
    assert_eq!((made.version.as_str(), made.source()), ("1", v1::Source::Applied));
    assert!(made.created_ms > 1_700_000_000_000, "{}", made.created_ms);
    let shown: serde_json::Value = serde_json::from_str(&made.manifest).expect("JSON");
    assert_eq!(shown["metadata"]["resourceVersion"], "1");

    let changed = WEB.replace("port: 80", "port: 81");
    let answer = bench.apply(&changed).await;
    assert_eq!(actions(&answer.changes), [Action::Updated]);
    let (before, after) = (&answer.changes[0].before, &answer.changes[0].after);
    assert!(before.contains("\"port\":80") && after.contains("\"port\":81"), "{before} {after}");
    assert!(!before.contains("resourceVersion") && !after.contains("resourceVersion"));
    let now = bench.find("Service", "shop", "web").await.expect("there");
    assert_eq!((now.version.as_str(), now.created_ms), ("2", made.created_ms));
    // What was shown can be given back.
    assert_eq!(bench.applied(&now.manifest).await, [Action::Unchanged]);
    // One of long ago stays of long ago.
    bench.store.commit(vec![overwriting(WEB)]).await.expect("nobody minds");
    assert_eq!(bench.applied(&changed).await, [Action::Updated]);
    assert_eq!(bench.find("Service", "shop", "web").await.expect("there").created_ms, 7);
}

#[tokio::test]
async fn what_is_the_same_is_not_written() {
    let bench = Bench::new();
    bench.applied(WEB).await;
    assert_eq!(bench.store.commits(), 1);
    assert_eq!(bench.applied(WEB).await, [Action::Unchanged]);
    assert_eq!((bench.store.commits(), bench.catalog.revision()), (1, 1));
    let both = format!("{WEB}{}", service("api", "10.0.0.8", 80));
    assert_eq!(bench.applied(&both).await, [Action::Unchanged, Action::Created]);
    assert_eq!(bench.find("Service", "shop", "web").await.expect("there").version, "1");
}

#[tokio::test]
async fn every_fault_of_every_document_is_said_and_nothing_applied() {
    let bench = Bench::new();
    let web_again = service("web", "10.0.0.9", 80);
    let broken = "apiVersion: v1\nkind: Service\nmetadata: {name: Api}\nspec: {ports: []}\n";
    let answer = bench
        .send(call(&[
            ("a.yaml", WEB),
            ("b.yaml", broken),
            ("c.yaml", "kind: [\n"),
            ("d.yaml", &web_again),
        ]))
        .await
        .expect("an answer");
    let said: Vec<(&str, u32, &str)> =
        answer.faults.iter().map(|f| (f.source.as_str(), f.line, f.path.as_str())).collect();
    assert_eq!(said.len(), 4, "{:?}", answer.faults);
    assert_eq!(said[0], ("b.yaml", 3, "metadata.name"));
    assert_eq!(said[1], ("b.yaml", 4, "spec.ports"));
    assert_eq!(said[2].0, "c.yaml");
    assert_eq!(said[3], ("d.yaml", 2, "metadata.name"));
    assert!(answer.faults[3].message.contains("is also at a.yaml:2"), "{:?}", answer.faults[3]);
    assert!(answer.faults[0].column > 1);
    assert_eq!((answer.changes, bench.store.commits()), (vec![], 0));
}

#[tokio::test]
async fn a_fault_beside_the_others_keeps_all_from_being_applied() {
    let bench = Bench::new();
    bench.applied(WEB).await;
    let clash = format!("{}{}", service("fine", "10.0.0.8", 80), service("api", "10.0.0.7", 80));
    let answer = bench.apply(&clash).await;
    assert_eq!((answer.changes, bench.store.commits()), (vec![], 1));
    assert_eq!(answer.faults.len(), 1);
    let fault = &answer.faults[0];
    assert_eq!((fault.source.as_str(), fault.line), ("a.yaml", 7));
    assert!(fault.message.contains("Service web of namespace shop"), "{}", fault.message);
}

#[tokio::test]
async fn an_address_and_port_is_one_services() {
    let bench = Bench::new();
    bench.applied(WEB).await;
    let one = |name: &str, ip: &str, port| service(name, ip, port);
    let rows = [
        (one("api", "10.0.0.7", 81), 0),
        (one("api", "10.0.0.7", 80), 1),
        (one("api", "'::ffff:10.0.0.7'", 80), 1),
        (one("a", "10.0.0.8", 80) + &one("b", "10.0.0.8", 80) + &one("c", "10.0.0.8", 80), 2),
        // The address is given up and taken in one call.
        (one("api", "10.0.0.7", 80) + &one("web", "10.0.0.8", 80), 0),
        (one("api", "None", 80), 0),
    ];
    for (text, faults) in rows {
        let request = v1::ApplyRequest { dry_run: true, ..call(&[("a.yaml", &text)]) };
        let answer = bench.send(request).await.expect("an answer");
        assert_eq!(answer.faults.len(), faults, "{text} {:?}", answer.faults);
    }
}

#[tokio::test]
async fn a_dry_run_says_everything_and_leaves_everything() {
    let bench = Bench::new();
    bench.applied(WEB).await;
    let text = WEB.replace("80", "81") + &service("api", "10.0.0.8", 80);
    let request = v1::ApplyRequest { dry_run: true, ..call(&[("a.yaml", &text)]) };
    let answer = bench.send(request).await.expect("an answer");
    assert_eq!(actions(&answer.changes), [Action::Updated, Action::Created]);
    let request = v1::DeleteRequest {
        keys: vec![key("Service", "shop", "web")],
        dry_run: true,
        ..v1::DeleteRequest::default()
    };
    let answer = bench.delete(request).await.expect("an answer");
    assert_eq!(actions(&answer.changes), [Action::Deleted]);
    assert_eq!((bench.store.commits(), bench.catalog.revision()), (1, 1));
}

#[tokio::test]
async fn a_version_that_is_not_the_held_one_is_refused() {
    let bench = Bench::new();
    let fault = |answer: v1::ApplyResponse| {
        assert_eq!(answer.changes, []);
        assert_eq!(answer.faults.len(), 1, "{:?}", answer.faults);
        assert_eq!(answer.faults[0].path, "metadata.resourceVersion");
        answer.faults[0].message.clone()
    };
    let said = fault(bench.apply(&with_version(WEB, "1")).await);
    assert!(said.contains("is not there"), "{said}");
    bench.applied(WEB).await;
    bench.applied(&with_version(&WEB.replace("80", "81"), "1")).await;
    let said = fault(bench.apply(&with_version(WEB, "1")).await);
    assert!(said.contains("you have version 1, it is at 2"), "{said}");
    assert_eq!(bench.applied(&with_version(WEB, "2")).await, [Action::Updated]);
}

#[tokio::test]
async fn who_is_second_starts_over_with_what_the_first_made() {
    let bench = Bench::new();
    bench.applied(WEB).await;
    bench.store.interfere(vec![overwriting(&WEB.replace("80", "82"))]);
    let answer = bench.apply(&WEB.replace("80", "81")).await;
    assert_eq!(actions(&answer.changes), [Action::Updated]);
    assert!(answer.changes[0].before.contains("\"port\":82"), "{}", answer.changes[0].before);
    assert_eq!((bench.store.commits(), bench.catalog.revision()), (3, 3));

    // Whoever said which version they saw is told instead.
    bench.store.interfere(vec![overwriting(WEB)]);
    let answer = bench.apply(&with_version(&WEB.replace("80", "83"), "3")).await;
    assert!(answer.faults[0].message.contains("it is at 4"), "{:?}", answer.faults);

    for port in 90..95 {
        bench.store.interfere(vec![overwriting(&WEB.replace("80", &port.to_string()))]);
    }
    let refused = bench.send(call(&[("a.yaml", &WEB.replace("80", "84"))])).await;
    let refused = refused.expect_err("somebody was always first");
    assert_eq!(refused.code(), Code::Aborted);
    assert!(refused.message().contains("Service/shop/web"), "{refused}");
}

#[tokio::test]
async fn a_sidecars_workload_is_the_sidecars() {
    let bench = Bench::new();
    bench.register("web-1").await;
    let other = |name: &str| workload(name).replace("1.1", "1.9");
    let answer = bench.apply(&with_version(&other("web-1"), "1")).await;
    assert_eq!(answer.faults.len(), 1, "{:?}", answer.faults);
    assert!(answer.faults[0].message.contains("registered by its sidecar"));
    // Also when it registers between reading and commit.
    bench.store.interfere(vec![registering("web-2", Expect::Absent)]);
    let answer = bench.apply(&other("web-2")).await;
    assert_eq!((answer.faults.len(), answer.faults[0].path.as_str()), (1, "metadata.name"));
    assert_eq!(bench.applied(&workload("web-3")).await, [Action::Created]);
    assert_eq!(bench.applied(&workload("web-3").replace("1.1", "1.2")).await, [Action::Updated]);
    let request = v1::DeleteRequest {
        keys: vec![key("Workload", "shop", "web-1"), key("Workload", "shop", "web-3")],
        ..v1::DeleteRequest::default()
    };
    let answer = bench.delete(request).await.expect("an answer");
    assert_eq!((answer.faults.len(), answer.changes.len()), (1, 0));
    assert!(answer.faults[0].message.contains("Workload web-1"), "{:?}", answer.faults);
    let shown = bench.list("Workload", "").await.expect("a list");
    assert_eq!(names(&shown), ["web-1", "web-2", "web-3"].map(|n| format!("Workload/shop/{n}")));
    let sources: Vec<_> = shown.iter().map(v1::Resource::source).collect();
    use v1::Source::{Applied, Registered};
    assert_eq!(sources, [Registered, Registered, Applied]);
    assert_eq!(bench.find("Workload", "shop", "web-1").await.expect("there").created_ms, 7);
}

#[tokio::test]
async fn a_list_is_sorted_and_takes_kind_and_namespace() {
    let bench = Bench::new();
    let elsewhere = |name: &str, namespace: &str| {
        service(name, "None", 80).replace("namespace: shop", &format!("namespace: {namespace}"))
    };
    bench.applied(&(workload("w") + &elsewhere("b", "a-b") + &elsewhere("z", "a"))).await;
    bench.applied(&elsewhere("a", "a")).await;
    let all = bench.list("", "").await.expect("a list");
    let sorted = ["Service/a/a", "Service/a/z", "Service/a-b/b", "Workload/shop/w"];
    assert_eq!(names(&all), sorted);
    assert_eq!(names(&bench.list("Service", "a-b").await.expect("a list")), [sorted[2]]);
    assert!(bench.list("Workload", "a").await.expect("a list").is_empty());
    let rows = [("service", "", "`Service`"), ("", "A", "\"A\"")];
    for (kind, namespace, part) in rows {
        let refused = bench.list(kind, namespace).await.expect_err("refused");
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains(part), "{refused}");
    }
    let refused = bench.find("Service", "a", "nobody").await.expect_err("refused");
    assert_eq!(refused.code(), Code::NotFound);
    assert!(refused.message().contains("Service nobody of namespace a"), "{refused}");
    assert_eq!(bench.find("Service", "", "a").await.expect_err("").code(), Code::InvalidArgument);
}

#[tokio::test]
async fn deletion_is_of_all_or_of_none() {
    let bench = Bench::new();
    let api = service("api", "10.0.0.8", 80);
    bench.applied(&format!("{WEB}{api}{}", workload("w"))).await;
    let request = |keys: &[&str], documents: &[(&str, &str)]| v1::DeleteRequest {
        keys: keys.iter().map(|name| key("Service", "", name)).collect(),
        documents: call(documents).documents,
        default_namespace: "shop".into(),
        ..v1::DeleteRequest::default()
    };
    let absent = workload("absent");
    let missing = request(&["web", "nobody"], &[("a.yaml", &absent)]);
    let answer = bench.delete(missing.clone()).await.expect("an answer");
    let said: Vec<(&str, u32)> =
        answer.faults.iter().map(|f| (f.source.as_str(), f.line)).collect();
    assert_eq!((said, answer.changes.len()), (vec![("a.yaml", 2), ("", 0)], 0));
    let answer = bench.delete(request(&["web"], &[("a.yaml", "kind: Service")])).await;
    assert!(!answer.expect("an answer").faults.is_empty());
    assert_eq!(bench.catalog.counts().resources, 3);

    let lenient = v1::DeleteRequest { ignore_missing: true, ..missing };
    let answer = bench.delete(lenient.clone()).await.expect("an answer");
    assert_eq!((answer.faults, actions(&answer.changes)), (vec![], vec![Action::Deleted]));
    assert!(answer.changes[0].before.contains("10.0.0.7") && answer.changes[0].after.is_empty());
    // Named twice, gone once; and nothing is left to write.
    let answer = bench.delete(request(&["api"], &[("a.yaml", &api)])).await.expect("an answer");
    assert_eq!(actions(&answer.changes), [Action::Deleted]);
    let commits = bench.store.commits();
    assert_eq!(bench.delete(lenient).await.expect("an answer"), v1::DeleteResponse::default());
    assert_eq!((bench.store.commits(), bench.catalog.counts().resources), (commits, 1));
}

#[tokio::test]
async fn deletion_starts_over_too() {
    let bench = Bench::new();
    bench.applied(WEB).await;
    bench.store.interfere(vec![overwriting(&WEB.replace("80", "82"))]);
    let request = v1::DeleteRequest {
        keys: vec![key("Service", "shop", "web")],
        ..v1::DeleteRequest::default()
    };
    let answer = bench.delete(request).await.expect("an answer");
    assert!(answer.changes[0].before.contains("82"), "{}", answer.changes[0].before);
    assert_eq!(bench.catalog.counts().resources, 0);
}

#[tokio::test]
async fn bounds_hold() {
    let bench = Bench::new();
    let large = "#".repeat(3 << 20);
    let six: Vec<(&str, &str)> = (0..6).map(|_| ("a.yaml", large.as_str())).collect();
    let refused = bench.send(call(&six)).await.expect_err("too large");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("16 may be in one call"), "{refused}");
    let many: Vec<String> = (0..3)
        .map(|n| (0..3334).map(|i| workload(&format!("w-{n}-{i}"))).collect::<String>())
        .collect();
    let many: Vec<(&str, &str)> = many.iter().map(|text| ("a.yaml", text.as_str())).collect();
    let refused = bench.send(call(&many)).await.expect_err("too many");
    assert!(refused.message().contains("10002 resources"), "{refused}");
    let keys = vec![key("Service", "shop", "web"); 10_001];
    let request = v1::DeleteRequest { keys, ..v1::DeleteRequest::default() };
    assert_eq!(bench.delete(request).await.expect_err("too many").code(), Code::InvalidArgument);
    let request = v1::ApplyRequest { default_namespace: "No".into(), ..call(&[("a", WEB)]) };
    assert_eq!(bench.send(request).await.expect_err("no name").code(), Code::InvalidArgument);
    let faulty = "---\nkind: Nothing\napiVersion: v1\n".repeat(1_500);
    let answer = bench.apply(&faulty).await;
    assert_eq!(answer.faults.len(), 1_001);
    assert!(answer.faults[1_000].message.contains("500 more"), "{:?}", answer.faults[1_000]);
    assert_eq!(bench.store.commits(), 0);
}

#[tokio::test]
async fn a_store_that_fails_is_unavailable_and_says_why() {
    let bench = Bench::new();
    bench.store.fail();
    let refused = bench.send(call(&[("a.yaml", WEB)])).await.expect_err("the disk is full");
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(refused.message(), "the store can't write: the disk is full");
    assert_eq!(bench.catalog.counts().resources, 0);
}

#[tokio::test]
async fn what_cannot_be_read_is_not_overwritten() {
    let bench = Bench::new();
    let odd = Write { value: Some(b"{".as_slice().into()), ..overwriting(WEB) };
    bench.store.commit(vec![odd]).await.expect("free");
    let refused = bench.send(call(&[("a.yaml", WEB)])).await.expect_err("unreadable");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("Service/shop/web"), "{refused}");
}

#[tokio::test]
async fn two_calls_at_once_do_not_take_one_address() {
    let bench = Bench::new();
    let (a, b) = (service("a", "10.0.0.9", 80), service("b", "10.0.0.9", 80));
    let (one, other) = tokio::join!(bench.apply(&a), bench.apply(&b));
    assert_eq!(one.changes.len() + other.changes.len(), 1);
    assert_eq!(one.faults.len() + other.faults.len(), 1);
}
