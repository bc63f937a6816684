//! What the room says about right and wrong manifests, line by line.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::decode::Decoder;
use super::*;
use crate::model::Protocol;

mod faults;
mod pages;

fn read_text(text: &str) -> Result<Vec<Resource>, Vec<String>> {
    parse_documents(text, &Origin::file("f.yaml"), "default")
        .map_err(|faults| faults.iter().map(Fault::to_string).collect())
}

fn service(text: &str) -> Service {
    match read_text(text).as_deref() {
        Ok([Resource::Service(service)]) => service.clone(),
        other => panic!("{text}: {other:?}"),
    }
}

fn workload(text: &str) -> Workload {
    match read_text(text).as_deref() {
        Ok([Resource::Workload(workload)]) => workload.clone(),
        other => panic!("{text}: {other:?}"),
    }
}

const WEB: &str = "
apiVersion: v1
kind: Service
metadata:
  name: web
  labels: {app: web}
spec:
  selector: {app: web, tier: front}
  clusterIP: 10.96.0.7
  ports:
    - {name: http, port: 80, targetPort: web, appProtocol: http}
    - {name: db, port: 5432}
";

#[test]
fn a_service_is_read_with_its_defaults() {
    let web = service(WEB);
    assert_eq!(web.metadata.name, "web");
    assert_eq!(web.metadata.namespace, "default");
    assert_eq!(web.metadata.at.to_string(), "f.yaml:2");
    assert_eq!(web.selector.len(), 2);
    assert_eq!(web.cluster_ips, ["10.96.0.7".parse::<std::net::IpAddr>().expect("an address")]);
    assert!(!web.headless);
    let http = ServicePort {
        name: Some("http".into()),
        port: 80,
        target: TargetPort::Name("web".into()),
        protocol: Protocol::Http,
    };
    let db = ServicePort {
        name: Some("db".into()),
        port: 5432,
        target: TargetPort::Number(5432),
        protocol: Protocol::Auto,
    };
    assert_eq!(web.ports, [http, db]);
}

#[test]
fn what_kubectl_prints_is_taken_as_it_is() {
    let text = r#"{"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": [{
      "apiVersion": "v1", "kind": "Service",
      "metadata": {"name": "web", "namespace": "shop", "uid": "x", "resourceVersion": "12",
        "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 2, "managedFields": [{"a": 1}],
        "annotations": {"k": "v"}, "ownerReferences": [], "finalizers": ["f"]},
      "spec": {"clusterIP": "None", "clusterIPs": ["None"], "internalTrafficPolicy": "Cluster",
        "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "sessionAffinity": "ClientIP",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}},
        "type": "ClusterIP", "publishNotReadyAddresses": false, "selector": {"app": "web"},
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 8080}]},
      "status": {"loadBalancer": {}}}]}"#;
    let web = service(text);
    assert_eq!(web.metadata.namespace, "shop");
    assert!(web.headless && web.session_affinity && web.cluster_ips.is_empty());
    assert_eq!(web.ports[0].target, TargetPort::Number(8080));
}

#[test]
fn app_protocols_say_what_the_port_carries() {
    let rows = [
        ("http", Protocol::Http),
        ("HTTP", Protocol::Http),
        ("http2", Protocol::Http2),
        ("grpc", Protocol::Grpc),
        ("tcp", Protocol::Tcp),
        ("https", Protocol::Tcp),
        ("kubernetes.io/h2c", Protocol::Http2),
        ("kubernetes.io/ws", Protocol::Http),
        ("kubernetes.io/wss", Protocol::Tcp),
    ];
    for (word, protocol) in rows {
        let web = service(&WEB.replace("appProtocol: http", &format!("appProtocol: {word}")));
        assert_eq!(web.ports[0].protocol, protocol, "{word}");
    }
}

#[test]
fn a_workload_is_read_with_its_defaults() {
    let text = "
apiVersion: outrigger.dev/v1alpha1
kind: Workload
metadata: {name: web-1, namespace: shop, labels: {app: web}}
spec:
  address: Web-1.Example.
  serviceAccount: web
  zone: eu-1a
  weight: 10
  ports: [{name: http, port: 8080, meshPort: 18080, protocol: http2}, {port: 9000}]
";
    let web = workload(text);
    assert_eq!(web.address, Address::Host("web-1.example".into()));
    assert_eq!(web.service_account.as_deref(), Some("web"));
    assert_eq!((web.zone.as_deref(), web.weight), (Some("eu-1a"), 10));
    assert_eq!(web.ports[0].mesh_port, Some(18080));
    assert_eq!(web.ports[0].protocol, Protocol::Http2);
    assert_eq!((web.ports[1].mesh_port, web.ports[1].protocol), (None, Protocol::Auto));

    let bare = "{apiVersion: outrigger.dev/v1alpha1, kind: Workload, metadata: {name: w}, spec: {address: '::1'}}";
    let bare = workload(bare);
    assert_eq!(bare.address, Address::Ip("::1".parse().expect("an address")));
    assert_eq!((bare.service_account, bare.weight, bare.ports.len()), (None, 1, 0));
}

#[test]
fn moving_a_resource_does_not_change_it() {
    assert_eq!(service(WEB), service(&format!("# a comment\n\n{WEB}")));
}

/// One value through one decoder: the value, or what is wrong with it.
fn one<T: std::fmt::Debug>(
    text: &str,
    decode: impl Fn(&Node, &mut Decoder) -> Option<T>,
) -> Result<String, String> {
    let documents = yaml::parse(text, &Origin::Default).expect("the row is YAML");
    let mut decoder = Decoder::new();
    let value = decode(&documents[0], &mut decoder);
    match (value, decoder.finish().first()) {
        (Some(value), None) => Ok(format!("{value:?}")),
        (None, Some(fault)) => Err(fault.message.clone()),
        other => panic!("{text}: a value and a fault, or neither: {other:?}"),
    }
}

#[test]
fn durations_and_sizes() {
    let duration = |text| one(text, scalar::duration).ok();
    let rows = [
        ("250ms", Duration::from_millis(250)),
        ("1s", Duration::from_secs(1)),
        ("5m", Duration::from_secs(300)),
        ("1h", Duration::from_secs(3600)),
        ("1h30m", Duration::from_secs(5400)),
    ];
    for (text, expected) in rows {
        assert_eq!(duration(text), Some(format!("{expected:?}")), "{text}");
    }
    for text in ["1", "1.5s", "s", "-1s", "1 s", "1d", "''", "123456s", "1s1s1s1s1s", "5S", "null"]
    {
        assert_eq!(duration(text), None, "{text}");
    }
    let size = |text| one(text, scalar::size).ok();
    assert_eq!(size("64KiB"), Some("65536".into()));
    assert_eq!(size("2GiB"), Some("2147483648".into()));
    assert_eq!(size("1500"), Some("1500".into()));
    for text in ["64KB", "64k", "-1", "1.5MiB", "KiB", "+1KiB", "99999999999GiB", "0", "0KiB"] {
        assert_eq!(size(text), None, "{text}");
    }
    assert_eq!(
        one("0s", scalar::duration),
        Err("zero never means off; leave the field out".into())
    );
}

#[test]
fn names_and_hosts() {
    let hosts = ["a", "a.b", "A.example.", "under_score.example", "1.2.3.x"];
    for text in hosts {
        assert!(one(text, names::host_name).is_ok(), "{text}");
    }
    for text in ["10.0.0", "'1'", "a..b", "-a", "a b", "''", ".", "a:80", "http://a"] {
        assert!(one(text, names::host_name).is_err(), "{text}");
    }
    let long = "a".repeat(64);
    for text in ["-a", "a-", "A", "a.b", "a_b", long.as_str(), "''"] {
        assert!(one(text, names::dns_label).is_err(), "{text}");
    }
    for text in ["a", "0", "a-b.c"] {
        let quoted = format!("'{text}'");
        assert!(one(&quoted, names::dns_subdomain).is_ok(), "{text}");
    }
    assert_eq!(one("0.5", scalar::ratio), Ok("0.5".into()));
    assert_eq!(one("1", scalar::ratio), Ok("1.0".into()));
    for text in ["1.1", "-0.1", ".nan", "2", "half"] {
        assert!(one(text, scalar::ratio).is_err(), "{text}");
    }
}

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("outrigger-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("the temporary folder is writable");
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("inside the folder")).expect("writable");
        fs::write(&path, text).expect("writable");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn named(name: &str) -> String {
    WEB.replace("name: web\n", &format!("name: {name}\n"))
}

fn names_of(paths: &[PathBuf]) -> Vec<String> {
    let resources = read(paths, "default").expect("all are sound");
    resources.iter().map(|resource| resource.metadata().name.clone()).collect()
}

#[test]
fn folders_are_read_in_order_without_what_is_hidden() {
    let folder = Folder::new("folders");
    folder.write("b.yml", &named("b"));
    folder.write("a.yaml", &named("a"));
    folder.write("c.json", r#"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "c"}, "spec": {"ports": [{"port": 1}]}}"#);
    folder.write("sub/d.yaml", &named("d"));
    folder.write(".hidden.yaml", "not: [sound");
    folder.write("..2026/e.yaml", "not: [sound");
    folder.write("readme.md", "not: [sound");
    let odd = folder.write("odd.txt", &named("odd"));
    std::os::unix::fs::symlink(&folder.0, folder.0.join("sub/loop")).expect("links work");
    assert_eq!(names_of(std::slice::from_ref(&folder.0)), ["a", "b", "c", "d"]);
    assert_eq!(
        names_of(&[odd, folder.0.join("b.yml"), folder.0.clone()]),
        ["odd", "b", "a", "c", "d"]
    );
}

#[test]
fn duplicates_name_both_places() {
    let folder = Folder::new("duplicates");
    let a = folder.write("a.yaml", WEB);
    let b = folder
        .write("b.yaml", &format!("{WEB}---{}", WEB.replace("labels:", "namespace: x\n  labels:")));
    let faults = read(std::slice::from_ref(&folder.0), "default").expect_err("one is there twice");
    let faults: Vec<_> = faults.iter().map(Fault::to_string).collect();
    let (a, b) = (a.display(), b.display());
    let expected =
        format!("{b}:2: metadata.name: Service web of namespace default is also at {a}:2");
    assert_eq!(faults, [expected]);
}

#[test]
fn files_that_cannot_be_read_are_named_beside_other_faults() {
    let folder = Folder::new("unreadable");
    let bad = folder.write("bad.yaml", "apiVersion: v1\nkind: Servce\n");
    let binary = folder.0.join("binary.yaml");
    fs::write(&binary, b"a: \xff").expect("writable");
    let missing = folder.0.join("missing.yaml");
    let faults = read(&[missing.clone(), bad.clone(), binary.clone()], "default");
    let faults: Vec<_> = faults.expect_err("all are bad").iter().map(Fault::to_string).collect();
    let expected = [
        format!("{}:2: kind: unknown kind Servce; did you mean `Service`?", bad.display()),
        format!("{}: is not UTF-8 text (at byte 3)", binary.display()),
        format!("{}: can't be read: No such file or directory (os error 2)", missing.display()),
    ];
    assert_eq!(faults, expected);
}

#[test]
fn fingerprints_differ_when_files_do() {
    let folder = Folder::new("fingerprint");
    let paths = [folder.0.clone()];
    let empty = fingerprint(&paths);
    folder.write("a.yaml", "a: 1");
    let one = fingerprint(&paths);
    assert_ne!(empty, one);
    assert_eq!(one, fingerprint(&paths));
    folder.write("ignored.txt", "x");
    assert_eq!(one, fingerprint(&paths));
    folder.write("a.yaml", "a: 12");
    let longer = fingerprint(&paths);
    assert_ne!(one, longer);
    fs::rename(folder.write("new", "a: 34"), folder.0.join("a.yaml")).expect("same folder");
    assert_ne!(longer, fingerprint(&paths));
    assert_ne!(fingerprint(&paths), fingerprint(&[Path::new("/nowhere").to_owned()]));
}

fn labels_strategy() -> impl Strategy<Value = Labels> {
    prop::collection::btree_map(
        "([a-z]{1,5}\\.[a-z]{1,3}/)?[a-zA-Z0-9]{1,8}",
        "([a-zA-Z0-9._-]{0,6}[a-zA-Z0-9])?",
        0..4,
    )
    .prop_map(|labels| {
        labels.into_iter().filter(|(_, v)| !v.starts_with(['.', '_', '-'])).collect()
    })
}

fn metadata_strategy() -> impl Strategy<Value = Metadata> {
    ("[a-z0-9]{1,9}", "[a-z0-9]{1,9}", labels_strategy()).prop_map(|(name, namespace, labels)| {
        Metadata { name, namespace, labels, created: None, version: None, at: Origin::Default }
    })
}

fn json_metadata(metadata: &Metadata) -> serde_json::Value {
    serde_json::json!({
        "name": metadata.name, "namespace": metadata.namespace, "labels": metadata.labels,
    })
}

const APP_PROTOCOLS: [(&str, Protocol); 4] = [
    ("http", Protocol::Http),
    ("http2", Protocol::Http2),
    ("grpc", Protocol::Grpc),
    ("tcp", Protocol::Tcp),
];

proptest! {
    #[test]
    fn services_survive_the_way_through_text(
        metadata in metadata_strategy(),
        selector in labels_strategy(),
        ips in prop::collection::vec(any::<std::net::IpAddr>(), 0..3),
        numbers in prop::collection::btree_set(1u16.., 1..5),
        named in any::<bool>(),
        choice in 0usize..4,
    ) {
        let (word, protocol) = APP_PROTOCOLS[choice];
        let ports: Vec<ServicePort> = numbers.iter().map(|port| ServicePort {
            name: Some(format!("p{port}")),
            port: *port,
            target: if named { TargetPort::Name(format!("t{port}")) } else { TargetPort::Number(*port) },
            protocol,
        }).collect();
        let written = serde_json::json!({
            "apiVersion": "v1", "kind": "Service", "metadata": json_metadata(&metadata),
            "spec": {
                "selector": selector, "clusterIPs": ips,
                "ports": ports.iter().map(|port| serde_json::json!({
                    "name": port.name, "port": port.port, "appProtocol": word,
                    "targetPort": if named { format!("t{}", port.port).into() } else { serde_json::Value::from(port.port) },
                })).collect::<Vec<_>>(),
            },
        });
        let external_name = None;
        let cluster_ips = ips.iter().map(std::net::IpAddr::to_canonical).collect();
        let (headless, session_affinity) = (false, false);
        let expected =
            Service { metadata, selector, cluster_ips, headless, session_affinity, ports, external_name };
        prop_assert_eq!(read_text(&written.to_string()), Ok(vec![Resource::Service(expected)]));
    }

    #[test]
    fn workloads_survive_the_way_through_text(
        metadata in metadata_strategy(),
        ip in any::<std::net::IpAddr>(),
        account in prop::option::of("[a-z]{1,9}"),
        zone in prop::option::of("[a-z0-9]{1,9}"),
        weight in 1u16..=1000,
        numbers in prop::collection::btree_map(1u16.., 1u16.., 0..4),
        choice in 0usize..4,
    ) {
        let (word, protocol) = APP_PROTOCOLS[choice];
        let mut seen = std::collections::HashSet::new();
        let ports: Vec<WorkloadPort> = numbers.iter().map(|(port, mesh)| WorkloadPort {
            name: Some(format!("p{port}")),
            port: *port,
            mesh_port: account.as_ref().map(|_| *mesh).filter(|mesh| seen.insert(*mesh)),
            protocol,
        }).collect();
        let written = serde_json::json!({
            "apiVersion": "outrigger.dev/v1alpha1", "kind": "Workload",
            "metadata": json_metadata(&metadata),
            "spec": {
                "address": ip, "serviceAccount": account, "zone": zone, "weight": weight,
                "ports": ports.iter().map(|port| serde_json::json!({
                    "name": port.name, "port": port.port, "meshPort": port.mesh_port, "protocol": word,
                })).collect::<Vec<_>>(),
            },
        });
        let address = Address::Ip(ip.to_canonical());
        let expected = Workload { metadata, address, service_account: account, zone, weight, ports };
        prop_assert_eq!(read_text(&written.to_string()), Ok(vec![Resource::Workload(expected)]));
    }

    #[test]
    fn random_manifests_never_panic(
        text in "(apiVersion: v1\n|kind: (Service|Workload|List)\n|metadata: [{]name: a[}]\n|spec:\n|  ports: \\[[{]port: [0-9]{1,6}[}]\\]\n|  [a-z]{1,9}: [^\n]{0,9}\n|items: \\[\\]\n|---\n){0,9}",
    ) {
        let _ = read_text(&text);
    }
}
