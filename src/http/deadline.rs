//! How long a request may still take: read from the caller, only ever reduced, passed on.
//!
//! gRPC says it in `grpc-timeout`, everybody else in `x-outrigger-deadline-ms`; both are relative,
//! so that clocks need not agree.

use std::cell::RefCell;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};

use super::headers::{DEADLINE, GRPC_TIMEOUT, Seen};

/// What the caller allows, if it says so; the shorter of the two where both are there. A value that
/// can't be read is no limit, as gRPC servers have it.
pub fn read(headers: &HeaderMap, seen: Seen) -> Option<Duration> {
    let grpc = seen.has(Seen::GRPC_TIMEOUT).then(|| headers.get(GRPC_TIMEOUT)).flatten();
    let own = seen.has(Seen::DEADLINE).then(|| headers.get(DEADLINE)).flatten();
    let grpc = grpc.and_then(|value| parse_grpc(value.as_bytes()));
    let own = own.and_then(|value| value.to_str().ok()?.parse().ok()).map(Duration::from_millis);
    match (grpc, own) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Writes what is left into the header, or headers, that the request came with.
pub fn write(headers: &mut HeaderMap, seen: Seen, left: Duration) {
    if seen.has(Seen::GRPC_TIMEOUT) {
        headers.insert(GRPC_TIMEOUT, format_grpc(left));
    }
    let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1);
    headers.insert(DEADLINE, decimal(millis));
}

thread_local! {
    /// The last one that was written. A rule with a limit says the same to nearly every request:
    /// what it allows, less the first millisecond.
    static LAST: RefCell<(u64, HeaderValue)> = const { RefCell::new((0, HeaderValue::from_static("0"))) };
}

fn decimal(millis: u64) -> HeaderValue {
    LAST.with_borrow_mut(|(of, value)| {
        if *of != millis {
            (*of, *value) = (millis, HeaderValue::from(millis));
        }
        value.clone()
    })
}

/// `TimeoutValue TimeoutUnit`: at most eight digits and one of `H M S m u n`.
fn parse_grpc(text: &[u8]) -> Option<Duration> {
    let (&unit, digits) = text.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(value * 3600),
        b'M' => Duration::from_secs(value * 60),
        b'S' => Duration::from_secs(value),
        b'm' => Duration::from_millis(value),
        b'u' => Duration::from_micros(value),
        b'n' => Duration::from_nanos(value),
        _ => return None,
    })
}

/// The finest unit whose number fits in eight digits.
fn format_grpc(left: Duration) -> HeaderValue {
    const FITS: u128 = 100_000_000;
    let (value, unit) = match left {
        left if left.as_micros() < FITS => (left.as_micros(), 'u'),
        left if left.as_millis() < FITS => (left.as_millis(), 'm'),
        left => (u128::from(left.as_secs()).min(FITS - 1), 'S'),
    };
    HeaderValue::from_str(&format!("{value}{unit}"))
        .unwrap_or_else(|_| HeaderValue::from_static("99999999S"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_timeouts_are_read_and_written() {
        for (text, expected) in [
            ("1S", Some(Duration::from_secs(1))),
            ("100m", Some(Duration::from_millis(100))),
            ("2H", Some(Duration::from_secs(7200))),
            ("99999999n", Some(Duration::from_nanos(99_999_999))),
            ("123456789m", None),
            ("m", None),
            ("-1S", None),
            ("1x", None),
            ("", None),
        ] {
            assert_eq!(parse_grpc(text.as_bytes()), expected, "{text}");
        }
        for (left, text) in [
            (Duration::from_millis(100), "100000u"),
            (Duration::from_secs(500), "500000m"),
            (Duration::from_secs(7_200_000), "7200000S"),
        ] {
            assert_eq!(format_grpc(left), text);
        }
    }

    #[test]
    fn the_shorter_limit_counts() {
        let mut headers = HeaderMap::new();
        headers.insert(GRPC_TIMEOUT, HeaderValue::from_static("2S"));
        headers.insert(DEADLINE, HeaderValue::from_static("1500"));
        let seen = Seen::scan(&headers);
        assert_eq!(read(&headers, seen), Some(Duration::from_millis(1500)));
        write(&mut headers, seen, Duration::from_millis(20));
        assert_eq!(headers[GRPC_TIMEOUT], "20000u");
        assert_eq!(headers[DEADLINE], "20");
    }
}
