//! One request and the head of its answer, over whatever connection there is.

use std::rc::Rc;

use http::{Request, Response, StatusCode};

use super::{DialError, Dialer, Far, Pool, SendError, Stream, Via};
use crate::http::Body;
use crate::http::switch::{self, Switch};
use crate::limit::Bulkhead;
use crate::retry::Failed;
use crate::runtime::Prefixed;

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
        let Some(idle) = self.idle_h1(pool, far, safe, now_us, bulkhead) else {
            return Box::pin(self.fresh_http1(pool, far, request, safe, bulkhead)).await;
        };
        let error = match idle.send(request, pool).await {
            Ok((response, lease)) => return Ok((response, Via::H1(lease))),
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
                Ok((response, lease)) => return Ok((response, Via::H1(lease))),
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
        let granted = |response: &Response<Body>| switch::is_granted(switch, response);
        let sent = h1.send_switching(request, granted).await.map_err(Missed::Send)?;
        let (response, Some(tunnel)) = sent else { return Ok(Switched::Refused(sent.0)) };
        Ok(Switched::Granted(response.map(drop), tunnel))
    }
}
