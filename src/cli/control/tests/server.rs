//! A control plane in memory: the real protocol and the real reading of documents, without TLS.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use hyper::server::conn::http2;
use hyper::service::service_fn;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::Stream;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::codegen::Service as _;
use tonic::{Request, Response, Status};

use super::super::session::Target;
use crate::resources::{self, Origin, manifest, parse_documents};
use crate::runtime::hyper_io::{HyperIo, OnWorker};
use crate::wire::v1::configuration_server::{Configuration, ConfigurationServer};
use crate::wire::v1::tokens_server::{Tokens, TokensServer};
use crate::wire::v1::{self, change::Action, watch_event};

const TOKEN: &str = "Bearer secret";

/// Serves a [`Fake`] until it is dropped.
pub(super) struct Server {
    fake: Arc<Fake>,
    address: SocketAddr,
    serving: Option<JoinHandle<()>>,
}

impl Server {
    pub(super) async fn start() -> Server {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Server { fake: Arc::default(), address: any, serving: None };
        server.resume().await;
        server
    }

    /// Listens where it did before.
    pub(super) async fn resume(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("a port");
        self.address = listener.local_addr().expect("bound");
        self.serving = Some(tokio::task::spawn_local(serve(listener, self.fake.clone())));
    }

    /// Every connection breaks, and no new one is taken.
    pub(super) async fn stop(&mut self) {
        if let Some(serving) = self.serving.take() {
            serving.abort();
            let _ = serving.await;
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn target(&self) -> Target {
        Target::plain(self.address, TOKEN)
    }

    pub(super) fn fake(&self) -> &Fake {
        &self.fake
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.iter().for_each(JoinHandle::abort);
    }
}

/// Connections are its own, so that they end with it.
async fn serve(listener: TcpListener, fake: Arc<Fake>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let configuration = ConfigurationServer::from_arc(fake.clone());
        let tokens = TokensServer::from_arc(fake.clone());
        let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
            let (mut configuration, mut tokens) = (configuration.clone(), tokens.clone());
            async move {
                if request.uri().path().starts_with("/outrigger.v1.Tokens/") {
                    tokens.call(request).await
                } else {
                    configuration.call(request).await
                }
            }
        });
        let connection = http2::Builder::new(OnWorker).serve_connection(HyperIo(stream), service);
        connections.spawn_local(connection);
    }
}

#[derive(Default)]
pub(super) struct Fake(Mutex<State>);

#[derive(Clone, Default)]
struct State {
    resources: BTreeMap<Id, v1::Resource>,
    count: u64,
    tokens: Vec<v1::Token>,
    watchers: Vec<mpsc::UnboundedSender<Result<v1::WatchEvent, Status>>>,
}

/// Namespace, kind, name: the order of lists.
type Id = (String, String, String);

fn id(key: &v1::ResourceKey) -> Id {
    (key.namespace.clone(), key.kind.clone(), key.name.clone())
}

impl State {
    fn put(&mut self, resource: &resources::Resource) -> Result<v1::Change, Status> {
        let metadata = resource.metadata();
        let key = v1::ResourceKey {
            kind: resource.kind().into(),
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone(),
        };
        let before = self.resources.get(&id(&key)).cloned();
        let held = before.as_ref().map(|before| before.version.clone());
        if metadata.version.is_some() && metadata.version != held {
            return Err(Status::aborted(format!("{} {}", key.kind, key.name)));
        }
        let written = |version: &str| {
            let mut manifest = manifest::of(resource);
            manifest["metadata"]["resourceVersion"] = version.into();
            manifest.to_string()
        };
        if before.as_ref().is_some_and(|before| written(&before.version) == before.manifest) {
            return Ok(change(key, Action::Unchanged, before.clone(), before));
        }
        self.count += 1;
        let version = self.count.to_string();
        let after = v1::Resource {
            status: String::new(),
            key: Some(key.clone()),
            manifest: written(&version),
            version,
            created_ms: 1000,
            source: v1::Source::Applied.into(),
        };
        self.resources.insert(id(&key), after.clone());
        self.tell(watch_event::Event::Upserted(after.clone()));
        let action = if before.is_some() { Action::Updated } else { Action::Created };
        Ok(change(key, action, before, Some(after)))
    }

    fn remove(&mut self, key: v1::ResourceKey) -> Option<v1::Change> {
        let before = self.resources.remove(&id(&key))?;
        self.tell(watch_event::Event::Deleted(key.clone()));
        Some(change(key, Action::Deleted, Some(before), None))
    }

    fn tell(&mut self, event: watch_event::Event) {
        let event = v1::WatchEvent { event: Some(event) };
        self.watchers.retain(|watcher| watcher.send(Ok(event.clone())).is_ok());
    }

    fn list(&self, wanted: &v1::ListRequest) -> Vec<v1::Resource> {
        let matches = |(namespace, kind, _): &Id| {
            (wanted.kind.is_empty() || *kind == wanted.kind)
                && (wanted.namespace.is_empty() || *namespace == wanted.namespace)
        };
        let matching = self.resources.iter().filter(|(id, _)| matches(id));
        matching.map(|(_, resource)| resource.clone()).collect()
    }
}

fn change(
    key: v1::ResourceKey,
    action: Action,
    before: Option<v1::Resource>,
    after: Option<v1::Resource>,
) -> v1::Change {
    let text = |resource: Option<v1::Resource>| resource.map(|r| r.manifest).unwrap_or_default();
    let status = after.as_ref().map(|of| of.status.clone()).unwrap_or_default();
    let (before, after) = (text(before), text(after));
    v1::Change { key: Some(key), action: action.into(), before, after, status }
}

fn read(
    documents: &[v1::Document],
    namespace: &str,
) -> Result<Vec<resources::Resource>, Vec<v1::Fault>> {
    let (mut all, mut faults) = (Vec::new(), Vec::new());
    for document in documents {
        match parse_documents(&document.text, &Origin::file(document.source.as_str()), namespace) {
            Ok(resources) => all.extend(resources),
            Err(found) => faults.extend(found.into_iter().map(fault)),
        }
    }
    if faults.is_empty() { Ok(all) } else { Err(faults) }
}

fn fault(resources::Fault { at, path, message }: resources::Fault) -> v1::Fault {
    let Origin::File { path: source, line, column } = at else { panic!("{at} is no file") };
    v1::Fault { source: source.to_string(), line, column, path, message }
}

impl Fake {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics while it holds this")
    }

    /// Changes behind everybody's back.
    pub(super) fn put(&self, text: &str) {
        for resource in parse_documents(text, &Origin::Default, "default").expect("sound") {
            self.state().put(&resource).expect("it names no version");
        }
    }

    pub(super) fn remove(&self, kind: &str, namespace: &str, name: &str) {
        let (kind, namespace, name) = (kind.into(), namespace.into(), name.into());
        let gone = self.state().remove(v1::ResourceKey { kind, namespace, name });
        assert!(gone.is_some(), "it was there");
    }

    fn admitted<T>(&self, request: Request<T>) -> Result<T, Status> {
        let shown = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        if shown != Some(TOKEN) {
            return Err(Status::unauthenticated("the token is wrong"));
        }
        Ok(request.into_inner())
    }
}

#[tonic::async_trait]
impl Configuration for Fake {
    async fn apply(
        &self,
        request: Request<v1::ApplyRequest>,
    ) -> Result<Response<v1::ApplyResponse>, Status> {
        let request = self.admitted(request)?;
        let resources = match read(&request.documents, &request.default_namespace) {
            Ok(resources) => resources,
            Err(faults) => {
                return Ok(Response::new(v1::ApplyResponse { faults, changes: Vec::new() }));
            }
        };
        let mut state = self.state();
        let mut next = state.clone();
        if request.dry_run {
            next.watchers.clear();
        }
        let changes = resources.iter().map(|resource| next.put(resource));
        let changes = changes.collect::<Result<Vec<_>, _>>()?;
        if !request.dry_run {
            *state = next;
        }
        Ok(Response::new(v1::ApplyResponse { faults: Vec::new(), changes }))
    }

    async fn get(
        &self,
        request: Request<v1::GetRequest>,
    ) -> Result<Response<v1::Resource>, Status> {
        let key = self.admitted(request)?.key.unwrap_or_default();
        let held = self.state().resources.get(&id(&key)).cloned();
        let missing = || format!("there is no {} {}.{}", key.kind, key.name, key.namespace);
        held.map(Response::new).ok_or_else(|| Status::not_found(missing()))
    }

    async fn list(
        &self,
        request: Request<v1::ListRequest>,
    ) -> Result<Response<v1::ListResponse>, Status> {
        let wanted = self.admitted(request)?;
        Ok(Response::new(v1::ListResponse { resources: self.state().list(&wanted) }))
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteRequest>,
    ) -> Result<Response<v1::DeleteResponse>, Status> {
        let request = self.admitted(request)?;
        let named = read(&request.documents, &request.default_namespace);
        let named = named.expect("the tests delete sound documents").into_iter().map(|resource| {
            let metadata = resource.metadata();
            let (namespace, name) = (metadata.namespace.clone(), metadata.name.clone());
            v1::ResourceKey { kind: resource.kind().into(), namespace, name }
        });
        let mut state = self.state();
        let mut next = state.clone();
        if request.dry_run {
            next.watchers.clear();
        }
        let mut answer = v1::DeleteResponse::default();
        for key in request.keys.into_iter().chain(named) {
            let message = format!("there is no {} {}.{}", key.kind, key.name, key.namespace);
            match next.remove(key) {
                Some(change) => answer.changes.push(change),
                None if request.ignore_missing => {}
                None => answer.faults.push(v1::Fault { message, ..Default::default() }),
            }
        }
        if !request.dry_run && answer.faults.is_empty() {
            *state = next;
        }
        Ok(Response::new(answer))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::WatchEvent, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<v1::ListRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let wanted = self.admitted(request)?;
        let (watcher, events) = mpsc::unbounded_channel();
        let mut state = self.state();
        let present = state.list(&wanted).into_iter().map(watch_event::Event::Upserted);
        for event in present.chain([watch_event::Event::Synced(v1::Synced {})]) {
            let sent = watcher.send(Ok(v1::WatchEvent { event: Some(event) }));
            sent.expect("the receiver is here");
        }
        state.watchers.push(watcher);
        Ok(Response::new(Box::pin(UnboundedReceiverStream::new(events))))
    }
}

#[tonic::async_trait]
impl Tokens for Fake {
    async fn create(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Result<Response<v1::CreateTokenResponse>, Status> {
        let wanted = self.admitted(request)?;
        let mut state = self.state();
        state.count += 1;
        let id = state.count.to_string();
        state.tokens.push(v1::Token {
            id: id.clone(),
            namespace: wanted.namespace,
            service_account: wanted.service_account,
            labels: wanted.labels,
            address: wanted.address,
            expires_ms: i64::try_from(wanted.ttl_ms).expect("the tests' times are short"),
            uses_left: wanted.uses,
        });
        Ok(Response::new(v1::CreateTokenResponse { token: format!("token-of-{id}"), id }))
    }

    async fn list(
        &self,
        request: Request<v1::ListTokensRequest>,
    ) -> Result<Response<v1::ListTokensResponse>, Status> {
        self.admitted(request)?;
        Ok(Response::new(v1::ListTokensResponse { tokens: self.state().tokens.clone() }))
    }

    async fn revoke(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::RevokeTokenResponse>, Status> {
        let v1::RevokeTokenRequest { id } = self.admitted(request)?;
        let mut state = self.state();
        let place = state.tokens.iter().position(|token| token.id == id);
        let place = place.ok_or_else(|| Status::not_found(format!("there is no token {id}")))?;
        state.tokens.remove(place);
        Ok(Response::new(v1::RevokeTokenResponse {}))
    }
}
