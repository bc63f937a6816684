//! Services as sidecars are told them.
//!
//! Other namespaces' routes for their own callers are nobody's business, so that what is told of a
//! service depends on who asks: most namespaces share one view, each that has routes of its own for
//! the service has another. What is the same as before stays the same object.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::attachments::{Attachments, policy};
use crate::model::ServiceName;
use crate::resources::Resource;
use crate::resources::attach::references;
use crate::resources::bound::Bound;

/// One port of a service, as the workloads of some namespace are told it.
#[derive(Clone, Debug, PartialEq)]
pub struct Served {
    pub bound: Bound,
    /// The manifests of its attachments, in their order.
    pub manifests: Vec<Arc<str>>,
    /// The services that its attachments send requests to.
    pub references: Vec<ServiceName>,
}

/// The same for all namespaces.
pub struct Views {
    shared: Arc<Served>,
    /// Of namespaces that have routes of their own for it.
    own: BTreeMap<String, Arc<Served>>,
}

impl Views {
    /// The views of a service with everything that is attached to it.
    pub fn of(mut bound: Bound, all: &Attachments) -> Self {
        let attachments = std::mem::take(&mut bound.attachments);
        let home = Arc::clone(&bound.name.namespace);
        let owners: BTreeSet<&str> =
            attachments.iter().filter_map(|attachment| owner(attachment, &home)).collect();
        let view = |namespace: Option<&str>| {
            let concerns = |attachment: &&Arc<Resource>| {
                let owner = owner(attachment, &home);
                owner.is_none() || owner == namespace
            };
            let seen = attachments.iter().filter(concerns).cloned().collect();
            Arc::new(Served::new(Bound { attachments: seen, ..bound.clone() }, all))
        };
        let own = owners.iter().map(|owner| ((*owner).to_owned(), view(Some(owner)))).collect();
        Self { shared: view(None), own }
    }

    /// As the workloads of a namespace are told it.
    pub fn within(&self, namespace: &str) -> &Arc<Served> {
        self.own.get(namespace).unwrap_or(&self.shared)
    }

    /// As most are told it.
    pub fn shared(&self) -> &Arc<Served> {
        &self.shared
    }

    /// Takes the place of the views before; true when anything is different.
    pub fn succeed(&mut self, before: &Self) -> bool {
        let mut differs = keep(&mut self.shared, &before.shared);
        differs |= self.own.len() != before.own.len();
        for (namespace, view) in &mut self.own {
            differs |= before.own.get(namespace).is_none_or(|before| keep(view, before));
        }
        differs
    }
}

impl Served {
    fn new(bound: Bound, all: &Attachments) -> Self {
        let manifests = bound.attachments.iter().map(|each| all.manifest(each)).collect();
        let references = references(&bound.name, &bound.attachments);
        Self { bound, manifests, references }
    }
}

fn keep(view: &mut Arc<Served>, before: &Arc<Served>) -> bool {
    let differs = **view != **before;
    if !differs {
        *view = Arc::clone(before);
    }
    differs
}

/// The one namespace whose callers are concerned with what hangs on a service of `home`; `None`: all
/// are.
fn owner<'a>(attachment: &'a Resource, home: &str) -> Option<&'a str> {
    // Without a target it was found by being the default of that namespace, or of the mesh.
    let is_default = policy(attachment).is_some_and(|policy| policy.targets.is_empty());
    let namespace = attachment.metadata().namespace.as_str();
    (!is_default && namespace != home).then_some(namespace)
}
