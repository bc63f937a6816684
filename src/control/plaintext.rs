//! Who still comes in plaintext, of the last hour, as sidecars report it.
//!
//! Kept in memory: a sidecar that comes back says again what it saw, so that a restart forgets
//! little. Bounded, whoever reports: beyond that newcomers are counted and not named. Written by
//! sessions, read by the API and the admin port.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::catalog::Catalog;
use super::desk::unix_ms;
use crate::model::PlaintextCaller;

/// How long somebody is remembered.
const KEPT: Duration = Duration::from_secs(3600);
/// Callers of one workload, and of all together: some 10 MiB. Arbitrary.
const OF_ONE: usize = 256;
const OF_ALL: usize = 100_000;

/// What a sidecar reports.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub callers: Vec<PlaintextCaller>,
    /// Connections of others, since the last report.
    pub left_out: u64,
}

/// From one address to one port of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// `name.namespace`.
    pub workload: String,
    /// The app's.
    pub port: u16,
    pub address: IpAddr,
    /// The workload at that address, as `name.namespace`, where one is known and only one.
    pub caller: Option<String>,
    pub connections: u64,
    /// In milliseconds since 1970.
    pub first_ms: i64,
    pub last_ms: i64,
}

/// Everything that is remembered at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// In milliseconds since 1970.
    pub since_ms: i64,
    /// By workload, port and address.
    pub paths: Vec<Path>,
    /// Connections of others.
    pub left_out: u64,
}

/// What was reported.
pub struct Plaintext {
    since_ms: i64,
    state: Mutex<State>,
}

/// By namespace and name.
type Key = (Arc<str>, Arc<str>);

#[derive(Default)]
struct State {
    workloads: BTreeMap<Key, Callers>,
    count: usize,
}

#[derive(Default)]
struct Callers {
    all: BTreeMap<(u16, IpAddr), Times>,
    left_out: u64,
    left_out_ms: i64,
}

#[derive(Clone, Copy)]
struct Times {
    connections: u64,
    first_ms: i64,
    last_ms: i64,
}

impl Plaintext {
    /// Nothing was reported yet.
    pub fn new(now: SystemTime) -> Self {
        Self { since_ms: unix_ms(now), state: Mutex::default() }
    }

    /// Takes the report of a workload's sidecar, by namespace and name.
    pub fn take(&self, (namespace, name): (&str, &str), report: Report, now: SystemTime) {
        let now_ms = unix_ms(now);
        let Report { callers, left_out } = report;
        if callers.is_empty() && left_out == 0 {
            return;
        }
        let mut state = self.lock();
        let key = (namespace.into(), name.into());
        if state.count + callers.len() > OF_ALL {
            state.forget(now_ms);
        }
        let State { workloads, count } = &mut *state;
        let of = workloads.entry(key).or_default();
        let mut more = left_out;
        for PlaintextCaller { address, port, connections, first, last } in callers {
            let at = (port, address.to_canonical());
            let is_known = of.all.contains_key(&at);
            if !is_known && (of.all.len() >= OF_ONE || *count >= OF_ALL) {
                more = more.saturating_add(connections);
                continue;
            }
            *count += usize::from(!is_known);
            let (first_ms, last_ms) = (now_ms - millis(first), now_ms - millis(last));
            of.all.insert(at, Times { connections, first_ms, last_ms });
        }
        if more > 0 {
            of.left_out = of.left_out.saturating_add(more);
            of.left_out_ms = now_ms;
        }
    }

    /// Those who came to the workloads of a namespace, or of all.
    pub fn seen(&self, namespace: Option<&str>, catalog: &Catalog, now: SystemTime) -> Seen {
        let mut state = self.lock();
        state.forget(unix_ms(now));
        let is_asked = |of: &Key| namespace.is_none_or(|asked| *of.0 == *asked);
        let asked = || state.workloads.iter().filter(|(key, _)| is_asked(key));
        let path = |key: &Key, (&(port, address), times): (&(u16, IpAddr), &Times)| Path {
            workload: format!("{}.{}", key.1, key.0),
            port,
            address,
            caller: None,
            connections: times.connections,
            first_ms: times.first_ms,
            last_ms: times.last_ms,
        };
        let mut paths: Vec<Path> =
            asked().flat_map(|(key, of)| of.all.iter().map(|one| path(key, one))).collect();
        let left_out = asked().map(|(_, of)| of.left_out).sum();
        drop(state);
        let ips: Vec<IpAddr> = paths.iter().map(|path| path.address).collect();
        for (path, caller) in paths.iter_mut().zip(catalog.workloads_at(&ips)) {
            path.caller = caller;
        }
        Seen { since_ms: self.since_ms, paths, left_out }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget(&mut self, now_ms: i64) {
        let oldest_ms = now_ms - millis(KEPT);
        self.workloads.retain(|_, of| {
            of.all.retain(|_, times| times.last_ms >= oldest_ms);
            if of.left_out_ms < oldest_ms {
                of.left_out = 0;
            }
            !of.all.is_empty() || of.left_out > 0
        });
        self.count = self.workloads.values().map(|of| of.all.len()).sum();
    }
}

/// What several replicas were told. A sidecar that went from one to another has told both: what both
/// know counts once.
pub fn together(all: impl Iterator<Item = Seen>) -> Seen {
    type Place = (String, u16, IpAddr);
    let mut paths: BTreeMap<Place, Path> = BTreeMap::new();
    let mut whole = all.fold(Seen::default(), |mut whole, seen| {
        for path in seen.paths {
            let place = (path.workload.clone(), path.port, path.address);
            let known = paths.entry(place).or_insert_with(|| path.clone());
            known.connections = known.connections.max(path.connections);
            known.first_ms = known.first_ms.min(path.first_ms);
            known.last_ms = known.last_ms.max(path.last_ms);
            known.caller = known.caller.take().or(path.caller);
        }
        // All have watched since then.
        whole.since_ms = whole.since_ms.max(seen.since_ms);
        whole.left_out = whole.left_out.saturating_add(seen.left_out);
        whole
    });
    whole.paths = paths.into_values().collect();
    whole
}

fn millis(duration: Duration) -> i64 {
    // A sidecar says it; more than the clock can hold is as long ago as anything can be.
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TrustDomain;

    const MINUTE: Duration = Duration::from_secs(60);

    fn caller(address: &str, port: u16, connections: u64, last: Duration) -> PlaintextCaller {
        let address = address.parse().expect("an address");
        PlaintextCaller { address, port, connections, first: last + MINUTE, last }
    }

    fn at(minutes: u32) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30) + minutes * MINUTE
    }

    fn shown(plaintext: &Plaintext, of: Option<&str>, now: SystemTime) -> (Vec<String>, u64) {
        let catalog = Catalog::new(TrustDomain::default(), 0, &[]);
        let Seen { since_ms, paths, left_out } = plaintext.seen(of, &catalog, now);
        assert_eq!(since_ms, unix_ms(at(0)));
        let line = |path: &Path| {
            let ago = (unix_ms(now) - path.last_ms) / 60_000;
            assert_eq!(path.last_ms - path.first_ms, 60_000);
            format!("{} {} {} {} {ago}", path.workload, path.port, path.address, path.connections)
        };
        (paths.iter().map(line).collect(), left_out)
    }

    fn report(callers: &[PlaintextCaller]) -> Report {
        Report { callers: callers.to_vec(), left_out: 0 }
    }

    #[test]
    fn the_newest_report_counts_and_an_hour_is_kept() {
        let plaintext = Plaintext::new(at(0));
        let old = [caller("10.0.0.9", 80, 3, MINUTE), caller("::ffff:10.0.0.8", 80, 1, MINUTE)];
        plaintext.take(("shop", "web"), report(&old), at(1));
        plaintext.take(("shop", "web"), report(&[caller("10.0.0.9", 80, 4, MINUTE)]), at(30));
        plaintext.take(("ops", "db"), report(&[caller("10.0.0.9", 5432, 1, MINUTE)]), at(30));
        let (db, web) = ("db.ops 5432 10.0.0.9 1 1", "web.shop 80 10.0.0.9 4 1");
        let all = vec![db.to_owned(), "web.shop 80 10.0.0.8 1 30".into(), web.into()];
        assert_eq!(shown(&plaintext, None, at(30)), (all, 0));
        assert_eq!(shown(&plaintext, Some("ops"), at(30)).0, [db]);
        let later = ["db.ops 5432 10.0.0.9 1 60", "web.shop 80 10.0.0.9 4 60"];
        assert_eq!(shown(&plaintext, None, at(89)).0, later);
        assert_eq!(shown(&plaintext, None, at(90)).0, [""; 0]);
        assert_eq!(plaintext.lock().count, 0);
    }

    #[test]
    fn beyond_the_bounds_newcomers_are_counted_and_the_known_are_kept_up() {
        let plaintext = Plaintext::new(at(0));
        let many: Vec<PlaintextCaller> = (0..OF_ONE + 10)
            .map(|n| caller(&format!("10.0.{}.{}", n / 250, n % 250), 80, 2, Duration::ZERO))
            .collect();
        plaintext.take(("shop", "web"), report(&many), at(1));
        let (paths, left_out) = shown(&plaintext, None, at(1));
        assert_eq!((paths.len(), left_out), (OF_ONE, 20));
        let again = Report { callers: vec![many[0]], left_out: 5 };
        plaintext.take(("shop", "web"), again, at(50));
        let (paths, left_out) = shown(&plaintext, None, at(70));
        assert_eq!((paths.len(), left_out), (1, 25));
        assert_eq!(shown(&plaintext, None, at(200)), (Vec::new(), 0));
    }

    #[test]
    fn what_is_said_of_the_time_can_not_overflow() {
        let plaintext = Plaintext::new(at(0));
        let mut odd = caller("10.0.0.9", 80, u64::MAX, Duration::ZERO);
        (odd.first, odd.last) = (Duration::MAX, Duration::MAX);
        plaintext.take(("shop", "web"), Report { callers: vec![odd], left_out: 1 }, at(1));
        assert_eq!(shown(&plaintext, None, at(1)), (Vec::new(), 1));
    }
}
