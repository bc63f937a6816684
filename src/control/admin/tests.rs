//! The port over real sockets, in plaintext and over TLS, from this machine and from elsewhere.
//! 127.0.0.2 plays elsewhere: it is a loopback address, but none that counts as this machine.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use rcgen::SanType;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tracing::Dispatch;

use super::*;
use crate::control::OperatorToken;
use crate::control::catalog::{StoredResource, resource_name};
use crate::control::memory::{BUDGET, Memory, Observer};
use crate::control::plaintext::Plaintext;
use crate::control::sessions::SessionFacts;
use crate::control::store::{Key, Record, Shelf};
use crate::identity::issue::{self, Authority};
use crate::identity::{Svid, TrustBundle};
use crate::model::{SpiffeId, TrustDomain};
use crate::resources::{Origin, manifest, parse_documents};
use crate::tls::Offer;
use crate::{telemetry, tls};

const BOSS: &str = "spiffe://cluster.local/ns/ops/sa/boss";
const HERE: &str = "127.0.0.1";
/// An address of this machine that is not this machine's.
const ELSEWHERE: &str = "127.0.0.2";

const MESH: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, clusterIP: 10.0.0.7, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: outrigger.dev/v1alpha1
kind: Workload
metadata: {name: web-1, namespace: shop, labels: {app: web}}
spec: {address: 10.1.0.1, serviceAccount: web}
";

/// What is applied, and what the same workload's sidecar registered.
fn records() -> Vec<Record> {
    let read = parse_documents(MESH, &Origin::file("test"), "default").expect("sound");
    let record = |at: usize, shelf| {
        let (resource, metadata) = (&read[at], read[at].metadata());
        let name = match shelf {
            Shelf::Registrations => format!("{}/{}", metadata.namespace, metadata.name).into(),
            _ => resource_name(resource.kind(), &metadata.namespace, &metadata.name),
        };
        let stored = StoredResource {
            manifest: manifest::of(resource),
            created_ms: 1_700_000_000_000,
            enrollment: Some(1),
        };
        Record { key: Key { shelf, name }, version: 41, value: stored.encode() }
    };
    vec![record(0, Shelf::Resources), record(1, Shelf::Registrations)]
}

struct Bench {
    address: SocketAddr,
    port: Arc<Port>,
    authority: Authority,
    _log: Dispatch,
}

impl Bench {
    async fn new() -> Self {
        let authority = Authority::new(&TrustDomain::default()).expect("a root");
        let (dispatch, log) = telemetry::log::unheard();
        let catalog = Arc::new(Catalog::new(TrustDomain::default(), 42, &records()));
        let sessions: Arc<Sessions> = Arc::default();
        let memory = Arc::new(Memory::new(BUDGET, "one", SystemTime::now()));
        let observer = Arc::new(Observer {
            memory,
            catalog: Arc::clone(&catalog),
            sessions: Arc::clone(&sessions),
            plaintext: Arc::new(Plaintext::new(SystemTime::now())),
            others: None,
        });
        let view = View {
            health: None,
            catalog,
            api: Api::new(observer),
            registry: Registry::default(),
            readiness: Readiness::default(),
            log,
            sessions,
            plaintext: Arc::new(Plaintext::new(SystemTime::now())),
            config: serde_json::json!({"listen": "127.0.0.1:15012"}),
            authorities: Box::new(|| serde_json::json!({"roots": ["one"]})),
            lease_of: Box::new(|name| serde_json::json!({"held": name})),
        };
        let tls = Arc::new(ArcSwap::new(server(&authority)));
        let operator = OperatorToken::new("right").expect("a token");
        let boss = SpiffeId::parse(BOSS).expect("an id");
        let operators = Operators::new(operator, vec![boss]);
        let port = Arc::new(Port::new(view, operators, tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(serve(listener, Arc::clone(&port)));
        Self { address, port, authority, _log: dispatch }
    }

    async fn connect(&self, from: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::new(from.parse().expect("an address"), 0)).expect("bound");
        socket.connect(self.address).await.expect("connected")
    }

    async fn plain(&self, from: &str, head: &str) -> Said {
        talk(self.connect(from).await, head).await
    }

    /// From elsewhere, whose certificate must be the authority's.
    async fn sealed(&self, head: &str) -> Said {
        talk(self.handshake(b"http/1.1").await.expect("a session"), head).await
    }

    async fn handshake(
        &self,
        alpn: &[u8],
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        self.handshake_as(alpn, None).await
    }

    /// With a certificate.
    async fn handshake_as(
        &self,
        alpn: &[u8],
        own: Option<&Svid>,
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let anchors = Arc::clone(bundle(&self.authority).anchors());
        let config = rustls::ClientConfig::builder_with_provider(tls::provider().clone())
            .with_protocol_versions(&[&TLS13])
            .expect("suites of TLS 1.3")
            .with_root_certificates(anchors);
        let mut config = match own {
            Some(own) => config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(
                Arc::clone(own.certified_key()),
            ))),
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![alpn.to_vec()];
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = self.connect(ELSEWHERE).await;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    async fn json(&self, path: &str) -> Value {
        let said = self.plain(HERE, &format!("GET {path} HTTP/1.1\r\nhost: localhost")).await;
        assert_eq!(said.status, 200, "{path}: {}", said.body);
        serde_json::from_str(&said.body).expect("JSON")
    }
}

/// A certificate for `id`, and a name that browsers go by.
fn certified(authority: &Authority, id: &str) -> Svid {
    let id = SpiffeId::parse(id).expect("an id");
    let (now, hour) = (SystemTime::now(), Duration::from_secs(3600));
    let mut params = issue::leaf_params(&id, now - hour, now + hour).expect("an id");
    params.subject_alt_names.push(SanType::DnsName("localhost".try_into().expect("a name")));
    let issued = authority.sign(&params).expect("a certificate");
    Svid::from_pem(issued.cert_pem.as_bytes(), issued.key_pem.as_bytes()).expect("a certificate")
}

fn bundle(authority: &Authority) -> TrustBundle {
    TrustBundle::from_pem(authority.root_pem().as_bytes(), 1).expect("a root")
}

fn server(authority: &Authority) -> Arc<ControlServer> {
    let own = certified(authority, "spiffe://cluster.local/ns/outrigger/sa/control");
    Arc::new(ControlServer::new(&own, &bundle(authority), Offer::Http1))
}

/// An answer.
struct Said {
    status: u16,
    head: String,
    body: String,
}

/// Sends a request whose head is that, and reads until the port closes.
async fn talk(mut stream: impl tokio::io::AsyncRead + AsyncWriteExt + Unpin, head: &str) -> Said {
    stream.write_all(format!("{head}\r\n\r\n").as_bytes()).await.expect("sent");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.expect("a whole answer");
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let status = head.get(9..12).and_then(|status| status.parse().ok()).expect("a status");
    Said { status, head: head.to_lowercase(), body: body.to_owned() }
}

#[tokio::test]
async fn probes_and_scrapers_come_from_anywhere() {
    let bench = Bench::new().await;
    for path in ["/live", "/ready", "/metrics"] {
        let head = format!("GET {path} HTTP/1.1\r\nhost: control.outrigger.svc:15014");
        assert_eq!(bench.plain(ELSEWHERE, &head).await.status, 200, "{path}");
        assert_eq!(bench.plain(HERE, &head).await.status, 200, "{path}");
        assert_eq!(bench.sealed(&head).await.status, 200, "{path}");
    }
    bench.port.view.readiness.need("the store");
    let said = bench.plain(ELSEWHERE, "GET /ready HTTP/1.1\r\nhost: x").await;
    assert_eq!((said.status, &*said.body), (503, "not ready, still missing: the store\n"));
    let said = bench.plain(ELSEWHERE, "GET /live HTTP/1.1\r\nhost: x").await;
    assert_eq!(said.status, 200);
}

#[tokio::test]
async fn in_plaintext_only_this_machine_is_answered() {
    let bench = Bench::new().await;
    for (from, lines, status, why) in [
        (HERE, "host: 127.0.0.1:15014", 200, ""),
        (HERE, "host: localhost:15014", 200, ""),
        (HERE, "host: evil.example:15014", 403, "not a name"),
        (ELSEWHERE, "host: 127.0.0.1:15014", 403, "use https"),
        (ELSEWHERE, "host: 127.0.0.1\r\nauthorization: Bearer right", 403, "use https"),
        (ELSEWHERE, "host: x\r\nx-forwarded-for: 127.0.0.1", 403, "use https"),
    ] {
        for path in [
            "/",
            "/assets/main.js",
            "/pages",
            "/sessions",
            "/services",
            "/registrations",
            "/ca",
            "/config",
            "/log",
        ] {
            let said = bench.plain(from, &format!("GET {path} HTTP/1.1\r\n{lines}")).await;
            assert_eq!(said.status, status, "{from} {path} {lines}");
            assert!(status == 200 || said.body.contains(why), "{lines}: {}", said.body);
        }
    }
}

#[tokio::test]
async fn over_tls_the_operator_token_opens_all() {
    let bench = Bench::new().await;
    let get = |lines: &str| format!("GET /sessions HTTP/1.1\r\nhost: control.svc{lines}");
    let said = bench.sealed(&get("")).await;
    assert_eq!(said.status, 401);
    assert!(said.body.contains("needs Authorization"), "{}", said.body);
    assert!(said.head.contains("www-authenticate: bearer"), "{}", said.head);
    let said = bench.sealed(&get("\r\nauthorization: Bearer right")).await;
    assert_eq!(said.status, 200);
    assert!(said.body.contains("\"newest\": 42"), "{}", said.body);
    let from_page = "POST /log?level=debug HTTP/1.1\r\nhost: control.svc\r\n\
                     authorization: Bearer right\r\norigin: https://control.svc";
    assert_eq!(bench.sealed(from_page).await.status, 403);
    assert_eq!(bench.port.view.log.level(), "info");
}

#[tokio::test]
async fn over_tls_an_operators_certificate_opens_all() {
    let bench = Bench::new().await;
    let stranger = Authority::new(&TrustDomain::default()).expect("a root");
    let web = "spiffe://cluster.local/ns/shop/sa/web";
    for (own, status, why) in [
        (certified(&bench.authority, BOSS), 200, "\"newest\": 42"),
        (certified(&bench.authority, web), 403, "is no operator's"),
    ] {
        let stream = bench.handshake_as(b"http/1.1", Some(&own)).await.expect("a session");
        let said = talk(stream, "GET /sessions HTTP/1.1\r\nhost: control.svc").await;
        assert_eq!(said.status, status, "{}", said.body);
        assert!(said.body.contains(why), "{}", said.body);
    }
    let forged = certified(&stranger, BOSS);
    if let Ok(mut stream) = bench.handshake_as(b"http/1.1", Some(&forged)).await {
        let mut said = Vec::new();
        let _ = stream.write_all(b"GET /sessions HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert!(stream.read_to_end(&mut said).await.is_err() && said.is_empty(), "another root's");
    }
}

#[tokio::test]
async fn a_wrong_token_is_answered_late() {
    let bench = Bench::new().await;
    let ask = async |lines: &str| {
        let stream = bench.handshake(b"http/1.1").await.expect("a session");
        let start = std::time::Instant::now();
        let said = talk(stream, &format!("GET /ca HTTP/1.1\r\nhost: x{lines}")).await;
        assert_eq!(said.status, 401);
        start.elapsed()
    };
    let half = Duration::from_millis(500);
    assert!(ask("\r\nauthorization: Bearer wrong").await >= half);
    // A busy machine may be late by itself, but not every time.
    let mut quick = false;
    for _ in 0..20 {
        quick |= ask("").await < half;
    }
    assert!(quick, "no token is no guess");
}

#[tokio::test]
async fn a_rotated_certificate_serves_the_next_visit() {
    let mut bench = Bench::new().await;
    let next = Authority::new(&TrustDomain::default()).expect("a root");
    bench.port.tls.store(server(&next));
    assert!(bench.handshake(b"http/1.1").await.is_err(), "another root's");
    bench.authority = next;
    assert_eq!(bench.sealed("GET /live HTTP/1.1\r\nhost: x").await.status, 200);
    assert!(bench.handshake(b"h2").await.is_err(), "HTTP/2 is not spoken here");
}

#[tokio::test]
async fn the_log_is_changed_by_post_and_not_by_a_page() {
    let bench = Bench::new().await;
    for (line, more, status, level) in [
        ("POST /log?level=debug", "\r\norigin: http://localhost:15014", 403, "info"),
        ("POST /log?level=debug", "", 200, "debug"),
        ("GET /log?level=error", "", 200, "debug"),
        ("POST /log?level=loud", "", 400, "debug"),
        ("POST /log", "", 400, "debug"),
        ("POST /sessions", "", 405, "debug"),
        ("DELETE /log", "", 405, "debug"),
        ("GET /nothing", "", 404, "debug"),
    ] {
        let head = format!("{line} HTTP/1.1\r\nhost: localhost{more}");
        assert_eq!(bench.plain(HERE, &head).await.status, status, "{head}");
        assert_eq!(bench.port.view.log.level(), level, "{head}");
    }
}

#[tokio::test]
async fn a_profile_is_for_those_alone_who_see_the_rest() {
    let bench = Bench::new().await;
    let head = |seconds: &str| {
        format!("GET /debug/pprof/profile?seconds={seconds} HTTP/1.1\r\nhost: localhost")
    };
    assert_eq!(bench.plain(HERE, &head("46")).await.status, 400);
    assert_eq!(bench.plain(HERE, &head("1")).await.status, 200);
    assert_eq!(bench.plain(ELSEWHERE, &head("1")).await.status, 403);
}

#[tokio::test]
async fn the_pages_show_the_live_state() {
    let bench = Bench::new().await;
    let entry = bench.port.view.sessions.enter(SessionFacts {
        identity: SpiffeId::parse("spiffe://cluster.local/ns/shop/sa/web").expect("an id"),
        workload: "web-1.shop".to_owned(),
        address: "10.1.0.1:5000".parse().expect("an address"),
        software: "<outrigger> 0.1".to_owned(),
        certificate_begins: SystemTime::UNIX_EPOCH,
        certificate_ends: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        acknowledges_bundles: true,
    });
    entry.subscribed(2);
    entry.sent(42);
    entry.acknowledged(41);
    entry.refused(42, vec!["no such filter".to_owned()]);
    let page = bench.json("/sessions").await;
    let session = &page["sessions"][0];
    assert_eq!(page["newest"], 42);
    assert_eq!(session["identity"], "spiffe://cluster.local/ns/shop/sa/web");
    assert_eq!((&session["sent"], &session["acknowledged"]), (&42.into(), &41.into()));
    assert_eq!(session["refused"]["errors"][0], "no such filter");
    assert_eq!(session["certificateEnds"], "2023-11-14T22:13:20Z");
    let service = &bench.json("/services").await["services"][0];
    assert_eq!(
        (&service["name"], &service["changedAtRevision"]),
        (&"web.shop:80".into(), &42.into())
    );
    assert_eq!(service["clusterIPs"][0], "10.0.0.7");
    assert_eq!(service["endpoints"][0]["address"], "10.1.0.1");
    let registration = &bench.json("/registrations").await["registrations"][0];
    assert_eq!(registration["workload"], "web-1.shop");
    assert_eq!(registration["identity"], "spiffe://cluster.local/ns/shop/sa/web");
    assert_eq!(registration["lease"]["held"], "shop/web-1");
    assert_eq!(bench.json("/ca").await["roots"][0], "one");
    assert_eq!(bench.json("/config").await["listen"], "127.0.0.1:15012");
    let index = bench.plain(HERE, "GET /pages HTTP/1.1\r\nhost: localhost").await;
    assert!(index.head.contains("content-type: text/html"), "{}", index.head);
    for row in ["<th>trust domain<td>cluster.local", "<th>connected sidecars<td>1", "\"/ca\""] {
        assert!(index.body.contains(row), "{row} is missing in {}", index.body);
    }
}

/// Waiting is bounded at every step: whoever stops half-way is let go, and makes room for others.
#[tokio::test(start_paused = true)]
async fn whoever_says_nothing_is_let_go() {
    let bench = Bench::new().await;
    let client_hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    for beginning in [&b""[..], &client_hello, b"GET /live HTT"] {
        let mut stream = bench.connect(HERE).await;
        let start = Instant::now();
        stream.write_all(beginning).await.expect("sent");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.expect("a clean end");
        assert!(rest.is_empty(), "{rest:?}");
        assert!(start.elapsed() >= Duration::from_secs(5), "{:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_is_answered_however_many_say_nothing() {
    let bench = Bench::new().await;
    let start = Instant::now();
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(bench.connect(ELSEWHERE).await);
    }
    let said = bench.plain(HERE, "GET /live HTTP/1.1\r\nhost: x").await;
    assert_eq!(said.status, 200);
    // Half of the places are the most that one address has, so the first made room for the last.
    let mut rest = Vec::new();
    silent[0].read_to_end(&mut rest).await.expect("a clean end");
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}
