//! A root and issuers that are made elsewhere, and brought in.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P384_SHA384,
};

use super::Scene;
use crate::harness::{ControlPlane, Folder, within};

/// Somebody's certificate authority.
pub struct Elsewhere {
    root: Issuer<'static, KeyPair>,
    pub root_pem: String,
}

fn params(name: &str, path_length: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params
}

impl Elsewhere {
    pub fn new(name: &str) -> Self {
        let params = params(name, 1);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key");
        let root_pem = params.self_signed(&key).expect("signed").pem();
        Self { root: Issuer::new(params, key), root_pem }
    }

    /// A certificate and its key.
    pub fn issuer(&self) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let issuer = params("the mesh's issuer", 0).signed_by(&key, &self.root);
        (issuer.expect("signed").pem(), key.serialize_pem())
    }

    /// Writes all of it as cert-manager does.
    pub fn write(&self, folder: &Folder) {
        let (issuer, key) = self.issuer();
        folder.write("ca.crt", &self.root_pem);
        folder.write("tls.crt", &issuer);
        folder.write("tls.key", &key);
    }
}

fn import(files: &[String; 3]) -> [&str; 8] {
    let [root, issuer, key] = files;
    ["ca", "import", "--root", root, "--issuer", issuer, "--issuer-key", key]
}

#[test]
fn a_root_from_elsewhere_comes_in_under_load() {
    let plane = ControlPlane::start(&["--cert-lifetime", "5s", "--lease", "2s"]);
    let scene = Scene::set(plane);
    let (folder, company) = (Folder::new("company"), Elsewhere::new("a company's root"));
    company.write(&folder);
    let files =
        ["ca.crt", "tls.crt", "tls.key"].map(|name| folder.path(name).display().to_string());
    let said = scene.plane.done(&import(&files));
    assert!(said.contains("distribute for ") && said.contains("it waits:"), "{said}");
    let again = scene.plane.run(&["ca", "rotate", "root"]);
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.err.contains("being replaced already (distribute)"), "{again:?}");
    within(Duration::from_secs(60), "the new root is the only one", || {
        scene.plane.ca()["rotation"].is_null()
    });
    let status = scene.plane.ca();
    assert_eq!(status["issuer"]["origin"], "imported", "{status}");
    assert!(status["issuer"]["renewed"].is_null(), "{status}");
    assert_eq!(status["roots"].as_array().map(Vec::len), Some(1), "{status}");
    assert_eq!(status["roots"][0]["subject"], "CN=a company's root", "{status}");
    // The next issuer of the same root needs no overlap.
    let (before, serials) = (scene.plane.issuer(), scene.serials());
    company.write(&folder);
    scene.plane.done(&import(&files));
    assert_ne!(scene.plane.issuer(), before);
    assert_eq!(scene.plane.phase(), "");
    scene.all_renewed(&serials);
    let refused = scene.plane.run(&["ca", "rotate", "issuer"]);
    assert!(
        refused.code == Some(1) && refused.err.contains("root's key is not here"),
        "{refused:?}"
    );
    folder.write("tls.key", &company.issuer().1);
    let refused = scene.plane.run(&import(&files));
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("key: it is not the issuer's"), "{refused:?}");
    scene.load.goes_on(50);
    scene.load.lost_nothing();
}
