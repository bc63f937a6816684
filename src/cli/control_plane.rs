//! The arguments of `outrigger control-plane`: each checked here, so that what `control` is told is
//! sound.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::traces::Traces;
use super::{bytes, duration};
use crate::config::Level;
use crate::control::{self, IssuerFiles, Settings, inject, kube};
use crate::model::{CONTROL_PLANE_NAMESPACE, SpiffeId, TrustDomain};
use crate::resources::names::is_dns_label;

/// Bytes.
const SMALLEST_BUDGET: usize = 4 << 20;

/// Everything that a control plane is told.
#[derive(Args, Debug)]
pub(super) struct ControlPlane {
    /// The folder that it keeps everything in: its keys, what was applied, who joined; in a cluster,
    /// which keeps all that, where copies of ca.pem and operator.token are put
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "./outrigger-data",
        default_value_if("kubernetes", "true", None)
    )]
    data: Option<PathBuf>,
    /// Where sidecars and people reach it, over TLS
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0:15010")]
    listen: SocketAddr,
    /// Where its admin port listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:15014")]
    admin_listen: SocketAddr,
    /// The trust domain whose identities it gives out
    #[arg(long, value_name = "NAME", default_value = "cluster.local", value_parser = trust_domain)]
    trust_domain: TrustDomain,
    /// How long a certificate lasts, at least 1s
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = seconds)]
    cert_lifetime: Duration,
    /// How long a workload stays registered when its sidecar is not heard of, at least 1s
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = seconds)]
    lease: Duration,
    /// Take pods, services, routes and policies from a cluster, and its pods as those who may join
    #[arg(long)]
    kubernetes: bool,
    /// How the cluster is reached, unless this is one of its pods
    #[arg(long, value_name = "FILE", requires = "kubernetes")]
    kubeconfig: Option<PathBuf>,
    /// The control plane's own namespace in the cluster
    #[arg(long, value_name = "NAME", default_value = CONTROL_PLANE_NAMESPACE, value_parser = namespace)]
    namespace: String,
    /// What tells this replica from the others; POD_NAME unless said, else one that nobody else has
    #[arg(long, value_name = "NAME", requires = "kubernetes")]
    replica: Option<String>,
    /// Where the cluster asks, over TLS, to have pods injected and resources judged; without it neither
    /// is done
    #[arg(long, value_name = "ADDRESS", requires = "kubernetes")]
    webhook_listen: Option<SocketAddr>,
    /// The sidecar's image in injected pods
    #[arg(long, value_name = "IMAGE", default_value_t = inject::proxy_image())]
    proxy_image: String,
    #[command(flatten)]
    traces: Traces,
    /// Who may configure the mesh with a certificate, beside the operator's token; may be repeated
    #[arg(long = "operator", value_name = "SPIFFE-ID", value_parser = spiffe_id)]
    operators: Vec<SpiffeId>,
    /// The issuer that another program writes, such as cert-manager's tls.crt: followed when it changes,
    /// and nobody else's to replace
    #[arg(long, value_name = "FILE", requires_all = ["issuer_key", "issuer_root"])]
    issuer_certificate: Option<PathBuf>,
    /// Its private key, such as tls.key
    #[arg(long, value_name = "FILE", requires = "issuer_certificate")]
    issuer_key: Option<PathBuf>,
    /// The root above it, such as ca.crt
    #[arg(long, value_name = "FILE", requires = "issuer_certificate")]
    issuer_root: Option<PathBuf>,
    /// How much memory it may take to remember what sidecars report of their traffic, at least 4MiB
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = budget)]
    memory_budget: usize,
    /// How much is logged: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = level)]
    log_level: String,
    /// How it is logged
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl ControlPlane {
    /// Runs it until it is told to stop.
    pub(super) fn run(self) -> ExitCode {
        control::run(self.settings())
    }

    fn settings(self) -> Settings {
        let proxy_image = self.proxy_image;
        let traces = self.traces.settings();
        let webhook =
            self.webhook_listen.map(|listen| kube::Webhook { listen, proxy_image, traces });
        let of_cluster = kube::Settings {
            kubeconfig: self.kubeconfig,
            namespace: self.namespace,
            replica: self.replica.or_else(pod_name).unwrap_or_else(invented),
            copies: self.data.clone(),
            webhook,
        };
        let issuer_files = match (self.issuer_certificate, self.issuer_key, self.issuer_root) {
            (Some(certificate), Some(key), Some(root)) => {
                Some(IssuerFiles { certificate, key, root })
            }
            _ => None,
        };
        Settings {
            kubernetes: self.kubernetes.then_some(of_cluster),
            data: self.data.unwrap_or_default(),
            listen: self.listen,
            admin_listen: self.admin_listen,
            trust_domain: self.trust_domain,
            cert_lifetime: self.cert_lifetime,
            lease: self.lease,
            operators: self.operators,
            issuer_files,
            memory_budget: self.memory_budget,
            log_level: self.log_level,
            log_json: self.log_format == LogFormat::Json,
        }
    }
}

fn pod_name() -> Option<String> {
    std::env::var("POD_NAME").ok().filter(|name| !name.is_empty())
}

fn invented() -> String {
    format!("outrigger-control-plane-{}", uuid::Uuid::now_v7().simple())
}

pub(super) fn trust_domain(text: &str) -> Result<TrustDomain, String> {
    TrustDomain::parse(text).map_err(|error| error.to_string())
}

fn spiffe_id(text: &str) -> Result<SpiffeId, String> {
    SpiffeId::parse(text).map_err(|error| error.to_string())
}

fn namespace(text: &str) -> Result<String, String> {
    let words = "expected at most 63 lower-case letters, digits and inner `-`";
    is_dns_label(text).then(|| text.to_owned()).ok_or_else(|| words.to_owned())
}

pub(super) fn level(text: &str) -> Result<String, String> {
    let words = || Level::WORDS.iter().map(|(word, _)| *word);
    let known = words().find(|word| *word == text).map(str::to_owned);
    known.ok_or_else(|| format!("expected one of {}", words().collect::<Vec<_>>().join(", ")))
}

/// Below that a mesh of any size would be forgotten at once.
fn budget(text: &str) -> Result<usize, String> {
    let size = bytes(text)?;
    if size >= SMALLEST_BUDGET { Ok(size) } else { Err("expected at least 4MiB".into()) }
}

/// Less than a second would be a slip: nobody could keep up with it.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let value = duration(text)?;
    let long_enough = value >= Duration::from_secs(1);
    if long_enough { Ok(value) } else { Err("expected at least 1s".into()) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        arguments: ControlPlane,
    }

    fn read(line: &str) -> Result<Settings, clap::Error> {
        let line = std::iter::once("control-plane").chain(line.split_whitespace());
        Alone::try_parse_from(line).map(|alone| alone.arguments.settings())
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let settings = read("").expect("no argument is needed");
        assert_eq!(settings.data, PathBuf::from("./outrigger-data"));
        assert_eq!(settings.listen.to_string(), "0.0.0.0:15010");
        assert_eq!(settings.admin_listen.to_string(), "127.0.0.1:15014");
        assert_eq!(settings.cert_lifetime, Duration::from_secs(24 * 60 * 60));
        assert_eq!(settings.lease, Duration::from_secs(15));
        assert_eq!((settings.log_level.as_str(), settings.log_json), ("info", false));
        assert_eq!(settings.memory_budget, 64 << 20);
        assert_eq!(read("--memory-budget 4MiB").expect("legal").memory_budget, 4 << 20);
        let line = "--operator spiffe://m/ns/a/sa/b --operator spiffe://m/ns/a/sa/c \
                    --trust-domain m --log-format json --log-level debug --cert-lifetime 1s";
        let settings = read(line).expect("legal");
        assert_eq!(settings.operators.len(), 2);
        assert_eq!(settings.kubernetes, None);
        let cluster = |kubeconfig: Option<&str>, namespace: &str| kube::Settings {
            kubeconfig: kubeconfig.map(PathBuf::from),
            namespace: namespace.to_owned(),
            replica: "one".into(),
            copies: None,
            webhook: None,
        };
        for (line, expected) in [
            ("", cluster(None, "outrigger-system")),
            ("--kubeconfig k --namespace mesh", cluster(Some("k"), "mesh")),
            (
                "--data d --webhook-listen [::]:15017 --proxy-image p:1 --otlp-endpoint http://c:4317 \
                 --trace-sample-ratio 0.10",
                kube::Settings {
                    copies: Some("d".into()),
                    webhook: Some(kube::Webhook {
                        listen: "[::]:15017".parse().expect("an address"),
                        proxy_image: "p:1".into(),
                        traces: inject::Traces {
                            otlp_endpoint: Some("http://c:4317".into()),
                            sample_ratio: Some("0.1".into()),
                        },
                    }),
                    ..cluster(None, "outrigger-system")
                },
            ),
        ] {
            let line = format!("--kubernetes --replica one {line}");
            assert_eq!(read(&line).expect("legal").kubernetes, Some(expected), "{line}");
        }
        assert_eq!(settings.trust_domain.as_str(), "m");
        assert_eq!((settings.log_level.as_str(), settings.log_json), ("debug", true));
    }

    #[test]
    fn what_can_not_be_is_refused() {
        for line in [
            "--cert-lifetime 999ms",
            "--cert-lifetime 24",
            "--lease 0s",
            "--memory-budget 1MiB",
            "--memory-budget much",
            "--operator web",
            "--trust-domain A",
            "--log-level loud",
            "--log-format xml",
            "--listen 15010",
            "--kubeconfig k",
            "--issuer-certificate c --issuer-key k",
            "--issuer-root r",
            "--webhook-listen [::]:15017",
            "--kubernetes --namespace A",
            "--otlp-endpoint collector:4317",
            "--trace-sample-ratio 1.5",
        ] {
            let error = read(line).expect_err("illegal");
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
