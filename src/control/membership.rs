//! Who belongs to the mesh: who joined with a token of ours, or is a pod of the cluster.
//!
//! A pod needs nothing written: the cluster says that it is there and under which account it runs.
//! Its enrolment is made of its uid, the same on every replica, and holds as long as the pod does. A
//! join token is as good beside it, for machines outside the cluster.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tonic::Status;

use super::ca::enrollment_for;
use super::catalog::{Catalog, Enrollment, Pod, Stored};
use super::desk::Desk;
use crate::model::SpiffeId;

/// How long a pod may be known to others and not to us: our watch is that much behind at most.
const LAG: Duration = Duration::from_secs(3);

/// Whose a service account's token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    pub namespace: String,
    pub service_account: String,
    /// The pod's name.
    pub pod: String,
    pub uid: String,
}

/// Why that isn't known.
#[derive(Debug, thiserror::Error)]
pub enum ReviewError {
    #[error("the cluster does not take it: {0}")]
    Refused(String),
    #[error("the cluster can't be asked: {0}")]
    NotAsked(String),
}

/// Knows whose a token is.
pub trait Review: Send + Sync {
    /// Asks the cluster.
    fn review<'a>(
        &'a self,
        token: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Bearer, ReviewError>> + Send + 'a>>;
}

/// Somebody who belongs to it.
#[derive(Clone, Debug)]
pub enum Member {
    Joined(Stored<Enrollment>),
    Pod(Arc<Pod>),
}

/// Who has an enrolment now, under this identity.
///
/// # Errors
/// When nobody has it any more; a sidecar that hears so joins anew.
pub async fn member(desk: &Desk, enrollment: u64, identity: &SpiffeId) -> Result<Member, Status> {
    if let Some(held) = desk.catalog.enrollment(enrollment) {
        return Ok(Member::Joined(held));
    }
    if desk.cluster.is_some() {
        let found = awaited(&desk.catalog, |catalog| catalog.pod_of(enrollment)).await;
        if let Some(pod) = found.filter(|pod| runs_as(pod, identity)) {
            return Ok(Member::Pod(pod));
        }
        return Err(Status::unauthenticated(
            "the pod of this certificate is gone, has finished or runs under another account: join \
             again, with the token of the pod",
        ));
    }
    Err(Status::unauthenticated(
        "this workload's enrolment has ended or was revoked: join again with a new token",
    ))
}

/// The pod that shows a service account's token.
///
/// # Errors
/// UNAVAILABLE when the cluster can't be asked; UNAUTHENTICATED when the token is nobody's, or its
/// pod is not there.
pub async fn pod_of(desk: &Desk, cluster: &dyn Review, token: &str) -> Result<Arc<Pod>, Status> {
    let bearer = cluster.review(token).await.map_err(|error| match &error {
        ReviewError::Refused(_) => Status::unauthenticated(format!(
            "the token is neither a join token of this control plane nor a pod's: {error}"
        )),
        ReviewError::NotAsked(_) => {
            Status::unavailable(format!("the token can't be checked now: {error}"))
        }
    })?;
    let Bearer { namespace, service_account, pod: name, uid } = &bearer;
    let enrollment = enrollment_for(uid);
    let is_it = |pod: &Arc<Pod>| {
        *pod.uid == **uid
            && pod.metadata.name == *name
            && pod.metadata.namespace == *namespace
            && *pod.service_account == **service_account
    };
    let found = awaited(&desk.catalog, |catalog| catalog.pod_of(enrollment)).await;
    found.filter(is_it).ok_or_else(|| {
        Status::unauthenticated(format!(
            "the token is that of pod {name} of namespace {namespace} ({uid}), which is not there, \
             has finished or runs under another account"
        ))
    })
}

fn runs_as(pod: &Pod, identity: &SpiffeId) -> bool {
    pod.metadata.namespace == identity.namespace()
        && *pod.service_account == *identity.service_account()
}

/// What the catalog has, or has soon.
async fn awaited<T>(catalog: &Catalog, find: impl Fn(&Catalog) -> Option<T>) -> Option<T> {
    let mut revisions = catalog.revisions();
    let until = Instant::now() + LAG;
    loop {
        if let Some(found) = find(catalog) {
            return Some(found);
        }
        match timeout_at(until, revisions.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return None,
        }
    }
}
