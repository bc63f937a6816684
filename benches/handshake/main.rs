//! What a handshake of mutual TLS costs each side: measured, never judged.
//!
//! In memory, with the library and the ciphers that sidecars use, and certificates of their kind:
//! whole and resumed, with the post-quantum key exchange that sidecars agree on and without. What is
//! shown anew is verified anew here, where a sidecar knows the chains that it has seen
//! (`tls::proven`). `cargo bench --bench handshake`; some seconds.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::kx_group::{X25519, X25519MLKEM768};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig, ServerConnection,
};

const HANDSHAKES: u32 = 2_000;
const NAME: &str = "api.shop";

/// Somebody with a certificate.
struct Member {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

fn main() {
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(root, KeyPair::generate().expect("a key"));
    let root = root.expect("a root");
    let member = || {
        let key = KeyPair::generate().expect("a key");
        let leaf = CertificateParams::new([NAME.to_owned()]).expect("a name");
        let leaf = leaf.signed_by(&key, &root).expect("signed");
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        Member { chain: vec![leaf.der().clone()], key }
    };
    let mut roots = RootCertStore::empty();
    roots.add(root.der().clone()).expect("a root");
    let roots = Arc::new(roots);
    say("HANDSHAKE                SERVER µs  CLIENT µs  SERVER, A SECOND");
    for (name, group, is_resumed) in [
        ("whole, X25519MLKEM768", X25519MLKEM768, false),
        ("whole, X25519", X25519, false),
        ("resumed, X25519MLKEM768", X25519MLKEM768, true),
        ("resumed, X25519", X25519, true),
    ] {
        let provider = outrigger::tls::provider();
        let provider = CryptoProvider { kx_groups: vec![group], ..CryptoProvider::clone(provider) };
        let provider = Arc::new(provider);
        let server = server(&provider, &roots, member(), is_resumed);
        let client = client(&provider, &roots, member(), is_resumed);
        let wanted = if is_resumed { HandshakeKind::Resumed } else { HandshakeKind::Full };
        // The first is whole, whatever is wanted.
        for _ in 0..HANDSHAKES / 10 {
            shake(&server, &client);
        }
        let mut spent = [Duration::ZERO; 2];
        for _ in 0..HANDSHAKES {
            let (kind, server, client) = shake(&server, &client);
            assert_eq!(kind, Some(wanted));
            spent = [spent[0] + server, spent[1] + client];
        }
        let [server, client] = spent.map(|spent| spent.as_secs_f64() / f64::from(HANDSHAKES));
        let (micros, second) = (|seconds: f64| seconds * 1e6, 1.0 / server);
        say(&format!("{name:<24} {:>9.1} {:>10.1} {second:>17.0}", micros(server), micros(client)));
    }
}

fn server(
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    Member { chain, key }: Member,
    is_resumed: bool,
) -> Arc<ServerConfig> {
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(provider));
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13])
        .expect("suites of TLS 1.3")
        .with_client_cert_verifier(verifier.build().expect("roots"))
        .with_single_cert(chain, key)
        .expect("a pair");
    if !is_resumed {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Arc::new(config)
}

fn client(
    provider: &Arc<CryptoProvider>,
    roots: &Arc<RootCertStore>,
    Member { chain, key }: Member,
    is_resumed: bool,
) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13])
        .expect("suites of TLS 1.3")
        .with_root_certificates(Arc::clone(roots))
        .with_client_auth_cert(chain, key)
        .expect("a pair");
    if !is_resumed {
        config.resumption = Resumption::disabled();
    }
    Arc::new(config)
}

/// One handshake; how it went, and how long the server and the client worked.
fn shake(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
) -> (Option<HandshakeKind>, Duration, Duration) {
    let (mut served, mut dialled) = (Duration::ZERO, Duration::ZERO);
    let timed = |spent: &mut Duration, begun: Instant| *spent += begun.elapsed();
    let begun = Instant::now();
    let name = ServerName::try_from(NAME).expect("a name");
    let mut client = ClientConnection::new(Arc::clone(client), name).expect("a client");
    timed(&mut dialled, begun);
    let begun = Instant::now();
    let mut server = ServerConnection::new(Arc::clone(server)).expect("a server");
    timed(&mut served, begun);
    let mut wire = Vec::new();
    while client.wants_write() || server.wants_write() {
        let begun = Instant::now();
        while client.wants_write() {
            client.write_tls(&mut wire).expect("written");
        }
        timed(&mut dialled, begun);
        let begun = Instant::now();
        let mut come = &wire[..];
        while !come.is_empty() {
            server.read_tls(&mut come).expect("read");
            server.process_new_packets().expect("the client is known");
        }
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).expect("written");
        }
        timed(&mut served, begun);
        let begun = Instant::now();
        let mut come = &wire[..];
        while !come.is_empty() {
            client.read_tls(&mut come).expect("read");
            client.process_new_packets().expect("the server is known");
        }
        wire.clear();
        timed(&mut dialled, begun);
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    (server.handshake_kind(), served, dialled)
}

fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").expect("somebody reads this");
}
