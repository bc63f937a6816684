//! The limits at one port of the app, and what a request makes of all of them together.
//!
//! A request takes from every limit that is about it, or from none. First all are looked at, so that
//! one that refuses leaves no mark on the others. Between look and take another worker may have been
//! faster; then what was taken already is given back at once, and somebody who came in between may
//! have been refused by a request too few, but never one too many admitted.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use super::rule::{Ask, Place, Readings, Rule};
use super::table::{Table, Taken};

/// The limits of a port. Their order means nothing.
#[derive(Debug, Default)]
pub struct AtPort {
    rules: Box<[Arc<Rule>]>,
    has_paths: bool,
    is_of_http: bool,
}

/// How it stands with the limit that has the least left.
#[derive(Clone, Debug)]
pub struct Quota {
    pub rule: Arc<Rule>,
    /// Requests that may come at once.
    pub left: u64,
    /// Until as many as ever may come at once.
    pub full_in_ns: u64,
    /// Until the next one may come; absent: this one may.
    pub wait_ns: Option<u64>,
}

/// Limits that are held without asking for memory; a port with more asks for it. Arbitrary.
const FEW: usize = 8;

impl AtPort {
    pub fn of(rules: impl Iterator<Item = Arc<Rule>>) -> Self {
        let rules: Box<[Arc<Rule>]> = rules.collect();
        Self {
            has_paths: rules.iter().any(|rule| rule.has_paths()),
            is_of_http: rules.iter().any(|rule| rule.is_of_http()),
            rules,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether what is not HTTP is refused where its port does not declare it.
    pub fn expects_http(&self) -> bool {
        self.is_of_http
    }

    pub fn rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.rules.iter()
    }

    /// Those that are about a request, with what each has left; takes nothing.
    pub fn look<'a>(&'a self, table: &'a Table, ask: Ask<'a>, now_ns: u64) -> Vec<Quota> {
        let readings = self.has_paths.then(|| Readings::of(ask.parts));
        let about = self.rules.iter().filter(|rule| rule.holds(ask.parts, readings.as_ref()));
        about
            .map(|rule| {
                let until = rule.look(table, rule.place(table, &ask), now_ns);
                match rule.pace.take(until, now_ns) {
                    Ok(_) => Quota::of(rule, until, now_ns),
                    Err(wait) => Quota { wait_ns: Some(wait), ..Quota::of(rule, until, now_ns) },
                }
            })
            .collect()
    }

    /// Takes one request from each limit that is about it, or from none. `None`: none is about it.
    ///
    /// # Errors
    /// The limit that refuses it for longest; that is counted.
    pub fn take(&self, table: &Table, ask: &Ask<'_>, now_ns: u64) -> Result<Option<Quota>, Quota> {
        let readings = self.has_paths.then(|| Readings::of(ask.parts));
        if let [rule] = &*self.rules {
            let is_about = rule.holds(ask.parts, readings.as_ref());
            return if is_about { alone(rule, table, ask, now_ns).map(Some) } else { Ok(None) };
        }
        let mut few = [const { None }; FEW];
        let mut many = Vec::new();
        let all: &mut [Option<Asked<'_>>] = if self.rules.len() <= FEW {
            &mut few
        } else {
            many.resize_with(self.rules.len(), || None);
            &mut many
        };
        let about = self.rules.iter().filter(|rule| rule.holds(ask.parts, readings.as_ref()));
        for (slot, rule) in all.iter_mut().zip(about) {
            *slot = Some(Asked { rule, place: rule.place(table, ask), taken: None });
        }
        match longest_wait(all, table, now_ns) {
            Some((rule, wait)) => Err(Quota::refusal(rule, wait, now_ns)),
            None => take_each(all, table, now_ns),
        }
    }
}

/// A limit that is about a request.
struct Asked<'a> {
    rule: &'a Arc<Rule>,
    place: Place,
    taken: Option<Taken>,
}

/// The limit that refuses for longest, and for how long.
fn longest_wait<'a>(
    all: &[Option<Asked<'a>>],
    table: &Table,
    now_ns: u64,
) -> Option<(&'a Arc<Rule>, u64)> {
    let wait = |asked: &Asked<'a>| {
        let until = asked.rule.look(table, asked.place, now_ns);
        asked.rule.pace.take(until, now_ns).err().map(|wait| (asked.rule, wait))
    };
    all.iter().flatten().filter_map(wait).max_by_key(|(_, wait)| *wait)
}

fn take_each(
    all: &mut [Option<Asked<'_>>],
    table: &Table,
    now_ns: u64,
) -> Result<Option<Quota>, Quota> {
    let mut tightest: Option<Quota> = None;
    for nth in 0..all.len() {
        let Some(asked) = &mut all[nth] else { break };
        match asked.rule.take(table, asked.place, now_ns) {
            Ok(taken) => {
                asked.taken = Some(taken);
                let quota = Quota::of(asked.rule, taken.until_ns, now_ns);
                if tightest.as_ref().is_none_or(|least| quota.is_tighter(least)) {
                    tightest = Some(quota);
                }
            }
            Err(wait) => {
                let refusal = Quota::refusal(asked.rule, wait, now_ns);
                for Asked { rule, place, taken } in all.iter().flatten() {
                    taken.iter().for_each(|taken| rule.give_back(table, *place, *taken));
                }
                return Err(refusal);
            }
        }
    }
    Ok(tightest)
}

/// Where there is one limit, there is nothing to look at first.
fn alone(rule: &Arc<Rule>, table: &Table, ask: &Ask<'_>, now_ns: u64) -> Result<Quota, Quota> {
    match rule.take(table, rule.place(table, ask), now_ns) {
        Ok(taken) => Ok(Quota::of(rule, taken.until_ns, now_ns)),
        Err(wait) => Err(Quota::refusal(rule, wait, now_ns)),
    }
}

const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STANDS: HeaderName = HeaderName::from_static("ratelimit");
const FIELDS: usize = 5;

impl Quota {
    fn of(rule: &Arc<Rule>, until_ns: u64, now_ns: u64) -> Self {
        let left = rule.pace.left(until_ns, now_ns);
        let full_in_ns = until_ns.saturating_sub(now_ns);
        Self { rule: Arc::clone(rule), left, full_in_ns, wait_ns: None }
    }

    /// Of a limit that refuses for so long; it is counted.
    fn refusal(rule: &Arc<Rule>, wait_ns: u64, now_ns: u64) -> Self {
        rule.buckets.refused.inc();
        let until_ns = rule.pace.refusing(wait_ns, now_ns);
        Self { wait_ns: Some(wait_ns), ..Self::of(rule, until_ns, now_ns) }
    }

    fn is_tighter(&self, other: &Quota) -> bool {
        (self.left, other.full_in_ns) < (other.left, self.full_in_ns)
    }

    /// How it stands, on an answer, unless the app says so itself of limits of its own. Twice: the
    /// three fields that the IETF's draft (httpapi-ratelimit-headers) had to its sixth version are
    /// what clients read, `RateLimit` and `RateLimit-Policy` what it has since the eighth. The
    /// numbers are written once, and all fields share the text.
    pub fn write(&self, headers: &mut HeaderMap) {
        if headers.contains_key(LIMIT) || headers.contains_key(STANDS) {
            return;
        }
        let (left, reset) = (self.left, seconds(self.full_in_ns));
        let mut text = BytesMut::with_capacity(self.rule.name.len() + 48);
        text.extend_from_slice(self.rule.name.as_bytes());
        text.extend_from_slice(b";r=");
        let r = append(&mut text, left);
        text.extend_from_slice(b";t=");
        let t = append(&mut text, reset);
        let text = text.freeze();
        let value = |part: Bytes| {
            HeaderValue::from_maybe_shared(part).unwrap_or_else(|_| HeaderValue::from(left))
        };
        let [limit, policy] = &self.rule.shown;
        headers.reserve(FIELDS);
        headers.insert(LIMIT, limit.clone());
        headers.insert(REMAINING, value(text.slice(r)));
        headers.insert(RESET, value(text.slice(t)));
        headers.insert(POLICY, policy.clone());
        headers.insert(STANDS, value(text));
    }
}

/// Where the number now stands.
fn append(text: &mut BytesMut, number: u64) -> Range<usize> {
    let begins = text.len();
    text.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    begins..text.len()
}

/// Rounded up: who comes a moment early would be refused again.
pub fn seconds(ns: u64) -> u64 {
    ns.div_ceil(1_000_000_000)
}

/// What the limit says: `100 requests in 1s for each header:x-user`.
impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use crate::resources::rate_limit_policy::Key;
        let limit = &self.written;
        write!(f, "{} requests in {:?}", limit.requests, limit.per)?;
        match &limit.key {
            Key::Total => f.write_str(" in all"),
            key => write!(f, " for each {key}"),
        }
    }
}
