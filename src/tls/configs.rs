//! The rustls configurations of a snapshot: one for accepting, one per protocol for dialling.
//!
//! Everything that connections can share (keys, chain, roots, provider) is shared here, so that a
//! handshake allocates for its own state only.
//!
//! Resumption is off in all of them; between sidecars, [`super::tickets`] adds it.

use std::sync::{Arc, OnceLock};

use rustls::client::{Resumption, TicketRequest};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};

use super::Alpn;
use super::verify::Verifier;
use crate::identity::Svid;

pub(super) const SUITES: &str = "the provider has cipher suites and key exchanges of TLS 1.3";

/// The algorithms of the mesh. AES-128 first, for four rounds fewer per block; the hybrid key
/// exchange first, to keep today's recordings closed to tomorrow's quantum computers.
pub fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| {
        Arc::new(CryptoProvider {
            cipher_suites: vec![
                cipher_suite::TLS13_AES_128_GCM_SHA256,
                cipher_suite::TLS13_AES_256_GCM_SHA384,
                cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            ],
            kx_groups: vec![
                kx_group::X25519MLKEM768,
                kx_group::X25519,
                kx_group::SECP256R1,
                kx_group::SECP384R1,
            ],
            ..default_provider()
        })
    })
}

pub(super) fn server(
    svid: &Svid,
    verifier: Arc<Verifier>,
    protocols: Vec<Vec<u8>>,
) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(provider().clone())
        .with_protocol_versions(&[&TLS13])
        .expect(SUITES)
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(resolver(svid));
    config.alpn_protocols = protocols;
    // Others begin with AES-256, whose handshakes hash with SHA-384, which few CPUs have in hardware.
    config.ignore_client_order = true;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config
}

/// Between sidecars, in the order of [`Alpn::ALL`].
pub(super) fn clients(svid: &Svid, verifier: Arc<Verifier>) -> [Arc<ClientConfig>; 3] {
    let base = client(Some(svid), verifier, Vec::new());
    Alpn::ALL.map(|alpn| {
        let mut config = base.clone();
        config.alpn_protocols = vec![wire(alpn)];
        // Tickets are asked for where they are kept.
        config.send_ticket_request =
            Some(TicketRequest { new_session_count: 0, resumption_count: 0 });
        Arc::new(config)
    })
}

/// Without an SVID, no certificate is shown.
pub(super) fn client(
    svid: Option<&Svid>,
    verifier: Arc<Verifier>,
    protocols: Vec<Vec<u8>>,
) -> ClientConfig {
    let config = ClientConfig::builder_with_provider(provider().clone())
        .with_protocol_versions(&[&TLS13])
        .expect(SUITES)
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match svid {
        Some(svid) => config.with_client_cert_resolver(resolver(svid)),
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = protocols;
    config.resumption = Resumption::disabled();
    // Peers are told apart by address and SPIFFE id; a host name would only leak into the clear.
    config.enable_sni = false;
    config
}

fn resolver(svid: &Svid) -> Arc<SingleCertAndKey> {
    Arc::new(SingleCertAndKey::from(svid.certified_key().clone()))
}

pub(super) fn wire(alpn: Alpn) -> Vec<u8> {
    alpn.name().as_bytes().to_vec()
}
