//! Whether a rule holds: the plain reading of it.
//!
//! What can't be known of a request counts for nobody: for a rule that allows it is not so, for one
//! that denies it is. That is what only HTTP has, of opaque bytes; a path, of a request that has
//! none; what a token or a key would say, of somebody who has shown none.

use http::{HeaderMap, HeaderName, Method};
use ipnet::IpNet;

use super::ask::{Ask, Request, What};
use super::shape::Shape;
use crate::jwt::{ClaimName, Claims, Wanted};
use crate::model::{Action, Hostname, SpiffeId};
use crate::resources::access_policy::pattern::TextPattern;
use crate::resources::access_policy::rule::{self as written, Identity};

/// A rule, made ready to be compared.
#[derive(Debug)]
pub struct Rule {
    pub action: Action,
    from: Box<[Source]>,
    to: Box<[Operation]>,
}

#[derive(Debug)]
struct Source {
    is_proven: bool,
    /// In ascending order.
    identities: Box<[SpiffeId]>,
    namespaces: Box<[Box<str>]>,
    ip_blocks: Box<[IpNet]>,
    claims: Box<[(ClaimName, Vec<Wanted>)]>,
    api_keys: Box<[Box<str>]>,
}

/// What is taken to be so of somebody who has not shown it; `None`: it is not known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Supposed {
    pub claims: Option<bool>,
    pub key: Option<bool>,
}

#[derive(Debug)]
struct Operation {
    methods: Box<[Method]>,
    paths: Box<[Shape]>,
    hosts: Box<[Hostname]>,
    headers: Box<[(HeaderName, Vec<TextPattern>)]>,
}

impl Rule {
    pub fn of(rule: &written::Rule) -> Self {
        Self {
            action: rule.action,
            from: rule.from.iter().map(Source::of).collect(),
            to: rule.to.iter().map(|to| Operation::of(to, rule.action)).collect(),
        }
    }

    /// Whether it asks for a token's claims or an API key.
    pub fn asks_for_credentials(&self) -> bool {
        self.from.iter().any(|of| !of.claims.is_empty() || !of.api_keys.is_empty())
    }

    pub fn holds(&self, ask: &Ask<'_>) -> bool {
        self.holds_supposing(ask, Supposed::default())
    }

    /// As if a caller's token and key were such.
    pub fn holds_supposing(&self, ask: &Ask<'_>, supposed: Supposed) -> bool {
        let doubt = self.action == Action::Deny;
        (self.from.is_empty() || self.from.iter().any(|from| from.holds(ask, supposed, doubt)))
            && (self.to.is_empty() || self.to.iter().any(|to| to.holds(ask, doubt)))
    }
}

impl Source {
    fn of(source: &written::Source) -> Self {
        let id = |identity: &Identity| match identity {
            Identity::Id(id) => Some(id.clone()),
            Identity::Any => None,
        };
        let mut identities: Vec<SpiffeId> = source.identities.iter().filter_map(id).collect();
        identities.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
        Self {
            is_proven: source.identities.contains(&Identity::Any),
            identities: identities.into(),
            namespaces: source.namespaces.iter().map(|name| name.as_str().into()).collect(),
            ip_blocks: source.ip_blocks.clone().into(),
            claims: source.claims.iter().map(claim).collect(),
            api_keys: source.api_keys.iter().map(|name| name.as_str().into()).collect(),
        }
    }

    fn holds(&self, ask: &Ask<'_>, supposed: Supposed, doubt: bool) -> bool {
        let names_ids = self.is_proven || !self.identities.is_empty();
        (!names_ids || ask.id.is_some_and(|id| self.names(id)))
            && (self.namespaces.is_empty() || ask.id.is_some_and(|id| self.is_home_of(id)))
            && (self.ip_blocks.is_empty()
                || self.ip_blocks.iter().any(|block| block.contains(&ask.source)))
            && (self.claims.is_empty() && self.api_keys.is_empty()
                || self.is_shown(ask, supposed, doubt))
    }

    /// Whether a token and a key are such as it asks for.
    fn is_shown(&self, ask: &Ask<'_>, supposed: Supposed, doubt: bool) -> bool {
        let What::Request(Request { shown, .. }) = ask.what else { return doubt };
        let has_claims =
            |claims: &Claims| self.claims.iter().all(|(name, of)| claims.have(name, of));
        let is_named = |key: &str| self.api_keys.iter().any(|name| **name == *key);
        let unknown = |supposed: Option<bool>| supposed.unwrap_or(doubt);
        (self.claims.is_empty()
            || shown.claims.as_deref().map_or(unknown(supposed.claims), has_claims))
            && (self.api_keys.is_empty()
                || shown.api_key.as_deref().map_or(unknown(supposed.key), is_named))
    }

    fn names(&self, id: &SpiffeId) -> bool {
        let found = |other: &SpiffeId| other.as_str().cmp(id.as_str());
        self.is_proven || self.identities.binary_search_by(found).is_ok()
    }

    fn is_home_of(&self, id: &SpiffeId) -> bool {
        self.namespaces.iter().any(|name| **name == *id.namespace())
    }
}

fn claim((name, values): &(String, Vec<String>)) -> (ClaimName, Vec<Wanted>) {
    (ClaimName::new(name), values.iter().map(|value| Wanted::new(value)).collect())
}

impl Operation {
    fn of(operation: &written::Operation, action: Action) -> Self {
        let shape = |path| Shape::of(path, action);
        Self {
            methods: operation.methods.clone().into(),
            paths: operation.paths.iter().map(shape).collect(),
            hosts: operation.hosts.clone().into(),
            headers: operation.headers.clone().into(),
        }
    }

    fn holds(&self, ask: &Ask<'_>, doubt: bool) -> bool {
        let What::Request(request) = ask.what else {
            // Each entry asks for something that only HTTP has.
            return doubt;
        };
        (self.methods.is_empty() || self.has_method(request.method, doubt))
            && (self.paths.is_empty() || self.has_path(request, doubt))
            && (self.hosts.is_empty() || request.host.map_or(doubt, |host| self.has_host(host)))
            && self.headers.iter().all(|(name, of)| has_value(request.headers, name, of, doubt))
    }

    /// Some servers take `delete` for DELETE.
    fn has_method(&self, method: &Method, doubt: bool) -> bool {
        let is_like = |of: &Method| of.as_str().eq_ignore_ascii_case(method.as_str());
        self.methods.contains(method) || doubt && self.methods.iter().any(is_like)
    }

    fn has_path(&self, request: &Request<'_>, doubt: bool) -> bool {
        let Some(path) = &request.path else { return doubt };
        let fits = |path: &str| self.paths.iter().any(|shape| shape.fits(path));
        fits(path) || doubt && request.others().iter().any(|other| fits(other))
    }

    fn has_host(&self, host: &str) -> bool {
        self.hosts.iter().any(|of| match of {
            Hostname::Exact(name) => host.eq_ignore_ascii_case(name),
            Hostname::Below(suffix) => {
                let at = host.len().checked_sub(suffix.len()).filter(|at| *at > 0);
                let end = at.and_then(|at| host.get(at..));
                end.is_some_and(|end| end.eq_ignore_ascii_case(suffix))
            }
        })
    }
}

/// A header that stands several times may be read as any of its lines. For one who is allowed by it
/// each must fit; for one who is denied a line or an item of a list is enough.
fn has_value(headers: &HeaderMap, name: &HeaderName, of: &[TextPattern], doubt: bool) -> bool {
    let fits = |value: &[u8]| of.iter().any(|pattern| pattern.matches(value));
    let mut lines = headers.get_all(name).iter().map(|value| value.as_bytes()).peekable();
    if doubt {
        let items = |line: &[u8]| line.split(|b| *b == b',').any(|item| fits(item.trim_ascii()));
        return lines.any(|line| fits(line) || items(line));
    }
    lines.peek().is_some() && lines.all(fits)
}
