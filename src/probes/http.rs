//! Asks over HTTP/1.1 as kubelet does: one GET on a connection of its own, the target's headers,
//! kubelet's own user agent; 200 to 399 is well. The body must come whole as far as 10 KiB, and is
//! thrown away.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::Http;
use super::believe::ANYONE;
use super::place::Place;
use super::target::{Asker, Verdict, dial_app};
use crate::http::respond::chain;
use crate::runtime::hyper_io::HyperIo;

/// As many as kubelet follows.
const REDIRECTS: usize = 10;
/// Of an answer's body so much is read; kubelet's own limit.
const BODY_BYTES: usize = 10 << 10;
/// For the head of an answer. Arbitrary, far above what a health check says.
const HEAD_BYTES: usize = 64 << 10;
/// Headers that a request's own framing decides; Go's client, which is kubelet's, leaves them out
/// too.
const FRAMING: [HeaderName; 4] =
    [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::TRAILER, header::CONNECTION];

pub(super) async fn ask(http: &Http, asker: &Asker) -> Verdict {
    let mut place = Place::of(http, asker.own);
    for _ in 0..=REDIRECTS {
        let answer = fetch(http, asker, &place).await?;
        let Some(next) = redirection(&place, &answer) else {
            let said = format!("the app answered {}", answer.status());
            let is_well = answer.status().is_success() || answer.status().is_redirection();
            return if is_well { Ok(said) } else { Err(said) };
        };
        if asker.own_ports.contains(&next.port) {
            return Err(format!("the app redirects to port {}, the sidecar's own", next.port));
        }
        place = next;
    }
    Err(format!("the app redirects more than {REDIRECTS} times"))
}

fn redirection(place: &Place, answer: &Response<()>) -> Option<Place> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    place.after(answer.headers().get(header::LOCATION)?.to_str().ok()?)
}

async fn fetch(http: &Http, asker: &Asker, place: &Place) -> Result<Response<()>, String> {
    let request = request(http, asker, place)?;
    let stream = dial_app(place.port, asker).await?;
    if !place.is_tls {
        return exchange(stream, request).await;
    }
    let name = place.name.trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(name).map_err(|_| format!("{} is no host name", place.name))?;
    let connector = TlsConnector::from(Arc::clone(&ANYONE));
    match connector.connect(name, stream).await {
        Ok(stream) => exchange(stream, request).await,
        Err(error) => Err(format!("the TLS handshake with the app failed: {}", chain(&error))),
    }
}

fn request(http: &Http, asker: &Asker, place: &Place) -> Result<Request<Empty<Bytes>>, String> {
    let mut request = Request::get(&place.path)
        .body(Empty::new())
        .map_err(|error| format!("{} can't be asked for: {error}", place.path))?;
    let headers = request.headers_mut();
    let given = http.headers.iter();
    for given in given.filter(|given| given.name != header::HOST && !FRAMING.contains(&given.name))
    {
        headers.append(given.name.clone(), given.value.clone());
    }
    headers.insert(header::HOST, place.host.clone());
    headers.entry(header::USER_AGENT).or_insert_with(|| asker.agent.clone());
    headers.entry(header::ACCEPT).or_insert(HeaderValue::from_static("*/*"));
    // Empty is how a probe of Kubernetes says that it wants none.
    for name in [header::USER_AGENT, header::ACCEPT] {
        if headers.get(&name).is_some_and(HeaderValue::is_empty) {
            headers.remove(name);
        }
    }
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    Ok(request)
}

/// One request, its answer, and as much of the body as is looked at.
async fn exchange<IO>(io: IO, request: Request<Empty<Bytes>>) -> Result<Response<()>, String>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let broke = |error: hyper::Error| format!("the app gave no whole answer: {}", chain(&error));
    let handshake = http1::Builder::new()
        .title_case_headers(true)
        .max_buf_size(HEAD_BYTES)
        .handshake(HyperIo(io))
        .await;
    let (mut send, connection) = handshake.map_err(broke)?;
    let mut exchange = std::pin::pin!(async {
        let (parts, mut body) = send.send_request(request).await?.into_parts();
        let mut left = BODY_BYTES;
        while let Some(frame) = body.frame().await.transpose()? {
            let length = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(length) {
                Some(less) => left = less,
                None => break,
            }
        }
        Ok(Response::from_parts(parts, ()))
    });
    // The connection lives in this future, so that a probe that is given up leaves nothing behind.
    tokio::select! {
        answer = &mut exchange => answer,
        _ = connection => exchange.await,
    }
    .map_err(broke)
}
