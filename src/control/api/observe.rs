//! What people may see of the mesh's traffic.
//!
//! Answers from memory; nothing here changes anything.

use std::sync::Arc;
use std::time::SystemTime;

use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, async_trait};

use super::{Author, convert, tap};
use crate::control::desk::Desk;
use crate::control::memory::part::Worth;
use crate::control::memory::{Graph, Observer, trace_id};
use crate::wire::v1;
use crate::wire::v1::observe_server::Observe;

/// How long is remembered who comes in plaintext.
const HOUR_S: f64 = 3600.0;

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
        self.looking(move |observer| {
            let now = SystemTime::now();
            let (found, worth) = observer.plaintext(&namespace, now);
            let sidecars = worth.sidecars;
            let seen = convert::seen(observer, worth, HOUR_S, now, 0);
            let replica = if seen.replicas.is_empty() { "" } else { &seen.replica }.to_owned();
            let (replicas, seen) = (seen.replicas.clone(), Some(seen));
            let answer = convert::plaintext(found, sidecars);
            v1::PlaintextResponse { replica, replicas, seen, ..answer }
        })
        .await
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
            let now = SystemTime::now();
            let (traces, worth) = observer.traces(&filter, now);
            convert::traces(&traces, worth, observer, now)
        })
        .await
    }

    async fn trace(
        &self,
        request: Request<v1::TraceRequest>,
    ) -> Result<Response<v1::TraceResponse>, Status> {
        let v1::TraceRequest { trace_id: text } = request.into_inner();
        let Some(id) = trace_id(&text) else {
            return Err(Status::invalid_argument(
                "a trace id has 32 hexadecimal digits, and of the traces that were kept lately none \
                 begins with these",
            ));
        };
        let found = self.looking(move |observer| {
            let now = SystemTime::now();
            let (trace, worth) = observer.trace(id, now);
            match trace {
                Some(trace) => Ok(convert::trace(&trace, worth, observer, now)),
                None => Err(worth),
            }
        });
        let found = found.await?.into_inner();
        let missing = |worth: Worth| {
            Status::not_found(format!("nothing was kept of trace {text}{}", worth.doubt()))
        };
        found.map(Response::new).map_err(missing)
    }

    type TapStream = ReceiverStream<tap::Told>;

    async fn tap(
        &self,
        request: Request<v1::TapRequest>,
    ) -> Result<Response<Self::TapStream>, Status> {
        let who = Author::of(&request);
        tap::tap(&self.desk.lookout(), who, request.into_inner()).map(Response::new)
    }
}

impl ObserveService {
    /// On a thread that may be kept busy: a large mesh takes milliseconds to put together, and other
    /// replicas are waited for.
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
