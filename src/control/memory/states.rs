//! How callers' sidecars find the endpoints of services, as long as their sessions last.
//!
//! A sidecar names the services that it uses, and of each only the endpoints that are not simply
//! ready; those that it uses no longer are forgotten. Within a number of bytes: beyond it whoever
//! holds the most gives something up, so that nobody who names much takes anything from others.
//! What one of many says of an endpoint is shown as what it says, and counts for no more.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::part::{self, Endpoints};
use super::report::{ALLOCATION, State, Unready};
use super::shares::Shares;

#[derive(Debug)]
struct Teller {
    /// An identity.
    owner: Arc<str>,
    workload: Arc<str>,
    services: HashMap<Arc<str>, Endpoints>,
    /// When it said anything last, in milliseconds since 1970.
    at_ms: i64,
    bytes: usize,
}

/// What all of them say, by session.
#[derive(Debug)]
pub struct States {
    tellers: HashMap<u64, Teller>,
    shares: Shares,
}

/// What one sidecar says of a service.
#[derive(Clone, Debug)]
pub struct Told {
    /// `name.namespace`.
    pub by: Arc<str>,
    /// `name.namespace:port`.
    pub service: Arc<str>,
    pub unready: Vec<(SocketAddr, State)>,
}

impl States {
    pub fn new(budget: usize) -> Self {
        Self { tellers: HashMap::new(), shares: Shares::of(budget) }
    }

    pub fn bytes(&self) -> usize {
        self.shares.bytes()
    }

    pub fn left_out(&self) -> u64 {
        self.shares.left_out()
    }

    /// Takes what a session says over what it said before.
    pub fn take(
        &mut self,
        session: u64,
        (owner, workload): (&Arc<str>, &Arc<str>),
        all: Vec<Unready>,
        now_ms: i64,
    ) {
        if let Some(of) = self.tellers.get_mut(&session).filter(|_| !all.is_empty()) {
            of.at_ms = now_ms;
        }
        for Unready { service, mut endpoints, is_used } in all {
            // Who says two things of one endpoint says the worse.
            endpoints.sort_unstable_by_key(|&(address, state)| (address, Reverse(state)));
            endpoints.dedup_by_key(|(address, _)| *address);
            self.change(session, &service, None);
            if is_used {
                self.enter(session, owner, workload, now_ms);
                self.change(session, &service, Some(endpoints.into()));
            }
        }
        self.leave_if_silent(session);
        if self.shares.bytes() > self.shares.budget() {
            self.shrink();
        }
    }

    fn enter(&mut self, session: u64, owner: &Arc<str>, workload: &Arc<str>, at_ms: i64) {
        if self.tellers.contains_key(&session) {
            return;
        }
        let bytes = teller(owner, workload);
        let (owner, workload) = (Arc::clone(owner), Arc::clone(workload));
        self.shares.take(&owner, bytes);
        let services = HashMap::new();
        self.tellers.insert(session, Teller { owner, workload, services, at_ms, bytes });
    }

    /// Puts something in the place of what a session said of a service, or nothing.
    fn change(&mut self, session: u64, service: &Arc<str>, endpoints: Option<Endpoints>) {
        let Some(of) = self.tellers.get_mut(&session) else { return };
        let more = endpoints.as_ref().map_or(0, |endpoints| size(service, endpoints));
        let before = match endpoints {
            Some(endpoints) => of.services.insert(Arc::clone(service), endpoints),
            None => of.services.remove(service),
        };
        let less = before.map_or(0, |before| size(service, &before));
        of.bytes = of.bytes + more - less;
        self.shares.take(&of.owner, more);
        self.shares.give_back(&of.owner, less);
    }

    /// Makes some room, so that the next few need not: the largest teller of the largest owner gives
    /// up a quarter, until there is enough.
    fn shrink(&mut self) {
        let enough = self.shares.budget() - self.shares.budget() / 16;
        while self.shares.bytes() > enough {
            let Some(owner) = self.shares.largest() else { return };
            let theirs = self.tellers.iter().filter(|(_, of)| of.owner == owner);
            let Some((&session, of)) = theirs.max_by_key(|(_, of)| of.bytes) else { return };
            let many = of.services.len().div_ceil(4);
            let doomed: Vec<Arc<str>> = of.services.keys().take(many).cloned().collect();
            for service in doomed {
                self.change(session, &service, None);
                self.shares.leave_out(1);
            }
            self.leave_if_silent(session);
        }
    }

    fn leave_if_silent(&mut self, session: u64) {
        if self.tellers.get(&session).is_some_and(|of| of.services.is_empty()) {
            self.forget(session);
        }
    }

    /// A session ended.
    pub fn forget(&mut self, session: u64) {
        let Some(of) = self.tellers.remove(&session) else { return };
        self.shares.give_back(&of.owner, of.bytes);
        if self.tellers.capacity() > 4 * (self.tellers.len() + 64) {
            self.tellers.shrink_to_fit();
            self.shares.shrink_to_fit();
        }
    }

    /// Who says what; in no order.
    pub fn tellers(&self) -> Vec<part::Teller> {
        let teller = |of: &Teller| part::Teller {
            owner: Arc::clone(&of.owner),
            workload: Arc::clone(&of.workload),
            at_ms: of.at_ms,
            services: of.services.iter().map(|(s, all)| (Arc::clone(s), Arc::clone(all))).collect(),
        };
        self.tellers.values().map(teller).collect()
    }
}

/// What is said of services that `wanted` holds for.
pub fn told(tellers: &[&part::Teller], wanted: impl Fn(&str) -> bool) -> Vec<Told> {
    let mut all = Vec::new();
    for of in tellers {
        let services = of.services.iter().filter(|(service, _)| wanted(service));
        all.extend(services.map(|(service, endpoints)| Told {
            by: Arc::clone(&of.workload),
            service: Arc::clone(service),
            unready: endpoints.to_vec(),
        }));
    }
    all
}

/// How more than half of those who use a service find each of its endpoints, where that is not
/// ready: who is half-open is not found ejected, and who is ejected not half-open either.
pub fn prevailing(tellers: &[&part::Teller]) -> HashMap<(Arc<str>, SocketAddr), State> {
    let mut users: HashMap<&Arc<str>, usize> = HashMap::new();
    let mut said: HashMap<(&Arc<str>, SocketAddr), [usize; 2]> = HashMap::new();
    for (service, endpoints) in tellers.iter().flat_map(|of| &of.services) {
        *users.entry(service).or_default() += 1;
        for &(address, state) in endpoints.iter() {
            let [half_open, ejected] = said.entry((service, address)).or_default();
            *ejected += usize::from(state == State::Ejected);
            *half_open += usize::from(state >= State::HalfOpen);
        }
    }
    let prevails = |((service, address), [half_open, ejected]): (_, [usize; 2])| {
        let users = users.get(service).copied().unwrap_or_default();
        let state = match () {
            () if 2 * ejected > users => State::Ejected,
            () if 2 * half_open > users => State::HalfOpen,
            () => return None,
        };
        Some(((Arc::clone(service), address), state))
    };
    said.into_iter().filter_map(prevails).collect()
}

fn size(service: &str, endpoints: &[(SocketAddr, State)]) -> usize {
    2 * std::mem::size_of::<(Arc<str>, Endpoints)>()
        + service.len()
        + std::mem::size_of_val(endpoints)
        + 2 * ALLOCATION
}

/// With its place among the owners, which it may share.
fn teller(owner: &str, workload: &str) -> usize {
    2 * std::mem::size_of::<(u64, Teller)>()
        + 2 * std::mem::size_of::<(Arc<str>, usize)>()
        + owner.len()
        + workload.len()
        + 2 * ALLOCATION
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unready(service: &str, states: &[(u16, State)]) -> Unready {
        let endpoint = |&(port, state): &(u16, State)| (([10, 0, 0, 1], port).into(), state);
        let endpoints = states.iter().map(endpoint).collect();
        Unready { service: service.into(), endpoints, is_used: true }
    }

    fn of(states: &States, port: u16) -> Option<State> {
        let tellers = states.tellers();
        let tellers: Vec<&part::Teller> = tellers.iter().collect();
        prevailing(&tellers).get(&("s".into(), ([10, 0, 0, 1], port).into())).copied()
    }

    fn services(states: &States) -> usize {
        states.tellers().iter().map(|of| of.services.len()).sum()
    }

    #[test]
    fn the_newest_counts_and_goes_with_its_session() {
        let mut states = States::new(1 << 20);
        let who: Arc<str> = "w.a".into();
        states.take(
            1,
            (&who, &who),
            vec![unready("s", &[(1, State::Ejected)]), unready("t", &[])],
            1,
        );
        assert_eq!(of(&states, 1), Some(State::Ejected));
        assert_eq!(
            told(&states.tellers().iter().collect::<Vec<_>>(), |service| service == "s").len(),
            1
        );
        states.take(1, (&who, &who), vec![unready("s", &[])], 1);
        assert_eq!((of(&states, 1), services(&states)), (None, 2));
        let left = |service: &str| Unready { is_used: false, ..unready(service, &[]) };
        states.take(1, (&who, &who), vec![left("t"), left("never-used")], 1);
        assert_eq!(services(&states), 1);
        states.take(1, (&who, &who), vec![left("s")], 1);
        assert_eq!((states.bytes(), states.shares.owners(), states.tellers.len()), (0, 0, 0));
        states.take(1, (&who, &who), vec![unready("s", &[])], 1);
        states.forget(1);
        assert_eq!((states.bytes(), states.shares.owners()), (0, 0));
    }

    #[test]
    fn what_fewer_than_half_say_does_not_prevail() {
        let mut states = States::new(1 << 20);
        let who: Arc<str> = "w.a".into();
        let said = [
            &[(1, State::Ejected), (2, State::Ejected)][..],
            &[(1, State::Ejected), (2, State::HalfOpen), (3, State::Connecting)],
            &[(1, State::Connecting), (3, State::Connecting)],
        ];
        for (session, said) in (1..).zip(said) {
            states.take(session, (&who, &who), vec![unready("s", said), unready("t", said)], 1);
        }
        let all = [1, 2, 3].map(|port| of(&states, port));
        assert_eq!(all, [Some(State::Ejected), Some(State::HalfOpen), None]);
        states.take(4, (&who, &who), vec![unready("s", &[(3, State::Ejected); 9])], 1);
        assert_eq!(of(&states, 3), None, "however often one says it");
        assert_eq!([1, 2].map(|port| of(&states, port)), [None, None], "two of four are no more");
    }

    #[test]
    fn a_flood_takes_nothing_from_others() {
        let mut states = States::new(20_000);
        let honest: Arc<str> = "honest".into();
        states.take(0, (&honest, &honest), vec![unready("s", &[(1, State::Ejected)])], 1);
        for session in 1..1000 {
            let many = (0..20).map(|n| unready(&format!("s-{n}"), &[(1, State::Ejected)]));
            states.take(session, (&"flood".into(), &"w".into()), many.collect(), 1);
            assert!(states.bytes() <= 20_000);
        }
        assert!(states.left_out() > 900);
        assert_eq!(of(&states, 1), Some(State::Ejected), "the honest one is still heard");
        (0..1000).for_each(|session| states.forget(session));
        assert_eq!((states.bytes(), states.shares.owners()), (0, 0));
    }
}
