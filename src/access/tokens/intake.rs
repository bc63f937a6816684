//! What counts at one port: whose tokens from where, whose keys, and what the app gets of them.

use std::borrow::Cow;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderName};
use tokio::sync::watch;

use super::api_keys::{self, KeySet};
use super::cache::Cache;
use super::fault::{Fault, Trouble};
use super::issuer::{Issuer, Verified};
use super::judging::Unjudged;
use super::{Tokens, place};
use crate::access::at_port::Named;
use crate::access::credentials::Credentials;
use crate::jwt::{Invalid, MOST_BYTES};
use crate::resources::AccessPolicy;
use crate::resources::access_policy::TokenPlace;

/// What counts at one port.
#[derive(Debug)]
pub struct Intake {
    places: Vec<TokenPlace>,
    /// Those of the nearest policy first.
    pub(super) issuers: Vec<Accepted>,
    keys: Vec<KeySet>,
    /// Whose the issuers are, and then the keys.
    by: Vec<Named>,
    cleared: Arc<Cleared>,
    queries: Box<[Box<str>]>,
    pub(super) cache: Arc<Cache>,
}

#[derive(Debug)]
pub(super) struct Accepted {
    pub issuer: Arc<Issuer>,
    /// Which of the places its tokens may stand in, a bit for each.
    pub places: u64,
}

/// Headers that the app is told of callers by, and that no caller may say. Some servers take `_` for
/// `-`, so neither is passed on.
#[derive(Debug, Default)]
pub struct Cleared(Box<[HeaderName]>);

/// What a request came with, and what is wrong with it.
#[derive(Debug, Default)]
pub struct Known {
    pub credentials: Credentials,
    pub fault: Option<Fault>,
    /// Where a token stands.
    places: u64,
}

/// Something to wait for before a request can be judged.
#[derive(Debug)]
pub struct Wait(pub(super) watch::Receiver<()>);

/// What came of looking at a request.
#[derive(Debug)]
pub enum Presented {
    Known(Known),
    Waits(Wait),
}

impl Known {
    /// What somebody who stays has shown before, and whether it still counts.
    pub fn again(shown: &Credentials, intake: Option<&Intake>) -> Self {
        let withdrawn = |intake: &Intake| intake.withdrawn(shown);
        let has_shown = shown.token.is_some() || shown.api_key.is_some();
        let nobody = Fault { trouble: Trouble::Withdrawn, by: 0 };
        let fault = intake.map_or(has_shown.then_some(nobody), withdrawn);
        Self { credentials: shown.clone(), fault, places: 0 }
    }
}

impl Wait {
    /// Until there is news; the caller says how long it has.
    pub async fn is_over(mut self) {
        // An end without news is one too.
        let _ = self.0.changed().await;
    }
}

impl Intake {
    /// What `policies`, which are all about the port, come to; `None`: nothing counts.
    pub(in crate::access) fn of(
        policies: &[&AccessPolicy],
        named: impl Fn(&AccessPolicy) -> Named,
        tokens: &Tokens,
    ) -> Option<Box<Self>> {
        let asks = |policy: &&&AccessPolicy| !policy.jwt.is_empty() || policy.api_keys.is_some();
        let mut policies: Vec<&AccessPolicy> = policies.iter().filter(asks).copied().collect();
        if policies.is_empty() {
            return None;
        }
        policies.sort_by_cached_key(|policy| (std::cmp::Reverse(policy.level()), policy.title()));
        let mut places: Vec<TokenPlace> = Vec::new();
        let (mut issuers, mut by) = (Vec::new(), Vec::new());
        for (policy, written) in policies.iter().flat_map(|of| of.jwt.iter().map(move |j| (of, j)))
        {
            let mut mask = 0;
            for place in &written.from {
                let known = places.iter().position(|other| other == place);
                let at = known.unwrap_or_else(|| {
                    places.push(place.clone());
                    places.len() - 1
                });
                // No port has more places than that; one beyond them would be looked at by nobody.
                mask |= 1_u64.checked_shl(at as u32).unwrap_or(0);
            }
            issuers.push(Accepted { issuer: tokens.issuer(written), places: mask });
            by.push(named(policy));
        }
        let with_keys = policies.iter().filter_map(|of| Some((of, of.api_keys.as_ref()?)));
        let (keys, of_keys): (Vec<_>, Vec<_>) =
            with_keys.map(|(of, keys)| (KeySet::of(keys), named(of))).unzip();
        by.extend(of_keys);
        let claimed = policies.iter().flat_map(|of| &of.jwt).flat_map(|jwt| &jwt.claim_headers);
        let mut cleared: Vec<HeaderName> = claimed.map(|(name, _)| name.clone()).collect();
        cleared.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        cleared.dedup();
        let queries = places.iter().filter_map(|place| match place {
            TokenPlace::Query(name) => Some(name.as_str().into()),
            _ => None,
        });
        let queries = queries.collect();
        let (cleared, cache) = (Arc::new(Cleared(cleared.into())), Arc::clone(tokens.cache()));
        Some(Box::new(Self { places, issuers, keys, by, cleared, queries, cache }))
    }

    /// Looks at what a request came with; `now` in seconds since 1970. Whoever can't wait is told
    /// what is wrong.
    pub fn present(&self, parts: &Parts, now: u64, may_wait: bool) -> Presented {
        let mut known = Known::default();
        match self.token(parts, &mut known.places, now) {
            Ok(None) => {}
            Ok(Some(verified)) => {
                known.credentials.claims = Some(Arc::clone(&verified.claims));
                known.credentials.token = Some(verified);
            }
            Err(Unjudged::Wait(wait, _)) if may_wait => return Presented::Waits(wait),
            Err(Unjudged::Wait(_, fault) | Unjudged::Fault(fault)) => known.fault = Some(fault),
        }
        match api_keys::find(&self.keys, &parts.headers) {
            Ok(None) => {}
            Ok(Some((name, hash))) => {
                known.credentials.api_key = Some(name);
                known.credentials.key_hash = Some(hash);
            }
            Err((trouble, nth)) => {
                let by = self.issuers.len() + nth;
                known.fault = known.fault.or(Some(Fault { trouble, by }));
            }
        }
        Presented::Known(known)
    }

    fn token(
        &self,
        parts: &Parts,
        places: &mut u64,
        now: u64,
    ) -> Result<Option<Arc<Verified>>, Unjudged> {
        let mut first: Option<Cow<'_, str>> = None;
        let mut trouble = None;
        for (nth, place) in self.places.iter().enumerate().take(64) {
            place::tokens(place, parts, |token| {
                let Some(token) = token else {
                    trouble = Some(Trouble::Invalid(Invalid::Form));
                    return;
                };
                if token.is_empty() {
                    return;
                }
                *places |= 1 << nth;
                match &first {
                    None => first = Some(token),
                    // RFC 6750, 2: by one way only.
                    Some(first) if *first != token => trouble = Some(Trouble::Several),
                    Some(_) => {}
                }
            });
        }
        let by = self.issuers.iter().position(|of| of.places & *places != 0).unwrap_or(0);
        if let Some(trouble) = trouble {
            return Err((trouble, by).into());
        }
        let Some(token) = first else { return Ok(None) };
        if token.len() > MOST_BYTES {
            return Err((Trouble::Invalid(Invalid::Long), by).into());
        }
        self.judged(&token, *places, by, now).map(Some)
    }

    /// Takes out what the app is not to get: tokens, unless they are to be forwarded, and keys.
    pub fn strip(&self, known: &Known, parts: &mut Parts) {
        let is_forwarded = known.credentials.token.as_ref().is_some_and(|of| of.is_forwarded);
        if known.places != 0 && !is_forwarded {
            let places = self.places.iter().enumerate().take(64);
            places
                .filter(|(nth, _)| known.places >> nth & 1 == 1)
                .for_each(|(_, place)| place::remove(place, parts));
        }
        if known.credentials.api_key.is_some() {
            for set in &self.keys {
                parts.headers.remove(&set.header);
            }
        }
    }

    /// What has been shown, judged again for somebody who stays: the fault that it has by now.
    pub(in crate::access) fn withdrawn(&self, shown: &Credentials) -> Option<Fault> {
        let fault = |by| Some(Fault { trouble: Trouble::Withdrawn, by });
        if let Some(token) = &shown.token
            && !self.issuers.iter().any(|of| of.issuer.would_stand_by(token))
        {
            return fault(0);
        }
        match (&shown.api_key, &shown.key_hash) {
            (Some(name), Some(hash)) if !self.keys.iter().any(|set| set.has(name, hash)) => {
                fault(self.issuers.len())
            }
            _ => None,
        }
    }

    /// Headers that callers may not say.
    pub fn cleared(&self) -> &Arc<Cleared> {
        &self.cleared
    }

    /// Names of query parameters that hold tokens.
    pub fn queries(&self) -> &[Box<str>] {
        &self.queries
    }

    /// Headers that hold tokens or keys.
    pub fn secret_headers(&self) -> impl Iterator<Item = &HeaderName> {
        let of_tokens = self.places.iter().filter_map(|place| match place {
            TokenPlace::Header { name, .. } => Some(name),
            _ => None,
        });
        of_tokens.chain(self.keys.iter().map(|set| &set.header))
    }

    /// Each issuer whose tokens count, with the policy that says so.
    pub fn issuers(&self) -> impl Iterator<Item = (&Arc<Issuer>, &Named)> {
        self.issuers.iter().map(|of| &of.issuer).zip(&self.by)
    }

    /// The keys of each policy that has any.
    pub fn keys(&self) -> impl Iterator<Item = (&KeySet, &Named)> {
        self.keys.iter().zip(self.by.iter().skip(self.issuers.len()))
    }

    /// The policy that a fault is by.
    pub(in crate::access) fn named(&self, fault: Fault) -> Option<&Named> {
        self.by.get(fault.by)
    }

    /// Whether tokens, and whether keys, can be shown.
    pub(in crate::access) fn takes(&self) -> (bool, bool) {
        (!self.issuers.is_empty(), !self.keys.is_empty())
    }
}

impl Cleared {
    /// Removes what a caller wrote under these names.
    pub fn clear(&self, headers: &mut HeaderMap) {
        let like = |a: &[u8], b: &[u8]| {
            let plain = |byte: &u8| if *byte == b'_' { b'-' } else { *byte };
            a.len() == b.len() && a.iter().map(plain).eq(b.iter().map(plain))
        };
        loop {
            let is_ours = |name: &&HeaderName| {
                let name = name.as_str().as_bytes();
                self.0.iter().any(|ours| like(ours.as_str().as_bytes(), name))
            };
            let Some(name) = headers.keys().find(is_ours).cloned() else { return };
            headers.remove(name);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn names(&self) -> &[HeaderName] {
        &self.0
    }
}
