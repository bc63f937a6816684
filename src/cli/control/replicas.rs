//! One question to every replica of a control plane, and one answer of all.
//!
//! What sidecars tell stays with the replica that has their session. The one that is asked says who
//! the others are; each is asked at its pod's address, or where somebody says that it is reached.
//! One that can't be asked is named: without it nobody knows whether the answer is whole.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::super::chain;
use super::error::Error;
use super::plaintext::{Path, Seen};
use super::session::{Session, Target};
use crate::resources::Origin;

/// What all replicas say together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) seen: Seen,
    /// How many were asked.
    pub(super) asked: usize,
    pub(super) unasked: Vec<Unasked>,
}

/// A replica that could not be asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unasked {
    pub(super) name: String,
    pub(super) address: String,
    pub(super) why: String,
}

/// Asks the control plane, those that are reached at `more`, and whom they name.
///
/// # Errors
/// When it, or one of `more`, can't be asked.
pub(super) async fn plaintext(
    target: &Target,
    more: &[String],
    namespace: &str,
) -> Result<Whole, Error> {
    let mut answers = vec![Session::open(target).await?.plaintext(namespace).await?];
    for address in more {
        let other = target.beside(address, Origin::Flag("--replica".into()))?;
        answers.push(Session::open(&other).await?.plaintext(namespace).await?);
    }
    let named: BTreeMap<String, String> =
        answers.iter().flat_map(|seen| seen.replicas.iter().cloned()).collect();
    let mut unasked = Vec::new();
    for (name, address) in named {
        if answers.iter().any(|seen| seen.replica == name) {
            continue;
        }
        match elsewhere(target, &address, namespace).await {
            Ok(seen) if seen.replica == name => answers.push(seen),
            Ok(seen) => {
                let why = format!("{:?} answers there", seen.replica);
                unasked.push(Unasked { name, address, why });
            }
            Err(error) => unasked.push(Unasked { name, address, why: chain(&error) }),
        }
    }
    Ok(together(answers, unasked))
}

async fn elsewhere(target: &Target, address: &str, namespace: &str) -> Result<Seen, Error> {
    let other = target.beside(address, Origin::Default)?;
    Session::open(&other).await?.plaintext(namespace).await
}

/// A sidecar that went from one replica to another has told both: what both know counts once.
fn together(mut answers: Vec<Seen>, unasked: Vec<Unasked>) -> Whole {
    // Two ways may lead to the same one.
    answers.sort_by(|a, b| a.replica.cmp(&b.replica));
    answers.dedup_by(|a, b| a.replica == b.replica);
    let asked = answers.len();
    // By number, where it is an address; what is none comes last, as it is written.
    let mut paths: BTreeMap<(String, u32, bool, Option<IpAddr>, String), Path> = BTreeMap::new();
    let none = Seen {
        since: std::time::SystemTime::UNIX_EPOCH,
        sidecars: 0,
        paths: Vec::new(),
        left_out: 0,
        replica: String::new(),
        replicas: Vec::new(),
    };
    let mut seen = answers.into_iter().fold(none, |mut all, seen| {
        for path in seen.paths {
            let ip: Option<IpAddr> = path.address.parse().ok();
            let key = (path.workload.clone(), path.port, ip.is_none(), ip, path.address.clone());
            let known = paths.entry(key).or_insert_with(|| path.clone());
            known.connections = known.connections.max(path.connections);
            known.first = known.first.min(path.first);
            known.last = known.last.max(path.last);
        }
        // All have watched since then.
        all.since = all.since.max(seen.since);
        all.sidecars = all.sidecars.saturating_add(seen.sidecars);
        all.left_out = all.left_out.saturating_add(seen.left_out);
        all
    });
    seen.paths = paths.into_values().collect();
    Whole { seen, asked, unasked }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn seen(replica: &str, since: u64, paths: &[(&str, u64, u64)]) -> Seen {
        let path = |&(address, connections, last): &(&str, u64, u64)| Path {
            workload: "web-1.shop".into(),
            port: 80,
            address: address.into(),
            caller: String::new(),
            connections,
            first: at(last - 10),
            last: at(last),
        };
        Seen {
            since: at(since),
            sidecars: 2,
            paths: paths.iter().map(path).collect(),
            left_out: 1,
            replica: replica.into(),
            replicas: Vec::new(),
        }
    }

    #[test]
    fn what_several_say_is_one_answer() {
        let first = seen("a", 100, &[("10.0.0.1", 3, 50)]);
        let second = seen("b", 200, &[("10.0.0.1", 5, 90), ("10.0.0.2", 1, 60)]);
        let whole = together(vec![second.clone(), first, second], Vec::new());
        let Whole { seen, asked, .. } = whole;
        assert_eq!((asked, seen.sidecars, seen.left_out, seen.since), (2, 4, 2, at(200)));
        let rows: Vec<_> = seen.paths.iter().map(|p| (&*p.address, p.connections)).collect();
        assert_eq!(rows, [("10.0.0.1", 5), ("10.0.0.2", 1)]);
        assert_eq!((seen.paths[0].first, seen.paths[0].last), (at(40), at(90)));
    }
}
