//! The sidecar's configuration: from flags, environment, file and defaults to
//! one checked [`Config`], with every fault at once. Each room declares its own
//! settings; this room fills them, and no room sees the whole. Called by the
//! binary at start, by `validate`, and again when the file changes.
//!
//! `layers` (texts → trees → one tree), `fields` (which there are), `decode`
//! (tree → settings), `check` (between sections), `print`, `changes`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::model::TrustDomain;
use crate::resources::decode::Decoder;
use crate::resources::names::is_dns_subdomain;
use crate::resources::{Fault, Labels, Node};
use crate::{admin, agent, export, inbound, outbound, probes, runtime, tls};

mod changes;
mod check;
mod decode;
mod fields;
mod layers;
mod print;
mod probing;
mod telemetry;
#[cfg(test)]
mod tests;

pub use changes::{Changes, changes};
pub use fields::OF_PEOPLE;

/// Everything a sidecar is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Who the app beside us is.
    pub workload: Workload,
    /// Whose identities we trust; `cluster.local` unless said.
    pub trust_domain: TrustDomain,
    /// Where identity and picture of the mesh come from; absent: from files.
    pub control_plane: Option<agent::session::Settings>,
    /// Our own identity's files; absent: plaintext only.
    pub identity: Option<tls::Settings>,
    /// Files and folders of resources.
    pub resources: Vec<PathBuf>,
    /// Traffic to the app.
    pub inbound: inbound::Settings,
    /// Traffic from the app.
    pub outbound: outbound::Settings,
    /// The admin port.
    pub admin: admin::Settings,
    /// What kubelet asks the app through us.
    pub probes: probes::Settings,
    /// Threads (`workers`).
    pub runtime: runtime::Settings,
    /// The way out.
    pub drain: runtime::DrainSettings,
    /// Leave when so many other containers of the pod have been there and are gone; `true` is one,
    /// and none is waited for unless said.
    pub exit_with_app: Option<u16>,
    /// Access log and traces.
    pub telemetry: crate::telemetry::Settings,
    /// Where spans are sent (`telemetry.traces`).
    pub export: export::Settings,
    /// Our own log, on standard error.
    pub log: LogSettings,
}

/// The app's instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// `default` unless said.
    pub namespace: String,
    /// The host's name unless said.
    pub name: String,
    /// `default` unless said.
    pub service_account: String,
    /// What services select by.
    pub labels: Labels,
    /// Where it runs.
    pub zone: Option<String>,
}

/// The sidecar's own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// The least important level that is written.
    pub level: Level,
    /// How a line is written.
    pub format: LogStyle,
}

/// How important a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something failed that should not.
    Error,
    /// Something is odd.
    Warn,
    /// What an operator wants to see.
    Info,
    /// What helps to find a fault.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    /// The word that users write.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, level)| *level == self).map_or("info", |(word, _)| word)
    }

    /// Each level by its name; also what the admin port's `/log` takes.
    pub const WORDS: &'static [(&'static str, Level)] = &[
        ("error", Level::Error),
        ("warn", Level::Warn),
        ("info", Level::Info),
        ("debug", Level::Debug),
        ("trace", Level::Trace),
    ];
}

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStyle {
    /// Words for people.
    Text,
    /// One JSON object.
    Json,
}

/// A command-line flag that sets a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// As typed, dashes included: `--admin-listen`. Faults name it.
    pub name: String,
    /// The field: `admin.listen`.
    pub path: String,
    /// Its value as text, written like an environment variable's.
    pub text: String,
}

/// A configuration and how it came about.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it says.
    pub config: Config,
    /// The merged tree with each value's origin, defaults included.
    pub effective: Node,
}

impl Loaded {
    /// The effective configuration, each value with a comment naming its
    /// origin. Reads back to the same configuration, but for the values of
    /// `telemetry.traces.headers`, which are hidden.
    pub fn to_yaml(&self) -> String {
        print::yaml(&self.effective)
    }

    /// The effective configuration without origins.
    pub fn to_json(&self) -> serde_json::Value {
        print::json(&self.effective)
    }
}

/// Reads the configuration: flags over environment over file over defaults.
/// Paths in the file are relative to its folder, others to where we run.
///
/// # Errors
/// Everything wrong with any of the sources.
pub fn load(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
    flags: &[Flag],
) -> Result<Loaded, Vec<Fault>> {
    load_on(&host_name(), file, environment, flags)
}

fn load_on(
    host_name: &str,
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
    flags: &[Flag],
) -> Result<Loaded, Vec<Fault>> {
    let mut decoder = Decoder::new();
    let mut tree = layers::defaults(host_name);
    let file = file.and_then(|path| layers::file(path, &mut decoder));
    let environment = layers::environment(environment, &mut decoder);
    let flags = layers::flags(flags, &mut decoder);
    for layer in file.into_iter().chain([environment, flags]) {
        layers::overlay(&mut tree, layer);
    }
    let config = decode::config(&tree, &mut decoder);
    if let Some(config) = &config {
        check::across(config, &tree, &mut decoder);
    }
    match config {
        Some(config) if decoder.is_clean() => {
            print::arrange(&mut tree, "");
            telemetry::hide(&mut tree);
            Ok(Loaded { config, effective: tree })
        }
        _ => Err(decoder.finish()),
    }
}

/// The machine's name where it can be a workload's, else `localhost`.
fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim().to_ascii_lowercase();
    if is_dns_subdomain(&name) { name } else { "localhost".into() }
}
