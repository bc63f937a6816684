//! What a server says about when to come back.
//!
//! gRPC servers say it in `grpc-retry-pushback-ms` (gRFC A6), the others in `Retry-After` (RFC 9110
//! 10.2.3): seconds, or a date in one of the three formats that HTTP ever had.

use std::time::{Duration, SystemTime};

use http::header::{HeaderMap, RETRY_AFTER};
use jiff::civil::DateTime;
use jiff::fmt::rfc2822;
use jiff::tz::Offset;

const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// A server's wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    None,
    /// Not sooner.
    After(Duration),
    Never,
}

/// The wish in an answer's headers. Where both are given gRPC's is meant for callers like us.
pub fn hint(headers: &HeaderMap, now: SystemTime) -> Hint {
    if let Some(value) = headers.get(PUSHBACK) {
        // What is no number or negative asks for no retry at all, says gRPC.
        let millis = value.to_str().ok().and_then(|text| text.trim().parse().ok());
        return millis.map_or(Hint::Never, |millis| Hint::After(Duration::from_millis(millis)));
    }
    let value = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    value.and_then(|text| retry_after(text.trim(), now)).map_or(Hint::None, Hint::After)
}

fn retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More seconds than can be counted are as good as any that are too many.
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::MAX)));
    }
    let time = date(text)?;
    Some(time.duration_since(now).unwrap_or(Duration::ZERO))
}

/// IMF-fixdate, or one of the obsolete formats that a recipient must still read (RFC 9110 5.6.7).
fn date(text: &str) -> Option<SystemTime> {
    const FIXDATE: rfc2822::DateTimeParser = rfc2822::DateTimeParser::new().relaxed_weekday(true);
    const RFC850: &str = "%A, %d-%b-%y %H:%M:%S GMT";
    const ASCTIME: &str = "%a %b %e %H:%M:%S %Y";
    let obsolete = |format| {
        let time = DateTime::strptime(format, text).ok()?;
        Offset::UTC.to_timestamp(time).ok()
    };
    let time = FIXDATE.parse_timestamp(text).ok();
    time.or_else(|| obsolete(RFC850)).or_else(|| obsolete(ASCTIME)).map(SystemTime::from)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// Sun, 06 Nov 1994 08:49:37 GMT, the standard's example.
    fn example() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)
    }

    fn read(headers: &[(&'static str, &str)]) -> Hint {
        let value = |text| HeaderValue::from_bytes(str::as_bytes(text)).expect("a value");
        let headers =
            headers.iter().map(|&(name, text)| (http::HeaderName::from_static(name), value(text)));
        hint(&headers.collect(), example() - Duration::from_secs(3))
    }

    const fn after(seconds: u64) -> Hint {
        Hint::After(Duration::from_secs(seconds))
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        for (text, expected) in [
            ("0", after(0)),
            ("2", after(2)),
            (" 2 ", after(2)),
            ("120", after(120)),
            ("99999999999999999999999", after(u64::MAX)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", after(3)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", after(3)),
            ("Sun Nov  6 08:49:37 1994", after(3)),
            ("Sun, 06 Nov 1994 08:49:30 GMT", after(0)),
            ("Mon, 06 Nov 1994 08:49:37 GMT", after(3)),
            ("Sun, 06 Nov 1994 09:49:37 GMT", after(3603)),
            ("Sun, 06 Nov 1994 25:49:37 GMT", Hint::None),
            ("-1", Hint::None),
            ("1.5", Hint::None),
            ("soon", Hint::None),
            ("", Hint::None),
            ("\u{e9}", Hint::None),
        ] {
            assert_eq!(read(&[("retry-after", text)]), expected, "{text:?}");
        }
        assert_eq!(read(&[]), Hint::None);
    }

    #[test]
    fn grpc_may_ask_for_no_retry_at_all() {
        for (text, expected) in [
            ("0", after(0)),
            ("3000", after(3)),
            ("-1", Hint::Never),
            ("soon", Hint::Never),
            ("", Hint::Never),
            ("1.5", Hint::Never),
            ("99999999999999999999999", Hint::Never),
        ] {
            let both = [("grpc-retry-pushback-ms", text), ("retry-after", "7")];
            assert_eq!(read(&both), expected, "{text:?}");
        }
    }
}
