//! The authority's roots and issuer, for operators: how they stand, and what they order.
//!
//! What an order may be is `ca`'s to judge; here its refusals become statuses, and its state becomes
//! sentences that say what comes next.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tonic::Status;

use crate::control::ca::{Change, Error, Imported, Origin, Phase, RotationView, View};
use crate::control::custody::Refused;
use crate::control::desk::{Desk, unix_ms};
use crate::control::rotating::{Situation, leaves_end, old_certificates, standing, waits};
use crate::http::respond::chain;
use crate::wire::v1;

/// Sentences in one answer: more than anybody reads.
const SENTENCES: usize = 20;

/// Somebody should see to what ends within this time, and nobody renews.
const SOON: Duration = Duration::from_secs(30 * 24 * 3600);

/// Another issuer below the root that signs.
pub(super) async fn rotate_issuer(desk: &Desk) -> Result<(), Status> {
    not_from_files(desk)?;
    desk.custody.make(Change::RotateIssuer).await.map_err(refused)
}

/// Begins to replace the root.
pub(super) async fn rotate_root(desk: &Desk) -> Result<(), Status> {
    not_from_files(desk)?;
    desk.custody.make(Change::RotateRoot).await.map_err(refused)
}

/// Goes on with it, whatever it waits for.
pub(super) async fn force(desk: &Arc<Desk>, from: &str) -> Result<(), Status> {
    let (view, situation) = standing(desk).await;
    let Some(rotation) = view.rotation else {
        let message = "no root is being replaced: `outrigger ca rotate root` begins with it";
        return Err(Status::failed_precondition(message));
    };
    let phase = rotation.phase;
    if !from.is_empty() && from != phase.as_str() {
        let message = format!(
            "it has gone on to another phase meanwhile ({}): look at `outrigger ca status` again",
            phase.as_str()
        );
        return Err(Status::failed_precondition(message));
    }
    let leaves_end = leaves_end(desk, &situation);
    desk.custody.make(Change::Advance { from: phase, leaves_end }).await.map_err(refused)?;
    // Nothing is waited for between the last two steps, but a moment for what is under way.
    Ok(())
}

/// Begins to use what was made elsewhere.
pub(super) async fn import(desk: &Desk, imported: Imported) -> Result<(), Status> {
    not_from_files(desk)?;
    desk.custody.make(Change::Import(Box::new(imported))).await.map_err(refused)
}

fn not_from_files(desk: &Desk) -> Result<(), Status> {
    if !desk.issuer_files {
        return Ok(());
    }
    Err(Status::failed_precondition(
        "the root and the issuer come from files (--issuer-certificate): whoever writes them \
         replaces them; to make them here, start the control plane without it",
    ))
}

fn refused(refused: Refused) -> Status {
    let message = chain(&refused);
    match refused {
        Refused::Authority(Error::Import(_)) => Status::invalid_argument(message),
        Refused::Authority(_) => Status::failed_precondition(message),
        Refused::Unkept(_) => Status::unavailable(message),
    }
}

/// How it stands.
pub(super) async fn status(desk: &Arc<Desk>) -> v1::AuthorityStatus {
    let (view, situation) = standing(desk).await;
    let roots = view.roots.iter().map(|root| v1::RootStatus {
        fingerprint: root.fingerprint.clone(),
        subject: root.subject.clone(),
        not_after_ms: unix_ms(root.not_after),
        trusted_since_ms: root.since.map_or(0, unix_ms),
        signs: root.signs,
    });
    let issuer = &view.issuer;
    let origin = match issuer.origin {
        _ if desk.issuer_files => "files",
        Origin::Own => "own",
        Origin::Imported => "imported",
    };
    let rotation = view.rotation.as_ref();
    v1::AuthorityStatus {
        trust_domain: desk.trust_domain.to_string(),
        generation: view.generation,
        roots: roots.collect(),
        issuer: Some(v1::IssuerStatus {
            fingerprint: issuer.fingerprint.clone(),
            subject: issuer.subject.clone(),
            not_after_ms: unix_ms(issuer.not_after),
            renews_ms: issuer.renews.map_or(0, unix_ms),
            origin: origin.to_owned(),
        }),
        rotation: rotation.map(|rotation| under_way(&view, rotation, &situation)),
        warnings: warnings(&view, situation.now),
    }
}

fn under_way(view: &View, rotation: &RotationView, situation: &Situation) -> v1::RotationStatus {
    let mut waits_for = waits(view, rotation, situation);
    let more = waits_for.len().saturating_sub(SENTENCES);
    waits_for.truncate(SENTENCES);
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    v1::RotationStatus {
        phase: rotation.phase.as_str().to_owned(),
        from: rotation.from.clone(),
        to: rotation.to.clone(),
        began_ms: unix_ms(rotation.began),
        since_ms: unix_ms(rotation.since),
        old_certificates_end_ms: rotation.old_leaves_end.map_or(0, unix_ms),
        waits_for,
        more: count(more),
        sidecars: count(situation.sidecars.len()),
        old_certificates: count(old_certificates(rotation, &situation.sidecars)),
        next: next(rotation.phase).to_owned(),
    }
}

fn next(phase: Phase) -> &'static str {
    match phase {
        Phase::Distribute => {
            "then certificates are issued below the new root. Nothing needs to be done; whom it waits \
             for in vain can be connected or removed, and `outrigger ca rotate root --force` goes on \
             without them: they can't speak with the others until they connect"
        }
        Phase::Use => {
            "then the old root leaves. Until then give the new ca.pem (both roots) to machines and \
             commands that have a copy of the old one: afterwards those can't join. `outrigger ca \
             rotate root --force` goes on at once: whoever still shows an old certificate is refused \
             until it has renewed"
        }
        Phase::Retire | Phase::Settle => {
            "the control plane shows a certificate below the new root; the old root is about to leave, \
             and machines that have only the old ca.pem can't join any more"
        }
    }
}

fn warnings(view: &View, now: SystemTime) -> Vec<String> {
    let mut all = Vec::new();
    let soon = |ends: SystemTime| ends < now + SOON;
    for root in view.roots.iter().filter(|root| root.signs && soon(root.not_after)) {
        let ends = crate::http::answers::timestamp(root.not_after);
        all.push(format!(
            "the root that signs ends at {ends}, and no certificate outlasts it: replace it with \
             `outrigger ca rotate root`"
        ));
    }
    let issuer = &view.issuer;
    let lifetime = issuer.not_after.duration_since(issuer.not_before).unwrap_or_default();
    // Of a short one, a third is left when it should have been replaced.
    let late = issuer.not_after < now + SOON.min(lifetime / 3);
    if issuer.renews.is_none() && late {
        let ends = crate::http::answers::timestamp(issuer.not_after);
        all.push(format!(
            "the issuer was made elsewhere and ends at {ends}: bring in the next one with `outrigger \
             ca import`, or look at whoever writes its files"
        ));
    }
    all
}
