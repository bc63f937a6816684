//! The objects that people wrote, as they were seen last, and how they stand together.
//!
//! Fed by whoever reads them, drawn again when one of them or a resource that they may be about
//! changed; a moment later, so that what comes together is drawn once. Pods come and go without it.
//! Called by the wiring, for whoever writes statuses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::status::{Picture, Subject, Verdicts};
use crate::control::catalog::{Catalog, ObjectName};

/// Which object: its kind, then `namespace/name`.
pub type ObjectKey = (&'static str, ObjectName);

/// Between two pictures: a manifest of many objects changes the catalog many times a second.
const PAUSE: Duration = Duration::from_millis(500);

/// All of them; clones share them.
#[derive(Clone, Debug)]
pub struct Subjects {
    all: Arc<Mutex<BTreeMap<ObjectKey, Arc<Subject>>>>,
    changes: watch::Sender<u64>,
}

impl Default for Subjects {
    fn default() -> Self {
        Self { all: Arc::default(), changes: watch::Sender::new(0) }
    }
}

impl Subjects {
    /// `None`: the object is gone, or is not for the mesh.
    pub fn pass(&self, key: ObjectKey, subject: Option<Subject>) {
        match subject {
            Some(subject) => drop(self.lock().insert(key, Arc::new(subject))),
            None => drop(self.lock().remove(&key)),
        }
        self.changes.send_modify(|count| *count += 1);
    }

    /// Draws pictures until nobody looks at them any more; none while nobody leads here.
    pub async fn draw(
        self,
        catalog: Arc<Catalog>,
        pictures: watch::Sender<Arc<Picture>>,
        mut is_leader: watch::Receiver<bool>,
    ) {
        let (mut changes, mut writings) = (self.changes.subscribe(), catalog.writings());
        while is_leader.wait_for(|leads| *leads).await.is_ok() {
            changes.mark_unchanged();
            writings.mark_unchanged();
            let subjects: Vec<Arc<Subject>> = self.lock().values().cloned().collect();
            if !subjects.is_empty() || !pictures.borrow().subjects.is_empty() {
                let resources = catalog.resources();
                let resources = resources.iter().map(|held| &*held.resource);
                let verdicts = Arc::new(Verdicts::of(resources));
                if pictures.send(Arc::new(Picture { subjects, verdicts })).is_err() {
                    return;
                }
            }
            sleep(PAUSE).await;
            tokio::select! {
                Ok(()) = changes.changed() => {}
                Ok(()) = writings.changed() => {}
                else => return,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, Arc<Subject>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use kube::api::DynamicObject;
    use serde_json::{Value, json};

    use super::*;
    use crate::control::catalog::{Change, Held};
    use crate::control::kube::convert;
    use crate::control::kube::status::{Kind, Reading};
    use crate::model::TrustDomain;

    fn pod(number: usize, phase: usize) -> Change {
        let ready = phase.is_multiple_of(2);
        let object: Value = json!({
            "metadata": {"name": format!("web-{number}"), "namespace": "shop",
                "uid": format!("u-{number}-{}", phase / 2), "resourceVersion": phase.to_string(),
                "labels": {"app": "web"}},
            "spec": {"serviceAccountName": "web", "containers": [{"name": "app"}]},
            "status": {"phase": "Running", "podIP": format!("10.244.{}.1", number % 250),
                "podIPs": [{"ip": format!("10.244.{}.1", number % 250)}],
                "containerStatuses": [{"name": "outrigger-proxy", "image": "i", "imageID": "i",
                    "ready": ready, "started": ready, "restartCount": 0}]},
        });
        let pod = convert::pod(serde_json::from_value(object).expect("a pod"));
        let name: ObjectName = format!("shop/web-{number}").into();
        Change::Pod(name, pod.map(Arc::new))
    }

    fn service(port: u16) -> Change {
        let object = json!({"metadata": {"name": "web", "namespace": "shop"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": port}]}});
        let service: k8s_openapi::api::core::v1::Service =
            serde_json::from_value(object).expect("a service");
        let service = convert::service(&service).expect("of the mesh");
        let resource = Arc::new(crate::resources::Resource::Service(service));
        let held = Held { resource, version: 1, created_ms: 1 };
        Change::Resource("Service/shop/web".into(), Some(held))
    }

    /// 200 pods, each of which changes every tenth of a second, for six seconds.
    #[tokio::test(start_paused = true)]
    async fn pods_that_come_and_go_draw_no_picture() {
        let catalog = Arc::new(Catalog::new(TrustDomain::default(), 0, &[]));
        let subjects = Subjects::default();
        let object = json!({"apiVersion": "outrigger.dev/v1alpha1", "kind": "TrafficPolicy",
            "metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "1"}});
        let object: DynamicObject = serde_json::from_value(object).expect("an object");
        let subject = Subject::of(Kind::TrafficPolicy, &object, Reading::Sound);
        subjects.pass(("TrafficPolicy", "shop/web".into()), subject);
        let (draws, mut pictures) = watch::channel(Arc::default());
        let (_leads, is_leader) = watch::channel(true);
        tokio::spawn(subjects.draw(Arc::clone(&catalog), draws, is_leader));
        let mut drawn = async |changes: &dyn Fn(usize) -> Vec<Change>| {
            let mut count = 0;
            for phase in 0..60 {
                catalog.take(changes(phase));
                sleep(Duration::from_millis(100)).await;
                count += usize::from(pictures.has_changed().expect("it draws"));
                pictures.mark_unchanged();
            }
            count
        };
        let churn = |phase: usize| (0..200).map(|number| pod(number, phase)).collect::<Vec<_>>();
        assert_eq!(drawn(&churn).await, 1, "the first, and none for pods");
        // A service that says the same again is no other.
        let with_service = |phase: usize| {
            let mut changes = churn(phase);
            changes.push(service(if phase < 30 { 80 } else { 81 }));
            changes
        };
        assert_eq!(drawn(&with_service).await, 2);
    }
}
