//! What can be changed of an authority, one durable step at a time.
//!
//! Each is made on the parts alone, so that a folder and a Secret of the cluster are changed by the
//! same code: a folder part by part, a Secret as a whole. Whoever made one reads everything anew. A
//! step that was taken already is not taken twice. Caller: `authority`.

use std::time::{Duration, SystemTime};

use rcgen::KeyPair;

use super::Error;
use super::authority::{Setting, issuer_end, next_issuer};
use super::certificate::{Made, new_root, to_pem};
use super::import::{Imported, read};
use super::keeper::Parts;
use super::signing::try_out;
use super::trust::{Lineage, Origin, Phase, Rotation, Trust, Trusted, to_ms};

/// How long a replica may go on signing below the old root: twice the pause between its looks.
const SLOW: Duration = Duration::from_secs(60);

/// What to change.
#[derive(Clone, Debug)]
pub enum Change {
    /// Another issuer below the root that signs.
    RotateIssuer,
    /// Begins to replace the root by a new one of our own.
    RotateRoot,
    /// Begins to use what was made elsewhere: at once below the same root, else as a new root.
    Import(Box<Imported>),
    /// Goes on from a phase; nothing, if that is over.
    Advance {
        from: Phase,
        /// When the last certificate ends that was issued until now.
        leaves_end: SystemTime,
    },
    /// Certificates below the old root were issued after the new one was to be used.
    Prolong { leaves_end: SystemTime },
}

/// Makes a change.
pub(super) fn apply(
    parts: &Parts,
    change: Change,
    setting: &Setting,
    now: SystemTime,
) -> Result<(), Error> {
    let trust = parts.present_trust(&setting.trust_domain, now)?;
    match change {
        Change::RotateIssuer => rotate_issuer(parts, trust, setting, now),
        Change::RotateRoot => {
            if let Some(phase) = trust.phase() {
                return Err(Error::UnderWay(phase));
            }
            let next = new_lineage(parts, setting, now)?;
            begin(parts, trust, next, setting, now)
        }
        Change::Import(imported) => import(parts, trust, &imported, setting, now),
        Change::Prolong { leaves_end } => prolong(parts, trust, leaves_end),
        Change::Advance { from, leaves_end } => advance(parts, trust, from, leaves_end, now),
    }
}

/// Finishes what a killed process left: files that are to be those of the document.
pub(super) fn settle(parts: &Parts, mut trust: Trust) -> Result<Trust, Error> {
    if let Some(rotation) = trust.rotation.take_if(|rotation| rotation.phase == Phase::Settle) {
        parts.put_line(&rotation.next)?;
        trust.origin = rotation.next.origin;
        trust.revision += 1;
        parts.put_trust(&trust)?;
    }
    Ok(trust)
}

/// The first root of a mesh is one that was made elsewhere.
pub(super) fn found(
    parts: &Parts,
    imported: &Imported,
    setting: &Setting,
    now: SystemTime,
) -> Result<(), Error> {
    let next = read(imported, setting, now)?;
    let trust = Trust { revision: 1, ..Trust::first(next.root.clone()) };
    adopt(parts, trust, next, now)
}

/// What is new takes the place of the files, below roots that are trusted already.
fn adopt(parts: &Parts, mut trust: Trust, next: Lineage, now: SystemTime) -> Result<(), Error> {
    let (now_ms, phase) = (to_ms(now), Phase::Settle);
    let (began_ms, since_ms) = (now_ms, now_ms);
    trust.revision += 1;
    trust.rotation = Some(Rotation { phase, began_ms, since_ms, old_leaves_end_ms: 0, next });
    parts.put_trust(&trust)?;
    settle(parts, trust).map(drop)
}

fn rotate_issuer(
    parts: &Parts,
    mut trust: Trust,
    setting: &Setting,
    now: SystemTime,
) -> Result<(), Error> {
    let bundle = trust.bundle().map_err(|source| Error::Unusable {
        path: parts.path("trust.json"),
        source: source.into(),
    })?;
    match &mut trust.rotation {
        Some(rotation) if rotation.phase >= Phase::Use => {
            let line = parts.line(&rotation.next)?;
            let root = line.root.key.as_ref().ok_or(Error::Keyless)?;
            let made = next_issuer(parts, root, setting, &bundle, now)?.0;
            (rotation.next.issuer, rotation.next.issuer_key) = (made.certificate, made.key);
            rotation.next.origin = Origin::Own;
            trust.revision += 1;
            parts.put_trust(&trust)
        }
        _ => {
            let root = parts.present_root(&setting.trust_domain, trust.origin, now)?;
            let root_key = root.key.as_ref().ok_or(Error::Keyless)?;
            let made = next_issuer(parts, root_key, setting, &bundle, now)?.0;
            if trust.origin == Origin::Own {
                return parts.put_issuer(&made);
            }
            if let Some(phase) = trust.phase() {
                return Err(Error::UnderWay(phase));
            }
            let Made { certificate: issuer, key: issuer_key } = made;
            let root_key = parts.text("root.key")?;
            let root = to_pem([&root.certificate]);
            let next = Lineage { root, root_key, issuer, issuer_key, origin: Origin::Own };
            adopt(parts, trust, next, now)
        }
    }
}

fn new_lineage(parts: &Parts, setting: &Setting, now: SystemTime) -> Result<Lineage, Error> {
    let key = KeyPair::generate()?;
    let root = new_root(&key, &setting.trust_domain, now)?;
    let root_key = key.serialize_pem();
    let pair = parts.pair("root", root.as_bytes(), root_key.as_bytes())?;
    let ends = issuer_end(pair.not_after, setting.lifetimes, now);
    let made = pair.new_issuer(&setting.trust_domain, ends, now)?;
    let Made { certificate: issuer, key: issuer_key } = made;
    Ok(Lineage { root, root_key: Some(root_key), issuer, issuer_key, origin: Origin::Own })
}

/// The new root is trusted from now on; nothing is signed below it.
fn begin(
    parts: &Parts,
    mut trust: Trust,
    next: Lineage,
    setting: &Setting,
    now: SystemTime,
) -> Result<(), Error> {
    let now_ms = to_ms(now);
    trust.roots.push(Trusted { certificate: next.root.clone(), since_ms: now_ms });
    trust.generation += 1;
    let path = || parts.path("root.pem");
    let bundle =
        trust.bundle().map_err(|source| Error::Unusable { path: path(), source: source.into() })?;
    let line = parts.line(&next)?;
    try_out(&line.issuer, &setting.trust_domain, &bundle, now)?
        .map_err(|source| Error::Refused { path: path(), source })?;
    trust.rotation = Some(Rotation {
        phase: Phase::Distribute,
        began_ms: now_ms,
        since_ms: now_ms,
        old_leaves_end_ms: 0,
        next,
    });
    trust.enter(Phase::Distribute, now);
    parts.put_trust(&trust)
}

fn import(
    parts: &Parts,
    mut trust: Trust,
    imported: &Imported,
    setting: &Setting,
    now: SystemTime,
) -> Result<(), Error> {
    let mut next = read(imported, setting, now)?;
    let certificate = |pem: &str| crate::identity::certificates(pem.as_bytes()).ok();
    let is_same = |pem: &str| certificate(pem) == certificate(&next.root);
    match &mut trust.rotation {
        // A newer issuer of the root that is on its way in.
        Some(rotation) if is_same(&rotation.next.root) => {
            if rotation.next.issuer == next.issuer && rotation.next.issuer_key == next.issuer_key {
                return Ok(());
            }
            next.root_key = rotation.next.root_key.take();
            rotation.next = next;
            trust.revision += 1;
            parts.put_trust(&trust)
        }
        Some(rotation) => Err(Error::UnderWay(rotation.phase)),
        None => {
            let root = parts.text("root.pem")?.unwrap_or_default();
            if !is_same(&root) {
                return begin(parts, trust, next, setting, now);
            }
            let kept = parts.text("issuer.pem")?.unwrap_or_default();
            if certificate(&kept) == certificate(&next.issuer) && trust.origin == Origin::Imported {
                return Ok(());
            }
            next.root_key = parts.text("root.key")?;
            adopt(parts, trust, next, now)
        }
    }
}

/// The revision stays: nobody has to follow this but who takes the next step.
fn prolong(parts: &Parts, mut trust: Trust, leaves_end: SystemTime) -> Result<(), Error> {
    match trust.rotation.as_mut().filter(|rotation| rotation.phase == Phase::Use) {
        Some(rotation) => {
            let ends_ms = to_ms(leaves_end + SLOW);
            rotation.old_leaves_end_ms = rotation.old_leaves_end_ms.max(ends_ms);
            parts.put_trust(&trust)
        }
        None => Ok(()),
    }
}

fn advance(
    parts: &Parts,
    mut trust: Trust,
    from: Phase,
    leaves_end: SystemTime,
    now: SystemTime,
) -> Result<(), Error> {
    let phase = trust.phase();
    if phase == Some(Phase::Settle) {
        return settle(parts, trust).map(drop);
    }
    let Some(rotation) = trust.rotation.as_mut().filter(|_| phase == Some(from)) else {
        return Ok(());
    };
    match from {
        Phase::Distribute => {
            // Whoever signs learns of it a little later, where there are several.
            let slow = if parts.is_shared() { SLOW } else { Duration::ZERO };
            rotation.old_leaves_end_ms = to_ms(leaves_end + slow);
            trust.enter(Phase::Use, now);
        }
        Phase::Use => trust.enter(Phase::Retire, now),
        Phase::Retire | Phase::Settle => {
            let root = rotation.next.root.clone();
            trust.roots.retain(|kept| kept.certificate == root);
            trust.generation += 1;
            trust.enter(Phase::Settle, now);
        }
    }
    parts.put_trust(&trust)?;
    settle(parts, trust).map(drop)
}
