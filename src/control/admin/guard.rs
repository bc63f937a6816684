//! Who may ask what: this machine in plaintext, operators over TLS, by their token or certificate.
//!
//! A token that came in plaintext is not even compared: whoever listened could use it. One that came
//! over TLS decides alone, whatever certificate came with it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use http::header::{self, HeaderValue};
use http::{Request, StatusCode};

use super::Operators;
use crate::http::answers::{self, Answer};
use crate::http::local_only;
use crate::identity::Revoked;
use crate::tls::Peer;
use crate::wire::shown;

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It came in plaintext, or from a web page.
    Forbidden(local_only::Refusal),
    /// It came over TLS and shows neither token nor certificate.
    NoProof,
    /// It came over TLS and shows another.
    WrongToken,
    /// It came with the certificate of somebody who is no operator.
    NoOperator,
    /// Its certificate has ended or was revoked.
    Ended,
}

/// How a request came.
#[derive(Clone, Debug)]
pub enum Way {
    Plaintext,
    /// With a certificate of this mesh, or without any.
    Tls(Option<Arc<Peer>>),
}

/// Whether a request may be answered.
///
/// # Errors
/// Why not.
pub fn check<B>(
    request: &Request<B>,
    client: SocketAddr,
    way: &Way,
    operators: &Operators,
    revoked: &Revoked,
) -> Result<(), Refusal> {
    let Way::Tls(peer) = way else {
        return local_only::check(request, client).map_err(Refusal::Forbidden);
    };
    if local_only::is_open(request) {
        return Ok(());
    }
    if local_only::is_from_page(request) {
        return Err(Refusal::Forbidden(local_only::Refusal::WebPage));
    }
    if request.headers().contains_key(header::AUTHORIZATION) {
        let shown = shown(request.headers()).ok_or(Refusal::WrongToken)?;
        return if operators.know(shown) { Ok(()) } else { Err(Refusal::WrongToken) };
    }
    let peer = peer.as_ref().ok_or(Refusal::NoProof)?;
    if peer.not_after <= SystemTime::now() || revoked.names(&peer.id, &peer.serial) {
        return Err(Refusal::Ended);
    }
    if operators.include(&peer.id) { Ok(()) } else { Err(Refusal::NoOperator) }
}

impl Refusal {
    /// For the one who asked.
    pub fn answer(self) -> Answer {
        let (status, sentence) = match self {
            Refusal::Forbidden(local_only::Refusal::Elsewhere) => (
                StatusCode::FORBIDDEN,
                "in plaintext this path answers requests from this machine only: from elsewhere use \
                 https, with the operator token in Authorization: Bearer or an operator's \
                 certificate",
            ),
            Refusal::Forbidden(why) => (StatusCode::FORBIDDEN, why.sentence()),
            Refusal::NoProof => (
                StatusCode::UNAUTHORIZED,
                "over TLS this path needs Authorization: Bearer with the operator token, or the \
                 certificate of an operator",
            ),
            Refusal::NoOperator => (
                StatusCode::FORBIDDEN,
                "the identity in this certificate is no operator's: name it in --operator of the \
                 control plane, or show the operator token",
            ),
            Refusal::Ended => {
                (StatusCode::UNAUTHORIZED, "this certificate has ended or was revoked")
            }
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
    use std::time::Duration;

    use super::*;
    use crate::control::OperatorToken;
    use crate::model::SpiffeId;

    const BOSS: &str = "spiffe://cluster.local/ns/ops/sa/boss";
    const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";

    fn id(text: &str) -> SpiffeId {
        SpiffeId::parse(text).expect("an id")
    }

    fn judged(
        line: &str,
        authorization: Option<&str>,
        origin: bool,
        peer: Option<Peer>,
    ) -> Option<Refusal> {
        let operators =
            Operators::new(OperatorToken::new("right").expect("a token"), vec![id(BOSS)]);
        let revoked = Revoked { enrollments: [0xbad].into(), ..Revoked::default() };
        let (method, path) = line.split_once(' ').expect("a request line");
        let mut request = Request::builder().method(method).uri(path).header("host", "a.b");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        if origin {
            request = request.header("origin", "https://a.b");
        }
        let request = request.body(()).expect("a request");
        let way = Way::Tls(peer.map(Arc::new));
        let found = ["127.0.0.1:1", "10.0.0.1:1"].map(|client| {
            let client = client.parse().expect("an address");
            check(&request, client, &way, &operators, &revoked).err()
        });
        assert_eq!(found[0], found[1], "{line}: where it comes from says nothing");
        found[0]
    }

    #[test]
    fn over_tls_the_token_decides() {
        let page = Refusal::Forbidden(local_only::Refusal::WebPage);
        for (line, authorization, origin, refusal) in [
            ("GET /ready", None, false, None),
            ("GET /sessions", None, false, Some(Refusal::NoProof)),
            ("GET /sessions", Some("Bearer right"), false, None),
            ("GET /sessions", Some("bearer  right"), false, None),
            ("GET /sessions", Some("Bearer wrong"), false, Some(Refusal::WrongToken)),
            ("GET /sessions", Some("Bearer "), false, Some(Refusal::WrongToken)),
            ("GET /sessions", Some("Bearer"), false, Some(Refusal::WrongToken)),
            ("GET /sessions", Some("Basic right"), false, Some(Refusal::WrongToken)),
            ("GET /sessions", Some("right"), false, Some(Refusal::WrongToken)),
            ("POST /ready", None, false, Some(Refusal::NoProof)),
            ("POST /log", Some("Bearer right"), false, None),
            ("POST /log", Some("Bearer right"), true, Some(page)),
        ] {
            assert_eq!(
                judged(line, authorization, origin, None),
                refusal,
                "{line} {authorization:?}"
            );
        }
    }

    #[test]
    fn over_tls_a_certificate_decides_where_no_token_does() {
        let later = SystemTime::now() + Duration::from_secs(60);
        let ago = SystemTime::now() - Duration::from_secs(60);
        let (good, bad) = ("000000000000000a0000000000000001", "0bad0000000000000001");
        let page = Refusal::Forbidden(local_only::Refusal::WebPage);
        let wrong = Some(Refusal::WrongToken);
        for (name, not_after, serial, authorization, origin, refusal) in [
            (BOSS, later, good, None, false, None),
            (WEB, later, good, None, false, Some(Refusal::NoOperator)),
            (BOSS, ago, good, None, false, Some(Refusal::Ended)),
            (BOSS, later, bad, None, false, Some(Refusal::Ended)),
            (BOSS, later, good, Some("Bearer wrong"), false, wrong),
            (BOSS, later, good, Some("Bearer"), false, wrong),
            (WEB, later, good, Some("Bearer right"), false, None),
            (BOSS, later, good, None, true, Some(page)),
        ] {
            let peer = Peer {
                id: id(name),
                serial: serial.into(),
                not_before: ago,
                not_after,
                bundle_generation: 1,
            };
            let found = judged("POST /log", authorization, origin, Some(peer.clone()));
            assert_eq!(found, refusal, "{peer:?} {authorization:?} {origin}");
            assert_eq!(judged("GET /ready", None, false, Some(peer)), None, "open to all");
        }
    }
}
