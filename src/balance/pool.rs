//! A set of endpoints to draw from, each as often as its weight says.
//!
//! Each member owns a stretch of a line, as long as its weight. A place at random is a weighted
//! draw. Two places a random distance apart are two: each of them alone is still a weighted draw,
//! whichever of the two is kept by the toss of a coin; and when no member owns more than half of
//! the line, they are never the same one. Drawing twice on its own would either compare an endpoint
//! with itself, or, drawing until it is another one, favour the light.
//!
//! In turn, the place moves on by a stride that shares no factor with the line's length, so that a
//! round visits each place exactly once: exact shares without a table. The stride is about the
//! golden section of the line, which spreads each member's turns over the round.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::candidates::Candidates;
use crate::model::Endpoint;
use crate::runtime::clock::Rng;

/// So often an unusable draw is drawn again before every member is looked at.
const DRAWS: Range<u32> = 0..8;
/// Turns are only exact while they are waited for, so there is more patience with them.
const TURNS: Range<u32> = 0..64;

#[derive(Debug)]
pub(super) struct Pool {
    /// Indices of the endpoints.
    members: Box<[u32]>,
    /// Where the stretches end; empty when all are of length 1.
    ends: Box<[u64]>,
    /// How long the line is.
    total: u64,
    /// The least distance of a pair.
    apart: u64,
    stride: u64,
    /// Whose turn it is; shared by all workers, and with the snapshot before.
    cursor: Arc<AtomicU64>,
}

impl Pool {
    pub fn new(members: Vec<u32>, endpoints: &[Arc<Endpoint>], before: Option<&Pool>) -> Self {
        let weight = |&index: &u32| u64::from(endpoints[index as usize].weight);
        let unit = members.iter().map(weight).fold(0, gcd).max(1);
        let stretches = || members.iter().map(|member| weight(member) / unit);
        let total: u64 = stretches().sum();
        let longest = stretches().max().unwrap_or(0);
        let end = |at: &mut u64, stretch| {
            *at += stretch;
            Some(*at)
        };
        let ends = if longest > 1 { stretches().scan(0, end).collect() } else { Box::default() };
        // Sidecars that start together must not all begin with the same endpoint.
        let somewhere = || Arc::new(AtomicU64::new(Rng::from_system().next_u64() >> 32));
        Self {
            ends,
            total,
            apart: longest.min(total / 2),
            stride: stride(total),
            cursor: before.map_or_else(somewhere, |before| Arc::clone(&before.cursor)),
            members: members.into(),
        }
    }

    pub fn begin_at(&self, turn: u64) {
        self.cursor.store(turn, Relaxed);
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// One member, by weight. The pool must not be empty.
    pub fn one(&self, rng: &mut Rng) -> u32 {
        self.member(rng.below(self.total as usize) as u64)
    }

    /// Two members, each by weight; the same one only if it outweighs all others together.
    pub fn two(&self, rng: &mut Rng) -> (u32, u32) {
        let first = rng.below(self.total as usize) as u64;
        let room = self.total - 2 * self.apart + 1;
        let second = first + self.apart + rng.below(room as usize) as u64;
        // Round the end of the line; a division would cost more than the rest.
        let second = if second < self.total { second } else { second - self.total };
        (self.member(first), self.member(second))
    }

    fn member(&self, place: u64) -> u32 {
        let at = if self.ends.is_empty() {
            place as usize
        } else {
            self.ends.partition_point(|&end| end <= place)
        };
        self.members[at]
    }

    /// A usable member at random, by weight.
    pub fn random<'a, R: Fn(&Endpoint) -> bool>(
        &self,
        candidates: &Candidates<'a, '_, R>,
        rng: &mut Rng,
    ) -> Option<&'a Arc<Endpoint>> {
        if self.is_empty() {
            return None;
        }
        for _ in DRAWS {
            let endpoint = candidates.at(self.one(rng));
            if candidates.is_usable(endpoint, rng) {
                return Some(endpoint);
            }
        }
        self.any(candidates, rng)
    }

    /// The usable member whose turn it is. Who can't take its turn loses it: the next one's turn is
    /// then over too, so nobody gets two in the place of a neighbour.
    pub fn in_turn<'a, R: Fn(&Endpoint) -> bool>(
        &self,
        candidates: &Candidates<'a, '_, R>,
        rng: &mut Rng,
    ) -> Option<&'a Arc<Endpoint>> {
        if self.is_empty() {
            return None;
        }
        for _ in TURNS {
            let place = self.cursor.fetch_add(self.stride, Relaxed) % self.total;
            let endpoint = candidates.at(self.member(place));
            if candidates.is_usable(endpoint, rng) {
                return Some(endpoint);
            }
        }
        self.any(candidates, rng)
    }

    /// One of all members that may take the request, by weight as far as it is warm: each replaces
    /// the one held so far as often as its weight is in the sum of those seen.
    pub fn any<'a, R: Fn(&Endpoint) -> bool>(
        &self,
        candidates: &Candidates<'a, '_, R>,
        rng: &mut Rng,
    ) -> Option<&'a Arc<Endpoint>> {
        let (mut held, mut seen) = (None, 0.0);
        for &member in &self.members {
            let endpoint = candidates.at(member);
            if candidates.may_take(endpoint) {
                let weight = f64::from(candidates.weight(endpoint));
                seen += weight;
                if rng.unit() * seen < weight {
                    held = Some(endpoint);
                }
            }
        }
        held
    }

    /// The part of the pool's weight that is up, from 0 to 1.
    pub fn capacity<R: Fn(&Endpoint) -> bool>(&self, candidates: &Candidates<'_, '_, R>) -> f32 {
        let (mut up, mut all) = (0.0, 0.0);
        for &member in &self.members {
            let endpoint = candidates.at(member);
            all += endpoint.weight as f32;
            if (candidates.ready)(endpoint) {
                up += candidates.weight(endpoint);
            }
        }
        up / all
    }
}

/// About the golden section of `total`, and without a common factor.
fn stride(total: u64) -> u64 {
    let golden = (total as f64 * 0.618_033_988_749_895) as u64;
    (golden..).find(|&stride| gcd(stride, total) == 1).unwrap_or(1)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
