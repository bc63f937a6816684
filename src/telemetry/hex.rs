//! Fixed-width hexadecimal numbers, without allocation: the only encoding of trace headers, and of
//! trace ids in the access log. A number is as many digits as its place has, no sign, no prefix.
//!
//! By tables, a byte or a digit at a time: every request reads and writes some 150 digits.

/// What is no digit; no digit has its highest bit.
const NONE: u8 = 0x80;
const LOWER: [u8; 256] = values(b"0123456789abcdef");
const ANY: [u8; 256] = either(LOWER, values(b"0123456789ABCDEF"));
/// How each byte is written.
const WRITTEN: [[u8; 2]; 256] = written();

const fn values(digits: &[u8; 16]) -> [u8; 256] {
    let mut table = [NONE; 256];
    let mut value = 0;
    while value < 16 {
        table[digits[value] as usize] = value as u8;
        value += 1;
    }
    table
}

const fn either(mut table: [u8; 256], other: [u8; 256]) -> [u8; 256] {
    let mut digit = 0;
    while digit < 256 {
        if table[digit] == NONE {
            table[digit] = other[digit];
        }
        digit += 1;
    }
    table
}

const fn written() -> [[u8; 2]; 256] {
    let digits = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    table
}

/// The number that `digits` spell, in lower case only.
pub fn read_lower(digits: &[u8]) -> Option<u128> {
    read(digits, &LOWER)
}

/// The number that `digits` spell, in either case.
pub fn read_any(digits: &[u8]) -> Option<u128> {
    read(digits, &ANY)
}

/// The callers check the width: at most 32 digits.
fn read(digits: &[u8], values: &[u8; 256]) -> Option<u128> {
    let (mut number, mut seen) = (0, 0);
    for digit in digits {
        let value = values[*digit as usize];
        seen |= value;
        number = number << 4 | u128::from(value & 15);
    }
    (seen & NONE == 0).then_some(number)
}

/// Fills `into`, an even number of digits, with the low digits of `number`.
pub fn write(into: &mut [u8], number: u128) {
    let bytes = number.to_be_bytes();
    let low = &bytes[bytes.len() - into.len() / 2..];
    for (pair, byte) in into.chunks_exact_mut(2).zip(low) {
        pair.copy_from_slice(&WRITTEN[*byte as usize]);
    }
}
