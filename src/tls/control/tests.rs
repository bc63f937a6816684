//! Handshakes with the control plane in memory: who answers, who calls, and who doesn't get in.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;
use crate::identity::issue::Authority;

const HOUR: Duration = Duration::from_secs(3600);
const CONTROL: &str = "spiffe://cluster.local/ns/outrigger-system/sa/outrigger-control-plane";
const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";

fn authority() -> Authority {
    Authority::new(&TrustDomain::default()).expect("keys can be made")
}

fn bundle(root: &Authority) -> TrustBundle {
    TrustBundle::from_pem(root.root_pem().as_bytes(), 4).expect("a root")
}

/// Valid from two hours ago until `end` hours from now.
fn svid(root: &Authority, id: &str, end: i32) -> Svid {
    let now = SystemTime::now();
    let end = if end < 0 { now - HOUR * end.unsigned_abs() } else { now + HOUR * end as u32 };
    let id = SpiffeId::parse(id).expect("an id");
    let issued = root.issue(&id, now - 2 * HOUR, end).expect("issued");
    Svid::from_pem(issued.cert_pem.as_bytes(), issued.key_pem.as_bytes()).expect("a pair")
}

fn server(root: &Authority, id: &str, end: i32) -> ControlServer {
    ControlServer::new(&svid(root, id, end), &bundle(root), Offer::H2)
}

fn client(roots: &Authority, own: Option<&Svid>) -> ControlClient {
    ControlClient::new(&TrustDomain::default(), &bundle(roots), own)
}

type Served = Result<(Option<Peer>, Option<Vec<u8>>), PeerError>;

/// One handshake, then a byte from server to client, which brings a late refusal to light.
async fn shake(server: &ControlServer, client: &ControlClient) -> (Served, Result<(), PeerError>) {
    let (near, far) = duplex(64 * 1024);
    let serve = async {
        let (mut stream, peer) = server.accept(far).await?;
        // The client may have left by now, with a verdict of its own.
        let _ = stream.write_all(b"!").await;
        Ok((peer, stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec)))
    };
    let dial = async {
        let mut stream = client.connect(near).await?;
        stream.read_u8().await.map(drop).map_err(|e| classify(&e))
    };
    tokio::join!(serve, dial)
}

fn verdict<T>(result: &Result<T, PeerError>) -> String {
    match result {
        Ok(_) => "ok".into(),
        Err(PeerError::Refused(refusal)) => format!("Refused {refusal:?}"),
        Err(error) => {
            let debug = format!("{error:?}");
            debug.split([' ', '(']).next().unwrap_or_default().to_owned()
        }
    }
}

#[tokio::test]
async fn callers_come_in_with_a_certificate_or_without() {
    let root = authority();
    let server = server(&root, CONTROL, 1);
    let (served, dialled) = shake(&server, &client(&root, None)).await;
    assert_eq!(served.expect("nameless"), (None, Some(b"h2".to_vec())));
    dialled.expect("the right server");
    let web = svid(&root, WEB, 1);
    let (served, dialled) = shake(&server, &client(&root, Some(&web))).await;
    let peer = served.expect("a member").0.expect("it showed its certificate");
    assert_eq!((peer.id.as_str(), peer.serial.as_str()), (WEB, web.serial()));
    assert_eq!((peer.not_after, peer.bundle_generation), (web.not_after(), 4));
    dialled.expect("the right server");
}

#[tokio::test]
async fn only_the_control_plane_of_the_mesh_answers() {
    let (root, stranger) = (authority(), authority());
    for (case, server, expected) in [
        ("a workload", server(&root, WEB, 1), "WrongIdentity"),
        ("another root's", server(&stranger, CONTROL, 1), "UnknownIssuer"),
        ("ended", server(&root, CONTROL, -1), "Expired"),
        (
            "another trust domain's",
            server(&root, &CONTROL.replace("cluster.local", "other.mesh"), 1),
            "WrongTrustDomain",
        ),
    ] {
        for own in [None, Some(svid(&root, WEB, 1))] {
            let (_, dialled) = shake(&server, &client(&root, own.as_ref())).await;
            assert_eq!(verdict(&dialled), expected, "{case}: {dialled:?}");
        }
    }
}

#[tokio::test]
async fn a_certificate_that_is_shown_must_be_right() {
    let (root, stranger) = (authority(), authority());
    let server = server(&root, CONTROL, 1);
    let foreign = WEB.replace("cluster.local", "other.mesh");
    for (case, own, judged, heard) in [
        ("another root's", svid(&stranger, WEB, 1), "UnknownIssuer", "Refused UnknownIssuer"),
        ("ended", svid(&root, WEB, -1), "Expired", "Refused Expired"),
        ("foreign", svid(&root, &foreign, 1), "WrongTrustDomain", "Refused Identity"),
    ] {
        let (served, dialled) = shake(&server, &client(&root, Some(&own))).await;
        assert_eq!(verdict(&served), judged, "{case}: {served:?}");
        assert_eq!(verdict(&dialled), heard, "{case}: {dialled:?}");
    }
}

#[tokio::test]
async fn http_1_is_spoken_only_where_it_is_offered() {
    let root = authority();
    let strict = server(&root, CONTROL, 1);
    let open = ControlServer::new(&svid(&root, CONTROL, 1), &bundle(&root), Offer::Http1);
    let named = |protocols: &[&[u8]]| {
        let mut client = client(&root, None);
        let names = protocols.iter().map(|name| name.to_vec());
        Arc::make_mut(&mut client.config).alpn_protocols = names.collect();
        client
    };
    for (server, protocols, judged, negotiated) in [
        (&strict, &[] as &[&[u8]], "Alpn", None),
        (&strict, &[HTTP1], "Alpn", None),
        (&strict, &[HTTP1, H2], "ok", Some(H2)),
        (&open, &[], "ok", None),
        (&open, &[HTTP1], "ok", Some(HTTP1)),
        (&open, &[HTTP1, H2], "ok", Some(HTTP1)),
    ] {
        let (served, dialled) = shake(server, &named(protocols)).await;
        assert_eq!(verdict(&served), judged, "{served:?}");
        // Ours takes nothing but HTTP/2.
        let expected = if negotiated == Some(H2) { "ok" } else { "Alpn" };
        assert_eq!(verdict(&dialled), expected, "{dialled:?}");
        if let Ok((_, found)) = served {
            assert_eq!(found.as_deref(), negotiated);
        }
    }
}

#[tokio::test]
async fn sidecars_and_the_control_plane_share_no_protocol() {
    let root = authority();
    let sidecar = crate::tls::Credentials::new(svid(&root, CONTROL, 1), bundle(&root));
    let (near, far) = duplex(64 * 1024);
    let caller = client(&root, None);
    let (served, dialled) = tokio::join!(crate::tls::accept(far, &sidecar), caller.connect(near));
    assert_eq!(verdict(&served), "Alpn");
    assert_eq!(verdict(&dialled), "Alpn");
}
