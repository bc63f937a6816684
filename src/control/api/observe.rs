//! What people may see of the mesh's traffic.
//!
//! Answers from memory; nothing here changes anything.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use tonic::{Request, Response, Status, async_trait};

use super::convert;
use crate::control::desk::Desk;
use crate::control::memory::{Graph, Observer, trace_id};
use crate::wire::v1;
use crate::wire::v1::observe_server::Observe;

/// Serves `outrigger.v1.Observe`.
pub struct ObserveService {
    desk: Arc<Desk>,
}

impl ObserveService {
    pub fn new(desk: Arc<Desk>) -> Self {
        Self { desk }
    }
}

#[async_trait]
impl Observe for ObserveService {
    async fn plaintext(
        &self,
        request: Request<v1::PlaintextRequest>,
    ) -> Result<Response<v1::PlaintextResponse>, Status> {
        let v1::PlaintextRequest { namespace } = request.into_inner();
        let namespace = Some(namespace.as_str()).filter(|namespace| !namespace.is_empty());
        let desk = &self.desk;
        let seen = desk.plaintext.seen(namespace, &desk.catalog, SystemTime::now());
        let answer = convert::plaintext(seen, desk.sessions.counts().live);
        let Some(of) = &desk.replicas else { return Ok(Response::new(answer)) };
        let replica = |(name, address): (String, SocketAddr)| {
            let address = address.to_string();
            v1::Replica { name, address }
        };
        let replicas = of.all(&desk.catalog).into_iter().map(replica).collect();
        let replica = of.own.clone();
        Ok(Response::new(v1::PlaintextResponse { replica, replicas, ..answer }))
    }

    async fn stat(
        &self,
        request: Request<v1::TrafficRequest>,
    ) -> Result<Response<v1::StatResponse>, Status> {
        self.traffic(request, convert::stat).await
    }

    async fn edges(
        &self,
        request: Request<v1::TrafficRequest>,
    ) -> Result<Response<v1::EdgesResponse>, Status> {
        self.traffic(request, convert::edges).await
    }

    async fn top(
        &self,
        request: Request<v1::TrafficRequest>,
    ) -> Result<Response<v1::TopResponse>, Status> {
        self.traffic(request, convert::top).await
    }

    async fn traces(
        &self,
        request: Request<v1::TracesRequest>,
    ) -> Result<Response<v1::TracesResponse>, Status> {
        let filter = convert::filter(request.into_inner()).map_err(Status::invalid_argument)?;
        self.looking(move |observer| {
            let traces = observer.traces(&filter);
            convert::traces(&traces, observer, SystemTime::now())
        })
        .await
    }

    async fn trace(
        &self,
        request: Request<v1::TraceRequest>,
    ) -> Result<Response<v1::TraceResponse>, Status> {
        let v1::TraceRequest { trace_id: text } = request.into_inner();
        let Some(id) = trace_id(&text) else {
            return Err(Status::invalid_argument("a trace id has 32 hexadecimal digits"));
        };
        let found = self.looking(move |observer| {
            let trace = observer.trace(id)?;
            Some(convert::trace(&trace, observer, SystemTime::now()))
        });
        let found = found.await?.into_inner();
        let missing = || Status::not_found(format!("nothing was kept of trace {text}"));
        found.map(Response::new).ok_or_else(missing)
    }
}

impl ObserveService {
    /// On a thread that may be kept busy: a large mesh takes milliseconds to put together.
    async fn looking<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Observer) -> T + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let observer = Arc::clone(&self.desk.observer);
        let looked = tokio::task::spawn_blocking(move || look(&observer)).await;
        let broke = |_| Status::internal("this answer broke; the log says how");
        looked.map(Response::new).map_err(broke)
    }

    async fn traffic<T: Send + 'static>(
        &self,
        request: Request<v1::TrafficRequest>,
        answer: fn(&v1::TrafficRequest, Graph, &Observer, SystemTime) -> T,
    ) -> Result<Response<T>, Status> {
        let request = request.into_inner();
        let window_s = convert::window_s(request.window_s).map_err(Status::invalid_argument)?;
        self.looking(move |observer| {
            let now = SystemTime::now();
            answer(&request, observer.graph(window_s, now), observer, now)
        })
        .await
    }
}
