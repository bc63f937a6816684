//! What was answered, and what is made of it.

use clap::Parser;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::cluster::Clocks;
use super::finding::{Finding, Level};
use super::*;

#[derive(Parser)]
struct Alone {
    #[command(flatten)]
    check: Check,
}

#[test]
fn flags_are_understood() {
    for (line, good) in [
        ("", true),
        ("--pre --kubeconfig a --kube-context b -o json", true),
        ("--kubeconfig", false),
        ("-o xml", false),
    ] {
        let read = Alone::try_parse_from(std::iter::once("check").chain(line.split_whitespace()));
        assert_eq!(read.is_ok(), good, "{line}");
    }
}

#[test]
fn a_finding_steers_no_terminal() {
    let finding = Finding::failed("a", "b\u{1b}[31m", "c\nd");
    assert_eq!(finding.lines(), "✗ a              b [31m\n                 → c d\n");
    let json = finding.json();
    assert_eq!(json["says"], "b\u{1b}[31m");
    assert_eq!(
        (json["level"].as_str(), Finding::fine("a", "b").json()["cure"].is_null()),
        (Some("failed"), true)
    );
}

#[test]
fn releases_of_kubernetes() {
    let rows = [
        ("27", Level::Failed),
        ("28+", Level::Remark),
        ("29", Level::Fine),
        ("32+", Level::Fine),
        ("x", Level::Failed),
    ];
    for (minor, level) in rows {
        assert_eq!(before::release(&json!({"major": "1", "minor": minor})).level, level, "{minor}");
    }
}

#[test]
fn the_gateway_api_is_wished_for() {
    let kinds = json!({"resources": [{"name": "httproutes"}, {"name": "grpcroutes"}]});
    assert_eq!(before::routes(Some(&kinds)).level, Level::Fine);
    assert_eq!(before::routes(None).level, Level::Remark);
    let some = before::routes(Some(&json!({"resources": [{"name": "httproutes"}]})));
    assert!(some.level == Level::Remark && some.says.contains("grpcroutes"), "{some:?}");
}

#[test]
fn another_mesh_is_named_and_we_are_none() {
    let webhook = |name: &str| json!({"metadata": {"name": name}});
    let ours = [webhook("outrigger-injector"), webhook("cert-manager-webhook")];
    assert_eq!(before::others(&ours).level, Level::Fine);
    let found = before::others(&[webhook("istio-sidecar-injector")]);
    assert!(found.level == Level::Remark && found.says.contains("istio-sidecar-injector"));
}

#[test]
fn each_kind_is_asked_for_once() {
    let questions = before::questions();
    let asked = |group: &str, resource: &str, verb: &str| {
        let same =
            |of: &&Value| of["group"] == group && of["resource"] == resource && of["verb"] == verb;
        questions.iter().filter(same).count()
    };
    assert_eq!(asked("", "namespaces", "create"), 1);
    assert_eq!(asked("networking.k8s.io", "networkpolicies", "patch"), 1);
    assert_eq!(asked("apiextensions.k8s.io", "customresourcedefinitions", "create"), 1);
    assert_eq!(asked("outrigger.dev", "accesspolicies", "create"), 1);
    assert_eq!(asked("policy", "poddisruptionbudgets", "create"), 1);
}

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

#[test]
fn clocks_may_differ_by_what_certificates_allow() {
    let server = time("2026-01-01T00:00:00Z");
    let rows = [
        ("2026-01-01T00:00:10Z", Level::Fine),
        ("2025-12-31T23:59:00Z", Level::Remark),
        ("2026-01-01T00:05:01Z", Level::Failed),
    ];
    for (ours, level) in rows {
        assert_eq!(clocks::ours(Clocks { server, ours: time(ours) }).level, level, "{ours}");
    }
}

#[test]
fn a_node_tells_its_clock_by_its_lease() {
    let lease = |name: &str, renewed: &str| {
        json!({
            "metadata": {"name": name, "managedFields": [{"time": "2026-01-01T00:00:00Z"}]},
            "spec": {"renewTime": renewed},
        })
    };
    let fine = lease("a", "2026-01-01T00:00:01.123456Z");
    assert_eq!(clocks::nodes(std::slice::from_ref(&fine)).map(|of| of.level), Some(Level::Fine));
    let found = clocks::nodes(&[fine, lease("b", "2026-01-01T00:02:00Z")]).expect("two nodes");
    assert!(found.level == Level::Remark && found.says.starts_with("b: up to 120 s"), "{found:?}");
    let found = clocks::nodes(&[lease("c", "2025-12-31T23:00:00Z")]).expect("a node");
    assert_eq!(found.level, Level::Failed);
    assert_eq!(clocks::nodes(&[]), None);
}

#[test]
fn kinds_that_lack_or_are_old_are_named() {
    let kind = |version: &str| {
        Some(json!({"metadata": {"labels": {"app.kubernetes.io/version": version}}}))
    };
    let of = |found: Option<Value>| installed::kinds(&[("workloads".into(), found)]);
    assert_eq!(of(kind(env!("CARGO_PKG_VERSION"))).level, Level::Fine);
    assert_eq!(of(kind("0.0.9")).level, Level::Remark);
    assert_eq!(of(None).level, Level::Failed);
}

#[test]
fn replicas_are_counted_and_compared() {
    let deployment = |there: u32, version: &str| {
        json!({
            "metadata": {"labels": {"app.kubernetes.io/version": version}},
            "spec": {"replicas": 2},
            "status": {"availableReplicas": there, "conditions": [
                {"type": "Available", "status": "False", "message": "no minimum availability"},
            ]},
        })
    };
    for (there, level) in [(0, Level::Failed), (1, Level::Remark), (2, Level::Fine)] {
        let found = installed::running(&deployment(there, "1"));
        assert!(found.level == level && found.says.contains("no minimum"), "{found:?}");
    }
    let pod =
        |version: &str| json!({"metadata": {"labels": {"app.kubernetes.io/version": version}}});
    let ours = env!("CARGO_PKG_VERSION");
    let level = |version: &str, pods: &[Value]| {
        installed::releases(&deployment(2, version), pods).map(|of| of.level)
    };
    assert_eq!(level(ours, &[pod(ours), pod(ours)]), Some(Level::Fine));
    assert_eq!(level(ours, &[pod(ours), pod("0.0.9")]), Some(Level::Remark));
    assert_eq!(level("9.9.9", &[pod("9.9.9")]), Some(Level::Remark));
    assert_eq!(level(ours, &[]), None);
}

#[test]
fn a_permissive_mesh_that_lost_its_policy_is_strict() {
    let deployment =
        |mtls: &str| json!({"metadata": {"annotations": {"outrigger.dev/mtls": mtls}}});
    let policy = json!({"spec": {"mtls": "permissive"}});
    let level = |mtls: &str, policy| installed::policy_of(&deployment(mtls), policy).level;
    assert_eq!(level("permissive", None), Level::Failed);
    assert_eq!(level("permissive", Some(&policy)), Level::Fine);
    assert_eq!(level("strict", None), Level::Fine);
}

/// A certificate that ends then, as PEM.
fn certificate(year: i32) -> String {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::default();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    params.self_signed(&key).expect("a certificate").pem()
}

fn webhooks(bundle: &str, policy: &str) -> Value {
    let encoded = serde_json::to_value(k8s_openapi::ByteString(bundle.as_bytes().to_vec()));
    let bundle = encoded.expect("base64");
    json!({"webhooks": [{"name": "w", "failurePolicy": policy, "clientConfig": {"caBundle": bundle}}]})
}

#[test]
fn the_webhook_is_known_by_the_meshs_root() {
    let (root, other) = (certificate(2030), certificate(2030));
    let bundle = json!({"data": {"ca.pem": root}});
    let level = |found: Option<&Value>| injector::registration(found, Some(&bundle)).level;
    assert_eq!(level(Some(&webhooks(&root, "Fail"))), Level::Fine);
    assert_eq!(level(Some(&webhooks(&root, "Ignore"))), Level::Remark);
    assert_eq!(level(Some(&webhooks(&format!("{other}{root}"), "Fail"))), Level::Fine);
    assert_eq!(level(Some(&webhooks(&other, "Fail"))), Level::Failed);
    assert_eq!(level(Some(&webhooks("", "Fail"))), Level::Failed);
    assert_eq!(level(None), Level::Failed);
}

#[test]
fn a_mistake_that_nobody_refuses_is_noticed() {
    let refused =
        "admission webhook \"x\" denied the request: Workload a: spec: unknown field `adress`";
    for (workload, level) in [
        (Err(refused), Level::Fine),
        (Ok(json!({})), Level::Remark),
        (Err("workloads is forbidden: User \"x\" cannot create"), Level::Remark),
    ] {
        let found = injector::mistaken(workload.map_err(str::to_owned));
        assert_eq!(found.level, level, "{found:?}");
    }
}

#[test]
fn the_try_says_what_came_back() {
    let with = json!({"spec": {"initContainers": [{"name": "outrigger-proxy"}]}});
    let rows = [
        (Ok(with), Level::Fine),
        (Ok(json!({"spec": {"containers": [{"name": "app"}]}})), Level::Failed),
        (Err("failed calling webhook \"x\": connection refused"), Level::Failed),
        (Err("pods \"x\" is forbidden: violates PodSecurity \"restricted\""), Level::Failed),
        (Err("pods is forbidden: User \"x\" cannot create"), Level::Remark),
    ];
    for (pod, level) in rows {
        let found = injector::judged("shop", pod.map_err(str::to_owned));
        assert_eq!(found.level, level, "{found:?}");
    }
}

#[test]
fn certificates_are_told_of_before_they_end() {
    let now = time("2026-06-01T00:00:00Z");
    let level = |text: &str, soon| certificates::expiry("roots", text, soon, now).level;
    assert_eq!(level(&certificate(2030), 30), Level::Fine);
    assert_eq!(level(&certificate(2027), 300), Level::Remark);
    assert_eq!(level(&certificate(2026), 30), Level::Failed);
    assert_eq!(level("", 30), Level::Failed);
    assert_eq!(level(&format!("{}{}", certificate(2026), certificate(2030)), 30), Level::Fine);
}

#[test]
fn every_namespace_has_the_roots() {
    let namespace =
        |name: &str, phase: &str| json!({"metadata": {"name": name}, "status": {"phase": phase}});
    let map = |namespace: &str, roots: &str| json!({"metadata": {"namespace": namespace}, "data": {"ca.pem": roots}});
    let namespaces =
        [namespace("a", "Active"), namespace("b", "Active"), namespace("c", "Terminating")];
    let level = |maps: &[Value]| certificates::bundles(&namespaces, maps, &map("a", "r"));
    assert_eq!(level(&[map("a", "r"), map("b", "r")]).level, Level::Fine);
    assert_eq!(level(&[map("a", "r"), map("b", "x")]).level, Level::Remark);
    let found = level(&[map("a", "r")]);
    assert!(found.level == Level::Failed && found.says == "missing in b", "{found:?}");
}

fn pod(name: &str, created: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "shop", "creationTimestamp": created,
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web-5d9c"}]},
        "spec": {"containers": [{"name": "app"}]},
    })
}

fn opted_in() -> Value {
    json!({"metadata": {"name": "shop", "labels": {"outrigger.dev/inject": "enabled"}, "managedFields": [
        {"time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:metadata": {"f:labels": {".": {}}}}},
        {"time": "2026-01-02T00:00:00Z",
         "fieldsV1": {"f:metadata": {"f:labels": {"f:outrigger.dev/inject": {}}}}},
    ]}})
}

#[test]
fn a_pod_without_a_sidecar_is_told_with_its_reason() {
    let registered = Some(time("2026-01-03T00:00:00Z"));
    let rows = [
        ("2026-01-01T12:00:00Z", "was there before its namespace opted in"),
        ("2026-01-02T12:00:00Z", "was there before the injector"),
        ("2026-01-04T00:00:00Z", "the injector was away"),
    ];
    for (created, why) in rows {
        let found = pods::unmeshed(&[opted_in()], &[pod("web-1", created)], registered);
        let line = found[0].lines();
        assert!(found.len() == 1 && line.contains("shop/web-1") && line.contains(why), "{line}");
        assert!(line.contains("kubectl rollout restart deployment/web -n shop"), "{line}");
    }
    let mut on_host = pod("a", "2026-01-04T00:00:00Z");
    on_host["spec"]["hostNetwork"] = true.into();
    let found = pods::unmeshed(&[opted_in()], &[on_host], registered);
    assert!(found[0].says.contains("hostNetwork"), "{found:?}");
}

#[test]
fn pods_that_need_none_are_no_lack() {
    let mut out = pod("out", "2026-01-04T00:00:00Z");
    out["metadata"]["labels"] = json!({"outrigger.dev/inject": "disabled"});
    let mut done = pod("done", "2026-01-04T00:00:00Z");
    done["status"] = json!({"phase": "Succeeded"});
    let mut elsewhere = pod("elsewhere", "2026-01-04T00:00:00Z");
    elsewhere["metadata"]["namespace"] = "other".into();
    let mut meshed = pod("meshed", "2026-01-04T00:00:00Z");
    meshed["spec"]["initContainers"] = json!([{"name": "outrigger-proxy"}]);
    let other = json!({"metadata": {"name": "other"}});
    let found = pods::unmeshed(&[opted_in(), other], &[out, done, elsewhere, meshed], None);
    assert_eq!(found, [Finding::fine("pods", "1 meshed, 1 opted out, none lacks a sidecar")]);
}

#[test]
fn many_pods_are_summed_up() {
    let all: Vec<Value> = (0..60).map(|n| pod(&format!("p{n}"), "2026-01-04T00:00:00Z")).collect();
    let found = pods::unmeshed(&[opted_in()], &all, None);
    assert_eq!(found.len(), 51);
    assert!(found[50].says.contains("and 10 more"), "{:?}", found[50]);
}

#[test]
fn sidecars_may_be_one_release_behind() {
    let ours = env!("CARGO_PKG_VERSION");
    let mut numbers = ours.split('.').map(|part| part.parse::<i64>().expect("a number"));
    let (major, minor) = (numbers.next().expect("a major"), numbers.next().expect("a minor"));
    let rows = [
        (ours.to_owned(), Some(0)),
        (format!("{major}.{}.7", minor - 1), Some(1)),
        (format!("{major}.{}.0", minor - 2), Some(2)),
        (format!("{major}.{}.0", minor + 1), Some(-1)),
        (format!("{}.0.0", major + 1), Some(-2)),
        ("x".to_owned(), None),
    ];
    for (release, expected) in rows {
        assert_eq!(pods::behind(&release), expected, "{release}");
    }
}
