//! A ring of hashes (Karger 1997; ketama): each endpoint owns points all around it, as many as its
//! weight says, and a key belongs to the first point after it.
//!
//! How many points an endpoint has must not depend on how many endpoints there are, or each that
//! comes or goes would move the keys of all others. So the lightest gets 512 to 1,023 (shares then
//! differ by some 4 %), by a factor that is a power of two: it changes only when the lightest or
//! the whole ring becomes half or twice as large, and then half of the points stay.

use super::affinity::Member;
use super::hash;

/// Points of the lightest endpoint, at least.
const LIGHTEST: f64 = 512.0;
/// Points of a ring: 3 MiB, sorted within 20 ms. With more than 512 alike endpoints each has fewer.
const MOST: f64 = 262_144.0;

/// Who owns each point, by its rank among `members`, and where the points are.
pub(super) fn points(members: &[Member]) -> (Box<[u32]>, Box<[u64]>) {
    let scale = scale(members);
    let mut ring: Vec<(u64, u32)> = (0..)
        .zip(members)
        .flat_map(|(rank, member)| {
            let count = (f64::from(member.weight) * scale).max(1.0) as u64;
            (0..count).map(move |index| (hash::nth(member.id, index), rank))
        })
        .collect();
    ring.sort_unstable();
    let (points, owners): (Vec<u64>, Vec<u32>) = ring.into_iter().unzip();
    (owners.into(), points.into())
}

/// Points for a weight of 1: a power of two.
fn scale(members: &[Member]) -> f64 {
    let weights = || members.iter().map(|member| f64::from(member.weight));
    let (lightest, sum) = (weights().fold(f64::INFINITY, f64::min), weights().sum::<f64>());
    let mut scale = 1.0;
    while lightest * scale < LIGHTEST {
        scale *= 2.0;
    }
    while sum * scale > MOST {
        scale /= 2.0;
    }
    scale
}
