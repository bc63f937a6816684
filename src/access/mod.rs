//! Who may call: from a connection's proven identity to a permit, or a reason.
//!
//! Forwarding takes a [`Permit`], and only this room makes one, so a path that forgot to ask does
//! not compile. A doubt is a refusal. Called by the inbound path, once per request and once per
//! opaque connection.

use crate::model::{Reason, SpiffeId, TrustDomain};

/// Leave to forward one request or one connection; made here only.
#[derive(Debug)]
pub struct Permit(());

/// What holds for a workload that no policy selects: mutual TLS is required, and every identity of
/// the trust domain may call.
#[derive(Clone, Debug)]
pub struct Policy {
    trust_domain: TrustDomain,
}

impl Policy {
    pub fn mesh_default(trust_domain: TrustDomain) -> Self {
        Self { trust_domain }
    }

    /// Decides for a caller; `None` is one that came in plaintext.
    ///
    /// # Errors
    /// [`Reason::MtlsRequired`] in plaintext, [`Reason::Denied`] for an identity of elsewhere.
    pub fn decide(&self, caller: Option<&SpiffeId>) -> Result<Permit, Reason> {
        match caller {
            None => Err(Reason::MtlsRequired),
            Some(id) if id.trust_domain() == self.trust_domain.as_str() => Ok(Permit(())),
            Some(_) => Err(Reason::Denied),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_proven_identities_of_the_trust_domain_get_in() {
        let policy = Policy::mesh_default(TrustDomain::default());
        let id = |text| SpiffeId::parse(text).expect("a valid id");
        let ours = id("spiffe://cluster.local/ns/shop/sa/web");
        let theirs = id("spiffe://elsewhere.example/ns/shop/sa/web");
        assert!(policy.decide(Some(&ours)).is_ok());
        assert_eq!(policy.decide(Some(&theirs)).err(), Some(Reason::Denied));
        assert_eq!(policy.decide(None).err(), Some(Reason::MtlsRequired));
    }
}
