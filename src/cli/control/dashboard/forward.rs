//! A browser's question, asked of the control plane's admin port as the operator whose it is: by
//! token, or by certificate.
//!
//! Of the question only the path and what caching needs go on, and of the answer everything that is
//! not about the connection. Each is a connection of its own, as the port serves one request each.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Either, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;

use super::super::super::chain;
use super::super::error::Error;
use super::super::session::Target;
use crate::http::answers::{self, Answer};
use crate::runtime::hyper_io::HyperIo;

/// What a browser gets.
pub(super) type Reply = Response<Either<Full<Bytes>, Incoming>>;

/// What goes on of a browser's headers.
const PASSED: [header::HeaderName; 2] = [header::ACCEPT, header::IF_NONE_MATCH];

/// What concerns the connection that an answer came over.
const OF_CONNECTION: [header::HeaderName; 2] = [header::CONNECTION, header::TRANSFER_ENCODING];

/// The pages of one control plane.
pub(super) struct Pages {
    target: Target,
    /// `host:port`.
    admin: String,
    host: HeaderValue,
    /// `None`: the certificate says who asks.
    authorization: Option<HeaderValue>,
}

impl Pages {
    pub(super) fn new(target: Target, admin: String) -> Result<Self, Error> {
        let authorization = target.authorization();
        let host = HeaderValue::try_from(&admin).map_err(|_| {
            let at = crate::resources::Origin::Flag("--admin".into());
            Error::Address { at, text: admin.clone() }
        })?;
        Ok(Self { target, admin, host, authorization })
    }

    /// Whether they are given.
    pub(super) async fn check(&self) -> Result<(), Error> {
        let answer = self.get("/pages", &HeaderMap::new(), Method::GET).await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let body = answer.into_body().collect().await;
        let body = body.map_err(|source| self.broken(source))?.to_bytes();
        let sentence = String::from_utf8_lossy(&body).trim_end().to_owned();
        Err(Error::NotGiven { address: self.admin.clone(), status, sentence })
    }

    /// A browser's question.
    pub(super) async fn ask(&self, request: Request<Incoming>) -> Reply {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        match self.get(path, request.headers(), request.method().clone()).await {
            Ok(mut answer) => {
                for name in OF_CONNECTION {
                    answer.headers_mut().remove(name);
                }
                answer.map(Either::Right)
            }
            Err(error) => {
                let sentence = format!("{}\n", chain(&error));
                own(answers::text(StatusCode::BAD_GATEWAY, sentence))
            }
        }
    }

    async fn get(
        &self,
        path: &str,
        asked: &HeaderMap,
        method: Method,
    ) -> Result<Response<Incoming>, Error> {
        let stream = self.target.pages(&self.admin).await?;
        let handshake = http1::handshake(HyperIo(stream)).await;
        let (mut send, connection) = handshake.map_err(|source| self.broken(source))?;
        // Its error is also the exchange's.
        tokio::task::spawn_local(connection);
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.method_mut() = method;
        // It was one already.
        *request.uri_mut() = path.parse().unwrap_or_default();
        let headers = request.headers_mut();
        headers.insert(header::HOST, self.host.clone());
        if let Some(authorization) = &self.authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        for name in PASSED {
            if let Some(value) = asked.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        send.send_request(request).await.map_err(|source| self.broken(source))
    }

    fn broken(&self, source: hyper::Error) -> Error {
        Error::NotPages { address: self.admin.clone(), source }
    }
}

/// An answer of our own.
pub(super) fn own(answer: Answer) -> Reply {
    answer.map(Either::Left)
}
