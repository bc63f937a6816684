//! Chains that were found good, so that the same one is not worked through at every handshake.
//!
//! A verdict follows from the chain, the roots, what is revoked, and the time. Roots and revocations
//! stay as they are for as long as a verifier lives, so what is left of a chain that was good once is
//! when its certificates begin and end. A handshake of a peer that was here before verifies one
//! signature, its own, in place of all.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{Context, SHA256};
use rustls::Error as TlsError;
use rustls::pki_types::{CertificateDer, UnixTime};

use crate::identity::dates;

/// Chains remembered, of 48 bytes each.
const MOST: usize = 4096;
/// Certificates of one that is. Whoever has seen a chain can show it, and more in it, before it is
/// asked for its key: there are few such.
const LONGEST: usize = 3;

/// Whole chains by their digests; the Unix seconds from which and up to which all of a chain is good.
#[derive(Debug, Default)]
pub(super) struct Proven(Mutex<HashMap<[u8; 32], (u64, u64)>>);

impl Proven {
    /// Whether the chain is good at `now`, as `judge` says, or once said.
    ///
    /// # Errors
    /// What `judge` said.
    pub(super) fn unless_known(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        judge: impl FnOnce() -> Result<(), TlsError>,
    ) -> Result<(), TlsError> {
        let digest = digest(leaf, intermediates);
        let known = self.chains().get(&digest).copied();
        if known.is_some_and(|(from, to)| (from..to).contains(&now.as_secs())) {
            return Ok(());
        }
        judge()?;
        if intermediates.len() < LONGEST
            && let Some(span) = span(leaf, intermediates)
        {
            let mut chains = self.chains();
            if chains.len() >= MOST {
                chains.clear();
            }
            chains.insert(digest, span);
        }
        Ok(())
    }

    fn chains(&self) -> MutexGuard<'_, HashMap<[u8; 32], (u64, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of every certificate, each with its length, so that no two chains have the same bytes.
fn digest(leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for certificate in std::iter::once(leaf).chain(intermediates) {
        context.update(&certificate.len().to_be_bytes());
        context.update(certificate);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

fn span(leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Option<(u64, u64)> {
    let seconds = |at: SystemTime| Some(at.duration_since(UNIX_EPOCH).ok()?.as_secs());
    let mut span = (0, u64::MAX);
    for certificate in std::iter::once(leaf).chain(intermediates) {
        let (not_before, not_after) = dates(certificate).ok()?;
        span = (span.0.max(seconds(not_before)?), span.1.min(seconds(not_after)?));
    }
    Some(span)
}
