//! A hash that every sidecar computes alike: across processes, restarts, versions and machines.
//!
//! XXH64 (Collet, the public specification), because it is fast on short keys and has vectors to be
//! checked by. The standard library's hashers promise nothing beyond one process. No shield against
//! callers who look for collisions: a key only chooses an endpoint, and all must choose alike.

const P1: u64 = 0x9E37_79B1_85EB_CA87;
const P2: u64 = 0xC2B2_AE3D_27D4_EB4F;
const P3: u64 = 0x1656_67B1_9E37_79F9;
const P4: u64 = 0x85EB_CA77_C2B2_AE63;
const P5: u64 = 0x27D4_EB2F_1656_67C5;

/// XXH64 of `bytes`.
pub fn xxh64(bytes: &[u8], seed: u64) -> u64 {
    let (stripes, rest) = bytes.as_chunks::<32>();
    let mut hash = if stripes.is_empty() { seed.wrapping_add(P5) } else { merged(stripes, seed) };
    hash = hash.wrapping_add(bytes.len() as u64);
    let (words, rest) = rest.as_chunks::<8>();
    for word in words {
        hash ^= round(0, u64::from_le_bytes(*word));
        hash = hash.rotate_left(27).wrapping_mul(P1).wrapping_add(P4);
    }
    let (halves, rest) = rest.as_chunks::<4>();
    for half in halves {
        hash ^= u64::from(u32::from_le_bytes(*half)).wrapping_mul(P1);
        hash = hash.rotate_left(23).wrapping_mul(P2).wrapping_add(P3);
    }
    for &byte in rest {
        hash ^= u64::from(byte).wrapping_mul(P5);
        hash = hash.rotate_left(11).wrapping_mul(P1);
    }
    hash = (hash ^ hash >> 33).wrapping_mul(P2);
    hash = (hash ^ hash >> 29).wrapping_mul(P3);
    hash ^ hash >> 32
}

/// Four sums over the stripes, in one.
fn merged(stripes: &[[u8; 32]], seed: u64) -> u64 {
    let mut sums = [
        seed.wrapping_add(P1).wrapping_add(P2),
        seed.wrapping_add(P2),
        seed,
        seed.wrapping_sub(P1),
    ];
    for stripe in stripes {
        let (words, _) = stripe.as_chunks::<8>();
        for (sum, word) in sums.iter_mut().zip(words) {
            *sum = round(*sum, u64::from_le_bytes(*word));
        }
    }
    let turned = sums.iter().zip([1, 7, 12, 18]).map(|(sum, by)| sum.rotate_left(by));
    let hash = turned.fold(0, u64::wrapping_add);
    sums.iter().fold(hash, |hash, &sum| (hash ^ round(0, sum)).wrapping_mul(P1).wrapping_add(P4))
}

fn round(sum: u64, word: u64) -> u64 {
    sum.wrapping_add(word.wrapping_mul(P2)).rotate_left(31).wrapping_mul(P1)
}

/// The `index`-th of the numbers that belong to `id`: SplitMix64 (Steele, Lea, Flood 2014).
pub fn nth(id: u64, index: u64) -> u64 {
    let z = id.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ z >> 31
}

/// A hash as a place in `0..bound`, evenly.
pub fn place(hash: u64, bound: usize) -> usize {
    ((u128::from(hash) * bound as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_vectors_hold() {
        assert_eq!(xxh64(b"", 0), 0xEF46_DB37_51D8_E999);
        assert_eq!(xxh64(b"a", 0), 0xD24E_C4F1_A98C_6E5B);
        assert_eq!(xxh64(b"abc", 0), 0x44BC_2CF5_AD77_0999);
        assert_eq!(xxh64(b"xxhash", 20_141_025), 0xB559_B98D_844E_0635);
        let longer = b"Nobody inspects the spammish repetition";
        assert_eq!(xxh64(longer, 0), 0xFBCE_A83C_8A37_8BF1);
    }

    #[test]
    fn numbers_of_an_id_are_splitmix() {
        // The first outputs of the reference generator seeded with 0 and 1234567.
        assert_eq!(nth(0, 0), 0xE220_A839_7B1D_CDAF);
        let seeded = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973];
        assert_eq!([nth(1_234_567, 0), nth(1_234_567, 1)], seeded);
    }
}
