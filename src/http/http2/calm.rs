//! What costs a peer little and us much, and how much of it is borne.

use super::error::Broken;
use super::frame::Code;

/// Rises with each offence, and sinks with what is of use and with time: a peer that is merely unlucky,
/// however long, is not cut off.
#[derive(Debug)]
pub struct Offences {
    level: u32,
    /// Borne at once, and forgiven each second.
    most: u32,
    /// Until when the time that went by is taken into account.
    at_us: u64,
}

impl Offences {
    pub fn of(most: u32) -> Self {
        Self { level: 0, most, at_us: 0 }
    }

    pub fn add(&mut self, count: u32, now_us: u64) {
        let passed = now_us.saturating_sub(self.at_us);
        let forgiven = (u128::from(passed) * u128::from(self.most) / 1_000_000) as u64;
        self.at_us += forgiven * 1_000_000 / u64::from(self.most);
        self.forgive(u32::try_from(forgiven).unwrap_or(u32::MAX));
        self.level = self.level.saturating_add(count);
    }

    pub fn forgive(&mut self, count: u32) {
        self.level = self.level.saturating_sub(count);
    }

    /// # Errors
    /// There were too many.
    pub fn bear(&self, why: &'static str) -> Result<(), Broken> {
        calm(self.level <= self.most, why)
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
        const AT_ONCE: u32 = 1_000;
        let mut offences = Offences::of(AT_ONCE);
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
