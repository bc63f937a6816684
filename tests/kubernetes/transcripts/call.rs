//! The API server's call of our webhook: passed on and written down, or made again from what was.
//!
//! Both need the server's side of HTTPS: it dials the registered address, and trusts the registered
//! bundle alone.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use k8s_openapi::ByteString;
use outrigger::control::webhook::Tls;
use outrigger::runtime::hyper_io::HyperIo;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::record::Recorder;

/// Where a registration says how to reach the webhook, and whom to trust.
pub const URL: &str = "/webhooks/*/clientConfig/url";
pub const BUNDLE: &str = "/webhooks/*/clientConfig/caBundle";

/// Asks the webhook at `url`, which must prove itself by `bundle` (PEM, in base64).
///
/// # Errors
/// What went wrong, in a sentence.
pub async fn post(url: &str, bundle: &str, review: &Value) -> Result<Value, String> {
    let said = |step: &'static str| move |error: &dyn std::fmt::Display| format!("{step}: {error}");
    let (failed, bad) = (said("the webhook can't be called"), said("the bundle can't be used"));
    let bundle: ByteString = serde_json::from_value(bundle.into()).map_err(|error| bad(&error))?;
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(&bundle.0) {
        roots.add(root.map_err(|error| bad(&error))?).map_err(|error| bad(&error))?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let url: http::Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
    let (host, port) = (url.host().unwrap_or_default(), url.port_u16().unwrap_or(443));
    let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(&error))?;
    let stream = TcpStream::connect((host, port)).await.map_err(|error| failed(&error))?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    let stream = HyperIo(stream.map_err(|error| failed(&error))?);
    let shaken = hyper::client::conn::http1::handshake(stream).await;
    let (mut sender, connection) = shaken.map_err(|error| failed(&error))?;
    tokio::spawn(connection);
    let request = Request::post(url.path())
        .header(header::HOST, host)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(Bytes::from(review.to_string())))
        .map_err(|error| failed(&error))?;
    let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
    let answer = answer.into_body().collect().await.map_err(|error| failed(&error))?.to_bytes();
    serde_json::from_slice(&answer)
        .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&answer)))
}

/// An answer with its patch as JSON.
///
/// # Errors
/// When the patch is none.
pub fn opened(answer: &Value) -> Result<Value, String> {
    let mut answer = answer.clone();
    let patch = &mut answer["response"]["patch"];
    if !patch.is_null() {
        let bytes: ByteString = serde_json::from_value(patch.take())
            .map_err(|error| format!("the patch is not in base64: {error}"))?;
        *patch = serde_json::from_slice(&bytes.0)
            .map_err(|error| format!("the patch is no JSON: {error}"))?;
    }
    Ok(answer)
}

/// Stands before the webhook at `behind`, with its certificate, and tells `recorder` of each call.
pub async fn relay(recorder: Recorder, tls: Tls, behind: SocketAddr, roots: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let url = format!("https://localhost:{}", behind.port());
    let bundle = serde_json::to_value(ByteString(roots.as_bytes().to_vec())).expect("text");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = TlsAcceptor::from(tls.load_full());
            let (recorder, url, bundle) = (recorder.clone(), url.clone(), bundle.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let pass = service_fn(move |request: Request<Incoming>| {
                    let (recorder, url, bundle) = (recorder.clone(), url.clone(), bundle.clone());
                    async move {
                        let url = format!("{url}{}", request.uri().path());
                        let body = request.into_body().collect().await.expect("a body").to_bytes();
                        let review: Value = serde_json::from_slice(&body).expect("a review");
                        let bundle = bundle.as_str().unwrap_or_default();
                        let answer =
                            post(&url, bundle, &review).await.expect("the webhook answers");
                        recorder.called(review, answer.clone());
                        let answer = Full::new(Bytes::from(answer.to_string()));
                        Ok::<_, Infallible>(Response::new(answer))
                    }
                });
                let http = hyper::server::conn::http1::Builder::new();
                let _ = http.serve_connection(HyperIo(stream), pass).await;
            });
        }
    });
    address
}
