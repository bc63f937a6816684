//! The Huffman code of RFC 7541, Appendix B. It is canonical: the lengths of its codes say all.
//!
//! Only read: what we write is not worth the work between two ends that are close to each other.

use std::sync::LazyLock;

/// The length in bits of each byte's code; the 30 ones of the end's code come after them all.
#[rustfmt::skip]
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

const LONGEST: usize = 30;
const SHORTEST: u32 = 5;

/// All that a text uses has a code of at most so many bits.
const COMMON: u32 = 9;

/// To find a code's byte by.
struct Codes {
    /// The byte and the length of what begins with these bits; length 0: it is longer.
    common: [(u8, u8); 1 << COMMON],
    /// Bytes, the shortest code first.
    sorted: [u8; 256],
    /// Of each length: its first code, and where that is among the sorted.
    first: [(u32, u32); LONGEST + 2],
}

static CODES: LazyLock<Codes> = LazyLock::new(|| {
    let mut codes =
        Codes { common: [(0, 0); 1 << COMMON], sorted: [0; 256], first: [(0, 0); LONGEST + 2] };
    let (mut code, mut at) = (0u32, 0u32);
    for length in 1..=LONGEST {
        code <<= 1;
        codes.first[length] = (code, at);
        for byte in (0..=u8::MAX).filter(|byte| usize::from(LENGTHS[usize::from(*byte)]) == length)
        {
            codes.sorted[at as usize] = byte;
            if let Some(free) = COMMON.checked_sub(length as u32) {
                let begin = (code << free) as usize;
                codes.common[begin..begin + (1 << free)].fill((byte, length as u8));
            }
            code += 1;
            at += 1;
        }
    }
    codes.first[LONGEST + 1] = (code << 1, at);
    codes
});

/// Appends what is coded; `None` where that is no text: a code that is none, the code of the end, or
/// an end that is not filled up with less than a byte of ones.
pub fn decode(coded: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let codes = &*CODES;
    out.reserve(coded.len() * 8 / SHORTEST as usize);
    // The next bits, left-aligned, and how many there are.
    let (mut bits, mut count) = (0u64, 0u32);
    let mut coded = coded.iter();
    loop {
        while count <= 56 {
            let Some(byte) = coded.next() else { break };
            bits |= u64::from(*byte) << (56 - count);
            count += 8;
        }
        if count < SHORTEST {
            break;
        }
        let (byte, length) = codes.common[(bits >> (64 - COMMON)) as usize];
        let (byte, length) = match length {
            0 => match long(codes, bits) {
                Some(found) => found,
                None => break,
            },
            _ => (byte, u32::from(length)),
        };
        if length > count {
            break;
        }
        out.push(byte);
        bits <<= length;
        count -= length;
    }
    // What is left is the beginning of the end's code.
    let is_filled = count < 8 && coded.next().is_none() && bits == !(u64::MAX >> count);
    is_filled.then_some(())
}

fn long(codes: &Codes, bits: u64) -> Option<(u8, u32)> {
    (COMMON as usize + 1..=LONGEST).find_map(|length| {
        let code = (bits >> (64 - length)) as u32;
        let (first, at) = codes.first[length];
        let (_, next) = codes.first[length + 1];
        let nth = code.checked_sub(first).filter(|nth| *nth < next - at)?;
        Some((codes.sorted[(at + nth) as usize], length as u32))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the code has it.
    fn encode(text: &[u8]) -> Vec<u8> {
        let codes = &*CODES;
        let mut bits = Vec::new();
        for byte in text {
            let length = usize::from(LENGTHS[usize::from(*byte)]);
            let (first, at) = codes.first[length];
            let nth = codes.sorted.iter().position(|sorted| sorted == byte).expect("all are there");
            let code = first + nth as u32 - at;
            bits.extend((0..length).rev().map(|bit| code >> bit & 1));
        }
        while !bits.len().is_multiple_of(8) {
            bits.push(1);
        }
        bits.chunks(8).map(|byte| byte.iter().fold(0, |byte, bit| byte << 1 | *bit as u8)).collect()
    }

    fn decoded(coded: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        decode(coded, &mut out).map(|()| out)
    }

    /// From RFC 7541, C.4 and C.6.
    #[test]
    fn the_examples_of_the_rfc_are_read() {
        let examples: [(&[u8], &str); 4] = [
            (
                &[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff],
                "www.example.com",
            ),
            (&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf], "no-cache"),
            (&[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf], "custom-value"),
            (&[0x64, 0x02], "302"),
        ];
        for (coded, text) in examples {
            assert_eq!(decoded(coded).as_deref(), Some(text.as_bytes()));
            assert_eq!(encode(text.as_bytes()), coded);
        }
    }

    #[test]
    fn every_byte_is_read_in_any_company() {
        for byte in 0..=u8::MAX {
            for text in [vec![byte], vec![byte; 9], vec![b'a', byte, b'~', byte, b'0']] {
                assert_eq!(decoded(&encode(&text)), Some(text));
            }
        }
    }

    #[test]
    fn what_is_no_text_is_refused() {
        // The end's code; a whole byte of filling; filled with zeroes; cut short.
        let [a, cut] = [encode(b"aaaaaaaa"), encode(&[b'a', 1])];
        assert_eq!(a.len(), 5);
        for coded in [
            vec![0xff; 4],
            [&a[..], &[0xff]].concat(),
            vec![0b0001_1000],
            cut[..cut.len() - 1].to_vec(),
        ] {
            assert_eq!(decoded(&coded), None, "{coded:?}");
        }
        assert_eq!(decoded(&[]), Some(Vec::new()));
    }
}
