//! What a connection's peer was proven by, for as long as the connection outlives its handshake.
//!
//! A handshake is judged by what was known then. A tunnel may live for days after it: roots leave,
//! certificates end, trust is taken back. Kept apart from the session, whose owner is busy with it.

use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;

use super::Credentials;
use super::error::PeerError;
use crate::identity::Leaf;
use crate::model::SpiffeId;

/// A peer's chain, as its handshake had it.
#[derive(Debug)]
pub struct Proof {
    chain: Box<[CertificateDer<'static>]>,
    id: SpiffeId,
    serial: String,
    /// When the first of both ends' certificates ends.
    pub ends: SystemTime,
    /// For how long the peer's certificate was good in all.
    pub lifetime: Duration,
}

impl Proof {
    /// Of an established connection; `None` where the peer is no member of the mesh.
    pub fn of(chain: &[CertificateDer<'static>], ours: Option<&Credentials>) -> Option<Self> {
        let leaf = Leaf::from_der(chain.first()?).ok()?;
        let id = leaf.id().ok()?;
        // A server outside the mesh may have an id of another one.
        if ours.is_some_and(|ours| ours.svid().id().trust_domain() != id.trust_domain()) {
            return None;
        }
        let ours_ends = ours.map_or(leaf.not_after, |ours| ours.svid().not_after());
        Some(Self {
            id,
            serial: leaf.serial(),
            ends: leaf.not_after.min(ours_ends),
            lifetime: leaf.not_after.duration_since(leaf.not_before).unwrap_or_default(),
            chain: chain.into(),
        })
    }

    /// Until `ends`.
    pub fn left(&self) -> Duration {
        self.ends.duration_since(SystemTime::now()).unwrap_or_default()
    }

    /// Whether the peer, or this certificate of its, was taken back.
    pub fn is_revoked(&self, newest: &Credentials) -> bool {
        newest.bundle().revoked().names(&self.id, &self.serial)
    }

    /// Whether the roots of today still vouch for the peer. As costly as half a handshake.
    ///
    /// # Errors
    /// Why they don't.
    pub fn check(&self, newest: &Credentials, now: SystemTime) -> Result<(), PeerError> {
        newest.verifier.check(&self.chain, now)
    }
}
