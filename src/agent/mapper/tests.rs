//! What is kept from picture to picture, and what is new.

use super::*;
use crate::resources::{Origin, parse_documents};

const SHOP: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, clusterIP: 10.0.0.7, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: outrigger.dev/v1alpha1
kind: Workload
metadata: {name: web-1, namespace: shop, labels: {app: web}}
spec: {address: 127.0.0.1, serviceAccount: web, zone: a, ports: [{name: http, port: 8080, meshPort: 18080}]}
---
apiVersion: outrigger.dev/v1alpha1
kind: Workload
metadata: {name: web-2, namespace: shop, labels: {app: web}}
spec: {address: web.example, ports: [{name: http, port: 8080}]}
---
apiVersion: outrigger.dev/v1alpha1
kind: Workload
metadata: {name: other, namespace: other, labels: {app: web}}
spec: {address: 127.0.0.3, ports: [{name: http, port: 8080}]}
"#;

fn picture() -> Picture {
    let read = parse_documents(SHOP, &Origin::file("shop.yaml"), "default").expect("valid");
    Picture::of(&read, &TrustDomain::default())
}

#[test]
fn services_select_workloads_of_their_namespace() {
    let mut mapper = Mapper::default();
    let hosts = Resolved::from([("web.example".into(), vec![[127, 0, 0, 2].into()])]);
    let mesh = mapper.map(&picture(), &hosts, 0);
    let name = ServiceName::parse("web.shop:80", "default").expect("a name");
    let endpoints = &mesh.services[&name].endpoints;
    let seen: Vec<_> = endpoints
        .iter()
        .map(|e| (e.address.to_string(), e.identity.clone().map(|i| i.to_string())))
        .collect();
    assert_eq!(
        seen,
        [
            ("127.0.0.1:18080".into(), Some("spiffe://cluster.local/ns/shop/sa/web".into())),
            ("127.0.0.2:8080".into(), None),
        ]
    );
    assert!(mesh.by_cluster_ip(([10, 0, 0, 7], 80).into()).is_some());
    assert!(mesh.by_cluster_ip(([10, 0, 0, 7], 81).into()).is_none());
    assert!(mesh.instances.contains_key(&([127, 0, 0, 1], 8080).into()));
}

#[test]
fn an_endpoint_that_stays_keeps_its_health() {
    let mut mapper = Mapper::default();
    let name = ServiceName::parse("web.shop:80", "default").expect("a name");
    let first = mapper.map(&picture(), &Resolved::new(), 0);
    let second = mapper.map(&picture(), &Resolved::new(), 0);
    assert!(Arc::ptr_eq(&first.services[&name].endpoints[0], &second.services[&name].endpoints[0]));
    assert!(second.version > first.version);
}

fn read(text: &str) -> Picture {
    let read = parse_documents(text, &Origin::file("shop.yaml"), "default").expect("valid");
    Picture::of(&read, &TrustDomain::default())
}

fn web(mesh: &Mesh) -> &Service {
    &mesh.services[&ServiceName::parse("web.shop:80", "default").expect("a name")]
}

#[test]
fn callers_stay_with_an_endpoint_as_soon_as_the_service_says_so() {
    use crate::model::{BalancingPolicy, HashOn};
    let mut mapper = Mapper::default();
    let mut policy = |text: &str| {
        let mesh = mapper.map(&read(text), &Resolved::new(), 0);
        web(&mesh).policy.balancing.policy.clone()
    };
    let sticky = SHOP.replace("spec: {selector", "spec: {sessionAffinity: ClientIP, selector");
    assert_eq!(policy(SHOP), BalancingPolicy::PeakEwma);
    assert_eq!(policy(&sticky), BalancingPolicy::RingHash(HashOn::SourceIp));
    assert_eq!(policy(SHOP), BalancingPolicy::PeakEwma);
}

#[test]
fn who_joins_later_is_known_by_when() {
    let mut mapper = Mapper::default();
    let at = |ips: &[u8]| {
        let ips = ips.iter().map(|last| [127, 0, 0, *last].into()).collect();
        Resolved::from([("web.example".into(), ips)])
    };
    let since = |mesh: &Mesh| -> Vec<u64> {
        web(mesh).endpoints.iter().map(|endpoint| endpoint.since_us).collect()
    };
    assert_eq!(since(&mapper.map(&picture(), &at(&[2]), 5)), [0, 0]);
    assert_eq!(since(&mapper.map(&picture(), &at(&[2, 4]), 6)), [0, 0, 6]);
    assert_eq!(since(&mapper.map(&picture(), &at(&[4]), 7)), [0, 6]);
    let heavier = SHOP.replace("address: web.example,", "address: web.example, weight: 5,");
    let mesh = mapper.map(&read(&heavier), &at(&[4]), 8);
    assert_eq!((since(&mesh), web(&mesh).endpoints[1].weight), (vec![0, 6], 5));
    let nobody = SHOP.replace("app: web}}", "app: gone}}");
    assert_eq!(since(&mapper.map(&read(&nobody), &at(&[4]), 9)), [0; 0]);
    assert_eq!(since(&mapper.map(&picture(), &at(&[5]), 10)), [0, 0]);
}

#[test]
fn an_address_of_ipv4_written_as_one_of_ipv6_is_that_of_ipv4() {
    let mesh = Mapper::default().map(
        &read(
            "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, clusterIP: '::ffff:10.0.0.7', ports: [{port: 80}]}
---
apiVersion: outrigger.dev/v1alpha1
kind: Workload
metadata: {name: web-1, namespace: shop, labels: {app: web}}
spec: {address: '::ffff:10.0.1.1', serviceAccount: web, ports: [{port: 80}]}
",
        ),
        &Resolved::new(),
        0,
    );
    let at = |text: &str| text.parse().expect("an address");
    assert!(mesh.by_cluster_ip(at("10.0.0.7:80")).is_some(), "{:?}", mesh.cluster_ips);
    assert!(mesh.instances.contains_key(&at("10.0.1.1:80")), "{:?}", mesh.instances);
}

#[test]
fn an_address_found_by_name_says_so() {
    let hosts = Resolved::from([("web.example".into(), vec![[127, 0, 0, 2].into()])]);
    let mesh = Mapper::default().map(&picture(), &hosts, 0);
    let hosts: Vec<_> = web(&mesh).endpoints.iter().map(|e| e.host.as_deref()).collect();
    assert_eq!(hosts, [None, Some("web.example")]);
}

const RETRIES: &str = "
---
apiVersion: outrigger.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: web, namespace: shop}
spec: {targetRefs: [{kind: Service, name: web}], retry: {maxRetries: 7}}
";

#[test]
fn services_have_their_policies() {
    let with = read(&format!("{SHOP}{RETRIES}"));
    let mut mapper = Mapper::new("shop");
    let first = mapper.map(&with, &Resolved::new(), 0);
    assert_eq!(web(&first).policy.retry.max_retries, 7);
    let second = mapper.map(&with, &Resolved::new(), 0);
    assert!(Arc::ptr_eq(&web(&first).policy, &web(&second).policy));
    let third = mapper.map(&picture(), &Resolved::new(), 0);
    assert_eq!(web(&third).policy.retry.max_retries, 2);
}

#[test]
fn routes_are_those_for_callers_of_the_own_namespace() {
    use crate::resources::{HttpRoute, Metadata, ParentRef};
    let route = |namespace: &str| {
        let rule = crate::resources::HttpRule {
            name: None,
            matches: Vec::new(),
            filters: Vec::new(),
            backends: Vec::new(),
            timeouts: Default::default(),
            retry: None,
        };
        let parent =
            ParentRef { name: "web".into(), namespace: "shop".into(), port: None, section: None };
        let metadata = Metadata {
            name: "r".into(),
            namespace: namespace.into(),
            labels: Default::default(),
            created: None,
            version: None,
            at: Origin::Default,
        };
        let (parents, hostnames, rules) = (vec![parent], Vec::new(), vec![rule]);
        Resource::HttpRoute(HttpRoute { metadata, parents, hostnames, rules })
    };
    let mut read = parse_documents(SHOP, &Origin::Default, "default").expect("valid");
    read.extend([route("shop"), route("buyer")]);
    let picture = Picture::of(&read, &TrustDomain::default());
    for (namespace, expected) in [("buyer", "r.buyer"), ("shop", "r.shop"), ("third", "r.shop")] {
        let mesh = Mapper::new(namespace).map(&picture, &Resolved::new(), 0);
        let names: Vec<&str> = web(&mesh).routes.iter().map(|rule| &*rule.name).collect();
        assert_eq!(names, [expected]);
    }
}
