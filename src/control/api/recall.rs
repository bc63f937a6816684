//! What this replica tells another one, so that whoever is asked answers for all.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::Semaphore;
use tonic::{Request, Response, Status, async_trait};

use super::convert::recalled;
use crate::control::memory::Observer;
use crate::wire::v1;
use crate::wire::v1::replicas_server::Replicas;

/// Questions that are looked into at once: a copy each of what is asked for. Others wait, and whoever
/// asked does not wait for long.
const AT_ONCE: usize = 4;

/// Serves `outrigger.v1.Replicas`.
pub struct RecallService {
    observer: Arc<Observer>,
    places: Arc<Semaphore>,
}

impl RecallService {
    pub fn new(observer: Arc<Observer>) -> Self {
        Self { observer, places: Arc::new(Semaphore::new(AT_ONCE)) }
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
        let observer = Arc::clone(&self.observer);
        let recall = move || {
            let part = recalled::part(observer.recall(&question, SystemTime::now()));
            drop(place);
            part
        };
        let told = tokio::task::spawn_blocking(recall).await;
        told.map(Response::new).map_err(|_| broke())
    }
}
