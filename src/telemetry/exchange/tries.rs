//! The attempts of one request, in place: more than a few go to the heap, which few requests need.

use std::net::SocketAddr;
use std::time::Duration;

use crate::model::Reason;
use crate::telemetry::span::{Attempt, Circuit};

/// Kept in place: a request and its first retry.
const INLINE: usize = 2;

/// One attempt, by the moments of the exchange's clock.
#[derive(Clone, Copy, Debug)]
struct Try {
    endpoint: SocketAddr,
    began_us: u64,
    ended_us: Option<u64>,
    status: u16,
    reason: Option<Reason>,
    circuit: Option<Circuit>,
}

/// In the order in which they began.
#[derive(Debug, Default)]
pub struct Tries {
    first: [Option<Try>; INLINE],
    more: Vec<Try>,
}

impl Tries {
    pub fn begin(&mut self, endpoint: SocketAddr, began_us: u64, circuit: Option<Circuit>) {
        let new = Try { endpoint, began_us, ended_us: None, status: 0, reason: None, circuit };
        match self.first.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(new),
            None => self.more.push(new),
        }
    }

    /// The attempt of that number, from 1, has its answer, or none.
    pub fn end(&mut self, number: u32, now_us: u64, status: u16, reason: Option<Reason>) {
        let index = (number as usize).wrapping_sub(1);
        let ended = match self.first.get_mut(index) {
            Some(place) => place.as_mut(),
            None => self.more.get_mut(index.wrapping_sub(INLINE)),
        };
        if let Some(ended) = ended {
            (ended.ended_us, ended.status, ended.reason) = (Some(now_us), status, reason);
        }
    }

    /// Those that are still under way were given up now.
    pub fn give_up(&mut self, now_us: u64) {
        for open in self.all_mut().filter(|one| one.ended_us.is_none()) {
            open.ended_us = Some(now_us);
        }
    }

    /// When the last of those that are over ended.
    pub fn last_end_us(&self) -> Option<u64> {
        self.first.iter().flatten().chain(&self.more).filter_map(|one| one.ended_us).max()
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Try> {
        self.first.iter_mut().flatten().chain(&mut self.more)
    }

    /// As a span has them; what is still under way lasts until the end.
    pub fn spans(&self, started_us: u64, now_us: u64) -> Vec<Attempt> {
        let after = |moment: u64, other: u64| Duration::from_micros(moment.saturating_sub(other));
        let span = |one: &Try| Attempt {
            endpoint: one.endpoint,
            began: after(one.began_us, started_us),
            took: after(one.ended_us.unwrap_or(now_us), one.began_us),
            status: Some(one.status).filter(|&status| status != 0),
            reason: one.reason,
            circuit: one.circuit,
        };
        self.first.iter().flatten().chain(&self.more).map(span).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_keep_their_order_and_end_by_number() {
        let endpoint = |n: u8| SocketAddr::from(([10, 0, 0, n], 80));
        let mut tries = Tries::default();
        for n in 1..=4 {
            tries.begin(endpoint(n), 100 * u64::from(n), None);
        }
        // Hedges end in any order.
        tries.end(3, 350, 0, Some(Reason::ConnectFailure));
        tries.end(1, 120, 503, None);
        assert_eq!(tries.last_end_us(), Some(350));
        tries.give_up(500);
        tries.end(9, 1, 1, None);
        tries.end(0, 1, 1, None);
        tries.begin(endpoint(5), 600, Some(Circuit::Ignored));
        let spans = tries.spans(100, 1000);
        let facts: Vec<_> = spans
            .iter()
            .map(|a| (a.endpoint, a.began.as_micros(), a.took.as_micros(), a.status, a.reason))
            .collect();
        assert_eq!(
            facts,
            [
                (endpoint(1), 0, 20, Some(503), None),
                (endpoint(2), 100, 300, None, None),
                (endpoint(3), 200, 50, None, Some(Reason::ConnectFailure)),
                (endpoint(4), 300, 100, None, None),
                (endpoint(5), 500, 400, None, None),
            ]
        );
        assert_eq!(spans[4].circuit, Some(Circuit::Ignored));
    }
}
