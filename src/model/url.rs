//! Where something is asked for: the parts of an `http` or `https` URL.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

/// A URL, as it is written and in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    written: Arc<str>,
    pub is_tls: bool,
    /// Without the brackets of an IPv6 address.
    pub host: Arc<str>,
    pub port: u16,
    /// As it was written; for `Host`.
    pub authority: Authority,
    pub target: PathAndQuery,
}

impl Url {
    /// `https://idp.example/jwks.json`. One that names a user is none: it would hold a secret.
    pub fn parse(text: &str) -> Option<Self> {
        let uri = Uri::try_from(text).ok()?.into_parts();
        let is_tls = match uri.scheme {
            Some(scheme) if scheme == Scheme::HTTPS => true,
            Some(scheme) if scheme == Scheme::HTTP => false,
            _ => return None,
        };
        let authority = uri.authority?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            None if authority.as_str().ends_with(':') => return None,
            None => [80, 443][usize::from(is_tls)],
        };
        let is_sound = !host.is_empty() && port > 0 && !authority.as_str().contains('@');
        is_sound.then(|| Self {
            written: text.into(),
            is_tls,
            host: host.into(),
            port,
            target: uri.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/")),
            authority: authority.clone(),
        })
    }

    /// Whether it is of this host, so that nobody on the way can read or change what is said.
    pub fn is_local(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        &*self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.written
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::Url;

    #[test]
    fn a_url_is_taken_apart_and_one_with_a_secret_is_none() {
        let url = Url::parse("https://idp.example/a/jwks?b=c").expect("sound");
        assert_eq!((&*url.host, url.port, url.is_tls), ("idp.example", 443, true));
        assert_eq!((url.target.as_str(), url.is_local()), ("/a/jwks?b=c", false));
        let six = Url::parse("http://[::1]:8080").expect("sound");
        assert_eq!((&*six.host, six.port, six.target.as_str()), ("::1", 8080, "/"));
        assert!(six.is_local() && Url::parse("http://localhost/").is_some_and(|u| u.is_local()));
        for wrong in ["idp.example", "ftp://a/", "https://", "https://u:p@a/", "https://a:0/", "/x"]
        {
            assert_eq!(Url::parse(wrong), None, "{wrong}");
        }
    }
}
