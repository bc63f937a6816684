//! The letter case that a message's names came in, and the reason that an answer gave.

use bytes::Bytes;
use http::HeaderName;

/// The names of a message's fields as its sender wrote them.
#[derive(Clone, Debug)]
pub struct Spelling(Vec<Bytes>);

impl Spelling {
    /// Of names in the order of their fields; `None` where nobody could tell, as all are in small
    /// letters.
    pub fn of(names: impl Iterator<Item = Bytes> + Clone) -> Option<Self> {
        let is_told = names.clone().any(|name| name.iter().any(u8::is_ascii_uppercase));
        is_told.then(|| Self(names.collect()))
    }

    pub fn reader(&self) -> Reader<'_> {
        Reader { names: &self.0, next: 0 }
    }
}

/// Finds the names of fields that are written in about the order in which they came.
pub struct Reader<'a> {
    names: &'a [Bytes],
    next: usize,
}

impl Reader<'_> {
    /// How this one was written: of several with one name each as it came.
    pub fn find(&mut self, name: &HeaderName) -> Option<&[u8]> {
        let name = name.as_str().as_bytes();
        let is_it = |spelt: &Bytes| spelt.eq_ignore_ascii_case(name);
        let (before, after) = self.names.split_at(self.next);
        let found = after.iter().position(is_it).map(|at| at + before.len());
        let found = found.or_else(|| before.iter().rposition(is_it))?;
        self.next = found + 1;
        Some(&self.names[found])
    }
}

/// An answer's reason, where it is not the one that everybody gives.
#[derive(Clone, Debug)]
pub struct Phrase(pub Bytes);

#[cfg(test)]
mod tests {
    use super::*;

    fn spelling(names: &[&'static str]) -> Option<Spelling> {
        Spelling::of(names.iter().map(|name| Bytes::from_static(name.as_bytes())))
    }

    #[test]
    fn each_name_is_found_as_it_came() {
        let spelling = spelling(&["Host", "X-a", "accept", "X-A", "ETag"]).expect("capitals");
        let mut reader = spelling.reader();
        let mut find = |name| {
            let name = HeaderName::from_static(name);
            reader.find(&name).map(|name| String::from_utf8_lossy(name).into_owned())
        };
        let found = ["host", "x-a", "x-a", "x-new", "accept", "etag", "etag"].map(&mut find);
        let found = found.each_ref().map(Option::as_deref);
        let spelt = [Some("Host"), Some("X-a"), Some("X-A"), None, Some("accept"), Some("ETag")];
        assert_eq!(found[..6], spelt);
        assert_eq!(found[6], Some("ETag"), "one more than came");
    }

    #[test]
    fn small_letters_need_no_spelling() {
        assert!(spelling(&["host", "accept"]).is_none());
    }
}
