//! The service `Tokens`: gives out the right to join.
//!
//! A token is in the store before anybody sees its text, and its text is nowhere but in the answer:
//! neither stored nor logged. What is wrong with a wish is said all at once.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tonic::{Request, Response, Status};

use super::author::Author;
use super::said;
use super::wish::Wish;
use super::writer::whole;
use crate::control::catalog::{Catalog, Token, encoded};
use crate::control::desk::unix_ms;
use crate::control::grant::Grant;
use crate::control::store::{CommitError, Expect, Key, Shelf, Store, Write};
use crate::control::tokens::{Minted, Signer};
use crate::resources::quote;
use crate::wire::v1::{self, tokens_server};

/// Signs tokens.
pub trait Mint {
    /// # Errors
    /// Why it can't be signed.
    fn mint(
        &self,
        grant: &Grant,
        now: SystemTime,
        ttl: Duration,
    ) -> Result<Minted, Box<dyn Error + Send + Sync>>;
}

/// Serves tokens.
pub struct Tokens {
    catalog: Arc<Catalog>,
    store: Arc<dyn Store>,
    mint: Arc<dyn Mint + Send + Sync>,
}

impl Tokens {
    pub fn new(
        catalog: Arc<Catalog>,
        store: Arc<dyn Store>,
        mint: Arc<dyn Mint + Send + Sync>,
    ) -> Self {
        Self { catalog, store, mint }
    }

    /// Writes, then logs, also when the caller leaves meanwhile.
    async fn commit(
        &self,
        write: Write,
        log: impl FnOnce() + Send + 'static,
    ) -> Result<(), Status> {
        let store = Arc::clone(&self.store);
        let work = async move { store.commit(vec![write]).await.map(|_| log()) };
        let done: Result<(), CommitError> =
            whole(work).await.map_err(|error| said::refusal(&error.into()))?;
        done.map_err(|error| said::uncommitted(&error))
    }
}

#[tonic::async_trait]
impl tokens_server::Tokens for Tokens {
    async fn create(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Result<Response<v1::CreateTokenResponse>, Status> {
        let who = Author::of(&request);
        let Wish { grant, ttl, uses } = Wish::try_from(request.into_inner())?;
        let unsigned = |error| Status::internal(format!("the token can't be signed: {error}"));
        let minted = self.mint.mint(&grant, SystemTime::now(), ttl).map_err(unsigned)?;
        let Minted { token, id, expires } = minted;
        let stored = Token { grant: grant.clone(), expires_ms: unix_ms(expires), uses_left: uses };
        let write = write(&id, Expect::Absent, Some(encoded(&stored)));
        let named = id.clone();
        self.commit(write, move || {
            let Grant { namespace, service_account, .. } = &grant;
            tracing::info!(%who, id, namespace, service_account, uses, "made a join token");
        })
        .await?;
        Ok(Response::new(v1::CreateTokenResponse { token, id: named }))
    }

    async fn list(
        &self,
        _: Request<v1::ListTokensRequest>,
    ) -> Result<Response<v1::ListTokensResponse>, Status> {
        let now_ms = unix_ms(SystemTime::now());
        let held = self.catalog.tokens().into_iter().map(|(id, stored)| (id, stored.value));
        let usable = held.filter(|(_, token)| token.expires_ms > now_ms && token.uses_left > 0);
        let tokens = usable.map(|(id, token)| shown(&id, &token)).collect();
        Ok(Response::new(v1::ListTokensResponse { tokens }))
    }

    async fn revoke(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::RevokeTokenResponse>, Status> {
        let who = Author::of(&request);
        let v1::RevokeTokenRequest { id } = request.into_inner();
        if self.catalog.token(&id).is_none() {
            let message = format!(
                "there is no token {}: `outrigger token list` shows those that there are",
                quote(&id)
            );
            return Err(Status::not_found(message));
        }
        // Whatever it was used for meanwhile, it ends.
        let write = write(&id, Expect::Any, None);
        self.commit(write, move || tracing::info!(%who, id, "revoked a join token")).await?;
        Ok(Response::new(v1::RevokeTokenResponse {}))
    }
}

fn write(id: &str, expect: Expect, value: Option<Arc<[u8]>>) -> Write {
    Write { key: Key { shelf: Shelf::Tokens, name: id.into() }, expect, value }
}

fn shown(id: &str, token: &Token) -> v1::Token {
    let Token { grant, expires_ms, uses_left } = token;
    let Grant { namespace, service_account, labels, address } = grant;
    v1::Token {
        id: id.to_owned(),
        namespace: namespace.clone(),
        service_account: service_account.clone(),
        labels: labels.clone().into_iter().collect(),
        address: address.clone().unwrap_or_default(),
        expires_ms: *expires_ms,
        uses_left: *uses_left,
    }
}

impl Mint for Signer {
    fn mint(
        &self,
        grant: &Grant,
        now: SystemTime,
        ttl: Duration,
    ) -> Result<Minted, Box<dyn Error + Send + Sync>> {
        Ok(Signer::mint(self, grant, now, ttl)?)
    }
}
