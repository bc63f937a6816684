//! Sessions byte by byte: between two of ours, and with tokio-rustls at either end.

use std::io::ErrorKind;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::server::WebPkiClientVerifier;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::super::{ClientSession, ServerSession};
use super::*;

/// Where a record never fits.
const NARROW: usize = 7;
const WIDE: usize = 64 * 1024;

trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

/// Both ends of a session over a pipe of that size; `ours` says whose implementation either is.
async fn pair(size: usize, ours: (bool, bool)) -> (Box<dyn Io>, Box<dyn Io>) {
    let root = authority();
    let (server, client) = (credentials(&root, API), credentials(&root, WEB));
    let (near, far) = duplex(size);
    let serve = async {
        match ours.0 {
            true => Box::new(ServerSession::accept(far, server.server()).await.unwrap()) as _,
            false => {
                // It would wait for its tickets to be taken, and nobody reads yet.
                let mut config = rustls::ServerConfig::clone(server.server());
                config.send_tls13_tickets = 0;
                let acceptor = TlsAcceptor::from(Arc::new(config));
                Box::new(acceptor.accept(far).await.unwrap()) as Box<dyn Io>
            }
        }
    };
    let config = client.client(Alpn::H1);
    let dial = async {
        match ours.1 {
            true => Box::new(ClientSession::connect(near, config, no_name()).await.unwrap()) as _,
            false => {
                let connector = TlsConnector::from(Arc::clone(config));
                Box::new(connector.connect(no_name(), near).await.unwrap()) as Box<dyn Io>
            }
        }
    };
    tokio::join!(serve, dial)
}

/// Sends in pieces of growing size, and ends.
async fn say(io: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) {
    let (mut rest, mut piece) = (bytes, 1);
    while !rest.is_empty() {
        let (now, later) = rest.split_at(piece.min(rest.len()));
        io.write_all(now).await.unwrap();
        (rest, piece) = (later, piece * 3);
    }
    io.shutdown().await.unwrap();
}

async fn hear(io: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut bytes = Vec::new();
    io.read_to_end(&mut bytes).await.expect("a clean end");
    bytes
}

fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 31 + n / 251) as u8).collect()
}

#[tokio::test]
async fn bytes_go_both_ways_at_once_whoever_is_there() {
    for ours in [(true, true), (true, false), (false, true)] {
        for size in [NARROW, WIDE] {
            let (server, client) = pair(size, ours).await;
            let (ping, pong) = (noise(300_000), noise(200_001));
            let (mut from_client, mut to_client) = tokio::io::split(server);
            let (mut from_server, mut to_server) = tokio::io::split(client);
            let (_, _, heard, answered) = tokio::join!(
                say(&mut to_server, &ping),
                say(&mut to_client, &pong),
                hear(&mut from_client),
                hear(&mut from_server),
            );
            assert!(heard == ping && answered == pong, "{ours:?} over {size} bytes");
        }
    }
}

#[tokio::test]
async fn pieces_that_are_written_together_stay_in_order() {
    for ours in [(true, true), (true, false), (false, true)] {
        let (mut server, mut client) = pair(WIDE, ours).await;
        let all = noise(150_000);
        let write = async {
            let mut sent = 0;
            while sent < all.len() {
                let (a, b) = all[sent..].split_at((all.len() - sent) / 3);
                let bufs = [std::io::IoSlice::new(a), std::io::IoSlice::new(b)];
                sent += server.write_vectored(&bufs).await.unwrap();
            }
            server.shutdown().await.unwrap();
        };
        let (_, heard) = tokio::join!(write, hear(&mut client));
        assert!(heard == all, "{ours:?}");
    }
}

async fn two() -> (ServerSession<DuplexStream>, ClientSession<DuplexStream>) {
    let root = authority();
    let (server, client) = (credentials(&root, API), credentials(&root, WEB));
    let (near, far) = duplex(WIDE);
    let (server, client) = tokio::join!(
        ServerSession::accept(far, server.server()),
        ClientSession::connect(near, client.client(Alpn::H1), no_name()),
    );
    (server.unwrap(), client.unwrap())
}

#[tokio::test]
async fn one_at_rest_holds_no_buffer() {
    let (mut server, mut client) = two().await;
    // Its tickets go with its first word.
    server.write_all(b"!").await.unwrap();
    client.read_u8().await.unwrap();
    for size in [1, 40_000] {
        let bytes = noise(size);
        let (written, _) = tokio::join!(
            async {
                client.write_all(&bytes).await?;
                client.flush().await
            },
            async {
                let mut heard = vec![0; size];
                server.read_exact(&mut heard).await.unwrap();
                assert!(heard == bytes);
            }
        );
        written.unwrap();
        assert_eq!((server.kept(), client.kept()), (0, 0), "after {size} bytes");
    }
}

#[tokio::test]
async fn who_is_not_read_is_held_back() {
    let (mut server, client) = two().await;
    let flood = async { while server.write_all(&[7; 1000]).await.is_ok() {} };
    assert!(timeout(Duration::from_millis(50), flood).await.is_err());
    assert!(server.kept() < 2 * WIDE, "{} bytes wait", server.kept());
    drop(client);
    let error = server.write_all(&[7; 200_000]).await.expect_err("nobody is there");
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[tokio::test]
async fn what_is_cut_off_is_no_end() {
    let (mut server, mut client) = two().await;
    client.write_all(b"half").await.unwrap();
    drop(client);
    let mut heard = Vec::new();
    let error = server.read_to_end(&mut heard).await.expect_err("no close_notify came");
    assert_eq!((&heard[..], error.kind()), (&b"half"[..], ErrorKind::UnexpectedEof));
}

#[tokio::test]
async fn who_has_heard_the_end_may_still_answer() {
    let (mut server, mut client) = two().await;
    client.write_all(b"ask").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(hear(&mut server).await, b"ask");
    server.write_all(b"answer").await.unwrap();
    server.shutdown().await.unwrap();
    assert_eq!(hear(&mut client).await, b"answer");
    assert_eq!(server.read(&mut [0; 9]).await.unwrap(), 0, "and again");
}

/// A pipe whose bytes can be changed on their way.
async fn through(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut change: impl FnMut(&mut [u8], usize),
) {
    let (mut buf, mut passed) = ([0; 4096], 0);
    while let Ok(count @ 1..) = from.read(&mut buf).await {
        change(&mut buf[..count], passed);
        passed += count;
        if to.write_all(&buf[..count]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

#[tokio::test]
async fn a_changed_byte_is_refused_and_told() {
    let root = authority();
    let (server, client) = (credentials(&root, API), credentials(&root, WEB));
    let ((near, a), (b, far)) = (duplex(WIDE), duplex(WIDE));
    let ((from_client, to_client), (from_server, to_server)) =
        (tokio::io::split(a), tokio::io::split(b));
    let is_shaken = std::cell::Cell::new(false);
    let forth = through(from_client, to_server, |bytes, _| {
        if is_shaken.get() {
            bytes[bytes.len() - 1] ^= 1;
        }
    });
    let back = through(from_server, to_client, |_, _| ());
    let talk = async {
        let (served, dialled) = tokio::join!(
            ServerSession::accept(far, server.server()),
            ClientSession::connect(near, client.client(Alpn::H1), no_name()),
        );
        let (mut served, mut dialled) = (served.unwrap(), dialled.unwrap());
        is_shaken.set(true);
        dialled.write_all(b"pay 1").await.unwrap();
        let error = served.read_u8().await.expect_err("forged");
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(matches!(classify(&error), PeerError::Handshake(_)), "{error:?}");
        let told = dialled.read_u8().await.expect_err("an alert");
        assert!(told.to_string().contains("BadRecordMac"), "{told}");
        // Whatever is tried after that, it stays so; and nothing more is told.
        for end in [&mut served as &mut dyn Io, &mut dialled] {
            assert_eq!(end.read_u8().await.expect_err("still").kind(), ErrorKind::InvalidData);
            assert_eq!(end.write(b"x").await.expect_err("still").kind(), ErrorKind::InvalidData);
            end.shutdown().await.expect("the pipe is whole");
        }
        assert_eq!((served.kept(), dialled.kept()), (0, 0));
    };
    tokio::select! {
        () = talk => {}
        _ = async { tokio::join!(forth, back) } => panic!("the pipe ended first"),
    }
}

#[tokio::test]
async fn garbage_ends_a_handshake() {
    let root = authority();
    let server = credentials(&root, API);
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[22, 3, 1, 255, 255], &[22, 3, 3, 0, 0], &[0]]
    {
        let (mut near, far) = duplex(WIDE);
        near.write_all(garbage).await.unwrap();
        near.shutdown().await.unwrap();
        let accepted = ServerSession::accept(far, server.server());
        let accepted = timeout(Duration::from_secs(5), accepted).await.expect("at once");
        let kind = accepted.map(|_| ()).expect_err("no session").kind();
        assert!(matches!(kind, ErrorKind::InvalidData | ErrorKind::UnexpectedEof), "{kind}");
    }
}

/// A server outside the mesh: with tickets, new keys now and then, and perhaps TLS 1.2.
#[tokio::test]
async fn servers_of_other_kinds_are_understood() {
    let root = authority();
    let (api, web) = (credentials(&root, API), credentials(&root, WEB));
    let mut roots = rustls::RootCertStore::empty();
    for anchor in certificates(root.root_pem().as_bytes()).unwrap() {
        roots.add(anchor).unwrap();
    }
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let builder = || rustls::ServerConfig::builder_with_provider(any_suite());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), any_suite());
        let mut config = builder()
            .with_protocol_versions(&[version])
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_cert_resolver(Arc::clone(&api.server().cert_resolver));
        config.send_tls13_tickets = 4;
        let theirs = TlsAcceptor::from(Arc::new(config));
        let mut config = rustls::ClientConfig::builder_with_provider(any_suite())
            .with_protocol_versions(&[version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer))
            .with_client_cert_resolver(Arc::clone(&web.client(Alpn::H1).client_auth_cert_resolver));
        config.resumption = rustls::client::Resumption::in_memory_sessions(8);
        let ours = Arc::new(config);
        for round in 0..2 {
            let (near, far) = duplex(WIDE);
            let name = ServerName::try_from("api.test").unwrap();
            let (served, dialled) =
                tokio::join!(theirs.accept(far), ClientSession::connect(near, &ours, name));
            let (mut served, mut dialled) = (served.unwrap(), dialled.unwrap());
            let kind = dialled.get_ref().1.handshake_kind();
            let resumed = matches!(kind, Some(HandshakeKind::Resumed));
            assert_eq!(resumed, round == 1, "{version:?} {kind:?}");
            for _ in 0..3 {
                served.write_all(b"news").await.unwrap();
                if version.version == ProtocolVersion::TLSv1_3 {
                    served.get_mut().1.refresh_traffic_keys().unwrap();
                }
                served.write_all(b"more").await.unwrap();
                let mut heard = [0; 8];
                dialled.read_exact(&mut heard).await.unwrap();
                assert_eq!(&heard, b"newsmore");
                dialled.write_all(b"answer").await.unwrap();
                let mut heard = [0; 6];
                served.read_exact(&mut heard).await.unwrap();
                assert_eq!(&heard, b"answer");
            }
        }
    }
}

fn any_suite() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Who the server is, is none of this test's business.
#[derive(Debug)]
struct AnyServer;

impl rustls::client::danger::ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

#[tokio::test]
async fn a_client_may_end_its_side_with_the_last_word_of_the_handshake() {
    let root = authority();
    let (server, client) = (credentials(&root, API), credentials(&root, WEB));
    for word in [&b""[..], b"a question"] {
        let (near, far) = duplex(WIDE);
        let serve = async {
            let mut server = ServerSession::accept(far, server.server()).await.expect("a session");
            let asked = hear(&mut server).await;
            say(&mut server, b"half past nine").await;
            asked
        };
        let ask = async {
            let config = client.client(Alpn::H1);
            let mut client = ClientSession::connect(near, config, no_name()).await.unwrap();
            say(&mut client, word).await;
            hear(&mut client).await
        };
        let (asked, answer) = tokio::join!(serve, ask);
        assert_eq!((&asked[..], &answer[..]), (word, &b"half past nine"[..]));
    }
}

/// Takes so many bytes more, and then fails; what was sent to it can be read all the same.
struct Cut<IO>(IO, std::cell::Cell<usize>);

impl<IO: Io> AsyncRead for Cut<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<IO: Io> AsyncWrite for Cut<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        let left = self.1.get();
        if left == 0 {
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        }
        let taken = Pin::new(&mut self.0).poll_write(cx, &buf[..buf.len().min(left)]);
        if let Poll::Ready(Ok(count)) = taken {
            self.1.set(left - count);
        }
        taken
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn an_answer_is_read_although_nothing_more_can_be_sent() {
    let root = authority();
    let (server, client) = (credentials(&root, API), credentials(&root, WEB));
    let (near, far) = duplex(WIDE);
    let near = Cut(near, usize::MAX.into());
    let (served, dialled) = tokio::join!(
        ServerSession::accept(far, server.server()),
        ClientSession::connect(near, client.client(Alpn::H1), no_name()),
    );
    let (mut served, mut dialled) = (served.unwrap(), dialled.unwrap());
    say(&mut served, &noise(20_000)).await;
    dialled.get_ref().0.1.set(1_000);
    // Some of it may be with the peer: it counts as written, and the next says what happened.
    assert_eq!(dialled.write(&[7; 30_000]).await.unwrap(), 30_000);
    for _ in 0..2 {
        let error = dialled.write(b"more").await.expect_err("it is cut");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let error = dialled.flush().await.expect_err("it is cut");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    assert!(hear(&mut dialled).await == noise(20_000));
}

#[tokio::test]
async fn what_came_before_garbage_comes_first() {
    let (mut served, mut dialled) = two().await;
    let answer = noise(20_000);
    served.write_all(&answer).await.unwrap();
    // A record that nobody sealed.
    served.io().write_all(&[&[23, 3, 3, 0, 30][..], &[7; 30]].concat()).await.unwrap();
    let mut heard = vec![0; answer.len()];
    dialled.read_exact(&mut heard).await.expect("all that was sealed");
    assert!(heard == answer);
    let error = dialled.read_u8().await.expect_err("garbage");
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    // The peer was heard: this is no verdict on who we are.
    assert!(matches!(classify(&error), PeerError::Io(ErrorKind::InvalidData)), "{error:?}");
}
