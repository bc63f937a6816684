//! The webhook over real TLS, with a certificate of the mesh's own authority, called by host name as
//! the API server does.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::super::WEBHOOK_HOST;
use super::reviews::{injector, patch_of, review};
use super::{by_hand, patched, plain_pod};
use crate::control::ca::{Authority, Lifetimes};
use crate::control::validator::Validator;
use crate::control::webhook::{Paths, Tls, serve};
use crate::model::TrustDomain;
use crate::tls::provider;

struct Webhook {
    address: std::net::SocketAddr,
    authority: Authority,
    tls: Tls,
    folder: PathBuf,
}

impl Drop for Webhook {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Webhook {
    async fn start() -> Webhook {
        let name = format!("outrigger-webhook-{}", uuid::Uuid::now_v7());
        let folder = std::env::temp_dir().join(name);
        let domain = TrustDomain::parse("cluster.local").expect("a trust domain");
        let now = SystemTime::now();
        let authority = Authority::open(&folder, &domain, Lifetimes::default(), now);
        let authority = authority.expect("a new authority");
        let tls: Tls = Arc::new(ArcSwap::from(config(&authority, WEBHOOK_HOST)));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let paths: Paths =
            vec![("/inject", Arc::new(injector())), ("/validate", Arc::new(Validator::default()))];
        tokio::spawn(serve(listener, Arc::clone(&tls), paths));
        Webhook { address, authority, tls, folder }
    }

    /// Status and body, or the error of the handshake.
    async fn call(&self, request: &[u8]) -> Result<(u16, String), std::io::Error> {
        let mut roots = RootCertStore::empty();
        for root in self.authority.roots().roots() {
            roots.add(root.certificate.clone()).expect("a root");
        }
        let client = ClientConfig::builder_with_provider(provider().clone())
            .with_safe_default_protocol_versions()
            .expect("TLS 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(WEBHOOK_HOST).expect("a host name");
        let stream = TcpStream::connect(self.address).await?;
        let mut stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await?;
        // It may answer, and close, before all of it is sent.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let read = timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
        let _ = read.expect("an answer in time");
        let answer = String::from_utf8(answer).expect("text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.expect("a status"), body.to_owned()))
    }
}

fn config(authority: &Authority, name: &str) -> Arc<rustls::ServerConfig> {
    authority.serving(&[name.to_owned()], SystemTime::now()).expect("signed").config()
}

fn post(path: &str, kind: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: {WEBHOOK_HOST}\r\nContent-Type: {kind}\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

#[tokio::test]
async fn the_api_server_gets_its_patch_over_tls() {
    let webhook = Webhook::start().await;
    let asked = review(&plain_pod(), "shop").to_string();
    let (status, body) = webhook
        .call(&post("/inject?timeout=10s", "application/json", &asked))
        .await
        .expect("it proved to be the one with that name");
    assert_eq!(status, 200, "{body}");
    let answer: Value = serde_json::from_str(&body).expect("JSON");
    let patch = patch_of(&answer["response"]);
    assert_eq!(patched(&plain_pod(), &patch), by_hand(&plain_pod()).pod);
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_at_once() {
    let webhook = Webhook::start().await;
    let asked = post("/inject", "application/json", "{}");
    assert_eq!(webhook.call(&asked).await.expect("trusted").0, 400);
    webhook.tls.store(config(&webhook.authority, "somebody.else.svc"));
    let error = webhook.call(&asked).await.expect_err("another name");
    assert!(error.to_string().contains("certificate"), "{error}");
    webhook.tls.store(config(&webhook.authority, WEBHOOK_HOST));
    assert_eq!(webhook.call(&asked).await.expect("trusted").0, 400);
}

#[tokio::test]
async fn what_it_is_not_for_is_said() {
    let webhook = Webhook::start().await;
    let large = " ".repeat((3 << 20) + 1);
    let get = format!("GET /inject HTTP/1.1\r\nHost: {WEBHOOK_HOST}\r\nConnection: close\r\n\r\n");
    let rows = [
        (post("/inject", "application/json", "no"), 400, "the body is not JSON"),
        (post("/inject", "application/json", "{}"), 400, "expected an AdmissionReview"),
        (post("/inject", "text/plain", "{}"), 415, "as application/json"),
        (post("/", "application/json", "{}"), 404, "at /inject, /validate"),
        (post("/validate", "application/json", "{}"), 400, "expected an AdmissionReview"),
        (post("/validate", "application/json", &large), 413, "larger than 3 MiB"),
        (post("/inject", "application/json", &large), 413, "larger than 3 MiB"),
        (get.into_bytes(), 405, "use POST"),
    ];
    for (request, expected, sentence) in rows {
        let (status, body) = webhook.call(&request).await.expect("trusted");
        assert_eq!((status, body.contains(sentence)), (expected, true), "{body}");
    }
}
