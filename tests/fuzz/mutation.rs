//! Makes inputs of kept ones: bytes changed, cut out, doubled, and joined with another's.

/// Bytes that mean something in what is read here.
const MEANING: &[u8] =
    b"\r\n\t \0:;,=%/.\\{}[]\"'-_&*!|>#?@~0123456789aAfFxX\x16\x03\x01\xff\x7f\x80";

pub struct Mutator<'a> {
    kept: &'a [Vec<u8>],
    state: u64,
}

impl<'a> Mutator<'a> {
    pub fn new(kept: &'a [Vec<u8>]) -> Self {
        Self { kept, state: 0x9e37_79b9_7f4a_7c15 }
    }

    /// An input that is close to this one.
    pub fn from(&mut self, input: &[u8]) -> Vec<u8> {
        let mut made = input.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(made.len() + 1);
            let end = at + self.below((made.len() - at).min(32) + 1);
            match self.below(6) {
                0 => made.insert(at, self.byte()),
                1 if at < made.len() => made[at] = self.byte(),
                2 => drop(made.drain(at..end)),
                3 => {
                    let piece = made[at..end].to_vec();
                    made.splice(at..at, piece);
                }
                4 => made.truncate(at),
                _ => {
                    let other = &self.kept[self.below(self.kept.len())];
                    let begin = self.below(other.len() + 1);
                    let piece = other[begin..].to_vec();
                    made.splice(at..end, piece);
                }
            }
            made.truncate(64 * 1024);
        }
        made
    }

    fn byte(&mut self) -> u8 {
        if self.below(2) == 0 { MEANING[self.below(MEANING.len())] } else { self.below(256) as u8 }
    }

    /// Below `bound`, which is more than 0 (splitmix64).
    fn below(&mut self, bound: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as usize % bound
    }
}
