//! The arguments of `outrigger control-plane`: each checked here, so that what `control` is told is
//! sound.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::outrigger::duration;
use crate::config::Level;
use crate::control::{self, Settings};
use crate::model::{SpiffeId, TrustDomain};

/// Everything that a control plane is told.
#[derive(Args, Debug)]
pub(super) struct ControlPlane {
    /// The folder that it keeps everything in: its keys, what was applied, who joined
    #[arg(long, value_name = "FOLDER", default_value = "./outrigger-data")]
    data: PathBuf,
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
    /// Who may configure the mesh with a certificate, beside the operator's token; may be repeated
    #[arg(long = "operator", value_name = "SPIFFE-ID", value_parser = spiffe_id)]
    operators: Vec<SpiffeId>,
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
        Settings {
            data: self.data,
            listen: self.listen,
            admin_listen: self.admin_listen,
            trust_domain: self.trust_domain,
            cert_lifetime: self.cert_lifetime,
            lease: self.lease,
            operators: self.operators,
            log_level: self.log_level,
            log_json: self.log_format == LogFormat::Json,
        }
    }
}

fn trust_domain(text: &str) -> Result<TrustDomain, String> {
    TrustDomain::parse(text).map_err(|error| error.to_string())
}

fn spiffe_id(text: &str) -> Result<SpiffeId, String> {
    SpiffeId::parse(text).map_err(|error| error.to_string())
}

fn level(text: &str) -> Result<String, String> {
    let words = || Level::WORDS.iter().map(|(word, _)| *word);
    let known = words().find(|word| *word == text).map(str::to_owned);
    known.ok_or_else(|| format!("expected one of {}", words().collect::<Vec<_>>().join(", ")))
}

/// Less than a second would be a slip: nobody could keep up with it.
fn seconds(text: &str) -> Result<Duration, String> {
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
        let line = "--operator spiffe://m/ns/a/sa/b --operator spiffe://m/ns/a/sa/c \
                    --trust-domain m --log-format json --log-level debug --cert-lifetime 1s";
        let settings = read(line).expect("legal");
        assert_eq!(settings.operators.len(), 2);
        assert_eq!(settings.trust_domain.as_str(), "m");
        assert_eq!((settings.log_level.as_str(), settings.log_json), ("debug", true));
    }

    #[test]
    fn what_can_not_be_is_refused() {
        for line in [
            "--cert-lifetime 999ms",
            "--cert-lifetime 24",
            "--lease 0s",
            "--operator web",
            "--trust-domain A",
            "--log-level loud",
            "--log-format xml",
            "--listen 15010",
        ] {
            let error = read(line).expect_err("illegal");
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }
}
