//! The API server's question (a review of `admission.k8s.io/v1`) and the form of an answer, which are
//! the same whatever is judged.
//!
//! The question is read as JSON with its order kept, since what is asked about may be anything. `null`
//! is the same as absent everywhere, as it is to Kubernetes.

use serde_json::{Value, json};

const VERSION: &str = "admission.k8s.io/v1";

/// Why a question can't be answered.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    #[error("the body is not JSON: {0}")]
    NotJson(#[source] serde_json::Error),
    #[error(
        "expected an AdmissionReview of {VERSION}, found {0}: set admissionReviewVersions: [v1] in \
         the webhook's configuration"
    )]
    NotAReview(String),
    #[error("the review lacks {0}")]
    Lacks(&'static str),
    #[error("request.object is no object of Kubernetes: {0}")]
    NotAnObject(#[source] serde_json::Error),
}

/// Whoever answers the questions of one path.
pub trait Judge: Send + Sync {
    /// The answer to `request`, but for the `uid` by which it is known.
    ///
    /// # Errors
    /// When something is missing from the question; a refusal is an answer.
    fn verdict(&self, request: &Value) -> Result<Value, ReviewError>;

    /// Somebody asked what is no question.
    fn failed(&self);

    /// Answers a review.
    ///
    /// # Errors
    /// When it is none; a refusal is an answer.
    fn review(&self, body: &[u8]) -> Result<Value, ReviewError> {
        answered(self, body).inspect_err(|_| self.failed())
    }
}

fn answered(judge: &(impl Judge + ?Sized), body: &[u8]) -> Result<Value, ReviewError> {
    let review: Value = serde_json::from_slice(body).map_err(ReviewError::NotJson)?;
    let word = |key| text(&review, [key]).unwrap_or("nothing");
    if (word("apiVersion"), word("kind")) != (VERSION, "AdmissionReview") {
        let found = format!("{} of {}", word("kind"), word("apiVersion"));
        return Err(ReviewError::NotAReview(found));
    }
    let request = at(&review, "request").ok_or(ReviewError::Lacks("request"))?;
    let uid = text(request, ["uid"]).ok_or(ReviewError::Lacks("request.uid"))?;
    let mut response = judge.verdict(request)?;
    response["uid"] = uid.into();
    Ok(json!({"apiVersion": VERSION, "kind": "AdmissionReview", "response": response}))
}

/// An object that is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub group: &'a str,
    pub kind: &'a str,
    pub name: &'a str,
}

/// Something wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Empty for the object as a whole.
    pub field: String,
    /// Cause and cure.
    pub message: String,
}

/// The answer that keeps an object out: a sentence for who reads logs and events, and the causes one by
/// one, which `kubectl` shows in its place. Of a refusal without them it may show nothing at all.
pub fn refused(sentence: &str, subject: Subject<'_>, causes: &[Cause]) -> Value {
    let cause = |Cause { field, message }: &Cause| {
        let field = if field.is_empty() { "object" } else { field };
        json!({"reason": "FieldValueInvalid", "field": field, "message": message})
    };
    let Subject { group, kind, name } = subject;
    let causes: Vec<Value> = causes.iter().map(cause).collect();
    let details = json!({"group": group, "kind": kind, "name": name, "causes": causes});
    let status = json!({"code": 422, "reason": "Invalid", "message": sentence, "details": details});
    json!({"allowed": false, "status": status})
}

/// A field's value, unless it is absent.
pub fn at<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    value.get(key).filter(|value| !value.is_null())
}

/// A text further down; `None` where anything on the way is absent or of another kind.
pub fn text<'v, const N: usize>(value: &'v Value, steps: [&str; N]) -> Option<&'v str> {
    steps.iter().try_fold(value, |value, step| value.get(step))?.as_str()
}
