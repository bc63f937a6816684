//! How an authority stands, for people and pages: roots, issuer, and a replacement under way. No key
//! is in it.

use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};

use super::Lifetimes;
use super::authority::renewed_before;
use super::certificate::{Pair, fingerprint};
use super::held::{Held, Line};
use super::trust::{Origin, Phase, from_ms};
use crate::http::answers::timestamp;
use crate::identity::{TrustBundle, certificates};

/// Everything that there is to see.
#[derive(Clone, Debug)]
pub struct View {
    /// Counts changes of the bundle and steps of replacements.
    pub revision: u64,
    /// Counts changes of the bundle.
    pub generation: u64,
    pub roots: Vec<RootView>,
    pub issuer: IssuerView,
    pub rotation: Option<RotationView>,
}

/// A root that is trusted.
#[derive(Clone, Debug)]
pub struct RootView {
    /// SHA-256 of the certificate, 64 hexadecimal digits.
    pub fingerprint: String,
    pub subject: String,
    pub serial: String,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
    /// `None`: since the mesh began.
    pub since: Option<SystemTime>,
    /// Workloads' certificates hang below it.
    pub signs: bool,
}

/// What signs workloads' certificates.
#[derive(Clone, Debug)]
pub struct IssuerView {
    pub fingerprint: String,
    pub subject: String,
    pub serial: String,
    pub not_before: SystemTime,
    pub not_after: SystemTime,
    /// When it is replaced by itself; `None`: whoever made it has to.
    pub renews: Option<SystemTime>,
    pub origin: Origin,
}

/// A root that is being replaced.
#[derive(Clone, Debug)]
pub struct RotationView {
    pub phase: Phase,
    /// Fingerprints.
    pub from: String,
    pub to: String,
    pub began: SystemTime,
    pub since: SystemTime,
    /// When the last certificate below the old one ends; `None` before the new one is used.
    pub old_leaves_end: Option<SystemTime>,
}

pub(super) fn of(held: &Held, lifetimes: Lifetimes) -> View {
    let signs = fingerprint(&held.line.root.certificate);
    let since = |of: &CertificateDer<'_>| {
        let is_it = |pem: &str| {
            certificates(pem.as_bytes()).is_ok_and(|all| all.iter().any(|each| each == of))
        };
        let known = held.trust.roots.iter().find(|root| is_it(&root.certificate))?;
        (known.since_ms > 0).then(|| from_ms(known.since_ms))
    };
    let root = |root: &crate::identity::Root| {
        let fingerprint = fingerprint(&root.certificate);
        RootView {
            signs: fingerprint == signs,
            fingerprint,
            subject: root.subject.clone(),
            serial: root.serial.clone(),
            not_before: root.not_before,
            not_after: root.not_after,
            since: since(&root.certificate),
        }
    };
    View {
        revision: held.trust.revision,
        generation: held.bundle.generation(),
        roots: held.bundle.roots().iter().map(root).collect(),
        issuer: issuer(&held.line, lifetimes),
        rotation: rotation(held),
    }
}

fn issuer(line: &Line, lifetimes: Lifetimes) -> IssuerView {
    let Line { root, issuer, origin } = line;
    let Pair { not_before, not_after, .. } = *issuer;
    // It was read as one of a bundle before.
    let read = TrustBundle::new(vec![issuer.certificate().clone()], 0).ok();
    let read = read.and_then(|bundle| bundle.roots().first().cloned());
    let (subject, serial) = read.map(|of| (of.subject, of.serial)).unwrap_or_default();
    let renews = not_after.checked_sub(renewed_before(lifetimes)).unwrap_or(not_before);
    let is_ours = *origin == Origin::Own && root.key.is_some();
    IssuerView {
        fingerprint: fingerprint(issuer.certificate()),
        subject,
        serial,
        not_before,
        not_after,
        renews: is_ours.then_some(renews),
        origin: *origin,
    }
}

fn rotation(held: &Held) -> Option<RotationView> {
    let rotation = held.trust.rotation.as_ref()?;
    let to = certificates(rotation.next.root.as_bytes()).ok()?;
    let to = fingerprint(to.first()?);
    let all = held.bundle.roots().iter().map(|root| fingerprint(&root.certificate));
    Some(RotationView {
        phase: rotation.phase,
        from: all.into_iter().find(|known| *known != to).unwrap_or_default(),
        to,
        began: from_ms(rotation.began_ms),
        since: from_ms(rotation.since_ms),
        old_leaves_end: (rotation.old_leaves_end_ms > 0)
            .then(|| from_ms(rotation.old_leaves_end_ms)),
    })
}

impl View {
    /// The root that workloads' certificates hang below.
    pub fn signing_root(&self) -> Option<&RootView> {
        self.roots.iter().find(|root| root.signs)
    }

    /// As pages show it.
    pub fn shown(&self, trust_domain: &str) -> Value {
        let root = |root: &RootView| {
            json!({
                "subject": root.subject,
                "fingerprint": root.fingerprint,
                "serial": root.serial,
                "notBefore": timestamp(root.not_before),
                "notAfter": timestamp(root.not_after),
                "trustedSince": root.since.map(timestamp),
                "signs": if root.signs { "yes" } else { "no" },
            })
        };
        let issuer = &self.issuer;
        let rotation = |of: &RotationView| {
            json!({
                "phase": of.phase.as_str(),
                "from": of.from,
                "to": of.to,
                "since": timestamp(of.since),
                "oldCertificatesEnd": of.old_leaves_end.map(timestamp),
            })
        };
        json!({
            "trustDomain": trust_domain,
            "generation": self.generation,
            "roots": self.roots.iter().map(root).collect::<Vec<_>>(),
            "issuer": {
                "subject": issuer.subject,
                "fingerprint": issuer.fingerprint,
                "serial": issuer.serial,
                "notBefore": timestamp(issuer.not_before),
                "notAfter": timestamp(issuer.not_after),
                "renewed": issuer.renews.map_or_else(|| json!("by whoever made it"), |at| json!(timestamp(at))),
            },
            "rotation": self.rotation.as_ref().map(rotation),
        })
    }
}
