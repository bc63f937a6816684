//! What a step of a root's replacement waits for. No clock, no I/O: the whole rule in one place.
//!
//! The danger is a sidecar that does not trust what another one shows. So the new root is used only
//! when all who are connected have said that they go by it, everybody who might come back has had the
//! time to, and every replica of the control plane follows; and the old one leaves only when nothing
//! below it is left. What is doubtful is waited for, by name, and a person may decide otherwise.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::control::ca::{Phase, RotationView, View};

/// What there is of the mesh.
#[derive(Clone, Debug)]
pub struct Situation {
    pub now: SystemTime,
    /// When who was away has come back, if it ever does: counted from the phase's beginning, or from
    /// the beginning of whoever looks.
    pub settled: SystemTime,
    pub sidecars: Vec<Connected>,
    /// `name.namespace` of those that the mesh sends to, and that are not connected.
    pub absent: Vec<String>,
    pub replicas: Vec<Replica>,
}

/// A sidecar that is connected.
#[derive(Clone, Debug)]
pub struct Connected {
    /// `name.namespace`.
    pub workload: Arc<str>,
    /// The generation of the bundle that it goes by.
    pub bundle: u64,
    /// It says so; one of an older release doesn't.
    pub acknowledges: bool,
    /// When its certificate was issued, and when it ends.
    pub issued: SystemTime,
    pub ends: SystemTime,
}

/// Another replica of the control plane: the revision that it follows, or why nobody knows.
#[derive(Clone, Debug)]
pub struct Replica {
    pub name: Arc<str>,
    pub revision: Result<u64, String>,
}

/// In sentences, whom and what it waits for; empty: the phase is over.
pub fn waits(view: &View, rotation: &RotationView, situation: &Situation) -> Vec<String> {
    let mut all = match rotation.phase {
        Phase::Distribute => undistributed(view, situation),
        Phase::Use => unended(rotation, situation),
        Phase::Retire | Phase::Settle => Vec::new(),
    };
    all.extend(situation.replicas.iter().filter_map(|replica| behind(replica, view.revision)));
    all
}

/// Whether some replica may go on signing below the old root.
pub fn may_lag(view: &View, situation: &Situation) -> bool {
    situation.replicas.iter().any(|replica| behind(replica, view.revision).is_some())
}

/// Those that still show a certificate below the old root.
pub fn old_certificates(rotation: &RotationView, sidecars: &[Connected]) -> usize {
    match rotation.phase {
        Phase::Distribute => sidecars.len(),
        _ => sidecars.iter().filter(|of| of.issued < rotation.since).count(),
    }
}

fn undistributed(view: &View, situation: &Situation) -> Vec<String> {
    let mut all = Vec::new();
    for Connected { workload, bundle, acknowledges, ends, .. } in &situation.sidecars {
        if *bundle >= view.generation {
            continue;
        }
        all.push(match acknowledges {
            true => format!("{workload} has not said that it trusts the new root"),
            false => format!(
                "{workload} is of a release that doesn't say what it trusts: until it has renewed \
                 its certificate, which ends{}",
                at(*ends)
            ),
        });
    }
    for name in &situation.absent {
        all.push(format!("{name} belongs to the mesh and is not connected"));
    }
    if situation.settled > situation.now {
        let left = situation.settled.duration_since(situation.now).unwrap_or_default();
        let left = Duration::from_secs(left.as_secs() + 1);
        all.push(format!("sidecars that are away just now may come back: {left:?} more"));
    }
    all
}

fn unended(rotation: &RotationView, situation: &Situation) -> Vec<String> {
    match rotation.old_leaves_end {
        Some(ends) if ends > situation.now => {
            vec![format!("the last certificate below the old root ends{}", at(ends))]
        }
        _ => Vec::new(),
    }
}

fn behind(Replica { name, revision }: &Replica, newest: u64) -> Option<String> {
    match revision {
        Ok(revision) if *revision >= newest => None,
        Ok(_) => Some(format!("replica {name} does not follow yet")),
        Err(why) => Some(format!("replica {name} does not say what it follows: {why}")),
    }
}

fn at(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time).map(|time| format!(" at {time:.0}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::control::ca::{IssuerView, Origin};

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn view(phase: Phase) -> View {
        let issuer = IssuerView {
            fingerprint: String::new(),
            subject: String::new(),
            serial: String::new(),
            not_before: at(0),
            not_after: at(9_000),
            renews: None,
            origin: Origin::Own,
        };
        let rotation = RotationView {
            phase,
            from: "old".into(),
            to: "new".into(),
            began: at(100),
            since: at(100),
            old_leaves_end: (phase > Phase::Distribute).then(|| at(500)),
        };
        View { revision: 3, generation: 2, roots: Vec::new(), issuer, rotation: Some(rotation) }
    }

    fn quiet(now: u64) -> Situation {
        Situation {
            now: at(now),
            settled: at(130),
            sidecars: Vec::new(),
            absent: Vec::new(),
            replicas: Vec::new(),
        }
    }

    fn sidecar(bundle: u64, acknowledges: bool) -> Connected {
        let (issued, ends) = (at(50), at(400));
        Connected { workload: "web-1.shop".into(), bundle, acknowledges, issued, ends }
    }

    #[track_caller]
    fn hold(phase: Phase, situation: &Situation, expected: &[&str]) {
        let view = view(phase);
        let rotation = view.rotation.as_ref().expect("under way");
        let found = waits(&view, rotation, situation);
        assert_eq!(found.len(), expected.len(), "{phase:?}: {found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{phase:?}: {found:?} lacks {expected:?}");
        }
    }

    #[test]
    fn a_new_root_is_used_when_nobody_can_be_without_it() {
        use Phase::Distribute;
        hold(Distribute, &quiet(130), &[]);
        hold(Distribute, &quiet(129), &["2s more"]);
        let with = |sidecar| Situation { sidecars: vec![sidecar], ..quiet(200) };
        hold(Distribute, &with(sidecar(2, true)), &[]);
        hold(Distribute, &with(sidecar(1, true)), &["web-1.shop has not said"]);
        hold(
            Distribute,
            &with(sidecar(0, false)),
            &["renewed its certificate, which ends at 1970"],
        );
        let absent = Situation { absent: vec!["api-1.shop".into()], ..quiet(200) };
        hold(Distribute, &absent, &["api-1.shop belongs to the mesh"]);
    }

    #[test]
    fn an_old_root_stays_until_nothing_is_below_it() {
        hold(Phase::Use, &quiet(499), &["ends at 1970-01-01T00:08:20Z"]);
        hold(Phase::Use, &quiet(500), &[]);
        hold(Phase::Retire, &quiet(500), &[]);
    }

    #[test]
    fn every_phase_waits_for_every_replica() {
        for phase in [Phase::Distribute, Phase::Use, Phase::Retire] {
            let with = |revision| {
                let replicas = vec![Replica { name: "two".into(), revision }];
                Situation { replicas, ..quiet(600) }
            };
            hold(phase, &with(Ok(3)), &[]);
            hold(phase, &with(Ok(2)), &["replica two does not follow yet"]);
            hold(phase, &with(Err("silent".into())), &["replica two does not say"]);
            assert!(may_lag(&view(phase), &with(Ok(2))) && !may_lag(&view(phase), &with(Ok(4))));
        }
    }

    #[test]
    fn what_hangs_below_the_old_root_is_counted_by_when_it_was_issued() {
        let count = |phase, issued| {
            let sidecars = [Connected { issued: at(issued), ..sidecar(2, true) }];
            old_certificates(view(phase).rotation.as_ref().expect("under way"), &sidecars)
        };
        assert_eq!(count(Phase::Distribute, 150), 1);
        assert_eq!((count(Phase::Use, 99), count(Phase::Use, 100)), (1, 0));
    }
}
