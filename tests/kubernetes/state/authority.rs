//! The keys in a Secret: who comes first, who renews, and what becomes of damage.

use std::time::{Duration, SystemTime};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use outrigger::control::ca::{Change, Lifetimes, Phase};
use outrigger::control::kube::authority::{OpenError, Opened, SECRET, open};
use outrigger::model::TrustDomain;
use tokio::sync::watch;

use super::cluster::{Cluster, cluster, eventually};
use super::lossy::lossy;

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn try_open(cluster: &Cluster, client: kube::Client) -> Result<Opened, OpenError> {
    open(client, &cluster.namespace, &TrustDomain::default(), Lifetimes::default(), None).await
}

async fn opened(cluster: &Cluster) -> Opened {
    try_open(cluster, cluster.client.clone()).await.expect("opened")
}

fn secrets(cluster: &Cluster) -> Api<Secret> {
    Api::namespaced(cluster.client.clone(), &cluster.namespace)
}

/// The root, and the issuer that a new leaf comes with.
fn signs_with(opened: &Opened) -> [Vec<u8>; 2] {
    let own = opened.authority.own(SystemTime::now()).expect("signed");
    [opened.authority.roots().to_pem().into_bytes(), own.chain()[1].to_vec()]
}

/// Puts another text into a field, or removes it.
async fn change(cluster: &Cluster, field: &str, text: Option<&[u8]>) {
    let secrets = secrets(cluster);
    let mut secret = secrets.get(SECRET).await.expect("there");
    let data = secret.data.get_or_insert_default();
    match text {
        Some(text) => drop(data.insert(field.to_owned(), ByteString(text.to_vec()))),
        None => drop(data.remove(field)),
    }
    secrets.replace(SECRET, &PostParams::default(), &secret).await.expect("put");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_start_together_have_one_root() {
    let Some(cluster) = cluster().await else { return };
    let starts: Vec<_> = (0..8)
        .map(|seed| {
            // Some of them on a bad way.
            let client = cluster.client.clone();
            let client = if seed % 2 == 0 { client } else { lossy(client, seed) };
            let namespace = cluster.namespace.clone();
            tokio::spawn(async move {
                open(client, &namespace, &TrustDomain::default(), Lifetimes::default(), None).await
            })
        })
        .collect();
    let mut all = Vec::new();
    for start in starts {
        all.push(start.await.expect("no panic").expect("opened"));
    }
    let token = all[0].signer.mint(
        &serde_json::from_str(r#"{"namespace": "shop", "serviceAccount": "web"}"#)
            .expect("a right"),
        SystemTime::now(),
        DAY,
    );
    let token = token.expect("minted").token;
    let operator = secrets(&cluster).get(SECRET).await.expect("there").data.expect("data");
    for one in &all {
        assert_eq!(signs_with(one), signs_with(&all[0]));
        one.signer.read(&token, SystemTime::now()).expect("of the same key");
        let shown = &operator["operator.token"].0;
        assert!(one.operator.is(shown), "the same operators' token");
    }
}

/// With lives so short that the issuer is due after four seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_renews_and_the_others_follow() {
    let Some(cluster) = cluster().await else { return };
    let lives = Lifetimes { leaf: Duration::from_secs(2), issuer: Duration::from_secs(8) };
    let domain = TrustDomain::default();
    let open = || open(cluster.client.clone(), &cluster.namespace, &domain, lives, None);
    let (first, second) = (open().await.expect("opened"), open().await.expect("opened"));
    let authorities = [first.authority.clone(), second.authority.clone()];
    let issuer = |at: usize| {
        let own = authorities[at].own(SystemTime::now()).expect("signed");
        own.chain()[1].to_vec()
    };
    let old = issuer(0);
    assert_eq!(issuer(1), old);
    let (lead, is_leader) = watch::channel(false);
    let (_follow, is_not) = watch::channel(false);
    let keeping =
        [tokio::spawn(first.keys.keep(is_leader)), tokio::spawn(second.keys.keep(is_not))];
    let first = &authorities[0];
    eventually("it is due", || async { first.is_renewal_due(SystemTime::now()) }).await;
    assert_eq!(issuer(0), old, "nobody leads");
    lead.send_replace(true);
    eventually("the leader has another", || async { issuer(0) != old }).await;
    eventually("the other has it too", || async { issuer(1) == issuer(0) }).await;
    keeping.iter().for_each(tokio::task::JoinHandle::abort);
}

/// Whichever replica was asked writes, and the others follow without a restart: here an issuer, then
/// each step of a root's replacement.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_replica_was_told_all_do() {
    let Some(cluster) = cluster().await else { return };
    let (first, second) = (opened(&cluster).await, opened(&cluster).await);
    let authorities = [first.authority.clone(), second.authority.clone()];
    let custodies = [first.custody, second.custody];
    let (_lead, leads) = watch::channel(true);
    let (_follow, follows) = watch::channel(false);
    let keeping = [tokio::spawn(first.keys.keep(leads)), tokio::spawn(second.keys.keep(follows))];
    let state = |at: usize| {
        let view = authorities[at].view();
        let phase = view.rotation.as_ref().map(|rotation| rotation.phase);
        let signs = view.signing_root().map(|root| root.fingerprint.clone());
        (view.revision, view.generation, view.roots.len(), phase, signs, view.issuer.fingerprint)
    };
    let before = state(0);
    custodies[1].make(Change::RotateIssuer).await.expect("made");
    assert_ne!(state(1).5, before.5);
    eventually("the leader has it too", || async { state(0) == state(1) }).await;
    // Both at once: one root is to come, not two.
    let [one, two] = &custodies;
    let (a, b) = tokio::join!(one.make(Change::RotateRoot), two.make(Change::RotateRoot));
    assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
    let leaves_end = SystemTime::now();
    let mut begun = state(usize::from(b.is_ok()));
    for from in [Phase::Distribute, Phase::Use, Phase::Retire] {
        assert_eq!(begun.3, Some(from));
        eventually("both are there", || async { state(0) == begun && state(1) == begun }).await;
        for custody in &custodies {
            // Whoever comes second does nothing.
            custody.make(Change::Advance { from, leaves_end }).await.expect("made");
        }
        begun = state(1);
    }
    assert_eq!((begun.1, begun.2, begun.3), (3, 1, None));
    assert_ne!(begun.4, before.4, "another root signs");
    eventually("both are there", || async { state(0) == begun }).await;
    let later = state_of(&opened(&cluster).await);
    assert_eq!(later, (begun.0, begun.4.clone(), begun.5.clone()), "who starts later too");
    keeping.iter().for_each(tokio::task::JoinHandle::abort);
}

fn state_of(opened: &Opened) -> (u64, Option<String>, String) {
    let view = opened.authority.view();
    let signs = view.signing_root().map(|root| root.fingerprint.clone());
    (view.revision, signs, view.issuer.fingerprint)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_was_removed_is_put_back_by_the_leader() {
    let Some(cluster) = cluster().await else { return };
    let first = opened(&cluster).await;
    let before = signs_with(&first);
    let (_leads, is_leader) = watch::channel(true);
    let keeping = tokio::spawn(first.keys.keep(is_leader));
    let secrets = secrets(&cluster);
    secrets.delete(SECRET, &DeleteParams::default()).await.expect("removed");
    eventually("it is there again", || async {
        secrets.get_opt(SECRET).await.expect("asked").is_some()
    })
    .await;
    assert_eq!(signs_with(&opened(&cluster).await), before);
    keeping.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_said_with_its_field_and_changes_nothing_that_runs() {
    let Some(cluster) = cluster().await else { return };
    let running = opened(&cluster).await;
    let before = signs_with(&running);
    let sound = secrets(&cluster).get(SECRET).await.expect("there").data.expect("data");
    let authority = running.authority.clone();
    let (_leads, is_leader) = watch::channel(true);
    let keeping = tokio::spawn(running.keys.keep(is_leader));
    let other = rcgen::KeyPair::generate().expect("a key").serialize_pem();
    let rows: [(&str, Option<&[u8]>, &str); 7] = [
        ("root.pem", None, "root.pem is missing, although"),
        ("root.key", None, "root.key is missing, although"),
        ("root.pem", Some(b""), "root.pem can't be used"),
        ("root.key", Some(b"-----BEGIN"), "root.key can't be used"),
        ("root.key", Some(other.as_bytes()), "root.key is not the key of"),
        ("tokens.key", Some(b"x"), "tokens.key can't be used"),
        ("operator.token", Some(b" \n"), "operator.token is empty"),
    ];
    for (field, text, said) in rows {
        change(&cluster, field, text).await;
        let refused = try_open(&cluster, cluster.client.clone()).await.err().expect(said);
        let words = outrigger::http::respond::chain(&refused);
        let place = format!("Secret {}/{SECRET}", cluster.namespace);
        assert!(words.contains(said) && words.contains(&place), "{said}: {words}");
        let stands = secrets(&cluster).get(SECRET).await.expect("there").data.expect("data");
        assert_eq!(stands.get(field).map(|bytes| &*bytes.0), text, "{said}: it is left as it is");
        let own = authority.own(SystemTime::now()).expect("it goes on signing");
        assert_eq!(own.chain()[1].to_vec(), before[1]);
        change(&cluster, field, Some(&sound[field].0)).await;
    }
    assert_eq!(signs_with(&opened(&cluster).await), before);
    keeping.abort();
}
