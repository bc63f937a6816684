//! Who may ask what.

use std::net::{IpAddr, SocketAddr};

use http::{Method, Request, StatusCode, header};

/// Paths that answer anyone, because probes and scrapers come from elsewhere.
const OPEN: [&str; 3] = ["/live", "/ready", "/metrics"];

/// Refuses what must not be answered, with the sentence that says why.
pub fn check<B>(
    request: &Request<B>,
    client: SocketAddr,
) -> Result<(), (StatusCode, &'static str)> {
    if OPEN.contains(&request.uri().path()) && request.method() == Method::GET {
        return Ok(());
    }
    if !client.ip().to_canonical().is_loopback() {
        return Err((StatusCode::FORBIDDEN, "this path answers requests from this machine only"));
    }
    if !is_local_host(request) {
        return Err((
            StatusCode::FORBIDDEN,
            "Host must be an address or localhost, not a name that anyone can point here",
        ));
    }
    if request.method() == Method::POST && request.headers().contains_key(header::ORIGIN) {
        return Err((StatusCode::FORBIDDEN, "changes are not taken from web pages"));
    }
    Ok(())
}

fn is_local_host<B>(request: &Request<B>) -> bool {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
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
        let here = "127.0.0.1:5555";
        let mapped = "[::ffff:127.0.0.1]:5555";
        let away = "10.1.2.3:5555";
        for (method, path, client, host, origin, fine) in [
            ("GET", "/metrics", away, "pod.example", false, true),
            ("GET", "/config", away, "10.1.2.3:15000", false, false),
            ("GET", "/config", here, "127.0.0.1:15000", false, true),
            ("GET", "/config", mapped, "localhost:15000", false, true),
            ("GET", "/config", here, "[::1]:15000", false, true),
            ("GET", "/config", here, "evil.example:15000", false, false),
            ("POST", "/drain", here, "localhost:15000", false, true),
            ("POST", "/drain", here, "localhost:15000", true, false),
            ("POST", "/ready", away, "x", false, false),
        ] {
            let mut request = Request::builder().method(method).uri(path).header("host", host);
            if origin {
                request = request.header("origin", "http://localhost:15000");
            }
            let request = request.body(()).expect("a request");
            let client = client.parse().expect("an address");
            assert_eq!(check(&request, client).is_ok(), fine, "{method} {path} {client} {host}");
        }
    }
}
