//! Regular expressions over whole values, and the list of those that a path is held against.
//!
//! One set of all patterns would say which of them match, but takes memory to say it and grows
//! large. So the list, best first, is cut into blocks: the set of a block says in one look at the
//! path whether any of its patterns matches. Only then are they asked one by one, and of those only
//! the ones whose literal beginning the path has. Nothing is allocated.

use std::cmp::Reverse;
use std::collections::HashMap;

use regex::bytes::{Regex, RegexSet};

/// About the root of how many rules there may be: as many looks at sets as at patterns.
const BLOCK: usize = 32;

/// A set costs about as much to ask as this many patterns (arbitrary).
const WORTH_A_SET: usize = 4;

/// The pattern, for whole values only; none if it is no pattern.
pub(super) fn whole(pattern: &str) -> Option<Regex> {
    // A comment in a verbose pattern (`(?x)`) would swallow the end; a line end in front of it is
    // no part of such a pattern.
    let closings = ["", "\n"].into_iter();
    let mut ways = closings.map(|closing| Regex::new(&format!(r"\A(?:{pattern}{closing})\z")));
    ways.find_map(Result::ok)
}

/// What every text that matches begins with, as far as it can be seen without parsing.
fn beginning(pattern: &str) -> &str {
    const META: &str = r"\.+*?()|[]{}^$";
    if pattern.contains('|') {
        return "";
    }
    let end = pattern.find(|c| META.contains(c)).unwrap_or(pattern.len());
    let (literal, rest) = pattern.split_at(end);
    match literal.char_indices().next_back() {
        // The last one may be there more than once, or not at all.
        Some((last, _)) if rest.starts_with(['*', '?', '+', '{']) => &literal[..last],
        _ => literal,
    }
}

/// Patterns with what they lead to, best first.
#[derive(Debug, Default)]
pub(super) struct Patterns(Vec<Block>);

#[derive(Debug)]
struct Block {
    /// None where asking it would not be worth it.
    any: Option<RegexSet>,
    of: Box<[Pattern]>,
}

#[derive(Clone, Debug)]
struct Pattern {
    beginning: Box<str>,
    regex: Regex,
    to: u32,
}

impl Patterns {
    /// `list` has what the patterns lead to, in ascending order. The longest pattern is the best,
    /// then what comes first.
    pub fn new(mut list: Vec<(&str, u32)>) -> Self {
        list.sort_by_key(|(pattern, _)| Reverse(pattern.chars().count()));
        let mut known: HashMap<&str, Option<Regex>> = HashMap::new();
        let compiled: Vec<Pattern> = list
            .into_iter()
            .filter_map(|(pattern, to)| {
                let regex = known.entry(pattern).or_insert_with(|| whole(pattern)).clone()?;
                Some(Pattern { beginning: beginning(pattern).into(), regex, to })
            })
            .collect();
        Self(compiled.chunks(BLOCK).map(Block::new).collect())
    }

    /// The first that matches and that `takes` agrees to.
    pub fn find(&self, path: &str, takes: impl Fn(u32) -> bool) -> Option<u32> {
        let matches = |of: &&Pattern| {
            path.starts_with(&*of.beginning) && takes(of.to) && of.regex.is_match(path.as_bytes())
        };
        let any =
            |block: &&Block| block.any.as_ref().is_none_or(|any| any.is_match(path.as_bytes()));
        self.0.iter().filter(any).flat_map(|block| &block.of).find(matches).map(|of| of.to)
    }
}

impl Block {
    fn new(of: &[Pattern]) -> Self {
        let set = || RegexSet::new(of.iter().map(|of| of.regex.as_str())).ok();
        Self { any: (of.len() > WORTH_A_SET).then(set).flatten(), of: of.into() }
    }
}
