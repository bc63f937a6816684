//! Which of several policies counts: the nearest, and of those that are equally near the stricter.
//!
//! A policy that names ports is nearer than one that names labels, whatever else either says; then
//! come the namespace's and the mesh's. One that says nothing of a matter is passed over for it.
//! The order in which policies come, and their age, mean nothing.

use super::AccessPolicy;
use crate::model::{Action, Audit, Mode, Mtls};
pub use crate::resources::subject::Level;

/// What holds, and which policy says so; `None`: none does, and it is the default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ruling<'a, T> {
    pub says: T,
    pub by: Option<&'a AccessPolicy>,
}

impl AccessPolicy {
    pub fn level(&self) -> Level {
        self.about().level()
    }

    /// Whether it is about a port of the app, given that it is about the workload.
    pub fn is_about(&self, port: u16) -> bool {
        self.about().is_about(port)
    }
}

/// What holds at a port, of what only the nearest policy says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rulings<'a> {
    pub mtls: Ruling<'a, Mtls>,
    pub mode: Ruling<'a, Mode>,
    /// `None`: as the rules have it.
    pub default: Ruling<'a, Option<Action>>,
    pub audit: Ruling<'a, Audit>,
}

/// What `policies` come to, which are all about one port of one workload.
pub fn rulings<'a>(policies: impl IntoIterator<Item = &'a AccessPolicy> + Clone) -> Rulings<'a> {
    let all = || policies.clone().into_iter();
    Rulings {
        mtls: nearest(all(), |policy| policy.mtls),
        mode: nearest(all(), |policy| policy.mode),
        default: nearest(all(), |policy| policy.default.map(Some)),
        audit: nearest(all(), |policy| policy.audit),
    }
}

/// What `policies`, which are all about one workload, ask of the callers of a port of its app.
pub fn mtls<'a>(
    policies: impl IntoIterator<Item = &'a AccessPolicy>,
    port: u16,
) -> Ruling<'a, Mtls> {
    let about = policies.into_iter().filter(|policy| policy.is_about(port));
    nearest(about, |policy| policy.mtls)
}

/// The same of the ports that no policy names.
pub fn mtls_elsewhere<'a>(
    policies: impl IntoIterator<Item = &'a AccessPolicy>,
) -> Ruling<'a, Mtls> {
    let of_all = policies.into_iter().filter(|policy| policy.ports.is_empty());
    nearest(of_all, |policy| policy.mtls)
}

/// The greatest word of the nearest level that has any; equal ones go by name, so that pages don't
/// waver.
fn nearest<'a, T: Ord + Copy + Default>(
    policies: impl Iterator<Item = &'a AccessPolicy>,
    says: impl Fn(&AccessPolicy) -> Option<T>,
) -> Ruling<'a, T> {
    let name = |policy: &'a AccessPolicy| (&policy.metadata.namespace, &policy.metadata.name);
    let said = policies.filter_map(|policy| Some((policy.level(), says(policy)?, policy)));
    let found = said.max_by(|(level, word, policy), (other, other_word, other_policy)| {
        let nearer = level.cmp(other).then(word.cmp(other_word));
        nearer.then_with(|| name(other_policy).cmp(&name(policy)))
    });
    match found {
        Some((_, says, by)) => Ruling { says, by: Some(by) },
        None => Ruling { says: T::default(), by: None },
    }
}
