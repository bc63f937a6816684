//! What is on record, and how far a replay of it has come: which request is which, and what is
//! wrong with one that is none of them.
//!
//! Requests are the same by who asks, method, path, query (but for limits, times and versions), type
//! and body. All of it is decided here, without waiting; `replay` speaks and waits.

use std::collections::{BTreeSet, HashSet};

use serde_json::Value;

use super::compare::{OfTheDay, StandIns, compare};
use super::transcript::{Asked, Line, Who};

pub struct Script {
    pub lines: Vec<Line>,
    of_the_day: OfTheDay,
}

#[derive(Default)]
pub struct State {
    /// Requests.
    came: HashSet<usize>,
    /// Lines that anything may follow from, and that have not come.
    awaited: BTreeSet<usize>,
    pub stand_ins: StandIns,
    pub objections: Vec<String>,
}

/// What becomes of a request.
pub enum Found {
    /// It is this one.
    Recorded(usize),
    /// It came before, and is told the same again.
    Again(usize),
    Refused(String),
}

impl State {
    /// The first line that has not come, of those that anything may follow from.
    pub fn reached(&self) -> usize {
        self.awaited.first().copied().unwrap_or(usize::MAX)
    }
}

impl Script {
    /// With nothing of it come yet.
    pub fn new(lines: Vec<Line>, of_the_day: OfTheDay) -> (Self, State) {
        let mut state = State::default();
        for (number, line) in lines.iter().enumerate() {
            match line {
                Line::About { outrigger, .. } => {
                    state.stand_ins.add(outrigger, env!("CARGO_PKG_VERSION"));
                }
                Line::Request { asked, .. } if asked.is_write() => {
                    state.awaited.insert(number);
                }
                Line::Mark(_) => drop(state.awaited.insert(number)),
                _ => {}
            }
        }
        (Self { lines, of_the_day }, state)
    }

    /// What our code asked for then, and has not asked for now.
    pub fn missing(&self, state: &State) -> Vec<String> {
        let came: HashSet<String> = self
            .requests()
            .filter(|(id, _)| state.came.contains(id))
            .map(|(_, asked)| asked.key())
            .collect();
        // A kind that is not there is looked for again by the clock.
        let is_look =
            |id, asked: &Asked| self.status(id) == Some(404) && came.contains(&asked.key());
        let is_missing = |(id, asked): &(usize, &Asked)| {
            asked.by == Who::Mesh && !state.came.contains(id) && !is_look(*id, asked)
        };
        self.requests().filter(is_missing).map(|(_, asked)| asked.to_string()).collect()
    }

    /// The scenario has come to a point of the transcript.
    pub fn mark(&self, state: &mut State, name: &str) {
        let is_it = |line: &Line| matches!(line, Line::Mark(mark) if mark == name);
        match self.lines.iter().position(is_it) {
            Some(number) => drop(state.awaited.remove(&number)),
            None => state.objections.push(format!("no mark `{name}` was recorded")),
        }
    }

    pub fn status(&self, id: usize) -> Option<u16> {
        self.lines.iter().find_map(|line| match line {
            Line::Head { to, status } if *to == id => Some(*status),
            _ => None,
        })
    }

    /// The first of what is waited for.
    pub fn awaited(&self, state: &State) -> String {
        match self.lines.get(state.reached()) {
            Some(Line::Request { asked, .. }) => asked.to_string(),
            Some(Line::Mark(name)) => format!("the scenario's mark `{name}`"),
            _ => "nothing".to_owned(),
        }
    }

    /// Takes a request for one of those recorded, the first of its key with its body.
    pub fn find(&self, state: &mut State, asked: &Asked) -> Found {
        let key = asked.key();
        let is_it = |line: &&(usize, usize, &Asked)| line.2.key() == key;
        let all: Vec<(usize, usize, &Asked)> = self.numbered().collect();
        let same: Vec<&(usize, usize, &Asked)> = all.iter().filter(is_it).collect();
        let left: Vec<_> = same.iter().filter(|(_, id, _)| !state.came.contains(id)).collect();
        if left.is_empty() {
            let again = |times| format!("it comes more often than when it was recorded ({times})");
            return match same.last() {
                Some((_, id, _)) if self.may_come_again(asked, *id) => Found::Again(*id),
                Some(_) => Found::Refused(again(same.len())),
                None => Found::Refused(self.nearest(asked)),
            };
        }
        if let Some(version) = asked.version().filter(|version| !self.has_told(version)) {
            return Found::Refused(format!("nobody was ever told of resourceVersion {version}"));
        }
        let mut why = None;
        for (number, id, recorded) in left {
            match compare(&recorded.body, &asked.body, self.of_the_day, &state.stand_ins) {
                Ok(learnt) => {
                    state.stand_ins = learnt;
                    state.came.insert(*id);
                    state.awaited.remove(number);
                    return Found::Recorded(*id);
                }
                Err(differences) => drop(why.get_or_insert(differences)),
            }
        }
        let why = why.unwrap_or_default().join("\n  ");
        Found::Refused(format!("it was recorded with another body:\n  {why}"))
    }

    /// Each with its line and its number.
    fn numbered(&self) -> impl Iterator<Item = (usize, usize, &Asked)> {
        self.lines.iter().enumerate().filter_map(|(number, line)| match line {
            Line::Request { id, asked } => Some((number, *id, asked)),
            _ => None,
        })
    }

    fn requests(&self) -> impl Iterator<Item = (usize, &Asked)> {
        self.numbered().map(|(_, id, asked)| (id, asked))
    }

    /// People look until they see what they wait for; a kind that is missing is looked for again.
    fn may_come_again(&self, asked: &Asked, id: usize) -> bool {
        let is_read = !asked.is_write();
        let by_people = asked.by == Who::People && !asked.is_watch();
        is_read && (by_people || self.status(id) == Some(404))
    }

    fn has_told(&self, version: &str) -> bool {
        self.lines
            .iter()
            .any(|line| matches!(line, Line::Part { body, .. } if holds(body, version)))
    }

    fn nearest(&self, asked: &Asked) -> String {
        let words = |asked: &Asked| -> HashSet<String> {
            asked.key().split([' ', '/', '?', '&']).map(str::to_owned).collect()
        };
        let wanted = words(asked);
        let likeness = |recorded: &Asked| {
            let words = words(recorded);
            2 * words.intersection(&wanted).count() as i64 - words.len() as i64
        };
        let nearest = self.requests().max_by_key(|(_, recorded)| likeness(recorded));
        let nearest = nearest.map_or_else(|| "none".to_owned(), |(_, asked)| asked.to_string());
        format!("it was not recorded; the nearest that was:\n  {nearest}")
    }
}

/// Whether a `resourceVersion` in it is this one.
fn holds(body: &Value, version: &str) -> bool {
    match body {
        Value::Object(all) => all.iter().any(|(key, one)| match one {
            Value::String(text) => key == "resourceVersion" && text == version,
            one => holds(one, version),
        }),
        Value::Array(all) => all.iter().any(|one| holds(one, version)),
        _ => false,
    }
}
