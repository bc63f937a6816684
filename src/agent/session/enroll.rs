//! The first certificate: a key, a signing request and a token.

use super::Settings;
use super::link::{LinkError, dial};
use super::renewal::Pending;
use crate::identity::{Svid, TrustBundle};
use crate::model::{SpiffeId, TrustDomain};
use crate::wire::v1;
use crate::wire::v1::identity_client::IdentityClient;
use rustls::pki_types::CertificateDer;

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
) -> Result<Enrolled, LinkError> {
    let path = settings.token_file.as_ref().ok_or(LinkError::NoToken)?;
    let token =
        std::fs::read_to_string(path).map_err(|error| LinkError::Token(path.clone(), error))?;
    let pending = Pending::new(identity).map_err(LinkError::Key)?;
    let channel = dial(settings, trust_domain, None, newest)?.await?;
    let request = v1::EnrollRequest {
        signing_request: pending.signing_request.clone(),
        token: token.trim().to_owned(),
    };
    let answer = IdentityClient::new(channel).enroll(request).await;
    let answer = answer.map_err(|status| LinkError::Refused(Box::new(status)))?.into_inner();
    let v1::EnrollResponse { certificate, bundle: roots } = answer;
    let chain = certificate.ok_or(LinkError::Lacks("a certificate"))?.chain;
    let svid = pending.certified(chain).map_err(LinkError::Certificate)?;
    let bundle = bundle(roots.ok_or(LinkError::Lacks("the trust bundle"))?)?;
    Ok(Enrolled { svid, bundle })
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
