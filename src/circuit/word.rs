//! The circuit's state in one word, so that it changes in one step.
//!
//! Bits 0-1 phase, 2-7 how often it opened in a row, 8-15 probes under way, 16-23 probes that
//! succeeded since it is half-open, 24-63 a moment in milliseconds since the process started: the
//! end of the open time, or when it closed. All zero is closed and never opened.

use super::Turn;
use crate::model::Circuit;
use crate::runtime::clock::as_us;

/// What the circuit is in; an open one whose time is over counts as half-open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Closed,
    Open,
    HalfOpen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub phase: Phase,
    pub probes: u8,
    pub succeeded: u8,
    /// At most 63.
    pub(super) reopened: u8,
    /// At most 40 bits, which last for 34 years.
    pub(super) at_ms: u64,
}

impl Word {
    pub fn open(until_us: u64, reopened: u8) -> Self {
        let reopened = reopened.min(63);
        Self { phase: Phase::Open, probes: 0, succeeded: 0, reopened, at_ms: ms(until_us) }
    }

    /// Remembers how often it opened, for [`reopened`](Self::reopened) to judge.
    pub fn closed(self, now_us: u64) -> Self {
        Self { phase: Phase::Closed, probes: 0, succeeded: 0, at_ms: ms(now_us), ..self }
    }

    pub fn until_us(self) -> u64 {
        self.at_ms * 1000
    }

    /// The half-open time that it is in, or that comes next: none begins at the end of the same
    /// millisecond as another of the last 49 days.
    pub fn turn(self) -> Turn {
        Turn(self.at_ms as u32)
    }

    pub fn is_in(self, turn: Turn) -> bool {
        self.phase == Phase::HalfOpen && self.turn() == turn
    }

    /// How often it opened in a row: one that then stayed closed for the longest open time begins
    /// anew, so that the trouble of yesterday does not count today.
    pub fn reopened(self, policy: &Circuit, now_us: u64) -> u8 {
        let stayed_us = now_us.saturating_sub(self.at_ms * 1000);
        let is_forgotten = self.phase == Phase::Closed && stayed_us >= as_us(policy.max_open_for);
        if is_forgotten { 0 } else { self.reopened }
    }

    /// True when an attempt may go out.
    pub fn has_room(self, policy: &Circuit, now_us: u64) -> bool {
        match self.phase {
            Phase::Closed => true,
            Phase::Open => self.is_over(policy, now_us),
            // At least one, whatever happened to the policy since the others succeeded.
            Phase::HalfOpen => {
                let wanted = policy.half_open_requests.saturating_sub(self.succeeded).max(1);
                self.probes < wanted
            }
        }
    }

    /// True when an attempt may go out, and could have for so long.
    pub fn had_room(self, policy: &Circuit, now_us: u64, for_us: u64) -> bool {
        // The wait that another policy asked for was over when this one came.
        let since_us = if self.until_us() > now_us { 0 } else { self.until_us() };
        self.has_room(policy, now_us) && now_us.saturating_sub(since_us) >= for_us
    }

    /// More than the policy could ask for twice over was asked for by another one: the wait is over.
    /// (Twice, since workers' moments differ a little.)
    fn is_over(self, policy: &Circuit, now_us: u64) -> bool {
        let left_us = self.until_us().saturating_sub(now_us);
        left_us == 0 || left_us > as_us(policy.max_open_for).saturating_mul(2)
    }

    pub fn with_probe(self) -> Self {
        let before = match self.phase {
            Phase::HalfOpen => self,
            _ => Self { probes: 0, succeeded: 0, ..self },
        };
        Self { phase: Phase::HalfOpen, probes: before.probes.saturating_add(1), ..before }
    }

    pub fn without_probe(self) -> Self {
        Self { probes: self.probes.saturating_sub(1), ..self }
    }

    pub fn with_success(self) -> Self {
        Self { succeeded: self.succeeded.saturating_add(1), ..self.without_probe() }
    }
}

fn ms(moment_us: u64) -> u64 {
    (moment_us / 1000).min((1 << 40) - 1)
}

/// Without unpacking the rest.
pub(super) fn is_closed(bits: u64) -> bool {
    bits & 3 == 0
}

impl From<u64> for Word {
    fn from(bits: u64) -> Self {
        let phase = match bits & 3 {
            0 => Phase::Closed,
            1 => Phase::Open,
            _ => Phase::HalfOpen,
        };
        let [low, probes, succeeded, ..] = bits.to_le_bytes();
        Self { phase, probes, succeeded, reopened: low >> 2, at_ms: bits >> 24 }
    }
}

impl From<Word> for u64 {
    fn from(word: Word) -> Self {
        let phase = match word.phase {
            Phase::Closed => 0,
            Phase::Open => 1,
            Phase::HalfOpen => 2,
        };
        word.at_ms << 24
            | u64::from(word.succeeded) << 16
            | u64::from(word.probes) << 8
            | u64::from(word.reopened) << 2
            | phase
    }
}
