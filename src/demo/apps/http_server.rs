//! An HTTP/1.1 server for an app: accepts, and lets the app answer.

use std::future::Future;
use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::net::TcpListener;

use super::attend_each;
use crate::demo::client::CallError;
use crate::demo::explain;
use crate::runtime::hyper_io::{HyperIo, WorkerTimer};

/// An app that answers with a line of text.
pub(super) trait App: 'static {
    /// `None`: there is nothing under this path.
    fn answer(
        &self,
        method: Method,
        path: &str,
        headers: &HeaderMap,
    ) -> impl Future<Output = Option<Result<String, CallError>>>;
}

/// Serves for as long as it is polled.
pub(super) async fn serve(listener: TcpListener, app: impl App) {
    let app = Rc::new(app);
    let attend = move |stream| {
        let app = Rc::clone(&app);
        let service = service_fn(move |request| answer(Rc::clone(&app), request));
        http1::Builder::new().timer(WorkerTimer).serve_connection(HyperIo(stream), service)
    };
    attend_each(listener, attend).await;
}

async fn answer(
    app: Rc<impl App>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, http::Error> {
    let (parts, _) = request.into_parts();
    let answer = app.answer(parts.method, parts.uri.path(), &parts.headers).await;
    let (status, text) = match answer {
        Some(Ok(text)) => (StatusCode::OK, text),
        Some(Err(error)) => (StatusCode::BAD_GATEWAY, explain(&error)),
        None => (StatusCode::NOT_FOUND, format!("there is nothing at {}", parts.uri.path())),
    };
    Response::builder().status(status).body(Full::from(text + "\n"))
}
