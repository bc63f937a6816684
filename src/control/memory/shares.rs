//! What each identity takes of a memory that is bounded in bytes.
//!
//! Beyond the bound, whoever takes the most gives something up, so that nobody who says much takes
//! anything from others.

use std::collections::HashMap;
use std::sync::Arc;

#[derive(Debug)]
pub struct Shares {
    /// Those who take anything.
    owners: HashMap<Arc<str>, usize>,
    bytes: usize,
    budget: usize,
    left_out: u64,
}

impl Shares {
    pub fn of(budget: usize) -> Self {
        Self { owners: HashMap::new(), bytes: 0, budget, left_out: 0 }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn budget(&self) -> usize {
        self.budget
    }

    /// How many items were given up so far.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    pub fn leave_out(&mut self, items: usize) {
        self.left_out = self.left_out.saturating_add(items as u64);
    }

    pub fn take(&mut self, owner: &Arc<str>, bytes: usize) {
        self.bytes += bytes;
        match self.owners.get_mut(owner) {
            Some(of) => *of += bytes,
            None => drop(self.owners.insert(Arc::clone(owner), bytes)),
        }
    }

    pub fn give_back(&mut self, owner: &Arc<str>, bytes: usize) {
        let Some(of) = self.owners.get_mut(owner) else { return };
        self.bytes -= bytes;
        *of -= bytes;
        if *of == 0 {
            self.owners.remove(owner);
        }
    }

    /// Who takes the most.
    pub fn largest(&self) -> Option<Arc<str>> {
        let largest = self.owners.iter().max_by_key(|(_, bytes)| **bytes);
        largest.map(|(owner, _)| Arc::clone(owner))
    }

    /// How many take anything.
    #[cfg(test)]
    pub fn owners(&self) -> usize {
        self.owners.len()
    }

    pub fn shrink_to_fit(&mut self) {
        self.owners.shrink_to_fit();
    }
}
