//! What was revoked, and whether it is still there.
//!
//! A revocation is kept until the last certificate that it concerns has ended. A pod needs no
//! enrolment, and a token of its account is always at hand: so it is kept, too, until every pod and
//! machine that was there when it was made is gone. Called by the API, and by whoever removes what
//! has ended.

use std::sync::Arc;

use super::held::Revocable;
use super::state::State;
use super::{Catalog, Revocation, Stored};
use crate::identity::Revoked;

impl Catalog {
    /// What nobody may trust any more.
    pub fn revoked(&self) -> Arc<Revoked> {
        Arc::clone(&self.lock().revoked)
    }

    /// The same, with when each ends, and whether it still concerns somebody who is there.
    pub fn revocations(&self) -> Vec<(Arc<str>, Stored<Revocation>, bool)> {
        let state = self.lock();
        let all = state.revocations.iter();
        all.map(|(what, held)| (Arc::clone(what), held.clone(), is_there(&state, what, held)))
            .collect()
    }
}

fn is_there(state: &State, what: &str, held: &Stored<Revocation>) -> bool {
    let revocation = &held.value;
    let pods = state.picture.members().pods().values();
    let mut registrations = state.registrations.values();
    match Revocable::parse(what) {
        Ok(Revocable::Identity(id)) => {
            let runs_as = |namespace: &str, account: &str| {
                namespace == id.namespace() && account == id.service_account()
            };
            let mut pods =
                pods.filter(|pod| runs_as(&pod.metadata.namespace, &pod.service_account));
            let created =
                |at: Option<jiff::Timestamp>| at.map_or(0, jiff::Timestamp::as_millisecond);
            pods.any(|pod| revocation.is_about(created(pod.metadata.created)))
                || registrations.any(|held| {
                    let workload = &held.workload;
                    let account = workload.service_account.as_deref().unwrap_or_default();
                    runs_as(&workload.metadata.namespace, account)
                        && revocation.is_about(held.created_ms)
                })
        }
        Ok(Revocable::Enrollment(number)) => {
            state.picture.members().pod_of(number).is_some()
                || registrations.any(|held| held.enrollment == number)
        }
        Err(_) => false,
    }
}
