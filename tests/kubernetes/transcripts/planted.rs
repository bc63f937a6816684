//! Code that asks for something else than it did when the scenario was recorded is found out, and so
//! is a server that says something else: each difference here is planted, and must be named.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::ByteString;
use outrigger::control::kube::{Review, Reviewer};
use outrigger::control::webhook::{self, Judge};
use serde_json::{Value, json};

use super::stage::{Scenario, Stage, replay};
use super::transcript::{Line, load};
use super::way::{Fate, Fault, sound};
use super::{applying, injecting, standing, tokens, validating, watching};
use crate::harness::SOON;

/// What the scenario fails with.
fn failure(
    scenario: Scenario,
    lines: Vec<Line>,
    fault: Fault,
    act: impl AsyncFn(&Stage),
) -> String {
    // Long enough for what does come on a busy machine; one of them waits for what never comes.
    let patience = Duration::from_secs(10);
    let played = catch_unwind(AssertUnwindSafe(|| replay(scenario, lines, fault, patience, &act)));
    let why = played.expect_err("the difference was not noticed");
    let text = why.downcast_ref::<String>().cloned();
    text.or_else(|| why.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

fn planted(scenario: Scenario, fault: Fault, act: impl AsyncFn(&Stage)) -> String {
    failure(scenario, load(scenario.name), fault, act)
}

#[track_caller]
fn says(why: &str, words: &[&str]) {
    for word in words {
        assert!(why.contains(word), "`{word}` is not in:\n{why}");
    }
}

const BUNDLE: &str = "/configmaps/outrigger-trust-bundle?fieldManager=outrigger-control-plane";

#[test]
fn another_field_is_named() {
    let fault: Fault = |method, _, body| {
        if method == "PATCH" {
            body["data"]["more"] = json!("x");
            body["metadata"]["labels"] = Value::Null;
        }
        Fate::Passes
    };
    let why = planted(applying::SCENARIO, fault, applying::act);
    says(&why, &["mesh PATCH /api/v1/namespaces/", "with another body"]);
    says(&why, &["/data/more was not there; it is \"x\"", "/metadata/labels is null; it was {"]);
}

#[test]
fn another_path_is_named_beside_the_nearest() {
    let fault: Fault = |_, path, _| {
        *path = path.replace("/configmaps/outrigger-trust-bundle", "/configmaps/roots");
        Fate::Passes
    };
    let why = planted(applying::SCENARIO, fault, applying::act);
    says(&why, &["/configmaps/roots?", "it was not recorded; the nearest that was", BUNDLE]);
}

/// With a real server it would be a conflict, and the roots never there.
#[test]
fn an_apply_without_force_is_another_one() {
    let fault: Fault = |_, path, _| {
        *path = path.replace("&force=true", "").replace("force=true&", "");
        Fate::Passes
    };
    let why = planted(applying::SCENARIO, fault, applying::act);
    says(&why, &["it was not recorded; the nearest that was", &format!("{BUNDLE}&force=true")]);
}

#[test]
fn a_write_that_does_not_come_is_missed() {
    let fault: Fault = |method, path, _| match (method, path.contains("/httproutes/route/status")) {
        ("PATCH", true) => Fate::IsNeverMade,
        _ => Fate::Passes,
    };
    let why = planted(standing::SCENARIO, fault, standing::act);
    says(&why, &["mesh PATCH", "/httproutes/route/status?fieldManager=outrigger-control-plane"]);
}

#[test]
fn a_write_over_what_was_not_seen_is_named() {
    let fault: Fault = |_, _, body| {
        if let Some(metadata) = body["metadata"].as_object_mut() {
            metadata.remove("resourceVersion");
        }
        Fate::Passes
    };
    let why = planted(standing::SCENARIO, fault, standing::act);
    says(&why, &["with another body", "/metadata/resourceVersion is missing; it was"]);
}

#[test]
fn a_question_too_many_is_named() {
    let act = async |stage: &Stage| {
        tokens::act(stage).await;
        let _ = Reviewer(stage.mesh.clone()).review("once more").await;
    };
    let why = planted(tokens::SCENARIO, sound, act);
    says(
        &why,
        &[
            "mesh POST /apis/authentication.k8s.io/v1/tokenreviews",
            "it comes more often than when it was recorded (5)",
        ],
    );
}

#[test]
fn a_version_that_nobody_told_is_named() {
    let fault: Fault = |_, path, _| {
        *path = path.replace("resourceVersion=", "resourceVersion=9");
        Fate::Passes
    };
    let why = planted(applying::SCENARIO, fault, applying::act);
    says(&why, &["nobody was ever told of resourceVersion 9"]);
}

#[test]
fn another_patch_of_the_injector_is_named() {
    let act = async |stage: &Stage| injecting::act_with(stage, "outrigger-proxy:other").await;
    let why = planted(injecting::SCENARIO, sound, act);
    says(&why, &["the webhook answers otherwise than it did", "\"outrigger-proxy:other\""]);
}

struct Lenient;

impl Judge for Lenient {
    fn verdict(&self, _: &Value) -> Result<Value, webhook::ReviewError> {
        Ok(json!({"allowed": true}))
    }

    fn failed(&self) {}
}

#[test]
fn a_validator_that_lets_a_mistake_in_is_named() {
    let act = async |stage: &Stage| validating::act_with(stage, Arc::new(Lenient)).await;
    let why = planted(validating::SCENARIO, sound, act);
    says(
        &why,
        &["the webhook answers otherwise than it did", "/response/allowed is true; it was false"],
    );
}

#[test]
fn a_webhook_that_the_registration_does_not_trust_is_not_called() {
    let fault: Fault = |method, _, body| {
        if method == "PATCH" {
            let other = ByteString(applying::authority().roots().to_pem().into_bytes());
            for webhook in body["webhooks"].as_array_mut().into_iter().flatten() {
                webhook["clientConfig"]["caBundle"] = json!(other);
            }
        }
        Fate::Passes
    };
    let why = planted(injecting::SCENARIO, fault, injecting::act);
    says(&why, &["people POST /api/v1/namespaces/shop/pods", "the webhook can't be called"]);
}

/// Our own version stands in what was recorded, and is another one after each release.
#[test]
fn transcripts_outlive_a_release() {
    let lines = load(injecting::SCENARIO.name).into_iter().map(|line| {
        let text = serde_json::to_string(&line).expect("a line");
        let now = format!("\"{}\"", env!("CARGO_PKG_VERSION"));
        serde_json::from_str(&text.replace(&now, "\"0.0.1-before\"")).expect("a line")
    });
    let lines: Vec<Line> = lines.map(before_the_release).collect();
    replay(injecting::SCENARIO, lines, sound, SOON, &injecting::act);
}

/// With the version in the patch, too, which is in base64.
fn before_the_release(line: Line) -> Line {
    let Line::Call { to, review, mut answer } = line else { return line };
    if let Value::String(_) = answer["response"]["patch"] {
        let patch = answer["response"]["patch"].take();
        let patch: ByteString = serde_json::from_value(patch).expect("base64");
        let text = String::from_utf8(patch.0).expect("text");
        let now = format!("\"{}\"", env!("CARGO_PKG_VERSION"));
        assert!(text.contains(&now), "{text}");
        let patch = ByteString(text.replace(&now, "\"0.0.1-before\"").into_bytes());
        answer["response"]["patch"] = json!(patch);
    }
    Line::Call { to, review, answer }
}

/// Scenarios look at what the server says, not at the replay's word that all is well.
#[test]
fn a_server_that_says_something_else_fails_the_scenario() {
    let mut lines = load(tokens::SCENARIO.name);
    for line in &mut lines {
        if let Line::Part { body, .. } = line {
            let is_review = body["kind"] == "TokenReview";
            if is_review && body["status"]["authenticated"] == true {
                body["status"]["user"]["extra"] = json!({});
            }
        }
    }
    let why = failure(tokens::SCENARIO, lines, sound, tokens::act);
    says(&why, &["it is good", "not bound to a pod"]);
}

/// One that has not forgotten, where it had: the pods would not be listed again.
#[test]
fn a_server_that_remembers_fails_the_scenario() {
    let mut lines = load(watching::SCENARIO.name);
    let is_gone = |line: &Line| match line {
        Line::Head { status, .. } => *status == 410,
        Line::Part { body, .. } => body["object"]["code"] == 410,
        _ => false,
    };
    let forgotten: Vec<usize> =
        lines.iter().filter(|line| is_gone(line)).filter_map(Line::request).collect();
    assert!(!forgotten.is_empty(), "it was never said");
    lines.retain(|line| !is_gone(line) || matches!(line, Line::Head { .. }));
    let is_end = |line: &Line| matches!(line, Line::End { to } if forgotten.contains(to));
    lines.retain(|line| !is_end(line));
    for line in &mut lines {
        if let Line::Head { status, .. } = line
            && *status == 410
        {
            *status = 200;
        }
    }
    let why = failure(watching::SCENARIO, lines, sound, watching::act);
    says(&why, &["what went is found missing", "mesh GET /api/v1/pods?"]);
}
