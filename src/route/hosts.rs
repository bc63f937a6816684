//! Matches by host name: the exact name, then names below a domain, the longest first, then any.
//!
//! A name is compared without its port and last dot, and in lower case. Like prefixes of paths,
//! domains are looked up by the lengths that there are.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::head::split_port;
use super::paths::Paths;
use crate::model::{Hostname, PathMatch};

/// The longest name there is (RFC 1035 2.3.4), rounded up.
const LONGEST: usize = 256;

/// A match to be found again by its number.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    pub hostnames: &'a [Hostname],
    pub path: Option<&'a PathMatch>,
    pub candidate: u32,
}

/// Candidates by host name.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    exact: HashMap<Box<[u8]>, Paths>,
    /// With their first dot.
    below: HashMap<Box<[u8]>, Paths>,
    /// Of the domains, the longest first.
    lengths: Vec<usize>,
    any: Paths,
}

impl Hosts {
    /// `entries` are in order of precedence, apart from hosts and paths.
    pub fn new<'a>(entries: impl Iterator<Item = Entry<'a>>) -> Self {
        let (mut exact, mut below, mut any) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for Entry { hostnames, path, candidate } in entries {
            for hostname in hostnames {
                let (groups, name) = match hostname {
                    Hostname::Exact(name) => (&mut exact, name),
                    Hostname::Below(domain) => (&mut below, domain),
                };
                let group: &mut Vec<_> = groups.entry(name.as_bytes()).or_default();
                group.push((path, candidate));
            }
            if hostnames.is_empty() {
                any.push((path, candidate));
            }
        }
        let lengths: BTreeSet<_> = below.keys().map(|domain| Reverse(domain.len())).collect();
        Self {
            exact: compile(&exact),
            below: compile(&below),
            lengths: lengths.into_iter().map(|Reverse(length)| length).collect(),
            any: Paths::new(&any),
        }
    }

    /// The first answer of those whose host it is, the nearest asked first.
    pub fn find<T>(&self, host: &str, ask: impl Fn(&Paths) -> Option<T>) -> Option<T> {
        self.named(host, &ask).or_else(|| ask(&self.any))
    }

    fn named<T>(&self, host: &str, ask: impl Fn(&Paths) -> Option<T>) -> Option<T> {
        if self.exact.is_empty() && self.below.is_empty() {
            return None;
        }
        let mut room = [0; LONGEST];
        let name = lower(host, &mut room)?;
        let exact = self.exact.get(name).and_then(&ask);
        exact.or_else(|| {
            let shorter = self.lengths.iter().filter(|&&length| length < name.len());
            let mut domains = shorter.map(|length| &name[name.len() - length..]);
            domains.find_map(|domain| ask(self.below.get(domain)?))
        })
    }
}

fn compile(groups: &BTreeMap<&[u8], Vec<(Option<&PathMatch>, u32)>>) -> HashMap<Box<[u8]>, Paths> {
    groups.iter().map(|(&name, list)| (name.into(), Paths::new(list))).collect()
}

/// The name alone, in lower case; none if it is too long to be one.
fn lower<'r>(host: &str, room: &'r mut [u8; LONGEST]) -> Option<&'r [u8]> {
    let (name, _) = split_port(host);
    let name = name.strip_suffix('.').unwrap_or(name).as_bytes();
    let room = room.get_mut(..name.len())?;
    room.copy_from_slice(name);
    room.make_ascii_lowercase();
    Some(room)
}
