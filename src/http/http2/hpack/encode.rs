//! Writes header blocks.
//!
//! A field goes into the peer's table the second time that it comes, so that what is ever new (ids,
//! lengths, times) pushes nothing out; its name goes there the first time. Both are found again by a
//! hash that has one place: of two fields that fall on the same, the later one has it, and the other
//! is written out. That costs bytes, and nothing else.

use std::collections::VecDeque;
use std::sync::LazyLock;

use super::TABLE;
use super::field::{OVERHEAD, STATIC, Static};

/// Places for hashes. A table holds some 60 fields.
const PLACES: usize = 128;
/// Of the fields that have come once.
const MET: usize = 64;
/// A value shorter than this that is a secret could be guessed by what it is coded as.
const GUESSABLE: usize = 20;
const SECRET: [&str; 4] = ["authorization", "cookie", "proxy-authorization", "set-cookie"];

/// The table of what we send.
pub struct Encoder {
    fixed: &'static Fixed,
    entries: &'static [Static],
    /// The oldest first.
    table: VecDeque<Kept>,
    size: usize,
    /// What the peer allows, and we use.
    limit: usize,
    /// It was made smaller, down to this, since the last block.
    lowered: Option<usize>,
    /// How many fields were ever put in: the number of the newest.
    newest: u32,
    found: Option<Box<Found>>,
}

/// By hash.
struct Found {
    /// Numbers of fields; 0 is none.
    fields: [u32; PLACES],
    names: [u32; PLACES],
    met: [u32; MET],
}

struct Kept {
    name: u32,
    /// Name and value, one after the other.
    text: Box<[u8]>,
}

/// Where names and fields are in the static table, by hash.
struct Fixed {
    names: [u8; 256],
    fields: [u8; 256],
}

static FIXED: LazyLock<Fixed> = LazyLock::new(|| {
    let mut fixed = Fixed { names: [0; 256], fields: [0; 256] };
    for (index, entry) in (1..).zip(STATIC.iter()) {
        let name = hash(0, entry.name.as_bytes());
        let mut at = place(name);
        while fixed.names[at] != 0 && STATIC[fixed.names[at] as usize - 1].name != entry.name {
            at = (at + 1) % 256;
        }
        // The first of a name stands for it.
        if fixed.names[at] == 0 {
            fixed.names[at] = index;
        }
        if !entry.value.is_empty() {
            let mut at = place(hash(name, entry.value.as_bytes()));
            while fixed.fields[at] != 0 {
                at = (at + 1) % 256;
            }
            fixed.fields[at] = index;
        }
    }
    fixed
});

fn place(hash: u64) -> usize {
    (hash >> 56) as usize
}

fn hash(seed: u64, text: &[u8]) -> u64 {
    const K: u64 = 0x9e37_79b9_7f4a_7c15;
    let fold = |hash: u64, word: u64| {
        let wide = u128::from(hash ^ word ^ K) * u128::from(K);
        (wide >> 64) as u64 ^ wide as u64
    };
    let mut hash = seed ^ text.len() as u64;
    let (chunks, rest) = text.as_chunks();
    for chunk in chunks {
        hash = fold(hash, u64::from_le_bytes(*chunk));
    }
    if rest.is_empty() {
        return hash;
    }
    // What is left over is read at once, some of it a second time.
    let word = if let Some(last) = text.last_chunk() {
        u64::from_le_bytes(*last)
    } else if let (Some(first), Some(last)) = (rest.first_chunk(), rest.last_chunk()) {
        u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
    } else {
        let at = |index: usize| u64::from(rest[index]);
        at(0) << 16 | at(rest.len() / 2) << 8 | at(rest.len() - 1)
    };
    fold(hash, word)
}

impl Default for Encoder {
    fn default() -> Self {
        Self {
            fixed: &FIXED,
            entries: &STATIC,
            table: VecDeque::new(),
            size: 0,
            limit: TABLE,
            lowered: None,
            newest: 0,
            found: None,
        }
    }
}

impl Encoder {
    /// The peer allows a table of so many bytes.
    pub fn set_limit(&mut self, limit: usize) {
        let limit = limit.min(TABLE);
        if limit == self.limit {
            return;
        }
        self.lowered = Some(self.lowered.map_or(limit, |lowered| lowered.min(limit)));
        self.limit = limit;
        self.evict(limit);
    }

    /// Before a block's first field.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        if let Some(lowered) = self.lowered.take() {
            integer(out, 0x20, 5, lowered);
            if lowered != self.limit {
                integer(out, 0x20, 5, self.limit);
            }
        }
    }

    /// Writes a field; one that is `sensitive` is in no table, here or at any peer.
    pub fn field(&mut self, out: &mut Vec<u8>, name: &str, value: &[u8], sensitive: bool) {
        let of_name = hash(0, name.as_bytes());
        let of_field = hash(of_name, value);
        let in_fixed = self.fixed_name(of_name, name);
        if in_fixed.is_some()
            && let Some(index) = self.fixed_field(of_field, name, value)
        {
            integer(out, 0x80, 7, index);
            return;
        }
        if let Some(index) = self.find_field(of_field, name, value) {
            integer(out, 0x80, 7, index);
            return;
        }
        let index = in_fixed.or_else(|| self.find_name(of_name, name));
        let size = name.len() + value.len() + OVERHEAD;
        if sensitive || value.len() < GUESSABLE && SECRET.contains(&name) {
            literal(out, 0x10, 4, index, name, value);
        } else if size <= self.limit / 2 && (index.is_none() || self.has_met(of_field)) {
            literal(out, 0x40, 6, index, name, value);
            self.keep(of_name, of_field, name, value, size);
        } else {
            literal(out, 0x00, 4, index, name, value);
        }
    }

    fn fixed_name(&self, of_name: u64, name: &str) -> Option<usize> {
        let mut at = place(of_name);
        loop {
            let index = usize::from(self.fixed.names[at]);
            if self.entries[index.checked_sub(1)?].name == name {
                return Some(index);
            }
            at = (at + 1) % 256;
        }
    }

    fn fixed_field(&self, of_field: u64, name: &str, value: &[u8]) -> Option<usize> {
        let mut at = place(of_field);
        loop {
            let index = usize::from(self.fixed.fields[at]);
            let entry = &self.entries[index.checked_sub(1)?];
            if entry.name == name && entry.value.as_bytes() == value {
                return Some(index);
            }
            at = (at + 1) % 256;
        }
    }

    fn find_field(&self, of_field: u64, name: &str, value: &[u8]) -> Option<usize> {
        let number = self.found.as_ref()?.fields[of_field as usize % PLACES];
        let kept = self.get(number)?;
        let (its_name, its_value) = kept.text.split_at(kept.name as usize);
        (its_value == value && its_name == name.as_bytes()).then(|| self.index(number))
    }

    fn find_name(&self, of_name: u64, name: &str) -> Option<usize> {
        let number = self.found.as_ref()?.names[of_name as usize % PLACES];
        let kept = self.get(number)?;
        (kept.text[..kept.name as usize] == *name.as_bytes()).then(|| self.index(number))
    }

    /// A field by its number, if it is there still.
    fn get(&self, number: u32) -> Option<&Kept> {
        if number == 0 {
            return None;
        }
        let age = self.newest.wrapping_sub(number) as usize;
        self.table.get(self.table.len().checked_sub(age + 1)?)
    }

    fn index(&self, number: u32) -> usize {
        self.entries.len() + 1 + self.newest.wrapping_sub(number) as usize
    }

    /// Whether the field has come lately; from now on it has.
    fn has_met(&mut self, of_field: u64) -> bool {
        let mark = (of_field >> 32) as u32 | 1;
        let found = self.found.get_or_insert_with(Found::new);
        std::mem::replace(&mut found.met[of_field as usize % MET], mark) == mark
    }

    fn keep(&mut self, of_name: u64, of_field: u64, name: &str, value: &[u8], size: usize) {
        self.evict(self.limit - size);
        self.size += size;
        // 0 is no number.
        self.newest = self.newest.checked_add(1).unwrap_or_else(|| self.begin_anew());
        let text = [name.as_bytes(), value].concat().into();
        self.table.push_back(Kept { name: name.len() as u32, text });
        let found = self.found.get_or_insert_with(Found::new);
        found.fields[of_field as usize % PLACES] = self.newest;
        found.names[of_name as usize % PLACES] = self.newest;
    }

    /// After four thousand million fields: nothing is found until it is put in again.
    fn begin_anew(&mut self) -> u32 {
        self.found = None;
        self.table.len() as u32 + 1
    }

    #[cfg(test)]
    pub(super) fn field_count(&self) -> usize {
        self.table.len()
    }

    fn evict(&mut self, down_to: usize) {
        while self.size > down_to
            && let Some(oldest) = self.table.pop_front()
        {
            self.size -= oldest.text.len() + OVERHEAD;
        }
    }
}

impl Found {
    fn new() -> Box<Self> {
        Box::new(Self { fields: [0; PLACES], names: [0; PLACES], met: [0; MET] })
    }
}

fn literal(out: &mut Vec<u8>, kind: u8, bits: u32, index: Option<usize>, name: &str, value: &[u8]) {
    integer(out, kind, bits, index.unwrap_or(0));
    if index.is_none() {
        string(out, name.as_bytes());
    }
    string(out, value);
}

fn string(out: &mut Vec<u8>, text: &[u8]) {
    integer(out, 0, 7, text.len());
    out.extend_from_slice(text);
}

fn integer(out: &mut Vec<u8>, kind: u8, bits: u32, mut value: usize) {
    let most = (1 << bits) - 1;
    if value < most {
        out.push(kind | value as u8);
        return;
    }
    out.push(kind | most as u8);
    value -= most;
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
