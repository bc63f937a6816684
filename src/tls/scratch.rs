//! Memory of a worker's that whoever has bytes in hand borrows for a moment.

use std::cell::Cell;
use std::thread::LocalKey;

/// A place where such memory lies while nobody has it.
pub type Shelf = LocalKey<Cell<Vec<u8>>>;

/// What lies there is as large as the largest use so far, but no larger than this.
const MOST: usize = 128 * 1024;

/// Borrowed memory, and what is in it.
pub struct Scratch {
    shelf: &'static Shelf,
    bytes: Vec<u8>,
    from: usize,
    to: usize,
}

impl Scratch {
    /// What is on the shelf; somebody who has it already leaves none.
    pub fn take(shelf: &'static Shelf) -> Self {
        Self { shelf, bytes: shelf.take(), from: 0, to: 0 }
    }

    pub fn filled(&mut self) -> &mut [u8] {
        &mut self.bytes[self.from..self.to]
    }

    /// Room behind what is there, of so many bytes at least.
    pub fn room(&mut self, least: usize) -> &mut [u8] {
        if self.bytes.len() - self.to < least && self.from > 0 {
            self.bytes.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        if self.bytes.len() - self.to < least {
            self.bytes.resize(self.to + least, 0);
        }
        &mut self.bytes[self.to..]
    }

    /// So much of the room is in use now.
    pub fn fill(&mut self, count: usize) {
        self.to += count;
    }

    pub fn extend(&mut self, bytes: &[u8]) {
        self.room(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.fill(bytes.len());
    }

    /// So much of the front is done with.
    pub fn discard(&mut self, count: usize) {
        self.from += count;
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.bytes.len() <= MOST {
            self.shelf.set(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local! {
        static SHELF: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }

    #[test]
    fn what_is_in_it_stays_and_the_memory_goes_back() {
        let mut first = Scratch::take(&SHELF);
        first.extend(b"abcdef");
        first.discard(4);
        first.extend(&[7; 100]);
        let filled = first.filled();
        assert_eq!((&filled[..2], filled.len()), (&b"ef"[..], 102));
        let mut second = Scratch::take(&SHELF);
        assert!(second.filled().is_empty());
        second.extend(b"x");
        drop(second);
        first.discard(102);
        assert!(first.filled().is_empty());
        let size = first.bytes.len();
        drop(first);
        assert_eq!(Scratch::take(&SHELF).bytes.len(), size);
        let mut large = Scratch::take(&SHELF);
        large.extend(&vec![0; 2 * MOST]);
        drop(large);
        assert!(Scratch::take(&SHELF).bytes.is_empty());
    }
}
