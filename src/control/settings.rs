//! What a control plane is told when it starts. The command line fills it; nothing in it changes
//! while the process runs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::issuer_files::IssuerFiles;
use super::kube;
use crate::model::{SpiffeId, TrustDomain};

/// Everything that a control plane is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The folder that it keeps everything in.
    pub data: PathBuf,
    /// Where sidecars and people reach it, over TLS.
    pub listen: SocketAddr,
    /// Where its admin port listens.
    pub admin_listen: SocketAddr,
    /// Whose identities it gives out.
    pub trust_domain: TrustDomain,
    /// How long a certificate lasts, from a second on.
    pub cert_lifetime: Duration,
    /// How long a registration outlives its session, from a second on.
    pub lease: Duration,
    /// The cluster that says everything about the mesh; absent: people and sidecars say it.
    pub kubernetes: Option<kube::Settings>,
    /// Who may configure the mesh with a certificate, beside the holder of the operator's token.
    pub operators: Vec<SpiffeId>,
    /// Where an issuer that is made elsewhere is written; absent: it makes its own.
    pub issuer_files: Option<IssuerFiles>,
    /// Bytes that it may take to remember what sidecars report of their traffic.
    pub memory_budget: usize,
    /// error, warn, info, debug or trace.
    pub log_level: String,
    /// One JSON object a line rather than text.
    pub log_json: bool,
}

impl Settings {
    /// As the admin port shows it.
    pub fn shown(&self) -> Value {
        let Settings {
            data,
            listen,
            admin_listen,
            trust_domain,
            cert_lifetime,
            lease,
            kubernetes,
            operators,
            issuer_files,
            memory_budget,
            log_level,
            log_json,
        } = self;
        let cluster = |of: &kube::Settings| {
            let kube::Settings { kubeconfig, namespace, replica, copies, webhook } = of;
            let path =
                |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
            let webhook = webhook.as_ref().map(|kube::Webhook { listen, proxy_image, traces }| {
                json!({
                    "listen": listen.to_string(),
                    "proxyImage": proxy_image,
                    "otlpEndpoint": traces.otlp_endpoint,
                    "traceSampleRatio": traces.sample_ratio,
                })
            });
            json!({
                "kubeconfig": path(kubeconfig),
                "namespace": namespace,
                "replica": replica,
                "copies": path(copies),
                "webhook": webhook,
            })
        };
        let files = |IssuerFiles { certificate, key, root }: &IssuerFiles| {
            json!({
                "certificate": certificate.display().to_string(),
                "key": key.display().to_string(),
                "root": root.display().to_string(),
            })
        };
        json!({
            "data": kubernetes.is_none().then(|| data.display().to_string()),
            "listen": listen.to_string(),
            "adminListen": admin_listen.to_string(),
            "trustDomain": trust_domain.as_str(),
            "certLifetimeSeconds": cert_lifetime.as_secs_f64(),
            "leaseSeconds": lease.as_secs_f64(),
            "kubernetes": kubernetes.as_ref().map(cluster),
            "issuerFiles": issuer_files.as_ref().map(files),
            "memoryBudgetBytes": memory_budget,
            "operators": operators.iter().map(SpiffeId::as_str).collect::<Vec<_>>(),
            "log": {"level": log_level, "format": if *log_json { "json" } else { "text" }},
        })
    }
}
