//! The demo's files: the mesh's resources, the control plane's data, and for each sidecar its
//! configuration, the token that it joins with, and its log.
//!
//! Invariant: the folder is its owner's alone, because keys are in it, and it goes when it is
//! dropped. What is written here is what a user would write, so that `--keep` is worth a look.

use std::fmt::Write;
use std::fs::{self, DirBuilder};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::shop::{Instance, NAMESPACE, SERVICES, Service};
use super::{Error, doing};

/// The roots of the mesh, beside the configurations that name them.
pub(super) const ANCHORS: &str = "ca.pem";

/// How the shop's callers treat what they call.
const POLICIES: &str = include_str!("mesh/policies.yaml");
/// For whoever wants to try: two versions of a service behind one name.
const CANARY: &str = include_str!("mesh/canary.yaml");
/// Where that is.
pub(super) const CANARY_FILE: &str = "canary.yaml";

/// A folder that exists for as long as this.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes it.
    ///
    /// # Errors
    /// When there is nowhere to put it.
    pub(super) fn new() -> Result<Folder, Error> {
        let name = format!("outrigger-demo-{}", uuid::Uuid::now_v7().simple());
        let path = std::env::temp_dir().join(name);
        // Fails when somebody else made it first.
        DirBuilder::new().mode(0o700).create(&path).map_err(doing("make a temporary folder"))?;
        Ok(Folder(path))
    }

    /// Writes what the sidecar of `instance` reads.
    ///
    /// # Errors
    /// When it can't be written.
    pub(super) fn furnish(
        &self,
        instance: &Instance,
        control_plane: SocketAddr,
        token: &str,
    ) -> Result<(), Error> {
        let name = &instance.name;
        self.write(&format!("{name}.token"), token)?;
        self.write(&format!("{name}.yaml"), &configuration(instance, control_plane))
    }

    /// Writes the mesh's resources, and one that is not applied, for people to change and apply.
    ///
    /// # Errors
    /// When it can't be written.
    pub(super) fn show(&self, resources: &[(&str, String)]) -> Result<(), Error> {
        resources.iter().try_for_each(|(name, text)| self.write(name, text))?;
        self.write(CANARY_FILE, CANARY)
    }

    /// # Errors
    /// When it can't be written.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), Error> {
        let path = self.0.join(name);
        fs::write(&path, text).map_err(|error| Error::Write(path, error))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Nobody is left who could do something about it.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What the operator applies: files by name.
pub(super) fn resources() -> [(&'static str, String); 2] {
    [("services.yaml", services()), ("policies.yaml", POLICIES.to_owned())]
}

/// The shop's services.
fn services() -> String {
    let mut text = String::from("# What is not declared is detected.\n");
    for service in &SERVICES {
        let Service { name, port: Some(port), .. } = service else { continue };
        let declared = service.declared().map(|name| format!(", appProtocol: {name}"));
        let declared = declared.unwrap_or_default();
        let _ = write!(
            text,
            "---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {NAMESPACE}}}
spec:
  selector: {{app: {name}}}
  ports: [{{port: {port}, targetPort: app{declared}}}]
"
        );
    }
    text
}

/// One sidecar's configuration.
///
/// The drain: callers hear of it within milliseconds, and their last requests take as long. A
/// control plane that is away tells nobody; who still comes then is served until the deadline is
/// near, and sent on to others after.
fn configuration(instance: &Instance, control_plane: SocketAddr) -> String {
    let Instance { service, name, version, admin, inbound, upstreams } = instance;
    let app = service.name;
    let mut text = format!(
        "workload:
  namespace: {NAMESPACE}
  name: {name}
  serviceAccount: {app}
  labels: {{app: {app}, version: {version}}}
controlPlane: {{address: \"{control_plane}\", trustAnchors: {ANCHORS}, tokenFile: {name}.token}}
admin: {{listen: \"{admin}\"}}
workers: 1
drain: {{minimum: 500ms, deadline: 8s}}
telemetry: {{accessLog: {{format: \"off\"}}}}
"
    );
    if let Some(inbound) = inbound {
        let declared = service.declared().unwrap_or("auto");
        let _ = write!(
            text,
            "inbound:\n  ports:\n    - {{name: app, listen: \"{}\", app: \"{}\", protocol: {declared}}}\n",
            inbound.mesh, inbound.app
        );
    }
    text.push_str("outbound:\n  unknown: deny\n");
    if !upstreams.is_empty() {
        text.push_str("  upstreams:\n");
    }
    for (called, address) in upstreams {
        let (name, port) = (called.name, called.port.unwrap_or_default());
        let _ = writeln!(
            text,
            "    - {{listen: \"{address}\", service: \"{name}.{NAMESPACE}:{port}\"}}"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::shop::Shop;
    use super::*;
    use crate::config;
    use crate::resources::{Origin, parse_documents};

    #[test]
    fn the_sidecars_would_take_all_of_it() {
        let shop = Shop::lay_out().expect("ports");
        let folder = Folder::new().expect("a folder");
        let control_plane: SocketAddr = "127.0.0.1:15010".parse().expect("an address");
        folder.write(ANCHORS, "").expect("written");
        for instance in &shop.instances {
            folder.furnish(instance, control_plane, "token").expect("written");
            let file = folder.path().join(format!("{}.yaml", instance.name));
            let loaded = config::load(Some(&file), std::iter::empty(), &[]).expect("sound");
            let config = loaded.config;
            assert_eq!(config.admin.listen, instance.admin);
            assert_eq!(config.outbound.upstreams.len(), instance.service.calls.len());
            assert_eq!(config.inbound.ports.len(), usize::from(instance.inbound.is_some()));
            let settings = config.control_plane.expect("a control plane");
            assert_eq!(settings.address, control_plane.to_string());
            assert_eq!(settings.trust_anchors, folder.path().join(ANCHORS));
            let token = fs::read_to_string(settings.token_file.expect("a token"));
            assert_eq!(token.expect("it was written"), "token");
        }
    }

    #[test]
    fn the_resources_are_sound() {
        let [(_, services), (_, policies)] = resources();
        for (text, count) in [(&*services, 4), (&*policies, 1), (CANARY, 3)] {
            let read = parse_documents(text, &Origin::file("shop.yaml"), "elsewhere");
            let read = read.expect("sound");
            assert_eq!(read.len(), count, "{text}");
            assert!(read.iter().all(|r| r.metadata().namespace == NAMESPACE), "{text}");
        }
    }

    #[test]
    fn every_grpc_method_is_opted_in_to_retries() {
        let proto = include_str!("../../proto/outrigger/demo/v1/prices.proto");
        let methods = proto.lines().filter_map(|line| line.trim().strip_prefix("rpc "));
        let methods: Vec<&str> = methods.filter_map(|line| line.split('(').next()).collect();
        assert_eq!(methods.len(), 4, "{proto}");
        for method in methods {
            let line = format!("- outrigger.demo.v1.Prices/{method}\n");
            assert!(POLICIES.contains(&line), "{line}: {POLICIES}");
        }
    }

    #[test]
    fn it_is_private_and_leaves_nothing() {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::new().expect("a folder");
        folder.write("x", "").expect("written");
        let path = folder.path().to_owned();
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o077, 0);
        drop(folder);
        assert!(!path.exists());
    }
}
