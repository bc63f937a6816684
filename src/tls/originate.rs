//! TLS towards servers outside the mesh: as any client does it, by host name and roots, without a
//! certificate of our own.
//!
//! What a file or the system says is read when a snapshot is built; what is wrong with it is said by
//! every connection that needs it, so that nothing is reached unverified.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};

use super::files::{Stamp, stamp};
use super::{Alpn, ClientSession, PeerError, classify};
use crate::model::Originate;

/// How servers of one service are verified.
#[derive(Clone, Debug)]
pub struct Origination {
    policy: Originate,
    /// Tells connections that were verified in another way.
    id: u64,
    seen: Option<Stamp>,
    /// In the order of [`Alpn::ALL`].
    configs: Result<[Arc<ClientConfig>; 3], Arc<str>>,
}

impl Origination {
    /// Reads the roots, unless the one before did so and nothing changed. What can't be read leaves
    /// those of the one before in force.
    pub fn load(policy: &Originate, before: Option<&Self>) -> Self {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let before = before.filter(|before| before.policy == *policy);
        if let Some(before) = before.filter(|before| !before.is_stale()) {
            return before.clone();
        }
        // Before it is read: a change meanwhile is seen as one.
        let seen = policy.ca_file.as_deref().and_then(stamp);
        let roots = match &policy.ca_file {
            Some(file) => from_file(file),
            None => from_system(),
        };
        let configs = roots.map(configs).map_err(Arc::from);
        if let Err(why) = &configs {
            tracing::error!("TLS to a service outside the mesh: {why}");
            if let Some(before) = before.filter(|before| before.configs.is_ok()) {
                return Self { seen, ..before.clone() };
            }
        }
        Self { policy: policy.clone(), id: IDS.fetch_add(1, Relaxed), seen, configs }
    }

    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether the file of the roots has changed since.
    pub fn is_stale(&self) -> bool {
        self.policy.ca_file.as_deref().is_some_and(|file| stamp(file) != self.seen)
    }

    /// Shakes hands; `host` is the endpoint's own name.
    ///
    /// # Errors
    /// [`PeerError`]: nothing but the handshake was sent.
    pub async fn connect<IO>(
        &self,
        io: IO,
        alpn: Alpn,
        host: Option<&str>,
    ) -> Result<ClientSession<IO>, PeerError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let configs = self.configs.as_ref().map_err(|why| PeerError::NoRoots(why.to_string()))?;
        let name = self.policy.sni.as_deref().or(host).ok_or(PeerError::NoServerName)?;
        let name = ServerName::try_from(name.to_owned()).map_err(|_| PeerError::NoServerName)?;
        let stream = ClientSession::connect(io, &configs[alpn as usize], name).await;
        let stream = stream.map_err(|e| classify(&e))?;
        let spoken = stream.get_ref().1.alpn_protocol();
        if alpn == Alpn::H2 && spoken != Some(b"h2") {
            return Err(PeerError::NoHttp2);
        }
        Ok(stream)
    }
}

fn configs(roots: RootCertStore) -> [Arc<ClientConfig>; 3] {
    let mut base = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has suites of TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    base.resumption = Resumption::in_memory_sessions(32);
    Alpn::ALL.map(|alpn| {
        let mut config = base.clone();
        config.alpn_protocols = match alpn {
            Alpn::H2 => vec![b"h2".to_vec()],
            Alpn::H1 => vec![b"http/1.1".to_vec()],
            Alpn::Tcp => Vec::new(),
        };
        Arc::new(config)
    })
}

fn from_file(file: &Path) -> Result<RootCertStore, String> {
    let place = file.display();
    let text = std::fs::read(file).map_err(|error| format!("{place} can't be read: {error}"))?;
    let blocks = pem::parse_many(&text).map_err(|error| format!("{place} is no PEM: {error}"))?;
    let certificates = blocks.into_iter().filter(|block| block.tag() == "CERTIFICATE");
    let mut roots = RootCertStore::empty();
    for block in certificates {
        let added = roots.add(CertificateDer::from(block.into_contents()));
        added.map_err(|error| format!("{place} has a certificate that is no root: {error}"))?;
    }
    if roots.is_empty() {
        return Err(format!("{place} has no certificate"));
    }
    Ok(roots)
}

fn from_system() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(format!(
            "this system has no root certificates{why}: install ca-certificates, or name a caFile"
        ));
    }
    Ok(roots)
}
