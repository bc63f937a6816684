//! The way to one collector: a connection that is kept between batches and made anew when it broke.
//!
//! Over HTTP/2 for gRPC, else over HTTP/1.1; over TLS it is verified as any server outside the mesh,
//! and shown no certificate of ours. Time limits for whole batches are the caller's.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tonic::client::Grpc;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use super::settings::{Collector, Endpoint, Format};
use crate::http::respond::chain;
use crate::model::{Originate, Url};
use crate::runtime::hyper_io::HyperIo;
use crate::runtime::socket;
use crate::tls::{Alpn, Origination, PeerError};
use crate::wire::{Channel, ChannelError, Codec};

/// For the name, the connection and the handshake together.
const CONNECT: Duration = Duration::from_secs(5);
/// Of a collector's answer so much is read. Arbitrary, far above what it has to say.
const ANSWER_BYTES: usize = 64 << 10;

/// A batch that was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Missed {
    #[error("it is not reachable")]
    Connect(#[source] io::Error),
    #[error("no connection within {CONNECT:?}")]
    Silent,
    #[error("the TLS handshake failed")]
    Tls(#[source] PeerError),
    #[error("HTTP/2 can't be spoken to it: for OTLP over HTTP say protocol: http")]
    Http2(#[source] ChannelError),
    #[error("HTTP can't be spoken to it")]
    Http(#[source] hyper::Error),
    #[error("its answer can't be read: {0}")]
    Answer(String),
    #[error("it answered {0}")]
    Refused(http::StatusCode),
    #[error("it answered {:?}: {}", .0.code(), .0.message())]
    Grpc(Box<Status>),
}

impl Missed {
    /// Whether the same batch may be taken later.
    pub fn may_repeat(&self) -> bool {
        use Code::{Aborted, Cancelled, DeadlineExceeded, ResourceExhausted, Unavailable, Unknown};
        match self {
            Missed::Refused(status) => matches!(status.as_u16(), 429 | 502..=504),
            Missed::Grpc(status) => matches!(
                status.code(),
                Aborted | Cancelled | DeadlineExceeded | ResourceExhausted | Unavailable | Unknown
            ),
            Missed::Answer(_) => false,
            _ => true,
        }
    }
}

/// A batch as it is sent.
pub enum Payload {
    /// Written anew for each try.
    Message(ExportTraceServiceRequest),
    Bytes(Bytes),
}

/// A collector, and the connection to it if there is one.
pub struct Link {
    collector: Collector,
    origination: Option<Origination>,
    open: Option<Open>,
}

enum Open {
    Http2(Channel),
    Http1(http1::SendRequest<Full<Bytes>>),
}

impl Link {
    pub fn new(collector: &Collector) -> Self {
        Self { collector: collector.clone(), origination: None, open: None }
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.collector.endpoint
    }

    /// Sends a batch; what is returned is how many of its spans the collector would not have.
    ///
    /// # Errors
    /// [`Missed`]: the collector has none of them, as far as is known.
    pub async fn send(&mut self, payload: &Payload) -> Result<u64, Missed> {
        if let Some(open) = self.open.take().filter(Open::is_usable) {
            match self.send_over(open, payload).await {
                // A connection that was idle is closed just when it is used again: that is nobody's
                // outage.
                Err(Missed::Http(_) | Missed::Http2(_)) => {}
                sent => return sent,
            }
        }
        let open = timeout(CONNECT, self.connect()).await.unwrap_or(Err(Missed::Silent))?;
        self.send_over(open, payload).await
    }

    async fn send_over(&mut self, open: Open, payload: &Payload) -> Result<u64, Missed> {
        let (open, answer) = match (open, payload) {
            (Open::Http2(channel), Payload::Message(message)) => {
                let rejected = self.call(channel.clone(), message.clone()).await?;
                (Open::Http2(channel), rejected)
            }
            (Open::Http1(mut sender), Payload::Bytes(bytes)) => {
                let answer = sender.send_request(self.request(bytes.clone())).await;
                let rejected = self.read(answer.map_err(Missed::Http)?).await?;
                (Open::Http1(sender), rejected)
            }
            _ => return Err(Missed::Answer("the batch is of another form".into())),
        };
        // Only what went well is used again.
        self.open = Some(open);
        Ok(answer)
    }

    async fn connect(&mut self) -> Result<Open, Missed> {
        let Url { host, port, .. } = self.collector.endpoint.url.clone();
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        let addresses = lookup_host((&*host, port)).await;
        for address in addresses.map_err(Missed::Connect)? {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    let _ = socket::tune((&stream).into());
                    return self.open(stream).await;
                }
                Err(error) => last = error,
            }
        }
        Err(Missed::Connect(last))
    }

    async fn open(&mut self, stream: TcpStream) -> Result<Open, Missed> {
        if !self.collector.endpoint.url.is_tls {
            return self.speak(stream).await;
        }
        let ca_file = self.collector.ca_file.as_deref().map(Arc::from);
        let policy = Originate { sni: None, ca_file };
        let origination = Origination::load(&policy, self.origination.as_ref());
        let host = Some(&*self.collector.endpoint.url.host);
        let stream = origination.connect(stream, self.alpn(), host).await.map_err(Missed::Tls)?;
        self.origination = Some(origination);
        self.speak(stream).await
    }

    fn alpn(&self) -> Alpn {
        if self.collector.format == Format::OtlpGrpc { Alpn::H2 } else { Alpn::H1 }
    }

    async fn speak<IO>(&self, io: IO) -> Result<Open, Missed>
    where
        IO: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let Url { is_tls, authority, .. } = &self.collector.endpoint.url;
        if self.collector.format == Format::OtlpGrpc {
            let channel = match is_tls {
                true => Channel::over(io, authority.clone()).await,
                false => Channel::plain(io, authority.clone()).await,
            };
            return channel.map(Open::Http2).map_err(Missed::Http2);
        }
        let (sender, connection) = http1::handshake(HyperIo(io)).await.map_err(Missed::Http)?;
        // Its error is also that of the request.
        tokio::task::spawn_local(connection);
        Ok(Open::Http1(sender))
    }

    async fn call(
        &self,
        channel: Channel,
        message: ExportTraceServiceRequest,
    ) -> Result<u64, Missed> {
        let path = self.collector.endpoint.path(self.collector.format);
        let metadata = MetadataMap::from_headers(self.collector.headers.clone());
        let request = tonic::Request::from_parts(metadata, tonic::Extensions::new(), message);
        let mut client = Grpc::new(channel);
        client.ready().await.map_err(Missed::Http2)?;
        let codec = Codec::<ExportTraceServiceRequest, ExportTraceServiceResponse>::default();
        let answer = client.unary(request, path, codec).await;
        answer
            .map(|answer| rejected(answer.get_ref()))
            .map_err(|status| Missed::Grpc(status.into()))
    }

    fn request(&self, bytes: Bytes) -> Request<Full<Bytes>> {
        let Collector { endpoint, format, headers, .. } = &self.collector;
        let mut request = Request::post(endpoint.path(*format).as_str())
            .body(Full::new(bytes))
            .expect("a path that was parsed is a target");
        let kind = match format {
            Format::Zipkin => "application/json",
            Format::OtlpHttp | Format::OtlpGrpc => "application/x-protobuf",
        };
        let host = HeaderValue::from_str(endpoint.url.authority.as_str());
        let all: &mut HeaderMap = request.headers_mut();
        all.extend(host.map(|host| (HOST, host)));
        all.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        let agent = concat!("outrigger/", env!("CARGO_PKG_VERSION"));
        all.insert(USER_AGENT, HeaderValue::from_static(agent));
        all.extend(headers.clone());
        request
    }

    async fn read(&self, answer: Response<Incoming>) -> Result<u64, Missed> {
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES).collect().await;
        if !status.is_success() {
            return Err(Missed::Refused(status));
        }
        // It has them, whatever else it said.
        let body = body.map_err(|error| Missed::Answer(chain(&*error)))?.to_bytes();
        match self.collector.format {
            Format::Zipkin => Ok(0),
            Format::OtlpGrpc | Format::OtlpHttp => {
                Ok(ExportTraceServiceResponse::decode(body).map_or(0, |answer| rejected(&answer)))
            }
        }
    }
}

impl Open {
    fn is_usable(&self) -> bool {
        match self {
            Open::Http2(channel) => !channel.is_closed(),
            Open::Http1(sender) => !sender.is_closed(),
        }
    }
}

fn rejected(answer: &ExportTraceServiceResponse) -> u64 {
    let partial = answer.partial_success.as_ref();
    partial.map_or(0, |partial| u64::try_from(partial.rejected_spans).unwrap_or(0))
}
