//! The body of a message on its way out, as fast as what was written goes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http_body::Body as _;

use super::UNWRITTEN;
use super::broken::Broken;
use super::frame::Framing;
use super::out::Out;
use crate::http::Body;

/// Moves a body into what is to be written.
pub struct Pump {
    body: Body,
    framing: Framing,
}

/// How far it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pumped {
    All,
    /// There is no more of it yet.
    Waits,
    /// What there is must be written first.
    Full,
}

impl Pump {
    pub fn new(body: Body, framing: Framing) -> Self {
        Self { body, framing }
    }

    /// Whether only the connection's end will end the body.
    pub fn is_until_close(&self) -> bool {
        matches!(self.framing, Framing::UntilClose)
    }

    /// # Errors
    /// The body broke off, or is not whole: the far side must not take half of it for all.
    pub fn poll(&mut self, cx: &mut Context<'_>, out: &mut Out) -> Result<Pumped, Broken> {
        while out.len() < UNWRITTEN {
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Ok(Pumped::Waits),
                Poll::Ready(None) => {
                    self.framing.end(None, out)?;
                    return Ok(Pumped::All);
                }
                Poll::Ready(Some(Err(error))) => return Err(Broken::Body(Arc::new(error))),
                Poll::Ready(Some(Ok(frame))) => frame,
            };
            match frame.into_data() {
                Ok(data) => {
                    self.framing.put(data, out);
                    if self.body.is_end_stream() {
                        self.framing.end(None, out)?;
                        return Ok(Pumped::All);
                    }
                }
                Err(frame) => {
                    self.framing.end(frame.trailers_ref(), out)?;
                    return Ok(Pumped::All);
                }
            }
        }
        Ok(Pumped::Full)
    }
}
