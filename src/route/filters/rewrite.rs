//! Rewrites of what is asked for: the authority, the path, or both.
//!
//! The authority stands in up to two places, the target and the header Host, and both are changed:
//! whoever reads only one of them reads the same. The query stays as it is.

use bytes::Bytes;
use http::request::Parts;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, Uri, header};

use super::path::PathEdit;
use crate::model::{self, HeaderEdit};

/// A rewrite, ready to be applied.
#[derive(Debug, Default)]
pub(super) struct Rewrite {
    authority: Option<(Authority, HeaderValue)>,
    path: Option<PathEdit>,
}

/// Takes the new Host out of an edit, and what would leave the request without one.
pub(super) fn take_host(edit: &mut HeaderEdit) -> Option<Authority> {
    let hosts = edit.set.iter().chain(&edit.add).filter(|(name, _)| name == header::HOST);
    let host = hosts.last().and_then(|(_, value)| Authority::try_from(value.as_bytes()).ok());
    edit.set.retain(|(name, _)| name != header::HOST);
    edit.add.retain(|(name, _)| name != header::HOST);
    edit.remove.retain(|name| name != header::HOST);
    host
}

impl Rewrite {
    /// Takes over what `of` says.
    pub fn merge(&mut self, of: &model::Rewrite) {
        if let Some(authority) = &of.authority {
            self.host(authority.clone());
        }
        if let Some(path) = &of.path {
            self.path = Some(PathEdit::new(path));
        }
    }

    pub fn host(&mut self, authority: Authority) {
        let value = HeaderValue::from_str(authority.as_str());
        let value = value.expect("an authority has nothing that a header may not have");
        self.authority = Some((authority, value));
    }

    pub fn apply(&self, parts: &mut Parts, prefix: usize) {
        // Only a path that became longer than a URI may be is refused; then all stays as it was.
        let Some(uri) = self.target(&parts.uri, prefix) else { return };
        parts.uri = uri;
        if let Some((_, host)) = &self.authority {
            parts.headers.insert(header::HOST, host.clone());
        }
    }

    fn target(&self, uri: &Uri, prefix: usize) -> Option<Uri> {
        let mut target = uri.clone().into_parts();
        if let Some((authority, _)) = &self.authority
            && target.authority.is_some()
        {
            target.authority = Some(authority.clone());
        }
        // `OPTIONS *` and CONNECT ask for no path.
        if let Some(edit) = &self.path
            && uri.path().starts_with('/')
        {
            target.path_and_query = Some(edited(edit, uri, prefix)?);
        }
        Uri::from_parts(target).ok()
    }
}

fn edited(edit: &PathEdit, uri: &Uri, prefix: usize) -> Option<PathAndQuery> {
    let mut target = Vec::with_capacity(uri.path().len() + 64);
    edit.write(uri.path(), prefix, &mut target);
    if let Some(query) = uri.query() {
        target.push(b'?');
        target.extend_from_slice(query.as_bytes());
    }
    PathAndQuery::from_maybe_shared(Bytes::from(target)).ok()
}
