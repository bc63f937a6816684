//! Percent-encoding (RFC 3986 section 2.1), read without copying.

/// The bytes that `written` stands for, and whether each was escaped. A `%` that begins no escape
/// stands for itself, as one that was not.
pub fn bytes(written: &[u8]) -> impl Iterator<Item = (u8, bool)> {
    let mut rest = written;
    std::iter::from_fn(move || {
        let (&first, after) = rest.split_first()?;
        if first == b'%'
            && let Some(byte) = octet(after)
        {
            rest = &after[2..];
            return Some((byte, true));
        }
        rest = after;
        Some((first, false))
    })
}

/// The text that `written` stands for; `None` where an escape is broken, or it is no UTF-8.
pub fn text(written: &str) -> Option<String> {
    let byte = |(byte, escaped): (u8, bool)| (byte != b'%' || escaped).then_some(byte);
    let bytes = bytes(written.as_bytes()).map(byte).collect::<Option<Vec<u8>>>()?;
    String::from_utf8(bytes).ok()
}

fn octet(after: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*after.get(at)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn escapes_are_told_from_what_stands_for_itself() {
        for (written, read) in [
            ("a%20b", vec![(b'a', false), (b' ', true), (b'b', false)]),
            ("%2B+", vec![(b'+', true), (b'+', false)]),
            ("%c3%Bc", vec![(0xc3, true), (0xbc, true)]),
            ("%4", vec![(b'%', false), (b'4', false)]),
            ("%+1", vec![(b'%', false), (b'+', false), (b'1', false)]),
            ("%25", vec![(b'%', true)]),
            ("", vec![]),
        ] {
            assert_eq!(super::bytes(written.as_bytes()).collect::<Vec<_>>(), read, "{written}");
        }
    }
}
