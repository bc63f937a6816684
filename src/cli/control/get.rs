//! `outrigger get`: what the control plane holds, once or as it changes.

use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;

use super::super::output::Output;
use super::convert::Key;
use super::error::Error;
use super::kinds::{Wanted, kind_or_all};
use super::place::Connection;
use super::session::{Session, Target};
use super::{Answer, conclude, shown, watch};

/// What is shown.
#[derive(Args, Debug)]
pub(in crate::cli) struct Get {
    /// The kind: services, workloads, httproutes, trafficpolicies (or tp), … or all
    #[arg(value_parser = kind_or_all)]
    kind: Wanted,
    /// One resource of the kind
    name: Option<String>,
    /// The namespace
    #[arg(long, short = 'n', default_value = "default")]
    namespace: String,
    /// Those of all namespaces
    #[arg(long, short = 'A', conflicts_with_all = ["namespace", "name"])]
    all_namespaces: bool,
    /// Go on showing what changes, until Ctrl-C
    #[arg(long, short = 'w')]
    watch: bool,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    connection: Connection,
}

impl Get {
    /// Asks, and shows.
    pub(in crate::cli) fn run(&self) -> ExitCode {
        if !self.watch {
            return conclude(async {
                self.ask(&Target::of(&self.connection)?, SystemTime::now()).await
            });
        }
        conclude(async {
            let target = Target::of(&self.connection)?;
            watch::until_interrupted(&target, &self.scope(), self.output.format).await?;
            Ok(Answer::default())
        })
    }

    pub(super) async fn ask(&self, target: &Target, now: SystemTime) -> Result<Answer, Error> {
        let session = Session::open(target).await?;
        let format = self.output.format;
        if let (Wanted(Some(kind)), Some(name)) = (self.kind, &self.name) {
            let (namespace, kind) = (self.namespace.clone(), kind.to_owned());
            let held = session.one(Key { namespace, kind, name: name.clone() }).await?;
            return Ok(shown::one(&held, now, format).into());
        }
        let scope = self.scope();
        let mut held = session.list(scope.kind(), scope.namespace()).await?;
        held.retain(|held| scope.has(&held.key));
        let remark = match scope.namespace() {
            "" => String::new(),
            _ if !held.is_empty() => String::new(),
            namespace => format!("namespace {namespace} was asked for; -A shows all of them"),
        };
        Ok(Answer { data: shown::list(&held, scope.is_mixed(), now, format), remark })
    }

    pub(super) fn scope(&self) -> Scope {
        Scope {
            kind: self.kind.0,
            namespace: (!self.all_namespaces).then(|| self.namespace.clone()),
            name: self.name.clone(),
        }
    }
}

/// Which resources; what is absent matches every one.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    kind: Option<&'static str>,
    namespace: Option<String>,
    name: Option<String>,
}

impl Scope {
    /// As calls write it: empty for every kind.
    pub(super) fn kind(&self) -> &str {
        self.kind.unwrap_or_default()
    }

    /// As calls write it: empty for every namespace.
    pub(super) fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }

    /// Calls can't ask for a name among others.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.name.as_ref().is_none_or(|name| *name == key.name)
    }

    /// Whether the kind is worth a column.
    pub(super) fn is_mixed(&self) -> bool {
        self.kind.is_none()
    }
}
