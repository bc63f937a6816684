//! What every resource has: a name, a namespace and labels. What a Kubernetes
//! API server adds for its own use is accepted, so that `kubectl get -o yaml`
//! can be fed back, and not kept.

use super::decode::{Decoder, Fields};
use super::names::{Labels, dns_label, dns_subdomain, labels};
use super::node::{Node, Origin};
use super::scalar::{parsed, text};

/// Who a resource is.
#[derive(Clone, Debug)]
pub struct Metadata {
    /// Unique with kind and namespace.
    pub name: String,
    /// As written, or the reader's default.
    pub namespace: String,
    /// What selectors match.
    pub labels: Labels,
    /// When it was made, if that is known: of two that contradict each other the older one counts.
    pub created: Option<jiff::Timestamp>,
    /// The version that its author has seen (`resourceVersion`); absent: any.
    pub version: Option<String>,
    /// Where the resource starts.
    pub at: Origin,
}

/// Where it was read, and which version it replaces, is not part of what it
/// says: moving a resource within a file changes nothing.
impl PartialEq for Metadata {
    fn eq(&self, other: &Metadata) -> bool {
        (&self.name, &self.namespace, &self.labels, self.created)
            == (&other.name, &other.namespace, &other.labels, other.created)
    }
}

impl Eq for Metadata {}

/// `label_name`: Services must be one DNS label, other kinds may have dots.
pub(super) fn decode(
    node: &Node,
    decoder: &mut Decoder,
    default_namespace: &str,
    label_name: bool,
    at: &Origin,
) -> Option<Metadata> {
    let mut fields = Fields::open(node, decoder)?;
    let name = fields.required("name", if label_name { dns_label } else { dns_subdomain });
    let namespace = fields.optional("namespace", dns_label);
    let labels = fields.optional("labels", labels).unwrap_or_default();
    let created = fields.optional("creationTimestamp", timestamp);
    let version = fields.optional("resourceVersion", text);
    fields.ignored(&[
        "annotations",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generation",
        "managedFields",
        "ownerReferences",
        "selfLink",
        "uid",
    ]);
    fields.close();
    let namespace = namespace.unwrap_or_else(|| default_namespace.to_owned());
    Some(Metadata { name: name?, namespace, labels, created, version, at: at.clone() })
}

fn timestamp(node: &Node, decoder: &mut Decoder) -> Option<jiff::Timestamp> {
    parsed(node, decoder, "a time such as 2026-01-31T12:00:00Z", |text| text.parse().ok())
}
