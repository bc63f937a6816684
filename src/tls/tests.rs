//! Whole handshakes in memory: who gets in, who doesn't, and that both ends say why.

mod outsiders;
mod session;
mod tickets;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, SanType,
};
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CipherSuite, HandshakeKind, NamedGroup, ProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::handshake::no_name;
use super::*;
use crate::identity::issue::{Authority, Issued, leaf_params};
use crate::identity::{Revoked, certificates, private_key};
use crate::model::{SpiffeId, TrustDomain};

/// Where every server is.
const THERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
const HOUR: Duration = Duration::from_secs(3600);
const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";
const API: &str = "spiffe://cluster.local/ns/shop/sa/api";

fn id(text: &str) -> SpiffeId {
    SpiffeId::parse(text).expect("an id")
}

fn authority() -> Authority {
    Authority::new(&TrustDomain::default()).expect("keys can be made")
}

fn credentials(root: &Authority, name: &str) -> Credentials {
    let now = SystemTime::now();
    let issued = root.issue(&id(name), now - HOUR, now + HOUR);
    let issued = issued.expect("issued");
    let svid = Svid::from_pem(issued.cert_pem.as_bytes(), issued.key_pem.as_bytes());
    let bundle = TrustBundle::from_pem(root.root_pem().as_bytes(), 9);
    Credentials::new(svid.expect("a right pair"), bundle.expect("a root"))
}

/// Credentials that judge as before, but present this chain, whatever it is.
fn presenting(good: &Credentials, chain: Vec<CertificateDer<'static>>, key: &str) -> Credentials {
    let key = private_key(key.as_bytes()).expect("a key");
    let key = provider().key_provider.load_private_key(key);
    let key = CertifiedKey::new(chain, key.expect("a usable key"));
    let resolver = Arc::new(SingleCertAndKey::from(key));
    let mut bad = Credentials { places: Arc::default(), ..good.clone() };
    Arc::make_mut(&mut bad.server).cert_resolver = resolver.clone();
    for client in &mut bad.clients {
        Arc::make_mut(client).client_auth_cert_resolver = resolver.clone();
    }
    bad
}

type Served = Result<(Peer, Alpn), PeerError>;
type Dialled = Result<Peer, PeerError>;

/// One handshake, then a byte from server to client, which brings a late refusal to light.
async fn shake(server: &Credentials, client: &Credentials, expected: &str) -> (Served, Dialled) {
    let (near, far) = duplex(64 * 1024);
    let serve = async {
        let (mut stream, peer, alpn) = accept(far, server).await?;
        stream.write_all(b"!").await.map_err(|e| classify(&e))?;
        Ok((peer, alpn))
    };
    let expected = id(expected);
    let dial = async {
        let (mut stream, peer) = connect(near, client, Alpn::H2, THERE, &expected).await?;
        stream.read_u8().await.map_err(|e| classify(&e))?;
        Ok(peer)
    };
    tokio::join!(serve, dial)
}

/// The variant's name, with that of a refusal inside.
fn verdict<T: std::fmt::Debug>(result: &Result<T, PeerError>) -> String {
    match result {
        Ok(_) => "ok".into(),
        Err(PeerError::Refused(refusal)) => format!("Refused {refusal:?}"),
        Err(error) => {
            let debug = format!("{error:?}");
            let end = debug.find([' ', '(']).unwrap_or(debug.len());
            debug[..end].to_owned()
        }
    }
}

#[tokio::test]
async fn two_members_know_each_other() {
    let root = authority();
    let (api, web) = (credentials(&root, API), credentials(&root, WEB));
    let (served, dialled) = shake(&api, &web, API).await;
    let (caller, alpn) = served.expect("served");
    assert_eq!(alpn, Alpn::H2);
    assert_eq!(caller.id, id(WEB));
    assert_eq!(caller.serial, web.svid().serial());
    assert_eq!(caller.not_after, web.svid().not_after());
    assert_eq!(caller.bundle_generation, 9);
    let callee = dialled.expect("dialled");
    assert_eq!((callee.id.as_str(), callee.serial.as_str()), (API, api.svid().serial()));
}

#[tokio::test]
async fn every_protocol_gets_through_by_its_name() {
    let root = authority();
    let (api, web) = (credentials(&root, API), credentials(&root, WEB));
    for alpn in Alpn::ALL {
        let (near, far) = duplex(64 * 1024);
        let expected = id(API);
        let (served, dialled) =
            tokio::join!(accept(far, &api), connect(near, &web, alpn, THERE, &expected));
        assert_eq!(served.expect("served").2, alpn);
        assert!(dialled.is_ok());
    }
}

#[tokio::test]
async fn the_session_is_post_quantum_and_cheap() {
    let root = authority();
    let (api, web) = (credentials(&root, API), credentials(&root, WEB));
    let (near, far) = duplex(64 * 1024);
    let expected = id(API);
    let (served, dialled) =
        tokio::join!(accept(far, &api), connect(near, &web, Alpn::Tcp, THERE, &expected));
    let (_served, dialled) = (served.expect("served").0, dialled.expect("dialled").0);
    let session = dialled.get_ref().1;
    let group = session.negotiated_key_exchange_group().map(|g| g.name());
    assert_eq!(group, Some(NamedGroup::X25519MLKEM768));
    let suite = session.negotiated_cipher_suite().map(|s| s.suite());
    assert_eq!(suite, Some(CipherSuite::TLS13_AES_128_GCM_SHA256));
    assert_eq!(session.protocol_version(), Some(ProtocolVersion::TLSv1_3));
}

#[tokio::test]
async fn the_server_chooses_the_cipher() {
    let root = authority();
    let (api, web) = (credentials(&root, API), credentials(&root, WEB));
    let mut theirs = rustls::crypto::CryptoProvider::clone(provider());
    theirs.cipher_suites.reverse();
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::new(theirs))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("suites of TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(web.verifier.clone())
        .with_client_cert_resolver(Arc::clone(&web.client(Alpn::H2).client_auth_cert_resolver));
    config.alpn_protocols = vec![Alpn::H2.name().into()];
    let (near, far) = duplex(64 * 1024);
    let config = Arc::new(config);
    let dial = ClientSession::connect(near, &config, no_name());
    let (served, dialled) = tokio::join!(accept(far, &api), dial);
    served.expect("served");
    let dialled = dialled.expect("dialled");
    let suite = dialled.get_ref().1.negotiated_cipher_suite().map(|s| s.suite());
    assert_eq!(suite, Some(CipherSuite::TLS13_AES_128_GCM_SHA256));
}

#[tokio::test]
async fn strangers_are_refused_by_both_sides_in_the_same_words() {
    let root = authority();
    let good = credentials(&root, API);
    for (case, (chain, key), judged, heard) in bad_leaves(&root) {
        let bad = presenting(&good, chain, &key);
        let (served, dialled) = shake(&good, &bad, API).await;
        assert_eq!(verdict(&served), judged, "{case}, as a client: {served:?}");
        assert_eq!(verdict(&dialled), heard, "{case}, as a client: {dialled:?}");
        let (served, dialled) = shake(&bad, &good, API).await;
        assert_eq!(verdict(&dialled), judged, "{case}, as a server: {dialled:?}");
        assert_eq!(verdict(&served), heard, "{case}, as a server: {served:?}");
        assert!(served.is_err_and(|e| e.is_identity()), "{case}");
    }
}

type Presented = (Vec<CertificateDer<'static>>, String);

/// What is presented, what the judge says, what the presenter is told.
fn bad_leaves(root: &Authority) -> Vec<(&'static str, Presented, &'static str, &'static str)> {
    let bent = |bend: fn(&mut CertificateParams)| bent(root, bend);
    let mut forged = bent(|_| {});
    let mut der = forged.0[0].to_vec();
    *der.last_mut().expect("a certificate") ^= 1;
    forged.0 = vec![der.into()];
    let expired = bent(|p| p.not_after = (SystemTime::now() - HOUR).into());
    let early = bent(|p| p.not_before = (SystemTime::now() + HOUR).into());
    let foreign = bent(|p| name(p, &["spiffe://other.mesh/ns/shop/sa/api"]));
    let two = bent(|p| name(p, &[API, WEB]));
    let none = bent(|p| p.subject_alt_names.clear());
    let host = bent(|p| p.subject_alt_names = vec![SanType::DnsName("a.b".try_into().unwrap())]);
    let shape = bent(|p| name(p, &["spiffe://cluster.local/api"]));
    let ca = bent(|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    let strange = bent(|p| {
        let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        extension.set_criticality(true);
        p.custom_extensions = vec![extension];
    });
    let usurped = usurped(root);
    let alien = self::bent(&authority(), |p| name(p, &["spiffe://other.mesh/ns/shop/sa/api"]));
    let purpose = bent(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning]);
    vec![
        ("other root", self::bent(&authority(), |_| {}), "UnknownIssuer", "Refused UnknownIssuer"),
        ("other root and trust domain", alien, "UnknownIssuer", "Refused UnknownIssuer"),
        ("unknown critical extension", strange, "Handshake", "Refused Identity"),
        ("issued by a workload", usurped, "Handshake", "Refused Identity"),
        ("forged", forged, "BadSignature", "Refused BadSignature"),
        ("expired", expired, "Expired", "Refused Expired"),
        ("not begun", early, "NotYetValid", "Refused Expired"),
        ("other trust domain", foreign, "WrongTrustDomain", "Refused Identity"),
        ("two URIs", two, "NotSpiffe", "Refused Identity"),
        ("no name", none, "NotSpiffe", "Refused Identity"),
        ("a host name", host, "NotSpiffe", "Refused Identity"),
        ("no workload's id", shape, "NotSpiffe", "Refused Identity"),
        ("a CA", ca, "NotSpiffe", "Refused Identity"),
        ("other purpose", purpose, "WrongPurpose", "Refused Identity"),
    ]
}

/// `web` signs a certificate for `api` with its own key, and sends its own along as the issuer's.
fn usurped(root: &Authority) -> Presented {
    let now = SystemTime::now();
    let params = |name| leaf_params(&id(name), now - HOUR, now + HOUR).expect("parameters");
    let web = root.sign(&params(WEB)).expect("signed");
    let web_key = KeyPair::from_pem(&web.key_pem).expect("a key");
    let api_key = KeyPair::generate().expect("a key");
    let issuer = Issuer::new(params(WEB), web_key);
    let api = params(API).signed_by(&api_key, &issuer).expect("signed");
    let mut chain = certificates(web.cert_pem.as_bytes()).expect("PEM");
    chain.insert(0, api.der().clone());
    (chain, api_key.serialize_pem())
}

fn bent(root: &Authority, bend: fn(&mut CertificateParams)) -> Presented {
    let now = SystemTime::now();
    let mut params = leaf_params(&id(API), now - 2 * HOUR, now + 2 * HOUR).expect("parameters");
    bend(&mut params);
    let Issued { cert_pem, key_pem } = root.sign(&params).expect("signed");
    let chain = certificates(cert_pem.as_bytes()).expect("PEM");
    (chain, key_pem)
}

fn name(params: &mut CertificateParams, uris: &[&str]) {
    let uri = |text: &&str| SanType::URI((*text).try_into().expect("ASCII"));
    params.subject_alt_names = uris.iter().map(uri).collect();
}

#[tokio::test]
async fn a_member_that_is_another_is_refused_by_the_client() {
    let root = authority();
    let (api, web) = (credentials(&root, API), credentials(&root, WEB));
    for (expected, said) in [
        (WEB, format!("the peer is {API}, and {WEB} was expected")),
        (
            "spiffe://cluster.local/ns/shop/sa/ap",
            format!("the peer is {API}, and spiffe://cluster.local/ns/shop/sa/ap was expected"),
        ),
    ] {
        let (_, dialled) = shake(&api, &web, expected).await;
        assert_eq!(dialled.expect_err("another").to_string(), said);
    }
}

#[tokio::test]
async fn an_expected_id_of_another_trust_domain_is_no_way_in() {
    let root = authority();
    let foreign = "spiffe://other.mesh/ns/shop/sa/api";
    let web = credentials(&root, WEB);
    let (chain, key) = bent(&root, |p| name(p, &["spiffe://other.mesh/ns/shop/sa/api"]));
    let server = presenting(&web, chain, &key);
    let (_, dialled) = shake(&server, &web, foreign).await;
    assert_eq!(
        dialled.expect_err("foreign").to_string(),
        format!("the peer is {foreign}, which is not of our trust domain cluster.local")
    );
}

/// A finished session is judged again, whatever the handshake said.
#[tokio::test]
async fn the_finished_session_is_judged_by_the_given_time_and_expectation() {
    let root = authority();
    let (api, web) = (credentials(&root, API), credentials(&root, WEB));
    let (near, far) = duplex(64 * 1024);
    let expected = id(API);
    let (served, _dialled) =
        tokio::join!(accept(far, &api), connect(near, &web, Alpn::H1, THERE, &expected));
    let served = served.expect("served").0;
    let session = served.get_ref().1;
    let (now, web_id, api_id) = (SystemTime::now(), id(WEB), id(API));
    let stranger = credentials(&root, "spiffe://other.mesh/ns/shop/sa/web");
    for (ours, expectation, at, expected) in [
        (&api, Expectation::Member, now, "ok"),
        (&api, Expectation::Exactly(&web_id), now, "ok"),
        (&api, Expectation::Exactly(&api_id), now, "WrongIdentity"),
        (&api, Expectation::Member, now + 2 * HOUR, "Expired"),
        (&api, Expectation::Member, web.svid().not_after(), "Expired"),
        (&api, Expectation::Member, now - 2 * HOUR, "NotYetValid"),
        (&stranger, Expectation::Member, now, "WrongTrustDomain"),
        (&stranger, Expectation::Exactly(&web_id), now, "WrongTrustDomain"),
    ] {
        let judged = peer(session, ours, expectation, at);
        assert_eq!(verdict(&judged), expected, "{judged:?}");
    }
}

#[tokio::test]
async fn overlapping_roots_let_both_generations_in() {
    let (old, new) = (authority(), authority());
    let both = [old.root_pem(), new.root_pem()].concat();
    let bundle = TrustBundle::from_pem(both.as_bytes(), 10).expect("two roots");
    let rotated = |c: Credentials| Credentials::new(c.svid().clone(), bundle.clone());
    let api = rotated(credentials(&old, API));
    let web = rotated(credentials(&new, WEB));
    let (served, dialled) = shake(&api, &web, API).await;
    assert_eq!(served.expect("served").0.bundle_generation, 10);
    assert!(dialled.is_ok());
}

#[test]
fn our_own_certificate_is_checked_as_peers_would() {
    let (root, stranger) = (authority(), authority());
    let good = credentials(&root, WEB);
    let bundle = TrustBundle::from_pem(stranger.root_pem().as_bytes(), 1).expect("a root");
    let orphan = Credentials::new(good.svid().clone(), bundle);
    let now = SystemTime::now();
    for (credentials, at, expected) in [
        (&good, now, "ok"),
        (&good, now + 2 * HOUR, "Expired"),
        (&good, now - 2 * HOUR, "NotYetValid"),
        (&orphan, now, "UnknownIssuer"),
    ] {
        assert_eq!(verdict(&credentials.check(at)), expected);
    }
}

#[test]
fn a_certificate_for_one_end_only_is_found_out() {
    let root = authority();
    let good = credentials(&root, API);
    let only_server: fn(&mut CertificateParams) = |p| p.extended_key_usages.truncate(1);
    let only_client: fn(&mut CertificateParams) = |p| drop(p.extended_key_usages.remove(0));
    for bend in [only_server, only_client] {
        let (chain, _) = bent(&root, bend);
        let checked = good.verifier.check(&chain, SystemTime::now());
        assert_eq!(verdict(&checked), "WrongPurpose");
    }
}

#[test]
fn a_proof_is_judged_by_what_is_known_later() {
    let (root, stranger) = (authority(), authority());
    let (web, api) = (credentials(&root, WEB), credentials(&root, API));
    let proof = Proof::of(web.svid().chain(), Some(&api)).expect("a member");
    assert_eq!(proof.lifetime, 2 * HOUR);
    assert_eq!(proof.ends, web.svid().not_after().min(api.svid().not_after()));
    let now = SystemTime::now();
    assert!(!proof.is_revoked(&api));
    assert_eq!(verdict(&proof.check(&api, now)), "ok");
    let both = [root.root_pem(), stranger.root_pem()].concat();
    for (roots, expected) in [(both.as_str(), "ok"), (stranger.root_pem(), "UnknownIssuer")] {
        let bundle = TrustBundle::from_pem(roots.as_bytes(), 10).expect("roots");
        let newest = Credentials::new(api.svid().clone(), bundle);
        assert_eq!(verdict(&proof.check(&newest, now)), expected);
    }
    let identities = [id(WEB)].into();
    let revoked = Arc::new(Revoked { identities, ..Revoked::default() });
    let bundle = api.bundle().clone().without(revoked);
    let newest = Credentials::new(api.svid().clone(), bundle);
    assert!(proof.is_revoked(&newest));
    let of_api = Proof::of(api.svid().chain(), None).expect("a member");
    assert!(!of_api.is_revoked(&newest), "others are not");
    assert!(Proof::of(&[], None).is_none(), "nobody");
}
