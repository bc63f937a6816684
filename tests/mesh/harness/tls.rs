//! TLS ends that obey nobody: clients and servers that present what the scenario says, and believe
//! whatever they are shown.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use outrigger::identity::issue::Issued;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, DistinguishedName, Error, HandshakeKind,
    ServerConfig, ServerConnection, SignatureScheme, StreamOwned,
};

use super::Wire;

pub type ClientEnd = StreamOwned<ClientConnection, TcpStream>;
pub type ServerEnd = StreamOwned<ServerConnection, TcpStream>;

/// A client with this certificate, or none, that offers these protocols.
pub fn client(issued: Option<&Issued>, alpn: &[&str]) -> ClientConfig {
    let builder =
        ClientConfig::builder().dangerous().with_custom_certificate_verifier(Arc::new(Gullible));
    let mut config = match issued {
        Some(issued) => {
            let (chain, key) = parts(issued);
            builder.with_client_auth_cert(chain, key).expect("certificate and key fit")
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

/// Says hello, and then nothing more.
///
/// # Errors
/// The connection's.
pub fn stall(to: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<TcpStream> {
    let name = ServerName::try_from("sidecar.invalid").expect("a name");
    let mut connection =
        ClientConnection::new(Arc::clone(config), name).expect("a config that makes connections");
    let mut stream = Wire::connect(to).stream;
    connection.write_tls(&mut stream).map(|_| stream)
}

/// Shakes hands. In TLS 1.3 that succeeds before the server has judged the client's certificate.
///
/// # Errors
/// What the server says to it.
pub fn connect(to: SocketAddr, config: ClientConfig) -> io::Result<Wire<ClientEnd>> {
    shake_hands(Wire::connect(to).stream, config)
}

/// The same on a connection that is there already.
///
/// # Errors
/// What the server says to it.
pub fn shake_hands(stream: TcpStream, config: ClientConfig) -> io::Result<Wire<ClientEnd>> {
    let name = ServerName::try_from("sidecar.invalid").expect("a name");
    let connection =
        ClientConnection::new(Arc::new(config), name).expect("a config that makes connections");
    let mut end = StreamOwned::new(connection, stream);
    while end.conn.is_handshaking() {
        end.conn.complete_io(&mut end.sock)?;
    }
    Ok(Wire::over(end))
}

/// A server on a port of its own.
pub struct TlsServer {
    pub address: SocketAddr,
    shaken: Arc<AtomicUsize>,
    resumed: Arc<AtomicUsize>,
    group: Arc<Mutex<Option<String>>>,
}

impl TlsServer {
    /// Presents this certificate and runs the script after each handshake that succeeded.
    pub fn start(
        issued: &Issued,
        alpn: &[&str],
        script: impl Fn(Wire<ServerEnd>) + Send + Sync + 'static,
    ) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), issued, alpn, script)
    }

    /// The same, at this address.
    pub fn start_at(
        at: SocketAddr,
        issued: &Issued,
        alpn: &[&str],
        script: impl Fn(Wire<ServerEnd>) + Send + Sync + 'static,
    ) -> Self {
        let config = Arc::new(server(issued, alpn));
        let listener = TcpListener::bind(at).expect("a port is free");
        let address = listener.local_addr().expect("it listens");
        let (shaken, script) = (Arc::new(AtomicUsize::new(0)), Arc::new(script));
        let (resumed, group) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(None)));
        let counts = [Arc::clone(&shaken), Arc::clone(&resumed)];
        let kept = Arc::clone(&group);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, script) = (Arc::clone(&config), Arc::clone(&script));
                let ([shaken, resumed], kept) = (counts.clone(), Arc::clone(&kept));
                thread::spawn(move || {
                    if let Ok(end) = accept(stream, config) {
                        *kept.lock().unwrap_or_else(PoisonError::into_inner) = group_of(&end.conn);
                        let is_resumed = end.conn.handshake_kind() == Some(HandshakeKind::Resumed);
                        resumed.fetch_add(is_resumed.into(), Ordering::SeqCst);
                        shaken.fetch_add(1, Ordering::SeqCst);
                        script(Wire::over(end));
                    }
                });
            }
        });
        Self { address, shaken, resumed, group }
    }

    /// Handshakes that succeeded.
    pub fn handshakes(&self) -> usize {
        self.shaken.load(Ordering::SeqCst)
    }

    /// Those of them that began with a ticket.
    pub fn resumed(&self) -> usize {
        self.resumed.load(Ordering::SeqCst)
    }

    /// The key exchange of the last handshake.
    pub fn group(&self) -> Option<String> {
        self.group.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The key exchange that both sides agreed on.
pub fn group_of(connection: &rustls::CommonState) -> Option<String> {
    let group = connection.negotiated_key_exchange_group()?;
    Some(format!("{:?}", group.name()))
}

fn accept(stream: TcpStream, config: Arc<ServerConfig>) -> io::Result<ServerEnd> {
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut end = StreamOwned::new(connection, Wire::of(stream).stream);
    while end.conn.is_handshaking() {
        end.conn.complete_io(&mut end.sock)?;
    }
    Ok(end)
}

pub fn server(issued: &Issued, alpn: &[&str]) -> ServerConfig {
    let (chain, key) = parts(issued);
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(Arc::new(Gullible))
        .with_single_cert(chain, key)
        .expect("certificate and key fit");
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

fn parts(issued: &Issued) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::pem_slice_iter(issued.cert_pem.as_bytes());
    let chain = chain.collect::<Result<_, _>>().expect("PEM");
    (chain, PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).expect("PEM"))
}

/// A ClientHello of a client that stops at TLS 1.2 and offers `outrigger-h2`.
pub fn tls12_hello() -> Vec<u8> {
    let mut extensions = Vec::new();
    let mut extension = |kind: u16, body: &[u8]| {
        extensions.extend_from_slice(&kind.to_be_bytes());
        extensions.extend_from_slice(&(body.len() as u16).to_be_bytes());
        extensions.extend_from_slice(body);
    };
    extension(10, &[0, 4, 0, 29, 0, 23]); // groups: x25519, P-256
    extension(13, &[0, 4, 4, 3, 8, 4]); // signatures: ECDSA P-256, RSA-PSS
    extension(16, b"\x00\x0d\x0coutrigger-h2"); // ALPN
    let mut hello = vec![3, 3];
    hello.extend_from_slice(&[7; 32]); // random
    hello.push(0); // no session
    hello.extend_from_slice(&[0, 4, 0xc0, 0x2b, 0xc0, 0x2f]); // ECDHE with AES-128-GCM
    hello.extend_from_slice(&[1, 0]); // no compression
    hello.extend_from_slice(&(extensions.len() as u16).to_be_bytes());
    hello.extend_from_slice(&extensions);
    let mut record = vec![22, 3, 1];
    record.extend_from_slice(&(hello.len() as u16 + 4).to_be_bytes());
    record.extend_from_slice(&[1, 0]);
    record.extend_from_slice(&(hello.len() as u16).to_be_bytes());
    record.extend_from_slice(&hello);
    record
}

/// Believes any certificate.
#[derive(Debug)]
struct Gullible;

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519]
    }
}

impl ClientCertVerifier for Gullible {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::ED25519]
    }
}
