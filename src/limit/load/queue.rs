//! Who waits for a place: a short queue for each priority.
//!
//! The highest priority is next, and within it whoever came first. When there is no room, the newest
//! of the lowest priority goes, if it is lower than the newcomer's; else the newcomer does. Those of
//! high priority have more room when only they are left: nobody goes before them, so that waiting
//! costs them little, and a queue of two would shed a fifth of them by chance alone where they need
//! little more than half of the places.

use std::collections::VecDeque;

use crate::resources::rate_limit_policy::Priority;

const CLASSES: usize = Priority::ALL.len();

/// Those who wait; `W` is how one of them is reached.
#[derive(Debug)]
pub struct Queue<W> {
    /// From low to high.
    classes: [VecDeque<W>; CLASSES],
}

/// How many may wait.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    pub all: usize,
    /// Of high priority, while nobody else waits.
    pub high: usize,
}

/// Who has to go.
#[derive(Debug, PartialEq, Eq)]
pub enum Shed<W> {
    Nobody,
    /// One that waited, of this priority.
    Waiting(W, Priority),
    Newcomer(W),
}

impl<W> Default for Queue<W> {
    fn default() -> Self {
        Self { classes: Default::default() }
    }
}

impl<W> Queue<W> {
    pub fn len(&self) -> usize {
        self.classes.iter().map(VecDeque::len).sum()
    }

    /// Lets somebody wait where there is room.
    pub fn push(&mut self, one: W, priority: Priority, room: Room) -> Shed<W> {
        let at = priority as usize;
        if self.len() < room.all {
            self.classes[at].push_back(one);
            return Shed::Nobody;
        }
        let lower = self.classes[..at].iter().position(|class| !class.is_empty());
        let Some((class, shed)) = lower.and_then(|low| Some((low, self.classes[low].pop_back()?)))
        else {
            if priority != Priority::High || self.len() >= room.high {
                return Shed::Newcomer(one);
            }
            self.classes[at].push_back(one);
            return Shed::Nobody;
        };
        self.classes[at].push_back(one);
        Shed::Waiting(shed, Priority::ALL[class])
    }

    /// Whoever is next.
    pub fn pop(&mut self) -> Option<W> {
        self.classes.iter_mut().rev().find_map(VecDeque::pop_front)
    }

    /// Leaves out those who no longer wait.
    pub fn retain(&mut self, waits: impl Fn(&W) -> bool) {
        self.classes.iter_mut().for_each(|class| class.retain(|one| waits(one)));
    }
}
