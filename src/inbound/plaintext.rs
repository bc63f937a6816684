//! Who was let in without proving who it is.
//!
//! Noted once a connection, by the client's address and the app's port; told to the control plane,
//! and shown by a page. Bounded: what was long ago leaves first, and when nothing was, newcomers
//! are counted and not named.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::model::PlaintextCaller;
use crate::runtime::clock::as_us;

/// Addresses and ports that are remembered. Arbitrary.
const MOST: usize = 1024;
/// For how long.
const KEPT: Duration = Duration::from_secs(3600);

/// One process's, shared by its workers: a lock once a plaintext connection.
#[derive(Debug, Default)]
pub struct Plaintext {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    callers: HashMap<(IpAddr, u16), Times>,
    /// Connections of others, since they were last taken.
    left_out: u64,
}

#[derive(Clone, Copy, Debug)]
struct Times {
    connections: u64,
    first_us: u64,
    last_us: u64,
    /// Not told yet.
    is_news: bool,
}

impl Plaintext {
    /// Somebody was let in.
    pub fn note(&self, address: IpAddr, port: u16, now_us: u64) {
        let mut state = self.lock();
        let at = (address.to_canonical(), port);
        if state.callers.len() >= MOST && !state.callers.contains_key(&at) {
            state.forget(now_us);
            if state.callers.len() >= MOST {
                state.left_out += 1;
                return;
            }
        }
        let fresh = Times { connections: 0, first_us: now_us, last_us: now_us, is_news: true };
        let times = state.callers.entry(at).or_insert(fresh);
        times.connections += 1;
        times.last_us = now_us;
        times.is_news = true;
    }

    /// Up to so many of whom was not told yet, or of all of the last hour when it is told anew; and
    /// how many connections were not noted since this was last asked.
    pub fn take(&self, anew: bool, most: usize, now_us: u64) -> (Vec<PlaintextCaller>, u64) {
        let mut state = self.lock();
        state.forget(now_us);
        if anew {
            state.callers.values_mut().for_each(|times| times.is_news = true);
        }
        let news = state.callers.iter_mut().filter(|(_, times)| times.is_news).take(most);
        let told = news.map(|(at, times)| {
            times.is_news = false;
            caller(*at, times, now_us)
        });
        let told = told.collect();
        (told, std::mem::take(&mut state.left_out))
    }

    /// Those of the last hour, by port and address.
    pub fn all(&self, now_us: u64) -> Vec<PlaintextCaller> {
        let mut state = self.lock();
        state.forget(now_us);
        let mut all: Vec<PlaintextCaller> =
            state.callers.iter().map(|(at, times)| caller(*at, times, now_us)).collect();
        drop(state);
        all.sort_by_key(|caller| (caller.port, caller.address));
        all
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn forget(&mut self, now_us: u64) {
        let kept_us = as_us(KEPT);
        self.callers.retain(|_, times| now_us.saturating_sub(times.last_us) <= kept_us);
    }
}

fn caller((address, port): (IpAddr, u16), times: &Times, now_us: u64) -> PlaintextCaller {
    let ago = |at_us: u64| Duration::from_micros(now_us.saturating_sub(at_us));
    let (first, last) = (ago(times.first_us), ago(times.last_us));
    PlaintextCaller { address, port, connections: times.connections, first, last }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn ip(n: usize) -> IpAddr {
        IpAddr::from([10, 0, (n / 250) as u8, (n % 250) as u8])
    }

    #[test]
    fn what_changed_is_taken_once_and_anew_when_asked() {
        let plaintext = Plaintext::default();
        plaintext.note(ip(1), 80, SECOND);
        plaintext.note("::ffff:10.0.0.1".parse().expect("an address"), 80, 3 * SECOND);
        plaintext.note(ip(1), 81, 3 * SECOND);
        let (mut told, left_out) = plaintext.take(false, 10, 5 * SECOND);
        told.sort_by_key(|caller| caller.port);
        let (first, last) = (Duration::from_secs(4), Duration::from_secs(2));
        let expected = PlaintextCaller { address: ip(1), port: 80, connections: 2, first, last };
        assert_eq!((told.len(), told[0], left_out), (2, expected, 0));
        assert_eq!(plaintext.take(false, 10, 5 * SECOND).0, []);
        plaintext.note(ip(1), 81, 6 * SECOND);
        assert_eq!(plaintext.take(false, 10, 6 * SECOND).0.len(), 1);
        assert_eq!(plaintext.take(true, 1, 6 * SECOND).0.len(), 1);
        assert_eq!(plaintext.take(false, 10, 6 * SECOND).0.len(), 1, "what had no room is next");
        let hour = 3600 * SECOND;
        assert_eq!(plaintext.all(hour + 3 * SECOND).len(), 2);
        assert_eq!(plaintext.all(hour + 4 * SECOND).len(), 1);
        assert_eq!(plaintext.take(true, 10, hour + 7 * SECOND).0, []);
    }

    #[test]
    fn it_is_bounded_and_what_was_long_ago_makes_room() {
        let plaintext = Plaintext::default();
        (0..MOST + 5).for_each(|n| plaintext.note(ip(n), 80, SECOND));
        plaintext.note(ip(0), 80, 2 * SECOND);
        let (told, left_out) = plaintext.take(false, MOST * 2, 2 * SECOND);
        assert_eq!((told.len(), left_out), (MOST, 5));
        assert_eq!(plaintext.take(false, 1, 2 * SECOND).1, 0);
        plaintext.note(ip(MOST), 80, 3602 * SECOND);
        let left: Vec<u16> = plaintext.all(3602 * SECOND).iter().map(|c| c.port).collect();
        assert_eq!(left.len(), 2, "the one that came again, and the newcomer");
    }
}
