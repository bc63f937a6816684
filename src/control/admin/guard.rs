//! Who may ask what: this machine in plaintext, whoever shows the operator token over TLS.
//!
//! A token that came in plaintext is not even compared: whoever listened could use it.

use std::net::SocketAddr;

use http::header::{self, HeaderValue};
use http::{Request, StatusCode};

use super::OperatorToken;
use crate::http::answers::{self, Answer};
use crate::http::local_only;

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It came in plaintext, or from a web page.
    Forbidden(local_only::Refusal),
    /// It came over TLS and shows no token.
    NoToken,
    /// It came over TLS and shows another.
    WrongToken,
}

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Plaintext,
    Tls,
}

/// Whether a request may be answered.
///
/// # Errors
/// Why not.
pub fn check<B>(
    request: &Request<B>,
    client: SocketAddr,
    way: Way,
    operator: &OperatorToken,
) -> Result<(), Refusal> {
    if way == Way::Plaintext {
        return local_only::check(request, client).map_err(Refusal::Forbidden);
    }
    if local_only::is_open(request) {
        return Ok(());
    }
    if local_only::is_from_page(request) {
        return Err(Refusal::Forbidden(local_only::Refusal::WebPage));
    }
    let shown = bearer(request).ok_or(Refusal::NoToken)?;
    if operator.is(shown) { Ok(()) } else { Err(Refusal::WrongToken) }
}

/// RFC 6750, section 2.1; the scheme's case does not matter (RFC 9110, section 11.1).
fn bearer<B>(request: &Request<B>) -> Option<&[u8]> {
    let shown = request.headers().get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = shown.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

impl Refusal {
    /// For the one who asked.
    pub fn answer(self) -> Answer {
        let (status, sentence) = match self {
            Refusal::Forbidden(local_only::Refusal::Elsewhere) => (
                StatusCode::FORBIDDEN,
                "in plaintext this path answers requests from this machine only: from elsewhere use \
                 https and Authorization: Bearer with the operator token",
            ),
            Refusal::Forbidden(why) => (StatusCode::FORBIDDEN, why.sentence()),
            Refusal::NoToken => (
                StatusCode::UNAUTHORIZED,
                "over TLS this path needs Authorization: Bearer with the operator token",
            ),
            Refusal::WrongToken => {
                (StatusCode::UNAUTHORIZED, "this is not the operator token of this control plane")
            }
        };
        let mut answer = answers::text(status, format!("{sentence}\n"));
        if status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"outrigger\"");
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_tls_the_token_decides() {
        let operator = OperatorToken::new("right").expect("a token");
        let page = Refusal::Forbidden(local_only::Refusal::WebPage);
        for (method, path, authorization, origin, refusal) in [
            ("GET", "/ready", None, false, None),
            ("GET", "/sessions", None, false, Some(Refusal::NoToken)),
            ("GET", "/sessions", Some("Bearer right"), false, None),
            ("GET", "/sessions", Some("bearer  right"), false, None),
            ("GET", "/sessions", Some("Bearer wrong"), false, Some(Refusal::WrongToken)),
            ("GET", "/sessions", Some("Bearer "), false, Some(Refusal::WrongToken)),
            ("GET", "/sessions", Some("Bearer"), false, Some(Refusal::NoToken)),
            ("GET", "/sessions", Some("Basic right"), false, Some(Refusal::NoToken)),
            ("GET", "/sessions", Some("right"), false, Some(Refusal::NoToken)),
            ("POST", "/ready", None, false, Some(Refusal::NoToken)),
            ("POST", "/log", Some("Bearer right"), false, None),
            ("POST", "/log", Some("Bearer right"), true, Some(page)),
        ] {
            let mut request = Request::builder().method(method).uri(path).header("host", "a.b");
            if let Some(authorization) = authorization {
                request = request.header("authorization", authorization);
            }
            if origin {
                request = request.header("origin", "https://a.b");
            }
            let request = request.body(()).expect("a request");
            for client in ["127.0.0.1:1", "10.0.0.1:1"] {
                let client = client.parse().expect("an address");
                let found = check(&request, client, Way::Tls, &operator).err();
                assert_eq!(found, refusal, "{method} {path} {authorization:?} {client}");
            }
        }
    }
}
