//! The demo as the operator of its mesh: applies the services, and gives out the right to join.
//!
//! The third caller of the protocol beside sidecars and the command line, with just the two calls
//! that it needs; the way to the control plane is the sidecars'. Each call makes a connection of its
//! own, because the control plane may have been restarted since the last.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use tokio::time::timeout;
use tonic::{Request, Response, Status};

use super::shop::{Labels, NAMESPACE};
use crate::agent::session::{LinkError, Settings, dial};
use crate::model::TrustDomain;
use crate::wire::v1::{
    self, configuration_client::ConfigurationClient, tokens_client::TokensClient,
};
use crate::wire::{self, Channel};

/// For each call. Arbitrary: each takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a token may wait to be used.
const TTL: Duration = Duration::from_secs(120);

/// Why the control plane did not do it.
#[derive(Debug, thiserror::Error)]
pub(super) enum OperatorError {
    #[error("the control plane can't be reached")]
    Link(#[from] LinkError),
    #[error("the operator's token can't be read")]
    Token(#[source] std::io::Error),
    #[error("the operator's token is none")]
    NoToken,
    #[error("the control plane refused: {}", .0.message())]
    Refused(#[from] Box<Status>),
    #[error("the shop's services are not sound: {0}")]
    Faults(String),
    #[error("the control plane gave no answer within {PATIENCE:?}")]
    Silent,
}

/// Calls the control plane as its operator.
#[derive(Clone, Debug)]
pub(super) struct Operator {
    settings: Settings,
}

impl Operator {
    /// `token` is the operator's, in a file.
    pub(super) fn new(address: String, trust_anchors: &Path, token: &Path) -> Operator {
        let (trust_anchors, token_file) = (trust_anchors.to_owned(), Some(token.to_owned()));
        Operator { settings: Settings { address, trust_anchors, newest_anchors: None, token_file } }
    }

    /// Makes the mesh as the `files` say: each a name and a text.
    ///
    /// # Errors
    /// When it does not hold.
    pub(super) async fn apply(&self, files: &[(&str, String)]) -> Result<(), OperatorError> {
        let document = |(name, text): &(&str, String)| v1::Document {
            source: (*name).to_owned(),
            text: text.clone(),
        };
        let request = v1::ApplyRequest {
            documents: files.iter().map(document).collect(),
            default_namespace: NAMESPACE.into(),
            dry_run: false,
        };
        let (channel, request) = self.call(request).await?;
        let told = answer(ConfigurationClient::new(channel).apply(request)).await?;
        if told.faults.is_empty() {
            return Ok(());
        }
        let messages = told.faults.into_iter().map(|fault| fault.message);
        Err(OperatorError::Faults(messages.collect::<Vec<_>>().join("; ")))
    }

    /// The right for one workload with these labels to join, once.
    ///
    /// # Errors
    /// When there is none.
    pub(super) async fn token(&self, labels: &Labels) -> Result<String, OperatorError> {
        let Labels { app, version } = labels;
        let request = v1::CreateTokenRequest {
            namespace: NAMESPACE.into(),
            service_account: (*app).to_owned(),
            labels: [("app", *app), ("version", version.as_str())]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            // Where it connects from.
            address: String::new(),
            ttl_ms: u64::try_from(TTL.as_millis()).unwrap_or(u64::MAX),
            uses: 1,
        };
        let (channel, request) = self.call(request).await?;
        Ok(answer(TokensClient::new(channel).create(request)).await?.token)
    }

    async fn call<M>(&self, message: M) -> Result<(Channel, Request<M>), OperatorError> {
        let path = self.settings.token_file.as_deref().ok_or(OperatorError::NoToken)?;
        let token = std::fs::read_to_string(path).map_err(OperatorError::Token)?;
        let bearer = wire::bearer(&token).ok_or(OperatorError::NoToken)?;
        let channel = dial(&self.settings, &TrustDomain::default(), None, &None)?.await?;
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", bearer);
        Ok((channel, request))
    }
}

async fn answer<T>(
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, OperatorError> {
    match timeout(PATIENCE, call).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(Box::new(status).into()),
        Err(_) => Err(OperatorError::Silent),
    }
}
