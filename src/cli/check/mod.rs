//! `outrigger check`: whether a cluster is ready for the mesh, and the mesh in it well.
//!
//! `cluster` asks the API server, as the user of the kubeconfig and with nothing but its rights; the
//! other files judge what came back, each one subject, without asking anything. Nothing is changed:
//! the only thing that is created is a pod, as a dry run, to see a sidecar come back with it.
//!
//! `--strict-ready` is a question to the control plane instead, which knows who came in plaintext.

mod before;
mod certificates;
mod clocks;
mod cluster;
mod finding;
mod injector;
mod installed;
mod place;
mod pods;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::control::{self, Connection};
use super::output::{self, Format, Output};
use super::{FAILED, complain, emit};
use crate::runtime::workers::local_runtime;
use cluster::Cluster;
use finding::{Finding, Level};

/// What is checked, and where.
#[derive(Args, Debug)]
pub(super) struct Check {
    /// Only whether a cluster is ready for `outrigger install`
    #[arg(long)]
    pre: bool,
    /// List who still comes in plaintext: whom `mtls: strict` would keep out
    #[arg(long, conflicts_with_all = ["pre", "kubeconfig", "kube_context"])]
    strict_ready: bool,
    /// Of --strict-ready: only of workloads in this namespace
    #[arg(
        long,
        short = 'n',
        default_value = "",
        hide_default_value = true,
        requires = "strict_ready"
    )]
    namespace: String,
    /// How the cluster is reached; KUBECONFIG or ~/.kube/config unless said
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Which context of it
    #[arg(long, value_name = "NAME")]
    kube_context: Option<String>,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

impl Check {
    /// Checks, and says what came of it.
    pub(super) fn run(&self) -> ExitCode {
        if self.strict_ready {
            let (namespace, format) = (&self.namespace, self.output.format);
            return control::strict_ready(&self.connection, namespace, format);
        }
        let runtime = match local_runtime() {
            Ok(runtime) => runtime,
            Err(error) => {
                complain(&format!("error: no runtime: {error}"));
                return ExitCode::from(FAILED);
            }
        };
        let findings = runtime.block_on(self.findings());
        let said = emit(&show(&findings, self.output.format));
        if findings.iter().any(|of| of.level == Level::Failed) {
            ExitCode::from(FAILED)
        } else {
            said
        }
    }

    async fn findings(&self) -> Vec<Finding> {
        let cluster = match Cluster::reach(self.kubeconfig.as_deref(), self.kube_context.as_deref())
            .await
        {
            Ok(cluster) => cluster,
            Err(why) => {
                let cure = "see what `kubectl version` says; --kubeconfig and --kube-context choose another cluster";
                return vec![Finding::failed("API server", why, cure)];
            }
        };
        let mut all = before::cluster(&cluster).await;
        if all.iter().any(|of| of.level == Level::Failed) {
            return all;
        }
        all.extend(clocks::check(&cluster).await);
        if self.pre {
            all.extend(before::rights(&cluster).await);
            return all;
        }
        all.extend(installed::check(&cluster).await);
        all.extend(injector::check(&cluster).await);
        all.extend(certificates::check(&cluster).await);
        all.extend(pods::check(&cluster).await);
        all
    }
}

fn show(findings: &[Finding], format: Format) -> String {
    if format == Format::Table {
        return findings.iter().map(Finding::lines).collect();
    }
    let list: Vec<Value> = findings.iter().map(Finding::json).collect();
    output::render(&json!({ "findings": list }), None, format)
}
