//! API keys: whoever has one is known by its name.
//!
//! A key is hashed and compared with all, in a time that does not depend on which it is like.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use http::{HeaderMap, HeaderName};

use super::fault::Trouble;
use crate::resources::access_policy::ApiKeys;

/// The keys of one policy.
#[derive(Debug)]
pub struct KeySet {
    pub header: HeaderName,
    keys: Box<[(Arc<str>, [u8; 32])]>,
}

/// A key that is known.
pub type KnownKey = (Arc<str>, [u8; 32]);

impl KeySet {
    pub fn of(written: &ApiKeys) -> Self {
        let keys = written.sha256.iter().map(|(name, hash)| (name.as_str().into(), *hash));
        Self { header: written.header.clone(), keys: keys.collect() }
    }

    fn find(&self, hash: &[u8; 32]) -> Option<KnownKey> {
        let mut found = None;
        for (name, of) in &self.keys {
            if verify_slices_are_equal(of, hash).is_ok() {
                found = Some((Arc::clone(name), *of));
            }
        }
        found
    }

    /// Whether a key that was known is so still.
    pub fn has(&self, name: &str, hash: &[u8; 32]) -> bool {
        self.keys.iter().any(|(of, is)| **of == *name && is == hash)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|(name, _)| &**name)
    }
}

/// Whoever a request's key is of; `None`: it has none. Policies may name the same header, and then a
/// key of any of them counts.
///
/// # Errors
/// Why it is not taken, and the place of the policy that asks for it.
pub fn find(sets: &[KeySet], headers: &HeaderMap) -> Result<Option<KnownKey>, (Trouble, usize)> {
    let mut known: Option<KnownKey> = None;
    for (nth, set) in sets.iter().enumerate() {
        if sets[..nth].iter().any(|before| before.header == set.header) {
            continue;
        }
        let mut values = headers.get_all(&set.header).iter();
        let Some(value) = values.next() else { continue };
        if values.next().is_some() || known.is_some() {
            return Err((Trouble::SeveralKeys, nth));
        }
        let hash = digest(&SHA256, value.as_bytes());
        let hash = hash.as_ref().try_into().map_err(|_| (Trouble::UnknownKey, nth))?;
        let all = sets[nth..].iter().filter(|other| other.header == set.header);
        // Each set is looked through, whether or not one before has it.
        let found = all.fold(None, |found, other| other.find(&hash).or(found));
        known = Some(found.ok_or((Trouble::UnknownKey, nth))?);
    }
    Ok(known)
}
