//! What people can ask the control plane, one function a call.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use tonic::Streaming;

use super::convert::{Change, Event, Held, JoinToken, Key, changes, moment};
use super::documents::Document;
use super::error::Error;
use super::plaintext::{Path, Seen, Unheard};
use super::session::{Session, answer};
use crate::wire::Channel;
use crate::wire::v1::{
    self, authority_client::AuthorityClient, configuration_client::ConfigurationClient,
    observe_client::ObserveClient, tokens_client::TokensClient,
};

/// The largest answer that is taken: a mesh of some ten thousand resources. Arbitrary.
pub(super) const MAX_ANSWER_BYTES: usize = 64 << 20;

/// What is to go.
#[derive(Debug)]
pub(super) enum Doomed {
    Keys(Vec<Key>),
    Documents { documents: Vec<Document>, default_namespace: String },
}

/// Who may join, and for how long.
#[derive(Clone, Debug)]
pub(super) struct NewToken {
    pub(super) namespace: String,
    pub(super) service_account: String,
    pub(super) labels: BTreeMap<String, String>,
    /// In CIDR notation; absent: where the workload connects from.
    pub(super) address: Option<String>,
    pub(super) ttl: Duration,
    pub(super) uses: u32,
}

/// What a revocation concerned.
pub(super) struct Revoked {
    pub(super) enrollments: u32,
    pub(super) tokens: u32,
    pub(super) until: SystemTime,
}

/// Something that nobody is to trust.
pub(super) struct Revocation {
    /// A SPIFFE id, or what serial numbers begin with.
    pub(super) what: String,
    pub(super) until: SystemTime,
    /// It stays until what is revoked is gone.
    pub(super) is_there: bool,
}

impl Session {
    fn configuration(&self) -> ConfigurationClient<Channel> {
        ConfigurationClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    pub(super) fn authority(&self) -> AuthorityClient<Channel> {
        AuthorityClient::new(self.channel.clone())
    }

    fn tokens(&self) -> TokensClient<Channel> {
        TokensClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    pub(super) async fn apply(
        &self,
        documents: Vec<Document>,
        default_namespace: &str,
        dry_run: bool,
    ) -> Result<Vec<Change>, Error> {
        let request = self.request(v1::ApplyRequest {
            documents: documents.into_iter().map(Into::into).collect(),
            default_namespace: default_namespace.to_owned(),
            dry_run,
        });
        let told = answer(self.configuration().apply(request)).await?;
        changes(told.faults, told.changes)
    }

    pub(super) async fn delete(
        &self,
        doomed: Doomed,
        ignore_missing: bool,
        dry_run: bool,
    ) -> Result<Vec<Change>, Error> {
        let mut request = v1::DeleteRequest { ignore_missing, dry_run, ..Default::default() };
        match doomed {
            Doomed::Keys(keys) => request.keys = keys.into_iter().map(Into::into).collect(),
            Doomed::Documents { documents, default_namespace } => {
                request.documents = documents.into_iter().map(Into::into).collect();
                request.default_namespace = default_namespace;
            }
        }
        let told = answer(self.configuration().delete(self.request(request))).await?;
        changes(told.faults, told.changes)
    }

    pub(super) async fn one(&self, key: Key) -> Result<Held, Error> {
        let request = self.request(v1::GetRequest { key: Some(key.into()) });
        answer(self.configuration().get(request)).await?.try_into()
    }

    /// Empty: every kind, every namespace.
    pub(super) async fn list(&self, kind: &str, namespace: &str) -> Result<Vec<Held>, Error> {
        let request = self.request(selection(kind, namespace));
        let told = answer(self.configuration().list(request)).await?;
        told.resources.into_iter().map(Held::try_from).collect()
    }

    /// As [`Session::list`], then every change.
    pub(super) async fn watch(&self, kind: &str, namespace: &str) -> Result<Told, Error> {
        let request = self.request(selection(kind, namespace));
        // The answer begins at once; what comes in it takes its time.
        answer(self.configuration().watch(request)).await.map(Told)
    }

    /// The token's text, and its id.
    pub(super) async fn create_token(&self, new: NewToken) -> Result<(String, String), Error> {
        let NewToken { namespace, service_account, labels, address, ttl, uses } = new;
        let request = self.request(v1::CreateTokenRequest {
            namespace,
            service_account,
            labels: labels.into_iter().collect(),
            address: address.unwrap_or_default(),
            ttl_ms: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX),
            uses,
        });
        let told = answer(self.tokens().create(request)).await?;
        Ok((told.token, told.id))
    }

    pub(super) async fn list_tokens(&self) -> Result<Vec<JoinToken>, Error> {
        let request = self.request(v1::ListTokensRequest {});
        let told = answer(self.tokens().list(request)).await?;
        Ok(told.tokens.into_iter().map(JoinToken::from).collect())
    }

    /// Takes the trust in a SPIFFE id, or in a certificate by its serial number, away.
    pub(super) async fn revoke(&self, what: &str) -> Result<Revoked, Error> {
        use v1::revoke_request::What;
        let what = if what.contains("://") {
            What::Identity(what.to_owned())
        } else {
            What::Serial(what.to_owned())
        };
        let request = self.request(v1::RevokeRequest { what: Some(what) });
        let told = answer(self.authority().revoke(request)).await?;
        let v1::RevokeResponse { enrollments, tokens, until_ms } = told;
        Ok(Revoked { enrollments, tokens, until: moment(until_ms) })
    }

    pub(super) async fn revocations(&self) -> Result<Vec<Revocation>, Error> {
        let request = self.request(v1::ListRevocationsRequest {});
        let told = answer(self.authority().list_revocations(request)).await?;
        let revocation = |from: v1::Revocation| {
            let v1::Revocation { what, until_ms, is_there } = from;
            Revocation { what, until: moment(until_ms), is_there }
        };
        Ok(told.revocations.into_iter().map(revocation).collect())
    }

    /// Who still comes in plaintext to the workloads of a namespace; empty: of all.
    pub(super) async fn plaintext(&self, namespace: &str) -> Result<Seen, Error> {
        let request = self.request(v1::PlaintextRequest { namespace: namespace.to_owned() });
        let mut client =
            ObserveClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER_BYTES);
        let told = answer(client.plaintext(request)).await?;
        let v1::PlaintextResponse {
            watching_since_ms,
            sidecars,
            paths,
            left_out,
            replica,
            replicas,
            seen,
        } = told;
        let path = |from: v1::PlaintextPath| {
            let v1::PlaintextPath {
                workload,
                port,
                address,
                caller,
                connections,
                first_ms,
                last_ms,
            } = from;
            let (first, last) = (moment(first_ms), moment(last_ms));
            Path { workload, port, address, caller, connections, first, last }
        };
        let paths = paths.into_iter().map(path).collect();
        let asked = replicas.len().max(1);
        // One of an older release speaks for itself alone.
        let alone = "the control plane is of a release that asks no others";
        let is_unheard = |of: &v1::Replica| {
            if seen.is_some() { !of.silence.is_empty() } else { of.name != replica }
        };
        let unheard = |v1::Replica { name, address, silence }: v1::Replica| {
            let why = if seen.is_some() { silence } else { alone.to_owned() };
            Unheard { name, address, why }
        };
        let unheard: Vec<Unheard> = replicas.into_iter().filter(is_unheard).map(unheard).collect();
        let (since, heard) = (moment(watching_since_ms), asked - unheard.len().min(asked));
        Ok(Seen { since, sidecars, paths, left_out, heard, unheard })
    }

    pub(super) async fn revoke_token(&self, id: &str) -> Result<(), Error> {
        let request = self.request(v1::RevokeTokenRequest { id: id.to_owned() });
        let v1::RevokeTokenResponse {} = answer(self.tokens().revoke(request)).await?;
        Ok(())
    }
}

fn selection(kind: &str, namespace: &str) -> v1::ListRequest {
    v1::ListRequest { kind: kind.to_owned(), namespace: namespace.to_owned() }
}

/// What a watch tells, one after the other.
pub(super) struct Told(Streaming<v1::WatchEvent>);

impl Told {
    /// # Errors
    /// When the watch broke off; a control plane that leaves ends it without an error of its own.
    pub(super) async fn next(&mut self) -> Result<Event, Error> {
        let event = self.0.message().await?;
        event.ok_or_else(|| Error::Lost("it ended the watch".into()))?.try_into()
    }
}
