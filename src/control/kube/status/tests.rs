//! What a status should say, and when it already does.

use serde_json::{Value, json};

use super::due::due;
use super::*;
use crate::resources::attach::Condition;
use crate::resources::{Origin, parse_documents};

const NOW: &str = "2026-01-01T00:00:00Z";

fn parent(name: &str) -> Value {
    json!({"group": "", "kind": "Service", "name": name})
}

fn subject(kind: Kind, parents: &[Value], status: Value) -> Subject {
    Subject {
        id: Id { kind, namespace: "shop".into(), name: "x".into() },
        uid: "u".into(),
        resource_version: "1".into(),
        generation: 3,
        parent_refs: parents.to_vec(),
        status,
        reading: Reading::Sound,
    }
}

fn verdicts(kind: Kind, on: &[Condition], missing: &[&str]) -> Verdicts {
    let mut verdicts = Verdicts::default();
    let on = on.iter().map(|how| ("Service web".to_owned(), how.clone())).collect();
    let missing = missing.iter().map(|what| what.to_string()).collect();
    let id = Id { kind, namespace: "shop".into(), name: "x".into() };
    verdicts.put(id, Verdict { on, missing, account: None });
    verdicts
}

fn not_found() -> Condition {
    Condition::TargetNotFound { what: "Service web".into() }
}

fn faulty(instead: Instead) -> Reading {
    Reading::Faulty { faults: vec!["spec.rules[0]: wrong".into()], instead }
}

/// `type=status/reason` of each condition.
fn words(conditions: &Value) -> Vec<String> {
    let line = |c: &Value| {
        let word = |of: &str| c[of].as_str().unwrap_or_default().to_owned();
        format!("{}={}/{}", word("type"), word("status"), word("reason"))
    };
    conditions.as_array().into_iter().flatten().map(line).collect()
}

#[test]
fn a_status_that_is_right_is_not_written_again() {
    for kind in [Kind::HttpRoute, Kind::TrafficPolicy] {
        let mut subject = subject(kind, &[parent("web")], Value::Null);
        let verdicts = verdicts(kind, &[Condition::Accepted], &["port 80 of Service api"]);
        subject.status = due(&subject, &verdicts, NOW).expect("nothing is there yet");
        assert_eq!(due(&subject, &verdicts, "2027-01-01T00:00:00Z"), None);
        // Another generation is said, and leaves the times.
        subject.generation += 1;
        let next = due(&subject, &verdicts, "2027-01-01T00:00:00Z").expect("another generation");
        let text = next.to_string();
        assert!(text.contains(NOW) && !text.contains("2027"), "{text}");
    }
}

#[test]
fn a_time_changes_with_the_status_alone() {
    let kind = Kind::GrpcRoute;
    let mut subject = subject(kind, &[parent("web")], Value::Null);
    let later = "2027-01-01T00:00:00Z";
    subject.status = due(&subject, &verdicts(kind, &[not_found()], &[]), NOW).expect("new");
    let next = due(&subject, &verdicts(kind, &[Condition::Accepted], &[]), later).expect("other");
    let conditions = &next["parents"][0]["conditions"];
    assert_eq!(conditions[0]["lastTransitionTime"], later);
    assert_eq!(conditions[1]["lastTransitionTime"], NOW);
}

#[test]
fn entries_of_others_stay_and_stale_ones_of_ours_go() {
    let kind = Kind::HttpRoute;
    let entry = |controller: &str, parent: &Value| json!({"parentRef": parent, "controllerName": controller, "conditions": []});
    let gateway = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge"});
    let (web, api, old) = (parent("web"), parent("api"), parent("old"));
    let theirs = entry("example.com/gateway", &gateway);
    let before = json!({"parents": [
        entry(CONTROLLER, &old), theirs, entry(CONTROLLER, &api), entry("example.com/x", &old),
    ]});
    let parents = [gateway, web.clone(), api.clone()];
    let subject = subject(kind, &parents, before);
    let on = [Condition::Accepted, not_found()];
    let next = due(&subject, &verdicts(kind, &on, &[]), NOW).expect("much is different");
    let next = next["parents"].as_array().expect("a list");
    let names: Vec<_> = next
        .iter()
        .map(|e| (e["controllerName"].as_str().expect("text"), e["parentRef"]["name"].clone()))
        .collect();
    let expected = [
        ("example.com/gateway", json!("edge")),
        (CONTROLLER, json!("api")),
        ("example.com/x", json!("old")),
        (CONTROLLER, json!("web")),
    ];
    assert_eq!(names, expected);
    // Each parent by its own place among the Services.
    assert_eq!(words(&next[3]["conditions"])[0], "Accepted=True/Accepted");
    assert_eq!(words(&next[1]["conditions"])[0], "Accepted=False/NoMatchingParent");
    // Named by none any more, ours leave altogether.
    let mut gone = subject.clone();
    gone.parent_refs.clear();
    let next = due(&gone, &verdicts(kind, &[], &[]), NOW).expect("ours leave");
    assert!(!next.to_string().contains(CONTROLLER), "{next}");
}

#[test]
fn a_route_that_can_not_be_used_says_why() {
    let kind = Kind::HttpRoute;
    let mut subject = subject(kind, &[parent("web")], Value::Null);
    subject.reading = faulty(Instead::Nothing);
    let said = due(&subject, &Verdicts::default(), NOW).expect("new");
    let conditions = &said["parents"][0]["conditions"];
    assert_eq!(words(conditions), ["Accepted=False/UnsupportedValue"]);
    assert_eq!(conditions[0]["message"], "spec.rules[0]: wrong");
    subject.reading = faulty(Instead::Before);
    assert_eq!(due(&subject, &Verdicts::default(), NOW), None, "how it stands is not known yet");
    let said = due(&subject, &verdicts(kind, &[Condition::Accepted], &[]), NOW).expect("new");
    let conditions = &said["parents"][0]["conditions"];
    let expected = [
        "Accepted=True/Accepted",
        "ResolvedRefs=True/ResolvedRefs",
        "PartiallyInvalid=True/UnsupportedValue",
    ];
    assert_eq!(words(conditions), expected);
    let message = conditions[2]["message"].as_str().expect("text");
    assert!(message.starts_with("Fall Back: "), "{message}");
    // "MUST NOT be set if a Route is [...] not accepted".
    let said = due(&subject, &verdicts(kind, &[not_found()], &[]), NOW).expect("new");
    assert_eq!(words(&said["parents"][0]["conditions"]).len(), 2);
}

#[test]
fn a_policy_is_accepted_conflicted_or_without_target() {
    let kind = Kind::TrafficPolicy;
    let conflict = Condition::Conflicted { with: "shop/older".into() };
    let theirs = json!({"type": "Theirs", "status": "True", "reason": "X", "message": ""});
    let resolved = "ResolvedRefs=True/ResolvedRefs";
    let conflicted = "Conflicted=True/Conflicted";
    let rows: [(&[Condition], &[&str]); 4] = [
        (&[Condition::Accepted], &["Accepted=True/Accepted", resolved]),
        (std::slice::from_ref(&conflict), &["Accepted=False/Conflicted", resolved, conflicted]),
        (&[not_found()], &["Accepted=False/TargetNotFound", resolved]),
        (
            &[Condition::Accepted, conflict.clone()],
            &["Accepted=True/Accepted", resolved, conflicted],
        ),
    ];
    for (on, expected) in rows {
        let subject = subject(kind, &[], json!({"conditions": [theirs]}));
        let said = due(&subject, &verdicts(kind, on, &[]), NOW).expect("new");
        assert_eq!(said["conditions"][0], theirs);
        assert_eq!(words(&said["conditions"])[1..], *expected);
        // A conflict that is over is said no more.
        let mut after = subject.clone();
        after.status = said;
        let next = due(&after, &verdicts(kind, &[Condition::Accepted], &[]), NOW);
        let text = next.unwrap_or(after.status).to_string();
        assert!(!text.contains("older") && text.contains("Theirs"), "{text}");
    }
    let mut subject = subject(kind, &[], Value::Null);
    subject.reading = faulty(Instead::Before);
    let said = due(&subject, &verdicts(kind, &[Condition::Accepted], &[]), NOW).expect("new");
    assert_eq!(words(&said["conditions"]), ["Accepted=False/Invalid"]);
}

#[test]
fn a_workload_is_accepted_and_says_whether_it_is_meshed() {
    let manifest = |spec: &str| {
        let head = "apiVersion: outrigger.dev/v1alpha1\nkind: Workload\nmetadata: {name: x}\n";
        let text = format!("{head}spec: {{address: 10.0.0.1{spec}}}\n");
        parse_documents(&text, &Origin::file("x"), "shop").expect("sound")
    };
    let subject = subject(Kind::Workload, &[], Value::Null);
    assert_eq!(due(&subject, &Verdicts::default(), NOW), None, "it is not in use yet");
    for (spec, meshed, part) in [
        (", serviceAccount: web", "Meshed=True/ServiceAccount", "service account web"),
        ("", "Meshed=False/NoServiceAccount", "in plaintext"),
    ] {
        let said = due(&subject, &Verdicts::of(&manifest(spec)), NOW).expect("new");
        assert_eq!(words(&said["conditions"]), ["Accepted=True/Accepted", meshed]);
        let message = said["conditions"][1]["message"].as_str().expect("text");
        assert!(message.contains(part), "{message}");
    }
    let mut faulty_one = subject.clone();
    faulty_one.reading = faulty(Instead::Nothing);
    let said = due(&faulty_one, &Verdicts::default(), NOW).expect("new");
    assert_eq!(words(&said["conditions"]), ["Accepted=False/Invalid"]);
}

#[test]
fn an_access_policy_that_can_not_be_read_says_that_it_counts_as_strict() {
    let mut subject = subject(Kind::AccessPolicy, &[], Value::Null);
    subject.reading = faulty(Instead::Strict("namespace shop".into()));
    let said = due(&subject, &Verdicts::default(), NOW).expect("new");
    assert_eq!(words(&said["conditions"]), ["Accepted=False/Invalid"]);
    let message = said["conditions"][0]["message"].as_str().expect("text");
    assert!(message.contains("counts as `mtls: strict` for namespace shop: spec"), "{message}");
}

/// Kubernetes takes 32 KiB, and nobody reads as much.
#[test]
fn a_long_message_is_cut_between_characters() {
    let mut subject = subject(Kind::AccessPolicy, &[], Value::Null);
    let faults = (0..2000).map(|n| format!("fäult {n}")).collect();
    subject.reading = Reading::Faulty { faults, instead: Instead::Nothing };
    let said = due(&subject, &Verdicts::default(), NOW).expect("new");
    let message = said["conditions"][0]["message"].as_str().expect("text");
    assert!(message.len() < 5000 && message.ends_with('…'), "{}", message.len());
}
