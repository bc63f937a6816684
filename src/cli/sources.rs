//! Where a sidecar's configuration comes from, as arguments: a file, and flags over it. A flag is
//! only a name for a field; what a value means, and whether it is legal, is `config`'s to say, so
//! that a flag, a variable and a line of the file are judged alike.

use std::path::PathBuf;

use clap::Args;

use crate::app;
use crate::config::Flag;

/// The arguments that every subcommand about a sidecar's own configuration takes.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Sources {
    /// The configuration file
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the admin port listens, such as 127.0.0.1:15000
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,
    /// How much is logged: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// How it is logged: text or json
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Threads of the data plane
    #[arg(long, value_name = "NUMBER")]
    workers: Option<String>,
    /// Where transparent inbound traffic arrives, such as 0.0.0.0:15006
    #[arg(long, value_name = "ADDRESS")]
    inbound_listen: Option<String>,
    /// Where transparent outbound traffic arrives, such as `127.0.0.1:15001,[::1]:15001`
    #[arg(long, value_name = "ADDRESS")]
    outbound_listen: Option<String>,
    /// Leave when the pod's other containers have, so many of them; needs shareProcessNamespace
    #[arg(long, value_name = "CONTAINERS", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    exit_with_app: Option<String>,
    /// Sets any field, such as drain.deadline=10s; may be repeated
    #[arg(long, value_name = "PATH=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
}

impl Sources {
    /// What `app` and `config` take.
    pub(super) fn options(self) -> app::Options {
        let named = [
            ("--admin-listen", "admin.listen", self.admin_listen),
            ("--log-level", "log.level", self.log_level),
            ("--log-format", "log.format", self.log_format),
            ("--workers", "workers", self.workers),
            ("--inbound-listen", "inbound.listen", self.inbound_listen),
            ("--outbound-listen", "outbound.listen", self.outbound_listen),
            ("--exit-with-app", "exitWithApp", self.exit_with_app),
        ];
        let named = named
            .into_iter()
            .filter_map(|(name, path, text)| Some(flag(name.into(), path.into(), text?)));
        let set =
            self.set.into_iter().map(|(path, text)| flag(format!("--set {path}"), path, text));
        app::Options { config: self.config, flags: named.chain(set).collect() }
    }
}

fn flag(name: String, path: String, text: String) -> Flag {
    Flag { name, path, text }
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((path, value)) if !path.is_empty() => Ok((path.to_owned(), value.to_owned())),
        _ => Err("write it as PATH=VALUE, such as log.level=debug".into()),
    }
}
