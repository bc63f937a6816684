//! Taking trust away: revocations; and what trust hangs below, which is `rotation`'s.
//!
//! Of a revocation one commit holds all of it: the entry in the list that every sidecar is told, the end of the
//! enrolments that could be renewed, and of the join tokens that would let the same identity back in.
//! Who is concerned hears of it through the catalog, like of any other change.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tonic::{Request, Response, Status, async_trait};
use tracing::warn;

use super::author::Author;
use super::{rotation, said};
use crate::control::ca::{Imported, enrollment_of};
use crate::control::catalog::{Revocable, Revocation, encoded, enrollment_key};
use crate::control::desk::{Desk, unix_ms};
use crate::control::store::{CommitError, Expect, Key, Shelf, Write};
use crate::model::SpiffeId;
use crate::wire::v1;
use crate::wire::v1::authority_server::Authority;
use crate::wire::v1::revoke_request::What;

/// A commit that lost a race is made again this often.
const RACES: usize = 5;

/// Serves `outrigger.v1.Authority`.
pub struct AuthorityService {
    desk: Arc<Desk>,
}

impl AuthorityService {
    pub fn new(desk: Arc<Desk>) -> Self {
        Self { desk }
    }
}

#[async_trait]
impl Authority for AuthorityService {
    async fn revoke(
        &self,
        request: Request<v1::RevokeRequest>,
    ) -> Result<Response<v1::RevokeResponse>, Status> {
        let who = Author::of(&request);
        let v1::RevokeRequest { what } = request.into_inner();
        let what = revocable(what, &self.desk)?;
        for _ in 0..RACES {
            let plan = plan(&what, &self.desk, SystemTime::now());
            match self.desk.store.commit(plan.writes).await {
                Ok(_) => {
                    warn!(%who, what = %what.name(), enrollments = plan.answer.enrollments, "revoked");
                    return Ok(Response::new(plan.answer));
                }
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(said::uncommitted(&error)),
            }
        }
        Err(Status::aborted("others change the same at once: try again"))
    }

    async fn list_revocations(
        &self,
        _: Request<v1::ListRevocationsRequest>,
    ) -> Result<Response<v1::ListRevocationsResponse>, Status> {
        let held = self.desk.catalog.revocations().into_iter();
        let shown = held.map(|(what, held, is_there)| v1::Revocation {
            what: what.to_string(),
            until_ms: held.value.until_ms,
            is_there,
        });
        Ok(Response::new(v1::ListRevocationsResponse { revocations: shown.collect() }))
    }

    async fn status(
        &self,
        _: Request<v1::AuthorityStatusRequest>,
    ) -> Result<Response<v1::AuthorityStatus>, Status> {
        Ok(Response::new(rotation::status(&self.desk).await))
    }

    async fn rotate_issuer(
        &self,
        request: Request<v1::RotateIssuerRequest>,
    ) -> Result<Response<v1::AuthorityStatus>, Status> {
        let who = Author::of(&request);
        rotation::rotate_issuer(&self.desk).await?;
        warn!(%who, "the issuer was rotated");
        Ok(Response::new(rotation::status(&self.desk).await))
    }

    async fn rotate_root(
        &self,
        request: Request<v1::RotateRootRequest>,
    ) -> Result<Response<v1::AuthorityStatus>, Status> {
        let who = Author::of(&request);
        let v1::RotateRootRequest { force, from } = request.into_inner();
        if force {
            rotation::force(&self.desk, &from).await?;
            warn!(%who, from, "the replacement of the root was made to go on");
        } else {
            rotation::rotate_root(&self.desk).await?;
            warn!(%who, "the root is being replaced");
        }
        Ok(Response::new(rotation::status(&self.desk).await))
    }

    async fn import(
        &self,
        request: Request<v1::ImportRequest>,
    ) -> Result<Response<v1::AuthorityStatus>, Status> {
        let who = Author::of(&request);
        let v1::ImportRequest { root, issuer, key } = request.into_inner();
        rotation::import(&self.desk, Imported { root, issuer, key }).await?;
        warn!(%who, "a root and an issuer were brought in");
        Ok(Response::new(rotation::status(&self.desk).await))
    }
}

/// What revoking it takes.
struct Plan {
    writes: Vec<Write>,
    answer: v1::RevokeResponse,
}

/// What is to be revoked, checked.
fn revocable(what: Option<What>, desk: &Desk) -> Result<Revocable, Status> {
    match what {
        Some(What::Identity(text)) => {
            let id = SpiffeId::parse(&text);
            let id = id.map_err(|error| Status::invalid_argument(error.to_string()))?;
            if id.trust_domain() != desk.trust_domain.as_str() {
                let ours = &desk.trust_domain;
                let message = format!("{id} is not of this trust domain, {ours}");
                return Err(Status::invalid_argument(message));
            }
            if id == SpiffeId::control_plane(&desk.trust_domain) {
                let message = "the control plane's own identity can't be revoked";
                return Err(Status::invalid_argument(message));
            }
            Ok(Revocable::Identity(id))
        }
        Some(What::Serial(text)) => {
            let digits: String = text.chars().filter(|c| *c != ':').collect();
            let serial = digits.to_ascii_lowercase().trim_start_matches('0').to_owned();
            let enrollment = enrollment_of(&serial).ok_or_else(|| {
                Status::invalid_argument(format!(
                    "{text:?} is no serial number of a workload's certificate: see the \
                         sidecar's /certs"
                ))
            })?;
            Ok(Revocable::Enrollment(enrollment))
        }
        None => Err(Status::invalid_argument("say what: an identity or a serial number")),
    }
}

/// A lifetime of certificates that most have had at some time, whatever it is now.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The entry ends with the last certificate that it concerns, and stays longer when what it concerns
/// does. Nobody wants an enrolment back. An identity's pods and tokens may come again, and should not
/// find it for longer than they must.
fn plan(what: &Revocable, desk: &Desk, now: SystemTime) -> Plan {
    let mut writes = Vec::new();
    let end = match what {
        Revocable::Identity(_) => now + desk.authority.leaf_lifetime().max(DAY),
        Revocable::Enrollment(_) => desk.authority.all_end(),
    };
    let mut until_ms = unix_ms(end);
    for (number, held) in desk.catalog.enrollments() {
        let concerned = match what {
            Revocable::Identity(id) => {
                held.value.grant.identity(&desk.trust_domain).as_ref() == Some(id)
            }
            Revocable::Enrollment(enrollment) => number == *enrollment,
        };
        if concerned {
            until_ms = until_ms.max(held.value.until_ms);
            let expect = Expect::Version(held.version);
            writes.push(Write { key: enrollment_key(number), expect, value: None });
        }
    }
    let enrollments = count(&writes);
    if let Revocable::Identity(id) = what {
        for (name, held) in desk.catalog.tokens() {
            if held.value.grant.identity(&desk.trust_domain).as_ref() == Some(id) {
                let key = Key { shelf: Shelf::Tokens, name };
                let expect = Expect::Version(held.version);
                writes.push(Write { key, expect, value: None });
            }
        }
    }
    let tokens = count(&writes) - enrollments;
    let key = Key { shelf: Shelf::Revocations, name: what.name() };
    let value = Some(encoded(&Revocation { until_ms, made_ms: Some(unix_ms(now)) }));
    writes.push(Write { key, expect: Expect::Any, value });
    Plan { writes, answer: v1::RevokeResponse { enrollments, tokens, until_ms } }
}

fn count(writes: &[Write]) -> u32 {
    u32::try_from(writes.len()).unwrap_or(u32::MAX)
}
