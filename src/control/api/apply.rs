//! From what is wanted to what is written: the core of applying and deleting.
//!
//! A plan is made against one state and holds for that state alone: every write expects what the
//! plan was made from, so that a commit either finds it unchanged or makes nothing. Called by the
//! writer, again with a newer state when somebody else was first.

use std::collections::HashSet;

use serde_json::Value;

use super::checks;
use super::view::Id;
use crate::control::catalog::{Held, Snapshot, StoredResource};
use crate::control::store::{Expect, Write};
use crate::resources::{Fault, Origin, Resource, manifest};

/// What is to be written, and what that changes.
#[derive(Debug, Default)]
pub struct Plan {
    pub writes: Vec<Write>,
    /// In the order of what was wanted.
    pub changes: Vec<Change>,
}

/// What happens to a resource. Manifests are without version and time of creation, so that what
/// differs is what people changed.
#[derive(Debug)]
pub struct Change {
    pub id: Id,
    pub action: Action,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Created,
    Updated,
    Unchanged,
    Deleted,
}

/// Something to delete, and where it was named.
#[derive(Clone, Debug)]
pub struct Target {
    pub id: Id,
    /// [`Origin::Default`] when by key.
    pub at: Origin,
}

/// Makes what is held as `wanted` says.
///
/// # Errors
/// Everything that stands against it.
pub fn apply(wanted: &[Resource], held: &Snapshot, now_ms: i64) -> Result<Plan, Vec<Fault>> {
    let faults = checks::faults(wanted, held);
    if !faults.is_empty() {
        return Err(faults);
    }
    let (mut plan, mut faults) = (Plan::default(), Vec::new());
    for resource in wanted {
        let id = Id::of(resource);
        let before = id.held(held).map(|held| &**held);
        if before.is_none() && id.registration(held).is_some() {
            plan.keep(id, said(resource));
        } else {
            faults.extend(plan.put(id, resource, before, now_ms).err());
        }
    }
    faults.sort_by(|a: &Fault, b| a.at.cmp(&b.at));
    if faults.is_empty() { Ok(plan) } else { Err(faults) }
}

/// Removes targets; one that is named twice is removed once.
///
/// # Errors
/// Everything that stands against it.
pub fn delete(
    targets: &[Target],
    held: &Snapshot,
    ignore_missing: bool,
) -> Result<Plan, Vec<Fault>> {
    let (mut plan, mut faults, mut seen) = (Plan::default(), Vec::new(), HashSet::new());
    for Target { id, at } in targets.iter().filter(|target| seen.insert(&target.id)) {
        if let Some(before) = id.held(held) {
            plan.remove(id.clone(), before);
        } else if id.registration(held).is_some() {
            let message = format!(
                "{id} is registered by its sidecar: it goes when the sidecar stops, or when its \
                 lease ends"
            );
            faults.push(Fault::new(at.clone(), message));
        } else if !ignore_missing {
            let message = format!("{id} is not there: check its name, or give --ignore-missing");
            faults.push(Fault::new(at.clone(), message));
        }
    }
    faults.sort_by(|a: &Fault, b| a.at.cmp(&b.at));
    if faults.is_empty() { Ok(plan) } else { Err(faults) }
}

impl Plan {
    /// What a sidecar registered, and somebody wants as it is: checked before.
    fn keep(&mut self, id: Id, said: Value) {
        let (before, after) = (Some(said.clone()), Some(said));
        self.changes.push(Change { id, action: Action::Unchanged, before, after });
    }

    fn put(
        &mut self,
        id: Id,
        resource: &Resource,
        before: Option<&Held>,
        now_ms: i64,
    ) -> Result<(), Fault> {
        let after = said(resource);
        let was = before.map(|held| said(&held.resource));
        let action = match &was {
            None => Action::Created,
            Some(was) if *was == after => Action::Unchanged,
            Some(_) => Action::Updated,
        };
        if action != Action::Unchanged {
            let created_ms = before.map_or(now_ms, |held| held.created_ms);
            let stored = StoredResource { manifest: after.clone(), created_ms, enrollment: None };
            let value = stored.encode();
            reads_back(&value, &after).map_err(|why| unreadable(&id, resource, &why))?;
            let expect = before.map_or(Expect::Absent, |held| Expect::Version(held.version));
            self.writes.push(Write { key: id.applied(), expect, value: Some(value) });
        }
        if action == Action::Created {
            self.reserve(&id);
        }
        self.changes.push(Change { id, action, before: was, after: Some(after) });
        Ok(())
    }

    /// A sidecar may be about to register a workload of this name: whoever commits first has it.
    fn reserve(&mut self, id: &Id) {
        let key = id.registered();
        self.writes.extend(key.map(|key| Write { key, expect: Expect::Absent, value: None }));
    }

    fn remove(&mut self, id: Id, before: &Held) {
        let expect = Expect::Version(before.version);
        self.writes.push(Write { key: id.applied(), expect, value: None });
        let before = Some(said(&before.resource));
        self.changes.push(Change { id, action: Action::Deleted, before, after: None });
    }

    /// How many resources meet with `action`.
    pub fn count(&self, action: Action) -> usize {
        self.changes.iter().filter(|change| change.action == action).count()
    }
}

/// Whether what is about to be stored is what the catalog will make of it: whoever is told that
/// something was applied finds it afterwards.
fn reads_back(value: &[u8], said_before: &Value) -> Result<(), String> {
    let held = Held::read(value, 0)?;
    let is_same = said(&held.resource) == *said_before;
    is_same.then_some(()).ok_or_else(|| "it would say something else".to_owned())
}

fn unreadable(id: &Id, resource: &Resource, why: &str) -> Fault {
    let message = format!(
        "{id} is in order, but could not be read back with its defaults filled in, so nothing was \
         stored ({why}): write it smaller or otherwise, and report it"
    );
    Fault::new(resource.metadata().at.clone(), message)
}

/// What people say of it: the rest is the control plane's to count.
pub fn said(resource: &Resource) -> Value {
    let mut manifest = manifest::of(resource);
    if let Some(metadata) = manifest.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.shift_remove("resourceVersion");
        metadata.shift_remove("creationTimestamp");
    }
    manifest
}
