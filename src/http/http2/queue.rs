//! Data that waits to be read. Most messages have one piece; many little ones become one.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Pieces of less are copied: each would cost more than it holds.
const LITTLE: usize = 1024;
/// As are those of less that wait behind others, which keep their whole buffers as long as that takes.
const WAITING: usize = 8 * 1024;

#[derive(Debug, Default)]
pub struct Queue {
    first: Option<Bytes>,
    more: VecDeque<Bytes>,
    /// Little pieces after all of these.
    little: BytesMut,
}

impl Queue {
    /// Takes what is at the beginning of a buffer, so many bytes; what is little is copied, so that
    /// it keeps no large buffer.
    pub fn push(&mut self, buf: &mut BytesMut, length: usize) {
        if length == 0 {
            return;
        }
        if length >= if self.is_empty() { LITTLE } else { WAITING } {
            let data = buf.split_to(length).freeze();
            if !self.little.is_empty() {
                let little = std::mem::take(&mut self.little).freeze();
                self.more.push_back(little);
            } else if self.is_empty() {
                self.first = Some(data);
                return;
            }
            self.more.push_back(data);
            return;
        }
        let data = &buf[..length];
        match self.is_empty() {
            true => self.first = Some(Bytes::copy_from_slice(data)),
            false => self.little.extend_from_slice(data),
        }
        bytes::Buf::advance(buf, length);
    }

    pub fn pop(&mut self) -> Option<Bytes> {
        let kept = self.first.take().or_else(|| self.more.pop_front());
        kept.or_else(|| {
            let little = std::mem::take(&mut self.little);
            (!little.is_empty()).then(|| little.freeze())
        })
    }

    pub fn is_empty(&self) -> bool {
        self.first.is_none() && self.more.is_empty() && self.little.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_kept_and_little_pieces_become_one() {
        let mut queue = Queue::default();
        let lengths = [3, 5, 7, 9000, 1, 1, 10_000, 9, 1024, 8192];
        let mut all = Vec::new();
        for (nth, length) in lengths.into_iter().enumerate() {
            let data = vec![nth as u8; length];
            all.extend_from_slice(&data);
            queue.push(&mut BytesMut::from(&data[..]), length);
        }
        let mut pieces = Vec::new();
        while let Some(piece) = queue.pop() {
            pieces.push(piece);
        }
        assert_eq!(pieces.concat(), all);
        let lengths: Vec<usize> = pieces.iter().map(Bytes::len).collect();
        assert_eq!(lengths, [3, 12, 9000, 2, 10_000, 9 + 1024, 8192]);
        assert!(queue.is_empty());
    }
}
