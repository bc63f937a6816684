//! What this replica tells another one, so that whoever is asked answers for all.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::Semaphore;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, async_trait};

use super::convert::recalled;
use super::taps::Lookout;
use super::{Author, handed};
use crate::control::ca::Authority;
use crate::control::memory::part::Part;
use crate::wire::v1;
use crate::wire::v1::replicas_server::Replicas;

/// Questions that are looked into at once: a copy each of what is asked for. Others wait, and whoever
/// asked does not wait for long.
const AT_ONCE: usize = 4;

/// Serves `outrigger.v1.Replicas`.
pub struct RecallService {
    lookout: Lookout,
    authority: Arc<Authority>,
    places: Arc<Semaphore>,
}

impl RecallService {
    pub fn new(lookout: Lookout, authority: Arc<Authority>) -> Self {
        Self { lookout, authority, places: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

#[async_trait]
impl Replicas for RecallService {
    async fn recall(
        &self,
        request: Request<v1::RecallRequest>,
    ) -> Result<Response<v1::RecallResponse>, Status> {
        let question = recalled::question(request.into_inner());
        let question = question.map_err(Status::invalid_argument)?;
        let broke = || Status::internal("this answer broke; the log says how");
        // Who gave up meanwhile is gone, and so is this.
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| broke())?;
        let (observer, authority) =
            (Arc::clone(&self.lookout.observer), Arc::clone(&self.authority));
        let recall = move || {
            let trust_revision = authority.revision();
            let part = observer.recall(&question, SystemTime::now());
            let part = recalled::part(Part { trust_revision, ..part });
            drop(place);
            part
        };
        let told = tokio::task::spawn_blocking(recall).await;
        told.map(Response::new).map_err(|_| broke())
    }

    type TapStream = ReceiverStream<handed::Told>;

    async fn tap(
        &self,
        request: Request<v1::TapRequest>,
    ) -> Result<Response<Self::TapStream>, Status> {
        let who = Author::of(&request);
        handed::tap(&self.lookout, &who, request.into_inner()).map(Response::new)
    }
}
