//! The service `Configuration`: takes and shows resources.
//!
//! Each method takes its message apart, lets a core do it, and says what came of it. Who may call is
//! decided before.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinError;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::apply::{Change, Plan};
use super::author::Author;
use super::said::{self, Texts};
use super::standings::{Newest, Standings};
use super::view::{Filter, Shown};
use super::watch::{self, follow};
use super::writer::{Manner, Unsettled, Writer, whole};
use crate::control::catalog::Catalog;
use crate::control::store::Store;
use crate::wire::v1::configuration_server::{self, ConfigurationServer};
use crate::wire::v1::{self, ApplyRequest, ApplyResponse, DeleteRequest, DeleteResponse};

/// Texts as long as they may be, with room for what is around them.
const MAX_MESSAGE_BYTES: usize = said::MAX_BYTES + (4 << 20);

/// Serves resources.
pub struct Configuration {
    writer: Arc<Writer>,
    standings: Arc<Newest>,
    /// The cluster holds the resources, and takes changes of them.
    is_clusters: bool,
}

impl Configuration {
    pub fn new(catalog: Arc<Catalog>, store: Arc<dyn Store>, is_clusters: bool) -> Self {
        let writer = Arc::new(Writer::new(catalog, store));
        Self { writer, standings: Arc::default(), is_clusters }
    }

    fn may_change(&self, command: &str) -> Result<(), Status> {
        let refusal = || {
            Status::failed_precondition(format!(
                "this control plane takes its resources from the cluster: use `kubectl {command}`"
            ))
        };
        if self.is_clusters { Err(refusal()) } else { Ok(()) }
    }

    /// As a service that takes messages as large as a call may be.
    pub fn into_service(self) -> ConfigurationServer<Self> {
        ConfigurationServer::new(self).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    fn catalog(&self) -> &Arc<Catalog> {
        &self.writer.catalog
    }
}

#[tonic::async_trait]
impl configuration_server::Configuration for Configuration {
    async fn apply(
        &self,
        request: Request<ApplyRequest>,
    ) -> Result<Response<ApplyResponse>, Status> {
        self.may_change("apply")?;
        let who = Author::of(&request);
        let ApplyRequest { documents, default_namespace, dry_run } = request.into_inner();
        let texts = Texts::new(documents, &default_namespace)?;
        let (writer, manner) = (Arc::clone(&self.writer), Manner { who, dry_run });
        let settled = async move { writer.apply(texts, &manner).await };
        let settled = whole(settled).await;
        let standings = if dry_run { Arc::default() } else { self.standings.now(self.catalog()) };
        let (faults, changes) = answer(settled, &standings)?;
        Ok(Response::new(ApplyResponse { faults, changes }))
    }

    async fn get(
        &self,
        request: Request<v1::GetRequest>,
    ) -> Result<Response<v1::Resource>, Status> {
        let v1::GetRequest { key } = request.into_inner();
        let id = said::id(key.unwrap_or_default())?;
        let applied = self.catalog().resource(&id.applied().name).map(Shown::Applied);
        let registered = || {
            let registration = self.catalog().registration(&id.registered()?.name);
            registration.map(Shown::Registered)
        };
        let pod = || id.pod(self.catalog());
        match applied.or_else(registered).or_else(pod) {
            Some(shown) => {
                let standings = self.standings.now(self.catalog());
                let status = standings.status(&id).to_owned();
                Ok(Response::new(said::resource(id, &shown, &status)))
            }
            None => Err(Status::not_found(format!("there is no {id}: list what there is"))),
        }
    }

    async fn list(
        &self,
        request: Request<v1::ListRequest>,
    ) -> Result<Response<v1::ListResponse>, Status> {
        let filter: Filter = said::filter(request.into_inner())?;
        let snapshot = self.catalog().snapshot();
        let standings = self.standings.of(&snapshot);
        let resources = filter.of(&snapshot).into_iter().map(|(id, shown)| {
            let status = standings.status(&id).to_owned();
            said::resource(id, &shown, &status)
        });
        Ok(Response::new(v1::ListResponse { resources: resources.collect() }))
    }

    async fn delete(
        &self,
        request: Request<DeleteRequest>,
    ) -> Result<Response<DeleteResponse>, Status> {
        self.may_change("delete")?;
        let who = Author::of(&request);
        let DeleteRequest { keys, documents, default_namespace, ignore_missing, dry_run } =
            request.into_inner();
        let targets = said::targets(keys, &default_namespace)?;
        let texts = Texts::new(documents, &default_namespace)?;
        let (writer, manner) = (Arc::clone(&self.writer), Manner { who, dry_run });
        let settled = async move { writer.delete(targets, texts, ignore_missing, &manner).await };
        let (faults, changes) = answer(whole(settled).await, &Standings::default())?;
        Ok(Response::new(DeleteResponse { faults, changes }))
    }

    type WatchStream = ReceiverStream<watch::Said>;

    async fn watch(
        &self,
        request: Request<v1::ListRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let filter = said::filter(request.into_inner())?;
        let (sender, receiver) = mpsc::channel(watch::QUEUE);
        let (catalog, standings) = (Arc::clone(self.catalog()), Arc::clone(&self.standings));
        tokio::spawn(follow(catalog, standings, filter, sender));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

/// Faults and changes, as the wire says them; faults are an answer, everything else is an error.
fn answer(
    settled: Result<Result<Plan, Unsettled>, JoinError>,
    standings: &Standings,
) -> Result<(Vec<v1::Fault>, Vec<v1::Change>), Status> {
    match settled.unwrap_or_else(|error| Err(error.into())) {
        Ok(plan) => {
            let change = |change: Change| {
                let status = standings.status(&change.id).to_owned();
                said::change(change, &status)
            };
            Ok((Vec::new(), plan.changes.into_iter().map(change).collect()))
        }
        Err(Unsettled::Faults(faults)) => Ok((said::faults(faults), Vec::new())),
        Err(why) => Err(said::refusal(&why)),
    }
}
