//! What readers are told as commits come in, in whatever order.

mod members;

use std::collections::HashSet;
use std::sync::Arc;

use super::*;
use crate::control::store::{Key, Shelf};
use crate::resources::{Address, Labels, Origin, manifest, parse_documents};

const WEB: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, clusterIP: 10.0.0.7, ports: [{port: 80, targetPort: app}]}
";

fn workload(name: &str, app: &str, ip: &str) -> String {
    format!(
        "
apiVersion: outrigger.dev/v1alpha1
kind: Workload
metadata: {{name: {name}, namespace: shop, labels: {{app: {app}}}}}
spec: {{address: {ip}, serviceAccount: web, ports: [{{name: app, port: 8080}}]}}
"
    )
}

fn change(text: &str, gone: bool) -> (Key, Option<Arc<[u8]>>) {
    let read = parse_documents(text, &Origin::file("test"), "default").expect("sound");
    let metadata = read[0].metadata();
    let name = resource_name(read[0].kind(), &metadata.namespace, &metadata.name);
    let stored =
        StoredResource { manifest: manifest::of(&read[0]), created_ms: 1, enrollment: None };
    (Key { shelf: Shelf::Resources, name }, (!gone).then(|| stored.encode()))
}

fn name(text: &str) -> ServiceName {
    ServiceName::parse(text, "default").expect("a name")
}

struct Bench {
    catalog: Catalog,
    revision: u64,
}

impl Bench {
    fn new() -> Self {
        Self { catalog: Catalog::new(TrustDomain::default(), 0, &[]), revision: 0 }
    }

    fn commit(&mut self, changes: Vec<(Key, Option<Arc<[u8]>>)>) {
        self.revision += 1;
        self.catalog.absorb(&Committed { revision: self.revision, changes });
    }

    fn endpoints(&self) -> Option<Vec<String>> {
        let reading = self.catalog.read(&[name("web.shop:80")], &[], "shop");
        let bound = reading.services[0].1.clone()?.bound.clone();
        Some(bound.endpoints.iter().map(|endpoint| endpoint.workload.to_string()).collect())
    }
}

fn news(mailbox: &Mailbox) -> Option<News> {
    use std::future::Future;
    use std::task::{Context, Poll, Waker};
    let mut waiting = std::pin::pin!(mailbox.news());
    match waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(news) => Some(news),
        Poll::Pending => None,
    }
}

#[test]
fn a_service_finds_its_workloads_in_whatever_order_they_come() {
    let mut bench = Bench::new();
    bench.commit(vec![change(&workload("web-1", "web", "10.0.1.1"), false)]);
    assert_eq!(bench.endpoints(), None);
    bench.commit(vec![change(WEB, false), change(&workload("db", "db", "10.0.1.9"), false)]);
    assert_eq!(bench.endpoints(), Some(vec!["web-1.shop".into()]));
    bench.commit(vec![change(&workload("web-2", "web", "10.0.1.2"), false)]);
    assert_eq!(bench.endpoints(), Some(vec!["web-1.shop".into(), "web-2.shop".into()]));
    bench.commit(vec![change(&workload("web-1", "db", "10.0.1.1"), false)]);
    assert_eq!(bench.endpoints(), Some(vec!["web-2.shop".into()]));
    bench.commit(vec![change(&workload("web-2", "web", "10.0.1.2"), true)]);
    assert_eq!(bench.endpoints(), Some(vec![]));
    bench.commit(vec![change(WEB, true)]);
    assert_eq!(bench.endpoints(), None);
}

#[test]
fn only_those_who_asked_are_told_and_only_of_changes() {
    let mut bench = Bench::new();
    bench.commit(vec![change(WEB, false)]);
    let (reader, other) = (bench.catalog.enter(), bench.catalog.enter());
    bench.catalog.subscribe(&reader, &[name("web.shop:80")], &[]);
    bench.catalog.subscribe(&other, &[name("db.shop:5432")], &[]);
    bench.commit(vec![change(&workload("web-1", "web", "10.0.1.1"), false)]);
    bench.commit(vec![change(&workload("web-2", "web", "10.0.1.2"), false)]);
    let told = news(&reader).expect("news");
    assert_eq!(told.services, HashSet::from([name("web.shop:80")]));
    assert_eq!(news(&reader), None, "two changes are one mark");
    bench.commit(vec![change(&workload("web-2", "web", "10.0.1.2"), false)]);
    assert_eq!(news(&reader), None, "nothing is different");
    assert_eq!(news(&other), None);
    bench.catalog.leave(&reader);
    bench.commit(vec![change(WEB, true)]);
    assert_eq!(news(&reader), None);
    assert_eq!(bench.catalog.counts().sessions, 1);
}

#[test]
fn an_address_is_a_service_an_instance_or_unknown() {
    let mut bench = Bench::new();
    let asked: [SocketAddr; 3] = [
        "10.0.0.7:80".parse().expect("an address"),
        "10.0.1.1:8080".parse().expect("an address"),
        "10.0.1.2:9999".parse().expect("an address"),
    ];
    let reader = bench.catalog.enter();
    bench.catalog.subscribe(&reader, &[], &asked);
    let facts = |bench: &Bench| {
        let reading = bench.catalog.read(&[], &asked, "shop");
        reading.addresses.into_iter().map(|(_, fact)| fact).collect::<Vec<_>>()
    };
    assert_eq!(facts(&bench), [const { AddressFact::Unknown }; 3]);
    bench.commit(vec![change(WEB, false), change(&workload("web-1", "web", "10.0.1.1"), false)]);
    assert_eq!(news(&reader).expect("news").addresses, asked[..2].iter().copied().collect());
    let found = facts(&bench);
    assert_eq!(found[0], AddressFact::Service(name("web.shop:80")));
    assert!(
        matches!(&found[1], AddressFact::Instance(i) if i.owner.is_none() && &*i.endpoint.workload == "web-1.shop"),
        "{found:?}"
    );
    assert_eq!(found[2], AddressFact::Unknown);
    let headless = WEB.replace("10.0.0.7", "None");
    bench.commit(vec![change(&headless, false)]);
    let told = news(&reader).expect("news").addresses;
    assert!(told.contains(&asked[0]) && told.contains(&asked[1]), "{told:?}");
    let found = facts(&bench);
    assert_eq!(found[0], AddressFact::Unknown);
    assert!(
        matches!(&found[1], AddressFact::Instance(i) if i.owner == Some(name("web.shop:80"))),
        "{found:?}"
    );
}

#[test]
fn an_address_of_ipv4_written_as_one_of_ipv6_is_found() {
    let mut bench = Bench::new();
    let service = WEB.replace("10.0.0.7", "'::ffff:10.0.0.7'");
    let instance = workload("web-1", "web", "'::ffff:10.0.1.1'");
    bench.commit(vec![change(&service, false), change(&instance, false)]);
    let asked = ["10.0.0.7:80", "10.0.1.1:8080"].map(|at| at.parse().expect("an address"));
    let found = bench.catalog.read(&[], &asked, "shop").addresses;
    assert_eq!(found[0].1, AddressFact::Service(name("web.shop:80")));
    let AddressFact::Instance(found) = &found[1].1 else { panic!("{found:?}") };
    assert_eq!(found.endpoint.address, Address::Ip([10, 0, 1, 1].into()));
}

#[test]
fn a_workload_that_takes_every_port_is_an_instance_at_each() {
    let mut bench = Bench::new();
    let all = workload("web-1", "web", "10.0.1.1");
    let mapped = workload("web-2", "web", "10.0.1.2")
        .replace("{name: app, port: 8080}", "{name: app, port: 8080, meshPort: 18080}");
    let stranger = workload("web-3", "web", "10.0.1.3").replace("serviceAccount: web, ", "");
    bench.commit([&all, &mapped, &stranger].map(|yaml| change(yaml, false)).into());
    let asked = ["10.0.1.1:9999", "10.0.1.2:8080", "10.0.1.2:9999", "10.0.1.3:9999"];
    let asked = asked.map(|address| address.parse().expect("an address"));
    let reading = bench.catalog.read(&[], &asked, "shop");
    let found = reading.addresses.into_iter().map(|(_, fact)| match fact {
        AddressFact::Instance(instance) => {
            let endpoint = instance.endpoint;
            Some((endpoint.port, endpoint.mesh_port, endpoint.identity.is_some()))
        }
        _ => None,
    });
    let expected = [Some((9999, None, true)), Some((8080, Some(18080), true)), None, None];
    assert_eq!(found.collect::<Vec<_>>(), expected);
}

#[test]
fn what_cannot_be_read_is_left_out_and_the_rest_stays() {
    let mut bench = Bench::new();
    bench.commit(vec![change(WEB, false)]);
    let broken = Key { shelf: Shelf::Resources, name: "Service/shop/odd".into() };
    bench.commit(vec![(broken, Some(b"{".as_slice().into()))]);
    assert_eq!(bench.endpoints(), Some(vec![]));
    assert_eq!(bench.catalog.counts().resources, 1);
}

fn route(namespace: &str, name: &str, parent: &str) -> String {
    format!(
        "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  parentRefs: [{{group: '', kind: Service, name: {parent}, namespace: shop}}]
  rules: [{{backendRefs: [{{name: v2, namespace: shop, port: 80}}]}}]
"
    )
}

fn policy(namespace: &str, name: &str, target: &str) -> String {
    format!(
        "
apiVersion: outrigger.dev/v1alpha1
kind: TrafficPolicy
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{{target}timeouts: {{request: 1s}}}}
"
    )
}

#[test]
fn a_route_or_policy_concerns_some_services_before_and_after() {
    let mut bench = Bench::new();
    let services = ["web", "api"].map(|of| {
        let ip = if of == "web" { "10.0.0.7" } else { "10.0.0.8" };
        change(&WEB.replace("web", of).replace("10.0.0.7", ip), false)
    });
    let elsewhere = WEB.replace("namespace: shop", "namespace: other").replace("10.0.0.7", "None");
    bench.commit(services.into_iter().chain([change(&elsewhere, false)]).collect());
    let (web, api, other) = (name("web.shop:80"), name("api.shop:80"), name("web.other:80"));
    let reader = bench.catalog.enter();
    let all = [web.clone(), api.clone(), other.clone()];
    bench.catalog.subscribe(&reader, &all, &[]);
    let of_route = "targetRefs: [{kind: HTTPRoute, name: r}], ";
    let rows = [
        (policy("shop", "early", of_route), false, vec![]),
        (route("shop", "r", "web"), false, vec![&web]),
        (policy("shop", "early", of_route).replace("1s", "2s"), false, vec![&web]),
        (route("shop", "r", "api"), false, vec![&web, &api]),
        (policy("shop", "early", of_route), true, vec![&api]),
        (policy("shop", "p", "targetRefs: [{kind: Service, name: web}], "), false, vec![&web]),
        (
            policy("shop", "p", "targetRefs: [{kind: Service, name: api}], "),
            false,
            vec![&web, &api],
        ),
        (policy("shop", "all", ""), false, vec![&web, &api]),
        (policy("shop", "all", ""), false, vec![]),
        (policy("outrigger-system", "mesh", ""), false, vec![&web, &api, &other]),
        (policy("outrigger-system", "mesh", ""), true, vec![&web, &api, &other]),
        (route("shop", "r", "nobody"), false, vec![&api]),
        (route("far", "r", "web"), false, vec![&web]),
    ];
    for (text, gone, concerned) in rows {
        bench.commit(vec![change(&text, gone)]);
        let told = news(&reader).map(|news| news.services).unwrap_or_default();
        assert_eq!(told, concerned.into_iter().cloned().collect(), "{text} {gone}");
    }
    let seen = |namespace: &str| {
        let reading = bench.catalog.read(std::slice::from_ref(&web), &[], namespace);
        let served = reading.services[0].1.clone().expect("it is there");
        let kinds = served.bound.attachments.iter().map(|each| each.kind()).collect::<Vec<_>>();
        (kinds, served.references.len(), served.manifests.len())
    };
    // Only those who are concerned with it are told of another namespace's route.
    assert_eq!(seen("far"), (vec!["HTTPRoute", "TrafficPolicy"], 1, 2));
    assert_eq!(seen("shop"), (vec!["TrafficPolicy"], 0, 1));
    assert_eq!(seen("outrigger-system"), seen("shop"));
}

#[test]
fn what_hangs_on_many_services_is_written_once_and_endpoints_stay() {
    let mut bench = Bench::new();
    let api = WEB.replace("web", "api").replace("10.0.0.7", "10.0.0.8");
    bench.commit(vec![
        change(WEB, false),
        change(&api, false),
        change(&workload("web-1", "web", "10.0.1.1"), false),
        change(&policy("outrigger-system", "mesh", ""), false),
    ]);
    bench.commit(vec![change(&policy("outrigger-system", "mesh", "").replace("1s", "2s"), false)]);
    let reading = bench.catalog.read(&[name("web.shop:80"), name("api.shop:80")], &[], "shop");
    let served: Vec<_> =
        reading.services.iter().map(|(_, served, _)| served.clone().expect("there")).collect();
    assert!(Arc::ptr_eq(&served[0].manifests[0], &served[1].manifests[0]));
    assert!(served[0].manifests[0].contains("2s"), "{}", served[0].manifests[0]);
    assert_eq!(bench.endpoints(), Some(vec!["web-1.shop".into()]));
    bench.commit(vec![change(&workload("web-2", "web", "10.0.1.2"), false)]);
    let reading = bench.catalog.read(&[name("api.shop:80")], &[], "shop");
    let api = reading.services[0].1.clone().expect("there");
    assert!(Arc::ptr_eq(&api, &served[1]), "what is not concerned stays the same object");
}

#[test]
fn a_sidecar_is_marked_when_other_access_policies_may_hold_for_it() {
    let mut bench = Bench::new();
    let access = |namespace: &str, spec: &str| {
        change(
            &format!(
                "
apiVersion: outrigger.dev/v1alpha1
kind: AccessPolicy
metadata: {{name: p, namespace: {namespace}}}
spec: {{{spec}}}
"
            ),
            false,
        )
    };
    let readers = [("shop", "web-1"), ("shop", "web-2"), ("far", "web-1")].map(|(of, name)| {
        let reader = bench.catalog.enter();
        bench.catalog.stand_for(&reader, of, name);
        reader
    });
    let web = workload("web-1", "web", "10.0.1.1");
    let elsewhere = web.replace("10.0.1.1", "10.0.1.7");
    let rows = [
        (access("shop", "mtls: strict"), [true, true, false]),
        (access("outrigger-system", "mtls: strict"), [true, true, true]),
        (access("outrigger-system", "selector: {matchLabels: {a: b}}"), [true, true, true]),
        (access("outrigger-system", "selector: {matchLabels: {a: c}}"), [false, false, false]),
        (change(&web, false), [true, false, false]),
        (change(&elsewhere, false), [false, false, false]),
        (change(&elsewhere.replace("app: web", "app: db"), false), [true, false, false]),
        (change(&web, true), [true, false, false]),
        (change(WEB, false), [false, false, false]),
    ];
    for (change, expected) in rows {
        let what = format!("{change:?}");
        bench.commit(vec![change]);
        let marked = readers.each_ref().map(|reader| news(reader).is_some_and(|n| n.inbound));
        assert_eq!(marked, expected, "{what}");
    }
    readers.iter().for_each(|reader| bench.catalog.leave(reader));
    bench.commit(vec![access("outrigger-system", "mtls: permissive")]);
    assert!(readers.iter().all(|reader| news(reader).is_none()));
}

/// A newer control plane may have stored it.
#[test]
fn a_stored_access_policy_that_can_not_be_read_counts_as_strict() {
    let mut bench = Bench::new();
    let key = |kind: &str| Key { shelf: Shelf::Resources, name: resource_name(kind, "shop", "p") };
    let manifest = serde_json::json!({"spec": {"selector": {"matchLabels": {"app": "web"}},
        "mtls": "permissive", "novel": true}});
    let stored = StoredResource { manifest, created_ms: 1, enrollment: None };
    let web = [("app".to_owned(), "web".to_owned())].into();
    let told = |bench: &Bench| {
        let told = bench.catalog.governing("shop", Known::Has(&web)).manifests;
        told.iter().map(|manifest| manifest.contains("strict")).collect::<Vec<_>>()
    };
    bench.commit(vec![(key("AccessPolicy"), Some(stored.encode()))]);
    bench.commit(vec![(key("TrafficPolicy"), Some(stored.encode()))]);
    assert_eq!(told(&bench), [true]);
    assert_eq!(bench.catalog.governing("shop", Known::Has(&Labels::new())).manifests.len(), 0);
    assert_eq!(bench.catalog.snapshot().resources.len(), 1);
    bench.commit(vec![(key("AccessPolicy"), Some(b"no JSON".as_slice().into()))]);
    assert_eq!(bench.catalog.governing("shop", Known::Has(&Labels::new())).manifests.len(), 1);
    bench.commit(vec![(key("AccessPolicy"), None)]);
    assert_eq!(told(&bench), [false; 0]);
}

#[test]
fn labels_are_those_of_the_service_accounts_own_workload() {
    let mut bench = Bench::new();
    bench.commit(vec![change(&workload("web-1", "web", "10.0.1.1"), false)]);
    let labels = |name: &str, account: &str| bench.catalog.labels("shop", name, account);
    assert_eq!(labels("web-1", "web"), Some([("app".to_owned(), "web".to_owned())].into()));
    assert_eq!((labels("web-1", "other"), labels("web-2", "web")), (None, None));
    let there = |ip: &str| bench.catalog.workloads_at(&[ip.parse().expect("an address")]).remove(0);
    assert_eq!(there("::ffff:10.0.1.1").as_deref(), Some("web-1.shop"));
    assert_eq!(there("10.0.1.2"), None);
    bench.commit(vec![change(&workload("web-2", "web", "10.0.1.1"), false)]);
    let there = bench.catalog.workloads_at(&["10.0.1.1".parse().expect("an address")]);
    assert_eq!(there, [None], "either may have called");
}
