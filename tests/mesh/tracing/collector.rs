//! A collector: it takes OTLP over HTTP, over gRPC, or over gRPC in TLS, and keeps what came.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, Response};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use outrigger::identity::issue::Issued;
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::LocalSet;
use tokio_rustls::TlsAcceptor;

use crate::harness::grpc::{drain, frame, send_all, unframe};
use crate::harness::{App, SOON, tls, within};

/// A span, and whose it is.
#[derive(Clone, Debug)]
pub struct Seen {
    pub service: String,
    pub span: Span,
}

#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<Seen>>>);

pub struct Collector {
    pub address: SocketAddr,
    kept: Kept,
    heads: Arc<Mutex<Vec<HeaderMap>>>,
    _app: Option<App>,
}

impl Collector {
    /// OTLP over HTTP.
    pub fn http() -> Self {
        Self::http_at((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// The same, at this address.
    pub fn http_at(at: SocketAddr) -> Self {
        let kept = Kept::default();
        let record = kept.clone();
        let app = App::http_at(at, move |request| {
            assert_eq!(request.start, "POST /v1/traces HTTP/1.1");
            assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
            record.take(&request.body);
            App::answer("")
        });
        Self { address: app.address, kept, heads: Arc::default(), _app: Some(app) }
    }

    /// OTLP over gRPC, in plaintext or with this certificate.
    pub fn grpc(issued: Option<&Issued>) -> Self {
        let (kept, heads) = (Kept::default(), Arc::<Mutex<Vec<HeaderMap>>>::default());
        let acceptor =
            issued.map(|issued| TlsAcceptor::from(Arc::new(tls::server(issued, &["h2"]))));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("it listens");
        let (record, told) = (kept.clone(), Arc::clone(&heads));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            LocalSet::new().block_on(&runtime.expect("a runtime"), async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                while let Ok((stream, _)) = listener.accept().await {
                    let (record, told) = (record.clone(), Arc::clone(&told));
                    let acceptor = acceptor.clone();
                    tokio::task::spawn_local(async move {
                        match acceptor {
                            None => calls(stream, record, told).await,
                            Some(acceptor) => {
                                if let Ok(stream) = acceptor.accept(stream).await {
                                    calls(stream, record, told).await;
                                }
                            }
                        }
                    });
                }
            });
        });
        Self { address, kept, heads, _app: None }
    }

    /// What calls said besides.
    pub fn heads(&self) -> Vec<HeaderMap> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn spans(&self) -> Vec<Seen> {
        self.kept.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for so many spans that fit.
    #[track_caller]
    pub fn await_spans(&self, count: usize, fits: impl Fn(&Seen) -> bool) -> Vec<Seen> {
        let found = || self.spans().into_iter().filter(|seen| fits(seen)).collect::<Vec<_>>();
        within(SOON + Duration::from_secs(5), &format!("{count} spans"), || found().len() >= count);
        let found = found();
        assert_eq!(found.len(), count, "{found:#?}");
        found
    }
}

impl Kept {
    fn take(&self, message: &[u8]) {
        let message = ExportTraceServiceRequest::decode(message).expect("a message of OTLP");
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for resource in message.resource_spans {
            let about = resource.resource.expect("a resource").attributes;
            let service = text(&about, "service.name").expect("a service's name");
            for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                all.push(Seen { service: service.clone(), span });
            }
        }
    }
}

async fn calls<IO>(io: IO, kept: Kept, heads: Arc<Mutex<Vec<HeaderMap>>>)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let Ok(mut connection) = h2::server::handshake(io).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let (kept, heads) = (kept.clone(), Arc::clone(&heads));
        tokio::task::spawn_local(async move {
            let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
            assert_eq!(request.uri().path(), path);
            heads.lock().unwrap_or_else(PoisonError::into_inner).push(request.headers().clone());
            let (body, ended) = drain(&mut request.into_body()).await;
            ended.expect("a whole call");
            unframe(&body).iter().for_each(|message| kept.take(message));
            let head = Response::builder().header("content-type", "application/grpc").body(());
            let Ok(mut send) = respond.send_response(head.expect("a response"), false) else {
                return;
            };
            send_all(&mut send, &frame(b""), false).await;
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().expect("a value"));
            let _ = send.send_trailers(trailers);
        });
    }
}

fn text(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == name)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{name} is {other:?}"),
    }
}

impl Seen {
    pub fn is(&self, name: &str, value: &str) -> bool {
        self.fact(name).as_deref() == Some(value)
    }

    pub fn fact(&self, name: &str) -> Option<String> {
        text(&self.span.attributes, name)
    }

    /// One fact of each attempt.
    pub fn attempts(&self, name: &str) -> Vec<String> {
        let events = self.span.events.iter().filter(|event| event.name == "attempt");
        events.map(|event| text(&event.attributes, name).unwrap_or_default()).collect()
    }

    pub fn is_server(&self) -> bool {
        self.span.kind() == SpanKind::Server
    }

    pub fn trace_id(&self) -> String {
        hex(&self.span.trace_id)
    }

    pub fn id(&self) -> String {
        hex(&self.span.span_id)
    }

    /// Empty: none.
    pub fn parent(&self) -> String {
        hex(&self.span.parent_span_id)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
