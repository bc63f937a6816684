//! `/api/*`: what the mesh's memory knows, as JSON for the dashboard and for whoever else asks.
//!
//! Under the same guard as every page, and read-only. Answers are of all replicas of the control
//! plane, and name those that did not say what they know. Those about many services are kept for a
//! second: however many look at once, the mesh is put together once, and the others wait for it.

mod graph;
mod health;
mod service;
mod traces;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant, SystemTime};

use http::StatusCode;
use serde_json::{Value, json};

use super::View;
use crate::control::api::Newest;
use crate::control::memory::part::{Asked as Replica, Worth};
use crate::control::memory::{Filter, Observer, trace_id};
use crate::http::answers::{self, Answer};
use crate::http::percent;

/// How long an answer counts as new, and how many are kept.
const FRESH: Duration = Duration::from_secs(1);
const KEPT: usize = 64;
/// Rows of one list in an answer. What a service calls and is called by is hardly ever more.
const ROWS: usize = 500;

/// Seconds that numbers are about unless somebody asks for others.
const WINDOW_S: u32 = 60;
const MINUTES: u32 = 30;

/// What the answers are made from.
pub struct Api {
    observer: Arc<Observer>,
    standings: Newest,
    kept: Mutex<HashMap<String, Arc<Answered>>>,
}

/// An answer and when it was made; whoever makes it holds it.
type Answered = Mutex<Option<(Instant, Option<Arc<Value>>)>>;

impl Api {
    pub fn new(observer: Arc<Observer>) -> Self {
        Self { observer, standings: Newest::default(), kept: Mutex::default() }
    }

    /// The answer of less than a second ago, or another.
    fn fresh(&self, of: String, make: impl FnOnce() -> Option<Value>) -> Option<Arc<Value>> {
        let Some(answered) = self.answered(of) else { return make().map(Arc::new) };
        let mut answered = answered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, value)) = answered.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return value.clone();
        }
        let value = make().map(Arc::new);
        *answered = Some((Instant::now(), value.clone()));
        value
    }

    /// Where an answer is kept; `None`: there are too many others.
    fn answered(&self, of: String) -> Option<Arc<Answered>> {
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is being made is held, and new.
        let is_fresh = |of: &Answered| match of.try_lock() {
            Ok(of) => of.as_ref().is_some_and(|(at, _)| at.elapsed() < FRESH),
            Err(TryLockError::WouldBlock) => true,
            Err(TryLockError::Poisoned(_)) => false,
        };
        all.retain(|name, answered| *name == of || is_fresh(answered));
        if all.len() >= KEPT && !all.contains_key(&of) {
            return None;
        }
        Some(Arc::clone(all.entry(of).or_default()))
    }
}

/// The answer to a path below `/api`.
pub fn answer(view: &View, path: &str, query: Option<&str>) -> Answer {
    let (api, now) = (&view.api, SystemTime::now());
    let asked = match Asked::of(query.unwrap_or_default()) {
        Ok(asked) => asked,
        Err(sentence) => return answers::text(StatusCode::BAD_REQUEST, sentence),
    };
    let observer = &api.observer;
    let made = match path {
        "/api/graph" => {
            let window_s = asked.window_s;
            api.fresh(format!("graph {window_s}"), || Some(graph::graph(observer, window_s, now)))
        }
        "/api/services" => {
            let window_s = asked.window_s;
            let make = || Some(graph::services(observer, window_s, now));
            api.fresh(format!("services {window_s}"), make)
        }
        "/api/service" => {
            let Some(name) = asked.words.get("name") else {
                return answers::text(
                    StatusCode::BAD_REQUEST,
                    "say which: /api/service?name=web.default\n",
                );
            };
            let of = format!("service {name} {} {}", asked.window_s, asked.minutes);
            let made = api.fresh(of, || service::service(view, name, &asked, now));
            let Some(made) = made else {
                let doubt = observer.sidecars(now).worth().doubt();
                let sentence = format!(
                    "nobody is called {name}, and nobody of that name called within half an \
                     hour{doubt}\n"
                );
                return answers::text(StatusCode::NOT_FOUND, sentence);
            };
            Some(made)
        }
        "/api/traces" => Some(Arc::new(traces::traces(observer, &asked.filter(), now))),
        "/api/trace" => {
            let Some(id) = asked.words.get("id").and_then(|id| trace_id(id)) else {
                let sentence = "say which: /api/trace?id= and 32 hexadecimal digits\n";
                return answers::text(StatusCode::BAD_REQUEST, sentence);
            };
            match traces::trace(observer, id, now) {
                Ok(made) => Some(Arc::new(made)),
                Err(worth) => {
                    let doubt = worth.doubt();
                    let sentence = format!("nothing was kept of trace {id:032x}{doubt}\n");
                    return answers::text(StatusCode::NOT_FOUND, sentence);
                }
            }
        }
        "/api/certificates" => Some(Arc::new(health::certificates(view, now))),
        "/api/health" => Some(Arc::new(health::health(view, now))),
        _ => None,
    };
    made.map_or_else(answers::unknown, |made| answers::json(&made))
}

/// Whose knowledge an answer is made of.
fn replicas(worth: &Worth) -> Value {
    let replica = |Replica { replica, address, silence }: &Replica| json!({"replica": &**replica, "address": address, "silence": silence});
    worth.replicas.iter().map(replica).collect()
}

/// The first of a list, and how many are left out.
fn cut<T>(list: &mut Vec<T>) -> usize {
    let left_out = list.len().saturating_sub(ROWS);
    list.truncate(ROWS);
    left_out
}

/// What a query says.
struct Asked {
    words: HashMap<String, String>,
    window_s: u32,
    minutes: u32,
    slower_than_us: u64,
}

impl Asked {
    fn of(query: &str) -> Result<Self, String> {
        let words: HashMap<String, String> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), decoded(value)))
            .collect();
        let number = |name: &str, range: std::ops::RangeInclusive<u32>, otherwise: u32| {
            let Some(text) = words.get(name).filter(|text| !text.is_empty()) else {
                return Ok(otherwise);
            };
            let number = text.parse().ok().filter(|number| range.contains(number));
            let (first, last) = (range.start(), range.end());
            number.ok_or_else(|| format!("{name}: expected a number from {first} to {last}\n"))
        };
        let window_s = number("window", 10..=1800, WINDOW_S)?;
        let minutes = number("minutes", 1..=30, MINUTES)?;
        number("limit", 1..=500, 50)?;
        let slower_than_us = match words.get("slowerThanMs").filter(|text| !text.is_empty()) {
            Some(text) => millis(text).ok_or("slowerThanMs: expected a number from 0\n")?,
            None => 0,
        };
        Ok(Self { window_s, minutes, slower_than_us, words })
    }

    fn filter(&self) -> Filter {
        let word = |name: &str| self.words.get(name).filter(|text| !text.is_empty());
        let number = |name| word(name).and_then(|text| text.parse::<u64>().ok());
        Filter {
            service: word("service").cloned(),
            failed: word("failed").is_some_and(|text| text == "true" || text == "1"),
            slower_than_us: self.slower_than_us,
            limit: number("limit").map_or(50, |limit| limit as usize),
        }
    }
}

/// Milliseconds as microseconds; `0.5` is 500.
fn millis(text: &str) -> Option<u64> {
    let millis = text.parse::<f64>().ok().filter(|millis| millis.is_finite() && *millis >= 0.0)?;
    Some((millis * 1000.0).round() as u64)
}

/// `+` is a blank in a query.
fn decoded(text: &str) -> String {
    let bytes = percent::bytes(text.as_bytes());
    let bytes: Vec<u8> =
        bytes.map(|(byte, escaped)| if byte == b'+' && !escaped { b' ' } else { byte }).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use super::*;
    use crate::control::catalog::Catalog;
    use crate::control::memory::Memory;
    use crate::control::plaintext::Plaintext;
    use crate::model::TrustDomain;

    fn api() -> Api {
        let memory = Arc::new(Memory::new(1 << 20, "one", SystemTime::now()));
        let catalog = Arc::new(Catalog::new(TrustDomain::default(), 1, &[]));
        let plaintext = Arc::new(Plaintext::new(SystemTime::now()));
        let sessions = Arc::default();
        Api::new(Arc::new(Observer { memory, catalog, sessions, plaintext, others: None }))
    }

    #[test]
    fn what_is_slow_may_be_a_part_of_a_millisecond() {
        let slower = |text: &str| Asked::of(&format!("slowerThanMs={text}"));
        for (text, us) in [("", 0), ("0", 0), ("0.5", 500), ("1.25", 1250), ("250", 250_000)] {
            let asked = slower(text).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!(asked.filter().slower_than_us, us, "{text}");
        }
        for text in ["-1", "x", "NaN", "inf"] {
            assert!(slower(text).is_err(), "{text}");
        }
    }

    #[test]
    fn who_look_at_once_see_one_answer_that_is_made_once() {
        let (api, made, all) = (api(), AtomicUsize::new(0), Barrier::new(8));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    all.wait();
                    let make = || Some(Value::from(made.fetch_add(1, SeqCst)));
                    assert_eq!(api.fresh("graph".to_owned(), make).as_deref(), Some(&0.into()));
                });
            }
        });
        assert_eq!(made.into_inner(), 1);
        for n in 0..2 * KEPT {
            let value = api.fresh(format!("service {n}"), || Some(n.into()));
            assert_eq!(value.as_deref(), Some(&n.into()));
        }
        assert!(api.kept.lock().expect("sound").len() <= KEPT);
    }
}
