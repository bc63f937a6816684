//! One request to an issuer: over TLS it is verified as any server outside the mesh, and shown no
//! certificate of ours. A redirect is not followed: whoever answers there was not named in a policy.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, HOST, HeaderValue, USER_AGENT};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::http::respond::chain;
use crate::model::{Originate, Url};
use crate::runtime::hyper_io::HyperIo;
use crate::runtime::socket;
use crate::tls::{Alpn, Origination};

/// For the whole of it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Of an answer so much is read. Arbitrary; the largest sets of keys have some 20 KiB.
const BYTES: usize = 512 << 10;

/// Somebody to ask.
pub struct Client {
    url: Url,
    policy: Originate,
    origination: Option<Origination>,
}

/// What was answered, with 200.
pub struct Fetched {
    pub body: Bytes,
    /// How long it holds, if that is said.
    pub max_age: Option<Duration>,
}

impl Client {
    pub fn new(url: &Url, ca_file: Option<&Path>) -> Self {
        let policy = Originate { sni: None, ca_file: ca_file.map(Arc::from) };
        Self { url: url.clone(), policy, origination: None }
    }

    /// Asks for what is there.
    ///
    /// # Errors
    /// Why it can't be had, as a sentence.
    pub async fn fetch(&mut self) -> Result<Fetched, String> {
        let request = Request::get(self.url.target.as_str());
        self.send(request.body(Full::default()).map_err(|error| error.to_string())?).await
    }

    /// Sends a request.
    ///
    /// # Errors
    /// Why there is no answer with 200, as a sentence.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Fetched, String> {
        let sent = timeout(PATIENCE, self.exchange(request)).await;
        let sent = sent.unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")));
        sent.map_err(|error| format!("{}: {error}", self.url))
    }

    async fn exchange(&mut self, mut request: Request<Full<Bytes>>) -> Result<Fetched, String> {
        let headers = request.headers_mut();
        let host = HeaderValue::from_str(self.url.authority.as_str());
        headers.extend(host.map(|host| (HOST, host)));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let agent = concat!("outrigger/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        let stream = self.connect().await?;
        if !self.url.is_tls {
            return over(stream, request).await;
        }
        let origination = Origination::load(&self.policy, self.origination.as_ref());
        let host = Some(&*self.url.host);
        let secured = origination.connect(stream, Alpn::H1, host).await;
        self.origination = Some(origination);
        over(secured.map_err(|error| chain(&error))?, request).await
    }

    async fn connect(&self) -> Result<TcpStream, String> {
        let addresses = lookup_host((&*self.url.host, self.url.port)).await;
        let addresses = addresses.map_err(|error| format!("the name has no address: {error}"))?;
        let mut last = "the name has no address".to_owned();
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    let _ = socket::tune((&stream).into());
                    return Ok(stream);
                }
                Err(error) => last = format!("{address} is not reachable: {error}"),
            }
        }
        Err(last)
    }
}

async fn over<IO>(io: IO, request: Request<Full<Bytes>>) -> Result<Fetched, String>
where
    IO: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (mut sender, connection) =
        http1::handshake(HyperIo(io)).await.map_err(|error| chain(&error))?;
    // Its error is also that of the request.
    let connection = tokio::task::spawn_local(connection);
    let answer = sender.send_request(request).await.map_err(|error| chain(&error))?;
    let (head, body) = answer.into_parts();
    if head.status.is_redirection() {
        return Err(format!("it answered {}, and redirects are not followed", head.status));
    }
    if head.status != StatusCode::OK {
        return Err(format!("it answered {}", head.status));
    }
    let body = Limited::new(body, BYTES).collect().await;
    let body = body.map_err(|error| format!("its answer can't be read: {}", chain(&*error)))?;
    connection.abort();
    Ok(Fetched { body: body.to_bytes(), max_age: max_age(&head.headers) })
}

/// RFC 9111, 5.2.2. What is not to be kept at all is looked for as often as is done at most.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all(CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    let directives = lines.flat_map(|line| line.split(',')).map(str::trim);
    let seconds = directives.filter_map(|of| match of.split_once('=') {
        Some((name, seconds)) if name.eq_ignore_ascii_case("max-age") => {
            seconds.trim_matches('"').parse().ok()
        }
        None if of.eq_ignore_ascii_case("no-store") || of.eq_ignore_ascii_case("no-cache") => {
            Some(0)
        }
        _ => None,
    });
    seconds.min().map(Duration::from_secs)
}
