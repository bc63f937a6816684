//! `outrigger install` and `uninstall`: what goes into a cluster, and what is taken out again.
//!
//! Both print, and touch nothing: `kubectl` applies what it is given, under the eyes and with the
//! rights of whoever runs it. What is printed is also in the chart and the kustomize base under
//! `deploy`, which `chart` and `kustomize` make of the same objects.

mod chart;
mod deploy;
mod kustomize;
mod template;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::control_plane::{level, seconds, trust_domain};
use super::output::{self, Format};
use super::traces::Traces;
use super::{complain, emit};
use crate::control::install::{self, FailurePolicy, Group, Settings};
use crate::model::{Mtls, TrustDomain};
use crate::resources::names::is_dns_subdomain;

/// How manifests are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Manifests {
    Yaml,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum MtlsWord {
    Permissive,
    Strict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailureWord {
    Fail,
    Ignore,
}

/// What an installation is told.
#[derive(Args, Debug)]
pub(super) struct Install {
    /// What workloads take where no policy says so: permissive also takes plaintext
    #[arg(long, value_name = "MODE", value_enum, default_value_t = MtlsWord::Permissive)]
    mtls: MtlsWord,
    /// Where the images are, such as registry.example/mesh; without it they have no prefix
    #[arg(long, value_name = "PREFIX", value_parser = image)]
    registry: Option<String>,
    /// The control plane's image, in place of the release's own
    #[arg(long, value_name = "IMAGE", value_parser = image)]
    control_plane_image: Option<String>,
    /// The sidecars' image, in place of the release's own
    #[arg(long, value_name = "IMAGE", value_parser = image)]
    proxy_image: Option<String>,
    #[command(flatten)]
    traces: Traces,
    /// How many control planes run
    #[arg(long, value_name = "NUMBER", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=9))]
    replicas: u32,
    /// The trust domain whose identities it gives out; it can't be changed later
    #[arg(long, value_name = "NAME", default_value = "cluster.local", value_parser = trust_domain)]
    trust_domain: TrustDomain,
    /// How long a certificate lasts, at least 1s
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = seconds)]
    cert_lifetime: Duration,
    /// The Secret in outrigger-system that another program, such as cert-manager, writes the mesh's
    /// issuer into: tls.crt, tls.key and ca.crt; followed when it changes, and nobody else's to replace
    #[arg(long, value_name = "NAME", value_parser = issuer_secret, conflicts_with = "crds")]
    issuer_secret: Option<String>,
    /// What becomes of pods that want a sidecar while no control plane can give them one
    #[arg(long, value_name = "WORD", value_enum, default_value_t = FailureWord::Fail)]
    failure_policy: FailureWord,
    /// How much the control plane logs: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info", value_parser = level)]
    log_level: String,
    /// CPU that a control plane asks for
    #[arg(long, value_name = "QUANTITY", value_parser = quantity)]
    cpu_request: Option<String>,
    /// Memory that a control plane asks for
    #[arg(long, value_name = "QUANTITY", value_parser = quantity)]
    memory_request: Option<String>,
    /// Memory that a control plane may take
    #[arg(long, value_name = "QUANTITY", value_parser = quantity)]
    memory_limit: Option<String>,
    /// Print the kinds of resources only, which must be there before anything of them
    #[arg(long, conflicts_with = "skip_crds")]
    crds: bool,
    /// Print everything but the kinds of resources
    #[arg(long)]
    skip_crds: bool,
    /// How it is printed
    #[arg(short = 'o', long = "output", value_name = "FORMAT", value_enum, default_value_t = Manifests::Yaml)]
    format: Manifests,
    /// Write the chart and the kustomize base into this folder
    #[arg(long, value_name = "FOLDER", hide = true)]
    write_deploy: Option<PathBuf>,
}

/// What goes, and what stays.
#[derive(Args, Debug)]
pub(super) struct Uninstall {
    /// Remove the kinds of resources too, and with them everything that was ever written in them
    #[arg(long)]
    crds: bool,
    /// How it is printed
    #[arg(short = 'o', long = "output", value_name = "FORMAT", value_enum, default_value_t = Manifests::Yaml)]
    format: Manifests,
}

/// What `uninstall` says beside the list; the list alone would leave meshed pods behind.
const REMAINS: &str = "\
Pods keep their sidecars until they are replaced, and the sidecars go on without a control plane
until their certificates end (24 hours unless it was changed), then refuse traffic. So, first:
  kubectl label namespace NAMESPACE outrigger.dev/inject-      # each one that opted in
  kubectl rollout restart deployment,statefulset,daemonset -n NAMESPACE
With the namespace outrigger-system goes the key of the mesh: certificates of an installation that
follows are not those of this one. Afterwards:
  kubectl delete configmap -A -l outrigger.dev/managed-by=control-plane";

impl Install {
    /// Prints it.
    pub(super) fn run(self) -> ExitCode {
        if let Some(folder) = &self.write_deploy {
            return deploy::write(folder);
        }
        let (only, without) = (self.crds, self.skip_crds);
        let wanted = |group: &Group| match group {
            Group::Crds => !without,
            _ => !only,
        };
        let (format, settings) = (self.format, self.settings());
        let groups = Group::ALL.into_iter().filter(wanted);
        emit(&print(
            &groups.flat_map(|of| install::group(of, &settings)).collect::<Vec<_>>(),
            format,
        ))
    }

    fn settings(self) -> Settings {
        let usual = Settings::default();
        let prefix = self.registry.map(|registry| format!("{}/", registry.trim_end_matches('/')));
        let image = |said: Option<String>, name: String| {
            said.unwrap_or_else(|| format!("{}{name}", prefix.as_deref().unwrap_or_default()))
        };
        Settings {
            control_plane_image: image(self.control_plane_image, usual.control_plane_image),
            proxy_image: image(self.proxy_image, usual.proxy_image),
            traces: self.traces.settings(),
            replicas: self.replicas,
            mtls: match self.mtls {
                MtlsWord::Permissive => Mtls::Permissive,
                MtlsWord::Strict => Mtls::Strict,
            },
            trust_domain: self.trust_domain,
            cert_lifetime: self.cert_lifetime,
            issuer_secret: self.issuer_secret,
            failure_policy: match self.failure_policy {
                FailureWord::Fail => FailurePolicy::Fail,
                FailureWord::Ignore => FailurePolicy::Ignore,
            },
            log_level: self.log_level,
            cpu_request: self.cpu_request.unwrap_or(usual.cpu_request),
            memory_request: self.memory_request.unwrap_or(usual.memory_request),
            memory_limit: self.memory_limit.unwrap_or(usual.memory_limit),
        }
    }
}

impl Uninstall {
    /// Prints what goes, and says what stays.
    pub(super) fn run(&self) -> ExitCode {
        complain(&REMAINS);
        emit(&print(&install::removals(self.crds), self.format))
    }
}

/// As `kubectl` reads several objects: documents, or one list.
fn print(objects: &[Value], format: Manifests) -> String {
    match format {
        Manifests::Yaml => documents(objects),
        Manifests::Json => {
            let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
            output::render(&list, None, Format::Json)
        }
    }
}

fn documents(objects: &[Value]) -> String {
    let all: Vec<String> =
        objects.iter().map(|object| output::render(object, None, Format::Yaml)).collect();
    all.join("---\n")
}

/// Looser than the grammar of references, and without anything that means something in YAML.
fn image(text: &str) -> Result<String, String> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"./:@_-".contains(&b);
    let is_image = text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.bytes().all(legal);
    let cure = "expected an image such as registry.example/mesh/outrigger-proxy:0.1.0";
    if is_image { Ok(text.to_owned()) } else { Err(cure.into()) }
}

/// A Secret's name, and none of our own: the control plane writes those.
fn issuer_secret(text: &str) -> Result<String, String> {
    if install::SECRETS.contains(&text) {
        return Err("the control plane keeps its own keys in that one: have the issuer written \
                    into another"
            .into());
    }
    let cure = "expected the name of a Secret, of lower-case letters, digits, `-` and `.`";
    if is_dns_subdomain(text) { Ok(text.to_owned()) } else { Err(cure.into()) }
}

/// A quantity of Kubernetes', without exponents.
fn quantity(text: &str) -> Result<String, String> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let known = ["", "m", "k", "M", "G", "Ki", "Mi", "Gi"];
    let is_quantity = number.parse().is_ok_and(|number: f64| number > 0.0) && known.contains(&unit);
    let cure = "expected a quantity such as 100m, 0.5 or 64Mi";
    if is_quantity { Ok(text.to_owned()) } else { Err(cure.into()) }
}
