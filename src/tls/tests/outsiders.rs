//! Ends that are no sidecars: other protocols, older TLS, no TLS, no certificate.

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use tokio::io::DuplexStream;

use super::*;

#[derive(Debug)]
struct NoCertificate;

impl ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn clients_that_are_no_sidecars_are_refused() {
    type Change = fn(&mut rustls::ClientConfig);
    let root = authority();
    let (api, web) = (credentials(&root, API), credentials(&root, WEB));
    let cases: [(&str, Change, &str, &str); 4] = [
        (
            "no certificate",
            |c| c.client_auth_cert_resolver = Arc::new(NoCertificate),
            "NoCertificate",
            "Refused NoCertificate",
        ),
        (
            "the app's own protocol",
            |c| c.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            "Alpn",
            "Alpn",
        ),
        ("no protocol", |c| c.alpn_protocols.clear(), "Alpn", "Alpn"),
        (
            "two protocols, one of them ours",
            |c| c.alpn_protocols = vec![b"h2".to_vec(), b"outrigger-h2".to_vec()],
            "ok",
            "ok",
        ),
    ];
    for (case, change, by_server, by_client) in cases {
        let mut client = web.clone();
        change(Arc::make_mut(&mut client.clients[Alpn::H2 as usize]));
        let (served, dialled) = shake(&api, &client, API).await;
        assert_eq!(verdict(&served), by_server, "{case}");
        assert_eq!(verdict(&dialled), by_client, "{case}");
    }
}

#[tokio::test]
async fn servers_that_are_no_sidecars_are_refused() {
    let root = authority();
    let (mut api, web) = (credentials(&root, API), credentials(&root, WEB));
    Arc::make_mut(&mut api.server).alpn_protocols.clear();
    let (_, dialled) = shake(&api, &web, API).await;
    assert_eq!(verdict(&dialled), "Alpn");
    Arc::make_mut(&mut api.server).alpn_protocols = vec![b"h2".to_vec()];
    let (_, dialled) = shake(&api, &web, API).await;
    assert_eq!(verdict(&dialled), "Alpn");
}

/// What a client of TLS 1.2 says first: no supported_versions, one suite, one group.
fn hello_of_tls12() -> Vec<u8> {
    let mut extensions = Vec::new();
    extensions.extend([0x00, 0x0a, 0x00, 0x04, 0x00, 0x02, 0x00, 0x1d]); // supported_groups: X25519
    extensions.extend([0x00, 0x0b, 0x00, 0x02, 0x01, 0x00]); // ec_point_formats: uncompressed
    extensions.extend([0x00, 0x0d, 0x00, 0x04, 0x00, 0x02, 0x04, 0x03]); // ecdsa_secp256r1_sha256
    let mut body = vec![0x03, 0x03];
    body.extend([7; 32]); // random
    body.extend([0x00, 0x00, 0x02, 0xc0, 0x2b, 0x01, 0x00]); // one suite, no compression
    body.extend((extensions.len() as u16).to_be_bytes());
    body.extend(extensions);
    let mut record = vec![0x16, 0x03, 0x01];
    record.extend((body.len() as u16 + 4).to_be_bytes());
    record.extend([0x01, 0x00]);
    record.extend((body.len() as u16).to_be_bytes());
    record.extend(body);
    record
}

#[tokio::test]
async fn other_languages_than_tls13_are_told_apart() {
    let root = authority();
    let (api, web) = (credentials(&root, API), credentials(&root, WEB));
    for (case, bytes, expected) in [
        ("TLS 1.2", hello_of_tls12(), "TlsVersion"),
        ("plain HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec(), "NotTls"),
        ("a hang-up", Vec::new(), "Closed"),
    ] {
        let (near, far) = duplex(64 * 1024);
        let (served, answer) = tokio::join!(accept(far, &api), say(near, &bytes));
        assert_eq!(verdict(&served.map(drop)), expected, "{case}");
        if case == "TLS 1.2" {
            assert_eq!(answer, [0x15, 3, 3, 0, 2, 2, 70], "alert protocol_version");
        }
    }
    for (case, bytes, expected) in [
        ("TLS 1.2", &[0x15, 3, 3, 0, 2, 2, 70][..], "TlsVersion"),
        ("plain HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n", "NotTls"),
        ("a hang-up", b"", "Closed"),
    ] {
        let (near, far) = duplex(64 * 1024);
        let expected_id = id(API);
        let dial = connect(near, &web, Alpn::H2, THERE, &expected_id);
        let (dialled, _) = tokio::join!(dial, say(far, bytes));
        assert_eq!(verdict(&dialled.map(drop)), expected, "{case}");
    }
}

/// Says its piece, stops speaking, and listens to the end.
async fn say(mut io: DuplexStream, bytes: &[u8]) -> Vec<u8> {
    io.write_all(bytes).await.expect("written");
    io.shutdown().await.expect("shut down");
    let mut answer = Vec::new();
    io.read_to_end(&mut answer).await.expect("read");
    answer
}
