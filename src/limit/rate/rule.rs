//! One limit, made ready: which requests it is about, what it counts apart, and its buckets.
//!
//! Made when policies change, so that a request costs a comparison, a hash and a look. A doubt counts:
//! who writes a path in an odd way, or leaves out what is counted by, does not get round a limit.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Acquire;

use http::request::Parts;
use http::{HeaderValue, Method};

use super::gcra::Pace;
use super::table::{Table, Taken, Token, give_back_to, take_from};
use crate::http::path;
use crate::jwt::{ClaimName, Claims};
use crate::model::SpiffeId;
use crate::resources::access_policy::pattern::PathPattern;
use crate::resources::rate_limit_policy::{Key, Limit};
use crate::telemetry::metrics::Counter;

/// Who sends a request, as limits see it.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The app's.
    pub port: u16,
    /// Of the connection.
    pub source: IpAddr,
    pub id: Option<&'a SpiffeId>,
    /// Of its token, verified.
    pub claims: Option<&'a Claims>,
    /// The name of its API key, which was found right.
    pub api_key: Option<&'a str>,
    pub parts: &'a Parts,
}

/// A limit of a policy.
#[derive(Debug)]
pub struct Rule {
    /// `namespace/name`.
    pub policy: Arc<str>,
    /// From 0, as in the policy.
    pub nth: usize,
    pub written: Limit,
    /// What fields of answers call it: its key, in quotes. The policy is named to those of the mesh
    /// alone.
    pub(super) name: Box<str>,
    /// `RateLimit-Limit` and `RateLimit-Policy`.
    pub(super) shown: [HeaderValue; 2],
    claim: Option<ClaimName>,
    pub(super) pace: Pace,
    pub(super) buckets: Arc<Buckets>,
}

/// What a limit has counted; stays with it for as long as it says the same.
#[derive(Debug)]
pub struct Buckets {
    /// Tells its keys from those of others.
    pub(super) number: u64,
    /// Of requests without the key, or of all where nothing is counted apart.
    keyless: AtomicU64,
    /// Of keys for which there was no room.
    newcomers: AtomicU64,
    pub(super) refused: Counter,
}

/// Where a request is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Keyless,
    Keyed(Token),
}

/// What a path says, and what servers may make of it beside that.
pub struct Readings<'a> {
    /// `None`: it has none, or one that can't be read.
    path: Option<Cow<'a, str>>,
    others: Vec<String>,
}

impl<'a> Readings<'a> {
    pub fn of(parts: &'a Parts) -> Self {
        let written = Some(parts.uri.path()).filter(|path| path.starts_with('/'));
        let path = written.and_then(|written| path::normal(written).ok());
        let others = path.as_deref().map(path::other_readings).unwrap_or_default();
        Self { path, others }
    }

    /// Whether a path has the form of one of these. A doubt is a yes: who writes a path in an odd way
    /// does not get round a limit.
    pub fn have(&self, patterns: &[PathPattern]) -> bool {
        let Some(path) = &self.path else { return true };
        let matches = |path: &str| patterns.iter().any(|pattern| pattern.matches(path));
        matches(path) || self.others.iter().any(|other| matches(other))
    }
}

/// A WebSocket over HTTP/2 (RFC 8441) is a CONNECT that becomes a GET. Some servers take `get` for
/// GET.
pub fn is_method(parts: &Parts, methods: &[Method]) -> bool {
    let is_extended = parts.extensions.get::<hyper::ext::Protocol>().is_some();
    let method = if is_extended { &Method::GET } else { &parts.method };
    methods.iter().any(|of| of.as_str().eq_ignore_ascii_case(method.as_str()))
}

impl Buckets {
    pub fn new(number: u64, refused: Counter) -> Arc<Self> {
        let (keyless, newcomers) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self { number, keyless, newcomers, refused })
    }
}

impl Rule {
    pub fn new(policy: Arc<str>, nth: usize, written: Limit, buckets: Arc<Buckets>) -> Arc<Self> {
        let Limit { key: _, requests, per, burst, matches: _ } = &written;
        let pace = Pace::new(*requests, *per, *burst);
        // As a string of RFC 9651: a claim's name may be any text.
        let legal = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '_' };
        let name: String = written.key.to_string().chars().map(legal).collect();
        let name: Box<str> = format!("\"{}\"", name.replace(['"', '\\'], "_")).into();
        let shown = shown(&name, &written);
        let claim = match &written.key {
            Key::Claim(name) => Some(ClaimName::new(name)),
            _ => None,
        };
        Arc::new(Self { policy, nth, written, name, shown, claim, pace, buckets })
    }

    /// How many requests of its policy's limits it has refused.
    pub fn refused(&self) -> u64 {
        self.buckets.refused.value()
    }

    pub fn has_paths(&self) -> bool {
        !self.written.matches.paths.is_empty()
    }

    /// Whether it asks for what only HTTP has.
    pub fn is_of_http(&self) -> bool {
        let matches = &self.written.matches;
        let key = matches!(self.written.key, Key::Header(_) | Key::Claim(_) | Key::ApiKey);
        key || !(matches.methods.is_empty() && matches.paths.is_empty())
    }

    /// Whether a request counts.
    pub fn holds(&self, parts: &Parts, readings: Option<&Readings<'_>>) -> bool {
        let matches = &self.written.matches;
        (matches.methods.is_empty() || is_method(parts, &matches.methods))
            && (matches.paths.is_empty()
                || readings.is_none_or(|readings| readings.have(&matches.paths)))
    }

    /// Where a request counts.
    pub fn place(&self, table: &Table, ask: &Ask<'_>) -> Place {
        let keyed =
            |key: &[u8]| Place::Keyed(table.token(self.buckets.number, std::iter::once(key)));
        match &self.written.key {
            Key::Total => Place::Keyless,
            Key::Identity => ask.id.map_or(Place::Keyless, |id| keyed(id.as_str().as_bytes())),
            Key::Ip => match ask.source {
                IpAddr::V4(ip) => keyed(&ip.octets()),
                IpAddr::V6(ip) => keyed(&ip.octets()),
            },
            Key::Header(name) => {
                let lines = ask.parts.headers.get_all(name).iter().map(HeaderValue::as_bytes);
                let mut lines = lines.peekable();
                if lines.peek().is_none() {
                    return Place::Keyless;
                }
                Place::Keyed(table.token(self.buckets.number, lines))
            }
            Key::Claim(_) => {
                let name = self.claim.as_ref();
                let claim = ask.claims.zip(name).and_then(|(claims, name)| claims.text(name));
                claim.map_or(Place::Keyless, |text| keyed(text.as_bytes()))
            }
            Key::ApiKey => ask.api_key.map_or(Place::Keyless, |name| keyed(name.as_bytes())),
        }
    }

    /// What a bucket is at.
    pub(super) fn look(&self, table: &Table, place: Place, now_ns: u64) -> u64 {
        match place {
            Place::Keyless => self.buckets.keyless.load(Acquire),
            Place::Keyed(token) => table.look(token, &self.buckets.newcomers, now_ns),
        }
    }

    /// Takes a request from its bucket.
    ///
    /// # Errors
    /// How long it takes until there is room for one, in nanoseconds.
    pub(super) fn take(&self, table: &Table, place: Place, now_ns: u64) -> Result<Taken, u64> {
        let Buckets { keyless, newcomers, .. } = &*self.buckets;
        match place {
            Place::Keyless => take_from(keyless, self.pace, now_ns).map(Taken::keyless),
            Place::Keyed(token) => table.take(token, self.pace, newcomers, now_ns),
        }
    }

    /// Takes it back.
    pub(super) fn give_back(&self, table: &Table, place: Place, taken: Taken) {
        let Buckets { keyless, newcomers, .. } = &*self.buckets;
        match place {
            Place::Keyless => give_back_to(keyless, self.pace),
            Place::Keyed(token) => table.give_back(token, self.pace, newcomers, taken),
        }
    }
}

/// The limit is what may come at once, which is what `remaining` counts down from; the policy says
/// the rate, in whole seconds.
fn shown(name: &str, limit: &Limit) -> [HeaderValue; 2] {
    let Limit { key: _, requests, per, burst, matches: _ } = limit;
    let seconds = per.as_secs_f64().ceil().max(1.0);
    let quota = (f64::from(*requests) * seconds / per.as_secs_f64()).floor();
    let policy = HeaderValue::from_str(&format!("{name};q={quota};w={seconds}"));
    let policy = policy.unwrap_or_else(|_| HeaderValue::from(*requests));
    [HeaderValue::from(*burst), policy]
}
