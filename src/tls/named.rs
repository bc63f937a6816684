//! The server's end for callers outside the mesh who know us by host name: the API server that calls
//! the webhook. They show no certificate, and are trusted with nothing for having come.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;

use super::configs::{SUITES, provider};

/// For HTTP/1.1, with this chain (leaf first) and the key of its leaf.
///
/// # Errors
/// When the two don't belong together, or can't be used.
pub fn named_server(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider().clone())
        .with_protocol_versions(&[&TLS13])
        .expect(SUITES)
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}
