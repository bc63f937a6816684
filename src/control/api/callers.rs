//! Who calls, and who may call what.
//!
//! A connection names its caller once, from the TLS session; each call is judged by the table here
//! before anything reads it. What no row names is refused.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::AUTHORIZATION;
use tonic::{Code, Status};

use super::Author;
use crate::control::Operators;
use crate::tls::Peer;
use crate::wire::shown;

/// The far end of a connection.
#[derive(Clone, Debug)]
pub struct Caller {
    pub address: SocketAddr,
    /// `None`: it showed no certificate.
    pub peer: Option<Peer>,
}

/// What it takes to make a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Anybody: the call carries its own proof, a token.
    TokenHolder,
    /// A workload of this mesh, by certificate; it acts for itself.
    Workload,
    /// A person or program that looks after the mesh.
    Operator,
    /// Another control plane of this mesh, by certificate. No operator either: what replicas tell each
    /// other is nobody else's business, and may change with each release.
    Replica,
}

/// Each RPC and who may call it.
const RULES: &[(&str, Rule)] = &[
    ("/outrigger.v1.Identity/Enroll", Rule::TokenHolder),
    ("/outrigger.v1.Mesh/Session", Rule::Workload),
    ("/outrigger.v1.Configuration/Apply", Rule::Operator),
    ("/outrigger.v1.Configuration/Get", Rule::Operator),
    ("/outrigger.v1.Configuration/List", Rule::Operator),
    ("/outrigger.v1.Configuration/Delete", Rule::Operator),
    ("/outrigger.v1.Configuration/Watch", Rule::Operator),
    ("/outrigger.v1.Authority/Revoke", Rule::Operator),
    ("/outrigger.v1.Authority/ListRevocations", Rule::Operator),
    ("/outrigger.v1.Authority/Status", Rule::Operator),
    ("/outrigger.v1.Authority/RotateIssuer", Rule::Operator),
    ("/outrigger.v1.Authority/RotateRoot", Rule::Operator),
    ("/outrigger.v1.Authority/Import", Rule::Operator),
    ("/outrigger.v1.Observe/Plaintext", Rule::Operator),
    ("/outrigger.v1.Observe/Stat", Rule::Operator),
    ("/outrigger.v1.Observe/Edges", Rule::Operator),
    ("/outrigger.v1.Observe/Top", Rule::Operator),
    ("/outrigger.v1.Observe/Traces", Rule::Operator),
    ("/outrigger.v1.Observe/Trace", Rule::Operator),
    ("/outrigger.v1.Replicas/Recall", Rule::Replica),
    ("/outrigger.v1.Replicas/Tap", Rule::Replica),
    ("/outrigger.v1.Observe/Tap", Rule::Operator),
    ("/outrigger.v1.Tokens/Create", Rule::Operator),
    ("/outrigger.v1.Tokens/List", Rule::Operator),
    ("/outrigger.v1.Tokens/Revoke", Rule::Operator),
];

/// How long a wrong token's answer is held back: it makes guessing slow, and a person hardly
/// notices. Arbitrary.
pub const GUESS_DELAY: Duration = Duration::from_millis(500);

/// The rule of an RPC, and the name that metrics know it by.
pub fn rule(path: &str) -> Option<(&'static str, Rule)> {
    RULES.iter().find(|(known, _)| *known == path).copied()
}

/// Judges a call, and says in whose name it is made.
///
/// # Errors
/// What the caller is told: unauthenticated without a proof, permission denied with one that does
/// not reach.
pub fn judge(
    rule: Rule,
    caller: &Caller,
    headers: &HeaderMap,
    operators: &Operators,
    now: SystemTime,
) -> Result<Author, Status> {
    let peer = caller.peer.as_ref().filter(|peer| peer.not_after > now);
    match (rule, peer) {
        (Rule::TokenHolder, _) => Ok(Author("a token".into())),
        (Rule::Workload, Some(peer)) => Ok(Author(peer.id.as_str().into())),
        (Rule::Workload, None) => Err(Status::unauthenticated(
            "this needs a certificate of the mesh that has not ended: enroll with a token first",
        )),
        (Rule::Operator, peer) => operator(peer, headers, operators),
        // The handshake let in nobody of another trust domain.
        (Rule::Replica, Some(peer)) if peer.id.is_control_plane() => {
            Ok(Author(peer.id.as_str().into()))
        }
        (Rule::Replica, Some(peer)) => Err(Status::permission_denied(format!(
            "this is for control planes of this mesh, and {} is none",
            peer.id
        ))),
        (Rule::Replica, None) => Err(Status::unauthenticated(
            "this is for control planes of this mesh, by their certificate",
        )),
    }
}

fn operator(
    peer: Option<&Peer>,
    headers: &HeaderMap,
    operators: &Operators,
) -> Result<Author, Status> {
    if headers.contains_key(AUTHORIZATION) {
        return match shown(headers) {
            Some(token) if operators.know(token) => Ok(Author("the operators' token".into())),
            _ => Err(Status::unauthenticated("this is not the operators' token")),
        };
    }
    match peer {
        Some(peer) if operators.include(&peer.id) => Ok(Author(peer.id.as_str().into())),
        Some(peer) => Err(Status::permission_denied(format!(
            "{} is no operator: start the control plane with --operator {}, or send the \
             operators' token",
            peer.id, peer.id
        ))),
        None => Err(Status::unauthenticated(
            "this is for operators: send the operators' token, or the certificate of an identity \
             that the control plane was told is one",
        )),
    }
}

/// Whether an answer should be held back, because it may be one of many guesses.
pub fn is_guess(status: &Status) -> bool {
    status.code() == Code::Unauthenticated
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::OperatorToken;
    use crate::model::SpiffeId;

    fn id(text: &str) -> SpiffeId {
        SpiffeId::parse(text).expect("a valid id")
    }

    fn caller(identity: Option<&str>, ends: SystemTime) -> Caller {
        let peer = identity.map(|identity| Peer {
            id: id(identity),
            serial: "1".into(),
            not_before: SystemTime::UNIX_EPOCH,
            not_after: ends,
            bundle_generation: 1,
        });
        Caller { address: ([127, 0, 0, 1], 1).into(), peer }
    }

    #[test]
    fn each_rule_lets_in_whom_it_names() {
        const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";
        const BOSS: &str = "spiffe://cluster.local/ns/ops/sa/boss";
        const CONTROL: &str =
            "spiffe://cluster.local/ns/outrigger-system/sa/outrigger-control-plane";
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let later = now + Duration::from_secs(1);
        let operators =
            Operators::new(OperatorToken::new("s3cret").expect("a token"), vec![id(BOSS)]);
        use Code::{PermissionDenied, Unauthenticated};
        let rows = [
            (Rule::TokenHolder, None, later, None, None),
            (Rule::Workload, None, later, Some("Bearer s3cret"), Some(Unauthenticated)),
            (Rule::Workload, Some(WEB), later, None, None),
            (Rule::Workload, Some(WEB), now, None, Some(Unauthenticated)),
            (Rule::Replica, Some(CONTROL), later, None, None),
            (Rule::Replica, Some(CONTROL), now, None, Some(Unauthenticated)),
            (Rule::Replica, Some(WEB), later, None, Some(PermissionDenied)),
            (Rule::Replica, Some(BOSS), later, Some("Bearer s3cret"), Some(PermissionDenied)),
            (Rule::Replica, None, later, Some("Bearer s3cret"), Some(Unauthenticated)),
            (Rule::Operator, None, later, None, Some(Unauthenticated)),
            (Rule::Operator, Some(WEB), later, None, Some(PermissionDenied)),
            (Rule::Operator, Some(BOSS), later, None, None),
            (Rule::Operator, Some(BOSS), now, None, Some(Unauthenticated)),
            (Rule::Operator, None, later, Some("Bearer s3cret"), None),
            (Rule::Operator, Some(WEB), later, Some("Bearer s3cret"), None),
            (Rule::Operator, None, later, Some("bearer  s3cret "), None),
            (Rule::Operator, None, later, Some("Bearer"), Some(Unauthenticated)),
            (Rule::Operator, None, later, Some("Bearer s3cre"), Some(Unauthenticated)),
            (Rule::Operator, None, later, Some("Bearer s3creT"), Some(Unauthenticated)),
            (Rule::Operator, None, later, Some("Basic s3cret"), Some(Unauthenticated)),
            (Rule::Operator, Some(BOSS), later, Some("Bearer "), Some(Unauthenticated)),
        ];
        for (rule, identity, ends, authorization, refused) in rows {
            let mut headers = HeaderMap::new();
            if let Some(value) = authorization {
                headers.insert(AUTHORIZATION, value.parse().expect("a header"));
            }
            let judged = judge(rule, &caller(identity, ends), &headers, &operators, now);
            let code = judged.err().map(|status| status.code());
            assert_eq!(code, refused, "{rule:?} {identity:?} {authorization:?}");
        }
    }

    #[test]
    fn every_rpc_of_the_protocol_has_a_rule() {
        let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/proto/outrigger/v1");
        let mut found = Vec::new();
        for file in std::fs::read_dir(proto).expect("the protocol") {
            let text = std::fs::read_to_string(file.expect("a file").path()).expect("UTF-8");
            let mut service = "";
            for line in text.lines().map(str::trim_start) {
                if let Some(rest) = line.strip_prefix("service ") {
                    service = rest.split([' ', '{']).next().unwrap_or_default();
                } else if let Some(rest) = line.strip_prefix("rpc ") {
                    let name = rest.split('(').next().unwrap_or_default();
                    found.push(format!("/outrigger.v1.{service}/{name}"));
                }
            }
        }
        let mut rules: Vec<&str> = RULES.iter().map(|(path, _)| *path).collect();
        found.sort_unstable();
        rules.sort_unstable();
        assert_eq!(found, rules);
    }
}
