//! The demo's files: a root and a certificate for each service account, the resources that all
//! sidecars read, and a configuration for each of them.
//!
//! Invariant: the folder is its owner's alone, because keys are in it, and it goes when it is
//! dropped. What is written here is what a user would write, so that `--keep` is worth a look.

use std::fmt::Write;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::shop::{Instance, NAMESPACE, SERVICES, Service, Shop};
use super::{Error, doing};
use crate::identity::issue::Authority;
use crate::model::{NameError, SpiffeId, TrustDomain};

/// How long the certificates last: longer than anyone looks at a demo.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// A clock that is a little behind still takes them.
const BACKDATED: Duration = Duration::from_secs(5 * 60);

/// A folder that exists for as long as this.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes it, with everything that the sidecars of `shop` read.
    ///
    /// # Errors
    /// When it can't be written, or no key can be made.
    pub(super) fn furnish(shop: &Shop) -> Result<Folder, Error> {
        let folder = Folder::new()?;
        let authority = Authority::new(&TrustDomain::default()).map_err(Error::Certificate)?;
        folder.write("root.pem", authority.root_pem())?;
        for service in &SERVICES {
            folder.certify(service, &authority)?;
        }
        folder.write("mesh/shop.yaml", &resources(shop))?;
        for instance in &shop.instances {
            folder.write(&format!("{}.yaml", instance.name), &configuration(instance))?;
        }
        Ok(folder)
    }

    fn new() -> Result<Folder, Error> {
        let name = format!("outrigger-demo-{}", uuid::Uuid::now_v7().simple());
        let path = std::env::temp_dir().join(name);
        // Fails when somebody else made it first.
        DirBuilder::new().mode(0o700).create(&path).map_err(doing("make a temporary folder"))?;
        let folder = Folder(path);
        fs::create_dir(folder.0.join("mesh")).map_err(doing("make a temporary folder"))?;
        Ok(folder)
    }

    fn certify(&self, service: &Service, authority: &Authority) -> Result<(), Error> {
        let id = identity(service.name)?;
        let now = SystemTime::now();
        let issued =
            authority.issue(&id, now - BACKDATED, now + LIFETIME).map_err(Error::Certificate)?;
        self.write(&format!("{}.crt", service.name), &issued.cert_pem)?;
        self.write(&format!("{}.key", service.name), &issued.key_pem)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), Error> {
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

/// Who a service's workloads are.
fn identity(service: &str) -> Result<SpiffeId, Error> {
    SpiffeId::new(&TrustDomain::default(), NAMESPACE, service)
        .ok_or_else(|| Error::Identity(NameError::SpiffeId(service.into())))
}

/// Services and workloads, as all sidecars are told of them.
fn resources(shop: &Shop) -> String {
    let mut text = String::from("# Who there is. Protocols are not declared: they are detected.\n");
    for Service { name, port, .. } in &SERVICES {
        let Some(port) = port else { continue };
        let _ = write!(
            text,
            "---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {NAMESPACE}}}
spec:
  selector: {{app: {name}}}
  ports: [{{port: {port}, targetPort: app}}]
"
        );
    }
    for Instance { service, name, inbound, .. } in &shop.instances {
        let Some(inbound) = inbound else { continue };
        let _ = write!(
            text,
            "---
apiVersion: outrigger.dev/v1alpha1
kind: Workload
metadata: {{name: {name}, namespace: {NAMESPACE}, labels: {{app: {app}}}}}
spec:
  address: {ip}
  serviceAccount: {app}
  ports: [{{name: app, port: {port}, meshPort: {mesh}}}]
",
            app = service.name,
            ip = inbound.app.ip(),
            port = inbound.app.port(),
            mesh = inbound.mesh.port(),
        );
    }
    text
}

/// One sidecar's configuration.
fn configuration(instance: &Instance) -> String {
    let Instance { service, name, admin, inbound, upstreams } = instance;
    let app = service.name;
    let mut text = format!(
        "workload: {{namespace: {NAMESPACE}, name: {name}, serviceAccount: {app}, labels: {{app: {app}}}}}
identity: {{certificate: {app}.crt, key: {app}.key, trustBundle: root.pem}}
resources: [mesh/]
admin: {{listen: \"{admin}\"}}
workers: 1
# Short, because the apps are gone before their sidecars.
drain: {{minimum: 200ms, deadline: 2s}}
telemetry: {{accessLog: {{format: \"off\"}}}}
"
    );
    if let Some(inbound) = inbound {
        let _ = write!(
            text,
            "inbound:\n  ports:\n    - {{name: app, listen: \"{}\", app: \"{}\"}}\n",
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
    use super::*;
    use crate::{config, resources, tls};

    #[test]
    fn the_sidecars_would_take_all_of_it() {
        let shop = Shop::lay_out().expect("ports");
        let folder = Folder::furnish(&shop).expect("a folder");
        for instance in &shop.instances {
            let file = folder.path().join(format!("{}.yaml", instance.name));
            let loaded = config::load(Some(&file), std::iter::empty(), &[]).expect("sound");
            let config = loaded.config;
            assert_eq!(config.admin.listen, instance.admin);
            assert_eq!(config.outbound.upstreams.len(), instance.service.calls.len());
            assert_eq!(config.inbound.ports.len(), usize::from(instance.inbound.is_some()));
            let read = resources::read(&config.resources, NAMESPACE).expect("sound");
            assert_eq!(read.len(), 4 + 7);
            let files = config.identity.expect("an identity");
            let credentials = tls::load(&files, &config.trust_domain, 1, SystemTime::now());
            let svid = credentials.expect("a peer would take it");
            assert_eq!(svid.svid().id().service_account(), instance.service.name);
        }
    }

    #[test]
    fn it_is_private_and_leaves_nothing() {
        use std::os::unix::fs::PermissionsExt;
        let shop = Shop::lay_out().expect("ports");
        let folder = Folder::furnish(&shop).expect("a folder");
        let path = folder.path().to_owned();
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o077, 0);
        drop(folder);
        assert!(!path.exists());
    }
}
