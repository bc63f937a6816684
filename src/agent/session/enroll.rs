//! The first certificate: a key, a signing request and a token.

use std::time::Duration;

use tokio::time::timeout;

use super::Settings;
use super::link::{LinkError, dial};
use super::renewal::Pending;
use crate::identity::{Revoked, Svid, TrustBundle, enrollment_number};
use crate::model::{NameError, SpiffeId, TrustDomain};
use crate::wire::v1;
use crate::wire::v1::identity_client::IdentityClient;
use rustls::pki_types::CertificateDer;

/// How long the control plane may take to answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// An enrolment that was not answered yet. Asked again with the same key it is the same use of the
/// token, so that an answer that got lost costs nothing.
pub struct Begun {
    token: String,
    pending: Pending,
}

/// What somebody has who joined.
pub struct Enrolled {
    pub svid: Svid,
    pub bundle: TrustBundle,
}

/// Joins with the token in the file, which is read now: it may have been replaced.
///
/// # Errors
/// What is missing, or what the control plane said.
pub async fn enroll(
    settings: &Settings,
    trust_domain: &TrustDomain,
    identity: &SpiffeId,
    newest: &Option<TrustBundle>,
    begun: &mut Option<Begun>,
) -> Result<Enrolled, LinkError> {
    let path = settings.token_file.as_ref().ok_or(LinkError::NoToken)?;
    let token =
        std::fs::read_to_string(path).map_err(|error| LinkError::Token(path.clone(), error))?;
    let token = token.trim().to_owned();
    let again = begun.take().filter(|begun| begun.token == token);
    let pending = match again {
        Some(begun) => begun.pending,
        None => Pending::new(identity).map_err(LinkError::Key)?,
    };
    let Begun { token, pending } = begun.insert(Begun { token, pending });
    let channel = dial(settings, trust_domain, None, newest)?.await?;
    let request = v1::EnrollRequest {
        signing_request: pending.signing_request.clone(),
        token: token.clone(),
    };
    let mut client = IdentityClient::new(channel);
    let answer = timeout(PATIENCE, client.enroll(request)).await;
    let answer = answer.map_err(|_| LinkError::Silent(settings.address.clone()))?;
    let answer = answer.map_err(|status| LinkError::Refused(Box::new(status)))?.into_inner();
    let v1::EnrollResponse { certificate, bundle: roots } = answer;
    let chain = certificate.ok_or(LinkError::Lacks("a certificate"))?.chain;
    let svid = pending.certified(chain).map_err(LinkError::Certificate)?;
    *begun = None;
    let bundle = bundle(roots.ok_or(LinkError::Lacks("the trust bundle"))?)?;
    Ok(Enrolled { svid, bundle })
}

/// What is revoked, as the control plane sends it.
///
/// # Errors
/// What names nobody.
pub fn revoked(from: v1::Revocations) -> Result<Revoked, NameError> {
    let v1::Revocations { enrollments, identities } = from;
    let enrollments = enrollments
        .into_iter()
        .map(|text| enrollment_number(&text).ok_or(NameError::Enrollment(text)));
    let identities = identities.iter().map(|id| SpiffeId::parse(id));
    Ok(Revoked {
        enrollments: enrollments.collect::<Result<_, _>>()?,
        identities: identities.collect::<Result<_, _>>()?,
    })
}

/// The roots as the control plane sends them.
///
/// # Errors
/// When one of them is none.
pub fn bundle(from: v1::TrustBundle) -> Result<TrustBundle, LinkError> {
    let v1::TrustBundle { roots, generation } = from;
    let roots = roots.into_iter().map(CertificateDer::from).collect();
    TrustBundle::new(roots, generation).map_err(LinkError::Certificate)
}
