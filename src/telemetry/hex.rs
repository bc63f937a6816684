//! Fixed-width hexadecimal numbers, without allocation: the only encoding of trace headers, and of
//! trace ids in the access log. A number is as many digits as its place has, no sign, no prefix.

/// The number that `digits` spell, in lower case only.
pub fn read_lower(digits: &[u8]) -> Option<u128> {
    read(digits, |digit| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    })
}

/// The number that `digits` spell, in either case.
pub fn read_any(digits: &[u8]) -> Option<u128> {
    read(digits, |digit| (digit as char).to_digit(16).map(|value| value as u8))
}

/// The callers check the width: at most 32 digits.
fn read(digits: &[u8], one: impl Fn(u8) -> Option<u8>) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| Some(number << 4 | u128::from(one(*digit)?)))
}

/// Fills `into` with the low digits of `number`.
pub fn write(into: &mut [u8], mut number: u128) {
    for digit in into.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}
