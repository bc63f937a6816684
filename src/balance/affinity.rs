//! The same key to the same endpoint, in every sidecar.
//!
//! A table is a row of places, each owned by an endpoint; a key's hash leads to one, and when its
//! owner can't take the request the next places are asked in turn, so that all sidecars agree on
//! the second best too. What a table is made of is only what all of them know alike: workload,
//! address and weight of each endpoint, in an order that these give and no list does.
//! Zones and warm-up have no say here: a key that moved with them would be no affinity.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::candidates::Candidates;
use super::{hash, maglev, ring};
use crate::model::Endpoint;

/// An endpoint, as far as tables go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Member {
    pub id: u64,
    pub weight: u32,
}

/// How a hash leads to a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Ring,
    Maglev,
}

#[derive(Debug)]
pub(super) struct Affinity {
    method: Method,
    /// As the endpoints are listed: a table may go on as long as these are the same.
    members: Box<[Member]>,
    /// Indices of the endpoints, in the order that all sidecars have.
    order: Box<[u32]>,
    /// The index of the endpoint that owns each place.
    owners: Box<[u32]>,
    /// Where each place of a ring is; empty for Maglev.
    points: Box<[u64]>,
}

impl Affinity {
    /// The table of `before`, if it is for the same endpoints, or a new one.
    pub fn compile(
        method: Method,
        endpoints: &[Arc<Endpoint>],
        before: Option<&Arc<Affinity>>,
    ) -> Arc<Self> {
        let members: Box<[Member]> = endpoints.iter().map(|endpoint| member(endpoint)).collect();
        let is_same = |b: &&Arc<Affinity>| b.method == method && b.members == members;
        let fresh = || Arc::new(Self::new(method, members.clone()));
        before.filter(is_same).map_or_else(fresh, Arc::clone)
    }

    fn new(method: Method, members: Box<[Member]>) -> Self {
        let mut order: Box<[u32]> = (0..members.len() as u32).collect();
        order.sort_by_key(|&index| members[index as usize]);
        let ordered: Vec<Member> = order.iter().map(|&index| members[index as usize]).collect();
        let (mut owners, points) = match method {
            _ if ordered.is_empty() => Default::default(),
            Method::Ring => ring::points(&ordered),
            Method::Maglev => (maglev::fill(&ordered), Box::default()),
        };
        for owner in &mut owners {
            *owner = order[*owner as usize];
        }
        Self { method, members, order, owners, points }
    }

    /// The first endpoint from the hash's place on that may take the request.
    pub fn pick<'a, R: Fn(&Endpoint) -> bool>(
        &self,
        hash: u64,
        candidates: &Candidates<'a, '_, R>,
    ) -> Option<&'a Arc<Endpoint>> {
        if self.owners.is_empty() {
            return None;
        }
        let usable = |owner: &u32| candidates.may_take(candidates.at(*owner));
        // The places would name every endpoint in the end, and most of them over and over: after
        // as many as name each some four times, the rest is asked one by one.
        let places = from(&self.owners, self.place(hash)).take(4 * self.order.len());
        let rest = from(&self.order, hash::place(hash, self.order.len())).take(self.order.len());
        let owner = distinct(places).find(usable).or_else(|| { rest }.find(usable));
        owner.map(|owner| candidates.at(owner))
    }

    fn place(&self, hash: u64) -> usize {
        match self.method {
            Method::Ring => self.points.partition_point(|&point| point < hash),
            Method::Maglev => hash::place(hash, self.owners.len()),
        }
    }
}

/// The row from a place on, and round again.
fn from(row: &[u32], place: usize) -> impl Iterator<Item = u32> {
    let (before, after) = row.split_at(place.min(row.len()));
    after.iter().chain(before).copied()
}

/// Leaves out who was named just before.
fn distinct(owners: impl Iterator<Item = u32>) -> impl Iterator<Item = u32> {
    let mut last = None;
    owners.filter(move |&owner| last.replace(owner) != Some(owner))
}

fn member(endpoint: &Endpoint) -> Member {
    let workload = hash::xxh64(endpoint.workload.as_bytes(), 0);
    Member { id: of_address(endpoint.address, workload), weight: endpoint.weight }
}

fn of_address(address: SocketAddr, seed: u64) -> u64 {
    hash::xxh64(&address.port().to_be_bytes(), of_ip(address.ip(), seed))
}

/// An IPv4 address hashes alike in either notation.
pub(super) fn of_ip(ip: IpAddr, seed: u64) -> u64 {
    match ip.to_canonical() {
        IpAddr::V4(v4) => hash::xxh64(&v4.octets(), seed),
        IpAddr::V6(v6) => hash::xxh64(&v6.octets(), seed),
    }
}
