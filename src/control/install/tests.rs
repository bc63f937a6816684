//! The objects fit each other: what one names, another is.

use serde_json::{Value, json};

use super::*;

fn all() -> Vec<Value> {
    objects(&Settings::default())
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let found = objects.iter().find(|of| of["kind"] == kind);
    found.unwrap_or_else(|| panic!("no {kind}"))
}

#[test]
fn what_is_needed_comes_first() {
    let all = all();
    let position = |kind: &str| all.iter().position(|of| of["kind"] == kind);
    let order = [
        "Namespace",
        "CustomResourceDefinition",
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
        "Deployment",
        "MutatingWebhookConfiguration",
        "ValidatingWebhookConfiguration",
        "AccessPolicy",
    ];
    for pair in order.windows(2) {
        assert!(position(pair[0]).is_some(), "{} is missing", pair[0]);
        assert!(position(pair[0]) < position(pair[1]), "{pair:?}");
    }
}

#[test]
fn what_holds_up_pods_goes_first_and_the_namespace_last() {
    let kinds = |with: bool| -> Vec<String> {
        let all = removals(with);
        all.iter().map(|of| of["kind"].as_str().expect("a kind").to_owned()).collect()
    };
    let usual = kinds(false);
    assert_eq!(usual.first().map(String::as_str), Some("MutatingWebhookConfiguration"));
    assert_eq!(usual.last().map(String::as_str), Some("Namespace"));
    assert!(!usual.iter().any(|kind| kind == "CustomResourceDefinition"));
    assert_eq!(kinds(true).last().map(String::as_str), Some("CustomResourceDefinition"));
}

#[test]
fn strict_leaves_out_the_permissive_policy() {
    let strict = Settings { mtls: Mtls::Strict, ..Settings::default() };
    let objects = objects(&strict);
    assert!(!objects.iter().any(|of| of["kind"] == "AccessPolicy"));
    assert_eq!(of_kind(&objects, "Deployment")["metadata"]["annotations"][MTLS], "strict");
}

#[test]
fn selectors_find_the_pods() {
    let all = all();
    let deployment = of_kind(&all, "Deployment");
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    let selectors = [
        &deployment["spec"]["selector"]["matchLabels"],
        &of_kind(&all, "Service")["spec"]["selector"],
        &of_kind(&all, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        &of_kind(&all, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ];
    for selector in selectors {
        let selector = selector.as_object().expect("labels");
        assert!(!selector.is_empty());
        for (key, value) in selector {
            assert_eq!(labels[key], *value, "{key}");
        }
    }
}

#[test]
fn ports_have_one_number_each() {
    let all = all();
    let numbers = |ports: &Value, number: &str| -> Vec<(String, u64)> {
        let of = |port: &Value| {
            let name = port["name"].as_str().expect("a name").to_owned();
            (name, port[number].as_u64().expect("a number"))
        };
        ports.as_array().expect("ports").iter().map(of).collect()
    };
    let pod = &of_kind(&all, "Deployment")["spec"]["template"]["spec"]["containers"][0];
    let of_pod = numbers(&pod["ports"], "containerPort");
    assert_eq!(numbers(&of_kind(&all, "Service")["spec"]["ports"], "port"), of_pod);
    for (flag, port) in [("listen", 15010), ("admin-listen", 15014), ("webhook-listen", 15017)] {
        assert!(of_pod.iter().any(|(_, number)| *number == port));
        let flag = format!("--{flag}=[::]:{port}");
        assert!(pod["args"].as_array().expect("args").contains(&json!(flag)), "{flag}");
    }
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        let webhooks = of_kind(&all, kind)["webhooks"].clone();
        for webhook in webhooks.as_array().expect("webhooks") {
            assert_eq!(webhook["clientConfig"]["service"]["port"], 15017);
        }
    }
}

/// Whoever removes a namespace, or mends the mesh while the control plane is away, waits for nobody.
#[test]
fn the_validator_is_asked_of_what_the_watch_reads_and_holds_up_nobody() {
    let all = all();
    let mut asked = Vec::new();
    for webhook in
        of_kind(&all, "ValidatingWebhookConfiguration")["webhooks"].as_array().expect("webhooks")
    {
        assert_eq!(webhook["failurePolicy"], "Ignore");
        assert!(webhook["timeoutSeconds"].as_u64().is_some_and(|seconds| seconds <= 3));
        for rule in webhook["rules"].as_array().expect("rules") {
            assert_eq!(rule["operations"], json!(["CREATE", "UPDATE"]));
            let words = |field: &str| rule[field].as_array().expect("a list").clone();
            let versions = words("apiVersions");
            for resource in words("resources") {
                let group = &rule["apiGroups"][0];
                asked.push(format!("{resource} {group}/{}", versions[0]).replace('"', ""));
            }
        }
    }
    let followed = crate::control::kube::status::Kind::ALL.map(|kind| {
        let of = kind.resource();
        format!("{} {}", of.plural, of.api_version)
    });
    asked.sort();
    let mut followed = followed.to_vec();
    followed.sort();
    assert_eq!(asked, followed);
}

#[test]
fn an_issuer_made_elsewhere_is_mounted_and_named() {
    let settings = Settings { issuer_secret: Some("mesh-issuer".into()), ..Settings::default() };
    let objects = objects(&settings);
    let pod = &of_kind(&objects, "Deployment")["spec"]["template"]["spec"];
    let secret = &pod["volumes"][0]["secret"];
    assert_eq!(secret["secretName"], "mesh-issuer");
    let container = &pod["containers"][0];
    let mount = container["volumeMounts"][0]["mountPath"].as_str().expect("a path");
    let arguments = container["args"].as_array().expect("args");
    let files = secret["items"].as_array().expect("files");
    let flags = ["--issuer-certificate=", "--issuer-key=", "--issuer-root="];
    assert_eq!(files.len(), flags.len());
    for (flag, file) in flags.into_iter().zip(files) {
        let path = file["path"].as_str().expect("a name");
        let argument = json!(format!("{flag}{mount}/{path}"));
        assert!(arguments.contains(&argument), "{argument}: {arguments:?}");
    }
    // Who may read them is in the pod alone, and may.
    assert_eq!(
        (&secret["defaultMode"], &pod["securityContext"]["fsGroup"]),
        (&json!(0o440), &json!(2103))
    );
    let without = all();
    let without = &of_kind(&without, "Deployment")["spec"]["template"]["spec"];
    assert!(without.get("volumes").is_none() && !without.to_string().contains("issuer"));
}

/// Two lists that both matched a pod would have it injected by two calls.
#[test]
fn no_pod_is_asked_about_twice() {
    let all = all();
    let webhooks = &of_kind(&all, "MutatingWebhookConfiguration")["webhooks"];
    let on_label = |at: usize| -> Vec<Value> {
        let selector = &webhooks[at]["objectSelector"]["matchExpressions"];
        selector.as_array().expect("expressions").clone()
    };
    assert!(on_label(0).contains(&json!({"key": INJECT, "operator": "DoesNotExist"})));
    assert!(on_label(1).contains(&json!({"key": INJECT, "operator": "Exists"})));
    for webhook in webhooks.as_array().expect("webhooks") {
        let namespaces = webhook["namespaceSelector"]["matchExpressions"].as_array();
        let exempt = namespaces.expect("expressions").last().expect("one");
        assert_eq!(exempt["values"], json!(["kube-system", "outrigger-system"]));
    }
}

/// Least rights stay so only if somebody notices when they grow.
#[test]
fn nothing_is_granted_that_could_take_over_a_cluster() {
    for object in all().iter().filter(|of| of.get("rules").is_some()) {
        for rule in object["rules"].as_array().expect("rules") {
            let list = |field: &str| -> Vec<String> {
                let items = rule[field].as_array().cloned().unwrap_or_default();
                items.iter().map(|of| of.as_str().expect("text").to_owned()).collect()
            };
            let (resources, verbs) = (list("resources"), list("verbs"));
            let wild = |all: &[String]| all.iter().any(|of| of.contains('*'));
            assert!(!wild(&resources) && !wild(&verbs) && !wild(&list("apiGroups")), "{rule}");
            assert!(!verbs.iter().any(|verb| verb.starts_with("delete")), "{rule}");
            let writes = verbs.iter().any(|verb| ["update", "patch"].contains(&verb.as_str()));
            let named = !list("resourceNames").is_empty();
            let of_status = resources.iter().all(|of| of.ends_with("/status"));
            assert!(!writes || named || of_status, "{rule}");
            let secret = resources.iter().any(|of| of == "secrets");
            assert!(
                !secret || (object["kind"] == "Role" && (named || verbs == ["create"])),
                "{rule}"
            );
            for verb in ["escalate", "bind", "impersonate"] {
                assert!(!verbs.iter().any(|of| of == verb), "{rule}");
            }
        }
    }
}

/// A right that nobody uses is one that a thief may: each verb has its caller here.
#[test]
fn no_verb_is_granted_that_nobody_uses() {
    let expected: &[(&str, &[&str])] = &[
        // Followed by the watches; nobody asks for one of them.
        ("services pods namespaces nodes", &["list", "watch"]),
        ("endpointslices", &["list", "watch"]),
        // Read once more when somebody else wrote the status first.
        ("httproutes grpcroutes", &["get", "list", "watch"]),
        ("httproutes/status grpcroutes/status", &["patch"]),
        ("accesspolicies ratelimitpolicies trafficpolicies workloads", &["get", "list", "watch"]),
        (
            "accesspolicies/status ratelimitpolicies/status trafficpolicies/status workloads/status",
            &["patch"],
        ),
        ("tokenreviews", &["create"]),
        ("configmaps", &["create"]),
        ("configmaps", &["list", "watch", "patch"]),
        ("mutatingwebhookconfigurations", &["list", "watch", "patch"]),
        ("validatingwebhookconfigurations", &["list", "watch", "patch"]),
        ("secrets", &["create"]),
        ("secrets", &["get", "list", "watch", "update"]),
        ("leases", &["create"]),
        // Asked for at each renewal, and not followed.
        ("leases", &["get", "update"]),
    ];
    let words = |list: &Value| -> Vec<String> {
        let items = list.as_array().expect("a list").iter();
        items.map(|of| of.as_str().expect("text").to_owned()).collect()
    };
    let granted: Vec<(String, Vec<String>)> = all()
        .iter()
        .filter_map(|of| of["rules"].as_array())
        .flatten()
        .map(|rule| (words(&rule["resources"]).join(" "), words(&rule["verbs"])))
        .collect();
    let expected: Vec<(String, Vec<String>)> = expected
        .iter()
        .map(|(of, verbs)| ((*of).to_owned(), verbs.iter().map(|v| (*v).to_owned()).collect()))
        .collect();
    assert_eq!(granted, expected);
}

/// The Pod Security Standards' `restricted`, which the namespace asks for.
#[test]
fn the_pod_is_restricted() {
    let all = all();
    let pod = &of_kind(&all, "Deployment")["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let container = &pod["containers"][0]["securityContext"];
    assert_eq!(container["capabilities"], json!({"drop": ["ALL"]}));
    assert_eq!(container["allowPrivilegeEscalation"], false);
    assert_eq!(container["readOnlyRootFilesystem"], true);
    let namespace = &all[0]["metadata"]["labels"];
    assert_eq!(namespace["pod-security.kubernetes.io/enforce"], "restricted");
}

#[test]
fn a_lifetime_is_written_as_the_flag_takes_it() {
    for (seconds, written) in [(86_400, "24h"), (5_400, "90m"), (90, "90s")] {
        let lifetime = Duration::from_secs(seconds);
        let settings = Settings { cert_lifetime: lifetime, ..Settings::default() };
        let objects = objects(&settings);
        let pod = &of_kind(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0];
        let flag = json!(format!("--cert-lifetime={written}"));
        assert!(pod["args"].as_array().expect("args").contains(&flag), "{written}");
    }
}
