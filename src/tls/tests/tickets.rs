//! Clients that come back: who need not show everything again, and who must.

use std::cell::Cell;

use rustls::CertificateError;
use rustls::pki_types::UnixTime;

use super::super::proven::Proven;
use super::super::{ClientSession, ServerSession};
use super::*;

const ELSEWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8081);

type Ends = (ServerSession<tokio::io::DuplexStream>, ClientSession<tokio::io::DuplexStream>);

/// A handshake, and a byte of the server's, with which tickets come.
async fn meet(server: &Credentials, client: &Credentials, alpn: Alpn, at: SocketAddr) -> Ends {
    let (near, far) = duplex(64 * 1024);
    let expected = id(API);
    let (served, dialled) =
        tokio::join!(accept(far, server), connect(near, client, alpn, at, &expected));
    let ((mut served, caller, _), (mut dialled, callee)) =
        (served.expect("served"), dialled.expect("dialled"));
    assert_eq!((caller.id.as_str(), callee.id.as_str()), (WEB, API));
    assert_eq!(caller.serial, client.svid().serial());
    assert_eq!(callee.serial, server.svid().serial());
    served.write_all(b"!").await.expect("written");
    assert_eq!(dialled.read_u8().await.expect("read"), b'!');
    let kind = served.get_ref().1.handshake_kind();
    assert_eq!(dialled.get_ref().1.handshake_kind(), kind);
    (served, dialled)
}

fn is_resumed(ends: &Ends) -> bool {
    ends.0.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
}

#[tokio::test]
async fn who_comes_back_to_the_same_place_shows_a_ticket() {
    let root = authority();
    let (api, web) = (credentials(&root, API), credentials(&root, WEB));
    for (alpn, resumed, tickets) in
        [(Alpn::Tcp, true, 1), (Alpn::H1, true, 1), (Alpn::H2, false, 0)]
    {
        assert!(!is_resumed(&meet(&api, &web, alpn, THERE).await));
        for _ in 0..3 {
            let ends = meet(&api, &web, alpn, THERE).await;
            assert_eq!(is_resumed(&ends), resumed, "{alpn:?}");
            let session = ends.1.get_ref().1;
            assert_eq!(session.tls13_tickets_received(), tickets, "{alpn:?}");
            // The keys are as new as those of a whole handshake.
            let group = session.negotiated_key_exchange_group().map(|g| g.name());
            assert_eq!(group, Some(NamedGroup::X25519MLKEM768));
        }
    }
    assert!(!is_resumed(&meet(&api, &web, Alpn::Tcp, ELSEWHERE).await));
}

#[tokio::test]
async fn a_ticket_is_shown_once() {
    let root = authority();
    let (api, web) = (credentials(&root, API), credentials(&root, WEB));
    drop(meet(&api, &web, Alpn::Tcp, THERE).await);
    let name = no_name();
    let config = web.client_at(THERE, &id(API), Alpn::Tcp);
    let begin = || rustls::ClientConnection::new(Arc::clone(&config), name.clone());
    let hello = |mut connection: rustls::ClientConnection| {
        let mut bytes = Vec::new();
        connection.write_tls(&mut bytes).map(|_| bytes.len()).expect("a hello")
    };
    let (first, second) = (hello(begin().expect("a client")), hello(begin().expect("a client")));
    assert!(first > second + 500, "{first} bytes with a ticket, {second} without");
}

#[test]
fn a_place_is_remembered_with_who_is_there() {
    let root = authority();
    let web = credentials(&root, WEB);
    let (api, other) = (id(API), id("spiffe://cluster.local/ns/shop/sa/other"));
    let first = web.client_at(THERE, &api, Alpn::Tcp);
    assert!(Arc::ptr_eq(&first, &web.client_at(THERE, &api, Alpn::Tcp)));
    assert!(!Arc::ptr_eq(&first, &web.client_at(THERE, &api, Alpn::H1)));
    assert!(!Arc::ptr_eq(&first, &web.client_at(ELSEWHERE, &api, Alpn::Tcp)));
    assert!(!Arc::ptr_eq(&first, &web.client_at(THERE, &other, Alpn::Tcp)));
    // The other took its place.
    assert!(!Arc::ptr_eq(&first, &web.client_at(THERE, &api, Alpn::Tcp)));
}

#[tokio::test]
async fn new_credentials_begin_without_tickets() {
    let root = authority();
    let (api, web) = (credentials(&root, API), credentials(&root, WEB));
    let renewed = |c: &Credentials| Credentials::new(c.svid().clone(), c.bundle().clone());
    drop(meet(&api, &web, Alpn::Tcp, THERE).await);
    assert!(is_resumed(&meet(&api, &web, Alpn::Tcp, THERE).await));
    let api = renewed(&api);
    assert!(!is_resumed(&meet(&api, &web, Alpn::Tcp, THERE).await), "sealed with a key that left");
    assert!(is_resumed(&meet(&api, &web, Alpn::Tcp, THERE).await));
    let web = renewed(&web);
    assert!(!is_resumed(&meet(&api, &web, Alpn::Tcp, THERE).await));
}

#[tokio::test]
async fn a_ticket_does_not_outlive_the_trust_that_it_was_given_in() {
    let (root, stranger) = (authority(), authority());
    let (api, web) = (credentials(&root, API), credentials(&root, WEB));
    drop(meet(&api, &web, Alpn::Tcp, THERE).await);
    let identities = [id(WEB)].into();
    let revoked = Arc::new(Revoked { identities, ..Revoked::default() });
    let without_web = api.bundle().clone().without(revoked);
    let others = TrustBundle::from_pem(stranger.root_pem().as_bytes(), 10).expect("a root");
    for (bundle, expected) in [(without_web, "Revoked"), (others, "UnknownIssuer")] {
        let api = Credentials::new(api.svid().clone(), bundle);
        let (near, far) = duplex(64 * 1024);
        let expected_id = id(API);
        let dial = connect(near, &web, Alpn::Tcp, THERE, &expected_id);
        let (served, _) = tokio::join!(accept(far, &api), dial);
        assert_eq!(verdict(&served.map(drop)), expected);
    }
}

/// What the library hands back of a resumed session is the chain as it was.
#[tokio::test]
async fn the_chain_of_a_resumed_session_is_judged_again() {
    let (root, stranger) = (authority(), authority());
    let (api, web) = (credentials(&root, API), credentials(&root, WEB));
    drop(meet(&api, &web, Alpn::Tcp, THERE).await);
    let (served, dialled) = meet(&api, &web, Alpn::Tcp, THERE).await;
    let later = |c: &Credentials, bundle: TrustBundle| Credentials::new(c.svid().clone(), bundle);
    let others = TrustBundle::from_pem(stranger.root_pem().as_bytes(), 10).expect("a root");
    let without = |name| {
        let identities = [id(name)].into();
        let revoked = Arc::new(Revoked { identities, ..Revoked::default() });
        api.bundle().clone().without(revoked)
    };
    let (now, api_id, other) = (SystemTime::now(), id(API), id(WEB));
    let judged = peer(dialled.get_ref().1, &web, Expectation::Exactly(&other), now);
    assert_eq!(verdict(&judged), "WrongIdentity");
    for (api, web, at, expected) in [
        (api.clone(), web.clone(), now, "ok"),
        (api.clone(), web.clone(), now + 2 * HOUR, "Expired"),
        (later(&api, others.clone()), later(&web, others), now, "UnknownIssuer"),
        (later(&api, without(WEB)), later(&web, without(API)), now, "Revoked"),
    ] {
        let judged = peer(served.get_ref().1, &api, Expectation::Member, at);
        assert_eq!(verdict(&judged), expected, "the client");
        let judged = peer(dialled.get_ref().1, &web, Expectation::Exactly(&api_id), at);
        assert_eq!(verdict(&judged), expected, "the server");
    }
}

/// A client of another make, which asks for nothing.
#[tokio::test]
async fn tickets_come_with_the_first_answer_and_not_before() {
    let root = authority();
    let (api, web) = (credentials(&root, API), credentials(&root, WEB));
    let mut config = rustls::ClientConfig::clone(web.client(Alpn::H1));
    config.send_ticket_request = None;
    config.resumption = rustls::client::Resumption::in_memory_sessions(8);
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    for resumed in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let (near, far) = duplex(64 * 1024);
        let (served, dialled) = tokio::join!(accept(far, &api), connector.connect(no_name(), near));
        let (mut served, mut dialled) = (served.expect("served").0, dialled.expect("dialled"));
        served.flush().await.expect("flushed");
        assert!(served.kept() > 0, "held");
        let early = tokio::time::timeout(Duration::from_millis(20), dialled.read_u8()).await;
        assert!(early.is_err());
        assert_eq!(dialled.get_ref().1.tls13_tickets_received(), 0);
        served.write_all(b"!").await.expect("written");
        assert_eq!(served.kept(), 0);
        dialled.read_u8().await.expect("read");
        assert_eq!(dialled.get_ref().1.tls13_tickets_received(), 1);
        assert_eq!(dialled.get_ref().1.handshake_kind(), Some(resumed));
    }
}

/// Refused when it was dialled, it is dialled as if for the first time.
#[tokio::test]
async fn a_place_whose_server_is_refused_is_forgotten() {
    let root = authority();
    let (api, web) = (credentials(&root, API), credentials(&root, WEB));
    let (near, far) = duplex(64 * 1024);
    let expected = id("spiffe://cluster.local/ns/shop/sa/other");
    let before = web.client_at(THERE, &expected, Alpn::Tcp);
    let dial = connect(near, &web, Alpn::Tcp, THERE, &expected);
    let (_, dialled) = tokio::join!(accept(far, &api), dial);
    assert_eq!(verdict(&dialled.map(drop)), "WrongIdentity");
    assert!(!Arc::ptr_eq(&before, &web.client_at(THERE, &expected, Alpn::Tcp)));
}

#[test]
fn a_chain_that_was_good_at_one_end_is_not_good_at_the_other_for_that() {
    let root = authority();
    let good = credentials(&root, API);
    let only_client: fn(&mut CertificateParams) = |p| drop(p.extended_key_usages.remove(0));
    let (chain, _) = bent(&root, only_client);
    let now = UnixTime::now();
    for _ in 0..2 {
        assert!(good.verifier.client_chain(&chain[0], &chain[1..], now).is_ok());
        assert!(good.verifier.server_chain(&chain[0], &chain[1..], now).is_err());
    }
}

#[test]
fn a_chain_is_worked_through_once_for_as_long_as_it_is_good() {
    let root = authority();
    let (web, api) = (credentials(&root, WEB), credentials(&root, API));
    let (web, api) = (web.svid().chain(), api.svid().chain());
    let at = |time: SystemTime| {
        UnixTime::since_unix_epoch(time.duration_since(SystemTime::UNIX_EPOCH).expect("later"))
    };
    let now = SystemTime::now();
    let (proven, count) = (Proven::default(), Cell::new(0));
    let ask = |chain: &[CertificateDer<'_>], when, says: Result<(), rustls::Error>| {
        let judge = || {
            count.set(count.get() + 1);
            says.clone()
        };
        let said = proven.unless_known(&chain[0], &chain[1..], at(when), judge);
        assert_eq!(said.is_ok(), says.is_ok() || count.get() == 0);
        count.replace(0)
    };
    let refused = || Err(CertificateError::BadSignature.into());
    assert_eq!(ask(web, now, refused()), 1);
    assert_eq!(ask(web, now, refused()), 1, "a refusal is not remembered");
    assert_eq!(ask(web, now, Ok(())), 1);
    assert_eq!(ask(web, now, refused()), 0);
    assert_eq!(ask(api, now, Ok(())), 1, "another chain");
    let longer = [web, api].concat();
    assert_eq!(ask(&longer, now, refused()), 1, "a chain with more in it");
    let padded = [web, api, api, api].concat();
    for _ in 0..2 {
        assert_eq!(ask(&padded, now, Ok(())), 1, "too long to be remembered");
    }
    for when in [now - 2 * HOUR, now + 2 * HOUR] {
        assert_eq!(ask(web, when, refused()), 1, "before it begins, or when it has ended");
    }
}
