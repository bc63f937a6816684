//! One request and the head of its answer, over whatever connection there is.

use std::rc::Rc;

use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode, Version};

use super::{DialError, Dialer, Far, Pool, SendError, Stream, Via};
use crate::http::Body;
use crate::http::switch::{self, Switch};
use crate::limit::Bulkhead;
use crate::retry::Failed;
use crate::runtime::Prefixed;
use crate::runtime::hyper_io::HyperIo;

/// No answer.
#[derive(Debug)]
pub enum Missed {
    Dial(DialError),
    Send(SendError),
}

/// What became of a request that asked to leave HTTP.
#[derive(Debug)]
pub enum Switched {
    Granted(Response<()>, Prefixed<Stream>),
    Refused(Response<Body>),
}

impl Switched {
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Granted(head, _) => head.status(),
            Self::Refused(response) => response.status(),
        }
    }
}

/// hyper takes a GET without a length for one without a body.
fn framed(mut request: Request<Body>) -> Request<Body> {
    if !request.body().is_empty()
        && request.version() == Version::HTTP_11
        && !request.headers().contains_key(header::CONTENT_LENGTH)
    {
        let chunked = HeaderValue::from_static("chunked");
        request.headers_mut().insert(header::TRANSFER_ENCODING, chunked);
    }
    request
}

impl Dialer {
    /// Over HTTP/1; `again` makes the request anew, where sending it twice can do no harm.
    ///
    /// A connection that the far side closed while it was idle is not the far side's failure: the
    /// same request goes out once more on a fresh one.
    ///
    /// # Errors
    /// See [`Missed`].
    pub async fn http1(
        &self,
        pool: &Rc<Pool>,
        far: Far<'_>,
        request: Request<Body>,
        safe: bool,
        again: impl FnOnce() -> Option<Request<Body>>,
        now_us: u64,
        bulkhead: Option<&Bulkhead>,
    ) -> Result<(Response<Body>, Via), Missed> {
        let request = framed(request);
        let Some(idle) = self.idle_h1(pool, far, safe, now_us, bulkhead) else {
            return Box::pin(self.fresh_http1(pool, far, request, safe, bulkhead)).await;
        };
        let error = match idle.send(request, pool).await {
            Ok((response, lease)) => return Ok((response.map(Body::incoming), Via::H1(lease))),
            Err(error) => error,
        };
        let repeated = match error.unsent {
            Some(unsent) => Some(*unsent),
            None if error.failed == Failed::Reset && safe => again(),
            None => None,
        };
        match repeated {
            Some(request) => Box::pin(self.fresh_http1(pool, far, request, safe, bulkhead)).await,
            None => Err(Missed::Send(SendError { unsent: None, ..error })),
        }
    }

    async fn fresh_http1(
        &self,
        pool: &Rc<Pool>,
        far: Far<'_>,
        mut request: Request<Body>,
        safe: bool,
        bulkhead: Option<&Bulkhead>,
    ) -> Result<(Response<Body>, Via), Missed> {
        loop {
            let h1 = self.next_h1(pool, far, safe, bulkhead).await.map_err(Missed::Dial)?;
            let was_used = h1.served > 0;
            match h1.send(request, pool).await {
                Ok((response, lease)) => return Ok((response.map(Body::incoming), Via::H1(lease))),
                // One that came back while this request waited was closed meanwhile.
                Err(SendError { unsent: Some(unsent), .. }) if was_used => request = *unsent,
                Err(error) => return Err(Missed::Send(SendError { unsent: None, ..error })),
            }
        }
    }

    /// Over HTTP/2.
    ///
    /// # Errors
    /// See [`Missed`].
    pub async fn http2(
        &self,
        pool: &Rc<Pool>,
        far: Far<'_>,
        request: Request<Body>,
        now_us: u64,
        bulkhead: Option<&Bulkhead>,
    ) -> Result<(Response<Body>, Via), Missed> {
        let mut request = request;
        loop {
            let stream = self.h2(pool, far, now_us, bulkhead).await.map_err(Missed::Dial)?;
            match stream.send(request).await {
                Ok(response) => return Ok((response, Via::H2(stream))),
                // The connection was leaving before it took the request. It is out of the pool
                // now; only one that was never used could come round for ever.
                Err(SendError { unsent: Some(unsent), .. }) if stream.was_used() => {
                    request = *unsent;
                }
                Err(error) => return Err(Missed::Send(error)),
            }
        }
    }

    /// On a connection of its own, which becomes the tunnel if the far side grants it.
    ///
    /// # Errors
    /// See [`Missed`].
    pub async fn switching(
        &self,
        far: Far<'_>,
        request: Request<Body>,
        switch: &Switch,
        bulkhead: Option<&Bulkhead>,
    ) -> Result<Switched, Missed> {
        let h1 = self.fresh_h1(far, bulkhead).await.map_err(Missed::Dial)?;
        let mut response = h1.send_switching(request).await.map_err(Missed::Send)?;
        if !switch::is_granted(switch, &response) {
            return Ok(Switched::Refused(response.map(Body::incoming)));
        }
        let tunnel = hyper::upgrade::on(&mut response).await;
        let tunnel = tunnel.map_err(|e| Missed::Send(SendError::from_hyper(&e, None, true)))?;
        let tunnel = tunnel.downcast::<HyperIo<Stream>>();
        let tunnel = tunnel.expect("it is the connection that was dialled just now");
        let tunnel = Prefixed::new(tunnel.read_buf, tunnel.io.0);
        Ok(Switched::Granted(response.map(drop), tunnel))
    }
}
