//! Services whose members a cluster lists, as pods, slices and services come in whatever order.

use std::net::IpAddr;
use std::sync::Arc;

use super::{WEB, news};
use crate::control::catalog::{AddressFact, Catalog, Change, Held, Member, Pod, Slice, SlicePort};
use crate::model::{Protocol, ServiceName, TrustDomain};
use crate::resources::{Address, Metadata, Origin, WorkloadPort, parse_documents};

struct Bench(Catalog);

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn web() -> ServiceName {
    ServiceName::parse("web.shop:80", "default").expect("a name")
}

fn service(yaml: &str) -> Change {
    let read = parse_documents(yaml, &Origin::file("test"), "shop").expect("sound").remove(0);
    let name = format!("Service/shop/{}", read.metadata().name).into();
    Change::Resource(name, Some(Held { resource: Arc::new(read), version: 1, created_ms: 1 }))
}

fn pod(name: &str, ips: &[&str]) -> Pod {
    let port = WorkloadPort {
        name: Some("app".into()),
        port: 8080,
        mesh_port: None,
        protocol: Protocol::Auto,
    };
    Pod {
        metadata: Metadata {
            name: name.into(),
            namespace: "shop".into(),
            labels: [("app".to_owned(), "web".to_owned())].into(),
            created: None,
            version: None,
            at: Origin::Default,
        },
        uid: format!("uid-{name}").into(),
        enrollment: u64::try_from(name.len()).expect("short"),
        addresses: ips.iter().map(|text| ip(text)).collect(),
        service_account: "web".into(),
        node: Some("n1".into()),
        ports: vec![port],
        is_meshed: true,
        restarts: 0,
        is_on_host: false,
        is_terminating: false,
        version: 1,
    }
}

fn runs(pod: Pod) -> Change {
    Change::Pod(pod.name(), Some(Arc::new(pod)))
}

fn member(address: &str, pod: Option<&str>) -> Member {
    Member {
        address: ip(address),
        pod: pod.map(|name| (format!("shop/{name}").into(), Some(format!("uid-{name}").into()))),
        is_ready: true,
        is_serving: true,
        is_terminating: false,
        zone: None,
        for_zones: Vec::new(),
    }
}

fn slice(name: &str, members: Vec<Member>) -> Change {
    let port = SlicePort { name: String::new(), port: 8080, protocol: Protocol::Auto };
    let service = ("shop".to_owned(), "web".to_owned());
    let slice = Slice { service, ports: vec![port], members };
    Change::Slice(format!("shop/{name}").into(), Some(slice))
}

impl Bench {
    fn of(changes: Vec<Change>) -> Self {
        let bench = Self(Catalog::new(TrustDomain::default(), 0, &[]));
        bench.0.take(changes);
        bench
    }

    /// As `workload address:port identity zone`.
    fn endpoints(&self) -> Vec<String> {
        let reading = self.0.read(&[web()], &[], "shop");
        let served = reading.services[0].1.clone().expect("the service is there");
        let shown = |e: &crate::resources::bound::BoundEndpoint| {
            let Address::Ip(ip) = &e.address else { panic!("{e:?}") };
            let account = e.identity.as_ref().map_or("-", |id| id.service_account());
            format!("{} {ip}:{} {account} {}", e.workload, e.port, e.zone.as_deref().unwrap_or("-"))
        };
        served.bound.endpoints.iter().map(shown).collect()
    }

    fn fact(&self, address: &str) -> AddressFact {
        let address = address.parse().expect("an address");
        self.0.read(&[], &[address], "shop").addresses.remove(0).1
    }
}

#[test]
fn a_member_counts_once_its_pod_is_known_in_whatever_order() {
    let expected = ["web-1.shop 10.244.1.1:8080 web -"];
    let bench = Bench::of(vec![service(WEB)]);
    bench.0.take(vec![slice("a", vec![member("10.244.1.1", Some("web-1"))])]);
    assert!(bench.endpoints().is_empty(), "it might be meshed");
    bench.0.take(vec![runs(pod("web-1", &["10.244.1.1"]))]);
    assert_eq!(bench.endpoints(), expected);
    bench.0.take(vec![Change::Slice("shop/a".into(), None)]);
    assert!(bench.endpoints().is_empty(), "labels alone make no member");
    let bench = Bench::of(vec![
        runs(pod("web-1", &["10.244.1.1"])),
        slice("a", vec![member("10.244.1.1", Some("web-1"))]),
        service(WEB),
    ]);
    assert_eq!(bench.endpoints(), expected);
    bench.0.take(vec![Change::Pod("shop/web-1".into(), None)]);
    assert!(bench.endpoints().is_empty());
}

#[test]
fn another_pod_of_the_name_is_another() {
    let bench = Bench::of(vec![
        service(WEB),
        slice("a", vec![member("10.244.1.1", Some("web-1"))]),
        runs(Pod { uid: "another".into(), ..pod("web-1", &["10.244.1.1"]) }),
    ]);
    assert!(bench.endpoints().is_empty(), "the slice is of the pod before");
    bench.0.take(vec![runs(pod("web-1", &["10.244.1.9"]))]);
    assert!(bench.endpoints().is_empty(), "it has another address by now");
    bench.0.take(vec![runs(pod("web-1", &["10.244.1.1"]))]);
    assert_eq!(bench.endpoints().len(), 1);
}

#[test]
fn a_pod_in_two_families_is_one_endpoint_of_the_services_family() {
    let both = ["10.244.1.1", "fd00::1"];
    let changes = |yaml: &str| {
        vec![
            service(yaml),
            runs(pod("web-1", &both)),
            slice("a", vec![member("fd00::1", Some("web-1"))]),
            slice("b", vec![member("10.244.1.1", Some("web-1"))]),
        ]
    };
    let bench = Bench::of(changes(WEB));
    assert_eq!(bench.endpoints(), ["web-1.shop 10.244.1.1:8080 web -"]);
    let v6 = Bench::of(changes(&WEB.replace("10.0.0.7", "'fd00:96::7'")));
    assert_eq!(v6.endpoints(), ["web-1.shop fd00::1:8080 web -"]);
    let headless = Bench::of(changes(&WEB.replace("10.0.0.7", "None")));
    assert_eq!(headless.endpoints(), ["web-1.shop 10.244.1.1:8080 web -"], "the pod's first");
    bench.0.take(vec![Change::Slice("shop/b".into(), None)]);
    assert_eq!(bench.endpoints(), ["web-1.shop fd00::1:8080 web -"], "the only one that is left");
}

#[test]
fn who_ends_is_left_out_unless_all_do() {
    let two = |change: fn(&mut Member)| {
        let mut first = member("10.244.1.1", Some("web-1"));
        change(&mut first);
        slice("a", vec![first, member("10.244.1.2", Some("web-22"))])
    };
    let pods = [pod("web-1", &["10.244.1.1"]), pod("web-22", &["10.244.1.2"])];
    let bench = Bench::of(vec![service(WEB), two(|_| {})]);
    bench.0.take(pods.clone().map(runs).into());
    let second = "web-22.shop 10.244.1.2:8080 web -";
    assert_eq!(bench.endpoints().len(), 2);
    // The pod is told to end before its slice says so.
    let ending = |pod: &Pod| runs(Pod { is_terminating: true, ..pod.clone() });
    bench.0.take(vec![ending(&pods[0])]);
    assert_eq!(bench.endpoints(), [second]);
    bench.0.take(vec![ending(&pods[1])]);
    assert_eq!(bench.endpoints().len(), 2, "those that end serve while nobody else does");
    bench.0.take(vec![two(|m| (m.is_ready, m.is_serving) = (false, false))]);
    assert_eq!(bench.endpoints(), [second], "one that doesn't even serve is no help");
    bench.0.take(pods.clone().map(runs).into());
    assert_eq!(bench.endpoints(), [second], "it is not ready");
    bench.0.take(vec![two(|_| {})]);
    // Its sidecar says so before anybody else.
    bench.0.withdraw(&"shop/web-1".into(), true);
    assert_eq!(bench.endpoints(), [second]);
    bench.0.withdraw(&"shop/web-1".into(), false);
    assert_eq!(bench.endpoints().len(), 2);
    // One that was started again came back, to whichever replica.
    bench.0.withdraw(&"shop/web-1".into(), true);
    bench.0.take(vec![runs(Pod { restarts: 1, ..pods[0].clone() })]);
    assert_eq!(bench.endpoints().len(), 2);
    bench.0.take(vec![runs(pods[0].clone())]);
    // A withdrawal is forgotten with its pod.
    bench.0.withdraw(&"shop/web-1".into(), true);
    bench.0.take(vec![Change::Pod("shop/web-1".into(), None), runs(pods[0].clone())]);
    assert_eq!(bench.endpoints().len(), 2);
}

#[test]
fn an_address_without_a_pod_is_unmeshed_unless_a_pod_has_it() {
    let bench = Bench::of(vec![service(WEB), slice("a", vec![member("10.9.9.9", None)])]);
    assert_eq!(bench.endpoints(), ["10.9.9.9.shop 10.9.9.9:8080 - -"]);
    bench.0.take(vec![runs(pod("web-1", &["10.9.9.9"]))]);
    assert_eq!(bench.endpoints(), ["web-1.shop 10.9.9.9:8080 web -"]);
    bench.0.take(vec![runs(Pod { is_meshed: false, ..pod("web-1", &["10.9.9.9"]) })]);
    assert_eq!(bench.endpoints(), ["web-1.shop 10.9.9.9:8080 - -"]);
}

#[test]
fn zones_come_from_the_slice_or_the_node_and_hints_count_when_all_have_one() {
    let zone = |zone: &str| Change::Zone { node: "n1".into(), zone: Some(zone.into()) };
    let members = |hints: [&[&str]; 2]| {
        let mut all = [member("10.244.1.1", Some("web-1")), member("10.244.1.2", Some("web-22"))];
        for (member, hints) in all.iter_mut().zip(hints) {
            member.for_zones = hints.iter().map(|zone| Arc::from(*zone)).collect();
        }
        all[1].zone = Some("z2".into());
        slice("a", all.into())
    };
    let pods = [pod("web-1", &["10.244.1.1"]), pod("web-22", &["10.244.1.2"])].map(runs);
    let bench = Bench::of(vec![service(WEB), members([&[], &[]])]);
    bench.0.take(pods.into());
    let zones = |bench: &Bench| {
        let all = bench.endpoints();
        let last = |text: &String| text.rsplit(' ').next().map(str::to_owned);
        all.iter().filter_map(last).collect::<Vec<_>>()
    };
    assert_eq!(zones(&bench), ["-", "z2"]);
    bench.0.take(vec![zone("z1")]);
    assert_eq!(zones(&bench), ["z1", "z2"]);
    bench.0.take(vec![members([&["z9"], &[]])]);
    assert_eq!(zones(&bench), ["z1", "z2"], "one has no hint");
    bench.0.take(vec![members([&["z9"], &["z8", "z2"]])]);
    assert_eq!(zones(&bench), ["z9", "z2"]);
}

#[test]
fn a_pods_own_address_is_that_pod_at_any_port() {
    let bench = Bench::of(vec![
        service(&WEB.replace("10.0.0.7", "None")),
        slice("a", vec![member("10.244.1.1", Some("web-1"))]),
        runs(pod("web-1", &["10.244.1.1", "fd00::1"])),
        runs(Pod { is_on_host: true, is_meshed: false, ..pod("on-host", &["10.0.0.1"]) }),
    ]);
    let instance = |address: &str| match bench.fact(address) {
        AddressFact::Instance(instance) => *instance,
        other => panic!("{address}: {other:?}"),
    };
    let served = instance("10.244.1.1:8080");
    assert_eq!(served.owner, Some(web()));
    let other = instance("[fd00::1]:9999");
    assert_eq!((other.owner, other.endpoint.port), (None, 9999));
    assert_eq!(other.endpoint.address, Address::Ip(ip("fd00::1")), "the one that was dialled");
    let id = other.endpoint.identity.expect("it is meshed");
    assert_eq!(id.as_str(), "spiffe://cluster.local/ns/shop/sa/web");
    // Of a node's address only the pod's own ports are known.
    assert_eq!(instance("10.0.0.1:8080").endpoint.identity, None);
    assert_eq!(bench.fact("10.0.0.1:22"), AddressFact::Unknown);
    bench.0.take(vec![Change::Pod("shop/web-1".into(), None)]);
    assert_eq!(bench.fact("10.244.1.1:8080"), AddressFact::Unknown);
}

#[test]
fn only_what_matters_is_news() {
    let bench = Bench::of(vec![
        service(WEB),
        slice("a", vec![member("10.244.1.1", Some("web-1"))]),
        runs(pod("web-1", &["10.244.1.1"])),
    ]);
    let reader = bench.0.enter();
    bench.0.subscribe(&reader, &[web()], &["10.244.1.1:8080".parse().expect("an address")]);
    // A cluster writes a pod's status many times.
    bench.0.take(vec![runs(Pod { version: 2, ..pod("web-1", &["10.244.1.1"]) })]);
    assert_eq!(news(&reader), None);
    bench.0.take(vec![runs(pod("other", &["10.244.1.7"]))]);
    assert_eq!(news(&reader), None, "another's");
    bench.0.take(vec![runs(Pod { is_meshed: false, ..pod("web-1", &["10.244.1.1"]) })]);
    let told = news(&reader).expect("news");
    assert_eq!((told.services.len(), told.addresses.len()), (1, 1));
}

#[test]
fn an_external_name_is_a_host_outside_the_mesh() {
    let Change::Resource(name, Some(mut held)) = service(&WEB.replace("10.0.0.7", "None")) else {
        panic!("a service")
    };
    let crate::resources::Resource::Service(read) = &*held.resource else { panic!("{held:?}") };
    let read = crate::resources::Service {
        external_name: Some("db.example.com".into()),
        headless: false,
        ..read.clone()
    };
    held.resource = Arc::new(crate::resources::Resource::Service(read));
    let bench = Bench::of(vec![Change::Resource(name, Some(held))]);
    let reading = bench.0.read(&[web()], &[], "shop");
    let served = reading.services[0].1.clone().expect("there");
    let [endpoint] = &served.bound.endpoints[..] else { panic!("{served:?}") };
    assert_eq!(endpoint.address, Address::Host("db.example.com".into()));
    assert_eq!((endpoint.port, &endpoint.identity), (80, &None));
}

#[test]
fn an_enrolment_is_a_pods_as_long_as_it_is_there() {
    let bench = Bench::of(vec![runs(pod("web-1", &[]))]);
    let found = bench.0.pod_of(5).expect("it has no address yet, and is there");
    assert_eq!(&*found.name(), "shop/web-1");
    assert!(bench.0.snapshot().pods.is_empty(), "what has no address is not shown");
    bench.0.take(vec![Change::Pod("shop/web-1".into(), None)]);
    assert!(bench.0.pod_of(5).is_none());
}
