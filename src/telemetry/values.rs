//! Header values that a request is given on its way: its id, its trace context.
//!
//! A value of its own would be an allocation for each. These are cut from one piece of memory after
//! the other, so that a request allocates nothing for them but its share of a piece. A piece lives as
//! long as any value of it: it is small, because a stream may hold one for hours.

use bytes::BytesMut;
use http::HeaderValue;

/// Some 14 requests' worth.
const PIECE_BYTES: usize = 2048;

/// One worker's piece of memory.
#[derive(Debug, Default)]
pub struct Values(BytesMut);

impl Values {
    /// The value.
    ///
    /// # Panics
    /// When a byte is not visible ASCII.
    pub fn value(&mut self, ascii: &[u8]) -> HeaderValue {
        if self.0.capacity() < ascii.len() {
            // In place, where nobody holds the values any more.
            self.0.reserve(ascii.len().max(PIECE_BYTES));
        }
        self.0.extend_from_slice(ascii);
        let bytes = self.0.split().freeze();
        HeaderValue::from_maybe_shared(bytes).expect("hex digits and dashes are visible ASCII")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_what_they_are() {
        let mut values = Values::default();
        let texts: Vec<String> = (0..500).map(|n| format!("{n:036}")).collect();
        let kept: Vec<HeaderValue> = texts.iter().map(|t| values.value(t.as_bytes())).collect();
        for (text, value) in texts.iter().zip(&kept) {
            assert_eq!(value, text);
        }
        drop(kept);
        let long = "x".repeat(3 * PIECE_BYTES);
        assert_eq!(values.value(long.as_bytes()), long);
    }
}
