//! Certificates of a mesh of two: the callers are `client`, the called `server`.

use std::time::{Duration, SystemTime};

use outrigger::identity::issue::{Authority, Issued};
use outrigger::model::{SpiffeId, TrustDomain};

use super::Folder;

const TRUST_DOMAIN: &str = "cluster.local";

/// One mesh's authority.
pub struct Certs {
    authority: Authority,
    trust_domain: String,
}

/// The SPIFFE id of a service account in the namespace `default`.
pub fn spiffe(service_account: &str) -> String {
    format!("spiffe://{TRUST_DOMAIN}/ns/default/sa/{service_account}")
}

impl Certs {
    pub fn new() -> Self {
        Self::of(TRUST_DOMAIN)
    }

    pub fn of(trust_domain: &str) -> Self {
        let domain = TrustDomain::parse(trust_domain).expect("a trust domain");
        let authority = Authority::new(&domain).expect("a key can be made");
        Self { authority, trust_domain: trust_domain.to_owned() }
    }

    pub fn root_pem(&self) -> &str {
        self.authority.root_pem()
    }

    /// A certificate of a service account in this authority's trust domain, good for two hours.
    pub fn issue(&self, service_account: &str) -> Issued {
        let id = format!("spiffe://{}/ns/default/sa/{service_account}", self.trust_domain);
        self.issue_id(&id, -300, 7200)
    }

    /// A certificate for any id; its validity in seconds from now.
    pub fn issue_id(&self, id: &str, from_seconds: i64, to_seconds: i64) -> Issued {
        let id = SpiffeId::parse(id).expect("a SPIFFE id");
        self.authority
            .issue(&id, from_now(from_seconds), from_now(to_seconds))
            .expect("a key can be made")
    }

    /// The three files of `identity` in the sidecar's configuration.
    pub fn write(&self, folder: &Folder, service_account: &str) {
        write_identity(folder, &self.issue(service_account), self.root_pem());
    }
}

pub fn write_identity(folder: &Folder, issued: &Issued, bundle_pem: &str) {
    folder.write("ca.pem", bundle_pem);
    folder.write("svid.key", &issued.key_pem);
    folder.write("svid.pem", &issued.cert_pem);
}

fn from_now(seconds: i64) -> SystemTime {
    let by = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { SystemTime::now() - by } else { SystemTime::now() + by }
}
