//! A root replaced step by step: what is signed below what, killed at every write, and brought in from
//! elsewhere.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use rcgen::{BasicConstraints, IsCa, Issuer, KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize};

use super::*;
use crate::control::ca::keeper::Folder as Files;

const STEPS: [Phase; 3] = [Phase::Distribute, Phase::Use, Phase::Retire];

fn advance(from: Phase) -> Change {
    Change::Advance { from, leaves_end: start() + DAY }
}

fn phase(authority: &Authority) -> Option<Phase> {
    authority.view().rotation.map(|rotation| rotation.phase)
}

/// What a peer meets of an authority: a leaf, and what the control plane itself shows.
struct Shown {
    leaf: Svid,
    own: Svid,
    roots: Arc<TrustBundle>,
}

fn shown(authority: &Authority) -> Shown {
    let own = authority.own(start()).expect("a leaf");
    Shown { leaf: leaf(authority, start()).1, own, roots: authority.roots() }
}

#[track_caller]
fn compatible(before: &Shown, after: &Shown, what: &str) {
    assert!(taken(&after.leaf, &before.roots, start()), "{what}: the bundle of before, a new leaf");
    assert!(taken(&after.own, &before.roots, start()), "{what}: the bundle of before, our own");
    assert!(taken(&before.leaf, &after.roots, start()), "{what}: a leaf of before");
    assert!(taken(&before.own, &after.roots, start()), "{what}: our own of before");
    assert!(taken(&after.leaf, &after.roots, start()), "{what}: itself");
}

#[test]
fn each_step_is_understood_by_who_is_one_behind() {
    let folder = Folder::new("rotation");
    let authority = open(&folder, start());
    let first = authority.roots().roots()[0].certificate.clone();
    let mut news = authority.news();
    let joiner = authority.roots();
    let mut before = shown(&authority);
    let mut go = |change: Change, expected: Option<Phase>, roots: usize, generation: u64| {
        let what = format!("{change:?}");
        authority.change(change, start()).expect(&what);
        assert!(news.has_changed().expect("it lives"), "{what}");
        news.mark_unchanged();
        assert_eq!(phase(&authority), expected, "{what}");
        let bundle = authority.roots();
        assert_eq!((bundle.roots().len(), bundle.generation()), (roots, generation), "{what}");
        let after = shown(&authority);
        compatible(&before, &after, &what);
        before = after;
        // Another process finds the same.
        let again = open(&folder, start());
        compatible(&before, &shown(&again), &what);
        assert_eq!(again.view().revision, authority.view().revision, "{what}");
    };
    go(Change::RotateRoot, Some(Phase::Distribute), 2, 2);
    go(Change::RotateIssuer, Some(Phase::Distribute), 2, 2);
    go(advance(Phase::Distribute), Some(Phase::Use), 2, 2);
    go(Change::RotateIssuer, Some(Phase::Use), 2, 2);
    assert!(taken(&authority.own(start()).expect("a leaf"), &joiner, start()), "who comes late");
    go(advance(Phase::Use), Some(Phase::Retire), 2, 2);
    go(advance(Phase::Retire), None, 1, 3);
    assert_ne!(authority.roots().roots()[0].certificate, first);
    let mut names: Vec<String> = fs::read_dir(&folder.0)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("ASCII"))
        .collect();
    names.sort();
    assert_eq!(names, ["issuer.key", "issuer.pem", "root.key", "root.pem", "trust.json"]);
    assert_eq!(folder.mode("trust.json"), 0o600);
    let text = fs::read_to_string(folder.0.join("trust.json")).expect("a text");
    assert!(!text.contains("PRIVATE KEY"), "no key stays in it: {text}");
}

#[test]
fn a_step_is_taken_once_and_only_from_where_it_was_seen() {
    let folder = Folder::new("rotation");
    let authority = open(&folder, start());
    for from in STEPS {
        authority.change(advance(from), start()).expect("nothing to do");
    }
    assert_eq!(authority.view().revision, 0);
    authority.change(Change::RotateRoot, start()).expect("begun");
    let again = authority.change(Change::RotateRoot, start()).expect_err("one at a time");
    assert!(matches!(again, Error::UnderWay(Phase::Distribute)), "{again}");
    authority.change(advance(Phase::Use), start()).expect("nothing to do");
    assert_eq!(phase(&authority), Some(Phase::Distribute));
    for _ in 0..2 {
        authority.change(advance(Phase::Distribute), start()).expect("taken once");
        assert_eq!(phase(&authority), Some(Phase::Use));
    }
    let ends = |authority: &Authority| {
        authority.view().rotation.and_then(|rotation| rotation.old_leaves_end)
    };
    assert_eq!(ends(&authority), Some(start() + DAY));
    let leaves_end = start() + 2 * DAY;
    authority.change(Change::Prolong { leaves_end }, start()).expect("put off");
    assert_eq!(ends(&authority), Some(leaves_end + Duration::from_secs(60)));
    authority.change(Change::Prolong { leaves_end: start() }, start()).expect("never sooner");
    assert_eq!(ends(&authority), Some(leaves_end + Duration::from_secs(60)));
}

/// A folder whose process is killed after so many writes.
struct Mortal {
    files: Files,
    left: Arc<AtomicUsize>,
}

impl Mortal {
    fn spend(&self, part: &str) -> Result<(), Error> {
        let spent = self.left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        spent.map(drop).map_err(|_| Error::Gone { path: self.files.path(part) })
    }
}

impl Keeper for Mortal {
    fn path(&self, part: &str) -> PathBuf {
        self.files.path(part)
    }

    fn read(&self, part: &str) -> Result<Option<Vec<u8>>, Error> {
        self.files.read(part)
    }

    fn write(&self, part: &str, pem: &[u8]) -> Result<(), Error> {
        self.spend(part)?;
        self.files.write(part, pem)
    }

    fn remove(&self, part: &str) -> Result<(), Error> {
        self.spend(part)?;
        self.files.remove(part)
    }
}

fn mortal(folder: &Folder, left: &Arc<AtomicUsize>) -> Authority {
    let files = Files::open(&folder.0).expect("a folder");
    let keeper = Box::new(Mortal { files, left: Arc::clone(left) });
    let (domain, lives) = (TrustDomain::default(), Lifetimes::default());
    Authority::kept_by(keeper, &domain, lives, None, start()).expect("an authority")
}

/// At each write of each of these orders; `bring` makes what is brought in.
fn killed_at_each_write(orders: &dyn Fn() -> Vec<Change>) -> usize {
    let mut deaths = 0;
    for lives in 0.. {
        let folder = Folder::new("rotation");
        let left = Arc::new(AtomicUsize::new(usize::MAX));
        let authority = mortal(&folder, &left);
        left.store(lives, SeqCst);
        let mut died = None;
        for order in orders() {
            let before = shown(&authority);
            if let Err(error) = authority.change(order.clone(), start()) {
                assert!(matches!(error, Error::Gone { .. }), "{order:?}: {error}");
                compatible(&before, &shown(&authority), "who could not write goes on");
                let after = open(&folder, start());
                compatible(&before, &shown(&after), &format!("{order:?}, killed after {lives}"));
                died = Some(order);
                break;
            }
        }
        let Some(at) = died else { return deaths };
        deaths += 1;
        // Whoever comes next goes on from there to the end.
        let next = open(&folder, start());
        if !matches!(at, Change::Advance { .. }) {
            let done = next.change(at.clone(), start());
            assert!(matches!(done, Ok(()) | Err(Error::UnderWay(_))), "{at:?}: {done:?}");
        }
        for from in STEPS {
            next.change(advance(from), start()).expect("goes on");
        }
        assert_eq!(phase(&next), None);
        assert_eq!(next.roots().roots().len(), 1, "{at:?}");
        assert!(taken(&leaf(&next, start()).1, &open(&folder, start()).roots(), start()));
    }
    deaths
}

#[test]
fn killed_at_any_write_nothing_is_signed_that_is_not_trusted() {
    let rotated = || {
        let mut all = vec![Change::RotateIssuer, Change::RotateRoot];
        all.extend(STEPS.map(advance));
        all.push(Change::RotateIssuer);
        all
    };
    // Two for each issuer, one for each of three steps, six for the last.
    assert_eq!(killed_at_each_write(&rotated), 13);
    let (elsewhere, second) = (Elsewhere::new(|_| {}), Elsewhere::new(|_| {}));
    let imported = || {
        let mut all = vec![elsewhere.import()];
        all.extend(STEPS.map(advance));
        all.push(Change::Import(Box::new(elsewhere.another())));
        all.push(second.import());
        all.extend(STEPS.map(advance));
        all
    };
    assert_eq!(killed_at_each_write(&imported), 9 + 6 + 9);
}

#[test]
fn a_disk_that_is_full_for_a_while_delays_the_last_step() {
    let folder = Folder::new("rotation");
    let left = Arc::new(AtomicUsize::new(usize::MAX));
    let authority = mortal(&folder, &left);
    authority.change(Change::RotateRoot, start()).expect("begun");
    for from in [Phase::Distribute, Phase::Use] {
        authority.change(advance(from), start()).expect("goes on");
    }
    left.store(3, SeqCst);
    let before = shown(&authority);
    assert!(authority.change(advance(Phase::Retire), start()).is_err());
    compatible(&before, &shown(&authority), "it goes on with what it had");
    left.store(usize::MAX, SeqCst);
    authority.change(advance(Phase::Retire), start()).expect("made up for");
    assert_eq!((phase(&authority), authority.roots().roots().len()), (None, 1));
}

/// A root whose key is somewhere else, and an issuer below it.
struct Elsewhere {
    root: Issuer<'static, KeyPair>,
    root_pem: String,
    issuer: (String, String),
}

fn ca(name: &str, path_length: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = (start() - DAY).into();
    params.not_after = (start() + 400 * DAY).into();
    params.use_authority_key_identifier_extension = true;
    params
}

impl Elsewhere {
    /// `bend` changes the issuer.
    fn new(bend: impl FnOnce(&mut CertificateParams)) -> Self {
        static COUNT: Mutex<u32> = Mutex::new(0);
        let mut count = COUNT.lock().expect("no panic");
        *count += 1;
        let params = ca(&format!("a company's root {count}"), 2);
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).expect("a key");
        let root_pem = params.self_signed(&key).expect("signed").pem();
        let root = Issuer::new(params, key);
        let issuer = below(&root, &KeyPair::generate().expect("a key"), bend);
        Self { root, root_pem, issuer }
    }

    fn imported(&self) -> Imported {
        let (issuer, key) = self.issuer.clone();
        Imported { root: self.root_pem.clone(), issuer, key }
    }

    fn import(&self) -> Change {
        Change::Import(Box::new(self.imported()))
    }

    /// Another issuer of the same root.
    fn another(&self) -> Imported {
        let (issuer, key) = below(&self.root, &KeyPair::generate().expect("a key"), |_| {});
        Imported { issuer, key, ..self.imported() }
    }
}

fn below(
    root: &Issuer<'static, KeyPair>,
    key: &KeyPair,
    bend: impl FnOnce(&mut CertificateParams),
) -> (String, String) {
    let mut params = ca("the mesh's issuer", 0);
    bend(&mut params);
    (params.signed_by(key, root).expect("signed").pem(), key.serialize_pem())
}

fn refusal(imported: Imported) -> String {
    let folder = Folder::new("rotation");
    let authority = open(&folder, start());
    let before = authority.view().revision;
    let refused = authority.change(Change::Import(Box::new(imported)), start());
    let refused = refused.expect_err("it can't be used");
    assert!(matches!(refused, Error::Import(_)), "{refused}");
    assert_eq!(authority.view().revision, before, "nothing changed");
    refused.to_string()
}

#[test]
fn what_can_not_be_used_is_refused_with_all_that_is_wrong() {
    type Bend = fn(&mut CertificateParams);
    let rows: [(&str, Bend); 6] = [
        ("is no CA", |p| p.is_ca = IsCa::ExplicitNoCa),
        ("may not sign certificates", |p| p.key_usages = vec![KeyUsagePurpose::DigitalSignature]),
        ("ended at 2023-11-14", |p| p.not_after = (start() - HOUR).into()),
        ("begins at 2023-11-15", |p| p.not_before = (start() + DAY).into()),
        ("is of spiffe://other.mesh, and this mesh is spiffe://cluster.local", |p| {
            p.subject_alt_names =
                vec![SanType::URI("spiffe://other.mesh".try_into().expect("ASCII"))];
        }),
        ("nobody would take its certificates", |p| {
            let excluded = vec![rcgen::GeneralSubtree::DirectoryName(Default::default())];
            let permitted_subtrees = Vec::new();
            p.name_constraints =
                Some(rcgen::NameConstraints { permitted_subtrees, excluded_subtrees: excluded });
        }),
    ];
    for (said, bend) in rows {
        let refused = refusal(Elsewhere::new(bend).imported());
        assert!(refused.contains("issuer: ") && refused.contains(said), "{said}: {refused}");
    }
    let (good, other) = (Elsewhere::new(|_| {}), Elsewhere::new(|_| {}));
    let of = |root: &str, issuer: &str, key: &str| {
        refusal(Imported { root: root.into(), issuer: issuer.into(), key: key.into() })
    };
    let (issuer, key) = (&good.issuer.0, &good.issuer.1);
    let rows = [
        (of(&other.root_pem, issuer, key), "issuer: nobody would take"),
        (of(&good.root_pem, issuer, &other.issuer.1), "key: it is not the issuer's"),
        (of(&good.root_pem, &good.root_pem, key), "issuer: it is the root itself"),
        (of("", "", ""), "nothing is there yet"),
        (of("", issuer, key), "root: it holds no certificate"),
        (of(&good.root_pem, "", ""), "issuer: it holds no certificate"),
        (of(&good.root_pem, "", ""), "key: it holds no private key"),
    ];
    for (refused, said) in rows {
        assert!(refused.contains(said), "{said}: {refused}");
    }
    let weak = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key");
    let (issuer, key) = below(&good.root, &weak, |_| {});
    let folder = Folder::new("rotation");
    let authority = open(&folder, start());
    let imported = Imported { root: good.root_pem.clone(), issuer, key };
    authority.change(Change::Import(Box::new(imported)), start()).expect("RSA of 2048 bits");
}

#[test]
fn an_issuer_between_others_is_sent_with_all_of_them() {
    let elsewhere = Elsewhere::new(|p| p.is_ca = IsCa::Ca(BasicConstraints::Constrained(1)));
    let middle = KeyPair::from_pem(&elsewhere.issuer.1).expect("a key");
    let middle = Issuer::from_ca_cert_pem(&elsewhere.issuer.0, middle).expect("a pair");
    let (last, key) = below(&middle, &KeyPair::generate().expect("a key"), |_| {});
    // The root at its end is left out, and so is another root in its file.
    let issuer = format!("{last}{}{}", elsewhere.issuer.0, elsewhere.root_pem);
    let root = format!("{}{}", Elsewhere::new(|_| {}).root_pem, elsewhere.root_pem);
    let folder = Folder::new("rotation");
    let authority = open(&folder, start());
    let imported = Imported { root, issuer, key };
    authority.change(Change::Import(Box::new(imported)), start()).expect("taken");
    authority.change(advance(Phase::Distribute), start()).expect("used");
    let (issued, svid) = leaf(&authority, start());
    assert_eq!(issued.chain.len(), 3);
    assert!(taken(&svid, &authority.roots(), start()));
}

#[test]
fn what_was_brought_in_is_replaced_by_who_made_it() {
    let folder = Folder::new("rotation");
    let elsewhere = Elsewhere::new(|_| {});
    let (domain, lives) = (TrustDomain::default(), Lifetimes::default());
    let imported = elsewhere.imported();
    let found = || Authority::founded(&folder.0, &domain, lives, Some(&imported), start());
    let authority = found().expect("a mesh that begins with it");
    assert_eq!(phase(&authority), None);
    assert_eq!(authority.roots().roots().len(), 1);
    assert!(!folder.0.join("root.key").exists(), "the root's key stays where it is");
    let before = shown(&authority);
    compatible(&before, &shown(&open(&folder, start())), "opened again");
    compatible(&before, &shown(&found().expect("the same again")), "given again");
    let late = start() + 399 * DAY;
    assert!(!authority.is_renewal_due(late) && authority.view().issuer.renews.is_none());
    let keyless = authority.change(Change::RotateIssuer, start()).expect_err("no key");
    assert!(matches!(keyless, Error::Keyless), "{keyless}");
    let next = elsewhere.another();
    authority.change(Change::Import(Box::new(next.clone())), start()).expect("at once");
    assert_eq!(phase(&authority), None);
    let after = shown(&authority);
    compatible(&before, &after, "the next issuer");
    assert_ne!(before.leaf.chain()[1], after.leaf.chain()[1]);
    let revision = authority.view().revision;
    authority.change(Change::Import(Box::new(next)), start()).expect("nothing new");
    assert_eq!(authority.view().revision, revision);
    // Back to a root of our own.
    authority.change(Change::RotateRoot, start()).expect("begun");
    for from in STEPS {
        authority.change(advance(from), start()).expect("goes on");
    }
    assert_eq!(authority.view().issuer.origin, Origin::Own);
    authority.change(Change::RotateIssuer, start()).expect("ours again");
}

/// Of what somebody else keeps, too.
#[test]
fn what_is_followed_is_newer_and_hangs_together() {
    let (folder, copy) = (Folder::new("rotation"), Folder::new("rotation"));
    let leader = open(&folder, start());
    let take_over = || {
        for entry in fs::read_dir(&folder.0).expect("a folder") {
            let entry = entry.expect("an entry");
            fs::copy(entry.path(), copy.0.join(entry.file_name())).expect("copied");
        }
    };
    take_over();
    let follower = open(&copy, start());
    let files = || Box::new(Files::open(&folder.0).expect("a folder"));
    assert!(!follower.follow(files(), start()).expect("the same"));
    leader.change(Change::RotateRoot, start()).expect("begun");
    let old = Folder::new("rotation");
    for name in ["issuer.key", "issuer.pem", "root.key", "root.pem", "trust.json"] {
        fs::copy(folder.0.join(name), old.0.join(name)).expect("copied");
    }
    for from in STEPS {
        let before = shown(&follower);
        assert!(follower.follow(files(), start()).expect("followed"));
        compatible(&before, &shown(&follower), &format!("{from:?}"));
        leader.change(advance(from), start()).expect("goes on");
    }
    assert!(follower.follow(files(), start()).expect("followed"));
    assert_eq!(follower.view().revision, leader.view().revision);
    let of = Box::new(Files::open(&old.0).expect("a folder"));
    let older = follower.follow(of, start()).expect_err("it would sign below what has left");
    assert!(matches!(older, Error::Older), "{older}");
    let stranger = Folder::new("rotation");
    open(&stranger, start());
    let of = Box::new(Files::open(&stranger.0).expect("a folder"));
    let changed = follower.follow(of, start()).expect_err("another mesh");
    assert!(matches!(changed, Error::RootChanged { .. }), "{changed}");
    // Somebody took the root out of the document.
    let text = fs::read_to_string(folder.0.join("trust.json")).expect("a text");
    let mut trust: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let root = fs::read_to_string(stranger.0.join("root.pem")).expect("a text");
    trust["roots"][0]["certificate"] = root.into();
    fs::write(folder.0.join("trust.json"), trust.to_string()).expect("written");
    let error = try_open(&folder, start()).expect_err("it hangs below nothing").to_string();
    assert!(error.contains("is not below any root of trust.json"), "{error}");
    fs::write(folder.0.join("trust.json"), "{}").expect("written");
    let error = try_open(&folder, start()).expect_err("damaged").to_string();
    assert!(error.contains("trust.json can't be used"), "{error}");
}
