//! From a request to the service that answers it, past the rule that guards it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::time::{sleep, timeout};
use tonic::Status;
use tonic::body::Body;
use tower::limit::ConcurrencyLimit;
use tower::load_shed::LoadShed;
use tower::{Service, ServiceBuilder, ServiceExt};
use tracing::warn;

use super::authority::AuthorityService;
use super::callers::{Caller, GUESS_DELAY, Rule, is_guess, judge, rule};
use super::configuration::Configuration;
use super::identity::IdentityService;
use super::observe::ObserveService;
use super::recall::RecallService;
use super::session::{MeshService, concerns};
use super::tokens::{Mint, Tokens};
use crate::control::desk::Desk;
use crate::runtime::rehearsal::{self, At};
use crate::wire::v1::authority_server::AuthorityServer;
use crate::wire::v1::configuration_server::ConfigurationServer;
use crate::wire::v1::identity_server::IdentityServer;
use crate::wire::v1::mesh_server::MeshServer;
use crate::wire::v1::observe_server::ObserveServer;
use crate::wire::v1::replicas_server::ReplicasServer;
use crate::wire::v1::tokens_server::TokensServer;

/// Enrolments at once: anybody may ask, each costs signatures. More are told to come back.
const ENROLMENTS: usize = 64;
/// How long one may take.
const ENROLMENT: Duration = Duration::from_secs(10);
/// Bytes of one: a signing request and a token.
const LARGEST_ENROLMENT: usize = 64 << 10;

/// All services of the control plane; clones share them.
#[derive(Clone)]
pub struct Router {
    desk: Arc<Desk>,
    identity: LoadShed<ConcurrencyLimit<IdentityServer<IdentityService>>>,
    mesh: MeshServer<MeshService>,
    configuration: ConfigurationServer<Configuration>,
    tokens: TokensServer<Tokens>,
    authority: AuthorityServer<AuthorityService>,
    observe: ObserveServer<ObserveService>,
    replicas: ReplicasServer<RecallService>,
}

impl Router {
    pub fn new(desk: Arc<Desk>) -> Self {
        let (catalog, store) = (Arc::clone(&desk.catalog), Arc::clone(&desk.store));
        let is_clusters = desk.cluster.is_some();
        let configuration =
            Configuration::new(Arc::clone(&catalog), Arc::clone(&store), is_clusters);
        let signer: Arc<dyn Mint + Send + Sync> = Arc::clone(&desk.signer) as _;
        let tokens = Tokens::new(catalog, store, signer);
        let identity = IdentityServer::new(IdentityService::new(Arc::clone(&desk)))
            .max_decoding_message_size(LARGEST_ENROLMENT);
        Self {
            identity: ServiceBuilder::new()
                .load_shed()
                .concurrency_limit(ENROLMENTS)
                .service(identity),
            mesh: MeshServer::new(MeshService::new(Arc::clone(&desk))),
            configuration: configuration.into_service(),
            tokens: TokensServer::new(tokens),
            authority: AuthorityServer::new(AuthorityService::new(Arc::clone(&desk))),
            observe: ObserveServer::new(ObserveService::new(Arc::clone(&desk))),
            replicas: ReplicasServer::new(RecallService::new(
                desk.lookout(),
                Arc::clone(&desk.authority),
            )),
            desk,
        }
    }

    /// Answers one call of `caller`.
    pub async fn answer(self, caller: Caller, mut request: Request<Incoming>) -> Response<Body> {
        rehearsal::pass(At::Call);
        let Some((rpc, rule)) = rule(request.uri().path()) else {
            return Status::unimplemented("the control plane has no such call").into_http();
        };
        let revoked = self.desk.catalog.revoked();
        if caller.peer.as_ref().is_some_and(|peer| concerns(&revoked, peer)) {
            self.desk.metrics.refused(rpc);
            warn!(rpc, from = %caller.address, "a call with a revoked certificate was refused");
            return Status::unauthenticated("this certificate was revoked").into_http();
        }
        let operators = &self.desk.operators;
        match judge(rule, &caller, request.headers(), operators, SystemTime::now()) {
            Ok(author) => drop(request.extensions_mut().insert(author)),
            Err(status) => {
                self.desk.metrics.refused(rpc);
                warn!(rpc, from = %caller.address, "a call was refused: {}", status.message());
                if is_guess(&status) && rule == Rule::Operator {
                    sleep(GUESS_DELAY).await;
                }
                return status.into_http();
            }
        }
        request.extensions_mut().insert(caller);
        self.dispatch(rpc, request).await
    }

    async fn dispatch(mut self, rpc: &str, request: Request<Incoming>) -> Response<Body> {
        let service = rpc.split('/').nth(1).unwrap_or_default();
        match service {
            "outrigger.v1.Identity" => {
                // Its body included: nobody keeps others out by sending half of one.
                let answered = timeout(ENROLMENT, self.identity.oneshot(request)).await;
                let Ok(answered) = answered else {
                    return Status::deadline_exceeded("the request took too long").into_http();
                };
                answered.unwrap_or_else(|_| {
                    let message = "too many join at once: come back later";
                    Status::resource_exhausted(message).into_http()
                })
            }
            "outrigger.v1.Mesh" => infallible(self.mesh.call(request).await),
            "outrigger.v1.Configuration" => infallible(self.configuration.call(request).await),
            "outrigger.v1.Authority" => infallible(self.authority.call(request).await),
            "outrigger.v1.Observe" => infallible(self.observe.call(request).await),
            "outrigger.v1.Replicas" => infallible(self.replicas.call(request).await),
            "outrigger.v1.Tokens" => infallible(self.tokens.call(request).await),
            _ => Status::unimplemented("the control plane has no such service").into_http(),
        }
    }
}

fn infallible<T>(result: Result<T, std::convert::Infallible>) -> T {
    match result {
        Ok(value) => value,
        Err(never) => match never {},
    }
}
