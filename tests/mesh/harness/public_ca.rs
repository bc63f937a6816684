//! A certificate authority as the world outside the mesh has them, and an app there that speaks
//! HTTP/2 over TLS.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, Response};
use outrigger::identity::issue::Issued;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio_rustls::TlsAcceptor;

use super::grpc::{drain, frame, send_all};
use super::tls;

pub struct PublicCa {
    issuer: Issuer<'static, KeyPair>,
    pub root_pem: String,
}

impl PublicCa {
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root_pem = params.self_signed(&key).expect("a root").pem();
        Self { issuer: Issuer::new(params, key), root_pem }
    }

    /// A server's certificate for a host name.
    pub fn issue(&self, host: &str) -> Issued {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([host.to_owned()]).expect("a host name");
        params.use_authority_key_identifier_extension = true;
        let signed = params.signed_by(&key, &self.issuer).expect("a certificate");
        Issued { cert_pem: signed.pem(), key_pem: key.serialize_pem() }
    }
}

/// What a server was told in a handshake that succeeded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shaken {
    pub sni: Option<String>,
    pub alpn: Option<String>,
    /// Whether the client showed a certificate.
    pub certified: bool,
}

impl Shaken {
    pub fn of(connection: &rustls::ServerConnection) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            sni: connection.server_name().map(str::to_owned),
            alpn: connection.alpn_protocol().map(text),
            certified: connection.peer_certificates().is_some(),
        }
    }
}

/// Answers each gRPC call over TLS with its own name.
pub struct GrpcOverTls {
    pub address: SocketAddr,
    shaken: Arc<Mutex<Vec<Shaken>>>,
}

impl GrpcOverTls {
    pub fn start(issued: &Issued, alpn: &[&str]) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(tls::server(issued, alpn)));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("it listens");
        let shaken = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&shaken);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime");
            LocalSet::new().block_on(&runtime, async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                while let Ok((stream, _)) = listener.accept().await {
                    let served = serve(acceptor.clone(), stream, Arc::clone(&record));
                    tokio::task::spawn_local(served);
                }
            });
        });
        Self { address, shaken }
    }

    pub fn shaken(&self) -> Vec<Shaken> {
        self.shaken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, shaken: Arc<Mutex<Vec<Shaken>>>) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let this = Shaken::of(stream.get_ref().1);
    shaken.lock().unwrap_or_else(PoisonError::into_inner).push(this);
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        tokio::task::spawn_local(async move {
            let _ = drain(&mut request.into_body()).await;
            let head = Response::builder().header("content-type", "application/grpc").body(());
            let Ok(mut send) = respond.send_response(head.expect("a response"), false) else {
                return;
            };
            send_all(&mut send, &frame(b"outside"), false).await;
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().expect("a value"));
            let _ = send.send_trailers(trailers);
        });
    }
}
