//! Certificates for both ends, in files as every proxy reads them, and for our own callers.
//!
//! P-256, a SPIFFE id, and a DNS name beside it because nginx can verify nothing else.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore};

use super::processes::folder;

/// What the called side is named, for who can't tell a SPIFFE id.
pub const SERVER: &str = "server.default.svc.cluster.local";

type Root = CertifiedIssuer<'static, KeyPair>;

pub struct Certificates {
    folder: PathBuf,
    root: CertificateDer<'static>,
    chain: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Certificates {
    pub fn make() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "bench");
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"));
        let root = root.expect("a root");
        let folder = folder();
        fs::write(folder.join("ca.pem"), root.pem()).expect("the folder is ours");
        let [_, (chain, key)] = ["server", "client"].map(|name| leaf(&folder, &root, name));
        Self { folder, root: root.der().clone(), chain, key }
    }

    /// `ca.pem`, and `.pem`, `.key` and `.both.pem` of `client` and `server`.
    pub fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// For a caller of ours that offers one protocol and one group.
    pub fn caller(
        &self,
        alpn: &str,
        group: &'static dyn SupportedKxGroup,
        resumes: bool,
    ) -> Arc<ClientConfig> {
        let provider = Arc::new(CryptoProvider {
            kx_groups: vec![group],
            cipher_suites: vec![TLS13_AES_128_GCM_SHA256],
            ..CryptoProvider::clone(outrigger::tls::provider())
        });
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).expect("a root");
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .expect("a suite of TLS 1.3")
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![self.chain.clone()], self.key.clone_key())
            .expect("a pair");
        if !resumes {
            config.resumption = Resumption::disabled();
        }
        config.alpn_protocols = vec![alpn.into()];
        Arc::new(config)
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn leaf(
    folder: &std::path::Path,
    root: &Root,
    name: &str,
) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let id = format!("spiffe://cluster.local/ns/default/sa/{name}");
    let dns = format!("{name}.default.svc.cluster.local");
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "workload");
    params.subject_alt_names = vec![
        SanType::URI(id.try_into().expect("ASCII")),
        SanType::DnsName(dns.try_into().expect("ASCII")),
    ];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().expect("a key");
    let leaf = params.signed_by(&key, root).expect("signed");
    let (chain_pem, key_pem) = (leaf.pem(), key.serialize_pem());
    let both = format!("{chain_pem}{key_pem}");
    for (end, text) in [("pem", chain_pem), ("key", key_pem), ("both.pem", both)] {
        fs::write(folder.join(format!("{name}.{end}")), text).expect("the folder is ours");
    }
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    (leaf.der().clone(), key)
}
