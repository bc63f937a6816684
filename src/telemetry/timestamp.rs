//! RFC 3339 times in UTC with milliseconds, written without allocation.
//! The text of a second is kept, so that a busy writer only replaces three digits an entry.
//! The access log holds one [`Timestamps`] per worker; the program's log makes one per line.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// 9999-12-31T23:59:59Z, the last second that RFC 3339 can write.
const LAST_SECOND: u64 = 253_402_300_799;

/// Formats times, remembering the last second.
#[derive(Debug)]
pub struct Timestamps {
    second: u64,
    text: [u8; 24],
}

impl Default for Timestamps {
    fn default() -> Self {
        Self { second: 0, text: *b"1970-01-01T00:00:00.000Z" }
    }
}

impl Timestamps {
    /// `time` as `2026-11-21T22:00:00.123Z`; a time before 1970 or after 9999 is clamped.
    pub fn rfc3339(&mut self, time: SystemTime) -> &str {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let second = since.as_secs().min(LAST_SECOND);
        if second != self.second {
            self.second = second;
            self.write_second(second);
        }
        digits(&mut self.text[20..23], u64::from(since.subsec_millis()));
        str::from_utf8(&self.text).expect("only ASCII digits and punctuation are written")
    }

    fn write_second(&mut self, second: u64) {
        let (year, month, day) = civil(second / 86_400);
        let of_day = second % 86_400;
        digits(&mut self.text[0..4], year);
        digits(&mut self.text[5..7], month);
        digits(&mut self.text[8..10], day);
        digits(&mut self.text[11..13], of_day / 3_600);
        digits(&mut self.text[14..16], of_day / 60 % 60);
        digits(&mut self.text[17..19], of_day % 60);
    }
}

/// Year, month and day of a day counted from 1970-01-01: Howard Hinnant's `civil_from_days`,
/// without its negative half.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468; // from 0000-03-01, so that a leap day ends its year
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

fn digits(into: &mut [u8], mut number: u64) {
    for digit in into.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants() {
        // Reference: `date -u -d @<seconds>`.
        let table = [
            (0, 0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, 999, "2000-02-28T23:59:59.999Z"),
            (951_782_400, 1, "2000-02-29T00:00:00.001Z"),
            (951_868_800, 0, "2000-03-01T00:00:00.000Z"),
            (1_709_164_800, 20, "2024-02-29T00:00:00.020Z"),
            (1_735_689_599, 500, "2024-12-31T23:59:59.500Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000Z"),
            (1_795_298_400, 123, "2026-11-21T22:00:00.123Z"),
            (LAST_SECOND, 0, "9999-12-31T23:59:59.000Z"),
            (LAST_SECOND + 1, 0, "9999-12-31T23:59:59.000Z"),
        ];
        let mut kept = Timestamps::default();
        for (second, millis, text) in table {
            let time = UNIX_EPOCH + Duration::from_secs(second) + Duration::from_millis(millis);
            assert_eq!(kept.rfc3339(time), text);
            assert_eq!(Timestamps::default().rfc3339(time), text);
        }
    }

    #[test]
    fn going_back_and_before_the_epoch() {
        let mut kept = Timestamps::default();
        kept.rfc3339(UNIX_EPOCH + Duration::from_secs(86_400));
        assert_eq!(kept.rfc3339(UNIX_EPOCH), "1970-01-01T00:00:00.000Z");
        assert_eq!(kept.rfc3339(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000Z");
    }
}
