//! Maglev's table (Eisenbud 2016): every endpoint has its own order of all places, and they take
//! turns in choosing the first one that is still free.
//!
//! Shares are exact to a place in each turn, better than a ring's, and a look-up is one step; in
//! return a few keys move that needn't when an endpoint comes or goes. With weights, who has half
//! the heaviest one's weight chooses in every second turn; everyone chooses in the first, so that
//! no endpoint is without a place.

use super::affinity::Member;
use super::hash;

/// The paper's small table; a prime, so that every step through it visits all places.
pub(super) const PLACES: usize = 65_537;

const FREE: u32 = u32::MAX;

struct Chooser {
    next: usize,
    step: usize,
    /// What it saved up for its next turn.
    saved: u64,
    weight: u64,
}

/// Who owns each place, by its rank among `members`, which must not be empty. Of more members than
/// places the last own none.
pub(super) fn fill(members: &[Member]) -> Box<[u32]> {
    let heaviest = members.iter().map(|member| u64::from(member.weight)).max().unwrap_or(1);
    let mut choosers: Vec<Chooser> = members
        .iter()
        .map(|member| Chooser {
            next: hash::place(hash::nth(member.id, 0), PLACES),
            step: 1 + hash::place(hash::nth(member.id, 1), PLACES - 1),
            saved: heaviest - u64::from(member.weight),
            weight: u64::from(member.weight),
        })
        .collect();
    let mut owners = vec![FREE; PLACES].into_boxed_slice();
    let mut free = PLACES;
    loop {
        for (rank, chooser) in (0..).zip(&mut choosers) {
            chooser.saved += chooser.weight;
            if chooser.saved < heaviest {
                continue;
            }
            chooser.saved -= heaviest;
            while owners[chooser.next] != FREE {
                chooser.next = (chooser.next + chooser.step) % PLACES;
            }
            owners[chooser.next] = rank;
            free -= 1;
            if free == 0 {
                return owners;
            }
        }
    }
}
