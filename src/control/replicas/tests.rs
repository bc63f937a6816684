//! Two replicas over real sockets and mutual TLS: what one is told the other says, who comes as
//! nobody is refused, and one that stays silent is named in time.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant, SystemTime};

use hyper::server::conn::http2;
use hyper::service::service_fn;
use tokio::net::TcpListener;
use tower::ServiceExt;

use super::*;
use crate::control::api::RecallService;
use crate::control::ca::{Authority, Lifetimes};
use crate::control::catalog::Change;
use crate::control::files::tests::Folder;
use crate::control::memory::part::Question;
use crate::control::memory::{BUDGET, Memory, Observer};
use crate::control::plaintext::Plaintext;
use crate::model::TrustDomain;
use crate::resources::{Metadata, Origin};
use crate::runtime::hyper_io::{HyperIo, OnRuntime, WorkerTimer};
use crate::tls::{ControlServer, Offer};
use crate::wire::v1::replicas_server::ReplicasServer;

const HOME: &str = "outrigger-system";

fn replica(name: &str, ip: &str) -> Change {
    let label = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let address: IpAddr = ip.parse().expect("an address");
    let pod = Pod {
        metadata: Metadata {
            name: name.into(),
            namespace: HOME.into(),
            labels: LABELS.iter().map(label).collect::<BTreeMap<_, _>>(),
            created: None,
            version: None,
            at: Origin::Default,
        },
        uid: name.into(),
        enrollment: 1,
        addresses: vec![address],
        service_account: "default".into(),
        node: None,
        ports: Vec::new(),
        is_meshed: false,
        restarts: 0,
        is_on_host: false,
        is_terminating: false,
        version: 1,
    };
    Change::Pod(pod.name(), Some(Arc::new(pod)))
}

fn authority(folder: &Folder) -> Arc<Authority> {
    let (domain, lives) = (TrustDomain::default(), Lifetimes::default());
    Arc::new(Authority::open(&folder.0, &domain, lives, SystemTime::now()).expect("an authority"))
}

fn observer(name: &str) -> Arc<Observer> {
    let now = SystemTime::now();
    Arc::new(Observer {
        memory: Arc::new(Memory::new(BUDGET, name, now)),
        catalog: Arc::new(Catalog::new(TrustDomain::default(), 1, &[])),
        sessions: Arc::default(),
        plaintext: Arc::new(Plaintext::new(now)),
        others: None,
    })
}

/// A replica that answers, and counts how often; as another authority's if that is given.
async fn serve(
    listener: TcpListener,
    authority: Arc<Authority>,
    observer: Arc<Observer>,
    asked: Arc<AtomicUsize>,
) {
    let svid = authority.own(SystemTime::now()).expect("a certificate");
    let tls = ControlServer::new(&svid, &authority.roots(), Offer::H2);
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, observer, asked) = (tls.clone(), Arc::clone(&observer), Arc::clone(&asked));
        tokio::spawn(async move {
            let Ok((stream, peer)) = tls.accept(stream).await else { return };
            assert!(peer.is_some_and(|peer| peer.id.is_control_plane()), "it says who it is");
            let service = ReplicasServer::new(RecallService::new(observer));
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                asked.fetch_add(1, SeqCst);
                let service = service.clone();
                async move { Ok::<_, Infallible>(service.oneshot(request).await.expect("never")) }
            });
            let mut builder = http2::Builder::new(OnRuntime);
            let _ = builder.timer(WorkerTimer).serve_connection(HyperIo(stream), service).await;
        });
    }
}

fn begin(catalog: &Arc<Catalog>, authority: &Arc<Authority>, port: u16) -> Others {
    let of = Replicas { own: "one".into(), namespace: HOME.into(), port };
    let (catalog, authority) = (Arc::clone(catalog), Arc::clone(authority));
    Others::begin(of, catalog, authority, TrustDomain::default()).expect("a thread")
}

#[tokio::test(flavor = "multi_thread")]
async fn others_are_asked_once_a_second_and_named_when_they_are_silent() {
    let folders = [Folder::new("replicas"), Folder::new("strangers")];
    let [authority, stranger] = [authority(&folders[0]), authority(&folders[1])];
    let catalog = Arc::new(Catalog::new(TrustDomain::default(), 1, &[]));
    catalog.take(vec![replica("one", "127.0.0.1")]);
    let two = TcpListener::bind("127.0.0.2:0").await.expect("a port");
    let port = two.local_addr().expect("bound").port();
    let others = Arc::new(begin(&catalog, &authority, port));
    let ask = |question: Question| {
        let others = Arc::clone(&others);
        tokio::task::spawn_blocking(move || others.ask(&question).wait())
    };
    let (all, parts) = ask(Question::default()).await.expect("an answer");
    assert_eq!((all.len(), parts.len()), (1, 0), "it is alone");

    let asked = Arc::new(AtomicUsize::new(0));
    tokio::spawn(serve(two, Arc::clone(&authority), observer("two"), Arc::clone(&asked)));
    catalog.take(vec![replica("two", "127.0.0.2")]);
    let sidecars = || Question { sidecars: true, ..Question::default() };
    for asking in [(); 10].map(|()| ask(sidecars())) {
        let (all, parts) = asking.await.expect("an answer");
        assert!(all.len() == 2 && all.iter().all(|of| of.silence.is_none()), "{all:?}");
        assert_eq!((parts.len(), &*parts[0].replica), (1, "two"));
    }
    let times = asked.load(SeqCst);
    assert!((1..=2).contains(&times), "ten questions at once were asked {times} times");

    // One takes connections and says nothing, another proves to be somebody else's.
    let _mute = TcpListener::bind(("127.0.0.3", port)).await.expect("a port");
    let other = TcpListener::bind(("127.0.0.4", port)).await.expect("a port");
    tokio::spawn(serve(other, stranger, observer("four"), Arc::clone(&asked)));
    catalog.take(vec![replica("four", "127.0.0.4"), replica("three", "127.0.0.3")]);
    let question = || Question { endpoints: true, ..Question::default() };
    let begun = Instant::now();
    let (all, parts) = ask(question()).await.expect("an answer");
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "a busy machine may add some, and not all: {took:?}");
    let silent: Vec<(&str, &str)> =
        all.iter().filter_map(|of| Some((&*of.replica, of.silence.as_deref()?))).collect();
    assert_eq!(parts.len(), 1, "who can answer does");
    assert_eq!(silent.len(), 2, "{all:?}");
    assert_eq!(silent[1], ("three", "it did not answer within 1 s"));
    assert!(silent[0].0 == "four" && silent[0].1 != silent[1].1, "{silent:?}");
}
