//! What people can ask of the authority, in the words of the command line.

use std::time::SystemTime;

use super::super::convert::moment;
use super::super::error::Error;
use super::super::session::{Session, answer};
use crate::wire::v1;

/// How it stands.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) trust_domain: String,
    pub(super) generation: u64,
    pub(super) roots: Vec<Root>,
    pub(super) issuer: Issuer,
    pub(super) rotation: Option<Rotation>,
    pub(super) warnings: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Root {
    pub(super) fingerprint: String,
    pub(super) subject: String,
    pub(super) not_after: SystemTime,
    /// `None`: since the mesh began.
    pub(super) since: Option<SystemTime>,
    pub(super) signs: bool,
}

#[derive(Debug)]
pub(super) struct Issuer {
    pub(super) fingerprint: String,
    pub(super) subject: String,
    pub(super) not_after: SystemTime,
    /// `None`: whoever made it replaces it.
    pub(super) renews: Option<SystemTime>,
    pub(super) origin: String,
}

#[derive(Debug)]
pub(super) struct Rotation {
    pub(super) phase: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) began: SystemTime,
    pub(super) since: SystemTime,
    pub(super) old_certificates_end: Option<SystemTime>,
    pub(super) waits_for: Vec<String>,
    pub(super) more: u32,
    pub(super) sidecars: u32,
    pub(super) old_certificates: u32,
    pub(super) next: String,
}

impl Session {
    pub(super) async fn authority_status(&self) -> Result<Standing, Error> {
        let request = self.request(v1::AuthorityStatusRequest {});
        standing(answer(self.authority().status(request)).await?)
    }

    pub(super) async fn rotate_issuer(&self) -> Result<Standing, Error> {
        let request = self.request(v1::RotateIssuerRequest {});
        standing(answer(self.authority().rotate_issuer(request)).await?)
    }

    /// `from`: the phase to go on from, without waiting.
    pub(super) async fn rotate_root(&self, from: Option<String>) -> Result<Standing, Error> {
        let (force, from) = (from.is_some(), from.unwrap_or_default());
        let request = self.request(v1::RotateRootRequest { force, from });
        standing(answer(self.authority().rotate_root(request)).await?)
    }

    pub(super) async fn import_authority(
        &self,
        root: String,
        issuer: String,
        key: String,
    ) -> Result<Standing, Error> {
        let request = self.request(v1::ImportRequest { root, issuer, key });
        standing(answer(self.authority().import(request)).await?)
    }
}

fn standing(from: v1::AuthorityStatus) -> Result<Standing, Error> {
    let v1::AuthorityStatus { trust_domain, generation, roots, issuer, rotation, warnings } = from;
    let issuer = issuer.ok_or_else(|| Error::Lost("its answer names no issuer".into()))?;
    let roots = roots.into_iter().map(root).collect();
    let (issuer, rotation) = (self::issuer(issuer), rotation.map(self::rotation));
    Ok(Standing { trust_domain, generation, roots, issuer, rotation, warnings })
}

fn root(from: v1::RootStatus) -> Root {
    let v1::RootStatus { fingerprint, subject, not_after_ms, trusted_since_ms, signs } = from;
    let (not_after, since) = (moment(not_after_ms), some(trusted_since_ms));
    Root { fingerprint, subject, not_after, since, signs }
}

fn issuer(from: v1::IssuerStatus) -> Issuer {
    let v1::IssuerStatus { fingerprint, subject, not_after_ms, renews_ms, origin } = from;
    let (not_after, renews) = (moment(not_after_ms), some(renews_ms));
    Issuer { fingerprint, subject, not_after, renews, origin }
}

fn rotation(told: v1::RotationStatus) -> Rotation {
    let v1::RotationStatus {
        phase,
        from,
        to,
        began_ms,
        since_ms,
        old_certificates_end_ms,
        waits_for,
        more,
        sidecars,
        old_certificates,
        next,
    } = told;
    Rotation {
        phase,
        from,
        to,
        began: moment(began_ms),
        since: moment(since_ms),
        old_certificates_end: some(old_certificates_end_ms),
        waits_for,
        more,
        sidecars,
        old_certificates,
        next,
    }
}

fn some(ms: i64) -> Option<SystemTime> {
    (ms > 0).then(|| moment(ms))
}
