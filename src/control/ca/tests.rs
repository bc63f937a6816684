//! The authority over its life: made, opened again, killed in mid-start, damaged, renewed, ended.

mod requests;
mod rotation;

use std::fs;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use rcgen::{CertificateParams, KeyPair, SanType};

use super::*;
use crate::control::files::tests::Folder;
use crate::identity::{Leaf, Svid, TrustBundle, private_key};
use crate::tls::Credentials;

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";
const FILES: [&str; 4] = ["issuer.key", "issuer.pem", "root.key", "root.pem"];

fn id(text: &str) -> SpiffeId {
    SpiffeId::parse(text).expect("an id")
}

/// A time of no fraction, long past.
fn start() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn try_open(folder: &Folder, now: SystemTime) -> Result<Authority, Error> {
    Authority::open(&folder.0, &TrustDomain::default(), Lifetimes::default(), now)
}

fn open(folder: &Folder, now: SystemTime) -> Authority {
    try_open(folder, now).expect("an authority")
}

fn request(key: &KeyPair, name: &str) -> SigningRequest {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(name.try_into().expect("ASCII"))];
    let request = params.serialize_request(key).expect("a request");
    SigningRequest::read(request.der(), &id(name)).expect("a right request")
}

/// A workload's leaf, as issued and as held.
fn leaf(authority: &Authority, now: SystemTime) -> (Issued, Svid) {
    let key = KeyPair::generate().expect("a key");
    let issued = authority.sign(&request(&key, WEB), 7, now).expect("signed");
    let key = private_key(key.serialize_pem().as_bytes()).expect("PEM");
    let svid = Svid::new(issued.chain.clone(), key).expect("a pair");
    (issued, svid)
}

/// Whether peers with these roots take it.
fn taken(svid: &Svid, roots: &TrustBundle, now: SystemTime) -> bool {
    Credentials::new(svid.clone(), roots.clone()).check(now).is_ok()
}

#[test]
fn a_leaf_is_what_peers_expect() {
    let folder = Folder::new("ca");
    let authority = open(&folder, start());
    let (issued, svid) = leaf(&authority, start() + Duration::from_millis(700));
    assert!(taken(&svid, &authority.roots(), start()));
    assert_eq!(authority.roots().generation(), 1);
    assert_eq!((issued.chain.len(), svid.id()), (2, &id(WEB)));
    assert_eq!(issued.not_before, start() - Duration::from_secs(300));
    assert_eq!(issued.not_after, start() + DAY);
    let read = Leaf::from_der(&issued.chain[0]).expect("a leaf");
    assert_eq!((read.not_before, read.not_after), (issued.not_before, issued.not_after));
    assert_eq!(read.serial(), issued.serial);
    assert_eq!(enrollment_of(&read.serial()), Some(7));
    assert!(!taken(&svid, &authority.roots(), issued.not_after + Duration::from_secs(1)));
    let stranger = open(&Folder::new("ca"), start());
    assert!(!taken(&svid, &stranger.roots(), start()));
}

#[test]
fn serial_numbers_are_never_alike() {
    let authority = open(&Folder::new("ca"), start());
    let key = KeyPair::generate().expect("a key");
    for enrollment in [1, 0xff, 0x100, i64::MAX as u64] {
        let sign = || authority.sign(&request(&key, WEB), enrollment, start()).expect("signed");
        let (first, second) = (sign(), sign());
        assert_ne!(first.serial, second.serial);
        assert_eq!(enrollment_of(&first.serial), Some(enrollment));
        let read = Leaf::from_der(&first.chain[0]).expect("a leaf");
        assert_eq!(read.serial(), first.serial);
    }
}

#[test]
fn the_control_plane_has_its_own_leaf() {
    let authority = open(&Folder::new("ca"), start());
    let own = authority.own(start()).expect("a leaf");
    assert_eq!(own.id(), &SpiffeId::control_plane(&TrustDomain::default()));
    assert!(taken(&own, &authority.roots(), start()));
    assert_eq!(enrollment_of(own.serial()), None);
    assert_eq!(own.not_after(), start() + DAY);
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&authority);
}

#[test]
fn what_may_not_be_signed_is_not() {
    let authority = open(&Folder::new("ca"), start());
    let key = KeyPair::generate().expect("a key");
    let sign = |name: &str, enrollment| authority.sign(&request(&key, name), enrollment, start());
    assert!(matches!(sign("spiffe://other.mesh/ns/shop/sa/web", 1), Err(Error::Foreign { .. })));
    let own = SpiffeId::control_plane(&TrustDomain::default());
    assert!(matches!(sign(own.as_str(), 1), Err(Error::Reserved(id)) if id == own));
    assert!(matches!(sign(WEB, 0), Err(Error::Enrollment(0))));
    assert!(matches!(sign(WEB, 1 << 63), Err(Error::Enrollment(_))));
}

#[test]
fn everything_is_kept_and_private() {
    let folder = Folder::new("ca");
    let inner = Folder(folder.0.join("data/ca"));
    let first = open(&inner, start());
    let mut names: Vec<_> = fs::read_dir(&inner.0)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("ASCII"))
        .collect();
    names.sort();
    assert_eq!(names, FILES);
    assert_eq!(folder.mode("data/ca"), 0o700);
    assert_eq!((inner.mode("root.key"), inner.mode("issuer.key")), (0o600, 0o600));
    let second = open(&inner, start() + DAY);
    assert_eq!(first.roots().roots()[0].certificate, second.roots().roots()[0].certificate);
    let issuer = |authority| leaf(authority, start() + DAY).0.chain[1].clone();
    assert_eq!(issuer(&first), issuer(&second));
}

/// What each step of the first start leaves when the next one never comes.
#[test]
fn a_start_that_was_killed_comes_back() {
    for kept in 0..=4 {
        let folder = Folder::new("ca");
        let before = open(&folder, start());
        let (_, old) = leaf(&before, start());
        let in_order = ["root.key", "root.pem", "issuer.key", "issuer.pem"];
        for missing in &in_order[kept..] {
            fs::remove_file(folder.0.join(missing)).expect("it was there");
        }
        if let Some(half) = in_order.get(kept) {
            fs::write(folder.0.join(format!(".{half}.new")), "-----BEGIN").expect("written");
        }
        let after = open(&folder, start() + HOUR);
        let (_, new) = leaf(&after, start() + HOUR);
        assert!(taken(&new, &after.roots(), start() + HOUR), "{kept} files");
        // With the root's key, it is the same mesh.
        assert_eq!(taken(&old, &after.roots(), start() + HOUR), kept > 0, "{kept} files");
        assert_eq!(taken(&new, &before.roots(), start() + HOUR), kept > 0, "{kept} files");
        assert_eq!(fs::read_dir(&folder.0).expect("a folder").count(), 4, "{kept} files");
    }
}

#[test]
fn a_renewal_that_was_killed_costs_an_issuer_and_nothing_else() {
    let folder = Folder::new("ca");
    let (_, old) = leaf(&open(&folder, start()), start());
    let other = KeyPair::generate().expect("a key").serialize_pem();
    for damage in [other.as_str(), "", "-----BEGIN PRIVATE KEY-----\n"] {
        for name in ["issuer.key", "issuer.pem"] {
            fs::write(folder.0.join(name), damage).expect("written");
            let authority = open(&folder, start());
            assert!(taken(&old, &authority.roots(), start()), "{name}");
            assert!(taken(&leaf(&authority, start()).1, &authority.roots(), start()), "{name}");
        }
    }
}

#[test]
fn an_issuer_of_another_root_is_replaced() {
    let (folder, stranger) = (Folder::new("ca"), Folder::new("ca"));
    open(&folder, start());
    open(&stranger, start());
    for name in ["issuer.key", "issuer.pem"] {
        fs::copy(stranger.0.join(name), folder.0.join(name)).expect("copied");
    }
    let authority = open(&folder, start());
    assert!(taken(&leaf(&authority, start()).1, &authority.roots(), start()));
}

type Damage = fn(&Folder);

/// Whatever is wrong with a root is said, and its files are left as they are.
#[test]
fn a_root_that_may_be_in_use_is_never_replaced() {
    let rows: [(&str, Damage, &str); 10] = [
        ("no key", |f| remove(f, "root.key"), "root.key is missing, although"),
        ("no root", |f| remove(f, "root.pem"), "root.pem is missing, although"),
        (
            "no root, half an issuer",
            |f| ["root.pem", "issuer.pem"].iter().for_each(|name| remove(f, name)),
            "root.pem is missing, although",
        ),
        (
            "no root at all",
            |f| ["root.pem", "root.key"].iter().for_each(|name| remove(f, name)),
            "root.pem is missing, although",
        ),
        ("an empty key", |f| put(f, "root.key", ""), "root.key can't be used"),
        ("an empty root", |f| put(f, "root.pem", ""), "root.pem can't be used"),
        ("another key", |f| put(f, "root.key", &fresh_key()), "root.key is not the key of"),
        ("a public key", |f| f.chmod("root.key", 0o640), "run `chmod 600"),
        ("a public issuer's key", |f| f.chmod("issuer.key", 0o604), "run `chmod 600"),
        (
            "a key that is a folder",
            |f| {
                remove(f, "root.key");
                fs::create_dir(f.0.join("root.key")).expect("made");
                f.chmod("root.key", 0o600);
            },
            "root.key can't be read",
        ),
    ];
    for (case, damage, said) in rows {
        let folder = Folder::new("ca");
        open(&folder, start());
        damage(&folder);
        let before = contents(&folder);
        let error = try_open(&folder, start()).expect_err(case).to_string();
        assert!(error.contains(said), "{case}: {error}");
        assert_eq!(contents(&folder), before, "{case}");
    }
}

fn remove(folder: &Folder, name: &str) {
    fs::remove_file(folder.0.join(name)).expect("it was there");
}

fn put(folder: &Folder, name: &str, text: &str) {
    fs::write(folder.0.join(name), text).expect("written");
}

fn fresh_key() -> String {
    KeyPair::generate().expect("a key").serialize_pem()
}

fn contents(folder: &Folder) -> Vec<Option<Vec<u8>>> {
    FILES.iter().map(|name| fs::read(folder.0.join(name)).ok()).collect()
}

#[test]
fn a_root_belongs_to_its_trust_domain() {
    let folder = Folder::new("ca");
    open(&folder, start());
    let other = TrustDomain::parse("other.mesh").expect("a trust domain");
    let error = Authority::open(&folder.0, &other, Lifetimes::default(), start());
    let error = error.expect_err("another trust domain").to_string();
    assert!(error.contains("root.pem is the root of spiffe://cluster.local, but"), "{error}");
}

/// People may bring their own root, if it can do what it has to.
#[test]
fn a_root_of_ones_own_is_tried_out() {
    use rcgen::{BasicConstraints, GeneralSubtree, IsCa, NameConstraints};
    type Bend = fn(&mut CertificateParams);
    let rows: [(&str, Bend, &str); 5] = [
        ("no limit", |p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), "ok"),
        ("one below", |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(1)), "ok"),
        ("none below", |p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)), "may not sign"),
        ("no CA", |p| p.is_ca = IsCa::ExplicitNoCa, "root.pem can't be used"),
        (
            "for others",
            |p| {
                let excluded = vec![GeneralSubtree::DirectoryName(Default::default())];
                let permitted_subtrees = Vec::new();
                p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                p.name_constraints =
                    Some(NameConstraints { permitted_subtrees, excluded_subtrees: excluded });
            },
            "nobody would take",
        ),
    ];
    for (case, bend, said) in rows {
        let folder = Folder::new("ca");
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).expect("a key");
        let mut params = CertificateParams::default();
        let domain = "spiffe://cluster.local".try_into().expect("ASCII");
        params.subject_alt_names = vec![SanType::URI(domain)];
        bend(&mut params);
        put(&folder, "root.pem", &params.self_signed(&key).expect("signed").pem());
        put(&folder, "root.key", &key.serialize_pem());
        folder.chmod("root.key", 0o600);
        match try_open(&folder, start()) {
            Ok(authority) => {
                assert_eq!(said, "ok", "{case}");
                assert!(taken(&leaf(&authority, start()).1, &authority.roots(), start()));
            }
            Err(error) => {
                assert!(error.to_string().contains(said), "{case}: {error}");
                assert!(!folder.0.join("issuer.pem").exists());
            }
        }
    }
}

#[test]
fn the_issuer_is_renewed_in_time() {
    let folder = Folder::new("ca");
    let authority = open(&folder, start());
    let renewed = |at| authority.renew_issuer_if_due(at).expect("no fault");
    assert!(!renewed(start()));
    assert!(!renewed(start() + 60 * DAY - HOUR));
    let at = start() + 60 * DAY;
    let (old_leaf, old) = leaf(&authority, at);
    assert!(renewed(at));
    assert!(!renewed(at));
    let (new_leaf, new) = leaf(&authority, at);
    assert_ne!(old_leaf.chain[1], new_leaf.chain[1]);
    assert!(taken(&old, &authority.roots(), at) && taken(&new, &authority.roots(), at));
    let (kept, _) = leaf(&open(&folder, at), at);
    assert_eq!(kept.chain[1], new_leaf.chain[1]);
}

#[test]
fn a_renewal_that_fails_changes_nothing_and_is_made_up_for() {
    let folder = Folder::new("ca");
    let authority = open(&folder, start());
    let at = start() + 70 * DAY;
    let before = leaf(&authority, at).0.chain[1].clone();
    let obstacle = folder.0.join(".issuer.pem.new/x");
    fs::create_dir_all(&obstacle).expect("made");
    let failed = authority.renew_issuer_if_due(at);
    assert!(matches!(failed, Err(Error::File(FileError::Write { .. }))), "{failed:?}");
    assert_eq!(leaf(&authority, at).0.chain[1], before);
    fs::remove_dir_all(folder.0.join(".issuer.pem.new")).expect("removed");
    assert!(authority.renew_issuer_if_due(at).expect("no fault"));
    assert_ne!(leaf(&authority, at).0.chain[1], before);
}

#[test]
fn an_issuer_outlasts_four_leaves() {
    let folder = Folder::new("ca");
    let lifetimes = Lifetimes { leaf: 60 * DAY, issuer: 90 * DAY };
    let domain = TrustDomain::default();
    let open = |at| Authority::open(&folder.0, &domain, lifetimes, at).expect("an authority");
    let authority = open(start());
    for days in 0..1000 {
        let at = start() + days * DAY;
        authority.renew_issuer_if_due(at).expect("no fault");
        if days % 20 == 0 {
            let issued = leaf(&authority, at).0;
            assert_eq!(issued.not_after, at + 60 * DAY, "day {days}");
        }
    }
    // Leaves that last longer than before are no shorter for it.
    let at = start() + 1000 * DAY;
    let lifetimes = Lifetimes { leaf: 200 * DAY, issuer: 90 * DAY };
    let authority = Authority::open(&folder.0, &domain, lifetimes, at).expect("an authority");
    assert_eq!(leaf(&authority, at).0.not_after, at + 200 * DAY);
}

#[test]
fn nothing_outlasts_the_root() {
    let folder = Folder::new("ca");
    let end = open(&folder, start()).roots().roots()[0].not_after;
    assert_eq!(end, start() + 3652 * DAY);
    let authority = open(&folder, end - 10 * DAY);
    assert_eq!(leaf(&authority, end - DAY / 2).0.not_after, end);
    // A successor would end with this one: there is none every hour.
    assert!(!authority.renew_issuer_if_due(end - DAY).expect("no fault"));
    let key = KeyPair::generate().expect("a key");
    let late = authority.sign(&request(&key, WEB), 1, end);
    assert!(matches!(late, Err(Error::IssuerEnded { not_after }) if not_after == end));
    assert!(matches!(authority.own(end), Err(Error::IssuerEnded { .. })));
    let error = try_open(&folder, end).expect_err("it ended").to_string();
    assert!(error.contains("root.pem ended at 2033-"), "{error}");
}

#[test]
fn a_clock_that_was_wrong_at_first_does_no_harm() {
    let folder = Folder::new("ca");
    open(&folder, start() + 365 * DAY);
    let authority = open(&folder, start());
    assert!(taken(&leaf(&authority, start()).1, &authority.roots(), start()));
}
