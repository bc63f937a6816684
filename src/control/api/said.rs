//! The wire's words for resources, and back. Every message is taken apart field by field, so that a
//! new field doesn't compile until somebody decides what it means here.

use super::apply::{Action, Change, Target};
use super::view::{Filter, Id, Shown};
use super::writer::{MAX_RESOURCES, Unsettled};
use crate::control::store::CommitError;
use crate::resources::names::{is_dns_label, is_dns_subdomain};
use crate::resources::{Fault, Origin, Resource, kind, parse_all, quote};
use crate::wire::v1;
use tonic::Status;

/// The most text in one call, in bytes. Arbitrary.
pub const MAX_BYTES: usize = 16 << 20;

/// Beyond these only the number is said, so that an answer has a bound. Arbitrary, far more than
/// anybody reads.
const MAX_FAULTS: usize = 1_000;

/// The namespace of resources that name none, when the call names none either.
const DEFAULT_NAMESPACE: &str = "default";

/// What a call brings to read.
#[derive(Debug)]
pub struct Texts {
    documents: Vec<(Origin, String)>,
    default_namespace: String,
}

impl Texts {
    /// # Errors
    /// INVALID_ARGUMENT when they are too large, or the namespace can't be one.
    pub fn new(documents: Vec<v1::Document>, default_namespace: &str) -> Result<Self, Status> {
        let size = |document: &v1::Document| document.source.len() + document.text.len();
        let bytes: usize = documents.iter().map(size).sum();
        if bytes > MAX_BYTES {
            let (is, most) = (bytes >> 20, MAX_BYTES >> 20);
            return Err(Status::invalid_argument(format!(
                "the documents are {is} MiB, and {most} may be in one call: split them"
            )));
        }
        let named = |v1::Document { source, text }| (Origin::file(source), text);
        Ok(Self {
            documents: documents.into_iter().map(named).collect(),
            default_namespace: default_or(default_namespace)?,
        })
    }

    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn resources(&self) -> Result<Vec<Resource>, Vec<Fault>> {
        let texts = self.documents.iter().map(|(source, text)| (source, text.as_str()));
        parse_all(texts, &self.default_namespace)
    }
}

fn default_or(namespace: &str) -> Result<String, Status> {
    let namespace = if namespace.is_empty() { DEFAULT_NAMESPACE } else { namespace };
    checked_namespace(namespace)?;
    Ok(namespace.to_owned())
}

fn checked_namespace(namespace: &str) -> Result<(), Status> {
    let refusal = || {
        let found = quote(namespace);
        let what = "at most 63 lower-case letters, digits and inner `-`";
        Status::invalid_argument(format!("a namespace is {what}, not {found}"))
    };
    is_dns_label(namespace).then_some(()).ok_or_else(refusal)
}

/// # Errors
/// INVALID_ARGUMENT for a key that no resource can have.
pub fn id(key: v1::ResourceKey) -> Result<Id, Status> {
    let v1::ResourceKey { kind: named, namespace, name } = key;
    let kind = kind(&named).map_err(Status::invalid_argument)?;
    checked_namespace(&namespace)?;
    if !is_dns_subdomain(&name) {
        let (what, found) = ("lower-case letters, digits, inner `-` and `.`", quote(&name));
        return Err(Status::invalid_argument(format!("a name is of {what}, not {found}")));
    }
    Ok(Id { kind, namespace, name })
}

/// What keys name; one without namespace is in that of the call.
///
/// # Errors
/// INVALID_ARGUMENT for a key that no resource can have, or for too many.
pub fn targets(keys: Vec<v1::ResourceKey>, default_namespace: &str) -> Result<Vec<Target>, Status> {
    if keys.len() > MAX_RESOURCES {
        return Err(refusal(&Unsettled::TooMany(keys.len())));
    }
    let default_namespace = default_or(default_namespace)?;
    let target = |mut key: v1::ResourceKey| {
        if key.namespace.is_empty() {
            key.namespace.clone_from(&default_namespace);
        }
        Ok(Target { id: id(key)?, at: Origin::Default })
    };
    keys.into_iter().map(target).collect()
}

/// # Errors
/// INVALID_ARGUMENT for a kind or namespace that there can't be.
pub fn filter(request: v1::ListRequest) -> Result<Filter, Status> {
    let v1::ListRequest { kind: named, namespace } = request;
    let kind = Some(named).filter(|named| !named.is_empty());
    let kind = kind.map(|named| self::kind(&named)).transpose();
    let namespace = Some(namespace).filter(|namespace| !namespace.is_empty());
    namespace.as_deref().map_or(Ok(()), checked_namespace)?;
    Ok(Filter { kind: kind.map_err(Status::invalid_argument)?, namespace })
}

pub fn key(Id { kind, namespace, name }: Id) -> v1::ResourceKey {
    v1::ResourceKey { kind: kind.to_owned(), namespace, name }
}

pub fn resource(id: Id, shown: &Shown, status: &str) -> v1::Resource {
    let source = match shown {
        Shown::Applied(_) => v1::Source::Applied,
        Shown::Registered(_) | Shown::Pod(..) => v1::Source::Registered,
    };
    v1::Resource {
        key: Some(key(id)),
        manifest: shown.manifest().to_string(),
        version: shown.version().to_string(),
        created_ms: shown.created_ms(),
        source: source.into(),
        status: status.to_owned(),
    }
}

/// `status`: how it fares now.
pub fn change(Change { id, action, before, after }: Change, status: &str) -> v1::Change {
    let action = match action {
        Action::Created => v1::change::Action::Created,
        Action::Updated => v1::change::Action::Updated,
        Action::Unchanged => v1::change::Action::Unchanged,
        Action::Deleted => v1::change::Action::Deleted,
    };
    let text = |manifest: Option<serde_json::Value>| {
        manifest.map(|manifest| manifest.to_string()).unwrap_or_default()
    };
    v1::Change {
        key: Some(key(id)),
        action: action.into(),
        before: text(before),
        after: text(after),
        status: status.to_owned(),
    }
}

/// The first of them, and how many are left out.
pub fn faults(mut faults: Vec<Fault>) -> Vec<v1::Fault> {
    let more = faults.len().saturating_sub(MAX_FAULTS);
    faults.truncate(MAX_FAULTS);
    let mut said: Vec<v1::Fault> = faults.into_iter().map(fault).collect();
    if more > 0 {
        let message = format!("and {more} more faults: mend these first");
        said.push(v1::Fault { message, ..v1::Fault::default() });
    }
    said
}

fn fault(Fault { at, path, message }: Fault) -> v1::Fault {
    let (source, line, column) = match at {
        Origin::File { path, line, column } => (path.to_string(), line, column),
        Origin::Default => (String::new(), 0, 0),
        other => (other.to_string(), 0, 0),
    };
    v1::Fault { source, line, column, path, message }
}

/// Why a call failed, other than by faults, which are an answer.
pub fn refusal(why: &Unsettled) -> Status {
    match why {
        Unsettled::Faults(_) | Unsettled::TooMany(_) => Status::invalid_argument(why.to_string()),
        Unsettled::Contended(_) => Status::aborted(why.to_string()),
        Unsettled::Unreadable(_) => Status::failed_precondition(why.to_string()),
        Unsettled::Store(error) => uncommitted(error),
        Unsettled::Broken(_) => Status::internal(why.to_string()),
    }
}

/// What a commit's failure means to a caller.
pub fn uncommitted(error: &CommitError) -> Status {
    match error {
        CommitError::Conflict { .. } => Status::aborted(format!("{error}: try again")),
        CommitError::Write(source) => {
            let mut message = format!("{error}: {source}");
            let mut cause = source.source();
            while let Some(source) = cause {
                message.push_str(&format!(": {source}"));
                cause = source.source();
            }
            Status::unavailable(message)
        }
        CommitError::Elsewhere => Status::failed_precondition(error.to_string()),
        CommitError::Closed => {
            Status::unavailable(format!("{error}: the control plane is stopping; try again"))
        }
    }
}
