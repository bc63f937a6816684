//! Another path in the place of a request's.
//!
//! Always a valid one, whatever was written: what may not stand in a path is escaped when it is
//! compiled, and the rest comes from a path that was valid already.

use crate::model::PathChange;

/// A change of path, ready to be written.
#[derive(Clone, Debug)]
pub(super) enum PathEdit {
    Full(Box<str>),
    /// Without its last slash: whether one follows is up to what is left of the path.
    Prefix(Box<str>),
}

impl PathEdit {
    pub fn new(change: &PathChange) -> Self {
        match change {
            PathChange::Full(path) => Self::Full(legal(path).into()),
            PathChange::Prefix(prefix) => {
                let prefix = legal(prefix);
                Self::Prefix(prefix.strip_suffix('/').unwrap_or(&prefix).into())
            }
        }
    }

    /// Appends the path that `path` becomes, whose first `prefix` bytes were matched.
    pub fn write(&self, path: &str, prefix: usize, out: &mut Vec<u8>) {
        match self {
            Self::Full(path) => out.extend_from_slice(path.as_bytes()),
            Self::Prefix(replacement) => {
                let rest = path.get(prefix..).unwrap_or_default();
                out.extend_from_slice(replacement.as_bytes());
                if replacement.is_empty() && rest.is_empty() {
                    out.push(b'/');
                }
                out.extend_from_slice(rest.as_bytes());
            }
        }
    }
}

/// What was written, as a path (RFC 3986 3.3): with a slash in front, and escaped where it must be.
fn legal(written: &str) -> String {
    let mut path = String::with_capacity(written.len() + 1);
    if !written.starts_with('/') {
        path.push('/');
    }
    for (at, byte) in written.bytes().enumerate() {
        let stands = match byte {
            b'%' => is_escape(&written.as_bytes()[at + 1..]),
            b'/' | b':' | b'@' | b'-' | b'.' | b'_' | b'~' => true,
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => true,
            other => other.is_ascii_alphanumeric(),
        };
        if stands {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}

fn is_escape(after: &[u8]) -> bool {
    after.len() > 1 && after[..2].iter().all(u8::is_ascii_hexdigit)
}
