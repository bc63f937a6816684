//! Files as people and secret mounts leave them: right, swapped, half-written, of another mesh.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::*;
use crate::identity::issue::{Authority, Issued};

const HOUR: Duration = Duration::from_secs(3600);

/// A directory with the three files, removed at the end of the test.
struct Folder(Settings);

impl Folder {
    fn new(issued: &Issued, bundle: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("outrigger-tls-{}-{count}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a temporary folder");
        let folder = Self(Settings {
            certificate: folder.join("svid.pem"),
            key: folder.join("svid.key"),
            trust_bundle: folder.join("ca.pem"),
        });
        folder.put(&folder.0.certificate, &issued.cert_pem);
        folder.put(&folder.0.key, &issued.key_pem);
        folder.put(&folder.0.trust_bundle, bundle);
        folder
    }

    fn put(&self, path: &Path, text: &str) {
        fs::write(path, text).expect("written");
    }

    fn load(&self) -> Result<Credentials, String> {
        let loaded = load(&self.0, &TrustDomain::default(), 3, SystemTime::now());
        loaded.map_err(|error| {
            let mut text = error.to_string();
            let mut next = std::error::Error::source(&error);
            while let Some(source) = next {
                text = format!("{text}: {source}");
                next = source.source();
            }
            text
        })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let folder = self.0.certificate.parent().expect("it is in a folder");
        let _ = fs::remove_dir_all(folder);
    }
}

fn authority() -> Authority {
    Authority::new(&TrustDomain::default()).expect("keys can be made")
}

fn issue(authority: &Authority, id: &str, age: Duration) -> Issued {
    issue_at(authority, id, SystemTime::now() - age)
}

fn issue_at(authority: &Authority, id: &str, begin: SystemTime) -> Issued {
    let id = SpiffeId::parse(id).expect("an id");
    authority.issue(&id, begin, begin + 2 * HOUR).expect("issued")
}

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";

#[test]
fn right_files_make_credentials() {
    let root = authority();
    let folder = Folder::new(&issue(&root, WEB, HOUR), root.root_pem());
    let credentials = folder.load().expect("right files");
    assert_eq!(credentials.svid().id().as_str(), WEB);
    assert_eq!(credentials.bundle().generation(), 3);
}

#[test]
fn wrong_files_are_refused_by_name() {
    let (root, stranger) = (authority(), authority());
    let good = issue(&root, WEB, HOUR);
    let other = issue(&root, WEB, HOUR);
    let swapped = Issued { cert_pem: good.key_pem.clone(), key_pem: good.cert_pem.clone() };
    let half = Issued { cert_pem: other.cert_pem, key_pem: good.key_pem.clone() };
    let foreign = issue(&root, "spiffe://other.mesh/ns/shop/sa/web", HOUR);
    let cases = [
        (
            "swapped",
            &swapped,
            root.root_pem(),
            ["identity.certificate: ", "svid.pem can't be used", "swapped"],
        ),
        (
            "half-written",
            &half,
            root.root_pem(),
            ["identity.key: ", "svid.key can't be used", "half-written"],
        ),
        (
            "bundle is the certificate",
            &good,
            &good.cert_pem,
            ["identity.trustBundle: ", "ca.pem can't be used", "is no CA"],
        ),
        (
            "another trust domain",
            &foreign,
            root.root_pem(),
            [
                "identity.certificate: ",
                "spiffe://other.mesh/ns/shop/sa/web",
                "set trustDomain to other.mesh",
            ],
        ),
        (
            "another root",
            &good,
            stranger.root_pem(),
            ["no peer would take", "svid.pem", "issued by none of the roots"],
        ),
        (
            "expired",
            &issue(&root, WEB, 3 * HOUR),
            root.root_pem(),
            ["no peer would take", "svid.pem", "the certificate ended at 2"],
        ),
        (
            "not begun",
            &issue_at(&root, WEB, SystemTime::now() + HOUR),
            root.root_pem(),
            ["no peer would take", "svid.pem", "not valid yet, it begins at 2"],
        ),
    ];
    for (case, issued, bundle, expected) in cases {
        let folder = Folder::new(issued, bundle);
        let error = folder.load().expect_err(case);
        for part in expected {
            assert!(error.contains(part), "{case}: {part:?} is not in {error}");
        }
    }
}

#[test]
fn a_missing_file_is_named() {
    let root = authority();
    let folder = Folder::new(&issue(&root, WEB, HOUR), root.root_pem());
    fs::remove_file(&folder.0.key).expect("removed");
    let error = folder.load().expect_err("no key");
    assert!(error.contains("identity.key: ") && error.contains("svid.key can't be read"));
}

#[test]
fn fingerprints_differ_after_any_change() {
    let root = authority();
    let folder = Folder::new(&issue(&root, WEB, HOUR), root.root_pem());
    let mut last = fingerprint(&folder.0);
    assert_eq!(last, fingerprint(&folder.0));
    let settings = folder.0.clone();
    for path in [&settings.certificate, &settings.key, &settings.trust_bundle] {
        // As tools replace files: another one moved into its place, with the same text.
        let beside = path.with_extension("new");
        fs::copy(path, &beside).expect("copied");
        fs::rename(&beside, path).expect("moved");
        let next = fingerprint(&folder.0);
        assert_ne!(last, next, "{}", path.display());
        last = next;
    }
    fs::remove_file(&settings.key).expect("removed");
    assert_ne!(last, fingerprint(&folder.0));
}
