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
use tokio::sync::watch;
use tokio::time::timeout;
use tonic::Status;
use tower::ServiceExt;

use super::*;
use crate::control::api::{Lookout, RecallService};
use crate::control::ca::{Authority, Lifetimes};
use crate::control::catalog::Change;
use crate::control::files::tests::Folder;
use crate::control::memory::part::Question;
use crate::control::memory::{BUDGET, Memory, Observer};
use crate::control::plaintext::Plaintext;
use crate::model::TrustDomain;
use crate::resources::{Metadata, Origin};
use crate::runtime::hyper_io::{HyperIo, OnRuntime, WorkerTimer};
use crate::telemetry::tap::{Filter, LeftOut};
use crate::tls::{ControlServer, Offer};
use crate::wire::v1;
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

/// From where a replica's own sidecars are watched; it stays as long as what is given beside it.
fn lookout(name: &str) -> (Lookout, watch::Sender<bool>) {
    let (stays, leaving) = watch::channel(false);
    (Lookout { observer: observer(name), taps: Arc::default(), leaving }, stays)
}

/// A replica that answers, and counts how often; an old one knows of no taps.
async fn serve(
    listener: TcpListener,
    authority: Arc<Authority>,
    lookout: Lookout,
    asked: Arc<AtomicUsize>,
    is_old: bool,
) {
    let svid = authority.own(SystemTime::now()).expect("a certificate");
    let tls = ControlServer::new(&svid, &authority.roots(), Offer::H2);
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, lookout, asked) = (tls.clone(), lookout.clone(), Arc::clone(&asked));
        let authority = Arc::clone(&authority);
        tokio::spawn(async move {
            let Ok((stream, peer)) = tls.accept(stream).await else { return };
            assert!(peer.is_some_and(|peer| peer.id.is_control_plane()), "it says who it is");
            let service = ReplicasServer::new(RecallService::new(lookout, authority));
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                asked.fetch_add(1, SeqCst);
                let service = service.clone();
                async move {
                    if is_old && request.uri().path().ends_with("/Tap") {
                        return Ok(Status::unimplemented("").into_http());
                    }
                    Ok::<_, Infallible>(service.oneshot(request).await.expect("never"))
                }
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
    tokio::spawn(serve(two, Arc::clone(&authority), lookout("two").0, Arc::clone(&asked), false));
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
    tokio::spawn(serve(other, stranger, lookout("four").0, Arc::clone(&asked), false));
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

#[tokio::test(flavor = "multi_thread")]
async fn a_tap_reaches_who_knows_of_it_and_names_the_rest() {
    let soon = Duration::from_secs(20);
    let folder = Folder::new("tapping");
    let authority = authority(&folder);
    let catalog = Arc::new(Catalog::new(TrustDomain::default(), 1, &[]));
    let two = TcpListener::bind("127.0.0.12:0").await.expect("a port");
    let port = two.local_addr().expect("bound").port();
    let old = TcpListener::bind(("127.0.0.13", port)).await.expect("a port");
    let _mute = TcpListener::bind(("127.0.0.14", port)).await.expect("a port");
    let asked = Arc::new(AtomicUsize::new(0));
    let (there, stays) = lookout("two");
    for (at, place, is_old) in [(two, there.clone(), false), (old, lookout("old").0, true)] {
        tokio::spawn(serve(at, Arc::clone(&authority), place, Arc::clone(&asked), is_old));
    }
    let pods = [("one", "127.0.0.11"), ("two", "127.0.0.12"), ("old", "127.0.0.13")];
    catalog.take(pods.map(|(name, ip)| replica(name, ip)).into());
    let others = begin(&catalog, &authority, port);
    let (here, _stays) = lookout("one");
    let mut filter = Filter::default();
    filter.set("status", "5xx").expect("a filter");
    let target = crate::control::api::Target::Service("web.shop".into());
    let held = here.taps.begin(target, filter, 3, 0).expect("a place");
    let order = held.tap.order(Duration::from_secs(60));
    let mut how = others.tap(&catalog, order, Arc::clone(&held.tap));

    let is_told = how.wait_for(|all| all.values().all(|(_, state)| *state != State::Asked));
    let all = timeout(soon, is_told).await.expect("in time").expect("it is told").clone();
    let old = State::Silent("it is of a release that can't be asked".into());
    assert_eq!(all["old"].1, old);
    assert_eq!(all["two"].1, State::Shown { sidecars: 0, watching: 0 });
    assert!(!all.contains_key("one"), "it does not ask itself");
    // What the person wants, and nobody is asked by the one that was asked.
    let tap = there.taps.follow().borrow()[0].clone();
    let shown = (tap.target.to_string(), tap.filter.to_string(), tap.rate);
    assert_eq!(shown, ("service web.shop".into(), "status 5xx".into(), 3));
    let request = |path: &str| v1::TappedRequest { path: path.into(), ..Default::default() };
    let left_out = LeftOut { over_rate: 0, unread: 4 };
    let now_us = crate::runtime::clock::now_us();
    tap.take("web-1.shop", vec![request("/there"), request("/there")], left_out, now_us);
    let own = vec![request("/here"), request("/here")];
    held.tap.take("web-2.shop", own, LeftOut::default(), now_us);
    let mut drained = held.tap.queue.drain(9, 1 << 20, now_us);
    while drained.left_out.unread < 4 {
        timeout(soon, held.tap.queue.some()).await.expect("the other's come");
        let more = held.tap.queue.drain(9, 1 << 20, now_us);
        drained.items.extend(more.items);
        drained.left_out.add(more.left_out);
    }
    assert!((3..=4).contains(&drained.items.len()), "the rate is that of all together");
    assert_eq!(drained.items.len() as u64 + drained.left_out.over_rate, 4);

    // One comes that says nothing, one goes, one ends.
    let gone = Change::Pod(format!("{HOME}/old").into(), None);
    catalog.take(vec![replica("mute", "127.0.0.14"), gone]);
    let mute = State::Silent("it did not answer within 1 s".into());
    let is_told = how.wait_for(|all| {
        all.get("mute").is_some_and(|(_, state)| *state == mute) && !all.contains_key("old")
    });
    drop(timeout(soon, is_told).await.expect("in time").expect("it is told"));
    stays.send_replace(true);
    let is_told = how.wait_for(|all| matches!(all["two"].1, State::Silent(_)));
    drop(timeout(soon, is_told).await.expect("in time").expect("it is told"));
    stays.send_replace(false);
    let is_told = how.wait_for(|all| matches!(all["two"].1, State::Shown { .. }));
    drop(timeout(soon, is_told).await.expect("in time").expect("it is told"));
    // Nobody listens any more.
    drop(how);
    let mut live = there.taps.follow();
    let is_over = live.wait_for(Vec::is_empty);
    drop(timeout(soon, is_over).await.expect("in time").expect("it is told"));
}
