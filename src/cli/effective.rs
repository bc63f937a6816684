//! `outrigger-proxy validate`: the configuration as it would take effect, and everything wrong
//! with it and with the files it names. It reads what `run` would read and opens nothing.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

use super::sources::Sources;
use super::{chain, emit, refuse};
use crate::agent::session;
use crate::config::Config;
use crate::identity::{self, TrustBundle};
use crate::{resources, tls};

/// Prints the effective configuration, then every fault.
pub(super) fn validate(sources: Sources) -> ExitCode {
    match sources.options().load() {
        Err(faults) => refuse(&faults),
        Ok(loaded) => {
            let written = emit(&loaded.to_yaml());
            let faults = faults_of_files(&loaded.config, SystemTime::now());
            if faults.is_empty() { written } else { refuse(&faults) }
        }
    }
}

/// Everything wrong with the files that `config` names.
fn faults_of_files(config: &Config, now: SystemTime) -> Vec<String> {
    let resources = resources::read(&config.resources, &config.workload.namespace);
    let mut faults: Vec<String> =
        resources.err().unwrap_or_default().iter().map(ToString::to_string).collect();
    if let Some(files) = &config.identity {
        let parts = faults_of_parts(files);
        // Only files that are sound by themselves can be judged together.
        if parts.is_empty()
            && let Err(error) = tls::load(files, &config.trust_domain, 0, now)
        {
            faults.push(chain(&error));
        }
        faults.extend(parts);
    }
    if let Some(session::Settings { address: _, trust_anchors, newest_anchors: _, token_file }) =
        &config.control_plane
    {
        let anchors: Part<'_> = ("controlPlane.trustAnchors", trust_anchors, is_bundle);
        let token = token_file.as_deref();
        let token = token.map(|path| -> Part<'_> { ("controlPlane.tokenFile", path, |_| Ok(())) });
        faults.extend(faults_of(std::iter::once(anchors).chain(token)));
    }
    faults
}

type Check = fn(&[u8]) -> Result<(), identity::Error>;

/// A field, the file that it names, and whether that can be used.
type Part<'a> = (&'static str, &'a Path, Check);

fn is_bundle(pem: &[u8]) -> Result<(), identity::Error> {
    TrustBundle::from_pem(pem, 0).map(drop)
}

fn faults_of_parts(files: &tls::Settings) -> Vec<String> {
    let parts: [Part<'_>; 3] = [
        ("identity.certificate", &files.certificate, |pem| identity::certificates(pem).map(drop)),
        ("identity.key", &files.key, |pem| identity::private_key(pem).map(drop)),
        ("identity.trustBundle", &files.trust_bundle, is_bundle),
    ];
    faults_of(parts.into_iter())
}

fn faults_of<'a>(parts: impl Iterator<Item = Part<'a>>) -> Vec<String> {
    let fault = |(field, path, check): Part<'a>| {
        let cause = match fs::read(path) {
            Err(error) => format!("can't be read: {error}"),
            Ok(pem) => format!("can't be used: {}", chain(&check(&pem).err()?)),
        };
        Some(format!("{field}: {} {cause}", path.display()))
    };
    parts.filter_map(fault).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn every_file_is_judged() {
        let flags = [
            ("resources", "no/such/folder"),
            ("identity.certificate", "no/such.crt"),
            ("identity.key", "no/such.key"),
            ("identity.trustBundle", "no/such.pem"),
        ]
        .map(|(path, text)| config::Flag {
            name: "--set".into(),
            path: path.into(),
            text: text.into(),
        });
        let loaded = config::load(None, std::iter::empty(), &flags).expect("the flags are sound");
        let faults = faults_of_files(&loaded.config, SystemTime::now());
        for name in ["no/such/folder", "no/such.crt", "no/such.key", "no/such.pem"] {
            let naming = faults.iter().filter(|fault| fault.contains(name)).count();
            assert_eq!(naming, 1, "{name} in {faults:?}");
        }
    }

    #[test]
    fn what_leads_to_the_control_plane_is_judged() {
        let flags = [
            ("controlPlane.address", "mesh.example:15010"),
            ("controlPlane.trustAnchors", "Cargo.toml"),
            ("controlPlane.tokenFile", "no/such.token"),
        ]
        .map(|(path, text)| config::Flag {
            name: "--set".into(),
            path: path.into(),
            text: text.into(),
        });
        let loaded = config::load(None, std::iter::empty(), &flags).expect("the flags are sound");
        let faults = faults_of_files(&loaded.config, SystemTime::now());
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].starts_with("controlPlane.trustAnchors: Cargo.toml can't be used: "));
        assert!(faults[1].starts_with("controlPlane.tokenFile: no/such.token can't be read: "));
    }
}
