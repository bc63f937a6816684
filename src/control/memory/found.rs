//! A service's endpoints, and how callers' sidecars find each of them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::Told;
use super::directory::Endpoint;
use super::report::State;

/// Sidecars that speak of one endpoint, as far as they are shown.
const TELLERS: usize = 50;

/// An endpoint, as callers' sidecars find it.
pub struct Found {
    pub endpoint: Endpoint,
    /// By whom, the worst first.
    pub states: Vec<(Arc<str>, State)>,
}

/// Who says what of each endpoint; who uses the service and says nothing of one finds it ready.
pub fn found(endpoints: &[Endpoint], told: &[Told]) -> Vec<Found> {
    let mut unready: HashMap<(&str, SocketAddr), Vec<(usize, State)>> = HashMap::new();
    let mut tellers: HashMap<&str, Vec<usize>> = HashMap::new();
    for (teller, of) in told.iter().enumerate() {
        tellers.entry(&of.service).or_default().push(teller);
        for &(address, state) in &of.unready {
            unready.entry((&of.service, address)).or_default().push((teller, state));
        }
    }
    let by = |teller: usize| &told[teller].by;
    for said in unready.values_mut() {
        said.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| by(a.0).cmp(by(b.0))));
        said.truncate(TELLERS);
    }
    for all in tellers.values_mut() {
        all.sort_by(|a, b| by(*a).cmp(by(*b)));
    }
    let states = |of: &Endpoint| {
        let said = of.address.and_then(|address| unready.get(&(&*of.service, address)));
        let said = said.map(Vec::as_slice).unwrap_or_default();
        let all = tellers.get(&*of.service).into_iter().flatten();
        let silent = all.filter(|teller| said.iter().all(|(other, _)| other != *teller));
        let ready = silent.map(|&teller| (teller, State::Ready));
        let states = said.iter().copied().chain(ready).take(TELLERS);
        states.map(|(teller, state)| (Arc::clone(by(teller)), state)).collect()
    };
    let found = |of: &Endpoint| Found { endpoint: of.clone(), states: states(of) };
    endpoints.iter().map(found).collect()
}
