//! Where an HTTP probe goes, first and after a redirection.
//!
//! kubelet follows an app that redirects to itself, up to ten times, and takes a redirection to
//! another host for a sign of life. Itself is the address that kubelet asks, which is the pod's; the
//! connection goes to loopback all the same.

use std::net::IpAddr;

use http::HeaderValue;
use http::header::HOST;

use super::Http;

/// One request's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub is_tls: bool,
    pub port: u16,
    /// What `Host` says.
    pub host: HeaderValue,
    /// Path and query.
    pub path: String,
    /// The host as kubelet's URL has it, in brackets if IPv6.
    pub name: String,
}

impl Place {
    /// Where the target says; `own` is the pod's address.
    pub fn of(http: &Http, own: IpAddr) -> Place {
        let own = || match own.to_canonical() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        let name = http.host.clone().unwrap_or_else(own);
        let said = http.headers.iter().find(|header| header.name == HOST);
        let host = said.map_or_else(
            || HeaderValue::from_str(&format!("{name}:{}", http.port)).ok(),
            |header| Some(header.value.clone()),
        );
        Place {
            is_tls: http.is_tls,
            port: http.port,
            // A name that no header takes has been refused with the configuration.
            host: host.unwrap_or_else(|| HeaderValue::from_static("localhost")),
            path: http.path.clone(),
            name,
        }
    }

    /// Where a `Location` leads; `None` if that is another host, or nowhere.
    pub fn after(&self, location: &str) -> Option<Place> {
        let location = location.split('#').next().filter(|location| !location.is_empty())?;
        let (is_tls, rest) = match location.split_once("://") {
            Some((scheme, rest)) if !scheme.contains(['/', '?']) => {
                let is_tls = scheme.eq_ignore_ascii_case("https");
                (is_tls || scheme.eq_ignore_ascii_case("http")).then_some((is_tls, rest))?
            }
            _ => match location.strip_prefix("//") {
                Some(rest) => (self.is_tls, rest),
                None => return Some(Place { path: self.joined(location), ..self.clone() }),
            },
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let authority = authority.rsplit('@').next().unwrap_or_default();
        let (name, port) = match authority.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => (name, port.parse().ok()?),
            _ => (authority, if is_tls { 443 } else { 80 }),
        };
        if !name.eq_ignore_ascii_case(&self.name) {
            return None;
        }
        let path = if path.starts_with('/') { path.into() } else { format!("/{path}") };
        let host = HeaderValue::from_str(authority).ok()?;
        Some(Place { is_tls, port, host, path, name: self.name.clone() })
    }

    /// A reference without a host (RFC 3986, section 5.2).
    fn joined(&self, reference: &str) -> String {
        let base = self.path.split('?').next().unwrap_or("/");
        if reference.starts_with('?') {
            return format!("{base}{reference}");
        }
        let (path, query) = match reference.find('?') {
            Some(at) => reference.split_at(at),
            None => (reference, ""),
        };
        let folder = base.rfind('/').map_or("", |at| &base[..at]);
        let whole =
            if path.starts_with('/') { path.to_owned() } else { format!("{folder}/{path}") };
        let mut kept: Vec<&str> = Vec::new();
        for segment in whole.split('/').skip(1) {
            match segment {
                "." => {}
                ".." => drop(kept.pop()),
                segment => kept.push(segment),
            }
        }
        // Dots at the end name a folder.
        if whole.ends_with("/.") || whole.ends_with("/..") {
            kept.push("");
        }
        format!("/{}{query}", kept.join("/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::Header;

    fn target() -> Http {
        Http { port: 8080, path: "/a/b?x=1".into(), is_tls: false, host: None, headers: vec![] }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn the_app_sees_the_host_that_kubelet_would_send() {
        let named = Http { host: Some("web.example".into()), ..target() };
        let value = HeaderValue::from_static("other");
        let said = Http { headers: vec![Header { name: HOST, value }], ..named.clone() };
        for (http, own, host) in [
            (target(), "10.1.2.3", "10.1.2.3:8080"),
            (target(), "::ffff:10.1.2.3", "10.1.2.3:8080"),
            (target(), "fd00::1", "[fd00::1]:8080"),
            (named, "10.1.2.3", "web.example:8080"),
            (said, "10.1.2.3", "other"),
        ] {
            assert_eq!(Place::of(&http, ip(own)).host, host);
        }
    }

    #[test]
    fn redirections_to_the_same_host_are_followed() {
        let first = Place::of(&target(), ip("10.1.2.3"));
        let leads = |location: &str| {
            let place = first.after(location)?;
            let scheme = if place.is_tls { "https" } else { "http" };
            let host = place.host.to_str().expect("text").to_owned();
            Some(format!("{scheme} {} {host} {}", place.port, place.path))
        };
        for (location, expected) in [
            ("/c?y=2#z", "http 8080 10.1.2.3:8080 /c?y=2"),
            ("c", "http 8080 10.1.2.3:8080 /a/c"),
            ("../c/", "http 8080 10.1.2.3:8080 /c/"),
            ("./..", "http 8080 10.1.2.3:8080 /"),
            ("?y=2", "http 8080 10.1.2.3:8080 /a/b?y=2"),
            ("/to?url=http://else.example", "http 8080 10.1.2.3:8080 /to?url=http://else.example"),
            ("http://10.1.2.3:9090/c", "http 9090 10.1.2.3:9090 /c"),
            ("HTTPS://10.1.2.3?y", "https 443 10.1.2.3 /?y"),
            ("//10.1.2.3", "http 80 10.1.2.3 /"),
        ] {
            assert_eq!(leads(location).as_deref(), Some(expected), "{location}");
        }
        for elsewhere in [
            "",
            "#here",
            "http://web.example/",
            "http://10.1.2.3@web.example/",
            "//10.1.2.30/",
            "ftp://10.1.2.3/",
            "http://10.1.2.3:port/",
        ] {
            assert_eq!(leads(elsewhere), None, "{elsewhere}");
        }
        let six = Place::of(&target(), ip("fd00::1"));
        assert_eq!(six.after("http://[fd00::1]/c").map(|place| place.port), Some(80));
        assert_eq!(six.after("http://[fd00::1]:81/c").map(|place| place.port), Some(81));
    }
}
