//! Random numbers for trace and span ids: never zero, never for secrets.
//!
//! xoshiro256** (Blackman and Vigna 2018). Trace ids of all sidecars must differ, so that a state of
//! 64 bits would be too small: two of thousands of generators would come to run in step.

use std::hash::{BuildHasher, RandomState};

/// One worker's generator.
#[derive(Clone, Debug)]
pub struct Ids([u64; 4]);

impl Ids {
    /// From the system's randomness.
    pub fn from_system() -> Self {
        Self([(); 4].map(|()| RandomState::new().hash_one(std::thread::current().id())))
    }

    /// The same seed gives the same ids.
    pub fn seeded(seed: u64) -> Self {
        Self([1, 2, 3, 4].map(|n| seed.wrapping_add(n).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.0;
        let next = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        next
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn numbers_differ_between_generators_and_calls() {
        let (mut one, mut other) = (Ids::from_system(), Ids::from_system());
        let all: HashSet<u64> =
            (0..1000).flat_map(|_| [one.next_u64(), other.next_u64()]).collect();
        assert_eq!(all.len(), 2000);
    }

    #[test]
    fn bits_are_even() {
        let mut ids = Ids::seeded(7);
        let mut ones = [0u32; 64];
        for _ in 0..4096 {
            let number = ids.next_u64();
            ones.iter_mut().enumerate().for_each(|(bit, n)| *n += (number >> bit & 1) as u32);
        }
        assert!(ones.iter().all(|n| (1800..2300).contains(n)), "{ones:?}");
    }
}
