//! What was found about tokens, by the SHA-256 of the token: neither a token nor a secret is kept.
//!
//! Sharded, so that workers seldom meet, and bounded by entries and by bytes: of two generations the
//! older one goes when the younger is full, and what is used meanwhile moves over. Only what an issuer
//! has vouched for or was asked about gets in, so that made-up tokens push nobody out.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::fault::Trouble;
use super::issuer::Verified;

/// Arbitrary: 4,096 to 8,192 tokens, or 4 to 8 MiB of them.
const SHARDS: usize = 16;
const ENTRIES: usize = 256;
const BYTES: usize = 256 << 10;

pub type Hash = [u8; 32];

/// What was found.
#[derive(Clone, Debug)]
pub enum Found {
    Right(Arc<Verified>),
    /// For so long, in seconds since 1970.
    Wrong {
        trouble: Trouble,
        kept: Range<u64>,
    },
}

#[derive(Debug, Default)]
pub struct Cache {
    shards: [Mutex<Shard>; SHARDS],
}

#[derive(Debug, Default)]
struct Shard {
    young: HashMap<Hash, Found>,
    bytes: usize,
    old: HashMap<Hash, Found>,
}

impl Cache {
    pub fn find(&self, hash: &Hash) -> Option<Found> {
        let mut shard = self.shard(hash);
        if let Some(found) = shard.young.get(hash) {
            return Some(found.clone());
        }
        let found = shard.old.remove(hash)?;
        shard.keep(*hash, found.clone());
        Some(found)
    }

    pub fn keep(&self, hash: Hash, found: Found) {
        self.shard(&hash).keep(hash, found);
    }

    fn shard(&self, hash: &Hash) -> MutexGuard<'_, Shard> {
        let shard = &self.shards[usize::from(hash[31]) % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    fn keep(&mut self, hash: Hash, found: Found) {
        let weight = found.weight();
        let is_full = self.young.len() >= ENTRIES || self.bytes + weight > BYTES;
        if is_full && !self.young.is_empty() {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
        self.old.remove(&hash);
        self.bytes += weight;
        if let Some(before) = self.young.insert(hash, found) {
            self.bytes -= before.weight();
        }
    }
}

impl Found {
    fn weight(&self) -> usize {
        match self {
            Found::Right(verified) => verified.weight,
            Found::Wrong { .. } => 64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(nth: usize) -> Hash {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&nth.to_le_bytes());
        hash[31] = nth as u8;
        hash
    }

    #[test]
    fn it_is_bounded_and_what_is_used_stays() {
        let cache = Cache::default();
        let found = || Found::Wrong { trouble: Trouble::Inactive, kept: 0..2 };
        for nth in 0..100_000 {
            cache.keep(hash(nth), found());
            assert!(cache.find(&hash(0)).is_some(), "it is used all the time: {nth}");
        }
        let kept = (0..100_000).filter(|nth| {
            let shard = cache.shard(&hash(*nth));
            shard.young.contains_key(&hash(*nth)) || shard.old.contains_key(&hash(*nth))
        });
        let kept = kept.count();
        assert!((SHARDS * ENTRIES..=2 * SHARDS * ENTRIES).contains(&kept), "{kept}");
    }
}
