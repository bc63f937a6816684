//! Whether a rule holds: the plain reading of it.
//!
//! What can't be known of a request counts for nobody: for a rule that allows it is not so, for one
//! that denies it is. That is what only HTTP has, of opaque bytes; a path, of a request that has
//! none; a token, of everybody until tokens are read.

use http::{HeaderMap, HeaderName, Method};
use ipnet::IpNet;

use super::ask::{Ask, Request, What};
use crate::model::{Action, Hostname, SpiffeId};
use crate::resources::access_policy::pattern::{PathPattern, Segment, TextPattern};
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
    needs_token: bool,
}

#[derive(Debug)]
struct Operation {
    methods: Box<[Method]>,
    paths: Box<[PathPattern]>,
    hosts: Box<[Hostname]>,
    headers: Box<[(HeaderName, Vec<TextPattern>)]>,
}

impl Rule {
    pub fn of(rule: &written::Rule) -> Self {
        Self {
            action: rule.action,
            from: rule.from.iter().map(Source::of).collect(),
            to: rule.to.iter().map(Operation::of).collect(),
        }
    }

    pub fn holds(&self, ask: &Ask<'_>) -> bool {
        let doubt = self.action == Action::Deny;
        (self.from.is_empty() || self.from.iter().any(|from| from.holds(ask, doubt)))
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
            needs_token: source.needs_token(),
        }
    }

    fn holds(&self, ask: &Ask<'_>, doubt: bool) -> bool {
        let names_ids = self.is_proven || !self.identities.is_empty();
        (!self.needs_token || doubt)
            && (!names_ids || ask.id.is_some_and(|id| self.names(id)))
            && (self.namespaces.is_empty() || ask.id.is_some_and(|id| self.is_home_of(id)))
            && (self.ip_blocks.is_empty()
                || self.ip_blocks.iter().any(|block| block.contains(&ask.source)))
    }

    fn names(&self, id: &SpiffeId) -> bool {
        let found = |other: &SpiffeId| other.as_str().cmp(id.as_str());
        self.is_proven || self.identities.binary_search_by(found).is_ok()
    }

    fn is_home_of(&self, id: &SpiffeId) -> bool {
        self.namespaces.iter().any(|name| **name == *id.namespace())
    }
}

impl Operation {
    fn of(operation: &written::Operation) -> Self {
        Self {
            methods: operation.methods.clone().into(),
            paths: operation.paths.clone().into(),
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
        let matches = |path: &str| self.paths.iter().any(|pattern| is_like(path, pattern));
        matches(path) || doubt && request.others.iter().any(|other| matches(other))
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

/// Whether a path has the form of a pattern, segment by segment.
fn is_like(path: &str, pattern: &PathPattern) -> bool {
    let mut segments = path[1..].split('/');
    for wanted in pattern.segments() {
        let Some(segment) = segments.next() else { return false };
        match wanted {
            Segment::Rest => return true,
            Segment::One if segment.is_empty() => return false,
            Segment::One => {}
            Segment::Text(text) if text != segment => return false,
            Segment::Text(_) => {}
        }
    }
    segments.next().is_none()
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
