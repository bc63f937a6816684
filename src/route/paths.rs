//! Matches by their paths: exact ones, then patterns, then prefixes, the longest first.
//!
//! The Gateway API leaves open where a pattern stands; here it goes before every prefix, because
//! whoever writes one has a narrower set of paths in mind, and of two patterns the longer is asked
//! first. Prefixes are looked up by length: only lengths that some prefix has, and only where a
//! segment ends there, so neither many rules nor a path of many slashes make it a scan.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use super::patterns::Patterns;
use crate::model::PathMatch;

/// Candidates, the best first: their numbers ascend.
type Candidates = Vec<u32>;

/// The candidates of one host name, or of all.
#[derive(Debug, Default)]
pub(super) struct Paths {
    exact: HashMap<Box<str>, Candidates>,
    patterns: Patterns,
    /// Without the last slash.
    prefixes: HashMap<Box<str>, Candidates>,
    /// Of the prefixes, the longest first.
    lengths: Vec<usize>,
    /// Those that every path has: no condition, or the prefix `/`.
    every: Candidates,
}

impl Paths {
    /// `list` is in order of precedence, apart from the paths.
    pub fn new(list: &[(Option<&PathMatch>, u32)]) -> Self {
        let (mut paths, mut patterns) = (Self::default(), Vec::new());
        for &(path, candidate) in list {
            match path {
                Some(PathMatch::Exact(path)) => {
                    paths.exact.entry((**path).into()).or_default().push(candidate);
                }
                Some(PathMatch::Regex(pattern)) => patterns.push((&**pattern, candidate)),
                Some(PathMatch::Prefix(prefix)) => paths.prefix(prefix, candidate),
                None => paths.every.push(candidate),
            }
        }
        let lengths: BTreeSet<_> =
            paths.prefixes.keys().map(|prefix| Reverse(prefix.len())).collect();
        paths.lengths = lengths.into_iter().map(|Reverse(length)| length).collect();
        paths.patterns = Patterns::new(patterns);
        paths
    }

    fn prefix(&mut self, prefix: &str, candidate: u32) {
        match prefix.strip_suffix('/').unwrap_or(prefix) {
            "" => self.every.push(candidate),
            prefix => self.prefixes.entry(prefix.into()).or_default().push(candidate),
        }
    }

    /// The best candidate that `takes` agrees to, and the length of its prefix.
    pub fn find(&self, path: &str, takes: impl Fn(u32) -> bool) -> Option<(u32, usize)> {
        let first = |list: &Candidates| list.iter().copied().find(|&candidate| takes(candidate));
        let exact = || self.exact.get(path).and_then(first);
        exact()
            .or_else(|| self.patterns.find(path, &takes))
            .map(|candidate| (candidate, 0))
            .or_else(|| {
                let ended = self.lengths.iter().filter_map(|&length| segments(path, length));
                let mut lists =
                    ended.filter_map(|prefix| Some((prefix.len(), self.prefixes.get(prefix)?)));
                lists.find_map(|(length, list)| Some((first(list)?, length)))
            })
            .or_else(|| Some((first(&self.every)?, 0)))
    }
}

/// The first `length` bytes of a path, if a segment ends there.
fn segments(path: &str, length: usize) -> Option<&str> {
    let prefix = path.get(..length)?;
    matches!(path.as_bytes().get(length), None | Some(b'/')).then_some(prefix)
}
