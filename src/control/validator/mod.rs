//! The validator: what the API server is told of routes, policies and workloads before it stores them.
//!
//! It reads an object as the watch will read it ([`judge`]), so that whoever writes a fault is told of
//! it there and then, in the decoder's words. Of our own kinds what can't be read is refused. Routes
//! are the Gateway API's, and another program may act on what we can't: of them the writer is warned.
//! Nothing rests on it: an object that comes past it, because nobody answered, is judged by the watch
//! all the same, has no effect but the strict one, and says so in its status.

#[cfg(test)]
mod tests;

use kube::api::DynamicObject;
use serde_json::{Map, Value, json};
use tracing::{debug, info};

use super::crd::GROUP;
use super::kube::{Judged, is_written, judge};
use super::webhook::{Cause, Judge, ReviewError, Subject, at, refused, text};
use crate::resources::Fault;
use crate::telemetry::metrics::{Counter, Registry};
use crate::telemetry::span::cut;

/// Faults that are named, each of so many bytes at most. Nobody mends more at once, and an API server
/// passes no longer warnings on than 4 KiB together. Arbitrary.
const FAULTS: usize = 32;
const LONGEST: usize = 1024;

/// Judges resources as they are written.
#[derive(Default)]
pub struct Validator {
    validations: Validations,
}

/// Answers to the API server, by what they were.
#[derive(Default)]
struct Validations {
    accepted: Counter,
    refused: Counter,
    warned: Counter,
    /// What it says is what it said before, or is nobody's to judge.
    unjudged: Counter,
    /// The question was none.
    failed: Counter,
}

impl Validator {
    /// One whose answers are counted where others see it.
    pub fn counted(registry: &Registry) -> Self {
        let family = registry.counter_family(
            "outrigger_control_validations_total",
            "Writes of routes, policies and workloads that the validator was asked about: accepted, \
             refused, warned of, unjudged because they change nothing that it says, or failed for \
             want of a question.",
            5,
            &["result"],
        );
        let of = |result| family.with(&[result]);
        let validations = Validations {
            accepted: of("accepted"),
            refused: of("refused"),
            warned: of("warned"),
            unjudged: of("unjudged"),
            failed: of("failed"),
        };
        Self { validations }
    }

    fn unjudged(&self) -> Value {
        self.validations.unjudged.inc();
        allowed()
    }

    fn faulty(&self, kind: &Kind<'_>, name: &str, causes: &[Cause]) -> Value {
        let (group, kind) = (kind.group, kind.name);
        let said: Vec<String> = causes.iter().map(sentence).collect();
        let all = said.join("; ");
        if group != GROUP {
            self.validations.warned.inc();
            debug!(kind, name, "let in with warnings: {all}");
            let warnings = said.into_iter().map(|said| format!("{kind} {name}: {said}"));
            return json!({"allowed": true, "warnings": warnings.collect::<Vec<_>>()});
        }
        self.validations.refused.inc();
        info!(kind, name, "refused: {all}");
        refused(&format!("{kind} {name}: {all}"), Subject { group, kind, name }, causes)
    }
}

impl Judge for Validator {
    fn verdict(&self, request: &Value) -> Result<Value, ReviewError> {
        let Some(kind) = Kind::of(request) else { return Ok(self.unjudged()) };
        let object = at(request, "object").ok_or(ReviewError::Lacks("request.object"))?;
        let before = at(request, "oldObject").and_then(Value::as_object);
        if before.is_some_and(|before| is_same(before, object)) {
            return Ok(self.unjudged());
        }
        let object = named(object, request)?;
        let name = object.metadata.name.clone().unwrap_or_default();
        Ok(match judge(&kind.api_version(), kind.name, object) {
            Judged::Sound(_) | Judged::Foreign => {
                self.validations.accepted.inc();
                allowed()
            }
            Judged::Faulty { faults, .. } => self.faulty(&kind, &name, &causes(&faults)),
        })
    }

    fn failed(&self) {
        self.validations.failed.inc();
    }
}

/// What is written.
struct Kind<'a> {
    group: &'a str,
    version: &'a str,
    name: &'a str,
}

impl<'a> Kind<'a> {
    /// `None` for what is not to be judged: whoever configures the webhook may ask for more than it is
    /// for, and what is removed is judged by nobody.
    fn of(request: &'a Value) -> Option<Self> {
        let word = |name| text(request, ["kind", name]).unwrap_or_default();
        let kind = Kind { group: word("group"), version: word("version"), name: word("kind") };
        let is_write = matches!(text(request, ["operation"]), Some("CREATE" | "UPDATE"));
        let is_whole = text(request, ["subResource"]).unwrap_or_default().is_empty();
        let is_ours = is_written(&kind.api_version(), kind.name);
        (is_write && is_whole && is_ours).then_some(kind)
    }

    fn api_version(&self) -> String {
        format!("{}/{}", self.group, self.version)
    }
}

/// The object as the watch will see it: who leaves the name to the API server may be asked about before
/// it has one.
fn named(object: &Value, request: &Value) -> Result<DynamicObject, ReviewError> {
    let mut object: DynamicObject =
        serde_json::from_value(object.clone()).map_err(ReviewError::NotAnObject)?;
    let metadata = &mut object.metadata;
    let invented = || metadata.generate_name.as_ref().map(|begin| format!("{begin}x"));
    metadata.name = metadata.name.take().or_else(invented);
    let namespace = || text(request, ["namespace"]).map(str::to_owned);
    metadata.namespace = metadata.namespace.take().or_else(namespace);
    Ok(object)
}

/// Whether only what the cluster keeps beside it has changed: labels, owners, finalizers. Who takes a
/// finalizer away must not be asked to mend first what somebody else wrote.
fn is_same(before: &Map<String, Value>, after: &Value) -> bool {
    let beside = |name: &str| matches!(name, "metadata" | "status");
    let has = |all: &Map<String, Value>, (name, value): (&String, &Value)| {
        beside(name) || all.get(name) == Some(value)
    };
    after.as_object().is_some_and(|after| {
        after.iter().all(|field| has(before, field)) && before.iter().all(|field| has(after, field))
    })
}

fn allowed() -> Value {
    json!({"allowed": true})
}

/// The first of them; the line is that of a file that nobody has.
fn causes(faults: &[Fault]) -> Vec<Cause> {
    let bounded = |text: &str| cut(text, LONGEST).into_string();
    let cause = |Fault { path, message, .. }: &Fault| Cause {
        field: bounded(path),
        message: bounded(message),
    };
    let mut all: Vec<Cause> = faults.iter().take(FAULTS).map(cause).collect();
    if faults.len() > FAULTS {
        let message = format!("and {} more", faults.len() - FAULTS);
        all.push(Cause { field: String::new(), message });
    }
    all
}

fn sentence(Cause { field, message }: &Cause) -> String {
    let colon = if field.is_empty() { "" } else { ": " };
    format!("{field}{colon}{message}")
}
