//! First certificates, for those who hold a token.
//!
//! The use of a token is durable before the certificate exists, so that no crash gives a token back.
//! A call that is repeated with the same key is the same use: an answer that got lost costs nobody
//! the right to join.

use std::sync::Arc;
use std::time::SystemTime;

use tonic::{Request, Response, Status, async_trait};
use tracing::{info, warn};

use super::Caller;
use crate::control::ca::{Issued, RequestError, SigningRequest, new_enrollment};
use crate::control::catalog::{Enrollment, Pod, Token, encoded, enrollment_key};
use crate::control::desk::{Desk, unix_ms};
use crate::control::grant::Grant;
use crate::control::membership::{Member, member, pod_of};
use crate::control::store::{CommitError, Expect, Key, Shelf, Write};
use crate::control::tokens::TokenError;
use crate::http::respond::chain;
use crate::identity::TrustBundle;
use crate::model::SpiffeId;
use crate::wire::v1;
use crate::wire::v1::identity_server::Identity;

/// A commit that lost a race is made again this often.
const RACES: usize = 5;

/// Serves `outrigger.v1.Identity`.
pub struct IdentityService {
    desk: Arc<Desk>,
}

impl IdentityService {
    pub fn new(desk: Arc<Desk>) -> Self {
        Self { desk }
    }
}

#[async_trait]
impl Identity for IdentityService {
    async fn enroll(
        &self,
        request: Request<v1::EnrollRequest>,
    ) -> Result<Response<v1::EnrollResponse>, Status> {
        let from = request.extensions().get::<Caller>().map(|caller| caller.address);
        let v1::EnrollRequest { signing_request, token } = request.into_inner();
        let desk = &self.desk;
        match enroll(desk, &signing_request, &token, SystemTime::now()).await {
            Ok((identity, issued)) => {
                desk.metrics.enrolled.inc();
                info!(%identity, serial = issued.serial, ?from, "enrolled");
                Ok(Response::new(v1::EnrollResponse {
                    certificate: Some(certificate(&issued)),
                    bundle: Some(bundle(&desk.authority.roots())),
                }))
            }
            Err(status) => {
                desk.metrics.certificates_refused.inc();
                warn!(?from, "an enrolment was refused: {}", status.message());
                Err(status)
            }
        }
    }
}

async fn enroll(
    desk: &Desk,
    signing_request: &[u8],
    token: &str,
    now: SystemTime,
) -> Result<(SpiffeId, Issued), Status> {
    let claims = match (desk.signer.read(token, now), &desk.cluster) {
        (Ok(claims), _) => claims,
        // Not one of ours.
        (
            Err(TokenError::Malformed | TokenError::Algorithm | TokenError::Foreign),
            Some(cluster),
        ) => {
            let pod = pod_of(desk, &**cluster, token).await?;
            return enroll_pod(desk, signing_request, &pod, now);
        }
        (Err(error), _) => {
            let message = format!("the token can't be taken: {error}");
            return Err(Status::unauthenticated(message));
        }
    };
    let identity = identity_of(desk, &claims.grant)?;
    let request = SigningRequest::read(signing_request, &identity).map_err(unreadable)?;
    for _ in 0..RACES {
        let held = desk.catalog.token(&claims.id).ok_or_else(|| {
            Status::unauthenticated("the token was revoked, or is not one of this control plane")
        })?;
        let (number, writes) = use_up(desk, &held, &claims.id, request.key_fingerprint(), now)?;
        match desk.store.commit(writes).await {
            Ok(_) => {
                let issued = desk.authority.sign(&request, number, now);
                let issued = issued.map_err(|error| Status::internal(chain(&error)))?;
                return Ok((identity, issued));
            }
            Err(CommitError::Conflict { .. }) => {}
            Err(error) => return Err(Status::unavailable(chain(&error))),
        }
    }
    Err(Status::unavailable("too many join with this token at once: try again"))
}

/// A pod's first certificate, or its first after the sidecar was restarted. Nothing is written: the
/// enrolment is the pod's own.
fn enroll_pod(
    desk: &Desk,
    signing_request: &[u8],
    pod: &Pod,
    now: SystemTime,
) -> Result<(SpiffeId, Issued), Status> {
    let identity = identity_of(desk, &pod.grant())?;
    if desk.catalog.revoked().enrollments.contains(&pod.enrollment) {
        let message = "the pod is revoked: see `outrigger ca revocations`";
        return Err(Status::unauthenticated(message));
    }
    let request = SigningRequest::read(signing_request, &identity).map_err(unreadable)?;
    let issued = desk.authority.sign(&request, pod.enrollment, now);
    let issued = issued.map_err(|error| Status::internal(chain(&error)))?;
    Ok((identity, issued))
}

fn identity_of(desk: &Desk, grant: &Grant) -> Result<SpiffeId, Status> {
    let identity = grant.identity(&desk.trust_domain).ok_or_else(|| {
        Status::unauthenticated("the token names a service account that no workload can have")
    })?;
    if desk.catalog.revoked().identities.contains(&identity) {
        let message = "the identity is revoked: see `outrigger ca revocations`";
        return Err(Status::unauthenticated(message));
    }
    Ok(identity)
}

/// Most who see this have a token for one workload in the folder of another.
fn unreadable(error: RequestError) -> Status {
    Status::invalid_argument(match error {
        RequestError::WrongIdentity { found, expected } => format!(
            "the token is for {expected}, and the sidecar wants to be {found}: make a token for \
             that, or change workload.namespace and workload.serviceAccount"
        ),
        error => format!("the signing request can't be taken: {error}"),
    })
}

/// The enrolment that this key gets, and what has to be written first.
fn use_up(
    desk: &Desk,
    held: &crate::control::catalog::Stored<Token>,
    id: &str,
    key: &str,
    now: SystemTime,
) -> Result<(u64, Vec<Write>), Status> {
    if let Some(number) = desk.catalog.joined(id, key) {
        return Ok((number, Vec::new()));
    }
    let mut token = Token::clone(&held.value);
    if token.uses_left == 0 {
        return Err(Status::unauthenticated(
            "the token is used up: make one with more --uses, or one for each workload",
        ));
    }
    let number = new_enrollment().map_err(|error| Status::internal(error.to_string()))?;
    token.uses_left -= 1;
    let until = now + desk.authority.leaf_lifetime();
    let enrollment = Enrollment {
        grant: token.grant.clone(),
        until_ms: unix_ms(until),
        token: id.to_owned(),
        key: key.to_owned(),
    };
    let writes = vec![
        Write {
            key: Key { shelf: Shelf::Tokens, name: id.into() },
            expect: Expect::Version(held.version),
            value: Some(encoded(&token)),
        },
        Write {
            key: enrollment_key(number),
            expect: Expect::Absent,
            value: Some(encoded(&enrollment)),
        },
    ];
    Ok((number, writes))
}

/// The next certificate of an enrolment that has one.
///
/// # Errors
/// Why there is none, in a sentence for the sidecar.
pub async fn renew(
    desk: &Desk,
    signing_request: &[u8],
    identity: &SpiffeId,
    number: u64,
    now: SystemTime,
) -> Result<Issued, String> {
    let request = SigningRequest::read(signing_request, identity)
        .map_err(|error| format!("the signing request can't be taken: {error}"))?;
    let revoked = desk.catalog.revoked();
    if revoked.identities.contains(identity) || revoked.enrollments.contains(&number) {
        return Err("this workload was revoked: see `outrigger ca revocations`".to_owned());
    }
    let until_ms = unix_ms(now + desk.authority.leaf_lifetime());
    for _ in 0..RACES {
        let member = member(desk, number, identity).await;
        let held = match member.map_err(|status| status.message().to_owned())? {
            Member::Joined(held) => held,
            // Who it is was looked up just now, and nothing has to be written.
            Member::Pod(_) => {
                return desk.authority.sign(&request, number, now).map_err(|error| chain(&error));
            }
        };
        let until_ms = until_ms.max(held.value.until_ms);
        let enrollment = Enrollment { until_ms, ..Enrollment::clone(&held.value) };
        let write = Write {
            key: enrollment_key(number),
            expect: Expect::Version(held.version),
            value: Some(encoded(&enrollment)),
        };
        match desk.store.commit(vec![write]).await {
            Ok(_) => {
                return desk.authority.sign(&request, number, now).map_err(|error| chain(&error));
            }
            Err(CommitError::Conflict { .. }) => {}
            Err(error) => return Err(chain(&error)),
        }
    }
    Err("the enrolment changes too often: try again".to_owned())
}

/// A certificate as it is sent.
pub fn certificate(issued: &Issued) -> v1::Certificate {
    v1::Certificate { chain: issued.chain.iter().map(|der| der.to_vec()).collect() }
}

/// The roots as they are sent.
pub fn bundle(bundle: &TrustBundle) -> v1::TrustBundle {
    let roots = bundle.roots().iter().map(|root| root.certificate.to_vec()).collect();
    v1::TrustBundle { roots, generation: bundle.generation() }
}
