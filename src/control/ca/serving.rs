//! Certificates of servers that are reached by DNS name: the injection webhook, whom the API server
//! calls and verifies by the root that it was told.
//!
//! They hold no SPIFFE id, so that nobody in the mesh takes their holder for a member of it, and are
//! for servers only. Each process makes its own: their keys are kept nowhere.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::Error;
use super::certificate::{Pair, whole_seconds};
use super::serial::serial;
use super::signing::{BACKDATED, end};
use crate::tls::named_server;

/// A server's certificate and key.
pub struct Serving {
    /// The leaf, then its issuer.
    pub chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

impl Serving {
    /// A TLS configuration that shows it to everybody, for HTTP/1.1, and asks nobody for theirs.
    pub fn config(&self) -> Arc<rustls::ServerConfig> {
        let config = named_server(self.chain.clone(), self.key.clone_key());
        Arc::new(config.expect("a leaf with the key that it was made for"))
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

pub(super) fn issue(
    issuer: &Pair,
    names: &[String],
    lifetime: Duration,
    now: SystemTime,
) -> Result<Serving, Error> {
    if issuer.not_after <= now {
        return Err(Error::IssuerEnded { not_after: issuer.not_after });
    }
    let name = |name: &String| {
        let dns = name.as_str().try_into().map(SanType::DnsName);
        dns.map_err(|_| Error::ServerName { name: name.clone() })
    };
    let not_before = whole_seconds(now - BACKDATED);
    let not_after = whole_seconds(end(now, lifetime, issuer.not_after));
    let mut params = CertificateParams::default();
    params.subject_alt_names = names.iter().map(name).collect::<Result<_, _>>()?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "outrigger-control-plane");
    params.not_before = not_before.into();
    params.not_after = not_after.into();
    params.serial_number = Some(SerialNumber::from_slice(&serial(0)?));
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let leaf = params.signed_by(&key, &issuer.issuer)?;
    let mut chain = vec![leaf.into()];
    chain.extend_from_slice(&issuer.chain);
    Ok(Serving { chain, key: PrivateKeyDer::from(key), not_before, not_after })
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::pki_types::{ServerName, UnixTime};

    use super::super::{Authority, Lifetimes};
    use super::*;
    use crate::control::files::tests::Folder;
    use crate::identity::Leaf;
    use crate::model::TrustDomain;
    use crate::tls::provider;

    #[test]
    fn who_trusts_the_root_takes_it_under_its_names_only() {
        let folder = Folder::new("serving");
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let domain = TrustDomain::default();
        let authority = Authority::open(&folder.0, &domain, Lifetimes::default(), now);
        let authority = authority.expect("an authority");
        let names = ["web.test.svc".to_owned(), "web.test.svc.cluster.local".to_owned()];
        let serving = authority.serving(&names, now).expect("a certificate");
        let anchors = Arc::clone(authority.roots().anchors());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(anchors, Arc::clone(provider())).build();
        let verifier = verifier.expect("roots");
        let at = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).expect("after 1970"));
        let taken = |name: &str| {
            let name = ServerName::try_from(name.to_owned()).expect("a name");
            let (leaf, issuers) = serving.chain.split_first().expect("a chain");
            verifier.verify_server_cert(leaf, issuers, &name, &[], at).is_ok()
        };
        assert!(taken(&names[0]) && taken(&names[1]));
        assert!(!taken("other.test.svc"));
        assert!(Leaf::from_der(&serving.chain[0]).is_err(), "no member of the mesh");
        let refused = authority.serving(&["wéb".to_owned()], now).expect_err("no DNS name");
        assert!(matches!(refused, Error::ServerName { .. }), "{refused}");
    }
}
