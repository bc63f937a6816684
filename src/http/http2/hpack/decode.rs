//! Reads header blocks.

use std::collections::VecDeque;

use bytes::Bytes;

use super::field::{Field, Name, OVERHEAD, STATIC, Static};
use super::{TABLE, huffman};

/// A block that leaves the two ends with different tables: the connection can't go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a header block can't be unpacked: {0}")]
pub struct Undecodable(&'static str);

const NOWHERE: Undecodable = Undecodable("it names a field that is in no table");

/// The table of what the peer sends.
pub struct Decoder {
    fixed: &'static [Static],
    /// The newest first.
    table: VecDeque<Kept>,
    size: usize,
    /// What the peer has said that it uses.
    limit: usize,
    /// Of what Huffman coded.
    plain: Vec<u8>,
}

struct Kept {
    field: Field,
    /// Of the name alone.
    name: usize,
    size: usize,
}

/// A literal's text: within the block, or unpacked.
enum Text<'a> {
    Here(&'a [u8]),
    Coded(&'a [u8]),
}

impl Default for Decoder {
    fn default() -> Self {
        let fixed = STATIC.as_slice();
        Self { fixed, table: VecDeque::new(), size: 0, limit: TABLE, plain: Vec::new() }
    }
}

impl Decoder {
    /// Unpacks a block; `take` is given each field with its size as HPACK counts it.
    ///
    /// # Errors
    /// The connection can't go on.
    pub fn decode(
        &mut self,
        block: &[u8],
        mut take: impl FnMut(&Field, usize),
    ) -> Result<(), Undecodable> {
        let mut rest = block;
        let mut is_begin = true;
        // The literals' memory, which they share.
        let mut shared = None;
        while let Some(&first) = rest.first() {
            if first & 0x80 != 0 {
                let index = integer(&mut rest, 7)?;
                let (field, size) = self.get(index)?;
                take(field, size);
            } else if first & 0xe0 == 0x20 {
                if !is_begin {
                    return Err(Undecodable("a table's size changes within a block"));
                }
                self.limit = Some(integer(&mut rest, 5)?)
                    .filter(|limit| *limit <= TABLE)
                    .ok_or(Undecodable("its table is larger than we allow"))?;
                self.evict(self.limit);
                continue;
            } else {
                let (is_kept, is_sensitive, bits) = match first & 0xf0 {
                    0x10 => (false, true, 4),
                    0x00 => (false, false, 4),
                    _ => (true, false, 6),
                };
                let index = integer(&mut rest, bits)?;
                let (name, name_size) = match index {
                    0 => self.new_name(&mut rest)?,
                    index => self.name(index)?,
                };
                let (value, value_size) = match string(&mut rest)? {
                    // What stays in the table must not keep all of its block.
                    Text::Here(value) if is_kept => (Bytes::copy_from_slice(value), value.len()),
                    Text::Here(value) => {
                        let shared = shared.get_or_insert_with(|| Bytes::copy_from_slice(block));
                        let end = block.len() - rest.len();
                        (shared.slice(end - value.len()..end), value.len())
                    }
                    Text::Coded(coded) => {
                        self.unpack(coded)?;
                        (Bytes::copy_from_slice(&self.plain), self.plain.len())
                    }
                };
                let size = name_size + value_size + OVERHEAD;
                let mut field = name.field(value);
                if is_sensitive && let Field::Header(_, value) = &mut field {
                    value.set_sensitive(true);
                }
                take(&field, size);
                if is_kept {
                    self.keep(Kept { field, name: name_size, size });
                }
            }
            is_begin = false;
        }
        Ok(())
    }

    fn get(&self, index: usize) -> Result<(&Field, usize), Undecodable> {
        let index = index.checked_sub(1).ok_or(NOWHERE)?;
        if let Some(fixed) = self.fixed.get(index) {
            return Ok((&fixed.field, fixed.size()));
        }
        let kept = self.kept(index)?;
        Ok((&kept.field, kept.size))
    }

    fn kept(&self, index: usize) -> Result<&Kept, Undecodable> {
        self.table.get(index - self.fixed.len()).ok_or(NOWHERE)
    }

    /// The name of a field that is there, and its size.
    fn name(&self, index: usize) -> Result<(Name, usize), Undecodable> {
        if let Some(fixed) = self.fixed.get(index - 1) {
            return Ok((fixed.only.clone(), fixed.name.len()));
        }
        let kept = self.kept(index - 1)?;
        Ok((kept.field.name(), kept.name))
    }

    fn new_name(&mut self, rest: &mut &[u8]) -> Result<(Name, usize), Undecodable> {
        Ok(match string(rest)? {
            Text::Here(name) => (Name::parse(name), name.len()),
            Text::Coded(coded) => {
                self.unpack(coded)?;
                (Name::parse(&self.plain), self.plain.len())
            }
        })
    }

    fn unpack(&mut self, coded: &[u8]) -> Result<(), Undecodable> {
        self.plain.clear();
        huffman::decode(coded, &mut self.plain)
            .ok_or(Undecodable("a text is not coded as HPACK has it"))
    }

    fn keep(&mut self, kept: Kept) {
        self.evict(self.limit.saturating_sub(kept.size));
        if kept.size <= self.limit {
            self.size += kept.size;
            self.table.push_front(kept);
        }
    }

    fn evict(&mut self, down_to: usize) {
        while self.size > down_to
            && let Some(oldest) = self.table.pop_back()
        {
            self.size -= oldest.size;
        }
    }
}

/// An integer whose first byte has so many bits of it.
fn integer(rest: &mut &[u8], bits: u32) -> Result<usize, Undecodable> {
    let short = Undecodable("it ends within a field");
    let (&first, mut after) = rest.split_first().ok_or(short)?;
    let most = (1usize << bits) - 1;
    let mut value = usize::from(first) & most;
    if value == most {
        let mut shift = 0;
        loop {
            let (&next, following) = after.split_first().ok_or(short)?;
            after = following;
            // Nothing that we take is as large as 2^28.
            if shift > 21 {
                return Err(Undecodable("a number in it is too large"));
            }
            value += usize::from(next & 0x7f) << shift;
            shift += 7;
            if next & 0x80 == 0 {
                break;
            }
        }
    }
    *rest = after;
    Ok(value)
}

fn string<'a>(rest: &mut &'a [u8]) -> Result<Text<'a>, Undecodable> {
    let is_coded = rest.first().is_some_and(|first| first & 0x80 != 0);
    let length = integer(rest, 7)?;
    let short = Undecodable("it ends within a field");
    let (text, after) = rest.split_at_checked(length).ok_or(short)?;
    *rest = after;
    Ok(if is_coded { Text::Coded(text) } else { Text::Here(text) })
}
