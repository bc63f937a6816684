//! The addresses behind host names, kept current.
//!
//! A name is looked up as soon as it is wanted, and again every while: the system's resolver tells no
//! TTL. Each name has its own lookup, so one that nobody answers keeps no other waiting, and none is
//! lost when another set of names is wanted. Called by whoever publishes a picture of the mesh.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::future::{Future, pending};
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::warn;

/// The addresses that host names stand for now.
pub type Resolved = HashMap<String, Vec<IpAddr>>;

/// Host names are asked for again after this long.
const RESOLVE: Duration = Duration::from_secs(30);
/// A name that has no answer by then has none this time.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// Lookups at once: the system's resolver takes a thread for each. Arbitrary.
const AT_ONCE: usize = 16;

type Looking = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// Host names that are wanted, and what they stand for.
pub struct Hosts {
    look_up: fn(String) -> Looking,
    wanted: BTreeSet<String>,
    known: Resolved,
    /// To be looked up, in turn.
    waiting: VecDeque<String>,
    lookups: JoinSet<io::Result<Vec<IpAddr>>>,
    under_way: HashMap<Id, String>,
    /// When all are looked up again.
    again: Instant,
}

impl Default for Hosts {
    fn default() -> Self {
        Self::asking(system)
    }
}

impl Hosts {
    fn asking(look_up: fn(String) -> Looking) -> Self {
        Self {
            look_up,
            wanted: BTreeSet::new(),
            known: Resolved::new(),
            waiting: VecDeque::new(),
            lookups: JoinSet::new(),
            under_way: HashMap::new(),
            again: Instant::now(),
        }
    }

    /// What is known of the names; one that can't be resolved keeps its last addresses, which may be
    /// none.
    pub fn known(&self) -> &Resolved {
        &self.known
    }

    /// These are wanted from now on, and no others.
    pub fn want(&mut self, names: BTreeSet<String>) {
        self.known.retain(|name, _| names.contains(name));
        self.waiting.retain(|name| names.contains(name));
        if self.wanted.is_empty() {
            self.again = Instant::now() + RESOLVE;
        }
        self.wanted = names;
        self.ask(|known| !known);
    }

    /// Whether each name was looked up at least once.
    pub fn is_settled(&self) -> bool {
        self.known.len() == self.wanted.len()
    }

    /// Until there is something new in what is known; never, where no name is wanted. May be dropped
    /// and called again.
    pub async fn changed(&mut self) {
        loop {
            self.look();
            tokio::select! {
                Some(ended) = self.lookups.join_next_with_id() => {
                    let (id, found) = match ended {
                        Ok((id, found)) => (id, found),
                        Err(error) => (error.id(), Err(io::Error::other(error))),
                    };
                    let name = self.under_way.remove(&id);
                    if name.is_some_and(|name| self.take(name, found)) {
                        return;
                    }
                }
                () = sleep_until(self.again), if !self.wanted.is_empty() => {
                    self.again = Instant::now() + RESOLVE;
                    self.ask(|_| true);
                }
                else => pending().await,
            }
        }
    }

    fn look(&mut self) {
        while self.lookups.len() < AT_ONCE
            && let Some(name) = self.waiting.pop_front()
        {
            let looking = (self.look_up)(name.clone());
            let task = self.lookups.spawn(async move {
                timeout(PATIENCE, looking).await.unwrap_or_else(|_| {
                    Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time"))
                })
            });
            self.under_way.insert(task.id(), name);
        }
    }

    /// Those that are known, or not, have their turn; who has it already keeps it.
    fn ask(&mut self, which: impl Fn(bool) -> bool) {
        let asked: HashSet<&String> = self.waiting.iter().chain(self.under_way.values()).collect();
        let is_due =
            |name: &&String| which(self.known.contains_key(*name)) && !asked.contains(name);
        let due: Vec<String> = self.wanted.iter().filter(is_due).cloned().collect();
        self.waiting.extend(due);
    }

    /// Takes what a lookup found; true when that is new.
    fn take(&mut self, name: String, found: io::Result<Vec<IpAddr>>) -> bool {
        if !self.wanted.contains(&name) {
            return false;
        }
        let before = self.known.get(&name);
        let now = found.unwrap_or_else(|error| {
            warn!(host = name, %error, "a workload's host name can't be resolved; its last addresses stay");
            before.cloned().unwrap_or_default()
        });
        let is_new = before != Some(&now);
        self.known.insert(name, now);
        is_new
    }
}

/// Asks the system's resolver.
fn system(name: String) -> Looking {
    Box::pin(async move {
        let found = tokio::net::lookup_host((name, 0)).await?;
        let mut ips: Vec<IpAddr> = found.map(|address| address.ip().to_canonical()).collect();
        ips.sort_unstable();
        ips.dedup();
        Ok(ips)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

    use super::*;

    /// Names that begin with `silent` have no answer, `slow` ones take a while.
    fn scripted(name: String) -> Looking {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        Box::pin(async move {
            if name.starts_with("silent") {
                pending::<()>().await;
            }
            if name.starts_with("slow") {
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
            let last = if name.starts_with("moving") { NEXT.fetch_add(1, Relaxed) } else { 9 };
            Ok(vec![IpAddr::from([10, 0, 0, last])])
        })
    }

    fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
        names.map(str::to_owned).into()
    }

    fn has(hosts: &Hosts, name: &str) -> bool {
        hosts.known().get(name).is_some_and(|found| !found.is_empty())
    }

    async fn within(hosts: &mut Hosts, seconds: u64, done: impl Fn(&Hosts) -> bool) {
        let seen = async {
            while !done(hosts) {
                hosts.changed().await;
            }
        };
        timeout(Duration::from_secs(seconds), seen).await.expect("it is known in time");
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_is_dropped_during_its_lookup_is_found_when_it_is_wanted_again() {
        let mut hosts = Hosts::asking(scripted);
        hosts.want(names(["slow"]));
        assert!(timeout(Duration::from_secs(1), hosts.changed()).await.is_err());
        hosts.want(names([]));
        hosts.want(names(["slow"]));
        within(&mut hosts, 2, |hosts| has(hosts, "slow")).await;
        // So too where nobody listened while it ended.
        hosts.want(names(["slow-2"]));
        assert!(timeout(Duration::from_secs(1), hosts.changed()).await.is_err());
        hosts.want(names([]));
        assert!(timeout(Duration::from_secs(5), hosts.changed()).await.is_err());
        hosts.want(names(["slow-2"]));
        within(&mut hosts, 3, |hosts| has(hosts, "slow-2")).await;
    }

    #[tokio::test(start_paused = true)]
    async fn names_without_an_answer_keep_no_other_waiting() {
        let mut hosts = Hosts::asking(scripted);
        let mut all: BTreeSet<String> = (0..2 * AT_ONCE).map(|n| format!("silent-{n}")).collect();
        all.insert("web".into());
        hosts.want(all.clone());
        // Updates that come all the time set no lookup back.
        for round in 0..20 {
            all.insert(format!("silent-new-{round}"));
            hosts.want(all.clone());
            let listening = async {
                loop {
                    hosts.changed().await;
                }
            };
            let _: Result<(), _> = timeout(Duration::from_secs(1), listening).await;
        }
        assert!(has(&hosts, "web"));
        hosts.want(names(["silent-0", "web"]));
        within(&mut hosts, 30, Hosts::is_settled).await;
        assert!(!has(&hosts, "silent-0"));
    }

    #[tokio::test(start_paused = true)]
    async fn names_are_looked_up_again_and_forgotten_when_nobody_wants_them() {
        let mut hosts = Hosts::asking(scripted);
        hosts.want(names(["moving", "web"]));
        within(&mut hosts, 1, Hosts::is_settled).await;
        let before = hosts.known().clone();
        within(&mut hosts, 31, |hosts| *hosts.known() != before).await;
        assert_eq!(hosts.known()["web"], before["web"]);
        hosts.want(names(["web"]));
        assert!(!hosts.known().contains_key("moving"));
    }

    #[tokio::test]
    async fn the_systems_resolver_is_asked() {
        let mut hosts = Hosts::default();
        hosts.want(names(["localhost"]));
        within(&mut hosts, 20, |hosts| has(hosts, "localhost")).await;
        assert!(hosts.known()["localhost"].iter().all(IpAddr::is_loopback));
    }
}
