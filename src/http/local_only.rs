//! Who may ask an admin port what, in plaintext: probes and scrapers come from anywhere, everything
//! else comes from this machine, and not from a web page that somebody on it has open.
//!
//! Both admin ports ask here first. This machine is 127.0.0.1 and ::1 and nothing else: other
//! loopback addresses are where proxies deliver what came from elsewhere. Host is checked because a
//! name that points at 127.0.0.1 (DNS rebinding) makes a stranger's page one of ours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::{Method, Request, header};

/// Paths that answer anyone.
const OPEN: [&str; 3] = ["/live", "/ready", "/metrics"];

/// Why a request is not answered. All of them are a 403.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The client is on another machine.
    Elsewhere,
    /// Host is a name.
    ForeignHost,
    /// A web page wants to change something.
    WebPage,
}

impl Refusal {
    /// For the one who asked.
    pub fn sentence(self) -> &'static str {
        match self {
            Refusal::Elsewhere => "this path answers requests from this machine only",
            Refusal::ForeignHost => {
                "Host must be an address or localhost, not a name that anyone can point here"
            }
            Refusal::WebPage => "changes are not taken from web pages",
        }
    }
}

/// Whether a request in plaintext may be answered.
///
/// # Errors
/// Why not.
pub fn check<B>(request: &Request<B>, client: SocketAddr) -> Result<(), Refusal> {
    if is_open(request) {
        return Ok(());
    }
    if !is_this_machine(client.ip()) {
        return Err(Refusal::Elsewhere);
    }
    if !is_local_host(request) {
        return Err(Refusal::ForeignHost);
    }
    if is_from_page(request) {
        return Err(Refusal::WebPage);
    }
    Ok(())
}

/// Whether a request is one that anyone may make.
pub fn is_open<B>(request: &Request<B>) -> bool {
    request.method() == Method::GET && OPEN.contains(&request.uri().path())
}

/// Whether a web page wants to change something. Browsers say so in every `POST`.
pub fn is_from_page<B>(request: &Request<B>) -> bool {
    request.method() == Method::POST && request.headers().contains_key(header::ORIGIN)
}

/// Whether a client is on this machine, and no proxy's.
pub fn is_this_machine(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    ip == Ipv4Addr::LOCALHOST || ip == Ipv6Addr::LOCALHOST
}

fn is_local_host<B>(request: &Request<B>) -> bool {
    let host = request.headers().get(header::HOST).map(|host| host.to_str().unwrap_or("?"));
    let Some(host) = request.uri().authority().map(|a| a.as_str()).or(host) else {
        return true;
    };
    if host.parse::<SocketAddr>().is_ok() {
        return true;
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_matches(['[', ']']);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_ask_what() {
        use Refusal::{Elsewhere, ForeignHost, WebPage};
        let here = "127.0.0.1:5555";
        let mapped = "[::ffff:127.0.0.1]:5555";
        let away = "10.1.2.3:5555";
        for (method, path, client, host, origin, refusal) in [
            ("GET", "/metrics", away, "pod.example", false, None),
            ("GET", "/config", away, "10.1.2.3:15000", false, Some(Elsewhere)),
            ("GET", "/config", "127.0.0.6:5555", "localhost", false, Some(Elsewhere)),
            ("GET", "/config", "[::2]:5555", "localhost", false, Some(Elsewhere)),
            ("GET", "/config", here, "127.0.0.1:15000", false, None),
            ("GET", "/config", "[::1]:5555", "[::1]", false, None),
            ("GET", "/config", mapped, "localhost:15000", false, None),
            ("GET", "/config", here, "[::1]:15000", false, None),
            ("GET", "/config", here, "evil.example:15000", false, Some(ForeignHost)),
            ("GET", "/config", here, "localhost.evil.example", false, Some(ForeignHost)),
            ("GET", "/config", here, "h\u{f6}st", false, Some(ForeignHost)),
            ("GET", "http://evil.example/config", here, "localhost", false, Some(ForeignHost)),
            ("POST", "/drain", here, "localhost:15000", false, None),
            ("POST", "/drain", here, "localhost:15000", true, Some(WebPage)),
            ("POST", "/ready", away, "x", false, Some(Elsewhere)),
        ] {
            let host_value = http::HeaderValue::from_bytes(host.as_bytes()).expect("a value");
            let mut request =
                Request::builder().method(method).uri(path).header("host", host_value);
            if origin {
                request = request.header("origin", "http://localhost:15000");
            }
            let request = request.body(()).expect("a request");
            let client = client.parse().expect("an address");
            assert_eq!(check(&request, client).err(), refusal, "{method} {path} {client} {host}");
        }
    }
}
