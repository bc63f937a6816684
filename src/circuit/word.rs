//! The circuit's state in one word, so that it changes in one step.
//!
//! Bits 0-1 phase, 2-7 how often it reopened, 8-15 probes under way, 16-63 the end of the open time
//! in milliseconds since the process started. All zero is closed.

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
    pub reopened: u8,
    pub probes: u8,
    until_ms: u64,
}

impl Word {
    pub const CLOSED: u64 = 0;

    pub fn open(until_us: u64, reopened: u8) -> Self {
        Self {
            phase: Phase::Open,
            reopened: reopened.min(63),
            probes: 0,
            until_ms: until_us / 1000,
        }
    }

    pub fn until_us(self) -> u64 {
        self.until_ms * 1000
    }

    /// True when another probe may go out.
    pub fn has_room(self, probes: u8, now_us: u64) -> bool {
        match self.phase {
            Phase::Closed => true,
            Phase::Open => self.until_us() <= now_us,
            Phase::HalfOpen => self.probes < probes,
        }
    }

    pub fn with_probe(self) -> Self {
        let probes = if self.phase == Phase::HalfOpen { self.probes } else { 0 };
        Self { phase: Phase::HalfOpen, probes: probes.saturating_add(1), ..self }
    }

    pub fn without_probe(self) -> Self {
        Self { probes: self.probes.saturating_sub(1), ..self }
    }
}

impl From<u64> for Word {
    fn from(bits: u64) -> Self {
        let phase = match bits & 3 {
            0 => Phase::Closed,
            1 => Phase::Open,
            _ => Phase::HalfOpen,
        };
        let [low, probes, ..] = bits.to_le_bytes();
        Self { phase, reopened: low >> 2, probes, until_ms: bits >> 16 }
    }
}

impl From<Word> for u64 {
    fn from(word: Word) -> Self {
        let phase = match word.phase {
            Phase::Closed => 0,
            Phase::Open => 1,
            Phase::HalfOpen => 2,
        };
        word.until_ms << 16 | u64::from(word.probes) << 8 | u64::from(word.reopened) << 2 | phase
    }
}
