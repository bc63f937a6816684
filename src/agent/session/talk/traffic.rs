//! What the session says of the workload's traffic, as often as the control plane wants to hear it.
//!
//! Counts are what the metrics hold beyond what was said, whichever session it was said in: nothing
//! is said twice. One message stays below 256 KiB; what has no room comes with the next.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::{Say, Talk};
use crate::agent::convert;
use crate::agent::session::{Ended, EndpointState, Unready};
use crate::runtime::clock::now_us;
use crate::telemetry::reporter::Room;

/// Rows and their words: with what comes beside them, below half of a message.
const ROOM: Room = Room { rows: 1000, bytes: 96 << 10 };
/// Kept requests in one message, and what they take there.
const SPANS: usize = 500;
const SPAN_BYTES: usize = 128 << 10;
/// Services and endpoints whose states are in one message.
const SERVICES: usize = 200;
const ENDPOINTS: usize = 500;

/// How often it says so while it drains.
const LAST: Duration = Duration::from_secs(1);

/// What was said in this session, and when it is time again.
#[derive(Default)]
pub struct Told {
    every: Duration,
    due: Option<Instant>,
    endpoints: HashMap<Arc<str>, Vec<(std::net::SocketAddr, EndpointState)>>,
    /// Whether anything was said to be open; absent: nothing was said in this session.
    open: Option<bool>,
}

impl Talk {
    /// The control plane wants to hear of it so often; zero: never.
    pub(super) fn asked_for_traffic(&mut self, every: Duration) {
        // Who lost it together comes back together.
        let first = every.mul_f64(self.rng.unit());
        self.told.due = (!every.is_zero()).then(|| Instant::now() + first);
        self.told.every = every;
    }

    /// The process is about to end: nobody else can say what became of its last requests.
    pub(super) fn tell_soon(&mut self) {
        if self.told.due.is_some() {
            self.told.every = self.told.every.min(LAST);
            self.told.due = Some(Instant::now());
        }
    }

    /// Says what became of the traffic, if it is time and there is news.
    pub(super) fn traffic(&mut self) -> Result<(), Ended> {
        let now = Instant::now();
        if self.told.due.is_none_or(|due| due > now) {
            return Ok(());
        }
        self.told.due = Some(now + self.told.every);
        let signals = &self.agent.hooks.signals;
        let report = signals.reporter.borrow_mut().take(ROOM, now_us());
        let mut traffic = convert::traffic(&report, SystemTime::now());
        let all = (signals.endpoints)();
        let gone = self.told.gone(&all);
        let news = self.told.news(all, SERVICES - gone.len());
        let gone = gone.iter().map(|service| convert::unused(service));
        traffic.endpoints = gone.chain(news.iter().map(convert::endpoint_states)).collect();
        let spans = (signals.spans.borrow_mut())(SPANS, SPAN_BYTES);
        traffic.spans = spans.iter().map(|span| convert::span(span)).collect();
        // What is open is said for as long as it is, and once when it is no more: whoever was told of
        // it may be another by now.
        let was_open = self.told.open.replace(!traffic.open.is_empty());
        let is_news = was_open != Some(false)
            || !traffic.open.is_empty()
            || !traffic.requests.is_empty()
            || !traffic.latencies.is_empty()
            || !traffic.endpoints.is_empty()
            || !traffic.spans.is_empty();
        if is_news { self.say(Say::Traffic(traffic)) } else { Ok(()) }
    }
}

impl Told {
    /// Services that were said and are used no longer, as far as there is room; each once.
    fn gone(&mut self, all: &[Unready]) -> Vec<Arc<str>> {
        let used: HashSet<&str> = all.iter().map(|of| &*of.service).collect();
        let gone = self.endpoints.keys().filter(|service| !used.contains(&***service));
        let gone: Vec<Arc<str>> = gone.take(SERVICES / 2).cloned().collect();
        gone.iter().for_each(|service| drop(self.endpoints.remove(service)));
        gone
    }

    /// Services that were not said yet, or otherwise, as far as there is room.
    fn news(&mut self, all: Vec<Unready>, services: usize) -> Vec<Unready> {
        let mut room = ENDPOINTS;
        let mut news = Vec::new();
        for mut of in all {
            of.endpoints.truncate(ENDPOINTS);
            if self.endpoints.get(&of.service) == Some(&of.endpoints) {
                continue;
            }
            if news.len() >= services || of.endpoints.len() > room {
                break;
            }
            room -= of.endpoints.len();
            self.endpoints.insert(Arc::clone(&of.service), of.endpoints.clone());
            news.push(of);
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unready(service: &str, count: u16) -> Unready {
        let endpoint = |port| (([10, 0, 0, 1], port).into(), EndpointState::Ejected);
        Unready { service: service.into(), endpoints: (0..count).map(endpoint).collect() }
    }

    #[test]
    fn states_are_said_once_and_again_when_they_change() {
        let mut told = Told::default();
        let mut names = |all: Vec<Unready>| -> Vec<String> {
            let gone = told.gone(&all).into_iter().map(|service| format!("-{service}"));
            let gone: Vec<String> = gone.collect();
            let news = told.news(all, SERVICES);
            let news = news.iter().map(|of| format!("{} {}", of.service, of.endpoints.len()));
            gone.into_iter().chain(news).collect()
        };
        assert_eq!(names(vec![unready("a", 0), unready("b", 2)]), ["a 0", "b 2"]);
        assert!(names(vec![unready("a", 0), unready("b", 2)]).is_empty());
        assert_eq!(names(vec![unready("a", 1)]), ["-b", "a 1"], "who is used no longer is said");
        assert!(names(vec![unready("a", 1)]).is_empty(), "and said once");
        assert_eq!(names(vec![unready("a", 1), unready("b", 2)]), ["b 2"]);
        let mut gone = names(vec![]);
        gone.sort();
        assert_eq!(gone, ["-a", "-b"]);
        let large = || vec![unready("c", 300), unready("d", 300)];
        assert_eq!(names(large()), ["c 300"]);
        assert_eq!(names(large()), ["d 300"], "the rest comes next");
    }
}
