//! What `outrigger install` prints, taken by a real API server; what that makes of policies, good and
//! bad; and what `outrigger check` says of it all.

use std::process::{Command, Output};

use serde_json::{Value, json};

use super::harness::{Cluster, Plane, eventually, free_address};

pub fn outrigger(cluster: &Cluster, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    command.args(arguments).env("KUBECONFIG", cluster.kubeconfig());
    command.output().expect("the program runs")
}

/// What a command prints as JSON.
pub fn printed(cluster: &Cluster, arguments: &[&str]) -> Value {
    let output = outrigger(cluster, arguments);
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Where objects of a kind are.
pub fn collection(object: &Value) -> String {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let version = text(&object["apiVersion"]);
    let root = if version.contains('/') { "/apis" } else { "/api" };
    let lower = text(&object["kind"]).to_lowercase();
    let plural = lower.strip_suffix('y').map_or(format!("{lower}s"), |stem| format!("{stem}ies"));
    let namespace = object["metadata"]["namespace"].as_str();
    let namespace = namespace.map(|of| format!("namespaces/{of}/")).unwrap_or_default();
    format!("{root}/{version}/{namespace}{plural}")
}

/// A cluster with all that is printed.
pub fn installed() -> Option<Cluster> {
    let cluster = Cluster::own()?;
    let kinds = printed(&cluster, &["install", "--crds", "-o", "json"]);
    let all = printed(&cluster, &["install", "--skip-crds", "-o", "json"]);
    let objects = |list: &Value| list["items"].as_array().cloned().expect("a list");
    for object in objects(&kinds) {
        cluster.create(&collection(&object), &object);
    }
    let none = Value::Null;
    eventually("the kinds are served", || {
        let served = cluster.call("GET", "/apis/outrigger.dev/v1alpha1", &none);
        let names = |of: Value| of["resources"].as_array().map_or(0, Vec::len);
        // With a status each.
        served.is_ok_and(|of| names(of) == 2 * objects(&kinds).len())
    });
    for object in objects(&all) {
        cluster.create(&collection(&object), &object);
    }
    Some(cluster)
}

/// What `check` says about a subject.
pub fn level(findings: &Value, about: &str) -> String {
    let list = findings["findings"].as_array().expect("findings");
    let found = list.iter().find(|of| of["about"] == about);
    found.unwrap_or_else(|| panic!("{about}: {findings:#}"))["level"].to_string()
}

#[test]
fn a_cluster_takes_what_is_printed_and_check_looks_at_it() {
    let Some(cluster) = installed() else { return };
    let before = outrigger(&cluster, &["check", "--pre"]);
    assert!(before.status.success(), "{}", String::from_utf8_lossy(&before.stdout));
    // Nothing runs here: there is no kubelet.
    let output = outrigger(&cluster, &["check", "-o", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for about in ["API server", "Kubernetes", "clocks", "kinds", "objects", "mesh policy"] {
        assert_eq!(level(&found, about), "\"fine\"", "{about}");
    }
    for about in ["control plane", "webhook", "injection", "validation", "roots"] {
        assert_eq!(level(&found, about), "\"failed\"", "{about}");
    }
    let (policy, none) = ("accesspolicies/mesh-default", json!({}));
    let path = format!("/apis/outrigger.dev/v1alpha1/namespaces/outrigger-system/{policy}");
    cluster.done("DELETE", &path, &none);
    let found = printed(&cluster, &["check", "-o", "json"]);
    assert_eq!(level(&found, "mesh policy"), "\"failed\"");
    for object in
        printed(&cluster, &["uninstall", "-o", "json"])["items"].as_array().expect("a list")
    {
        let name = object["metadata"]["name"].as_str().expect("a name");
        cluster.done("DELETE", &format!("{}/{name}", collection(object)), &none);
    }
    let found = printed(&cluster, &["check", "-o", "json"]);
    assert_eq!(level(&found, "webhook"), "\"failed\"");
}

/// `--help` comes last, so that whatever isn't understood is said before it.
#[test]
fn the_control_plane_understands_what_its_pod_tells_it() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    let printed = command.args(["install", "-o", "json"]).output().expect("it runs").stdout;
    let printed: Value = serde_json::from_slice(&printed).expect("JSON");
    let objects = printed["items"].as_array().expect("a list");
    let deployment = objects.iter().find(|of| of["kind"] == "Deployment").expect("a Deployment");
    let arguments = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
    let arguments = arguments.as_array().expect("arguments").iter().map(|of| of.as_str());
    let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
    let output = command.args(arguments.flatten()).arg("--help").output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn who_can_not_be_reached_is_no_silence() {
    let Some(mut cluster) = Cluster::own() else { return };
    cluster.stop_api();
    let output = outrigger(&cluster, &["check"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.starts_with("✗ API server") && text.contains("kubectl version"), "{text}");
}

#[test]
fn a_cluster_refuses_what_the_decoder_refuses() {
    let Some(cluster) = installed() else { return };
    let rows = [
        ("TrafficPolicy", json!({}), true),
        (
            "TrafficPolicy",
            json!({"loadBalancing": {"policy": "maglev", "hashOn": {"path": true}}}),
            true,
        ),
        ("TrafficPolicy", json!({"loadBalancing": {"policy": "maglev"}}), false),
        ("TrafficPolicy", json!({"loadBalancing": {"hashOn": {"path": true}}}), false),
        ("TrafficPolicy", json!({"loadBalancing": {"policy": "maglev", "hashOn": {}}}), false),
        ("TrafficPolicy", json!({"targetRefs": []}), false),
        (
            "TrafficPolicy",
            json!({"targetRefs": [{"kind": "HTTPRoute", "name": "a"}], "retry": {}}),
            true,
        ),
        (
            "TrafficPolicy",
            json!({"targetRefs": [{"kind": "HTTPRoute", "name": "a"}], "limits": {}}),
            false,
        ),
        (
            "TrafficPolicy",
            json!({"targetRefs": [{"kind": "Service", "name": "a", "group": "x"}]}),
            false,
        ),
        ("TrafficPolicy", json!({"circuitBreaker": {"openFor": "1m"}}), true),
        ("TrafficPolicy", json!({"circuitBreaker": {"openFor": "61s"}}), false),
        ("TrafficPolicy", json!({"timeouts": {"request": "0s"}}), false),
        ("TrafficPolicy", json!({"timeouts": {"request": "1h30m"}}), true),
        ("TrafficPolicy", json!({"hedge": {"after": "p95"}}), true),
        ("TrafficPolicy", json!({"hedge": {"after": "0ms"}}), false),
        ("TrafficPolicy", json!({"retry": {"backoff": {"strategy": "fixed", "max": "1s"}}}), false),
        ("TrafficPolicy", json!({"retry": {"budget": {"ratio": 0, "minPerSecond": 0}}}), false),
        ("TrafficPolicy", json!({"retry": {"budget": {"ratio": 0}}}), true),
        (
            "TrafficPolicy",
            json!({"retry": {"statusCodes": [503, "520-529"], "methods": ["GET"]}}),
            true,
        ),
        ("TrafficPolicy", json!({"retry": {"bodyLimit": "64KB"}}), false),
        ("TrafficPolicy", json!({"fault": {"match": {"headers": {"a": "b"}}}}), false),
        ("TrafficPolicy", json!({"fault": {"abort": {"percent": 5}}}), false),
        ("TrafficPolicy", json!({"fault": {"abort": {"percent": 5, "grpcStatus": 14}}}), true),
        ("TrafficPolicy", json!({"fallback": {}}), false),
        ("TrafficPolicy", json!({"tls": {"originate": {"sni": "a.example"}}}), true),
        ("Workload", json!({"address": "10.0.0.1", "ports": [{"port": 1, "meshPort": 2}]}), false),
        ("Workload", json!({"address": "vm.example", "serviceAccount": "web"}), true),
        ("AccessPolicy", json!({"mtls": "strict", "ports": [80]}), true),
        ("AccessPolicy", json!({"mtls": "off"}), false),
    ];
    for (kind, spec, good) in rows {
        let object = json!({
            "apiVersion": "outrigger.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": "row", "namespace": "default"},
            "spec": spec,
        });
        let path = format!("{}?dryRun=All&fieldValidation=Strict", collection(&object));
        let taken = cluster.call("POST", &path, &object);
        assert_eq!(taken.is_ok(), good, "{kind} {spec}: {taken:?}");
    }
}

#[test]
fn the_control_plane_may_do_what_it_must_and_no_more() {
    let Some(cluster) = installed() else { return };
    let allowed = |verb: &str, group: &str, resource: &str, namespace: &str, name: &str| {
        let (resource, below) = resource.split_once('/').unwrap_or((resource, ""));
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": "system:serviceaccount:outrigger-system:outrigger-control-plane",
                "resourceAttributes": {"verb": verb, "group": group, "resource": resource,
                    "subresource": below, "namespace": namespace, "name": name},
            },
        });
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        cluster.done("POST", path, &review)["status"]["allowed"] == true
    };
    let own = "outrigger-system";
    let routes = "gateway.networking.k8s.io";
    for (verb, group, resource, namespace, name) in [
        ("watch", "", "pods", "", ""),
        ("list", "discovery.k8s.io", "endpointslices", "", ""),
        ("patch", routes, "httproutes/status", "shop", "a"),
        ("patch", "outrigger.dev", "accesspolicies/status", "shop", "a"),
        ("create", "authentication.k8s.io", "tokenreviews", "", ""),
        ("patch", "", "configmaps", "shop", "outrigger-trust-bundle"),
        ("update", "", "secrets", own, "outrigger-control-plane"),
        ("update", "", "secrets", own, "outrigger-state"),
        ("update", "coordination.k8s.io", "leases", own, "outrigger-control-plane"),
    ] {
        assert!(allowed(verb, group, resource, namespace, name), "{verb} {resource} {name}");
    }
    for (verb, group, resource, namespace, name) in [
        ("get", "", "secrets", own, "other"),
        ("get", "", "pods", "shop", "a"),
        ("get", "", "configmaps", "shop", "outrigger-trust-bundle"),
        ("list", "coordination.k8s.io", "leases", own, "outrigger-control-plane"),
        ("get", "", "secrets", "shop", "outrigger-control-plane"),
        ("list", "", "secrets", own, ""),
        ("create", "", "secrets", "shop", ""),
        ("patch", "", "configmaps", "shop", "other"),
        ("create", "", "pods", "shop", ""),
        ("patch", "apps", "deployments", own, "outrigger-control-plane"),
        ("patch", routes, "httproutes", "shop", "a"),
        ("patch", "outrigger.dev", "accesspolicies", "shop", "a"),
        ("create", "rbac.authorization.k8s.io", "clusterrolebindings", "", ""),
    ] {
        assert!(!allowed(verb, group, resource, namespace, name), "{verb} {resource} {name}");
    }
}

#[test]
fn an_installation_comes_to_life_with_the_rights_that_it_is_given() {
    let Some(cluster) = installed() else { return };
    let own = "outrigger-system";
    let account = cluster.kubeconfig_of(own, "outrigger-control-plane");
    let webhook = free_address();
    let arguments = ["--webhook-listen", &webhook.to_string(), "--replica", "one"];
    let mut plane = Plane::with(account.clone(), &arguments);
    plane.wait_ready();
    let none = Value::Null;
    let get = |path: &str| cluster.call("GET", path, &none).unwrap_or_default();
    eventually("the roots are in every namespace", || {
        let found = get("/api/v1/namespaces/default/configmaps/outrigger-trust-bundle");
        found["data"]["ca.pem"] == plane.anchors().as_str()
    });
    let injector = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
    eventually("the API server is told whom to trust", || {
        let found = get(&format!("{injector}/outrigger-injector"));
        let all = found["webhooks"].as_array().cloned().unwrap_or_default();
        !all.is_empty() && all.iter().all(|one| one["clientConfig"]["caBundle"].is_string())
    });
    let policy = "/apis/outrigger.dev/v1alpha1/namespaces/outrigger-system/accesspolicies";
    let accepted = || {
        let found = get(&format!("{policy}/mesh-default"));
        let conditions = found["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().any(|one| one["type"] == "Accepted" && one["status"] == "True")
    };
    eventually("the mesh's policy says that it holds", accepted);
    let workloads = "/apis/outrigger.dev/v1alpha1/namespaces/default/workloads";
    let machine = json!({"apiVersion": "outrigger.dev/v1alpha1", "kind": "Workload",
        "metadata": {"name": "vm"}, "spec": {"address": "10.9.9.9", "serviceAccount": "web"}});
    cluster.create(workloads, &machine);
    eventually("a workload says that it is accepted and meshed", || {
        let found = get(&format!("{workloads}/vm"));
        let conditions = found["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let is_true =
            |of: &str| conditions.iter().any(|c| c["type"] == of && c["status"] == "True");
        is_true("Accepted") && is_true("Meshed")
    });
    assert_eq!(plane.watch("outrigger-state")["connected"], json!(true));
    // Another replica has the same roots, and leads when this one leaves.
    let mut other = Plane::with(account, &["--replica", "two"]);
    other.wait_ready();
    assert_eq!(other.anchors(), plane.anchors());
    plane.process.signal(libc::SIGTERM);
    let lease = "/apis/coordination.k8s.io/v1/namespaces/outrigger-system/leases";
    eventually("the other one leads", || {
        get(&format!("{lease}/outrigger-control-plane"))["spec"]["holderIdentity"] == "two"
    });
    for log in [plane.process.log(), other.process.log()] {
        let refused: Vec<&str> = log.lines().filter(|line| line.contains("forbidden")).collect();
        assert!(refused.is_empty(), "{refused:#?}");
    }
}
