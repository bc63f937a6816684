//! Brings every status in line, one by one and not too fast, and again when something changed.
//!
//! What was written is remembered until the watch has caught up with it. A conflict means that
//! somebody wrote meanwhile: the object is read and judged again. What fails otherwise is tried
//! again later, each for itself, so that one object that can't be written holds up no other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use kube::api::{Patch, PatchParams};
use kube::core::DynamicObject;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, warn};

use super::due::due;
use super::{Id, Picture, Subject};
use crate::control::kube::asking::{Error, MANAGER, asked, now};
use crate::http::respond::chain;

/// Changes come in flocks: a manifest is many objects, and each of them may concern others.
const GATHER: Duration = Duration::from_millis(100);

/// Between two writes, on average: 20 a second leave the API server to others. Arbitrary.
const PACE: Duration = Duration::from_millis(50);

/// Writes that may be made at once after a pause. Arbitrary.
const BURST: u32 = 20;

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(300);

/// Conflicts over one object in one pass; then the others get their turn.
const CONFLICTS: usize = 3;

pub struct Writer {
    client: Client,
    /// What was written or read here, newer than the picture.
    ahead: HashMap<Id, Arc<Subject>>,
    failed: HashMap<Id, Failed>,
    /// When the next write would be in turn if none had been saved up.
    next: Instant,
}

struct Failed {
    /// A new version is tried at once.
    version: String,
    again: Instant,
    wait: Duration,
}

impl Writer {
    pub fn new(client: Client) -> Self {
        let (ahead, failed) = (HashMap::new(), HashMap::new());
        Self { client, ahead, failed, next: Instant::now() }
    }

    pub async fn run(
        mut self,
        mut pictures: watch::Receiver<Arc<Picture>>,
        mut is_leader: watch::Receiver<bool>,
    ) {
        loop {
            if is_leader.wait_for(|leads| *leads).await.is_err() {
                return;
            }
            let picture = Arc::clone(&pictures.borrow_and_update());
            let whole = self.pass(&picture, &pictures, &is_leader).await;
            if !whole {
                continue;
            }
            let again = self.failed.values().map(|failed| failed.again).min();
            tokio::select! {
                changed = pictures.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    sleep(GATHER).await;
                }
                changed = is_leader.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = async { sleep_until(again.unwrap_or_else(Instant::now)).await },
                    if again.is_some() => {}
            }
        }
    }

    /// Once through all objects; `false`: there is a newer picture, or somebody else leads.
    async fn pass(
        &mut self,
        picture: &Picture,
        pictures: &watch::Receiver<Arc<Picture>>,
        is_leader: &watch::Receiver<bool>,
    ) -> bool {
        self.forget(picture);
        let mut written = 0;
        for seen in &picture.subjects {
            let mut subject = self.newest(seen);
            if self.waits(&subject) {
                continue;
            }
            for _ in 0..CONFLICTS {
                let Some(status) = due(&subject, &picture.verdicts, &now().to_string()) else {
                    self.failed.remove(&subject.id);
                    break;
                };
                // A picture that changes all the time must not keep anything from being written.
                if written > 0 && pictures.has_changed().unwrap_or(false) {
                    return false;
                }
                self.pace().await;
                if !*is_leader.borrow() {
                    return false;
                }
                written += 1;
                match self.put(&subject, &status).await {
                    Ok(Some(next)) => {
                        subject = Arc::new(next);
                        self.ahead.insert(subject.id.clone(), Arc::clone(&subject));
                    }
                    // It was removed, or says something else now: the next picture has it.
                    Ok(None) => break,
                    Err(error) => {
                        self.fail(&subject, &error);
                        break;
                    }
                }
            }
        }
        true
    }

    /// Writes, and says how the object is afterwards: as written, or as somebody else left it.
    async fn put(&self, subject: &Subject, status: &Value) -> Result<Option<Subject>, Error> {
        let Id { kind, namespace, name } = &subject.id;
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), namespace, &kind.resource());
        let condition = json!({"resourceVersion": subject.resource_version, "uid": subject.uid});
        let patch = Patch::Merge(json!({"metadata": condition, "status": status}));
        let by = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let object = match asked(api.patch_status(name, &by, &patch)).await {
            Ok(object) => Some(object),
            Err(error) if error.is_conflict() => {
                debug!(kind = kind.as_str(), namespace, name, "somebody else wrote first");
                asked(api.get_opt(name)).await?
            }
            Err(error) => return Err(error),
        };
        let object = object.and_then(|object| Subject::of(*kind, &object, subject.reading.clone()));
        let is_same =
            |now: &Subject| now.uid == subject.uid && now.generation == subject.generation;
        Ok(object.filter(is_same))
    }

    fn newest(&self, seen: &Arc<Subject>) -> Arc<Subject> {
        let Some(ahead) = self.ahead.get(&seen.id) else { return Arc::clone(seen) };
        if ahead.reading == seen.reading {
            return Arc::clone(ahead);
        }
        // Of one generation, two readings: what it said before came to be known, or forgotten.
        let (mut next, reading) = (Subject::clone(ahead), seen.reading.clone());
        next.reading = reading;
        Arc::new(next)
    }

    /// What the picture has caught up with, and what is no more.
    fn forget(&mut self, picture: &Picture) {
        let seen: HashMap<&Id, &Arc<Subject>> =
            picture.subjects.iter().map(|subject| (&subject.id, subject)).collect();
        self.ahead.retain(|id, ahead| {
            seen.get(id).is_some_and(|seen| {
                seen.uid == ahead.uid
                    && seen.generation == ahead.generation
                    && is_before(&seen.resource_version, &ahead.resource_version)
            })
        });
        self.failed.retain(|id, _| seen.contains_key(id));
    }

    fn waits(&self, subject: &Subject) -> bool {
        let failed = self.failed.get(&subject.id);
        failed.is_some_and(|failed| {
            failed.version == subject.resource_version && failed.again > Instant::now()
        })
    }

    fn fail(&mut self, subject: &Subject, error: &Error) {
        let before = self.failed.get(&subject.id).filter(|f| f.version == subject.resource_version);
        let wait = before.map_or(FIRST_RETRY, |failed| (failed.wait * 2).min(LAST_RETRY));
        let Id { kind, namespace, name } = &subject.id;
        let kind = kind.as_str();
        warn!("the status of {kind} {namespace}/{name} can't be written: {}", chain(error));
        let version = subject.resource_version.clone();
        let failed = Failed { version, again: Instant::now() + wait, wait };
        self.failed.insert(subject.id.clone(), failed);
    }

    async fn pace(&mut self) {
        let now = Instant::now();
        let saved = now.checked_sub(PACE * BURST).unwrap_or(now);
        self.next = self.next.max(saved) + PACE;
        if self.next > now {
            sleep_until(self.next).await;
        }
    }
}

/// Versions of one object are numbers that grow; where they are not, nothing is known.
fn is_before(this: &str, that: &str) -> bool {
    matches!((this.parse::<u64>(), that.parse::<u64>()), (Ok(this), Ok(that)) if this < that)
}
