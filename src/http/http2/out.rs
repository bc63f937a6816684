//! What a connection has to write: one buffer, which the connections of a worker lend each other.

use std::cell::Cell;

use super::UNWRITTEN;

/// Of what is written out, a connection keeps no more than this for the next.
const KEPT: usize = 2 * UNWRITTEN;

thread_local! {
    /// What some connection of this worker has written out, for the next that writes.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

#[derive(Default)]
pub struct Out {
    /// To be written, from `written` on.
    bytes: Vec<u8>,
    written: usize,
    /// What was written before these.
    gone: u64,
}

impl Out {
    /// Where to put what is to be written.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = SPARE.take();
        }
        &mut self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn unwritten(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    /// Where what comes next begins, counted from the connection's first byte.
    pub fn position(&self) -> u64 {
        self.gone + self.bytes.len() as u64
    }

    /// How far all of it is written.
    pub fn written(&self) -> u64 {
        self.gone + self.written as u64
    }

    pub fn wrote(&mut self, count: usize) {
        self.written += count;
    }

    /// What is written makes room although more is not, once that is worth the move.
    pub fn forget_written(&mut self) {
        if self.written >= UNWRITTEN {
            self.gone += self.written as u64;
            self.bytes.drain(..std::mem::take(&mut self.written));
        }
    }

    /// All is written.
    pub fn clear(&mut self) {
        self.gone = self.position();
        self.written = 0;
        self.bytes.clear();
        let bytes = std::mem::take(&mut self.bytes);
        if bytes.capacity() <= KEPT {
            SPARE.set(bytes);
        }
    }

    /// What is not written yet, for somebody else to write.
    pub fn take(&mut self) -> Vec<u8> {
        let unwritten = self.bytes.split_off(self.written);
        self.clear();
        unwritten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_makes_room_before_all_is() {
        let mut out = Out::default();
        for nth in 1..100 {
            out.bytes().extend_from_slice(&[7; UNWRITTEN]);
            out.wrote(UNWRITTEN - 1);
            out.forget_written();
            assert!(out.bytes.len() < 3 * UNWRITTEN, "{}", out.bytes.len());
            assert_eq!(out.unwritten().len(), nth);
            assert_eq!(out.position() - out.written(), nth as u64);
        }
        assert_eq!(out.position(), 99 * UNWRITTEN as u64);
        assert_eq!(out.take(), [7; 99]);
        assert!(out.is_empty());
    }
}
