//! Objects as an API server gives them, and what the mesh makes of them.

use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::*;
use crate::control::catalog::Pod;
use crate::model::{Mtls, Protocol};
use crate::resources::{Resource, TargetPort};

/// What an API server adds to whatever somebody wrote.
fn meta(name: &str) -> Value {
    json!({
        "name": name,
        "generateName": "web-",
        "namespace": "shop",
        "uid": "0f5b1e5e-7a9f-4c3b-8a51-5d2f1f0c9d11",
        "resourceVersion": "4711",
        "generation": 3,
        "creationTimestamp": "2026-03-01T12:00:00Z",
        "labels": {"app": "web"},
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "u"}],
        "managedFields": [{"manager": "kubectl", "operation": "Update", "apiVersion": "v1",
            "time": "2026-03-01T12:00:00Z", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {}}}],
    })
}

fn pod_of(change: impl FnOnce(&mut Value)) -> Option<Pod> {
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta("web-1"),
        "spec": {
            "nodeName": "n1",
            "serviceAccountName": "web",
            "initContainers": [
                {"name": "init", "ports": [{"containerPort": 1}]},
                {"name": "outrigger-proxy", "restartPolicy": "Always",
                 "ports": [{"containerPort": 15020, "name": "probes"}]},
            ],
            "containers": [{"name": "app", "image": "web", "ports": [
                {"name": "http", "containerPort": 8080, "protocol": "TCP"},
                {"name": "dns", "containerPort": 53, "protocol": "UDP"},
                {"containerPort": 9090},
            ]}],
        },
        "status": {
            "phase": "Running",
            "podIP": "10.244.1.1",
            "podIPs": [{"ip": "10.244.1.1"}, {"ip": "fd00:10:244::1"}],
            "initContainerStatuses": [status("outrigger-proxy", true, 0)],
            "containerStatuses": [status("app", true, 0)],
        },
    });
    change(&mut object);
    pod(serde_json::from_value(object).expect("a Pod"))
}

fn status(name: &str, started: bool, restarts: u32) -> Value {
    json!({"name": name, "image": "i", "imageID": "i", "ready": started,
        "started": started, "restartCount": restarts})
}

#[test]
fn a_pod_is_known_by_what_the_cluster_says() {
    let pod = pod_of(|_| {}).expect("it runs");
    assert_eq!(&*pod.name(), "shop/web-1");
    let shown: Vec<String> = pod.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["10.244.1.1", "fd00:10:244::1"]);
    assert_eq!((&*pod.service_account, pod.node.as_deref()), ("web", Some("n1")));
    let ports: Vec<_> = pod.ports.iter().map(|port| (port.name.as_deref(), port.port)).collect();
    assert_eq!(ports, [(Some("http"), 8080), (None, 9090)]);
    assert_eq!(pod.metadata.labels.get("app").map(String::as_str), Some("web"));
    assert_eq!(pod.version, 4711);
    assert!(pod.is_meshed && !pod.is_on_host && !pod.is_terminating);
    let alone = pod_of(|pod| {
        pod["spec"].as_object_mut().expect("a map").remove("serviceAccountName");
        pod["status"].as_object_mut().expect("a map").remove("podIPs");
    });
    let alone = alone.expect("it runs");
    assert_eq!((&*alone.service_account, alone.addresses.len()), ("default", 1));
}

#[test]
fn meshed_is_whose_sidecar_has_started_once() {
    type Row = (bool, fn(&mut Value));
    let rows: &[Row] = &[
        (true, |_| {}),
        (false, |p| p["status"]["initContainerStatuses"] = json!([])),
        (false, |p| p["status"]["initContainerStatuses"][0]["started"] = json!(false)),
        // It is being restarted.
        (true, |p| {
            p["status"]["initContainerStatuses"] = json!([status("outrigger-proxy", false, 1)]);
        }),
        (true, |p| {
            p["status"]["initContainerStatuses"][0]["started"] = json!(false);
            p["status"]["initContainerStatuses"][0]["state"] =
                json!({"terminated": {"exitCode": 137}});
        }),
        (false, |p| p["spec"]["hostNetwork"] = json!(true)),
        // A step of the start is no sidecar.
        (false, |p| p["spec"]["initContainers"][1]["restartPolicy"] = json!(null)),
        // The classic form.
        (true, |p| {
            p["spec"]["initContainers"] = json!([]);
            p["spec"]["containers"][0]["name"] = json!("outrigger-proxy");
            p["status"]["containerStatuses"] = json!([status("outrigger-proxy", true, 0)]);
        }),
        // Another container of the name in another list doesn't count.
        (false, |p| {
            p["status"]["containerStatuses"] = json!([status("outrigger-proxy", true, 0)]);
            p["status"]["initContainerStatuses"] = json!([]);
        }),
    ];
    for (index, (expected, change)) in rows.iter().enumerate() {
        let pod = pod_of(*change).expect("it runs");
        assert_eq!(pod.is_meshed, *expected, "row {index}");
    }
}

#[test]
fn a_pod_that_has_finished_is_none() {
    for (phase, is_there) in
        [("Pending", true), ("Running", true), ("Succeeded", false), ("Failed", false)]
    {
        let pod = pod_of(|pod| pod["status"]["phase"] = json!(phase));
        assert_eq!(pod.is_some(), is_there, "{phase}");
    }
    let ending = pod_of(|p| p["metadata"]["deletionTimestamp"] = json!("2026-03-01T12:00:00Z"));
    assert!(ending.expect("it still runs").is_terminating);
    let early = pod_of(|pod| pod["status"] = json!({"phase": "Pending"})).expect("it is there");
    assert!(early.addresses.is_empty() && early.workload(None).is_none());
}

fn service_of(spec: Value) -> crate::resources::Service {
    let object = json!({"apiVersion": "v1", "kind": "Service", "metadata": meta("web"),
        "spec": spec, "status": {"loadBalancer": {}}});
    service(&serde_json::from_value(object).expect("a Service")).expect("it says something")
}

#[test]
fn services_are_never_refused_for_what_kubernetes_knows() {
    let full = service_of(json!({
        "type": "LoadBalancer", "clusterIP": "10.96.0.7",
        "clusterIPs": ["10.96.0.7", "fd00:10:96::7"],
        "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack",
        "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}},
        "internalTrafficPolicy": "Local", "externalTrafficPolicy": "Local",
        "trafficDistribution": "PreferClose", "publishNotReadyAddresses": true,
        "allocateLoadBalancerNodePorts": true, "healthCheckNodePort": 30001,
        "loadBalancerClass": "x", "externalIPs": ["192.0.2.1"], "selector": {"app": "web"},
        "ports": [
            {"name": "http", "port": 80, "targetPort": "http", "nodePort": 30000, "protocol": "TCP",
             "appProtocol": "kubernetes.io/h2c"},
            {"name": "dns", "port": 80, "targetPort": 53, "protocol": "UDP"},
            {"name": "sctp", "port": 81, "targetPort": 53, "protocol": "SCTP"},
            {"name": "own", "port": 82, "appProtocol": "example.com/own"},
        ],
    }));
    assert_eq!((full.cluster_ips.len(), full.headless, full.session_affinity), (2, false, true));
    let ports: Vec<_> =
        full.ports.iter().map(|port| (port.port, port.target.clone(), port.protocol)).collect();
    let expected = [
        (80, TargetPort::Name("http".into()), Protocol::Http2),
        (82, TargetPort::Number(82), Protocol::Auto),
    ];
    assert_eq!(ports, expected);
    let headless = service_of(json!({"clusterIP": "None", "clusterIPs": ["None"]}));
    assert!(headless.headless && headless.cluster_ips.is_empty() && headless.ports.is_empty());
}

#[test]
fn an_external_name_is_a_host_unless_it_is_ours() {
    for (name, host) in [
        ("db.example.com", Some("db.example.com")),
        ("db.example.com.", Some("db.example.com.")),
        ("api.shop.svc.cluster.local", None),
        ("api.shop.svc", None),
        ("", None),
    ] {
        let spec = json!({"type": "ExternalName", "externalName": name,
            "selector": {"app": "x"}, "ports": [{"port": 443}]});
        let service = service_of(spec);
        assert_eq!(service.external_name.as_deref(), host, "{name}");
        assert!(service.selector.is_empty() && !service.headless);
    }
}

#[test]
fn a_slice_says_who_serves_where() {
    let object = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "web-abc", "namespace": "shop", "resourceVersion": "5",
            "labels": {"kubernetes.io/service-name": "web"}},
        "ports": [
            {"name": "http", "port": 8080, "protocol": "TCP", "appProtocol": "grpc"},
            {"name": "dns", "port": 53, "protocol": "UDP"},
            {"name": "any", "port": null},
        ],
        "endpoints": [
            {"addresses": ["10.244.1.1"], "conditions": {"ready": true, "serving": true,
                "terminating": false}, "zone": "eu-1a", "nodeName": "n1",
             "hints": {"forZones": [{"name": "eu-1b"}]},
             "targetRef": {"kind": "Pod", "name": "web-1", "namespace": "shop", "uid": "u1"}},
            {"addresses": ["10.244.1.2"], "conditions": {"ready": false, "serving": true,
                "terminating": true}, "targetRef": {"kind": "Node", "name": "n"}},
            {"addresses": ["10.244.1.3"]},
            {"addresses": ["not-an-address"]},
        ],
    });
    let read = |object: &Value| slice(serde_json::from_value(object.clone()).expect("a slice"));
    let found = read(&object).expect("a service's");
    assert_eq!(found.service, ("shop".to_owned(), "web".to_owned()));
    let ports: Vec<_> = found.ports.iter().map(|p| (&*p.name, p.port, p.protocol)).collect();
    assert_eq!(ports, [("http", 8080, Protocol::Grpc)]);
    let [first, second, third] = &found.members[..] else { panic!("{:?}", found.members) };
    let (pod, uid) = first.pod.clone().expect("a pod");
    assert_eq!((&*pod, uid.as_deref()), ("shop/web-1", Some("u1")));
    assert_eq!((first.zone.as_deref(), &*first.for_zones[0]), (Some("eu-1a"), "eu-1b"));
    assert!(!second.is_ready && second.is_serving && second.is_terminating && second.pod.is_none());
    assert!(third.is_ready && third.is_serving && !third.is_terminating, "what is unsaid is so");
    for (path, value) in
        [("/addressType", json!("FQDN")), ("/metadata/labels", json!({"app": "web"}))]
    {
        let mut other = object.clone();
        *other.pointer_mut(path).expect("it is there") = value;
        assert_eq!(read(&other), None, "{path}");
    }
}

#[test]
fn a_nodes_zone_is_its_label() {
    for (labels, expected) in [
        (json!({"topology.kubernetes.io/zone": "eu-1a"}), Some("eu-1a")),
        (json!({"topology.kubernetes.io/zone": ""}), None),
        (json!({}), None),
        (json!(null), None),
    ] {
        let meta: ObjectMeta =
            serde_json::from_value(json!({"name": "n", "labels": labels})).expect("metadata");
        assert_eq!(zone(&meta), expected);
    }
}

fn judged(kind: &str, api_version: &str, spec: Value) -> Judged {
    let object = json!({"apiVersion": api_version, "kind": kind, "metadata": meta("one"),
        "spec": spec, "status": {"parents": []}});
    let object: DynamicObject = serde_json::from_value(object).expect("an object");
    judge(api_version, kind, object)
}

const GATEWAY: &str = "gateway.networking.k8s.io/v1";

#[test]
fn a_route_is_ours_by_its_parents() {
    let of = |parents: Value| {
        // With what the API server fills in.
        let rules = json!([{
            "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
            "backendRefs": [{"group": "", "kind": "Service", "name": "v2", "port": 80, "weight": 1}],
        }]);
        judged("HTTPRoute", GATEWAY, json!({"parentRefs": parents, "rules": rules}))
    };
    let gateway = json!({"group": GATEWAY.trim_end_matches("/v1"), "kind": "Gateway", "name": "g"});
    let service = json!({"group": "", "kind": "Service", "name": "web"});
    for foreign in [json!([gateway]), json!([]), json!([{"name": "g"}])] {
        assert!(matches!(of(foreign.clone()), Judged::Foreign), "{foreign}");
    }
    for ours in [json!([service]), json!([gateway, service])] {
        let Judged::Sound(held) = of(ours.clone()) else { panic!("{:?}", of(ours)) };
        let Resource::HttpRoute(route) = &*held.resource else { panic!("{held:?}") };
        assert_eq!((route.parents.len(), held.version), (1, 4711));
        assert_eq!(route.metadata.namespace, "shop");
        assert_eq!(held.created_ms, 1_772_366_400_000);
    }
    let Judged::Foreign = judged("GRPCRoute", GATEWAY, json!({"rules": []})) else {
        panic!("a route without parents is nobody's")
    };
}

#[test]
fn what_the_mesh_cannot_act_on_is_a_fault_with_its_path() {
    let ours = "outrigger.dev/v1alpha1";
    let sound = judged("TrafficPolicy", ours, json!({"timeouts": {"request": "1s"}}));
    assert!(matches!(sound, Judged::Sound(_)), "{sound:?}");
    let faulty = judged("TrafficPolicy", ours, json!({"timeouts": {"request": "soon"}}));
    let Judged::Faulty { faults, strict: None } = faulty else { panic!("{faulty:?}") };
    assert_eq!(faults[0].path, "spec.timeouts.request");
    let of_access = json!({"selector": {"matchLabels": {"app": "web"}}, "mtls": "permissive",
        "jwt": []});
    let faulty = judged("AccessPolicy", ours, of_access);
    let Judged::Faulty { strict: Some(held), .. } = faulty else { panic!("{faulty:?}") };
    let Resource::AccessPolicy(policy) = &*held.resource else { panic!("{held:?}") };
    assert_eq!(policy.scope(), "workloads with app=web of namespace shop");
    assert_eq!((policy.mtls, held.version), (Some(Mtls::Strict), 4711));
    let workload = judged("Workload", ours, json!({"address": "10.0.0.1"}));
    assert!(matches!(workload, Judged::Sound(_)), "{workload:?}");
}

/// The kinds keep it, so that it is not lost before anybody could say that it stands in the wrong place.
#[test]
fn a_field_beside_the_spec_is_a_fault_and_lets_nobody_in() {
    let object = json!({
        "metadata": {"name": "one", "namespace": "shop", "resourceVersion": "4711"},
        "spec": {"mtls": "permissive"},
        "rules": [{"action": "allow", "from": [{"namespaces": ["shop"]}]}],
        "status": {"conditions": []},
    });
    let object = serde_json::from_value(object).expect("an object");
    let faulty = judge("outrigger.dev/v1alpha1", "AccessPolicy", object);
    let Judged::Faulty { faults, strict: Some(held) } = faulty else { panic!("{faulty:?}") };
    assert!(faults.len() == 1 && faults[0].message.contains("unknown field `rules`"), "{faults:?}");
    let Resource::AccessPolicy(policy) = &*held.resource else { panic!("{held:?}") };
    assert_eq!((policy.mtls, policy.rules.len()), (Some(Mtls::Strict), 1));
}
