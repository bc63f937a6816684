//! What costs a peer little and us much, and how much of it is borne.

use super::error::Broken;
use super::frame::Code;

/// So many at once, more than what the peer does of use.
const AT_ONCE: u32 = 1_000;
/// Forgiven with time: a peer that is merely unlucky, however long, is not cut off.
const A_SECOND: u64 = 1_000;

/// Rises with each offence, and sinks with time and with what is of use.
#[derive(Debug, Default)]
pub struct Offences {
    level: u32,
    /// Until when the time that went by is taken into account.
    at_us: u64,
}

impl Offences {
    pub fn add(&mut self, count: u32, now_us: u64) {
        let passed = now_us.saturating_sub(self.at_us);
        let forgiven = (passed as u128 * u128::from(A_SECOND) / 1_000_000) as u64;
        self.at_us += forgiven * 1_000_000 / A_SECOND;
        self.forgive(u32::try_from(forgiven).unwrap_or(u32::MAX));
        self.level = self.level.saturating_add(count);
    }

    pub fn forgive(&mut self, count: u32) {
        self.level = self.level.saturating_sub(count);
    }

    /// # Errors
    /// There were too many.
    pub fn bear(&self, why: &'static str) -> Result<(), Broken> {
        calm(self.level <= AT_ONCE, why)
    }
}

pub fn calm(is_calm: bool, why: &'static str) -> Result<(), Broken> {
    match is_calm {
        true => Ok(()),
        false => Err(Broken::Protocol(Code::ENHANCE_YOUR_CALM, why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_at_once_are_not_borne_and_as_many_over_time_are() {
        let mut offences = Offences::default();
        let now_us = 3_600_000_000;
        for _ in 0..AT_ONCE {
            offences.add(1, now_us);
            assert!(offences.bear("").is_ok());
        }
        offences.add(1, now_us);
        assert!(offences.bear("").is_err_and(|broken| broken.is_flood()));
        offences.forgive(1);
        assert!(offences.bear("").is_ok());
        // One every millisecond is borne, however little time goes by between two looks.
        let now_us = now_us + 10_000_000;
        for nth in 0..10 * u64::from(AT_ONCE) {
            offences.add(u32::from(nth % 4 == 0), now_us + nth * 250);
            assert!(offences.bear("").is_ok(), "{nth}");
        }
        // One every half a millisecond is not.
        let later = now_us + 60_000_000;
        for nth in 0..4 * u64::from(AT_ONCE) {
            offences.add(1, later + nth * 500);
        }
        assert!(offences.bear("").is_err());
    }
}
